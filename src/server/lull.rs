//! A busy thread's lull: instead of waking for each thing that comes, it
//! sleeps for a moment and then takes all that has come.
//!
//! Waking a thread costs two system calls and a switch, several times what a
//! line of text costs otherwise. A thread whose work comes at a human pace
//! never sleeps here, so nobody waits.

use std::time::{Duration, Instant};

/// Work that comes sooner than this after the last is not of a human pace.
const BUSY: Duration = Duration::from_micros(200);

pub(super) struct Lull {
    length: Duration,
    last: Option<Instant>,
}

impl Lull {
    /// Lulls of this length, where the work asks for them.
    pub(super) fn new(length: Duration) -> Self {
        Self { length, last: None }
    }

    /// To be called when work has come and before all that came is taken.
    pub(super) fn gather(&self) {
        if self.last.is_some_and(|last| last.elapsed() < BUSY) {
            std::thread::sleep(self.length);
        }
    }

    /// To be called when the work is done.
    pub(super) fn done(&mut self) {
        self.last = Some(Instant::now());
    }
}
