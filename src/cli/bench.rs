//! `chitchat bench`

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use crossbeam_channel::Receiver;
use indicatif::{ProgressBar, ProgressStyle};

use super::access::AccessArgs;
use super::exit::Exit;
use super::server::parse_time;
use super::signals;
use crate::bench::{
    self, BenchError, CASES, Case, Figures, Folder, Length, MIN_TEXT_BYTES, OwnServer, Pace, Plan,
    Progress, SyncTime, Target,
};
use crate::chat::MAX_TEXT_CHARS;
use crate::rpc::{Access, ClientTls};

const EXPLAINED: &str = "\
Without --connect each load gets a server process of its own, on a free port of
this machine. Latency is the time from a message's send to its sender's echo,
which the server gives once the message is kept; with --rate it counts from the
moment at which the message should have been sent. A client whose stream ends
too early, and anything lost, repeated or out of order, is a wrong verdict.
BENCHMARKS.md says what the fields of --json are.

Exit codes: 0 everything came, once and in one order; 1 it did not, or an error;
2 not understood; 3 the server could not be reached; 4 the server refused.";

/// What may be typed after `chitchat bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPLAINED)]
pub(super) struct Args {
    /// Loads with a name, instead of one put together from the options
    #[arg(
        value_name = "LOAD",
        value_parser = parse_case,
        long_help = cases_help(),
        conflicts_with_all = LOAD_OPTIONS
    )]
    cases: Vec<Case>,
    /// Use the server that listens there: HOST:PORT or unix:PATH; to several
    /// that share their rooms, separated by commas, clients go in turn
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = super::parse_server)]
    connect: Vec<String>,
    /// The process of that server, if it is on this machine: its processor
    /// time and memory are told then
    #[arg(long, value_name = "PID", requires = "connect")]
    server_pid: Option<u32>,
    #[command(flatten)]
    access: AccessArgs,
    /// Encrypt what goes to the own server, with certificates made for the run
    #[arg(long, conflicts_with = "connect")]
    tls: bool,
    /// Where the own server keeps the rooms: memory or sqlite:PATH
    /// [default: memory; a new file for the load «durable»]
    #[arg(long, value_name = "STORE", conflicts_with = "connect")]
    store: Option<String>,
    /// Clients that send; each receives too
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    senders: u16,
    /// Clients that only receive
    #[arg(long, value_name = "N", default_value_t = 56)]
    receivers: u16,
    /// Rooms that they are dealt to in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    rooms: u16,
    /// Clients that only stay, in rooms of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    idle: u16,
    /// How many of them share a room
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    idle_room: u16,
    /// Open loop: so many messages a second over all senders
    #[arg(long, value_name = "N", value_parser = parse_rate, conflicts_with = "window")]
    rate: Option<f64>,
    /// Closed loop: messages that each sender keeps on their way
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    window: u32,
    /// How long to send
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time, conflicts_with = "messages")]
    duration: Duration,
    /// How many messages each sender sends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    messages: Option<u32>,
    /// Bytes of each text
    #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = clap::value_parser!(u16).range(MIN_TEXT_BYTES as i64..=MAX_TEXT_CHARS as i64))]
    size: u16,
    /// Messages that a sender puts into one frame where several are ready
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    bundle: u16,
    /// Messages that each sender sends before anything is measured
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    warmup: u32,
    /// Clients take one event a frame, as the original's do
    #[arg(long)]
    no_batches: bool,
    /// Threads that all clients share [default: half of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Give up what does not come after so long without anything
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    patience: Duration,
    /// Print a JSON object for each load, on a line of its own
    #[arg(long)]
    json: bool,
    /// More arguments for the own server, such as -- --log-level info
    #[arg(
        last = true,
        value_name = "SERVER ARGUMENTS",
        conflicts_with = "connect"
    )]
    server_args: Vec<OsString>,
}

/// The options that make a load; one with a name has them all.
const LOAD_OPTIONS: [&str; 11] = [
    "senders",
    "receivers",
    "rooms",
    "idle",
    "idle_room",
    "rate",
    "window",
    "duration",
    "messages",
    "size",
    "warmup",
];

fn cases_help() -> String {
    let cases = CASES.map(|case| format!("  {:<10} {}\n", case.name, case.about));
    format!(
        "Loads with a name, instead of one put together from the options:\n\n{}",
        cases.concat()
    )
}

fn parse_case(name: &str) -> Result<Case, String> {
    let found = CASES.into_iter().find(|case| case.name == name);
    found.ok_or_else(|| {
        let names = CASES.map(|case| case.name);
        format!("it must be one of {}", names.join(", "))
    })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let digits = text.strip_suffix("/s").unwrap_or(text);
    match digits.parse::<f64>() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err("it must be a number of messages a second, from 0.001 to 10000000".to_owned()),
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let stop = signals::first().context("cannot wait for signals")?;
        if self.rooms > self.senders {
            bail!("a room without a sender has nothing to measure: use fewer --rooms");
        }
        let mut loads: Vec<_> = self
            .cases
            .iter()
            .map(|case| (case.name, case.plan(), case.durable))
            .collect();
        if loads.is_empty() {
            loads.push(("custom", self.plan(), false));
        }
        let mut exit = Exit::Well;
        let mut header = Some(Figures::header()).filter(|_| !self.json);
        for (name, mut plan, durable) in loads {
            plan.bundle = self.bundle.into();
            plan.batches = !self.no_batches;
            plan.patience = self.patience;
            plan.threads = self.threads.map_or(plan.threads, usize::from);
            let (figures, sync) = match self.measure(&plan, name, durable, &stop) {
                Ok(measured) => measured,
                Err(error) => return refused(error),
            };
            let told = match self.json {
                true => format!("{}\n", figures.to_json(name, sync)),
                false => rows(header.take(), name, &figures, sync),
            };
            match io::stdout().write_all(told.as_bytes()) {
                // Whoever reads this has read enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                written => written.context("cannot write")?,
            }
            if !figures.verdict.is_clean() {
                exit = Exit::Failed;
            }
        }
        Ok(exit)
    }

    fn plan(&self) -> Plan {
        Plan {
            senders: self.senders.into(),
            receivers: self.receivers.into(),
            rooms: self.rooms.into(),
            idle: self.idle.into(),
            idle_room: self.idle_room.into(),
            pace: match self.rate {
                Some(rate) => Pace::Rate(rate),
                None => Pace::Window(self.window),
            },
            length: match self.messages {
                Some(messages) => Length::Messages(messages),
                None => Length::Time(self.duration),
            },
            text_bytes: self.size.into(),
            warmup: self.warmup,
            ..Plan::default()
        }
    }

    /// Runs one load. Returns its figures and what the disk under the server's
    /// store can do.
    fn measure(
        &self,
        plan: &Plan,
        name: &str,
        durable: bool,
        stop: &Receiver<i32>,
    ) -> anyhow::Result<(Figures, Option<SyncTime>)> {
        bench::prepare(plan)?;
        let store = self.store(durable)?;
        let sync = store.sync_time()?;
        let own = match self.connect.is_empty() {
            false => None,
            true => Some(self.start_server(plan, &store)?),
        };
        let target = match &own {
            Some(own) => Target {
                addresses: vec![own.address().to_owned()],
                access: Access {
                    tls: own.ca().map(|ca| ClientTls::trust(&ca)).transpose()?,
                    ..Access::default()
                },
                pid: Some(own.pid()),
            },
            None => Target {
                addresses: self.connect.clone(),
                access: self.access.clone().read()?,
                pid: self.server_pid,
            },
        };
        let bar = Bar::new(name);
        let ran = bench::run(plan, &target, stop, &mut |progress| bar.show(progress));
        bar.clear();
        Ok((ran?, sync))
    }

    fn start_server(&self, plan: &Plan, store: &StorePlace) -> anyhow::Result<OwnServer> {
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let own = OwnServer::start(
            &program,
            &store.argument,
            plan.clients(),
            self.tls,
            &self.server_args,
        );
        Ok(own?)
    }

    fn store(&self, durable: bool) -> anyhow::Result<StorePlace> {
        match &self.store {
            Some(store) => Ok(StorePlace {
                argument: store.clone(),
                _folder: None,
            }),
            None if durable && self.connect.is_empty() => StorePlace::new_file(),
            None => Ok(StorePlace {
                argument: "memory".to_owned(),
                _folder: None,
            }),
        }
    }
}

fn rows(header: Option<String>, name: &str, figures: &Figures, sync: Option<SyncTime>) -> String {
    let mut lines = Vec::from_iter(header);
    lines.push(figures.row(name));
    if let Some(line) = figures.idle_line() {
        lines.push(format!("{:<13} {line}", ""));
    }
    if let Some(sync) = sync {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        lines.push(format!(
            "{:<13} this disk keeps 4 KiB in {:.3} ms at best, {:.3} median, {:.3} at worst",
            "",
            ms(sync.min),
            ms(sync.median),
            ms(sync.max)
        ));
    }
    lines.join("\n") + "\n"
}

/// Where an own server keeps its rooms.
struct StorePlace {
    argument: String,
    /// Kept for as long as it is needed, where one was made for it.
    _folder: Option<Folder>,
}

impl StorePlace {
    /// A new file.
    fn new_file() -> anyhow::Result<Self> {
        let folder = Folder::new("rooms").context("cannot make a folder for the rooms")?;
        Ok(Self {
            argument: format!("sqlite:{}", folder.path().join("rooms.db").display()),
            _folder: Some(folder),
        })
    }

    /// What the disk under it can do; nothing for a store in memory.
    fn sync_time(&self) -> anyhow::Result<Option<SyncTime>> {
        let Some(path) = self.argument.strip_prefix("sqlite:") else {
            return Ok(None);
        };
        let folder = match Path::new(path).parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)
            .and_then(|()| bench::sync_time(folder))
            .map(Some)
            .with_context(|| format!("cannot measure the disk of {}", folder.display()))
    }
}

/// How far it is, on a terminal; elsewhere nothing.
struct Bar(ProgressBar);

impl Bar {
    fn new(name: &str) -> Self {
        // It goes to the standard error, and hides itself where that is no
        // terminal.
        let bar = ProgressBar::no_length().with_prefix(name.to_owned());
        let style = ProgressStyle::with_template("{prefix} {msg} {bar:30} {human_pos} {elapsed}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        match progress.of {
            Some(of) => self.0.set_length(of),
            None => self.0.unset_length(),
        }
        self.0.set_message(progress.phase);
        self.0.set_position(progress.done);
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// The exit code of what has no figures; what is not the server's doing stays
/// an error.
fn refused(error: anyhow::Error) -> anyhow::Result<Exit> {
    let exit = match error.downcast_ref::<BenchError>() {
        Some(BenchError::Unreachable(_)) => Exit::Unreachable,
        Some(BenchError::NotJoined { .. }) => Exit::Refused,
        _ => return Err(error),
    };
    super::tell(&format!("{error:#}"));
    Ok(exit)
}
