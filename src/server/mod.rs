//! The way of a line of text through the server.
//!
//! ```text
//! read pump → inbox → session thread → room (clock, roster) → journal thread → outboxes → write pumps
//! ```
//!
//! [`session`] takes what one client sends, [`rooms`] gives it its place in
//! the order, [`journal`] keeps it, [`fanout`] hands it to everybody.
//! [`departures`] waits for those who may come back, [`queries`] answers
//! questions, [`sessions`] knows who is connected, [`gate`] who may be. This module starts them and
//! ends them, in order.

mod departures;
mod fanout;
mod gate;
mod journal;
mod past;
mod queries;
mod report;
mod rooms;
mod session;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::chat::{MemberKey, SessionNo};
use crate::history::{HistoryError, Past, Store};
use crate::rpc::{Certificates, Keepalive, ListenError, Listener, Listening};
use crate::standard::{HealthBoard, reflection};
use crate::trace::LogSink;
use crate::wire::{Ending, SERVICE};

use departures::Departure;
use gate::Gate;
use journal::Message;
use rooms::Rooms;
use sessions::Sessions;

pub use gate::{NamesError, Password, ReservedNames};

/// Steps that may wait for the journal thread. When they are this many,
/// sessions wait: the disk sets the pace.
const JOURNAL_QUEUE: usize = 4096;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen: `HOST:PORT`, `[HOST]:PORT` or `unix:PATH`.
    pub listen: Vec<String>,
    /// Encrypts with these, and asks clients for theirs if it knows a CA of
    /// clients: then a participant's name is that of its certificate.
    pub certificates: Option<Certificates>,
    /// The password that everybody must bring who has no certificate.
    pub password: Option<Password>,
    /// Names with passwords of their own.
    pub reserved: ReservedNames,
    /// Where to keep the rooms.
    pub store: Store,
    /// How vanished clients are found.
    pub keepalive: Keepalive,
    /// How long a participant with a secret may be gone before it has left.
    pub grace: Duration,
    /// How long a new stream may take for its first frame.
    pub first_frame: Duration,
    /// Events that may wait for a member before it is let go.
    pub outbox_events: usize,
    /// Streams at once.
    pub max_sessions: usize,
    /// Rooms at all.
    pub max_rooms: usize,
    /// Poll threads of gRPC.
    pub poll_threads: usize,
    /// Where this process's log goes, so that a group's lines are one write.
    pub log: LogSink,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:50052".to_owned()],
            certificates: None,
            password: None,
            reserved: ReservedNames::default(),
            store: Store::Memory,
            keepalive: Keepalive::default(),
            grace: Duration::from_secs(10),
            first_frame: Duration::from_secs(10),
            outbox_events: 8192,
            max_sessions: 20_000,
            max_rooms: 10_000,
            poll_threads: std::thread::available_parallelism().map_or(2, usize::from),
            log: LogSink::default(),
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its store cannot be opened.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// What all parts of a running server share.
struct House {
    rooms: Rooms,
    journal: Sender<Message>,
    past: Arc<dyn Past>,
    departures: Sender<Departure>,
    sessions: Sessions,
    gate: Gate,
    next_session: AtomicU64,
    next_member: AtomicU64,
    first_frame: Duration,
}

impl House {
    fn next_session(&self) -> SessionNo {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    fn next_member(&self) -> MemberKey {
        MemberKey(self.next_member.fetch_add(1, Ordering::Relaxed))
    }
}

/// A server that serves. It goes on until [`stop`](Self::stop).
pub struct Server {
    house: Arc<House>,
    listening: Listening,
    health: HealthBoard,
    journal: JoinHandle<()>,
    departures: JoinHandle<()>,
    quit_departures: Sender<()>,
    failed: Receiver<()>,
}

impl Server {
    /// Opens the store, listens and serves.
    ///
    /// # Errors
    /// Why not.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let opened = settings.store.open()?;
        let (journal, queue) = bounded(JOURNAL_QUEUE);
        let (failure, failed) = bounded(1);
        let (departures, departed) = unbounded();
        let (quit_departures, quit) = bounded(0);
        let stored = opened.rooms.iter().flat_map(|r| &r.members);
        let next_member = stored.map(|m| m.key.0).max().unwrap_or(0) + 1;
        let certified = settings
            .certificates
            .as_ref()
            .is_some_and(Certificates::name_clients);
        let house = Arc::new(House {
            rooms: Rooms::restore(opened.rooms, settings.max_rooms),
            journal,
            past: opened.past,
            departures,
            sessions: Sessions::new(settings.max_sessions),
            gate: Gate::new(certified, settings.password, settings.reserved),
            next_session: AtomicU64::new(1),
            next_member: AtomicU64::new(next_member),
            first_frame: settings.first_frame,
        });
        let health = HealthBoard::new(vec![SERVICE.to_owned()]);
        let log = settings.log;
        let broken = health.clone();
        let journal = thread("journal", move || {
            journal::run(queue, opened.journal, &log, || {
                broken.fail();
                let _ = failure.try_send(()); // somebody knows already
            });
        })?;
        let waiting = house.clone();
        let grace = settings.grace;
        let departures = thread("departures", move || {
            departures::run(&waiting, departed, &quit, grace)
        })?;
        let mut listener = health.serve(reflection(Listener::new(
            settings.poll_threads,
            settings.keepalive,
        )));
        if let Some(certificates) = settings.certificates {
            listener = listener.encrypted(certificates);
        }
        let listening = queries::serve(
            session::serve(listener, &house, settings.outbox_events),
            &house,
        )
        .listen(&settings.listen)?;
        for address in listening.addresses() {
            report::start(address);
        }
        house.rooms.await_those_present(&house);
        health.serving();
        Ok(Self {
            house,
            listening,
            health,
            journal,
            departures,
            quit_departures,
            failed,
        })
    }

    /// Where it listens, with the ports that it got.
    pub fn addresses(&self) -> &[String] {
        self.listening.addresses()
    }

    /// Gets a message if the store fails: then the server keeps nothing and
    /// sends nothing any more, and is to be stopped.
    pub fn failed(&self) -> &Receiver<()> {
        &self.failed
    }

    /// Tells every member, lets their outboxes drain, and ends, within
    /// `patience` whatever the clients do. Returns whether all got everything.
    pub fn stop(mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.health.stop();
        self.house.sessions.refuse_more();
        let stopping = self.listening.begin_stop();
        // Through the journal, so that each member first gets what was said
        // before; then the streams that have not joined.
        let _ = self.house.journal.send(Message::Close(Ending::Stopping));
        self.house.sessions.kick_all();
        let all = self.house.sessions.wait_until_none(left().mul_f64(0.6));
        self.health.drop_watches();
        self.listening.end(stopping, left().mul_f64(0.8));
        drop(self.quit_departures);
        let _ = self.house.journal.send(Message::Quit);
        for thread in [self.departures, self.journal] {
            if thread.join().is_err() {
                log::error!("a thread of the server panicked");
            }
        }
        report::stop();
        all
    }
}

/// Starts a named thread.
fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}

/// Milliseconds since the Unix epoch by the clock on the wall.
fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
