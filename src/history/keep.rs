//! How much of each room's past is kept.

use std::time::Duration;

/// How much of each room's past is kept. What goes is never silently missing:
/// readers are told from where on it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Everything,
    /// At least the last so many events.
    Events(u64),
    /// What is younger, by the clock on the wall.
    For(Duration),
}

impl Keep {
    /// Whether an event may go that `later` events have followed and that is
    /// `age_ms` milliseconds old.
    pub fn lets_go(&self, later: u64, age_ms: i64) -> bool {
        match self {
            Keep::Everything => false,
            Keep::Events(most) => later >= *most,
            Keep::For(time) => u128::try_from(age_ms).is_ok_and(|age| age >= time.as_millis()),
        }
    }

    /// After how many commands of a room a snapshot of it is due, so that it
    /// can begin not much earlier than it must.
    pub fn snapshot_every(&self) -> u64 {
        match self {
            Keep::Events(most) => ((*most).max(HEADWAY) / 8).min(4096),
            Keep::Everything | Keep::For(_) => 1000,
        }
    }
}

/// So many commands of a room stay in a shared log whatever need not be kept: a
/// server that is a little behind must not find the next one gone.
pub(crate) const HEADWAY: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_is_exactly_what_need_not_be_kept() {
        assert!(!Keep::Everything.lets_go(u64::MAX, i64::MAX));
        assert!(Keep::Events(3).lets_go(3, 0) && !Keep::Events(3).lets_go(2, i64::MAX));
        let second = Keep::For(Duration::from_secs(1));
        assert!(second.lets_go(0, 1000) && !second.lets_go(u64::MAX, 999));
        // a clock on the wall that was turned back
        assert!(!second.lets_go(0, -1));
    }
}
