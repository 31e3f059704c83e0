//! What does not work at the moment, and since when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::history::shared::SharedError;

/// A part that needs the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Sequencer,
    Follower,
    Steward,
}

#[derive(Default)]
pub(super) struct Trouble {
    since: Mutex<HashMap<Part, Instant>>,
    /// Whether the members have been told.
    told: AtomicBool,
}

impl Part {
    /// Each of them, and a word for it.
    pub(super) const ALL: [(Part, &str); 3] = [
        (Part::Sequencer, "sequencer"),
        (Part::Follower, "follower"),
        (Part::Steward, "steward"),
    ];
}

impl Trouble {
    fn since(&self) -> MutexGuard<'_, HashMap<Part, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part has failed; it tries again.
    pub(super) fn of(&self, part: Part, why: &SharedError) {
        self.since().entry(part).or_insert_with(|| {
            log::warn!("the {part:?} cannot use the log that the servers share: {why}");
            Instant::now()
        });
    }

    /// A part works.
    pub(super) fn over(&self, part: Part) {
        if self.since().remove(&part).is_some() {
            log::info!("the {part:?} uses the log that the servers share again");
        }
    }

    /// Whether another part than this one does not work.
    pub(super) fn is_beside(&self, part: Part) -> bool {
        self.since().keys().any(|troubled| *troubled != part)
    }

    /// How long each part has not worked, under its word.
    pub(super) fn each(&self) -> Vec<(&'static str, Duration)> {
        let since = self.since();
        let lasts = |part| since.get(part).map(Instant::elapsed).unwrap_or_default();
        (Part::ALL.iter())
            .map(|(part, word)| (*word, lasts(part)))
            .collect()
    }

    /// How long something has not worked.
    pub(super) fn lasts(&self) -> Option<Duration> {
        self.since().values().map(Instant::elapsed).max()
    }

    /// Whether the members have been told.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    pub(super) fn set_told(&self, told: bool) {
        self.told.store(told, Ordering::Release);
    }
}
