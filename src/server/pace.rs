//! A busy thread's pace: instead of waking for each thing that comes, it
//! sleeps for a moment and then takes all that has come.
//!
//! Waking a thread costs two system calls and a switch, several times what a
//! line of text costs otherwise. A thread whose work comes at a human pace
//! never sleeps here, so nobody waits.

use std::time::{Duration, Instant};

/// Work that comes sooner than this after the last is not of a human pace.
const BUSY: Duration = Duration::from_micros(200);

pub(super) struct Pace {
    rest: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// A pace with rests of this length.
    pub(super) fn new(rest: Duration) -> Self {
        Self { rest, last: None }
    }

    /// To be called when work has come and before all that came is taken.
    pub(super) fn gather(&self) {
        if self.last.is_some_and(|last| last.elapsed() < BUSY) {
            std::thread::sleep(self.rest);
        }
    }

    /// To be called when the work is done.
    pub(super) fn done(&mut self) {
        self.last = Some(Instant::now());
    }
}
