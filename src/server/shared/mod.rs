//! Rooms whose order is made in a log that several servers share.
//!
//! ```text
//! session thread → proposals → sequencer thread → Redis
//!                      journal ← room ← follower thread ←┘
//! ```
//!
//! A session proposes commands. [`sequencer`] brings them to the log in groups,
//! [`follower`] reads back what all servers brought, lets the rooms obey it in
//! that order and hands what comes of it to the journal, as a session does
//! where the order is made here. [`waiting`] knows the sessions that wait for
//! what comes of their commands. [`steward`] keeps this server's lease, and
//! takes care of the sessions of servers that lost theirs.
//!
//! Nothing is shown, and so nothing acknowledged, that was not read back.

mod follower;
mod obey;
mod sequencer;
mod steward;
mod trouble;
mod waiting;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select, select_biased};

use super::journal::Message;
use super::metrics::LogNow;
use super::order::{Parting, Seated, Words};
use super::rooms::SharedRoom;
use super::session::{Chair, End};
use super::step::{Change, Claim, Step};
use super::{House, report, thread, wall_ms};
use crate::chat::{Ask, Command, Deed, Name, SessionNo, TextError, check_text};
use crate::history::shared::{Leases, Proposal, SharedLog};
use crate::history::{Cache, HistoryError, Keep};
use crate::standard::HealthBoard;
use crate::wire::{Ending, PastAsk};

use follower::Following;
use sequencer::Proposed;
use trouble::Trouble;
use waiting::Waiting;

/// Commands that may wait for the log. When they are this many, sessions wait:
/// the log sets the pace.
const QUEUE: usize = 4096;

/// How long a session waits for what comes of its JOIN.
const JOIN: Duration = Duration::from_secs(10);

/// How long a client that has seen more than this server waits for it.
const CATCH_UP: Duration = Duration::from_secs(3);

/// What this server shares, and what its sessions need to share it.
pub(super) struct Shared {
    log: SharedLog,
    cache: Cache,
    keep: Keep,
    proposals: Sender<Proposed>,
    queue: Receiver<Proposed>,
    waiting: Waiting,
    trouble: Trouble,
    /// Commands that the sequencer has taken and the log has not.
    in_hand: AtomicUsize,
    /// What the steward found last: servers that live, participants away.
    servers: AtomicUsize,
    away: AtomicUsize,
    /// Counts how often something was obeyed.
    progress: Mutex<u64>,
    progressed: Condvar,
    /// How often the follower has read all that the bell told.
    rounds: AtomicU64,
    /// The log is read on a new connection, and the sequencer has not made one
    /// since: the log may be elsewhere by now, and may have lost something.
    has_moved: AtomicBool,
    /// Disconnected once the server stops.
    stop: Receiver<()>,
    stopping: Mutex<Option<Sender<()>>>,
}

/// The threads that share the rooms.
pub(super) struct Threads {
    handles: [JoinHandle<()>; 3],
    /// Disconnected when all of them have ended.
    ended: Receiver<()>,
}

impl Shared {
    pub(super) fn new(log: SharedLog, cache: Cache, keep: Keep) -> Self {
        let (proposals, queue) = bounded(QUEUE);
        let (stopping, stop) = bounded(0);
        Self {
            log,
            cache,
            keep,
            proposals,
            queue,
            waiting: Waiting::default(),
            trouble: Trouble::default(),
            in_hand: AtomicUsize::new(0),
            servers: AtomicUsize::new(1),
            away: AtomicUsize::new(0),
            progress: Mutex::default(),
            progressed: Condvar::new(),
            rounds: AtomicU64::new(0),
            has_moved: AtomicBool::new(false),
            stop,
            stopping: Mutex::new(Some(stopping)),
        }
    }

    /// The log.
    pub(super) fn log(&self) -> &SharedLog {
        &self.log
    }

    /// How it is doing.
    pub(super) fn now(&self) -> LogNow {
        let get = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        LogNow {
            away: get(&self.away),
            servers: get(&self.servers),
            waiting: self.proposals.len() + get(&self.in_hand),
            troubles: self.trouble.each(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, u64> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits that rooms have moved.
    fn tell_progress(&self) {
        *self.progress() += 1;
        self.progressed.notify_all();
    }

    /// Waits until there is what is looked for.
    fn look_for<T>(&self, patience: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut progress = self.progress();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_stopping() {
                return None;
            }
            let waited = self.progressed.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_stopping(&self) -> bool {
        let stopping = self.stopping.lock();
        stopping.unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Waits, unless the server stops: then it returns false at once.
    fn pause(&self, time: Duration) -> bool {
        self.stop.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }

    /// Brings something to the log, after what waits already. Waits if too
    /// much does; once the server stops it goes nowhere. Then what the same
    /// session proposes later must not go anywhere either: the rooms would
    /// take what lacks, when it is said again, for something that they have.
    fn propose(&self, proposed: Proposed) {
        select_biased! {
            recv(self.stop) -> _ => {}
            send(self.proposals, proposed) -> _ => {}
        }
    }

    /// As [`propose`](Self::propose), for whoever is answered: it is refused if
    /// too much waits for too long.
    fn ask(&self, proposed: Proposed) -> Result<(), Ending> {
        if self.trouble.is_told() {
            return Err(Ending::Unreachable);
        }
        select_biased! {
            recv(self.stop) -> _ => Err(Ending::Stopping),
            send(self.proposals, proposed) -> _ => Ok(()),
            default(JOIN) => Err(Ending::Unreachable),
        }
    }

    fn command(&self, room: &SharedRoom, session: SessionNo, deed: Deed) -> Proposed {
        self.command_at(room, session, deed, wall_ms())
    }

    fn command_at(
        &self,
        room: &SharedRoom,
        session: SessionNo,
        deed: Deed,
        wall_ms: i64,
    ) -> Proposed {
        let command = Command {
            session,
            wall_ms,
            deed,
        };
        Proposed::Command(
            room.clone(),
            Proposal {
                room: room.no(),
                command,
            },
        )
    }

    /// The room of this name, opened on all servers if there is none.
    pub(super) fn open(&self, house: &House, name: &Name) -> Result<SharedRoom, Ending> {
        if let Some(room) = house.rooms.find(name) {
            return Ok(room);
        }
        house.rooms.check_space()?;
        self.ask(Proposed::Room(name.clone()))?;
        // Others may have opened the last that there may be.
        let look = || match house.rooms.find(name) {
            Some(room) => Some(Ok(room)),
            None => house.rooms.check_space().err().map(Err),
        };
        self.look_for(JOIN, look)
            .unwrap_or(Err(Ending::Unreachable))
    }

    /// Waits a while, until this server has seen as much of the room as a client
    /// that was with another one. If it has not then, though it has read the log
    /// meanwhile, that is in the log no more.
    ///
    /// # Errors
    /// The log cannot be read, so that nobody knows.
    pub(super) fn catch_up(&self, room: &SharedRoom, past: PastAsk) -> Result<(), Ending> {
        let PastAsk::After(after) = past else {
            return Ok(());
        };
        let rounds = || self.rounds.load(Ordering::Relaxed);
        let before = rounds();
        let has_seen = || (room.lock().clock() >= after).then_some(());
        match self.look_for(CATCH_UP, has_seen) {
            // The first of them may have begun before.
            None if rounds() < before + 2 => Err(Ending::Unreachable),
            _ => Ok(()),
        }
    }

    /// Lets a client in, when the log has said when.
    pub(super) fn join(&self, room: &SharedRoom, ask: Ask, claim: Claim) -> Result<Seated, Ending> {
        let session = ask.session;
        let answer = self.waiting.for_join(session, claim);
        let deed = Deed::Join {
            id: ask.id,
            name: ask.name,
            secret: ask.secret,
            sent: ask.sent,
            fresh: ask.fresh,
        };
        if let Err(ending) = self.ask(self.command(room, session, deed)) {
            self.waiting.give_up(session);
            return Err(ending);
        }
        let answered = select! {
            recv(answer) -> answered => answered.ok(),
            recv(self.stop) -> _ => None,
            default(JOIN) => None,
        };
        match answered {
            Some(answered) => answered,
            // Whoever takes the claim out has answered, or is about to. If it
            // is let in later all the same, the steward finds its session gone.
            None if self.waiting.give_up(session) => Err(Ending::Unreachable),
            None => answer.recv().unwrap_or(Err(Ending::Unreachable)),
        }
    }

    /// Brings what is said to the log, without what would only be refused: that
    /// would lie there, and in every server's way, as long as anything else.
    pub(super) fn say(&self, chair: &Chair, session: SessionNo, words: Words) {
        let (text, too_long) = match check_text(&words.text) {
            Ok(text) if text.len() < words.text.len() => (text.to_owned(), None),
            Ok(_) => (words.text, None),
            Err(TextError::Empty) => (String::new(), None),
            Err(TextError::TooLong(chars)) => (String::new(), Some(chars)),
        };
        let deed = Deed::Say {
            key: chair.key,
            text,
            too_long,
            to: Name::shortened(&words.to),
            sent: words.sent,
        };
        self.propose(self.command_at(&chair.room, session, deed, words.wall_ms));
    }

    /// Takes a participant out of its room, as its session's end demands. If
    /// that does not reach the log, the steward finds the session gone.
    pub(super) fn part(&self, chair: &Chair, session: SessionNo, end: End) -> Parting {
        let key = chair.key;
        let (deed, ending) = match end {
            End::Superseded(ending) => return Parting::alone(ending),
            End::Left { sent } => {
                let is_cut = false;
                (Deed::Leave { key, sent, is_cut }, Ending::Goodbye)
            }
            End::Fault(ending) => {
                let (sent, is_cut) = (0, true);
                (Deed::Leave { key, sent, is_cut }, ending)
            }
            End::Lost(ending) => {
                let (name, why) = (chair.name.as_str(), ending.to_string());
                report::lost(&chair.room_id, name, chair.id, &why);
                (Deed::Lose { key }, ending)
            }
        };
        // Whoever is told goodbye is out of the room, and has all that came
        // before. That is waited for until the members are let go, and who is
        // not out by then is told so; the log may have the command all the same.
        let parted = self.waiting.for_part(session, ending.clone());
        self.propose(self.command(&chair.room, session, deed));
        let waited = select! {
            recv(parted) -> parted => Ok(parted.unwrap_or(false)),
            recv(self.stop) -> _ => Err(Ending::Stopping),
            default(self.log.store().lease) => Err(Ending::Unreachable),
        };
        let waited = match waited {
            // Whoever takes it out has told, or is about to.
            Err(_) if !self.waiting.give_up(session) => Ok(parted.recv().unwrap_or(false)),
            waited => waited,
        };
        match (waited, ending) {
            (Ok(is_detached), ending) => Parting {
                ending,
                is_detached,
            },
            (Err(why), Ending::Goodbye) => Parting::alone(why),
            (Err(_), ending) => Parting::alone(ending),
        }
    }

    /// Follows the log up to its end, before the server serves anybody. That
    /// may take longer than its lease, without which the others would take its
    /// members for lost.
    pub(super) fn begin(&self, house: &House) -> Result<Following, HistoryError> {
        let following = Following::begin(house, self)?;
        Leases::new(self.log.clone()).renew()?;
        Ok(following)
    }

    /// From now on nobody waits for the log any more.
    pub(super) fn stop(&self) {
        let mut stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        *stopping = None;
        drop(stopping);
        self.tell_progress();
    }
}

/// Lets all members that this server has go: they may come back, here or to
/// another one.
fn let_all_go(house: &House, ending: &Ending) {
    for room in house.rooms.all() {
        let room = room.lock();
        let step = Step::changed(&room, Change::DismissAll(ending.clone()));
        house.journal.hand_over(Message::Step(step));
    }
    house.journal.settle(None);
}

impl Threads {
    /// Starts them.
    pub(super) fn start(
        house: &Arc<House>,
        shared: &Arc<Shared>,
        following: Following,
        health: HealthBoard,
        fail: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (alive, ended) = bounded::<()>(0);
        let parts = || (alive.clone(), house.clone(), shared.clone());
        let (life, at, of) = parts();
        let sequencer = thread("sequencer", move || {
            sequencer::run(&at, &of);
            drop(life);
        })?;
        let (life, at, of) = parts();
        let follower = thread("follower", move || {
            following.run(&at, &of, &fail);
            drop(life);
        })?;
        let (life, at, of) = parts();
        let steward = thread("steward", move || {
            steward::run(&at, &of, &health);
            drop(life);
        })?;
        Ok(Self {
            handles: [sequencer, follower, steward],
            ended,
        })
    }

    /// Waits for their ends, after [`Shared::stop`]: what was proposed still
    /// reaches the log. Redis may not answer; then they are left alone after
    /// `patience`, and end when they have lost theirs.
    pub(super) fn join(self, patience: Duration) {
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            log::warn!("Redis does not answer, so what was said last may not be kept");
            return;
        }
        for thread in self.handles {
            if thread.join().is_err() {
                log::error!("a thread of the server panicked");
            }
        }
    }
}
