//! The journal's tempo: whether what waits is kept at once, as at a human pace,
//! or gathers first.
//!
//! A group costs each member a frame and a wake-up, several times what its
//! events cost. So where work comes faster than that, a group gathers for about
//! as long as sending the last one takes: a lull. Where the last groups were
//! large, it may gather longer, until it is as large as they were: by then those
//! who wait for their receipts before they go on have all been heard, and
//! nothing more would come. Where some of them have ended, nothing comes for a
//! whole lull.

use std::time::{Duration, Instant};

use super::windows::{WINDOW, Windows};
use crate::chat::MemberKey;

/// Work that comes sooner than this after the last is not of a human pace.
pub(super) const BUSY: Duration = Duration::from_micros(200);

/// Nor is what comes sooner than this part of a lull: where a lull is long, the
/// work is dear, and its effects are not over yet.
const BUSY_PART: u32 = 5;

/// The first of several lulls; each is twice as long as the one before. Two
/// things that only happen to come together do not wait long for each other.
const FIRST: Duration = Duration::from_micros(100);

/// The shortest and the longest lull.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(50);

/// What a lull grows by for each member that the last group went to: about
/// twice what sending it one frame costs. So while the poll threads send a
/// group the next one gathers, and a wide room gets few large ones.
const LULL_A_SEAT: Duration = Duration::from_micros(20);

/// Steps in one group at most.
pub(super) const MAX_GROUP: usize = 4096;

/// Steps of a group that gathered from which on the next one gathers too. Where
/// messages come one by one, about a lull apart, each would wait for half of one
/// with hardly ever another for company.
const WORTH: usize = 3;

/// Steps from which on a group is large.
const LARGE: usize = 16;

/// Lulls that a group may take to become as large as the last ones, where nobody
/// keeps a window: who sends at a rate of its own makes it the larger the longer
/// it takes.
const LONG: u32 = 4;

/// Groups whose size is remembered. The second largest of them counts: a small one
/// between two large ones changes nothing, nor does a single larger one.
const REMEMBERED: usize = 8;

#[cfg_attr(test, derive(Clone))]
pub(super) struct Tempo {
    /// The lull that the last group asks for.
    lull: Duration,
    /// The next lull in a row of them, if it is shorter.
    next: Duration,
    /// When the last group was kept.
    last: Option<Instant>,
    /// When the next group is due, if it gathers.
    due: Option<Due>,
    /// Whether something of it has come.
    has_begun: bool,
    /// Steps in the last groups, in no order that matters.
    sizes: [usize; REMEMBERED],
    /// Where the next size goes.
    at: usize,
    windows: Windows,
}

/// When a group that gathers is to be kept.
#[cfg_attr(test, derive(Clone))]
struct Due {
    /// If it is as large as expected.
    complete: Instant,
    expected: usize,
    /// If no more has come since the last look, which was a lull before.
    quiet: Instant,
    seen: usize,
    /// So many have to come in a lull: those of one who keeps a window, or any.
    more: usize,
    /// However small it is.
    any: Instant,
}

impl Tempo {
    pub(super) fn new() -> Self {
        Self {
            lull: SHORTEST,
            next: FIRST,
            last: None,
            due: None,
            has_begun: false,
            sizes: [0; REMEMBERED],
            at: 0,
            windows: Windows::default(),
        }
    }

    /// Whether so many steps that wait, at least one, are to be kept now. If
    /// not, they are [in a while](Self::wait), or when there are more.
    pub(super) fn is_due(&mut self, waiting: usize, now: Instant) -> bool {
        let is_full = waiting >= MAX_GROUP;
        if let Some(due) = &mut self.due
            && now < due.any
        {
            self.has_begun = true;
            if is_full || now >= due.complete && waiting >= due.expected {
                return true;
            }
            if now < due.quiet {
                return false;
            }
            due.quiet = now + self.lull;
            let seen = std::mem::replace(&mut due.seen, waiting);
            return seen > 0 && waiting < seen + due.more;
        }
        if self.has_begun || is_full {
            return true;
        }
        if (self.last).is_none_or(|last| now.saturating_duration_since(last) >= self.busy()) {
            self.next = FIRST.max(self.next / 2);
            self.sizes = [0; REMEMBERED];
            self.windows.forget();
            return true;
        }
        self.gather(now);
        self.has_begun = true;
        false
    }

    /// How long to wait at most before [`is_due`](Self::is_due) is asked again.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let due = self.due.iter().flat_map(|d| [d.complete, d.quiet, d.any]);
        let next = due.filter(|due| now < *due).min();
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// These are the authors of a group, which is [kept](Self::kept) next.
    pub(super) fn heard(&mut self, authors: impl Iterator<Item = MemberKey>) {
        self.windows.take(authors);
    }

    /// A group of so many steps has been kept, which went to so many members.
    pub(super) fn kept(&mut self, steps: usize, seats: usize, now: Instant) {
        let seats = u32::try_from(seats).unwrap_or(u32::MAX);
        self.lull = LULL_A_SEAT.saturating_mul(seats).clamp(SHORTEST, LONGEST);
        self.sizes[self.at] = steps;
        self.at = (self.at + 1) % REMEMBERED;
        self.last = Some(now);
        self.due = None;
        if std::mem::take(&mut self.has_begun) && steps >= WORTH {
            self.gather(now);
        }
    }

    fn gather(&mut self, now: Instant) {
        let expected = self.expected();
        let [complete, any] = match expected {
            Some(_) if self.windows.answers > 0 => [self.lull, LONGEST],
            Some(_) => [self.lull, (self.lull * LONG).min(LONGEST)],
            None => [self.next.min(self.lull); 2],
        };
        self.next = self.lull.min(self.next * 2);
        self.due = Some(Due {
            complete: now + complete,
            expected: expected.unwrap_or(MAX_GROUP),
            quiet: now + complete,
            seen: 0,
            more: if self.windows.answers > 0 { WINDOW } else { 1 },
            any: now + any,
        });
    }

    /// Whether the last group went to so few that lulls are as short as can be.
    pub(super) fn is_shortest(&self) -> bool {
        self.lull == SHORTEST
    }

    /// What comes sooner than this after the last group is of the same burst.
    /// Those who keep windows may all be held up at once, as by a busy machine.
    fn busy(&self) -> Duration {
        match self.windows.answers {
            0 => BUSY.max(self.lull / BUSY_PART),
            _ => LONGEST,
        }
    }

    /// How large the next group will be, if the last ones were large.
    pub(super) fn expected(&self) -> Option<usize> {
        let mut sizes = self.sizes;
        sizes.sort_unstable();
        let [.., second, _] = sizes;
        let expected = second.max(self.windows.answers);
        (expected >= LARGE).then_some(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEATS: usize = 50;
    const LULL: Duration = Duration::from_millis(1);

    /// A busy tempo after groups of so many steps.
    fn after(sizes: &[usize]) -> (Tempo, Instant) {
        let (mut tempo, now) = (Tempo::new(), Instant::now());
        for &size in sizes {
            tempo.kept(size, SEATS, now);
        }
        assert!(!tempo.is_due(1, now));
        tempo.kept(sizes[0], SEATS, now);
        (tempo, now)
    }

    /// Keeps a group in which each of these has a window of 64.
    fn keep_windows(tempo: &mut Tempo, authors: std::ops::Range<u64>, now: Instant) {
        let steps = authors.flat_map(|who| [MemberKey(who); 64]);
        tempo.heard(steps.clone());
        tempo.kept(steps.count(), SEATS, now);
    }

    #[test]
    fn at_a_human_pace_nothing_waits() {
        let (mut tempo, mut now) = (Tempo::new(), Instant::now());
        for _ in 0..20 {
            assert!(tempo.is_due(1, now));
            tempo.kept(1, SEATS, now);
            now += LULL;
        }
    }

    #[test]
    fn small_groups_have_longer_and_longer_lulls() {
        let (mut tempo, mut now) = (Tempo::new(), Instant::now());
        tempo.kept(1, SEATS, now);
        assert!(tempo.is_due(MAX_GROUP, now), "it all came at once");
        for wait in [100, 200, 400, 800, 1000, 1000].map(Duration::from_micros) {
            assert!(!tempo.is_due(1, now));
            assert_eq!(tempo.wait(now), wait);
            assert!(!tempo.is_due(MAX_GROUP - 1, now));
            assert!(tempo.is_due(MAX_GROUP, now), "no more would fit");
            now += wait;
            assert!(tempo.is_due(1, now));
            tempo.kept(1, SEATS, now);
        }
        // Each silence makes them shorter again.
        for wait in [500, 250].map(Duration::from_micros) {
            now += LULL;
            assert!(tempo.is_due(1, now), "it was quiet");
            tempo.kept(1, SEATS, now);
            let (mut next, later) = (tempo.clone(), now + BUSY / 2);
            assert!(!next.is_due(1, later));
            assert_eq!(next.wait(later), wait);
        }
    }

    #[test]
    fn what_comes_one_by_one_after_a_burst_does_not_wait() {
        // About a lull apart, each comes while the next group would gather.
        for apart in [40, 60, 95, 105].map(|part| LULL * part / 100) {
            let (mut tempo, mut now) = after(&[1; REMEMBERED]);
            let mut waited = 0;
            for _ in 0..100 {
                let came = now;
                while !tempo.is_due(1, now) {
                    waited += 1;
                    now += tempo.wait(now);
                }
                tempo.kept(1, SEATS, now);
                now = now.max(came + apart);
            }
            assert!(waited < 10, "{waited} of those {apart:?} apart");
        }
    }

    #[test]
    fn a_large_group_is_complete_when_it_is_as_large_as_the_last_ones() {
        let (mut tempo, now) = after(&[64, 100, 64, 3]);
        assert!(!tempo.is_due(64, now), "the last one is still sent");
        assert_eq!(tempo.wait(now), LULL);
        let later = now + LULL;
        assert!(!tempo.is_due(63, later));
        assert!(tempo.is_due(64, later));
        tempo.kept(64, SEATS, later);
        assert!(!tempo.is_due(1, later + LULL), "another gathers");
    }

    #[test]
    fn a_large_group_waits_for_no_more_when_nothing_comes_in_a_lull() {
        let (mut tempo, begun) = after(&[64; REMEMBERED]);
        assert!(!tempo.is_due(1, begun + LULL));
        assert_eq!(tempo.wait(begun + LULL), LULL);
        assert!(!tempo.is_due(1, begun + LULL * 3 / 2), "half a lull");
        assert!(tempo.clone().is_due(1, begun + LULL * 2));
        for lulls in 2..LONG {
            assert!(!tempo.is_due(lulls as usize, begun + lulls * LULL), "more");
        }
        assert!(
            tempo.is_due(LONG as usize, begun + LONG * LULL),
            "but not for ever"
        );
    }

    #[test]
    fn after_a_silence_large_groups_are_forgotten() {
        let (mut tempo, now) = after(&[64; REMEMBERED]);
        let later = now + LONG * LULL;
        assert!(tempo.is_due(1, later));
        tempo.kept(1, SEATS, later);
        assert!(tempo.is_due(1, later + LULL));
    }

    #[test]
    fn those_who_keep_windows_are_awaited_while_they_come() {
        const ALL: usize = 16 * 64;
        let (mut tempo, begun) = (Tempo::new(), Instant::now());
        // One was in the group, and the others in the one before.
        for authors in [1..16, 0..1] {
            keep_windows(&mut tempo, authors, begun);
        }
        assert!(!tempo.is_due(1, begun));
        let mut waiting = 1;
        for lulls in 1..2 * LONG {
            assert!(!tempo.is_due(waiting, begun + lulls * LULL), "{lulls}");
            waiting += WINDOW;
        }
        let now = begun + 2 * LONG * LULL;
        assert!(tempo.clone().is_due(ALL, now), "all have come");
        assert!(tempo.clone().is_due(waiting - 1, now), "others have come");
        assert!(!tempo.is_due(waiting, now));
        assert!(tempo.is_due(waiting, begun + LONGEST), "not for ever");
    }

    #[test]
    fn those_who_keep_windows_may_all_be_held_up() {
        let (mut tempo, now) = (Tempo::new(), Instant::now());
        keep_windows(&mut tempo, 0..8, now);
        let later = now + LONGEST - LULL;
        assert!(!tempo.clone().is_due(1, later), "the burst goes on");
        assert!(tempo.is_due(1, now + LONGEST), "it is over");
        tempo.heard(std::iter::once(MemberKey(8)));
        tempo.kept(1, SEATS, now + LONGEST);
        assert!(tempo.is_due(1, now + LONGEST + LULL), "and forgotten");
    }
}
