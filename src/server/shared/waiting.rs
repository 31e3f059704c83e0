//! The sessions that wait until a command of theirs is read back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
    Part(Ending, Sender<bool>),
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

    /// A session waits until its participant is out of the room, or away. It is
    /// told whether its outbox was then closed, for this reason.
    pub(super) fn for_part(&self, session: SessionNo, ending: Ending) -> Receiver<bool> {
        let (parted, has_parted) = bounded(1);
        self.map().insert(session, Waiter::Part(ending, parted));
        has_parted
    }

    /// A session waits no more. Returns whether it still did.
    pub(super) fn give_up(&self, session: SessionNo) -> bool {
        self.map().remove(&session).is_some()
    }

    /// Nobody waits for a seat any more.
    pub(super) fn end_joins(&self, ending: &Ending) {
        self.map().retain(|_, waiter| match waiter {
            Waiter::Join(_, answer) => {
                let _ = answer.send(Err(ending.clone())); // it may have lost its patience
                false
            }
            Waiter::Part(..) => true,
        });
    }

    /// Whoever waits for a seat, to be answered.
    pub(super) fn take_join(&self, session: SessionNo) -> Option<(Claim, Sender<Answer>)> {
        match self.take(session, |waiter| matches!(waiter, Waiter::Join(..)))? {
            Waiter::Join(claim, answer) => Some((claim, answer)),
            Waiter::Part(..) => None,
        }
    }

    /// Whoever waits to be out of the room, to be told.
    pub(super) fn take_part(&self, session: SessionNo) -> Option<(Ending, Sender<bool>)> {
        match self.take(session, |waiter| matches!(waiter, Waiter::Part(..)))? {
            Waiter::Part(ending, parted) => Some((ending, parted)),
            Waiter::Join(..) => None,
        }
    }

    /// A JOIN that is read again must not take the one that waits to be out.
    fn take(&self, session: SessionNo, is_meant: fn(&Waiter) -> bool) -> Option<Waiter> {
        match self.map().entry(session) {
            Entry::Occupied(waiter) if is_meant(waiter.get()) => Some(waiter.remove()),
            _ => None,
        }
    }
}
