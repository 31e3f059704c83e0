//! Where this process logs, and how a line begins.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use env_logger::{Builder, Target, WriteStyle};
use jiff::Timestamp;
use log::{Level, LevelFilter};

use crate::trace::LogSink;
use crate::trace::line::escaped;

/// What may be typed about the log.
#[derive(Debug, Clone, Args)]
pub(super) struct LogArgs {
    /// Append the log to this file, which only you can read if it is new,
    /// instead of writing it to standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// What to log: error, warn, info, debug (each delivery of the server) or
    /// trace [default: RUST_LOG, or else info; on a terminal a client's is warn]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
}

impl LogArgs {
    /// Whether anything was said about the log.
    pub(super) fn is_given(&self) -> bool {
        self.log_file.is_some() || self.log_level.is_some() || is_in_environment()
    }

    /// Starts the log of `process`, which is `Server` or `Client NAME`, already
    /// escaped. `quiet` is the level where nothing was said.
    pub(super) fn start(&self, process: String, quiet: LevelFilter) -> anyhow::Result<LogSink> {
        let sink = match &self.log_file {
            None => LogSink::default(),
            Some(path) => {
                let file = open(path);
                LogSink::new(
                    file.with_context(|| format!("cannot open the log {}", path.display()))?,
                )
            }
        };
        let flood = Mutex::new(Flood::new(Instant::now()));
        let mut builder = Builder::new();
        // gRPC's core tells at info what interests only its own developers.
        builder.filter_level(LevelFilter::Error);
        match self.log_level {
            None if is_in_environment() => {
                builder.parse_env("RUST_LOG");
            }
            level => {
                let unset = if self.is_given() {
                    LevelFilter::Info
                } else {
                    quiet
                };
                builder.filter_module("chitchat", level.unwrap_or(unset));
            }
        }
        builder
            .target(Target::Pipe(Box::new(sink.clone())))
            .write_style(WriteStyle::Never)
            .format(move |out, record| {
                let is_ours = record.target().starts_with("chitchat::");
                let mut left_out = 0;
                if !is_ours && record.level() == Level::Error {
                    let mut flood = flood.lock().unwrap_or_else(PoisonError::into_inner);
                    match flood.admit(Instant::now()) {
                        Some(before) => left_out = before,
                        None => return Ok(()),
                    }
                }
                let level = record.level().as_str();
                now(|time| out.write_all(time))?;
                for part in [" ", level, &"      "[level.len()..], "[", &process, "] "] {
                    out.write_all(part.as_bytes())?;
                }
                if is_ours && record.module_path().is_some_and(is_report) {
                    return writeln!(out, "{}", record.args());
                }
                // What comes from elsewhere is not known to be escaped.
                let text = record.args().to_string();
                let source = if record.target().is_empty() {
                    "grpc"
                } else {
                    record.target()
                };
                write!(out, "{source}: {}", escaped(&text))?;
                match left_out {
                    0 => writeln!(out),
                    n => writeln!(out, " (before it {n} such lines were left out)"),
                }
            });
        builder.try_init().context("cannot start the log")?;
        crate::rpc::log_through_log();
        Ok(sink)
    }
}

/// Whether the environment says what to log. An empty variable is none.
fn is_in_environment() -> bool {
    std::env::var_os("RUST_LOG").is_some_and(|filter| !filter.is_empty())
}

/// Errors of gRPC's core and others that are logged within [`SPAN`]: it has one
/// of each connection that does not get through a handshake, and whoever makes
/// them needs no certificate for it.
const MOST: u64 = 20;
const SPAN: Duration = Duration::from_secs(10);

/// Bounds the errors of others.
struct Flood {
    since: Instant,
    logged: u64,
    left_out: u64,
}

impl Flood {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            logged: 0,
            left_out: 0,
        }
    }

    /// Whether one more is logged: how many before it were not.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= SPAN {
            (self.since, self.logged) = (now, 0);
        }
        if self.logged == MOST {
            self.left_out += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

thread_local! {
    /// A second since 1970 and how it is written, up to where its part begins.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Shows the time of the wall's clock, in UTC, as RFC 3339 has it with
/// microseconds. A second is put into words once.
fn now<T>(show: impl FnOnce(&[u8]) -> T) -> T {
    let now = Timestamp::now();
    SECOND.with_borrow_mut(|(second, words)| {
        if *second != now.as_second() {
            *second = now.as_second();
            *words = now.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        let begins = words.len();
        // Six digits behind the one that keeps the zeros at their front.
        let micros = 1_000_000 + now.subsec_microsecond();
        words.push_str(&itoa::Buffer::new().format(micros)[1..]);
        words.push('Z');
        let shown = show(words.as_bytes());
        words.truncate(begins);
        shown
    })
}

/// Opens a log to go on with it.
fn open(path: &Path) -> std::io::Result<File> {
    // It has what was said, private messages too.
    let mut file = OpenOptions::new();
    let mut file = file.create(true).append(true).mode(0o600).open(path)?;
    // What stands behind half a line could not be read either.
    if breaks_off(path).unwrap_or(false) {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether the last line of a file is half a line: the machine lost its power,
/// or the disk was full.
fn breaks_off(path: &Path) -> std::io::Result<bool> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() || meta.len() == 0 {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Whether a module writes lines of the log's grammar, and escapes them itself.
fn is_report(module: &str) -> bool {
    module.ends_with("::report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_breaks_off_goes_on_with_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (before, after) in [
            ("", "line\n"),
            ("whole\n", "whole\nline\n"),
            ("hal", "hal\nline\n"),
        ] {
            fs::write(&path, before).unwrap();
            open(&path).unwrap().write_all(b"line\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        fs::remove_file(&path).unwrap();
        assert!(open(&path).is_ok());
    }

    #[test]
    fn of_many_errors_in_a_short_time_only_some_are_logged() {
        let begun = Instant::now();
        let mut flood = Flood::new(begun);
        let admitted = (0..100).filter(|_| flood.admit(begun) == Some(0)).count();
        assert_eq!(admitted as u64, MOST);
        let later = begun + SPAN;
        assert_eq!(flood.admit(later), Some(100 - MOST));
        assert_eq!(flood.admit(later), Some(0));
    }

    #[test]
    fn the_time_is_written_as_the_clock_shows_it() {
        let micros = |time: Timestamp| time.as_microsecond();
        // Over more than a second, so that one is written anew.
        let begun = Timestamp::now();
        while micros(Timestamp::now()) < micros(begun) + 1_100_000 {
            let before = Timestamp::now();
            let written = now(|time| String::from_utf8_lossy(time).into_owned());
            let after = Timestamp::now();
            assert_eq!(written.len(), "2026-01-31T23:59:59.000000Z".len());
            let read: Timestamp = written.parse().unwrap();
            let between = micros(before)..=micros(after);
            assert!(between.contains(&micros(read)), "{written} is not now");
        }
    }
}
