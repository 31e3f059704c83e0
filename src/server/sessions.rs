//! Who is connected: how many streams there are, and how to end them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::chat::SessionNo;
use crate::rpc::{Caller, Kick};
use crate::wire::Ending;

pub(super) struct Sessions {
    live: Mutex<Live>,
    one_ended: Condvar,
    most: usize,
    most_of_one: usize,
}

#[derive(Default)]
struct Live {
    kicks: HashMap<SessionNo, Kick>,
    /// Streams of each address that has any.
    networks: HashMap<IpAddr, usize>,
    closed: bool,
}

/// A stream's place among the live ones; given up when it is dropped.
pub(super) struct Place<'a> {
    sessions: &'a Sessions,
    no: SessionNo,
    network: Option<IpAddr>,
}

impl Sessions {
    /// For so many streams in all, and so many from one address.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            live: Mutex::default(),
            one_ended: Condvar::new(),
            most,
            most_of_one,
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream, or why there is none.
    pub(super) fn enter(
        &self,
        no: SessionNo,
        caller: &Caller,
        kick: Kick,
    ) -> Result<Place<'_>, Ending> {
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
        let network = caller.network();
        if let Some(network) = network {
            let count = live.networks.entry(network).or_default();
            if *count >= self.most_of_one {
                return Err(Ending::Limit(format!(
                    "this server has {count} streams from your address and takes no more"
                )));
            }
            *count += 1;
        }
        live.kicks.insert(no, kick);
        Ok(Place {
            sessions: self,
            no,
            network,
        })
    }

    /// Whether a stream is there.
    pub(super) fn is_live(&self, no: SessionNo) -> bool {
        self.live().kicks.contains_key(&no)
    }

    /// How many streams there are, and from how many addresses.
    pub(super) fn count(&self) -> (usize, usize) {
        let live = self.live();
        (live.kicks.len(), live.networks.len())
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
        let mut live = self.sessions.live();
        live.kicks.remove(&self.no);
        if let Some(Entry::Occupied(mut count)) = self.network.map(|n| live.networks.entry(n)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        drop(live);
        self.sessions.one_ended.notify_all();
    }
}
