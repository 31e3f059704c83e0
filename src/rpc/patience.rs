//! How long a call may take to say what it asks. A stream of `Chat` has a thread
//! that waits for it; all other calls are tasks on poll threads, and have this
//! clock.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use futures_channel::oneshot;

/// The clock: a thread of its own, which ends with the last clone.
#[derive(Clone)]
pub(super) struct Patience {
    length: Duration,
    /// In the order in which they are due, since all have the same time.
    calls: Sender<(Instant, oneshot::Sender<()>)>,
    _quit: Sender<()>,
}

impl Patience {
    pub(super) fn of(length: Duration) -> Self {
        let (calls, waiting) = unbounded();
        let (_quit, over) = bounded(0);
        let ticks = std::thread::Builder::new()
            .name("patience".to_owned())
            .spawn(move || run(&waiting, &over));
        if let Err(why) = ticks {
            log::error!("cannot start a thread that waits for questions: {why}");
        }
        Self {
            length,
            calls,
            _quit,
        }
    }

    /// Resolves when a call that begins now has taken too long.
    pub(super) fn over(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        // Far too long a time is for ever.
        let due = Instant::now().checked_add(self.length);
        let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 31));
        let _ = self.calls.send((due, tell)); // without the thread there is no patience
        told
    }
}

fn run(calls: &Receiver<(Instant, oneshot::Sender<()>)>, over: &Receiver<()>) {
    for (due, late) in calls {
        // Most have asked long before.
        if !late.is_canceled() && over.recv_deadline(due) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let _ = late.send(()); // it may have asked by now
    }
}
