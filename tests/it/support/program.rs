use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::{DEADLINE, Http2, Redis, sooner_or_later};

/// The exit code of a program.
pub fn code(status: ExitStatus) -> i32 {
    status.code().expect("it ended by itself")
}

/// The program `chitchat` as a process, killed at the end of the test if it
/// still runs.
pub struct Program {
    child: Child,
    pub input: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    pub fn start(args: &[&str]) -> Self {
        Self::start_other(Path::new(env!("CARGO_BIN_EXE_chitchat")), args)
    }

    /// A program that is not ours.
    pub fn start_other(program: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env_remove("RUST_LOG")
            // the settings of whoever runs the tests are not meant
            .env_remove("XDG_CONFIG_HOME")
            .env("HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take();
        let out = lines(child.stdout.take().expect("it is piped"));
        let err = lines(child.stderr.take().expect("it is piped"));
        Self {
            child,
            input,
            out,
            err,
            seen: Vec::new(),
        }
    }

    /// A server with its rooms in memory that slows nobody down unless that is
    /// said, and its address.
    pub fn server(args: &[&str]) -> (Self, String) {
        let mut all = vec!["server", "--listen", "127.0.0.1:0", "--store", "memory"];
        if !args.contains(&"--rate-limit") {
            all.extend(["--rate-limit", "0"]);
        }
        all.extend(args);
        let mut server = Self::start(&all);
        let line = server.wait_for("listening on ");
        let address = line.trim_start_matches("listening on ").to_owned();
        (server, address)
    }

    /// A server that may have so many descriptors, and its address.
    pub fn server_with_descriptors(most: usize, args: &[&str]) -> (Self, String) {
        let limited = format!("ulimit -n {most}; exec \"$@\"");
        let program = env!("CARGO_BIN_EXE_chitchat");
        let server = ["-c", &limited, "sh", program, "server"];
        let all = [&server[..], &["--listen", "127.0.0.1:0"], args].concat();
        let mut server = Self::start_other(Path::new("sh"), &all);
        let line = server.wait_for("listening on ");
        let address = line.trim_start_matches("listening on ").to_owned();
        (server, address)
    }

    /// A server on this address with its rooms in this file.
    pub fn server_with_store(address: &str, store: &Path, args: &[&str]) -> Self {
        let store = format!("sqlite:{}", store.display());
        let mut all = vec!["server", "--listen", address, "--store", &store];
        all.extend(["--rate-limit", "0"]); // the load is not of a human pace
        all.extend(args);
        let mut server = Self::start(&all);
        server.wait_for("listening on ");
        server
    }

    /// A server on this address that shares its rooms through this Redis.
    pub fn server_with_redis(address: &str, redis: &Redis, args: &[&str]) -> Self {
        Self::server_with_url(address, &redis.url(), args)
    }

    /// A server on this address that shares its rooms through the Redis there.
    pub fn server_with_url(address: &str, url: &str, args: &[&str]) -> Self {
        let mut all = vec!["server", "--listen", address, "--store", url];
        all.extend(["--rate-limit", "0"]); // the load is not of a human pace
        all.extend(args);
        let mut server = Self::start(&all);
        server.wait_for("listening on ");
        server
    }

    pub fn client(name: &str, address: &str, args: &[&str]) -> Self {
        let mut all = vec!["client", name, "--server", address];
        all.extend(args);
        Self::start(&all)
    }

    /// Its number as a process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Connects to a server until all of its descriptors are taken, of which it may
    /// have `most`.
    pub fn take_descriptors(&self, address: &str, most: usize) -> Vec<Http2> {
        let others = (0..most).map(|_| Http2::connect(address)).collect();
        self.wait_for_descriptors(most);
        others
    }

    /// Waits until it has so many descriptors.
    pub fn wait_for_descriptors(&self, most: usize) {
        let numbers = format!("/proc/{}/fd", self.id());
        sooner_or_later("all descriptors to be taken", || {
            std::fs::read_dir(&numbers).expect("it runs").count() >= most
        });
    }

    pub fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the input is open");
        writeln!(input, "{line}").expect("it reads its input");
    }

    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line of the output that contains `what`.
    pub fn wait_for(&mut self, what: &str) -> String {
        loop {
            match self.out.recv_timeout(DEADLINE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(what) {
                        return line;
                    }
                }
                Err(_) => panic!(
                    "waited in vain for {what:?}\noutput: {:#?}\nerrors: {:#?}",
                    self.seen,
                    self.err.try_iter().collect::<Vec<_>>()
                ),
            }
        }
    }

    /// Where a server with `--metrics` says that it serves them.
    pub fn metrics_address(&mut self) -> String {
        let line = self.wait_for("metrics on http://");
        let address = line.trim_start_matches("metrics on http://");
        address.trim_end_matches("/metrics").to_owned()
    }

    /// A line of the output that contains `what`: one that was passed over, or
    /// one that comes.
    pub fn expect_line(&mut self, what: &str) {
        if !self.seen.iter().any(|line| line.contains(what)) {
            self.wait_for(what);
        }
    }

    /// Kills it, as nothing can prevent. Returns the standard error.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it runs");
        self.end().2
    }

    /// The next line of the standard error that contains `what`.
    pub fn wait_for_error(&mut self, what: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.err.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("waited in vain for {what:?} on standard error: {seen:#?}"),
            }
        }
    }

    /// Whether a line of the standard error that has come since contains `what`.
    pub fn has_told(&self, what: &str) -> bool {
        self.err.try_iter().any(|line| line.contains(what))
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the end: status, all lines of the output, all of the errors.
    pub fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        self.input = None;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(begun.elapsed() < DEADLINE, "the program does not end");
            // The end of its output comes with the end of the process, or soon before.
            match self.out.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => self.seen.push(line),
                Err(_) => std::thread::yield_now(),
            }
        };
        let mut out = std::mem::take(&mut self.seen);
        out.extend(self.out.iter());
        (status, out, self.err.iter().collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = unbounded();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}
