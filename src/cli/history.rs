//! `chitchat history`

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use anyhow::Context;

use super::access::AccessArgs;
use super::exit::Exit;
use crate::chat::Name;
use crate::client::{json, shown};
use crate::rpc::{Access, CallError, Dialler, Keepalive};
use crate::wire::{HistoryQuery, PastAsk};

const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// What may be typed after `chitchat history`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The room
    #[arg(default_value = "", hide_default_value = true)]
    room: String,
    /// The server: HOST:PORT or unix:PATH; several that share their rooms,
    /// separated by commas, are tried in turn
    #[arg(
        long,
        value_name = "ADDRESS",
        value_delimiter = ',',
        value_parser = super::parse_server,
        default_value = "127.0.0.1:50052",
        env = "CHITCHAT_SERVER"
    )]
    server: Vec<String>,
    /// Only the last so many events, 100,000 at most
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// Only events after this Lamport time
    #[arg(long, value_name = "L", conflicts_with = "last")]
    after: Option<i64>,
    /// Print a JSON object for each event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let access = self.access.clone().read()?;
        match self.print(access) {
            Err(Failure::Call(error)) => {
                super::tell(&error.to_string());
                Ok(match error {
                    CallError::Unreachable { .. } => Exit::Unreachable,
                    CallError::Status { .. } => Exit::Refused,
                    CallError::Lost => Exit::Gone,
                })
            }
            // Whoever read this has read enough.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Well),
            Err(Failure::Output(error)) => Err(error).context("cannot write"),
            Ok(()) => Ok(Exit::Well),
        }
    }

    fn print(&self, access: Access) -> Result<(), Failure> {
        let past = self
            .last
            .map(PastAsk::Last)
            .or(self.after.map(PastAsk::After));
        let query = HistoryQuery {
            room: self.room.clone(),
            past,
        };
        let dialled = Dialler::with_access(Keepalive::default(), access)
            .dial_any(&self.server, DIAL_PATIENCE)?;
        let room = Name::parse_room(&self.room).map_or(self.room.clone(), |n| n.to_string());
        let mut events = dialled.history(&query)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        while let Some(page) = events.recv()? {
            for received in page {
                match self.json {
                    true => writeln!(out, "{}", json::event(&received.event, &room))?,
                    false => writeln!(out, "{}", shown(&received.event, false))?,
                }
            }
        }
        Ok(out.flush()?)
    }
}

enum Failure {
    Call(CallError),
    Output(io::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
