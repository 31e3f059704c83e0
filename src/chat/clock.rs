//! The Lamport clock (L. Lamport, «Time, Clocks, and the Ordering of Events in
//! a Distributed System», CACM 21(7), 1978).

/// How far ahead of a clock, in Lamport time, a received time may lie.
///
/// An honest sender is ahead only by what it sent itself, or heard elsewhere.
/// Without this bound one hostile frame with `i64::MAX` would wear the clock out
/// for everybody.
pub const MAX_AHEAD: i64 = 1 << 32;

/// Where a clock is late: to bring one here takes 2³⁰ times of [`MAX_AHEAD`].
const LATE: i64 = 1 << 62;

/// How far ahead of a late clock a received time may lie: from there to the end
/// of all times it is 2⁴⁶ of them.
const MAX_AHEAD_LATE: i64 = 1 << 16;

/// A Lamport clock: a counter that rises with every event of one process and
/// passes every time that the process has seen.
///
/// If one event can have influenced another, its time is the lower one. The
/// reverse does not hold: of two concurrent events either may have the lower
/// time.
///
/// ```
/// use chitchat::chat::LamportClock;
///
/// let mut clock = LamportClock::default();
/// assert_eq!(clock.tick(), 1); // a send
/// assert_eq!(clock.witness(7), 8); // a receive
/// assert_eq!(clock.witness(3), 9); // an old time does not turn it back
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LamportClock {
    now: i64,
}

impl LamportClock {
    /// A clock whose last event had Lamport time `now`.
    pub const fn at(now: i64) -> Self {
        Self { now }
    }

    /// The time of the last event, 0 before the first.
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// The time of a new event that has received nothing: `now + 1`.
    pub fn tick(&mut self) -> i64 {
        self.witness(0)
    }

    /// The time of the receipt of something sent at `seen`:
    /// `max(now, seen) + 1`. Stays at `i64::MAX` once there; whoever takes
    /// times from a network asks [`accepts`](Self::accepts) first, so that it
    /// never gets there.
    pub fn witness(&mut self, seen: i64) -> i64 {
        self.now = self.now.max(seen).saturating_add(1);
        self.now
    }

    /// Whether a received time is one that an honest process can have sent:
    /// not negative and at most [`MAX_AHEAD`] past this clock, or 2¹⁶ where this
    /// clock is past 2⁶².
    pub fn accepts(&self, seen: i64) -> bool {
        let ahead = match self.now < LATE {
            true => MAX_AHEAD,
            false => MAX_AHEAD_LATE,
        };
        (0..=self.now.saturating_add(ahead)).contains(&seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_passes_what_it_has_seen_and_never_turns_back() {
        let mut clock = LamportClock::at(5);
        assert_eq!(clock.tick(), 6);
        assert_eq!(clock.witness(6), 7);
        assert_eq!(clock.witness(0), 8);
        assert_eq!(clock.witness(100), 101);
        assert_eq!(clock.now(), 101);
    }

    #[test]
    fn hostile_times_are_recognised_and_cannot_overflow() {
        let clock = LamportClock::at(10);
        assert!(clock.accepts(0) && clock.accepts(10 + MAX_AHEAD));
        assert!(!clock.accepts(-1) && !clock.accepts(i64::MIN));
        assert!(!clock.accepts(11 + MAX_AHEAD) && !clock.accepts(i64::MAX));
        assert_eq!(LamportClock::at(i64::MAX).tick(), i64::MAX);
        // However far it was brought, the end is far away.
        let mut clock = LamportClock::at(LATE - 1);
        assert!(clock.accepts(LATE - 1 + MAX_AHEAD));
        clock.witness(LATE - 1 + MAX_AHEAD);
        let ahead = clock.now() + MAX_AHEAD_LATE;
        assert!(clock.accepts(ahead) && !clock.accepts(ahead + 1));
        assert!((i64::MAX - ahead) / MAX_AHEAD_LATE > 1 << 45);
        assert!(LamportClock::at(i64::MAX).accepts(i64::MAX));
    }
}
