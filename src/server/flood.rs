//! New calls of one address that come faster than anybody's clients make them:
//! most are those of somebody who takes them back at once (HTTP/2 rapid reset),
//! and cost least if nothing is begun for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::pace::{Pace, Rate};

/// Addresses that are kept in mind. Where there are more, those are forgotten
/// that have been calm for long enough to be as good as new.
const MAX_ADDRESSES: usize = 4096;

/// How many calls addresses have left. Asked by poll threads, which hold its
/// lock for a look-up.
pub(super) struct Flood {
    rate: Rate,
    paces: Mutex<HashMap<IpAddr, Pace>>,
}

impl Flood {
    /// For addresses that may have so many streams: all of them may come anew
    /// at once, and a tenth of them each second after that.
    pub(super) fn new(max_per_address: usize) -> Self {
        let burst = u32::try_from(max_per_address).unwrap_or(u32::MAX).max(10);
        let rate = Rate {
            per_second: f64::from(burst) / 10.0,
            burst,
        };
        Self {
            rate,
            paces: Mutex::default(),
        }
    }

    /// Whether a call is worth beginning.
    pub(super) fn admits(&self, network: IpAddr, now: Instant) -> bool {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.len() >= MAX_ADDRESSES && !paces.contains_key(&network) {
            paces.retain(|_, pace| !pace.is_rested(now));
            // All of them are busy: then newcomers are too many.
            if paces.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let pace = paces
            .entry(network)
            .or_insert_with(|| Pace::new(self.rate, now));
        let admitted = pace.wait(now).is_zero();
        if admitted {
            pace.spend();
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_flood_is_stemmed_and_others_are_not() {
        let (flood, now) = (Flood::new(20), Instant::now());
        let admitted = (0..100).filter(|_| flood.admits(address(1), now)).count();
        assert_eq!(admitted, 20);
        assert!(flood.admits(address(2), now));
        let later = now + Duration::from_secs(1);
        let admitted = (0..100).filter(|_| flood.admits(address(1), later)).count();
        assert_eq!(admitted, 2);
    }

    #[test]
    fn only_so_many_addresses_are_kept_in_mind() {
        let (flood, now) = (Flood::new(20), Instant::now());
        let most = MAX_ADDRESSES as u32;
        assert!((0..most).all(|n| flood.admits(address(n), now)));
        assert!(!flood.admits(address(most), now), "all are busy");
        assert!(
            flood.admits(address(0), now),
            "those that are known are not cut off"
        );
        let later = now + Duration::from_secs(3600);
        assert!(flood.admits(address(most), later));
        assert_eq!(flood.paces.lock().unwrap().len(), 1);
    }
}
