//! `chitchat client`

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use log::LevelFilter;

use super::access::AccessArgs;
use super::exit::Exit;
use super::logging::LogArgs;
use super::server::parse_time;
use super::signals;
use crate::chat::{Name, sanitise};
use crate::client::{End, Participant, Plain, Settings, say_lines};
use crate::rpc::Keepalive;
use crate::trace::line::client_process;
use crate::wire::PastAsk;

/// How long a connection may take to be made.
const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// Messages that are read ahead of a participant's voice are none: the reader
/// of the input waits until the window has room.
///
/// What may be typed after `chitchat client`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// The name to join with; asked for if it is not given
    name: Option<String>,
    /// The server: HOST:PORT or unix:PATH; several, separated by commas, are
    /// tried in turn
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50052",
        env = "CHITCHAT_SERVER",
        value_delimiter = ','
    )]
    server: Vec<String>,
    /// The room to join
    #[arg(
        long,
        value_name = "ROOM",
        default_value = "",
        env = "CHITCHAT_ROOM",
        hide_default_value = true
    )]
    room: String,
    /// Begin with the last so many events of the room
    #[arg(long, value_name = "EVENTS")]
    last: Option<u32>,
    /// Begin with every event after this Lamport time of the room
    #[arg(long, value_name = "L", conflicts_with = "last")]
    after: Option<i64>,
    /// After a loss, try for so long to come back
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time)]
    reconnect: Duration,
    /// Ping a silent server after so long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    keepalive: Duration,
    /// Give a server up that does not answer a ping for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    keepalive_timeout: Duration,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    log: LogArgs,
}

const EXIT_CODES: &str = "\
Lines of the standard input are sent; «exit», its end and Ctrl-C leave.

Exit codes: 0 left; 1 an error; 2 not understood; 3 no server could be reached;
4 the server refused; 5 the server is gone and did not come back in time.";

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Some(name) = self.name()? else {
            return Ok(Exit::Well);
        };
        let name = Name::parse(&name)?;
        Name::parse_room(&self.room).context("the room")?;
        let access = self.access.read()?;
        // The screen belongs to the conversation, unless somebody asks.
        let quiet = if io::stderr().is_terminal() {
            LevelFilter::Warn
        } else {
            LevelFilter::Info
        };
        self.log.start(client_process(name.as_str()), quiet)?;
        let signal = signals::first().context("cannot wait for signals")?;
        let past = self
            .last
            .map(PastAsk::Last)
            .or(self.after.map(PastAsk::After));
        let (participant, happenings) = Participant::start(Settings {
            servers: self.server,
            name,
            id: random_id()?,
            room: self.room,
            past,
            access,
            keepalive: Keepalive {
                every: self.keepalive,
                patience: self.keepalive_timeout,
            },
            dial_patience: DIAL_PATIENCE,
            reconnect: self.reconnect,
        })
        .context("cannot start")?;
        let voice = participant.voice();
        let on_signal = voice.clone();
        thread("leave", move || {
            if signal.recv().is_ok() {
                on_signal.leave();
            }
        })?;
        let typed = voice.clone();
        thread("stdin", move || {
            say_lines(io::stdin().lock(), &typed, &mut |notice| {
                eprintln!("chitchat: {}", sanitise(notice));
            });
        })?;
        let mut screen = Plain {
            out: io::BufWriter::new(io::stdout()),
            notices: io::stderr(),
        };
        let end = screen.run(&happenings, &voice);
        drop(happenings);
        participant.join();
        // The thread that reads the input may wait for ever; it has nothing to
        // lose, and ends with the process.
        Ok(told(end))
    }

    /// The name, asked for if need be. `None`: there is no input.
    fn name(&self) -> anyhow::Result<Option<String>> {
        if let Some(name) = &self.name {
            return Ok(Some(name.clone()));
        }
        print!("Enter your name: ");
        io::stdout().flush()?;
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) => {
                println!();
                Ok(None)
            }
            Ok(_) => Ok(Some(line)),
            Err(why) => bail!("cannot read a name: {why}"),
        }
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .context("cannot start a thread")?;
    Ok(())
}

/// An id above 0. The original server takes ids for granted, so each client
/// brings one; with 31 random bits two of a thousand hardly ever meet.
fn random_id() -> anyhow::Result<i32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(io::Error::other)
        .context("no random numbers")?;
    Ok((i32::from_le_bytes(bytes) & i32::MAX).max(1))
}

/// Tells how it ended, and with which exit code.
fn told(end: End) -> Exit {
    let (message, exit) = match end {
        End::Left => return Exit::Well,
        End::Unreachable(why) => (why.to_string(), Exit::Unreachable),
        End::Refused(why) => (format!("the server refused: {why}"), Exit::Refused),
        End::Gone { why, unsent: 0 } => (format!("the server is gone: {why}"), Exit::Gone),
        End::Gone { why, unsent } => (
            format!("the server is gone: {why}; {unsent} messages have no echo"),
            Exit::Gone,
        ),
    };
    eprintln!("chitchat: {}", sanitise(&message));
    exit
}
