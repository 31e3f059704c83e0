//! The journal: keeps what the sessions stamped, in order and in groups, and
//! only then lets anybody see it.
//!
//! A session hands its steps over under its room's lock and then settles: if
//! nobody keeps a group at that moment, it keeps one itself, which spares a
//! lonely line the way through another thread. Whatever has come meanwhile is
//! the journal thread's work. So an idle server keeps one step at a time, at
//! once, and a busy one hundreds.
//!
//! A session that alone keeps a small room busy goes on keeping its groups
//! itself: the journal thread would gather no more than the session has.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::fanout::Fanout;
use super::lull::Lull;
use super::metrics::{Metrics, Outboxes};
use super::report;
use super::step::{Sequel, Step};
use crate::chat::MemberKey;
use crate::history::{self, Record};
use crate::trace::LogSink;
use crate::wire::Ending;

/// Steps that may wait. When they are this many, sessions wait: the disk sets
/// the pace.
const QUEUE: usize = 4096;

/// Steps in one group at most. It bounds the size of a batch: a step is at most
/// some 900 bytes on the wire, and gRPC clients read 4 MB by default.
const MAX_GROUP: usize = 1024;

/// The shortest and the longest lull between groups when steps come without a
/// pause.
const LULLS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(25)];

/// What a lull grows by for each member that the last group went to: about
/// twice what sending it one frame costs. So while the poll threads send a
/// group the next one gathers, and a wide room gets few large ones.
const LULL_A_SEAT: Duration = Duration::from_micros(20);

/// What is handed over.
#[expect(clippy::large_enum_variant, reason = "nearly all are steps")]
pub(super) enum Message {
    /// Something happened in a room.
    Step(Step),
    /// Nobody gets anything from now on: all outboxes end, for this reason,
    /// after what is in them.
    Close(Ending),
    /// Somebody wants to know how full the outboxes are.
    Measure(Sender<Outboxes>),
    /// The last message: the journal thread ends.
    Quit,
}

/// The journal, as all threads share it.
pub(super) struct Journal {
    send: Sender<Message>,
    queue: Receiver<Message>,
    /// Held by whoever keeps a group. It comes after a room's lock for nobody:
    /// sessions take it when they have let go of theirs.
    keeper: Mutex<Keeper>,
    /// Rings for the journal thread; one ring waits at most.
    ring: Sender<()>,
    bell: Receiver<()>,
}

impl Journal {
    /// A journal over this history. If it fails, `failed` is called, which
    /// must not wait.
    pub(super) fn new(
        history: Box<dyn history::Journal>,
        log: LogSink,
        metrics: Arc<Metrics>,
        failed: impl Fn() + Send + 'static,
    ) -> Self {
        let (send, queue) = bounded(QUEUE);
        let (ring, bell) = bounded(1);
        let keeper = Keeper {
            history: Some(history),
            fanout: Fanout::new(metrics.clone()),
            log,
            metrics,
            failed: Box::new(failed),
            records: Vec::with_capacity(MAX_GROUP),
            sequels: Vec::with_capacity(MAX_GROUP),
            alone: None,
            lull: Lull::new(LULLS[0]),
            quits: false,
        };
        Self {
            send,
            queue,
            keeper: Mutex::new(keeper),
            ring,
            bell,
        }
    }

    /// Takes a message. A step must be handed over under the lock of its room,
    /// which stamped it: the order of the stamps is then the order of the
    /// queue. Waits if too much waits already; the journal waits for no room.
    pub(super) fn hand_over(&self, message: Message) {
        if let Err(TrySendError::Full(message)) = self.send.try_send(message) {
            self.ring();
            let _ = self.send.send(message); // cannot fail: the receiver is here too
        }
    }

    /// To be called after a hand-over, when the room's lock is free again: keeps
    /// a group on this thread, unless another keeps one at the moment or has
    /// just kept one, and leaves the rest to the journal thread. `member` is
    /// the participant whose session this is, if it is a session.
    pub(super) fn settle(&self, member: Option<MemberKey>) {
        let mut keeper = match self.keeper.try_lock() {
            Ok(keeper) => keeper,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Whoever has it looks at the queue once more when it lets go.
            Err(TryLockError::WouldBlock) => return,
        };
        if !keeper.lull.is_busy() || keeper.is_alone(member) {
            keeper.keep_group(&self.queue, member);
        }
        self.let_go(keeper);
    }

    fn let_go(&self, keeper: MutexGuard<'_, Keeper>) {
        drop(keeper);
        if !self.queue.is_empty() {
            self.ring();
        }
    }

    /// Wakes the journal thread.
    pub(super) fn ring(&self) {
        let _ = self.ring.try_send(()); // a ring that waits is as good
    }

    /// The journal thread: keeps groups until it is told to quit.
    pub(super) fn run(&self) {
        while self.bell.recv().is_ok() {
            let mut keeper = self
                .keeper
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            // While it has work it does not let go, so that groups gather.
            keeper.lull.gather();
            while keeper.keep_group(&self.queue, None) {
                keeper.lull.gather();
            }
            if keeper.quits {
                return;
            }
            self.let_go(keeper);
        }
    }
}

/// Keeps groups. If the history fails, nothing of that group or after it is
/// sent to anybody: all members are told, and `failed` is called.
struct Keeper {
    /// `None` once nothing is kept any more: it failed, or the server stops.
    history: Option<Box<dyn history::Journal>>,
    fanout: Fanout,
    log: LogSink,
    metrics: Arc<Metrics>,
    failed: Box<dyn Fn() + Send>,
    /// The group, in two halves with the same indices.
    records: Vec<Record>,
    sequels: Vec<Sequel>,
    /// The one participant who said the whole last group.
    alone: Option<MemberKey>,
    /// The journal thread's, between groups.
    lull: Lull,
    quits: bool,
}

impl Keeper {
    /// Whether this participant alone keeps the journal busy, in a room so small
    /// that it need not rest longer than the session does.
    fn is_alone(&self, member: Option<MemberKey>) -> bool {
        member.is_some() && self.alone == member && self.lull.length() == LULLS[0]
    }

    /// Keeps what waits in `queue`, logs it and hands it out, on the session
    /// thread of `member` if there is one. Returns whether there was anything.
    fn keep_group(&mut self, queue: &Receiver<Message>, member: Option<MemberKey>) -> bool {
        let mut last = None;
        for message in queue.try_iter() {
            match message {
                Message::Step(step) => {
                    self.records.push(step.record);
                    self.sequels.push(step.sequel);
                    if self.records.len() == MAX_GROUP {
                        break;
                    }
                }
                other => {
                    last = Some(other);
                    break;
                }
            }
        }
        let any = !self.records.is_empty() || last.is_some();
        if let Some(first) = self.records.first() {
            let author = first.author;
            self.alone = author.filter(|_| self.records.iter().all(|r| r.author == author));
            self.keep(member);
            let seats = u32::try_from(self.fanout.take_reached()).unwrap_or(u32::MAX);
            let [shortest, longest] = LULLS;
            let length = LULL_A_SEAT.saturating_mul(seats);
            self.lull.set_length(length.clamp(shortest, longest));
            self.lull.done();
        }
        match last {
            Some(Message::Close(ending)) => self.fanout.end_all(&ending, false),
            Some(Message::Measure(ask)) => {
                let _ = ask.send(self.fanout.measure()); // it may have lost its patience
            }
            Some(Message::Quit) => {
                self.history = None; // which closes it
                self.quits = true;
            }
            _ => {}
        }
        any
    }

    fn keep(&mut self, member: Option<MemberKey>) {
        let begun = Instant::now();
        if let Some(history) = &mut self.history
            && let Err(error) = history.append(&self.records)
        {
            let error = anyhow::Error::from(error);
            log::error!("the history failed, nothing more is kept or sent: {error:#}");
            self.history = None;
            // Before anybody can begin a stop, whose reason would be another.
            self.fanout.end_all(&Ending::StoreFailed, true);
            (self.failed)();
        }
        if self.history.is_some() {
            self.metrics.committed(self.records.len(), begun.elapsed());
            for (event, _) in self
                .records
                .iter()
                .filter_map(|record| record.event.as_ref())
            {
                self.metrics.event(event.kind, event.time);
            }
            // The lines go out before anybody sees what they tell, so that a
            // log never lacks an event that somebody saw.
            let held = self.log.hold();
            for (record, sequel) in self.records.iter().zip(&self.sequels) {
                report::step(record, sequel);
            }
            drop(held);
            self.fanout
                .deliver(&self.records, self.sequels.drain(..), member);
        } else {
            for sequel in self.sequels.drain(..) {
                self.fanout.refuse(sequel.change);
            }
        }
        self.records.clear();
    }
}
