//! Certificates of both ends: read and checked before gRPC's core gets them,
//! which fails late and keeps its reasons to itself.
//!
//! It knows PEM files and nothing of what they are for beyond TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use grpcio::{
    CertificateRequestType, ChannelCredentials, ChannelCredentialsBuilder, ServerCredentials,
    ServerCredentialsBuilder, ServerCredentialsFetcher,
};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// There is no certificate in it.
    #[error("{0} holds no certificate in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate(PathBuf),
    /// What calls itself a certificate is none.
    #[error("{0} holds a certificate that cannot be read")]
    Garbled(PathBuf),
    /// Its time has not come.
    #[error("the certificate in {path} is not valid before {from}")]
    NotYet {
        /// The file.
        path: PathBuf,
        /// When its time comes.
        from: String,
    },
    /// Its time is over.
    #[error("the certificate in {path} is not valid since {until}")]
    Expired {
        /// The file.
        path: PathBuf,
        /// When its time was over.
        until: String,
    },
    /// There is no private key in it.
    #[error(
        "{0} holds no private key in unencrypted PKCS#8 form (BEGIN PRIVATE KEY); «openssl pkcs8 -topk8 -nocrypt» makes it of others"
    )]
    NoKey(PathBuf),
    /// The private key is of a kind that is not known, or no key.
    #[error(
        "{0} holds a private key that cannot be used; RSA and ECDSA (P-256, P-384) keys can be"
    )]
    BadKey(PathBuf),
    /// The two do not belong together.
    #[error("the key in {key} is not the one of the certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// A certificate with the chain to its CA, and its private key.
#[derive(Clone)]
struct Identity {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Where a server's certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, followed by those between it and its CA.
    pub cert: PathBuf,
    /// The private key of it.
    pub key: PathBuf,
    /// Lets in only those with a certificate of one of these CAs.
    pub client_ca: Option<PathBuf>,
}

/// A server's certificates. Clones are one: what one reloads, all have.
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    files: ServerFiles,
    /// Counts what was loaded. Held for a look or an exchange, by poll threads
    /// too.
    loaded: Mutex<(u64, Arc<Loaded>)>,
}

struct Loaded {
    identity: Identity,
    client_ca: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// The first file that is no good, and why.
    pub fn load(files: ServerFiles) -> Result<Self, TlsError> {
        let loaded = Mutex::new((1, Arc::new(Loaded::read(&files)?)));
        Ok(Self(Arc::new(Shared { files, loaded })))
    }

    /// Reads the files again, for connections that are made from now on. What
    /// was there goes on, and stays if the files are no good.
    ///
    /// # Errors
    /// The first file that is no good, and why.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Arc::new(Loaded::read(&self.0.files)?);
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded = (loaded.0 + 1, read);
        Ok(())
    }

    /// Whether clients must have certificates, whose names are theirs.
    pub fn name_clients(&self) -> bool {
        self.0.files.client_ca.is_some()
    }

    fn latest(&self) -> (u64, Arc<Loaded>) {
        let loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.clone()
    }

    /// For one listening address.
    pub(super) fn credentials(&self) -> ServerCredentials {
        let request = self.request();
        let fetcher = Fetcher {
            certificates: self.clone(),
            fetched: AtomicU64::new(0),
        };
        ServerCredentials::with_fetcher(Box::new(fetcher), request)
    }

    fn request(&self) -> CertificateRequestType {
        match self.0.files.client_ca {
            Some(_) => CertificateRequestType::RequestAndRequireClientCertificateAndVerify,
            None => CertificateRequestType::DontRequestClientCertificate,
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.files, f)
    }
}

/// gRPC's core asks it before each handshake, on a poll thread.
struct Fetcher {
    certificates: Certificates,
    fetched: AtomicU64,
}

impl ServerCredentialsFetcher for Fetcher {
    fn fetch(&self) -> Result<Option<ServerCredentialsBuilder>, Box<dyn std::error::Error>> {
        let (number, loaded) = self.certificates.latest();
        if self.fetched.swap(number, Ordering::AcqRel) == number {
            return Ok(None);
        }
        let Identity { cert, key } = loaded.identity.clone();
        let builder = ServerCredentialsBuilder::new().add_cert(cert, key);
        Ok(Some(match &loaded.client_ca {
            Some(ca) => builder.root_cert(ca.clone(), self.certificates.request()),
            None => builder,
        }))
    }
}

impl Loaded {
    fn read(files: &ServerFiles) -> Result<Self, TlsError> {
        Ok(Self {
            identity: Identity::read(&files.cert, &files.key)?,
            client_ca: files.client_ca.as_deref().map(read_ca).transpose()?,
        })
    }
}

/// How a client knows its server, and what it shows of itself.
#[derive(Clone)]
pub struct ClientTls {
    ca: Vec<u8>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Trusts the servers of these CAs.
    ///
    /// # Errors
    /// Why the file is no good.
    pub fn trust(ca: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            ca: read_ca(ca)?,
            identity: None,
            server_name: None,
        })
    }

    /// Shows this certificate to servers that ask for one.
    ///
    /// # Errors
    /// Why a file is no good.
    pub fn identify(mut self, cert: &Path, key: &Path) -> Result<Self, TlsError> {
        self.identity = Some(Identity::read(cert, key)?);
        Ok(self)
    }

    /// Expects the server's certificate to be for this name, not for the
    /// address that is dialled.
    pub fn expect_name(mut self, name: String) -> Self {
        self.server_name = Some(name);
        self
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    pub(super) fn credentials(&self) -> ChannelCredentials {
        let mut builder = ChannelCredentialsBuilder::new().root_cert(self.ca.clone());
        if let Some(Identity { cert, key }) = self.identity.clone() {
            builder = builder.cert(cert, key);
        }
        builder.build()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("identified", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Identity {
    fn read(cert_path: &Path, key_path: &Path) -> Result<Self, TlsError> {
        let cert = read(cert_path)?;
        let chain = certificates(&cert, cert_path)?;
        let certs = parsed(&chain, cert_path)?;
        for cert in &certs {
            check_time(cert, cert_path)?;
        }
        let key = read(key_path)?;
        let blocks = blocks(&key).filter(|block| block.label == "PRIVATE KEY");
        let [block] = &blocks.collect::<Vec<_>>()[..] else {
            return Err(TlsError::NoKey(key_path.to_owned()));
        };
        // BoringSSL reads Ed25519, but does not take it in a handshake.
        let pair = KeyPair::try_from(&block.contents[..]).ok();
        let pair = pair.filter(|pair| !pair.is_compatible(&PKCS_ED25519));
        let pair = pair.ok_or_else(|| TlsError::BadKey(key_path.to_owned()))?;
        // `parsed` finds one at least.
        if certs[0].public_key().subject_public_key.data.as_ref() != pair.der_bytes() {
            return Err(TlsError::Mismatch {
                cert: cert_path.to_owned(),
                key: key_path.to_owned(),
            });
        }
        Ok(Self { cert, key })
    }
}

/// The certificates of CAs. One of them at least must be valid today.
fn read_ca(path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = read(path)?;
    let chain = certificates(&bytes, path)?;
    let mut wrong = None;
    for cert in parsed(&chain, path)? {
        match check_time(&cert, path) {
            Ok(()) => return Ok(bytes),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    Err(wrong.unwrap_or_else(|| TlsError::NoCertificate(path.to_owned())))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = std::fs::read(path).map_err(|why| TlsError::Unreadable {
        path: path.to_owned(),
        why: why.to_string(),
    })?;
    // gRPC's core takes C strings.
    match bytes.contains(&0) {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(bytes),
    }
}

fn blocks(pem: &[u8]) -> impl Iterator<Item = Pem> + '_ {
    Pem::iter_from_buffer(pem).map_while(Result::ok)
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<Pem>, TlsError> {
    let chain: Vec<_> = blocks(pem).filter(|b| b.label == "CERTIFICATE").collect();
    match chain.is_empty() {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(chain),
    }
}

fn parsed<'a>(chain: &'a [Pem], path: &Path) -> Result<Vec<X509Certificate<'a>>, TlsError> {
    chain
        .iter()
        .map(|block| block.parse_x509())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Garbled(path.to_owned()))
}

fn check_time(cert: &X509Certificate<'_>, path: &Path) -> Result<(), TlsError> {
    let (validity, now) = (cert.validity(), ASN1Time::now());
    let path = path.to_owned();
    if now < validity.not_before {
        let from = validity.not_before.to_string();
        return Err(TlsError::NotYet { path, from });
    }
    if now > validity.not_after {
        let until = validity.not_after.to_string();
        return Err(TlsError::Expired { path, until });
    }
    Ok(())
}
