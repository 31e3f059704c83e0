//! How many threads clients can make the server start, and how many lost ones
//! they can make it await.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// At most so many at once. Never waits, so that poll threads may ask.
pub(super) struct Quota {
    used: AtomicUsize,
    most: usize,
}

/// One of them; given back when it is dropped.
pub(super) struct Share(Arc<Quota>);

impl Quota {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            most,
        })
    }

    /// How many there may be at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many are taken.
    pub(super) fn used(&self) -> usize {
        // A take that fails counts for a moment.
        self.used.load(Ordering::Relaxed).min(self.most)
    }

    /// `None`: there are as many as there may be.
    pub(super) fn take(self: &Arc<Self>) -> Option<Share> {
        let share = Share(self.clone());
        // One too many is given back by the share's drop.
        (self.used.fetch_add(1, Ordering::Relaxed) < self.most).then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_the_quota() {
        let quota = Quota::new(2);
        let first = quota.take();
        let second = quota.take();
        assert!(first.is_some() && second.is_some());
        assert!(quota.take().is_none());
        assert!(quota.take().is_none());
        assert_eq!(quota.used(), 2);
        drop(first);
        assert_eq!(quota.used(), 1);
        assert!(quota.take().is_some());
    }
}
