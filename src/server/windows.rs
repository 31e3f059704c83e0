//! Who keeps a window: clients that have many messages on their way, and send
//! the next ones when these come back.
//!
//! Such a client answers its receipts with as many messages as they were. So
//! what the next group will have of it is known beforehand, whatever time it
//! takes, which no client does that sends at a rate of its own.

use crate::chat::MemberKey;

/// Messages of one author in a group from which on it is taken to keep a window.
/// At a rate of its own nobody says so many within the time that a group takes.
pub(super) const WINDOW: usize = 16;

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Windows {
    /// Whoever kept one in the last group, ordered, and how many messages it had.
    last: Vec<(MemberKey, usize)>,
    /// The stretches of one author each, of the group that is looked at.
    runs: Vec<(MemberKey, usize)>,
    /// How many steps those will say next who kept a window in the last group or in
    /// the one before: whoever was in that one only has its receipts too, and is late.
    pub(super) answers: usize,
}

impl Windows {
    /// Takes the authors of a group's steps.
    pub(super) fn take(&mut self, authors: impl Iterator<Item = MemberKey>) {
        self.runs.clear();
        for author in authors {
            match self.runs.last_mut() {
                Some((last, count)) if *last == author => *count += 1,
                _ => self.runs.push((author, 1)),
            }
        }
        self.runs.sort_unstable();
        self.runs.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
        self.runs.retain(|(_, count)| *count >= WINDOW);
        let late = self.last.iter().filter(|(author, _)| {
            let in_this = self.runs.binary_search_by_key(author, |(key, _)| *key);
            in_this.is_err()
        });
        self.answers = self.runs.iter().chain(late).map(|(_, count)| count).sum();
        std::mem::swap(&mut self.last, &mut self.runs);
    }

    /// Nobody is awaited any more.
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.answers = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a group of these stretches: who, and how many steps.
    fn take(windows: &mut Windows, runs: &[(u64, usize)]) -> usize {
        let authors = runs
            .iter()
            .flat_map(|(who, count)| std::iter::repeat_n(MemberKey(*who), *count));
        windows.take(authors);
        windows.answers
    }

    #[test]
    fn whoever_says_little_keeps_no_window() {
        let mut windows = Windows::default();
        let little = [1, 2, 3].map(|who| (who, WINDOW - 1));
        assert_eq!(take(&mut windows, &little), 0);
        assert_eq!(take(&mut windows, &[(1, WINDOW), (2, 1)]), WINDOW);
    }

    #[test]
    fn what_one_says_in_pieces_counts_together() {
        let mut windows = Windows::default();
        assert_eq!(take(&mut windows, &[(2, 1), (1, 64), (2, 63)]), 128);
    }

    #[test]
    fn whoever_is_late_for_a_group_is_awaited_for_the_next_one() {
        let mut windows = Windows::default();
        assert_eq!(take(&mut windows, &[(1, 64), (2, 64)]), 128);
        assert_eq!(take(&mut windows, &[(2, 64)]), 128);
        assert_eq!(take(&mut windows, &[(1, 64), (2, 64)]), 128);
        // One message came in time, and the others are awaited.
        assert_eq!(take(&mut windows, &[(1, 64), (2, 1)]), 128);
        // Not for ever.
        assert_eq!(take(&mut windows, &[(1, 64)]), 64);
    }
}
