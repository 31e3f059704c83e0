//! The sessions that wait until a command of theirs is read back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::chat::SessionNo;
use crate::server::order::Seated;
use crate::server::step::Claim;
use crate::wire::Ending;

/// What a session is answered that wants to join.
pub(super) type Answer = Result<Seated, Ending>;

#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<SessionNo, Waiter>>);

enum Waiter {
    Join(Claim, Sender<Answer>),
    Leave(Sender<()>),
}

impl Waiting {
    fn map(&self) -> MutexGuard<'_, HashMap<SessionNo, Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session waits for its seat.
    pub(super) fn for_join(&self, session: SessionNo, claim: Claim) -> Receiver<Answer> {
        let (answer, answered) = bounded(1);
        self.map().insert(session, Waiter::Join(claim, answer));
        answered
    }

    /// A session waits until its participant has left.
    pub(super) fn for_leave(&self, session: SessionNo) -> Receiver<()> {
        let (left, has_left) = bounded(1);
        self.map().insert(session, Waiter::Leave(left));
        has_left
    }

    /// A session waits no more. Returns whether it still did.
    pub(super) fn give_up(&self, session: SessionNo) -> bool {
        self.map().remove(&session).is_some()
    }

    /// Whoever waits for a seat, to be answered.
    pub(super) fn take_join(&self, session: SessionNo) -> Option<(Claim, Sender<Answer>)> {
        match self.map().remove(&session)? {
            Waiter::Join(claim, answer) => Some((claim, answer)),
            Waiter::Leave(_) => None,
        }
    }

    /// Tells a session, if it waits, that its participant has left.
    pub(super) fn tell_left(&self, session: SessionNo) {
        if let Some(Waiter::Leave(left)) = self.map().remove(&session) {
            let _ = left.send(()); // it may have lost its patience
        }
    }
}
