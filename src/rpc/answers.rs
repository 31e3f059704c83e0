//! Answers that are on their way. Each is kept until its client has taken it, and
//! one may be as large as all names of a server together. So where many wait for
//! clients that take nothing, the oldest is given up for a new one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;

/// The answers that are on their way. Clones are one.
#[derive(Clone)]
pub(super) struct Answers {
    most: usize,
    /// A way to end each, the oldest first. Some may be over.
    under_way: Arc<Mutex<VecDeque<oneshot::Sender<()>>>>,
}

impl Answers {
    /// At most so many, and one at least.
    pub(super) fn at_most(most: usize) -> Self {
        Self {
            most: most.max(1),
            under_way: Arc::default(),
        }
    }

    /// For an answer that sets out. What this returns resolves when it is to be
    /// given up, and is dropped when it is over. For poll threads: its lock is
    /// held for a look.
    pub(super) fn set_out(&self) -> oneshot::Receiver<()> {
        let (give_up, given_up) = oneshot::channel();
        let under_way = self.under_way.lock();
        let mut under_way = under_way.unwrap_or_else(PoisonError::into_inner);
        if under_way.len() >= self.most {
            under_way.retain(|answer| !answer.is_canceled());
        }
        if under_way.len() >= self.most
            && let Some(oldest) = under_way.pop_front()
        {
            let _ = oldest.send(()); // it may be over by now
        }
        under_way.push_back(give_up);
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_given_up_and_nothing_that_is_over_counts() {
        let answers = Answers::at_most(2);
        let mut first = answers.set_out();
        let second = answers.set_out();
        assert_eq!(first.try_recv(), Ok(None));
        let mut third = answers.set_out();
        assert_eq!(first.try_recv(), Ok(Some(())));
        drop(second);
        let _fourth = answers.set_out();
        assert_eq!(third.try_recv(), Ok(None), "the second was over");
    }
}
