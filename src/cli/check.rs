//! `chitchat check`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::trace::check::Verdict;
use crate::trace::names::NameId;
use crate::trace::order::Trace;

const EXIT_CODES: &str = "\
Exit codes: 0 every law holds; 1 a law is violated; 2 there is no verdict: the logs
cannot be read, or it cannot be written.";

/// What may be typed after `chitchat check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Check {
    /// The logs: the server's and any number of clients', in any order
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
}

impl Check {
    /// Prints the verdict.
    ///
    /// # Errors
    /// None: what is wrong is exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let trace = match Trace::read(&self.logs) {
            Ok(trace) => trace,
            Err(error) => return Ok(unreadable(error.into())),
        };
        let verdict = Verdict::of(&trace);
        if let Err(error) = print(verdict.words().as_bytes()) {
            return Ok(unreadable(error));
        }
        Ok(ExitCode::from(u8::from(!verdict.holds())))
    }
}

/// Reads the logs, and finds the room that is meant, if one is.
pub(super) fn read(
    logs: &[PathBuf],
    room: Option<&str>,
) -> anyhow::Result<(Trace, Option<NameId>)> {
    let trace = Trace::read(logs)?;
    let room = room.map(|name| {
        let found = trace.room(name);
        found.with_context(|| format!("no log tells of a room «{name}»"))
    });
    let room = room.transpose()?;
    Ok((trace, room))
}

/// Says why there is no verdict, diagram or answer: that is exit code 2.
pub(super) fn unreadable(error: anyhow::Error) -> ExitCode {
    super::tell(&format!("{error:#}"));
    ExitCode::from(2)
}

/// Writes to standard output. Whoever stops reading has read enough.
pub(super) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write"),
    }
}
