//! The journal: keeps what the sessions stamped, in order and in groups, and
//! only then lets anybody see it.
//!
//! A session hands its steps over under its room's lock and then settles: if a
//! group is due ([`super::tempo`] says when) and nobody keeps one at that moment,
//! it keeps it itself, which spares a lonely line, or a group that has just
//! become complete, the way through another thread. What is due later is the
//! journal thread's work. So an idle server keeps one step at a time, at once,
//! and a busy one hundreds.
//!
//! A session that alone keeps a small room busy goes on keeping its groups
//! itself: the journal thread would gather no more than the session has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::fanout::Fanout;
use super::metrics::{Metrics, Outboxes};
use super::report;
use super::step::{Sequel, Step};
use super::tempo::{MAX_GROUP, Tempo};
use crate::chat::MemberKey;
use crate::history::{self, Record};
use crate::rpc::Call;
use crate::trace::LogSink;
use crate::wire::Ending;

/// Steps that may wait. When they are this many, sessions wait: the disk sets
/// the pace.
const QUEUE: usize = 2 * MAX_GROUP;

/// Steps of one room in a group at most. It bounds the size of a batch: a step
/// is at most 900 bytes on the wire, and gRPC clients read 4 MB by default. And
/// members keep up with several groups, see `Settings::outbox_events`.
const MAX_IN_ROOM: usize = 1024;

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
    /// Whether the journal thread has been rung for and has not seen the queue
    /// empty since.
    is_up: AtomicBool,
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
            tempo: Tempo::new(),
            quits: false,
        };
        Self {
            send,
            queue,
            keeper: Mutex::new(keeper),
            ring,
            bell,
            is_up: AtomicBool::new(false),
        }
    }

    /// Takes a message. A step must be handed over under the lock of its room,
    /// which stamped it: the order of the stamps is then the order of the
    /// queue. Waits if too much waits already; the journal waits for no room.
    pub(super) fn hand_over(&self, message: Message) {
        if let Err(TrySendError::Full(message)) = self.send.try_send(message) {
            // Also where it waits: this group gets no larger.
            let _ = self.ring.try_send(());
            let _ = self.send.send(message); // cannot fail: the receiver is here too
        }
    }

    /// To be called after a hand-over, when the room's lock is free again: keeps
    /// a group on this thread if it is due, unless another keeps one at the
    /// moment, and leaves the rest to the journal thread. `member` is the
    /// participant whose session this is, if it is a session.
    pub(super) fn settle(&self, member: Option<MemberKey>) {
        let mut seen = 0;
        // Whoever adds something while this one has the keeper relies on it to
        // look at the queue once more.
        while self.queue.len() > seen {
            let mut keeper = match self.keeper.try_lock() {
                Ok(keeper) => keeper,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            seen = self.queue.len();
            if keeper.is_due(seen, member) {
                self.keep_group(keeper, member);
                break;
            }
        }
        if !self.queue.is_empty() {
            self.ring();
        }
    }

    /// Wakes the journal thread, unless it is up or sleeps only until a group is due.
    pub(super) fn ring(&self) {
        if !self.is_up.swap(true, Ordering::SeqCst) {
            let _ = self.ring.try_send(()); // a ring that waits is as good
        }
    }

    /// The journal thread: keeps groups until it is told to quit.
    pub(super) fn run(&self) {
        while let Some(wait) = self.keep_due() {
            let _ = self.bell.recv_timeout(wait); // either is a reason to look
        }
    }

    /// Keeps all groups that are due. Returns how long the next one has, for
    /// ever if nothing waits, or `None` if it is told to quit.
    fn keep_due(&self) -> Option<Duration> {
        loop {
            let mut keeper = self.keeper();
            let waiting = self.queue.len();
            if keeper.quits {
                return None;
            }
            if waiting > 0 && keeper.is_due(waiting, None) {
                self.keep_group(keeper, None);
                continue;
            }
            let wait = match waiting {
                // First, so that who adds something after the last look rings.
                0 => {
                    self.is_up.store(false, Ordering::SeqCst);
                    Duration::MAX
                }
                _ => keeper.tempo.wait(Instant::now()),
            };
            drop(keeper);
            // As in `settle`.
            if self.queue.len() <= waiting {
                return Some(wait);
            }
        }
    }

    /// Keeps a group, and calls the poll threads that send it when the keeper is
    /// free again: they may run in this thread's place for a while.
    fn keep_group(&self, mut keeper: MutexGuard<'_, Keeper>, member: Option<MemberKey>) {
        let calls = keeper.keep_group(&self.queue, member);
        drop(keeper);
        drop(calls);
    }

    /// Closes the history, whatever waits to be kept.
    pub(super) fn close(&self) {
        self.keeper().history = None;
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        (self.keeper.lock()).unwrap_or_else(PoisonError::into_inner)
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
    tempo: Tempo,
    quits: bool,
}

impl Keeper {
    /// Whether what waits is to be kept now, on the session thread of `member`
    /// if there is one.
    fn is_due(&mut self, waiting: usize, member: Option<MemberKey>) -> bool {
        // It alone keeps the journal busy, in a room so small that a group need
        // not gather longer than its session does.
        let is_alone = member.is_some() && self.alone == member && self.tempo.is_shortest();
        is_alone || self.tempo.is_due(waiting, Instant::now())
    }

    /// Keeps what waits in `queue`, logs it and hands it out, on the session
    /// thread of `member` if there is one. The poll threads that send it are
    /// still to be called.
    fn keep_group(&mut self, queue: &Receiver<Message>, member: Option<MemberKey>) -> Vec<Call> {
        let mut last = None;
        let mut calls = Vec::new();
        // Not counted where all rooms together have no more than one may have.
        let mut rooms = (queue.len() > MAX_IN_ROOM).then(HashMap::new);
        for message in queue.try_iter() {
            match message {
                Message::Step(step) => {
                    let room = step.record.room.no;
                    self.records.push(step.record);
                    self.sequels.push(step.sequel);
                    let steps = self.records.len();
                    let in_room = match &mut rooms {
                        Some(rooms) => *rooms.entry(room).and_modify(|n| *n += 1).or_insert(1),
                        None => steps,
                    };
                    if steps == MAX_GROUP || in_room == MAX_IN_ROOM {
                        break;
                    }
                }
                other => {
                    last = Some(other);
                    break;
                }
            }
        }
        if let Some(first) = self.records.first() {
            let (author, steps) = (first.author, self.records.len());
            self.alone = author.filter(|_| self.records.iter().all(|r| r.author == author));
            let authors = self.records.iter().filter_map(|record| record.author);
            self.tempo.heard(authors);
            calls = self.keep(member);
            let seats = self.fanout.take_reached();
            self.tempo.kept(steps, seats, Instant::now());
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
        calls
    }

    fn keep(&mut self, member: Option<MemberKey>) -> Vec<Call> {
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
        let calls = if self.history.is_some() {
            self.metrics.committed(self.records.len(), begun.elapsed());
            // Also where there is no event, only the clock moves.
            let clock = self.records.iter().map(|record| record.clock).max();
            self.metrics.clock(clock.unwrap_or(0));
            for (event, _) in self
                .records
                .iter()
                .filter_map(|record| record.event.as_ref())
            {
                self.metrics.event(event.kind);
            }
            // The lines go out before anybody sees what they tell, so that a
            // log never lacks an event that somebody saw.
            let held = self.log.hold();
            for (record, sequel) in self.records.iter().zip(&self.sequels) {
                report::step(record, sequel);
            }
            drop(held);
            self.fanout
                .deliver(&self.records, self.sequels.drain(..), member)
        } else {
            for sequel in self.sequels.drain(..) {
                self.fanout.refuse(sequel.change);
            }
            Vec::new()
        };
        self.records.clear();
        calls
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::super::step::Change;
    use super::*;
    use crate::chat::{Ask, Name, Room, RoomId, Said, Secret, StoredRoom};
    use crate::history::HistoryError;
    use crate::wire::Group;

    struct Nowhere;

    impl history::Journal for Nowhere {
        fn append(&mut self, _: &[Record]) -> Result<(), HistoryError> {
            Ok(())
        }
    }

    /// Tells the rooms of each group.
    struct Rooms(Sender<Vec<u32>>);

    impl history::Journal for Rooms {
        fn append(&mut self, group: &[Record]) -> Result<(), HistoryError> {
            self.0
                .send(group.iter().map(|r| r.room.no).collect())
                .unwrap();
            Ok(())
        }
    }

    #[test]
    fn a_group_is_bounded_and_so_is_what_it_has_of_a_room() {
        let (tell, groups) = bounded(QUEUE);
        let metrics = Arc::new(Metrics::default());
        let journal = Journal::new(Box::new(Rooms(tell)), LogSink::default(), metrics, || {});
        let rooms = [0, 1, 2, 3, 4, 5].map(|no| {
            let name = Name::parse("ops").unwrap();
            Room::new(RoomId { no, name })
        });
        // First one room alone, then all of them.
        let of: Vec<u32> = (0..QUEUE as u32)
            .map(|at| if at < 5000 { 0 } else { at % 6 })
            .collect();
        for no in &of {
            let step = Step::changed(&rooms[*no as usize], Change::None);
            journal.hand_over(Message::Step(step));
        }
        while !journal.queue.is_empty() {
            journal.keep_group(journal.keeper(), None);
        }
        let groups: Vec<_> = groups.try_iter().collect();
        let in_rooms = |group: &Vec<u32>| {
            [0, 1, 2, 3, 4, 5].map(|no| group.iter().filter(|n| **n == no).count())
        };
        let most = groups.iter().flat_map(in_rooms).max();
        assert_eq!(most, Some(MAX_IN_ROOM));
        let largest = groups.iter().map(Vec::len).max();
        assert!(
            largest > Some(2 * MAX_IN_ROOM) && largest <= Some(MAX_GROUP),
            "{largest:?}"
        );
        assert_eq!(groups.concat(), of);
    }

    #[test]
    fn whoever_keeps_a_window_and_is_late_is_expected_in_the_next_group() {
        let metrics = Arc::new(Metrics::default());
        let journal = Journal::new(Box::new(Nowhere), LogSink::default(), metrics, || {});
        let name = Name::parse("ops").unwrap();
        let room = Room::new(RoomId { no: 1, name });
        for authors in [&[1, 2][..], &[1]] {
            for author in authors.iter().flat_map(|author| [author; 64]) {
                let mut step = Step::changed(&room, Change::None);
                step.record.author = Some(MemberKey(*author));
                journal.hand_over(Message::Step(step));
            }
            journal.keep_group(journal.keeper(), None);
        }
        assert_eq!(journal.keeper().tempo.expected(), Some(128));
    }

    #[test]
    fn a_step_is_as_small_on_the_wire_as_a_group_counts_on() {
        const MOST: usize = 900;
        let longest = |c: char| Name::parse(&c.to_string().repeat(32)).unwrap();
        let stored = StoredRoom {
            id: RoomId {
                no: 1,
                name: longest('🐚'),
            },
            clock: i64::MAX - 1000,
            seq: u64::MAX / 2,
            members: Vec::new(),
        };
        let mut room = Room::restore(stored, 9);
        let mut time = room.clock();
        let mut events = Vec::new();
        for (no, name) in [(1, '🦀'), (1, '🦀'), (2, '🦞')] {
            let ask = Ask {
                id: i32::MIN + no,
                name: longest(name),
                secret: Some(Secret([no as u8; 32])),
                sent: time,
                session: no as u64,
                fresh: MemberKey(no as u64),
            };
            events.push(room.join(ask, i64::MAX).unwrap().event);
        }
        let first = room.member(MemberKey(1)).unwrap().settled;
        let huge = "🐙".repeat(1 << 14);
        let [text, name, unknown] =
            [('🐙', 128), ('🦞', 32), ('🐙', 32)].map(|(c, n)| c.to_string().repeat(n));
        for (text, to, is_sane) in [
            (&text, "", true),
            (&text, &*name, true),
            (&text, &*unknown, true),
            (&text, &*huge, true),
            (&huge, &*huge, true),
            (&text, "", false),
        ] {
            time = room.clock();
            let sent = if is_sane { time } else { i64::MIN };
            let said = room.say(MemberKey(1), 1, text.clone(), to, sent, i64::MAX);
            match said {
                Said::Stamped(event, _) | Said::Refused(event, _) => events.push(event),
                other => panic!("{other:?}"),
            }
        }
        for sent in [first, time - 1] {
            match room.say(MemberKey(1), 1, text.clone(), "", sent, i64::MAX) {
                Said::Refused(event, _) | Said::Repeated(event) => events.push(event),
                other => panic!("{other:?}"),
            }
        }
        let left = room.leave(MemberKey(1), 1, time, i64::MAX).unwrap();
        events.push(left.event);
        assert_eq!(events.len(), 12);
        for event in &events {
            let mut group = Group::default();
            group.push(event, true);
            let size = group.batch().len();
            assert!(size <= MOST, "{size} bytes: {event:?}");
        }
    }

    #[test]
    fn nothing_that_is_handed_over_stays_behind() {
        const ROUNDS: usize = 20_000;
        const PATIENCE: Duration = Duration::from_secs(60);
        let metrics = Arc::new(Metrics::default());
        let journal = Journal::new(Box::new(Nowhere), LogSink::default(), metrics, || {});
        let together = Barrier::new(4);
        std::thread::scope(|threads| {
            threads.spawn(|| journal.run());
            let sessions = [1, 2, 3, 4].map(|no| {
                let (journal, together) = (&journal, &together);
                threads.spawn(move || {
                    let mut waited_for = Ok(());
                    for round in 1..=ROUNDS {
                        let (tell, told) = bounded(1);
                        together.wait(); // so that nobody comes to another's help
                        journal.hand_over(Message::Measure(tell));
                        journal.settle(None);
                        if waited_for.is_ok() && told.recv_timeout(PATIENCE).is_err() {
                            waited_for = Err(round);
                        }
                        // Now and then the journal is busy, and a group gathers.
                        if round % 50 == no {
                            journal.keeper().tempo.kept(1, 1, Instant::now());
                            journal.settle(None);
                        }
                    }
                    waited_for
                })
            });
            let ends = sessions.map(|session| session.join().unwrap());
            journal.hand_over(Message::Quit);
            journal.ring();
            assert_eq!(ends, [Ok(()); 4]);
        });
    }
}
