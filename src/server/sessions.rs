//! Who is connected: how many streams there are, and how to end them all.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::chat::SessionNo;
use crate::rpc::Kick;
use crate::wire::Ending;

pub(super) struct Sessions {
    live: Mutex<Live>,
    one_ended: Condvar,
    most: usize,
}

#[derive(Default)]
struct Live {
    kicks: HashMap<SessionNo, Kick>,
    closed: bool,
}

/// A stream's place among the live ones; given up when it is dropped.
pub(super) struct Place<'a> {
    sessions: &'a Sessions,
    no: SessionNo,
}

impl Sessions {
    pub(super) fn new(most: usize) -> Self {
        Self {
            live: Mutex::default(),
            one_ended: Condvar::new(),
            most,
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream, or why there is none.
    pub(super) fn enter(&self, no: SessionNo, kick: Kick) -> Result<Place<'_>, Ending> {
        let mut live = self.live();
        if live.closed {
            return Err(Ending::Stopping);
        }
        if live.kicks.len() >= self.most {
            return Err(Ending::Limit(format!(
                "this server has {} streams and takes no more",
                self.most
            )));
        }
        live.kicks.insert(no, kick);
        Ok(Place { sessions: self, no })
    }

    /// Gives no more places.
    pub(super) fn refuse_more(&self) {
        self.live().closed = true;
    }

    /// Ends the wait of every session for its client.
    pub(super) fn kick_all(&self) {
        self.live().kicks.values().for_each(Kick::kick);
    }

    /// Waits until no stream is left, at most for `patience`. Returns whether
    /// none is.
    pub(super) fn wait_until_none(&self, patience: Duration) -> bool {
        let some_left = |live: &mut Live| !live.kicks.is_empty();
        let waited = self
            .one_ended
            .wait_timeout_while(self.live(), patience, some_left);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .kicks
            .is_empty()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.sessions.live().kicks.remove(&self.no);
        self.sessions.one_ended.notify_all();
    }
}
