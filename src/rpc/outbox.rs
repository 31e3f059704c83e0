//! The way out of the server: an outbox for each stream. See [`super::pump`]
//! for what empties it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::task::{ArcWake, AtomicWaker};

use super::lane::Lane;
use super::pump::Pump;
use super::stream::Kick;
use crate::wire::{Ending, Frame};

/// Pages of the past that may wait for the pump. Few: whoever reads them from
/// the history waits, and the store's pages are larger than this.
const PAST_PAGES: usize = 4;

/// A member's outbox: what fan-out puts in, the write pump sends.
///
/// It is bounded in events: what comes when so many wait is not taken. The
/// channel itself is an unbounded one with a count beside it, since crossbeam
/// allocates a bounded channel whole: at thousands of idle members that would be
/// most of the memory.
#[derive(Clone)]
pub struct Outbox {
    pub(super) queue: Sender<Queued>,
    pub(super) line: Arc<Line>,
}

/// What waits in an outbox.
pub(super) enum Queued {
    Frame(Frame),
    /// One event each, from this place on, shared by several outboxes: so a
    /// group takes as little space in each as a batch does.
    Singles(Arc<[Frame]>, usize),
}

/// The outbox was full: its member is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// A poll thread that is to be called: it has something in its lane.
pub struct Call(Arc<Line>);

/// What both ends of an outbox share.
pub(super) struct Line {
    /// The pump's task on its poll thread.
    pub waker: AtomicWaker,
    /// The pump itself, which its task keeps.
    pump: Weak<dyn Pump>,
    /// The lane of its poll thread.
    lane: Arc<Lane>,
    /// Whether it waits there.
    in_lane: AtomicBool,
    /// Whether its task has ended, and runs the lane no more.
    over: AtomicBool,
    /// Events in the channel.
    pub depth: AtomicUsize,
    pub bound: usize,
    /// Why the stream ends; once set, it ends.
    pub ending: OnceLock<Ending>,
    /// End without sending what is queued.
    pub cut: AtomicBool,
    /// Cancel the call, whatever the client has read.
    pub abandoned: AtomicBool,
    /// On its way to the pump: what goes first.
    past: Mutex<Past>,
    past_set: AtomicBool,
    kick: Kick,
}

/// The past's way from its reader to the pump.
enum Past {
    None,
    Set(Receiver<Vec<Frame>>),
    /// The pump has ended. Whoever waits to send something must not wait for it.
    Over,
}

/// Sends frames of the past, which go before anything in the outbox. Live
/// frames wait until it is dropped.
pub struct PastSender {
    pages: Option<Sender<Vec<Frame>>>,
    line: Arc<Line>,
}

impl Outbox {
    /// Queues a frame for this member. Never blocks. [`wake`](Self::wake) or
    /// [`write`](Self::write) must follow.
    ///
    /// # Errors
    /// [`Overflow`] if the member is too far behind; the frame is not queued.
    pub fn queue(&self, frame: &Frame) -> Result<(), Overflow> {
        self.add(Queued::Frame(frame.clone()), frame.events())
    }

    /// As [`queue`](Self::queue), but for frames of one event each: all or none.
    ///
    /// # Errors
    /// As `queue`.
    pub fn queue_singles(&self, singles: &Arc<[Frame]>) -> Result<(), Overflow> {
        self.add(Queued::Singles(singles.clone(), 0), singles.len())
    }

    fn add(&self, queued: Queued, events: usize) -> Result<(), Overflow> {
        let line = &self.line;
        // Only whoever keeps a group adds, so a check before the addition is enough.
        // However large a group is, it lets nobody go for whom less waits.
        if line.depth.load(Ordering::Relaxed) >= line.bound {
            return Err(Overflow);
        }
        line.depth.fetch_add(events, Ordering::Relaxed);
        // A stream that has ended has no pump any more; its session says so.
        let _ = self.queue.send(queued);
        Ok(())
    }

    /// Has its poll thread send what is queued. Where nobody has called that
    /// thread yet, it is called when what this returns is dropped: after others
    /// have been woken too, and without a lock, since a thread that calls
    /// another may have to make way for it.
    #[must_use = "dropping it calls the poll thread"]
    pub fn wake(&self) -> Option<Call> {
        let line = &self.line;
        let calls = !line.in_lane.swap(true, Ordering::AcqRel) && line.lane.add(line.clone());
        calls.then(|| Call(line.clone()))
    }

    /// Sends what is queued on this thread, as far as gRPC takes it at once:
    /// for what somebody waits for. It costs a system call, so not for many.
    pub fn write(&self) {
        self.line.run_pump();
    }

    /// Ends the stream once everything queued is sent. The first reason stands.
    pub fn close(&self, ending: Ending) {
        let _ = self.line.ending.set(ending);
        self.line.waker.wake();
    }

    /// As [`close`](Self::close), and tells the session, which may be waiting
    /// for its client.
    pub fn close_and_kick(&self, ending: Ending) {
        self.close(ending);
        self.line.kick.kick();
    }

    /// Ends the stream without what is queued, and tells the session.
    pub fn cut(&self, ending: Ending) {
        let _ = self.line.ending.set(ending);
        self.line.cut.store(true, Ordering::Release);
        self.line.waker.wake();
        self.line.kick.kick();
    }

    /// Why the stream ends, if it does.
    pub fn ending(&self) -> Option<&Ending> {
        self.line.ending.get()
    }

    /// Events that wait to be sent.
    pub fn depth(&self) -> usize {
        self.line.depth.load(Ordering::Relaxed)
    }

    /// Holds live frames back until the sender that this returns is dropped.
    /// To be called before the outbox is handed to the journal.
    pub fn begin_past(&self) -> PastSender {
        let (pages, receiver) = bounded(PAST_PAGES);
        let mut past = self.line.past();
        if !matches!(*past, Past::Over) {
            *past = Past::Set(receiver);
        }
        drop(past);
        self.line.past_set.store(true, Ordering::Release);
        PastSender {
            pages: Some(pages),
            line: self.line.clone(),
        }
    }

    /// Cancels the call: for a client that does not read its end.
    pub(super) fn abandon(&self) {
        self.line.abandoned.store(true, Ordering::Release);
        self.line.waker.wake();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Self(line) = self;
        // Where it is not over, its task is still to run the lane: because of
        // this, or at its end, after it has said that it is over.
        match line.over.load(Ordering::SeqCst) {
            false => line.waker.wake(),
            true => line.lane.run(),
        }
    }
}

impl Line {
    /// To be called on the poll thread of its call.
    pub(super) fn new(bound: usize, kick: Kick, pump: Weak<dyn Pump>) -> Self {
        Self {
            waker: AtomicWaker::new(),
            pump,
            lane: Lane::here(),
            in_lane: AtomicBool::new(false),
            over: AtomicBool::new(false),
            depth: AtomicUsize::new(0),
            bound,
            ending: OnceLock::new(),
            cut: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            past: Mutex::new(Past::None),
            past_set: AtomicBool::new(false),
            kick,
        }
    }

    /// The past that goes first, once, if one has been set.
    pub(super) fn take_past(&self) -> Option<Receiver<Vec<Frame>>> {
        if !self.past_set.swap(false, Ordering::AcqRel) {
            return None;
        }
        match std::mem::replace(&mut *self.past(), Past::None) {
            Past::Set(past) => Some(past),
            Past::None | Past::Over => None,
        }
    }

    fn run_pump(&self) {
        if let Some(pump) = self.pump.upgrade() {
            pump.run();
        }
    }

    /// What the pump's task does whenever it is woken.
    pub(super) fn run_lane(&self) {
        self.lane.run();
    }

    /// The pump's task has ended.
    pub(super) fn task_ended(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.lane.run();
    }

    /// Nothing more of the past is taken: whoever sends it is told.
    pub(super) fn end_past(&self) {
        *self.past() = Past::Over;
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What gRPC has done runs the pump, on the poll thread that says so: its task
/// would have to be queued there first.
impl ArcWake for Line {
    fn wake_by_ref(line: &Arc<Self>) {
        line.run_pump();
    }
}

/// Its turn in its lane.
impl Pump for Line {
    fn run(&self) {
        // Before the pump looks: what is queued after the look waits here again.
        self.in_lane.swap(false, Ordering::AcqRel);
        self.run_pump();
    }
}

impl PastSender {
    /// Queues a page, waiting for the client to read.
    ///
    /// # Errors
    /// The stream has ended.
    pub fn send(&self, page: Vec<Frame>) -> Result<(), Ending> {
        let sent = self.pages.as_ref().is_some_and(|p| p.send(page).is_ok());
        self.line.waker.wake();
        match sent {
            true => Ok(()),
            false => Err(self.line.ending.get().cloned().unwrap_or(Ending::Goodbye)),
        }
    }
}

impl Drop for PastSender {
    fn drop(&mut self) {
        self.pages = None; // disconnect first: the pump looks when it is woken
        self.line.waker.wake();
    }
}
