//! What may be typed about how a client gets in.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::rpc::{Access, ClientTls};

/// What may be typed by whoever dials a server.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AccessArgs {
    /// Encrypt, and trust servers with a certificate of a CA in this file
    #[arg(long, value_name = "FILE", env = "CHITCHAT_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// Show the certificate in this file to a server that asks for one
    #[arg(long, value_name = "FILE", requires_all = ["key", "tls_ca"])]
    cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Expect the server's certificate to be for this name
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    server_name: Option<String>,
    /// Bring the password in this file's first line
    #[arg(long, value_name = "FILE", env = "CHITCHAT_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Reads and checks the files.
    pub(super) fn read(self) -> anyhow::Result<Access> {
        let mut access = Access::default();
        if let Some(path) = &self.password_file {
            access.password = read_password(path)?;
        }
        if let Some(ca) = &self.tls_ca {
            let mut tls = ClientTls::trust(ca)?;
            if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
                tls = tls.identify(cert, key)?;
            }
            if let Some(name) = self.server_name {
                tls = tls.expect_name(name);
            }
            access.tls = Some(tls);
        }
        Ok(access)
    }
}

/// The first line of a file.
pub(super) fn read_password(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the password in {}", path.display()))?;
    match text.lines().next() {
        None | Some("") => bail!("the first line of {} is empty", path.display()),
        Some(password) => Ok(password.to_owned()),
    }
}
