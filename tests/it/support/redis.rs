use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chitchat::history::shared::SharedStore;
use tempfile::TempDir;

use super::fixed_port;

/// A redis-server of a test's own, on loopback, with its data in a folder of
/// its own; killed at the end of the test.
pub struct Redis {
    folder: TempDir,
    pub port: u16,
    args: Vec<String>,
    child: Child,
}

impl Redis {
    /// One that writes everything down. `None`: redis-server cannot be had, and
    /// the test is skipped, loudly.
    pub fn start() -> Option<Self> {
        Self::with(&["--appendonly", "yes"])
    }

    /// One with these arguments.
    pub fn with(args: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = fixed_port();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let Some(child) = serve(folder.path(), port, &args) else {
            // not through the macros, whose output the tests hold back
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: a test needs redis-server, which is missing"
            );
            return None;
        };
        Some(Self {
            folder,
            port,
            args,
            child,
        })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn store(&self) -> SharedStore {
        SharedStore::parse(&self.url()).expect("a URL")
    }

    /// What redis-cli says to a command.
    pub fn cli(&self, command: &[&str]) -> String {
        let out = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(command)
            .output()
            .expect("redis-cli comes with redis-server");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Kills it, as nothing can prevent.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with what it wrote down.
    pub fn restart(&mut self) {
        self.kill();
        self.child = serve(self.folder.path(), self.port, &self.args).expect("it ran before");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a server and waits until it takes connections. `None`: there is no
/// such program.
fn serve(folder: &Path, port: u16, args: &Vec<String>) -> Option<Child> {
    let started = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(folder)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return None,
        Err(why) => panic!("redis-server does not start: {why}"),
    };
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut seen = Vec::new();
    loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("redis-server does not serve: {seen:#?}");
        };
        if line.contains("Ready to accept connections") {
            break;
        }
        seen.push(line);
    }
    // Read on, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Some(child)
}
