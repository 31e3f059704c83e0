//! `chitchat client`

use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Error, bail};
use crossbeam_channel::Receiver;
use log::LevelFilter;

use super::access::AccessArgs;
use super::config::{self, Config};
use super::exit::Exit;
use super::logging::LogArgs;
use super::server::parse_time;
use super::signals;
use crate::chat::Name;
use crate::client::terminal::{self, Colours, Look};
use crate::client::{End, Format, Participant, Plain, Settings, say_lines};
use crate::rpc::Keepalive;
use crate::trace::line::client_process;
use crate::wire::PastAsk;

/// How long a connection may take to be made.
const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// What may be typed after `chitchat client`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The name to join with; asked for if it is not given [env: CHITCHAT_NAME]
    name: Option<String>,
    /// The server: HOST:PORT or unix:PATH; several that share their rooms,
    /// separated by commas or given one by one, are tried in turn, also when
    /// one is lost [env: CHITCHAT_SERVER] [default: 127.0.0.1:50052]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = super::parse_server)]
    server: Vec<String>,
    /// The room to join [env: CHITCHAT_ROOM]
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Use colours: auto (on a terminal, unless NO_COLOR is set), always or
    /// never [env: CHITCHAT_COLOR]
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "always", "never"])]
    color: Option<String>,
    /// Ring the bell when somebody says your name or something to you alone
    /// [env: CHITCHAT_BELL]
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"],
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    bell: Option<String>,
    /// Show your own Lamport clock beside the room's [env: CHITCHAT_CLOCK]
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"],
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    clock: Option<String>,
    /// Show the local time of day [env: CHITCHAT_TIME]
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"],
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    time: Option<String>,
    /// Keep typed lines for later runs, in a file that only you can read
    /// [env: CHITCHAT_HISTORY] [default: true]
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"],
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    history: Option<String>,
    /// Take settings from this file [default: client.toml in the platform's
    /// configuration directory]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings and where each comes from, and do nothing else
    #[arg(long)]
    print_config: bool,
    /// Print a JSON object for everything that happens
    #[arg(long)]
    json: bool,
    /// Begin with the last so many events of the room, 100,000 at most
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

const AFTER_HELP: &str = "\
At a terminal lines are edited, and /help lists the commands. Otherwise each
line of the standard input is sent, commands too, without the space at its ends;
empty ones are not. «exit», the end of the input and Ctrl-C leave.

Settings of the command line go before those of the environment, and those
before the file, in which they have the same names: server = \"chat.example:50052\",
bell = true.

With --json each line of the output is an object. Events have the keys kind
(join, message, leave or refusal), room, sender, id, text, L, seq, sent, own,
to, replayed and wall_ms; the kinds gap, resumed, past_gone, lost and ended tell
of the connection.

Exit codes: 0 left; 1 an error; 2 not understood; 3 no server could be reached;
4 the server refused; 5 the server is gone and did not come back in time;
130 and 143 ended at once, by a second Ctrl-C or SIGTERM.";

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let config = self.config()?;
        if self.print_config {
            return match write!(io::stdout(), "{config}") {
                Err(why) if why.kind() != ErrorKind::BrokenPipe => Err(why).context("cannot write"),
                _ => Ok(Exit::Well),
            };
        }
        let name = match config.text("name") {
            "" => match ask_name(self.json)? {
                Some(name) => name,
                None => return Ok(Exit::Well),
            },
            name => name.to_owned(),
        };
        let name = Name::parse(&name)?;
        let room = config.text("room").to_owned();
        let room_name = Name::parse_room(&room).context("the room")?;
        let access = self.access.read()?;
        let interactive = !self.json && is_terminal();
        if interactive && !self.log.is_given() && io::stderr().is_terminal() {
            crate::rpc::log_through_log(); // the screen belongs to the conversation
        } else {
            let quiet = match io::stderr().is_terminal() {
                true => LevelFilter::Warn,
                false => LevelFilter::Info,
            };
            self.log.start(client_process(name.as_str()), quiet)?;
        }
        let signal = match interactive {
            true => signals::first_then(terminal::giver_back()),
            false => signals::first(),
        }
        .context("cannot wait for signals")?;
        let past = self
            .last
            .map(PastAsk::Last)
            .or(self.after.map(PastAsk::After));
        let settings = Settings {
            servers: super::servers(config.text("server")).map_err(Error::msg)?,
            name,
            id: random_id()?,
            room,
            past,
            access,
            keepalive: Keepalive {
                every: self.keepalive,
                patience: self.keepalive_timeout,
            },
            dial_patience: DIAL_PATIENCE,
            reconnect: self.reconnect,
        };
        let colour = is_coloured(config.text("color"));
        if interactive {
            let look = Look {
                colours: match colour {
                    true => colours_of_the_terminal(),
                    false => Colours::None,
                },
                bell: config.is_on("bell"),
                clock: config.is_on("clock"),
                time: config.is_on("time"),
            };
            let history = config.is_on("history").then(history_file).flatten();
            let end = terminal::run(settings, look, history, signal)
                .context("cannot use the terminal")?;
            return Ok(told(end));
        }
        let format = match self.json {
            true => Format::Json {
                room: room_name.to_string(),
            },
            false => Format::Lines { colour },
        };
        Ok(told(plain(settings, format, signal)?))
    }

    fn config(&self) -> anyhow::Result<Config> {
        let servers = (!self.server.is_empty()).then(|| self.server.join(","));
        let typed = [
            ("name", self.name.as_deref()),
            ("server", servers.as_deref()),
            ("room", self.room.as_deref()),
            ("color", self.color.as_deref()),
            ("bell", self.bell.as_deref()),
            ("clock", self.clock.as_deref()),
            ("time", self.time.as_deref()),
            ("history", self.history.as_deref()),
        ];
        Config::find(
            &typed,
            |name| std::env::var(name).ok(),
            self.config.as_deref(),
        )
    }
}

/// Takes part with lines in and lines out.
fn plain(settings: Settings, format: Format, signal: Receiver<i32>) -> anyhow::Result<End> {
    let (participant, happenings) = Participant::start(settings).context("cannot start")?;
    let voice = participant.voice();
    let on_signal = voice.clone();
    thread("leave", move || {
        if signal.recv().is_ok() {
            on_signal.leave();
        }
    })?;
    let typed = voice.clone();
    let unread = Arc::new(OnceLock::new());
    let why_unread = unread.clone();
    thread("stdin", move || {
        let tell = &mut |notice: &str| super::tell(notice);
        if let Err(why) = say_lines(io::stdin().lock(), &typed, tell) {
            let _ = why_unread.set(why); // it is set once
        }
        typed.leave();
    })?;
    let mut screen = Plain {
        format,
        out: io::BufWriter::new(io::stdout()),
        notices: io::stderr(),
    };
    let end = screen.run(&happenings, &voice);
    drop(happenings);
    participant.join();
    // The thread that reads the input may wait for ever; it has nothing to
    // lose, and ends with the process.
    match (end.context("cannot write")?, unread.get()) {
        (End::Left, Some(why)) => bail!("cannot read the input: {why}"),
        (end, _) => Ok(end),
    }
}

/// The name, asked for. `None`: there is no input.
fn ask_name(json: bool) -> anyhow::Result<Option<String>> {
    let mut out: Box<dyn Write> = match json {
        true => Box::new(io::stderr()), // a program reads the other
        false => Box::new(io::stdout()),
    };
    let _ = write!(out, "Enter your name: ").and_then(|()| out.flush());
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => {
            let _ = writeln!(out);
            Ok(None)
        }
        Ok(_) => Ok(Some(line)),
        Err(why) => bail!("cannot read a name: {why}"),
    }
}

/// Whether somebody sits there, at a terminal on which lines can be edited.
fn is_terminal() -> bool {
    let can_edit =
        std::env::var("TERM").is_ok_and(|t| !["", "dumb", "cons25", "emacs"].contains(&t.as_str()));
    can_edit && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// See <https://no-color.org>.
fn is_coloured(when: &str) -> bool {
    let wanted = || std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    match when {
        "always" => true,
        "never" => false,
        _ => is_terminal() && wanted(),
    }
}

/// What the terminal says of itself. One that does not know the sequences for
/// 256 colours could take them for others.
fn colours_of_the_terminal() -> Colours {
    let term = std::env::var("TERM").unwrap_or_default();
    let is_told = std::env::var_os("COLORTERM").is_some_and(|v| !v.is_empty());
    match is_told || term.contains("256color") || term.contains("direct") {
        true => Colours::Many,
        false => Colours::Basic,
    }
}

/// Where typed lines are kept; its folder is made if need be.
fn history_file() -> Option<PathBuf> {
    let file = config::history_file()?;
    std::fs::create_dir_all(file.parent()?).ok()?;
    Some(file)
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
    let unsent = match end.unsent() {
        0 => String::new(),
        n => format!("; messages without an echo: {n}"),
    };
    let (message, exit) = match end {
        End::Left => return Exit::Well,
        End::Unreachable { why, .. } => (why.to_string(), Exit::Unreachable),
        End::Refused { why, .. } => (format!("the server refused: {why}"), Exit::Refused),
        End::Gone { why, .. } => (format!("the server is gone: {why}"), Exit::Gone),
    };
    super::tell(&format!("{message}{unsent}"));
    exit
}
