//! Streams that cost the server neither a thread nor a session, and of which
//! each address has a share all the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::caller::Caller;
use crate::wire::Ending;

/// Such streams at once; more are refused.
const MOST: usize = 1024;

/// Of them, from one address (of IPv6, from one /64 network).
const MOST_OF_ONE: usize = 16;

/// What there is of them. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Shares(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// Of each address that has any.
    networks: HashMap<IpAddr, usize>,
}

/// One of them; given back when it is dropped.
pub(super) struct Share {
    shares: Shares,
    network: Option<IpAddr>,
}

impl Shares {
    /// A share for a stream of this caller. For poll threads: its lock is held
    /// for a look-up.
    ///
    /// # Errors
    /// There are too many: how the stream ends.
    pub(super) fn take(&self, caller: &Caller) -> Result<Share, Ending> {
        let mut taken = self.taken();
        if taken.all >= MOST {
            let words = format!("this server has {MOST} such streams and takes no more");
            return Err(Ending::Limit(words));
        }
        let network = caller.network();
        if let Some(network) = network {
            let count = taken.networks.entry(network).or_default();
            if *count >= MOST_OF_ONE {
                return Err(Ending::Limit(format!(
                    "this server has {count} such streams from your address and takes no more"
                )));
            }
            *count += 1;
        }
        taken.all += 1;
        drop(taken);
        Ok(Share {
            shares: self.clone(),
            network,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        if let Some(Entry::Occupied(mut count)) = self.network.map(|n| taken.networks.entry(n)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_share_and_all_together_have_a_limit() {
        let caller = |n: usize| Caller {
            peer: format!("ipv4:10.0.0.{n}:1"),
            names: None,
        };
        let shares = Shares::default();
        let mut taken = Vec::new();
        for n in 0..MOST / MOST_OF_ONE {
            taken.extend((0..MOST_OF_ONE).map(|_| shares.take(&caller(n)).ok().unwrap()));
            assert!(shares.take(&caller(n)).is_err(), "its share is taken");
        }
        let local = Caller {
            peer: "unix:".to_owned(),
            names: None,
        };
        assert!(shares.take(&local).is_err(), "all are taken");
        drop(taken.pop());
        let one = shares.take(&local);
        assert!(one.is_ok() && shares.take(&local).is_err());
        drop((one, taken));
        let left = shares.taken();
        assert!(left.all == 0 && left.networks.is_empty());
    }
}
