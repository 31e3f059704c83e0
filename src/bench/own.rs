//! A server process of the load generator's own.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, Signal, kill_process};

use super::folder::Folder;

/// How long a server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to look whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// A server process; it is ended when this is dropped.
pub struct OwnServer {
    child: Child,
    address: String,
    /// Those made for it, if it encrypts.
    certificates: Option<Folder>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum OwnServerError {
    /// The program cannot be started.
    #[error("cannot start {0}")]
    Start(PathBuf, #[source] io::Error),
    /// There are no certificates for it.
    #[error("cannot make certificates for the server")]
    Certificates(#[source] io::Error),
    /// It ended, or said nothing for so long.
    #[error("the server does not listen; what it says is above")]
    Silent,
}

impl OwnServer {
    /// Starts `program` as a server on a free port of this machine, for so many
    /// clients of this machine that speak as fast as they can, and with `tls`
    /// with certificates of its own. It logs warnings only, unless `more`, the
    /// last of its arguments, says otherwise.
    ///
    /// # Errors
    /// Why it does not listen.
    pub fn start(
        program: &Path,
        store: &str,
        clients: usize,
        tls: bool,
        more: &[OsString],
    ) -> Result<Self, OwnServerError> {
        let certificates = match tls {
            true => Some(certificates(program).map_err(OwnServerError::Certificates)?),
            false => None,
        };
        let streams = clients.to_string();
        let mut command = Command::new(program);
        command
            .args(["server", "--listen", "127.0.0.1:0", "--store", store])
            .args(["--rate-limit", "0", "--max-members", &streams])
            .args(["--max-per-address", &streams]);
        if let Some(folder) = &certificates {
            command
                .arg("--tls-cert")
                .arg(folder.path().join("server.pem"))
                .arg("--tls-key")
                .arg(folder.path().join("server.key"));
        }
        // What the caller's environment says of servers is meant for others.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHITCHAT_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(more)
            .env("RUST_LOG", "chitchat=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| OwnServerError::Start(program.to_owned(), why))?;
        let said = child.stdout.take().map(first_address);
        let mut server = Self {
            child,
            address: String::new(),
            certificates,
        };
        let address = said.and_then(|said| said.recv_timeout(PATIENCE).ok());
        server.address = address.ok_or(OwnServerError::Silent)?;
        Ok(server)
    }

    /// The file of the CA that its certificate is of, if it encrypts.
    pub fn ca(&self) -> Option<PathBuf> {
        let folder = self.certificates.as_ref()?;
        Some(folder.path().join("ca.pem"))
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// A folder with a CA and a certificate of it for this machine.
fn certificates(program: &Path) -> io::Result<Folder> {
    let folder = Folder::new("certs")?;
    let mut certs = Command::new(program);
    certs.arg("certs").arg(folder.path()).stdout(Stdio::null());
    match certs.status()?.success() {
        true => Ok(folder),
        false => Err(io::Error::other("what is wrong is said above")),
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                log::warn!("the server does not end; it is killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// The address in the first line; disconnected if there is none. Reads on
/// until the end, so that the server can always write.
fn first_address(out: ChildStdout) -> Receiver<String> {
    let (tell, told) = bounded(1);
    let reads = std::thread::Builder::new()
        .name("server-out".to_owned())
        .spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on ") {
                    let _ = tell.try_send(address.to_owned());
                }
            }
        });
    if let Err(why) = reads {
        log::error!("cannot start a thread: {why}");
    }
    told
}
