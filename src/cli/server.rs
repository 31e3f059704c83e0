//! `chitchat server`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::RangedU64ValueParser;
use crossbeam_channel::{never, select};
use log::LevelFilter;

use super::access::read_password;
use super::exit::Exit;
use super::logging::LogArgs;
use super::notify::{READY, STOPPING, notify};
use super::signals;
use crate::history::shared::SharedStore;
use crate::history::{Keep, Store};
use crate::rpc::{Certificates, Keepalive, MAX_RECEIVE_BYTES, ServerFiles, is_exposed};
use crate::server::{Password, Rate, ReservedNames, Server, Settings};

/// How long a stop may take. A second more and a service manager may have lost
/// its patience.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// A shorter lease could not be renewed in time.
const SHORTEST_LEASE: Duration = Duration::from_millis(300);

/// What may be typed after `chitchat server`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    /// Listen here: HOST:PORT, [HOST]:PORT or unix:PATH; port 0 lets the system
    /// choose; may be given more than once
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50052",
        env = "CHITCHAT_LISTEN"
    )]
    listen: Vec<String>,
    /// Encrypt, with the certificate in this file, and read it again at SIGHUP
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "CHITCHAT_TLS_CERT"
    )]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "CHITCHAT_TLS_KEY"
    )]
    tls_key: Option<PathBuf>,
    /// Let in only holders of a certificate of a CA in this file, each under
    /// its certificate's name
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        conflicts_with_all = ["password_file", "names_file"],
        env = "CHITCHAT_CLIENT_CA"
    )]
    client_ca: Option<PathBuf>,
    /// Listen beyond this machine without encryption
    #[arg(long, conflicts_with = "tls_cert")]
    insecure: bool,
    /// Ask everybody for the password in this file's first line
    #[arg(long, value_name = "FILE", env = "CHITCHAT_SERVER_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// Reserve the names in this file for those who know their passwords; its
    /// lines come from «chitchat password»
    #[arg(long, value_name = "FILE")]
    names_file: Option<PathBuf>,
    /// Keep the rooms in an SQLite file (sqlite:PATH), in memory (memory) or in
    /// a log that several servers share (redis://[USER:PASSWORD@]HOST[:PORT][/DB],
    /// rediss://…, redis+sentinel://HOST[:PORT],…/MASTER[/DB])
    /// [default: sqlite: in the platform's data directory]
    #[arg(
        long,
        value_name = "STORE",
        env = "CHITCHAT_STORE",
        hide_env_values = true, // it may hold a password
        value_parser = typed_store
    )]
    store: Option<Result<Store, String>>,
    /// Keep so much of each room's past: a number of events, or a time such as
    /// 30d or 12h [default: 100000 events in memory and in Redis; everything in
    /// a file]
    #[arg(long, value_name = "EVENTS|TIME", value_parser = parse_keep)]
    keep: Option<Keep>,
    /// Let a participant that lost its connection come back for so long before
    /// saying that it left
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    grace: Duration,
    /// Ping a silent client after so long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_some_time)]
    keepalive: Duration,
    /// Give a client up that does not answer a ping for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_some_time)]
    keepalive_timeout: Duration,
    /// Let a member go for whom so many events wait
    #[arg(long, value_name = "EVENTS", default_value_t = Settings::default().outbox_events,
          value_parser = some())]
    outbox: usize,
    /// Move what goes in and out with so many threads of gRPC [default: one a
    /// processor]
    #[arg(long, value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    poll_threads: Option<u16>,
    /// Serve metrics for Prometheus at this address, under /metrics
    #[arg(long, value_name = "ADDRESS", env = "CHITCHAT_METRICS")]
    metrics: Option<String>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    sharing: Sharing,
    #[command(flatten)]
    limits: Limits,
}

/// How a log in Redis is shared.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Rooms shared through Redis")]
struct Sharing {
    /// Take the password for Redis from this file's first line
    #[arg(long, value_name = "FILE", env = "CHITCHAT_REDIS_PASSWORD_FILE")]
    redis_password_file: Option<PathBuf>,
    /// Trust the CAs in this file for rediss://, instead of the system's
    #[arg(long, value_name = "FILE")]
    redis_ca: Option<PathBuf>,
    /// Deliver an event only when so many replicas of Redis hold it [default: 0]
    #[arg(long, value_name = "REPLICAS")]
    redis_wait: Option<usize>,
    /// Take a server for dead that was silent for so long [default: 6s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    lease: Option<Duration>,
}

/// What nobody may have more of.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Let so many streams in at once
    #[arg(long, value_name = "STREAMS", default_value_t = Settings::default().max_sessions,
          value_parser = some())]
    max_members: usize,
    /// Let so many streams in at once from one address (IPv6: one /64 network)
    #[arg(long, value_name = "STREAMS", default_value_t = 1000, value_parser = some())]
    max_per_address: usize,
    /// Let so many calls go on at once on one connection; more wait
    #[arg(long, value_name = "STREAMS", default_value_t = Settings::default().max_per_connection,
          value_parser = clap::value_parser!(u32).range(1..))]
    max_per_connection: u32,
    /// Open so many rooms
    #[arg(long, value_name = "ROOMS", default_value_t = Settings::default().max_rooms)]
    max_rooms: usize,
    /// Await so many participants that lost their connections; more have left
    /// at once
    #[arg(long, value_name = "NAMES", default_value_t = Settings::default().max_away)]
    max_away: usize,
    /// Answer so many questions (Who, Rooms) at once
    #[arg(long, value_name = "CALLS", default_value_t = Settings::default().max_questions)]
    max_questions: usize,
    /// Remember so many participants that left each room
    #[arg(long, value_name = "NAMES", default_value_t = Settings::default().max_remembered)]
    max_remembered: usize,
    /// Read frames up to this size
    #[arg(long, value_name = "BYTES", default_value_t = MAX_RECEIVE_BYTES, value_parser = parse_bytes)]
    max_receive: usize,
    /// Slow a member down that sends more events a second; 0: nobody
    #[arg(long, value_name = "EVENTS", default_value_t = 20.0, value_parser = parse_rate)]
    rate_limit: f64,
    /// Let a member send so many events at once after a silence
    #[arg(long, value_name = "EVENTS", default_value_t = 100)]
    burst: u32,
    /// Wait so long for a new connection's handshakes, and for a new call's JOIN
    /// or question
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_some_time)]
    first_frame: Duration,
    /// Close a connection on which no call goes on for so long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_some_time)]
    idle: Duration,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let log = self.log.start("Server".to_owned(), LevelFilter::Info)?;
        let store = match self.store.clone() {
            Some(Err(why)) => {
                let why = format!("invalid value for '--store <STORE>': {why}\n");
                clap::Error::raw(clap::error::ErrorKind::ValueValidation, why).exit()
            }
            Some(Ok(store)) => store,
            None => Store::Sqlite(default_store().context(
                "no data directory is known here; name a file with --store sqlite:PATH",
            )?),
        };
        let store = self.sharing.apply(store)?;
        let file = match &store {
            Store::Sqlite(path) => Some(path.clone()),
            _ => None,
        };
        let certificates = self.certificates()?;
        self.check_exposure()?;
        let (signal, hangups) = match certificates {
            Some(_) => signals::first_and_hangups(),
            None => signals::first().map(|signal| (signal, never())),
        }
        .context("cannot wait for signals")?;
        let server = Server::start(Settings {
            password: self.password()?,
            reserved: self.reserved()?,
            listen: self.listen,
            certificates: certificates.clone(),
            store,
            keep: self.keep,
            keepalive: Keepalive {
                every: self.keepalive,
                patience: self.keepalive_timeout,
            },
            grace: self.grace,
            outbox_events: self.outbox,
            poll_threads: (self.poll_threads)
                .map_or_else(|| Settings::default().poll_threads, usize::from),
            first_frame: self.limits.first_frame,
            idle: self.limits.idle,
            max_sessions: self.limits.max_members,
            max_per_address: self.limits.max_per_address,
            max_per_connection: self.limits.max_per_connection,
            max_rooms: self.limits.max_rooms,
            max_away: self.limits.max_away,
            max_questions: self.limits.max_questions,
            max_remembered: self.limits.max_remembered,
            max_receive_bytes: self.limits.max_receive,
            rate: (self.limits.rate_limit > 0.0).then_some(Rate {
                per_second: self.limits.rate_limit,
                burst: self.limits.burst,
            }),
            metrics: self.metrics.clone(),
            log,
        })?;
        if let Some(file) = file {
            log::info!("rooms are kept in {}", file.display());
        }
        let mut out = std::io::stdout();
        for address in server.addresses() {
            // Whoever started it may not read this, and it serves all the same.
            let _ = writeln!(out, "listening on {address}").and_then(|()| out.flush());
        }
        if let Some(address) = server.metrics_address() {
            let line = writeln!(out, "metrics on http://{address}/metrics");
            let _ = line.and_then(|()| out.flush());
        }
        notify(READY);
        let failed = server.failed().clone();
        let exit = loop {
            select! {
                recv(signal) -> _ => break Exit::Well,
                recv(failed) -> _ => break Exit::Failed,
                recv(hangups) -> _ => certificates.iter().for_each(reload),
            }
        };
        notify(STOPPING);
        if !server.stop(STOP_PATIENCE) {
            log::warn!("some clients did not take everything in time");
        }
        Ok(exit)
    }

    fn certificates(&self) -> anyhow::Result<Option<Certificates>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        Ok(Some(Certificates::load(ServerFiles {
            cert: cert.clone(),
            key: key.clone(),
            client_ca: self.client_ca.clone(),
        })?))
    }

    /// Everybody on the way can read and change what is not encrypted.
    fn check_exposure(&self) -> anyhow::Result<()> {
        if self.tls_cert.is_some() {
            return Ok(());
        }
        for address in &self.listen {
            if !is_exposed(address)? {
                continue;
            }
            if !self.insecure {
                bail!(
                    "others could read and change everything on its way to {address}: \
                     encrypt with --tls-cert and --tls-key («chitchat certs» makes some to try \
                     out), or say --insecure"
                );
            }
            log::warn!("{address} is not encrypted: others can read and change everything");
        }
        Ok(())
    }

    fn password(&self) -> anyhow::Result<Option<Password>> {
        let read = |path: &PathBuf| Ok(Password::new(&read_password(path)?));
        self.password_file.as_ref().map(read).transpose()
    }

    fn reserved(&self) -> anyhow::Result<ReservedNames> {
        let Some(path) = &self.names_file else {
            return Ok(ReservedNames::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the names in {}", path.display()))?;
        ReservedNames::parse(&text).with_context(|| path.display().to_string())
    }
}

impl Sharing {
    /// What waits for replicas, say, must not be silent where there are none.
    fn apply(&self, store: Store) -> anyhow::Result<Store> {
        let Store::Shared(mut store) = store else {
            let typed = [
                ("--redis-ca", self.redis_ca.is_some()),
                ("--redis-wait", self.redis_wait.is_some()),
                ("--lease", self.lease.is_some()),
            ];
            if let Some((option, _)) = typed.iter().find(|(_, is_typed)| *is_typed) {
                bail!("{option} is for rooms in Redis: --store redis://HOST:PORT");
            }
            return Ok(store);
        };
        if let Some(path) = &self.redis_password_file {
            store.password = Some(read_password(path)?);
        }
        store.ca = self.redis_ca.clone();
        store.replicas = self.redis_wait.unwrap_or(store.replicas);
        store.lease = self.lease.unwrap_or(store.lease).max(SHORTEST_LEASE);
        Ok(Store::Shared(store))
    }
}

/// What was there stays where what is there now is no good.
fn reload(certificates: &Certificates) {
    match certificates.reload() {
        Ok(()) => log::info!("the certificates were read again"),
        Err(why) => log::error!("the certificates stay as they were: {why}"),
    }
}

fn default_store() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "chitchat")?;
    Some(dirs.data_dir().join("rooms.db"))
}

/// A value that is no good must not be shown, as clap would: it may hold a
/// password.
fn typed_store(text: &str) -> Result<Result<Store, String>, std::convert::Infallible> {
    Ok(parse_store(text))
}

fn parse_store(text: &str) -> Result<Store, String> {
    match text.split_once(':') {
        None if text == "memory" => Ok(Store::Memory),
        Some(("sqlite", path)) if !path.is_empty() => Ok(Store::Sqlite(path.into())),
        Some((scheme, _)) if scheme.starts_with("redis") => {
            SharedStore::parse(text).map(Store::Shared)
        }
        _ => Err("it must be sqlite:PATH, memory or redis://HOST:PORT".to_owned()),
    }
}

/// A number of events, or a time in `s`, `m`, `h` or `d`.
fn parse_keep(text: &str) -> Result<Keep, String> {
    let fail = || "it must be a number of events, or a time such as 30d or 12h".to_owned();
    if let Ok(events) = text.parse() {
        return match events {
            0 => Err(fail()),
            events => Ok(Keep::Events(events)),
        };
    }
    let hours = |number: &str, hours: u64| {
        let number: u64 = number.parse().map_err(|_| fail())?;
        Ok(Duration::from_secs(number.saturating_mul(hours * 3600)))
    };
    let time = if let Some(days) = text.strip_suffix('d') {
        hours(days, 24)
    } else if let Some(number) = text.strip_suffix('h') {
        hours(number, 1)
    } else {
        parse_time(text).map_err(|_| fail())
    }?;
    match time.is_zero() {
        true => Err(fail()),
        false => Ok(Keep::For(time)),
    }
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        // Above this, gRPC's clients do not send by default either.
        Ok(bytes) if (MAX_RECEIVE_BYTES..=4 * 1024 * 1024).contains(&bytes) => Ok(bytes),
        _ => Err(format!("it must be {MAX_RECEIVE_BYTES} to 4194304")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(rate),
        _ => Err("it must be a number of events, or 0 for no limit".to_owned()),
    }
}

/// A time such as `500ms`, `10s` or `5m`; a bare number is seconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let fail = || "it must be a number with ms, s, m or h, such as 500ms".to_owned();
    let number: u64 = number.parse().map_err(|_| fail())?;
    let ms = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(fail()),
    };
    Ok(Duration::from_millis(number.saturating_mul(ms)))
}

/// A number of which there must be some: with none nobody could stay.
fn some() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// A time of which there must be some.
fn parse_some_time(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_time("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_time("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_time("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stores_are_named() {
        assert_eq!(parse_store("memory"), Ok(Store::Memory));
        assert_eq!(
            parse_store("sqlite:a:b.db"),
            Ok(Store::Sqlite("a:b.db".into()))
        );
        assert!(matches!(parse_store("redis://x"), Ok(Store::Shared(_))));
        for bad in ["", "sqlite", "sqlite:", "redis:x", "memory:"] {
            assert!(parse_store(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_kept_is_a_number_or_a_time() {
        assert_eq!(parse_keep("500"), Ok(Keep::Events(500)));
        let days = |n: u64| Duration::from_secs(n * 24 * 3600);
        assert_eq!(parse_keep("30d"), Ok(Keep::For(days(30))));
        assert_eq!(parse_keep("12h"), Ok(Keep::For(days(1) / 2)));
        assert_eq!(parse_keep("5m"), Ok(Keep::For(Duration::from_secs(300))));
        for bad in ["", "0", "0d", "-1", "d", "1w", "1.5d"] {
            assert!(parse_keep(bad).is_err(), "{bad}");
        }
    }
}
