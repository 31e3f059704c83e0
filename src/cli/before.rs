//! `chitchat before`

use std::path::PathBuf;
use std::process::ExitCode;

use super::check::{print, read, unreadable};
use crate::trace::before::{find, words};

const EVENTS: &str = "\
An event is written as
  a number     the event of the server with this Lamport time
  NAME:LINE    the line with this number in the log of a process: «Server», or
               a participant's name; instead of the name the file may be named

Exit codes: 0 answered; 2 the logs cannot be read or do not tell of the events, or
the answer cannot be written.";

/// What may be typed after `chitchat before`.
#[derive(Debug, clap::Args)]
#[command(after_help = EVENTS)]
pub struct Before {
    /// The first event
    a: String,
    /// The second event
    b: String,
    /// The logs: the server's and any number of clients', in any order
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The room whose Lamport times are meant, if there are several
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
}

impl Before {
    /// Prints whether the first event happened before the second, after it, or
    /// concurrently with it, and the chain that shows it.
    ///
    /// # Errors
    /// None: what is wrong is exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let told = self.answer().and_then(|words| print(words.as_bytes()));
        Ok(told.map_or_else(unreadable, |()| ExitCode::SUCCESS))
    }

    fn answer(&self) -> anyhow::Result<String> {
        let (trace, room) = read(&self.logs, self.room.as_deref())?;
        let a = find(&trace, &self.a, room)?;
        let b = find(&trace, &self.b, room)?;
        Ok(words(&trace, (a, &self.a), (b, &self.b)))
    }
}
