//! The way of a line of text through the server.
//!
//! ```text
//! read pump → inbox → session thread → room (clock, roster) → journal → outboxes → write pumps
//! ```
//!
//! [`session`] takes what one client sends, [`rooms`] gives it its place in
//! the order, [`journal`] keeps it, [`fanout`] hands it to everybody. Where
//! servers share their rooms, [`shared`] makes the order instead, and [`order`]
//! hides the difference. [`departures`] waits for those who may come back,
//! [`queries`] answers questions, [`sessions`] knows who is connected, [`gate`]
//! who may be, [`pace`] how fast it may speak. [`metrics`] counts, and
//! [`scrape`] shows the counts. This module starts them and ends them, in order.

mod departures;
mod fanout;
mod flood;
mod gate;
mod journal;
mod metrics;
mod order;
mod pace;
mod past;
mod queries;
mod quota;
mod report;
mod rooms;
mod scrape;
mod session;
mod sessions;
mod shared;
mod step;
mod tempo;
mod windows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::chat::{MAX_REMEMBERED, MemberKey, SessionNo, first_of};
use crate::history::{HistoryError, Keep, Past, Store};
use crate::rpc::{
    Certificates, ConnectionLimits, Keepalive, ListenError, Listener, Listening, MAX_RECEIVE_BYTES,
};
use crate::standard::{HealthBoard, reflection};
use crate::trace::LogSink;
use crate::wire::{Ending, SERVICE};

use departures::Departures;
use flood::Flood;
use gate::Gate;
use journal::{Journal, Message};
use metrics::Metrics;
use order::Order;
use quota::Quota;
use rooms::Rooms;
use scrape::Scrape;
use sessions::Sessions;

pub use gate::{NamesError, Password, ReservedNames};
pub use pace::Rate;

/// Streams that may be on their way out because they were too many.
const MAX_REFUSALS: usize = 256;

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
    /// How much of their past to keep; `None` for what is usual for the store.
    pub keep: Option<Keep>,
    /// How vanished clients are found.
    pub keepalive: Keepalive,
    /// How long a participant with a secret may be gone before it has left.
    pub grace: Duration,
    /// How many such are awaited at once; more have left at once.
    pub max_away: usize,
    /// How long the handshakes of a new connection may take, and a new call for
    /// its first frame.
    pub first_frame: Duration,
    /// How long a connection may be without a call.
    pub idle: Duration,
    /// Events that may wait for a member before it is let go.
    pub outbox_events: usize,
    /// Streams at once.
    pub max_sessions: usize,
    /// Streams at once from one address (of IPv6, from one /64 network).
    pub max_per_address: usize,
    /// Streams at once on one connection; more wait in their client.
    pub max_per_connection: u32,
    /// The largest frame that is read, in bytes; not below
    /// [`MAX_RECEIVE_BYTES`], which clients count on.
    pub max_receive_bytes: usize,
    /// How fast each member may speak; `None` for as fast as it likes. Whoever
    /// is faster is slowed, and loses nothing.
    pub rate: Option<Rate>,
    /// Participants that left and that each room would recognise.
    pub max_remembered: usize,
    /// Where to serve metrics over HTTP.
    pub metrics: Option<String>,
    /// Rooms at all.
    pub max_rooms: usize,
    /// Questions (`Who` and `Rooms`) that are answered at once.
    pub max_questions: usize,
    /// Poll threads of gRPC, at least 1; by default one a processor.
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
            keep: None,
            keepalive: Keepalive::default(),
            grace: Duration::from_secs(10),
            max_away: 20_000,
            first_frame: Duration::from_secs(10),
            // Whoever asks for the server's health now and then need not dial
            // each time.
            idle: Duration::from_secs(60),
            outbox_events: 8192,
            max_sessions: 20_000,
            max_per_address: 20_000,
            max_per_connection: 100,
            max_receive_bytes: MAX_RECEIVE_BYTES,
            rate: None,
            max_remembered: MAX_REMEMBERED,
            metrics: None,
            max_rooms: 10_000,
            max_questions: 256,
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
    /// The metrics cannot be served.
    #[error("cannot serve metrics on {address}: {why}")]
    Metrics {
        /// As it was given.
        address: String,
        /// What the system says.
        why: String,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// What all parts of a running server share.
struct House {
    order: Order,
    rooms: Rooms,
    journal: Journal,
    past: Arc<dyn Past>,
    departures: Departures,
    sessions: Sessions,
    /// Threads of streams, those that are being refused too.
    threads: Arc<Quota>,
    gate: Gate,
    metrics: Arc<Metrics>,
    rate: Option<Rate>,
    /// Questions that are being answered.
    questions: Arc<Quota>,
    /// Participants that are awaited.
    away: Arc<Quota>,
    next_session: AtomicU64,
    next_member: AtomicU64,
    first_frame: Duration,
    /// How long a participant with a secret may be gone.
    grace: Duration,
}

impl House {
    fn next_session(&self) -> SessionNo {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    fn next_member(&self) -> MemberKey {
        MemberKey(self.next_member.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends the journal thread and closes the history.
    fn close_journal(&self) {
        self.journal.hand_over(Message::Quit);
        self.journal.ring();
    }

    /// The same for a server that does not come to serve. The history is closed
    /// when this returns, for the process may end then.
    fn give_up(&self) {
        self.journal.close();
        self.close_journal();
    }
}

/// A server that serves. It goes on until [`stop`](Self::stop).
pub struct Server {
    house: Arc<House>,
    listening: Listening,
    health: HealthBoard,
    scrape: Option<Scrape>,
    journal: JoinHandle<()>,
    departures: JoinHandle<()>,
    /// Only where the order is made elsewhere.
    sharing: Option<shared::Threads>,
    quit_departures: Sender<()>,
    failed: Receiver<()>,
}

impl Server {
    /// Opens the store, listens and serves.
    ///
    /// # Errors
    /// Why not.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let keep = settings.keep.unwrap_or(settings.store.usual_keep());
        let opened = settings.store.open_keeping(keep)?;
        let (failure, failed) = bounded(1);
        let (quit_departures, quit) = bounded(0);
        let order = Order::of(&settings, opened.cache, keep)?;
        let max_remembered = order.most_remembered(settings.max_remembered);
        let server = order.server();
        let next_member = first_of(server).max(opened.last_key.0 + 1);
        let certified = settings
            .certificates
            .as_ref()
            .is_some_and(Certificates::name_clients);
        let metrics = Arc::new(Metrics::default());
        for room in &opened.rooms {
            metrics.clock(room.clock);
        }
        let health = HealthBoard::new(vec![SERVICE.to_owned()]);
        let broken = health.clone();
        let failure_of_log = failure.clone();
        let house = Arc::new(House {
            order,
            rooms: Rooms::restore(opened.rooms, settings.max_rooms, max_remembered),
            journal: Journal::new(opened.journal, settings.log, metrics.clone(), move || {
                broken.fail();
                let _ = failure.try_send(()); // somebody knows already
            }),
            past: opened.past,
            departures: Departures::new(),
            sessions: Sessions::new(settings.max_sessions, settings.max_per_address),
            gate: Gate::new(certified, settings.password, settings.reserved),
            metrics: metrics.clone(),
            rate: settings.rate,
            threads: Quota::new(settings.max_sessions.saturating_add(MAX_REFUSALS)),
            questions: Quota::new(settings.max_questions),
            away: Quota::new(settings.max_away),
            next_session: AtomicU64::new(first_of(server)),
            next_member: AtomicU64::new(next_member),
            first_frame: settings.first_frame,
            grace: settings.grace,
        });
        let following = match &house.order {
            Order::Here => None,
            Order::Shared(shared) => Some((shared.clone(), shared.begin(&house)?)),
        };
        let keeping = house.clone();
        let journal = thread("journal", move || keeping.journal.run())?;
        let waiting = house.clone();
        let grace = settings.grace;
        let departures = thread("departures", move || {
            departures::run(&waiting, &quit, grace)
        })?;
        let limits = ConnectionLimits {
            keepalive: settings.keepalive,
            max_receive_bytes: settings.max_receive_bytes,
            max_streams: settings.max_per_connection,
            handshake: settings.first_frame,
            question: settings.first_frame,
            idle: settings.idle,
            // So that there is always one left for a new question.
            max_answers: settings.max_questions / 2,
        };
        let flood = Flood::new(settings.max_per_address);
        let (dropping, severing) = (house.clone(), house.clone());
        let admit = move |network| {
            let admitted = flood.admits(network, Instant::now());
            if !admitted {
                dropping.metrics.dropped();
            }
            admitted
        };
        let listener = Listener::new(settings.poll_threads, limits)
            .admit(admit, move |count| severing.metrics.severed(count));
        let mut listener = health.serve(reflection(listener));
        if let Some(certificates) = settings.certificates {
            listener = listener.encrypted(certificates);
        }
        let mut listening = queries::serve(
            session::serve(listener, &house, settings.outbox_events),
            &house,
        )
        .listen(&settings.listen)
        .inspect_err(|_| house.give_up())?;
        let scrape = settings
            .metrics
            .map(|address| Scrape::start(&address, &house))
            .transpose()
            .inspect_err(|_| house.give_up())?;
        report::start(&listening.addresses().join(", "), house.order.log_id());
        // Before anybody is served, so that the log begins with what was found.
        house.rooms.await_those_present(&house);
        let broken = health.clone();
        let fail = move || {
            broken.fail();
            let _ = failure_of_log.try_send(()); // somebody knows already
        };
        let sharing = following
            .map(|(shared, following)| {
                shared::Threads::start(&house, &shared, following, health.clone(), fail)
            })
            .transpose()?;
        listening.serve();
        health.serving();
        Ok(Self {
            house,
            listening,
            health,
            scrape,
            journal,
            departures,
            sharing,
            quit_departures,
            failed,
        })
    }

    /// Where it listens, with the ports that it got.
    pub fn addresses(&self) -> &[String] {
        self.listening.addresses()
    }

    /// Where it serves metrics, with the port that it got.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.scrape.as_ref().map(Scrape::address)
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
        if let Order::Shared(shared) = &self.house.order {
            shared.stop();
        }
        let stopping = self.listening.begin_stop();
        // Through the journal, so that each member first gets what was said
        // before; then the streams that have not joined.
        self.house
            .journal
            .hand_over(Message::Close(Ending::Stopping));
        self.house.journal.ring();
        self.house.sessions.kick_all();
        let all = self.house.sessions.wait_until_none(left().mul_f64(0.6));
        self.health.end(left().mul_f64(0.2));
        self.listening.end(stopping, left().mul_f64(0.8));
        if let Some(scrape) = self.scrape {
            scrape.stop(left());
        }
        if let Some(sharing) = self.sharing {
            sharing.join(left());
        }
        drop(self.quit_departures);
        self.house.close_journal();
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
