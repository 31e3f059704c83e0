//! The journal's tempo: whether what waits is kept at once, as at a human pace,
//! or gathers first.
//!
//! A group costs each member a frame and a wake-up, several times what its
//! events cost. So where work comes faster than that, a group gathers for about
//! as long as sending one takes. Where the last groups were large, the next one
//! gathers until it is as large as they were: by then those who wait for their
//! receipts before they go on have all been heard, and nothing more would come.

use std::time::{Duration, Instant};

/// Work that comes sooner than this after the last is not of a human pace.
pub(super) const BUSY: Duration = Duration::from_micros(200);

/// Nor is what comes sooner than this part of a lull: where a lull is long, the
/// work is dear, and its effects are not over yet.
const BUSY_PART: u32 = 5;

/// The first of several lulls; each is twice as long as the one before. Two
/// things that only happen to come together do not wait long for each other.
const FIRST: Duration = Duration::from_micros(100);

/// The shortest and the longest lull.
const LULLS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(25)];

/// What a lull grows by for each member that the last group went to: about
/// twice what sending it one frame costs. So while the poll threads send a
/// group the next one gathers, and a wide room gets few large ones.
const LULL_A_SEAT: Duration = Duration::from_micros(20);

/// Steps in one group at most. It bounds the size of a batch: a step is at most
/// some 900 bytes on the wire, and gRPC clients read 4 MB by default.
pub(super) const MAX_GROUP: usize = 1024;

/// Steps from which on a group is large.
const LARGE: usize = 16;

/// Lulls that a group may take to become as large as the last ones: longer than
/// members take to answer a group with the next.
const LONG: u32 = 3;

/// Groups whose size is remembered. The second largest of them counts: a small
/// one between two large ones changes nothing, nor does a single larger one.
const REMEMBERED: usize = 8;

pub(super) struct Tempo {
    /// The lull that the last group asks for.
    lull: Duration,
    /// The next lull in a row of them, if it is shorter.
    next: Duration,
    /// When the last group was kept.
    last: Option<Instant>,
    /// When the group that gathers is to be kept, however small it is.
    due: Option<Instant>,
    /// Steps in the last groups, in no order that matters.
    sizes: [usize; REMEMBERED],
    /// Where the next size goes.
    at: usize,
}

impl Tempo {
    pub(super) fn new() -> Self {
        Self {
            lull: LULLS[0],
            next: FIRST,
            last: None,
            due: None,
            sizes: [0; REMEMBERED],
            at: 0,
        }
    }

    /// Whether so many steps that wait, at least one, are to be kept now. If
    /// not, they are [in a while](Self::wait), or when there are more.
    pub(super) fn is_due(&mut self, waiting: usize, now: Instant) -> bool {
        let expected = self.expected();
        if waiting >= expected.unwrap_or(MAX_GROUP) {
            return true;
        }
        if let Some(due) = self.due {
            return due <= now;
        }
        let long = expected.map(|_| self.lull * LONG);
        let busy = long.unwrap_or(BUSY.max(self.lull / BUSY_PART));
        if (self.last).is_none_or(|last| now.saturating_duration_since(last) >= busy) {
            self.next = FIRST;
            self.sizes = [0; REMEMBERED];
            return true;
        }
        self.due = Some(now + long.unwrap_or(self.next.min(self.lull)));
        self.next = self.lull.min(self.next * 2);
        false
    }

    /// How long the group that gathers has at most.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        (self.due).map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// A group of so many steps has been kept, which went to so many members.
    pub(super) fn kept(&mut self, steps: usize, seats: usize, now: Instant) {
        // It had its time, and is small: whatever made others large is over.
        if self.due.take().is_some() && steps < LARGE {
            self.sizes = [0; REMEMBERED];
        }
        self.sizes[self.at] = steps;
        self.at = (self.at + 1) % REMEMBERED;
        let seats = u32::try_from(seats).unwrap_or(u32::MAX);
        let [shortest, longest] = LULLS;
        self.lull = LULL_A_SEAT.saturating_mul(seats).clamp(shortest, longest);
        self.last = Some(now);
    }

    /// Whether the last group went to so few that lulls are as short as can be.
    pub(super) fn is_shortest(&self) -> bool {
        self.lull == LULLS[0]
    }

    /// How large the next group will be, if the last ones were large.
    fn expected(&self) -> Option<usize> {
        let mut sizes = self.sizes;
        sizes.sort_unstable();
        let [.., second, _] = sizes;
        (second >= LARGE).then_some(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEATS: usize = 50;
    const LULL: Duration = Duration::from_millis(1);

    /// A tempo after groups of so many steps, without a pause between them.
    fn after(sizes: &[usize]) -> (Tempo, Instant) {
        let (mut tempo, now) = (Tempo::new(), Instant::now());
        for &size in sizes {
            tempo.kept(size, SEATS, now);
        }
        (tempo, now)
    }

    #[test]
    fn at_a_human_pace_nothing_waits() {
        let (mut tempo, mut now) = after(&[1; 9]);
        for _ in 0..20 {
            now += LULL;
            assert!(tempo.is_due(1, now));
            tempo.kept(1, SEATS, now);
        }
    }

    #[test]
    fn small_groups_have_longer_and_longer_lulls() {
        let (mut tempo, mut now) = after(&[1]);
        for wait in [100, 200, 400, 800, 1000, 1000].map(Duration::from_micros) {
            assert!(!tempo.is_due(1, now));
            assert_eq!(tempo.wait(now), wait);
            assert!(!tempo.is_due(MAX_GROUP - 1, now));
            assert!(tempo.is_due(MAX_GROUP, now), "no more would fit");
            now += wait;
            assert!(tempo.is_due(1, now));
            tempo.kept(1, SEATS, now);
        }
        now += LULL;
        assert!(tempo.is_due(1, now), "it was quiet");
        tempo.kept(1, SEATS, now);
        assert!(!tempo.is_due(1, now));
        assert_eq!(tempo.wait(now), FIRST);
    }

    #[test]
    fn a_large_group_is_complete_when_it_is_as_large_as_the_last_ones() {
        let (mut tempo, now) = after(&[100, 64, 64, 3]);
        let later = now + LULL;
        assert!(
            !tempo.is_due(63, later),
            "the silence is no longer than a lull"
        );
        assert_eq!(tempo.wait(later), LONG * LULL);
        assert!(tempo.is_due(64, later));
        tempo.kept(64, SEATS, later);
        assert!(!tempo.is_due(1, later), "another gathers");
        assert!(tempo.is_due(1, later + LONG * LULL), "but not for ever");
    }

    #[test]
    fn large_groups_are_forgotten_when_one_stays_small_or_all_is_quiet() {
        let (mut tempo, mut now) = after(&[64; REMEMBERED]);
        assert!(!tempo.is_due(1, now));
        now += tempo.wait(now);
        assert!(tempo.is_due(1, now));
        tempo.kept(1, SEATS, now);
        assert!(tempo.is_due(1, now + LULL));

        let (mut tempo, now) = after(&[64; REMEMBERED]);
        let later = now + LONG * LULL;
        assert!(tempo.is_due(1, later));
        tempo.kept(1, SEATS, later);
        assert!(tempo.is_due(1, later + LULL));
    }
}
