use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chitchat::history::shared::SharedStore;
use tempfile::TempDir;

use super::{Proxy, fixed_port};

/// A redis-server of a test's own, on loopback, with its data in a folder of
/// its own; killed at the end of the test.
pub struct Redis {
    folder: TempDir,
    pub port: u16,
    args: Vec<String>,
    child: Child,
}

impl Redis {
    /// One that writes everything down before it answers, if not to the disk:
    /// with `everysec` it puts that off while a sync takes long, and a kill loses
    /// it. `None`: redis-server cannot be had, and the test is skipped, loudly.
    pub fn start() -> Option<Self> {
        Self::with(&["--appendonly", "yes", "--appendfsync", "no"])
    }

    /// One with these arguments.
    pub fn with(args: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = fixed_port();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
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

    /// A way to it that a test can make slow, and how a server goes that way.
    pub fn way(&self) -> (Proxy, SharedStore) {
        let way = Proxy::to(&format!("127.0.0.1:{}", self.port));
        let store = SharedStore::parse(&format!("redis://{}", way.address)).expect("a URL");
        (way, store)
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

/// A Sentinel that watches one master under the name «chat».
pub struct Sentinel {
    _folder: TempDir,
    pub port: u16,
    child: Child,
}

impl Sentinel {
    /// Waits until it knows so many replicas of the master.
    pub fn watch(master: &Redis, replicas: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = fixed_port();
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\n\
             sentinel monitor chat 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds chat 500\n\
             sentinel failover-timeout chat 5000\n",
            folder.path().display(),
            master.port
        );
        std::fs::write(&file, settings).expect("a file");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        let child = until(&mut command, "+slave slave", replicas).expect("it is installed");
        Self {
            _folder: folder,
            port,
            child,
        }
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/chat", self.port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits until it takes connections. `None`: there is no
/// such program.
fn serve(folder: &Path, port: u16, args: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(folder)
        .args(args);
    until(&mut command, "Ready to accept connections", 1)
}

/// Starts a program and waits until it has said something so many times.
/// `None`: there is no such program.
fn until(command: &mut Command, said: &str, times: usize) -> Option<Child> {
    let started = command
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
    let mut seen: Vec<String> = Vec::new();
    while seen.iter().filter(|line| line.contains(said)).count() < times {
        let Some(Ok(line)) = lines.next() else {
            panic!("redis-server does not say «{said}»: {seen:#?}");
        };
        seen.push(line);
    }
    // Read on, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Some(child)
}
