//! The way into the server: an inbox for each stream, which the read pump fills
//! and the session empties, all that has come at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::task::AtomicWaker;
use grpcio::MessageReader;

use crate::wire::{Ending, Request, read_requests};

/// Requests that wait for the session. When they are this many, the read pump
/// stops reading, and HTTP/2's flow control slows that one client.
const FULL: usize = 128;

/// Why nothing more comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// The client closed its half, or vanished: gRPC does not tell these apart.
    Closed,
    /// The call was cancelled or its connection was lost.
    Lost,
    /// A frame that cannot be read, and what the client is told of it.
    Unreadable(Ending),
    /// The server wants the session to end; the outbox says why.
    Kicked,
}

pub(super) struct Inbox {
    state: Mutex<State>,
    /// Rings when something has come that the session waits for.
    arrival: Condvar,
    /// The read pump's task: woken when the session is over, or has emptied a
    /// full inbox.
    pump: AtomicWaker,
    /// Holds a message once the session was kicked, for one that sleeps.
    bell: (Sender<()>, Receiver<()>),
    kicked: AtomicBool,
    finished: AtomicBool,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// Once set, nothing comes any more.
    end: Option<StreamEnd>,
    is_awaited: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.end.is_none()
    }

    /// Whether the session has to wait, which it then does.
    fn awaits(&mut self) -> bool {
        self.is_awaited = self.is_empty();
        self.is_awaited
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            arrival: Condvar::new(),
            pump: AtomicWaker::new(),
            bell: bounded(1),
            kicked: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }
}

/// The session's end.
impl Inbox {
    /// Waits until something is there.
    pub(super) fn wait(&self) {
        if !self.state().is_empty() {
            return;
        }
        // What is on its way has come after one yield.
        std::thread::yield_now();
        let waited = self.arrival.wait_while(self.state(), State::awaits);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// As [`wait`](Self::wait), but for at most `patience`. Returns whether
    /// something is there.
    pub(super) fn wait_for(&self, patience: Duration) -> bool {
        let waited = (self.arrival).wait_timeout_while(self.state(), patience, State::awaits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_empty()
    }

    /// Moves what is there into `requests`, which is empty, and says why nothing
    /// comes after that, if nothing does.
    pub(super) fn take(&self, requests: &mut Vec<Request>) -> Option<StreamEnd> {
        let end = {
            let mut state = self.state();
            std::mem::swap(&mut state.requests, requests);
            state.end.clone()
        };
        if requests.len() >= FULL {
            self.pump.wake();
        }
        end
    }

    /// Holds a message once the session was kicked.
    pub(super) fn bell(&self) -> &Receiver<()> {
        &self.bell.1
    }

    /// Ends the session's wait. Harmless afterwards.
    pub(super) fn kick(&self) {
        self.kicked.store(true, Ordering::Release);
        self.pump.wake();
        let _ = self.bell.0.try_send(()); // it rings already
    }

    /// The session takes nothing more.
    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
        self.pump.wake();
    }
}

/// The read pump's end. Each `poll_` registers its task before it looks.
impl Inbox {
    /// Ready when another frame is to be read or, with an error, none any more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamEnd>> {
        self.pump.register(cx.waker());
        if self.kicked.load(Ordering::Acquire) || self.finished.load(Ordering::Acquire) {
            return Poll::Ready(Err(StreamEnd::Kicked));
        }
        match self.state().requests.len() < FULL {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Ready when the session has finished.
    pub(super) fn poll_finished(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.pump.register(cx.waker());
        match self.finished.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Adds what a frame of at most `most` bytes holds.
    ///
    /// # Errors
    /// Why the stream ends, if it cannot be read.
    pub(super) fn add(&self, frame: MessageReader, most: usize) -> Result<(), StreamEnd> {
        self.change(|state| read_requests(frame, most, &mut state.requests))
            .map_err(StreamEnd::Unreadable)
    }

    /// Nothing more comes. The first reason stands.
    pub(super) fn end(&self, why: StreamEnd) {
        self.change(|state| {
            state.end.get_or_insert(why);
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let is_awaited = std::mem::take(&mut state.is_awaited);
        drop(state);
        if is_awaited {
            self.arrival.notify_one();
        }
        changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
