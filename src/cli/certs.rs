//! `chitchat certs`: a CA and certificates of it, for trying TLS out.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::exit::Exit;
use crate::chat::Name;

/// How long the certificates are valid: long enough to try things out.
const VALID: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Clocks of two machines differ: the time begins a little before now.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// The names of the files that are not those of a client.
const CA: &str = "ca";
const SERVER: &str = "server";

/// What may be typed after `chitchat certs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
DIR gets ca.pem, server.pem and NAME.pem, each with its private key in a .key
file that only you can read. What is there already stays: call it again to add
clients. All are valid for a year, the CA too; then remove them and make new
ones. Anybody with ca.key can make certificates for any name.

  chitchat server --tls-cert DIR/server.pem --tls-key DIR/server.key --client-ca DIR/ca.pem
  chitchat client Alex --tls-ca DIR/ca.pem --cert DIR/Alex.pem --key DIR/Alex.key")]
pub(super) struct Args {
    /// The directory, made if need be
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The participants to make certificates for
    #[arg(value_name = "NAME", default_value = "Alex")]
    names: Vec<String>,
    /// A host name or IP address of the server, in the place of these; may be
    /// given more than once
    #[arg(
        long,
        value_name = "HOST",
        default_values = ["localhost", "127.0.0.1", "::1"]
    )]
    host: Vec<String>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let names = self
            .names
            .iter()
            .map(|name| file_name(name))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let dir = &self.dir;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let ca = authority(dir)?;
        let mut server = CertificateParams::new(self.host.clone()).context("no host name")?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        issue(dir, SERVER, server, "Chit Chat server", &ca)?;
        for name in names {
            // Without a subject alternative name, the common name counts: it
            // may have any characters.
            let mut client = CertificateParams::default();
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            issue(dir, name.as_str(), client, name.as_str(), &ca)?;
        }
        Ok(Exit::Well)
    }
}

/// A participant's name that can be a file's too.
fn file_name(name: &str) -> anyhow::Result<Name> {
    let name = Name::parse(name)?;
    match name.as_str() {
        CA | SERVER => bail!("the name «{name}» is that of another file"),
        text if text.starts_with(['.', '-']) || text.contains('/') => {
            bail!("the name «{name}» cannot be a file's")
        }
        _ => Ok(name),
    }
}

/// The CA that is there or else a new one.
fn authority(dir: &Path) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let (cert, key) = paths(dir, CA);
    if is_there(&cert, &key)? {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let pair = KeyPair::from_pem(&read(&key)?)
            .with_context(|| format!("no private key in {}", key.display()))?;
        return Issuer::from_ca_cert_pem(&read(&cert)?, pair)
            .with_context(|| format!("no certificate in {}", cert.display()));
    }
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_subject_and_time(&mut params, "Chit Chat CA for trying out");
    let pair = KeyPair::generate().context("cannot make a key")?;
    let made = params.self_signed(&pair).context("cannot sign")?;
    write_pair(dir, CA, &made.pem(), &pair)?;
    Ok(Issuer::new(params, pair))
}

fn issue(
    dir: &Path,
    file: &str,
    mut params: CertificateParams,
    common_name: &str,
    ca: &Issuer<'_, KeyPair>,
) -> anyhow::Result<()> {
    let (cert, key) = paths(dir, file);
    if is_there(&cert, &key)? {
        return told(&format!("{} is there already", cert.display()));
    }
    set_subject_and_time(&mut params, common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let pair = KeyPair::generate().context("cannot make a key")?;
    let made = params.signed_by(&pair, ca).context("cannot sign")?;
    write_pair(dir, file, &made.pem(), &pair)
}

/// Whether a certificate and its key are there. One alone is left as it is, and
/// nothing new is made beside it.
fn is_there(cert: &Path, key: &Path) -> anyhow::Result<bool> {
    match (cert.exists(), key.exists()) {
        (true, false) => bail!("{} is there, but not its key", cert.display()),
        (false, true) => bail!("{} is there, but not its certificate", key.display()),
        (both, _) => Ok(both),
    }
}

fn set_subject_and_time(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + VALID;
}

fn paths(dir: &Path, file: &str) -> (PathBuf, PathBuf) {
    // Not `with_extension`: a name may have a dot in it.
    (
        dir.join(format!("{file}.pem")),
        dir.join(format!("{file}.key")),
    )
}

/// Writes a certificate and its key, over nothing that is there.
fn write_pair(dir: &Path, file: &str, cert: &str, pair: &KeyPair) -> anyhow::Result<()> {
    let (cert_path, key_path) = paths(dir, file);
    write_new(&key_path, 0o600, &pair.serialize_pem())?;
    write_new(&cert_path, 0o644, cert)?;
    told(&format!("made {} and its key", cert_path.display()))
}

fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn told(what: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{what}") {
        // Whoever reads this has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write"),
    }
}
