//! A busy thread's lull: instead of waking for each thing that comes, it
//! sleeps for a moment and then takes all that has come.
//!
//! Waking a thread costs two system calls and a switch, several times what a
//! line of text costs otherwise. A thread whose work comes at a human pace
//! never sleeps here, so nobody waits.

use std::time::{Duration, Instant};

/// Work that comes sooner than this after the last is not of a human pace.
const BUSY: Duration = Duration::from_micros(200);

/// Nor is what comes sooner than this part of a lull: where a lull is long, the
/// work is dear, and its effects are not over yet.
const BUSY_PART: u32 = 5;

pub(super) struct Lull {
    length: Duration,
    last: Option<Instant>,
}

impl Lull {
    /// Lulls of this length, where the work asks for them.
    pub(super) fn new(length: Duration) -> Self {
        Self { length, last: None }
    }

    /// How long the next lulls are.
    pub(super) fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// Whether work has just been done: what comes now is not of a human pace.
    pub(super) fn is_busy(&self) -> bool {
        let near = BUSY.max(self.length / BUSY_PART);
        self.last.is_some_and(|last| last.elapsed() < near)
    }

    /// To be called when work has come and before all that came is taken.
    pub(super) fn gather(&self) {
        if self.is_busy() {
            std::thread::sleep(self.length);
        }
    }

    /// To be called when the work is done.
    pub(super) fn done(&mut self) {
        self.last = Some(Instant::now());
    }
}
