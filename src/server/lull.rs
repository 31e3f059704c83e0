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

/// The first of several lulls; each is twice as long as the one before. Two
/// things that only happen to come together do not wait long for each other.
const FIRST: Duration = Duration::from_micros(100);

pub(super) struct Lull {
    length: Duration,
    next: Duration,
    last: Option<Instant>,
}

impl Lull {
    /// Lulls that become this long, where the work asks for them.
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            next: FIRST,
            last: None,
        }
    }

    /// How long lulls become.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// How long the next lulls become.
    pub(super) fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// Whether work has just been done: what comes now is not of a human pace.
    pub(super) fn is_busy(&self) -> bool {
        let near = BUSY.max(self.length / BUSY_PART);
        self.last.is_some_and(|last| last.elapsed() < near)
    }

    /// To be called when work has come and before all that came is taken.
    pub(super) fn gather(&mut self) {
        if self.is_busy() {
            std::thread::sleep(self.next.min(self.length));
            self.next = self.length.min(self.next * 2);
        } else {
            self.next = FIRST;
        }
    }

    /// To be called when the work is done.
    pub(super) fn done(&mut self) {
        self.last = Some(Instant::now());
    }
}
