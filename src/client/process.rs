//! What all participants of one program share: in Lamport's terms it is one
//! process, with one clock, however many rooms it is in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::report;
use crate::chat::LamportClock;
use crate::rpc::Dialler;

pub(super) struct Process {
    /// Taken after a conversation's lock, and held until the log has the line
    /// that belongs to the time: so the lines are in the clock's order.
    clock: Mutex<LamportClock>,
    dialler: Dialler,
    /// Participants that have not ended.
    running: AtomicUsize,
}

impl Process {
    pub(super) fn new(dialler: Dialler) -> Self {
        Self {
            clock: Mutex::default(),
            dialler,
            running: AtomicUsize::new(0),
        }
    }

    pub(super) fn clock(&self) -> MutexGuard<'_, LamportClock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    pub(super) fn begins(&self) {
        self.running.fetch_add(1, Ordering::AcqRel);
    }

    /// A participant has ended. The process has with the last one.
    pub(super) fn ends(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            report::stop(self.clock().now());
        }
    }
}
