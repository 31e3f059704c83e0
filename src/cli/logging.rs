//! Where this process logs, and how a line begins.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use env_logger::{Builder, Target, WriteStyle};
use log::LevelFilter;

use crate::trace::LogSink;
use crate::trace::line::escaped;

/// What may be typed about the log.
#[derive(Debug, Clone, Args)]
pub(super) struct LogArgs {
    /// Append the log to this file instead of writing it to standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// What to log: error, warn, info, debug (each delivery of the server) or
    /// trace [default: info, or RUST_LOG]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
}

impl LogArgs {
    /// Whether anything was said about the log.
    pub(super) fn is_given(&self) -> bool {
        self.log_file.is_some()
            || self.log_level.is_some()
            || std::env::var_os("RUST_LOG").is_some()
    }

    /// Starts the log of `process`, which is `Server` or `Client NAME`, already
    /// escaped. `quiet` is the level where nothing was said.
    pub(super) fn start(&self, process: String, quiet: LevelFilter) -> anyhow::Result<LogSink> {
        let sink = match &self.log_file {
            None => LogSink::default(),
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                LogSink::new(
                    file.with_context(|| format!("cannot open the log {}", path.display()))?,
                )
            }
        };
        let mut builder = Builder::new();
        // gRPC's core tells at info what interests only its own developers.
        builder.filter_level(LevelFilter::Error);
        match self.log_level {
            None if std::env::var_os("RUST_LOG").is_some() => {
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
                let (time, level) = (out.timestamp_micros(), record.level());
                if record.target().starts_with("chitchat::")
                    && record.module_path().is_some_and(is_report)
                {
                    return writeln!(out, "{time} {level:<5} [{process}] {}", record.args());
                }
                // What comes from elsewhere is not known to be escaped.
                let text = record.args().to_string();
                let source = if record.target().is_empty() {
                    "grpc"
                } else {
                    record.target()
                };
                writeln!(
                    out,
                    "{time} {level:<5} [{process}] {source}: {}",
                    escaped(&text)
                )
            });
        builder.try_init().context("cannot start the log")?;
        crate::rpc::log_through_log();
        Ok(sink)
    }
}

/// Whether a module writes lines of the log's grammar, and escapes them itself.
fn is_report(module: &str) -> bool {
    module.ends_with("::report")
}
