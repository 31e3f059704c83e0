//! Those who lost their connection and may come back: nobody is told until
//! their grace period is over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::journal::Message;
use super::quota::Share;
use super::rooms::SharedRoom;
use super::step::{Change, Step};
use super::{House, wall_ms};
use crate::chat::{MemberKey, Presence, Room, SessionNo};

/// A participant that lost its session.
pub(super) struct Departure {
    room: SharedRoom,
    key: MemberKey,
    /// The session that it lost; if it has another by then, it is back.
    session: SessionNo,
    at: Instant,
}

impl Departure {
    pub(super) fn now(room: SharedRoom, key: MemberKey, session: SessionNo) -> Self {
        Self {
            room,
            key,
            session,
            at: Instant::now(),
        }
    }

    /// Awaits it, unless it is back. However many come and vanish, only so many
    /// are awaited: any other leaves. Whoever calls this settles the journal
    /// when `room` is free again.
    pub(super) fn begin(self, room: &mut Room, why: &'static str, house: &House) {
        let member = room.member(self.key);
        if member.is_none_or(|m| m.presence != Presence::Away(self.session)) {
            return;
        }
        match house.away.take() {
            Some(share) => house.departures.add(self, share),
            None => self.announce(room, why, house),
        }
    }

    /// Lets it leave, unless it is back. Whoever calls this settles the journal
    /// when `room` is free again.
    pub(super) fn announce(&self, room: &mut Room, why: &'static str, house: &House) {
        if let Some(parted) = room.expire(self.key, self.session, wall_ms()) {
            let step = Step::parted(room, parted, why, Change::None);
            house.journal.hand_over(Message::Step(step));
        }
    }
}

/// Those who may come back until their grace period is over, each with its
/// share of those who are awaited. They all have the same one, so they are in
/// the order of its ends. Whoever adds somebody, or says that it is back, has
/// the lock of its room: so nobody is added that is back already.
pub(super) struct Departures {
    awaited: Mutex<Awaited>,
    /// Rings for the thread when there is somebody again.
    ring: Sender<()>,
    bell: Receiver<()>,
}

#[derive(Default)]
struct Awaited {
    in_order: BTreeMap<u64, (Departure, Share)>,
    /// Where in it each is, by its room and key.
    places: HashMap<(u32, MemberKey), u64>,
    next_place: u64,
}

impl Departures {
    pub(super) fn new() -> Self {
        let (ring, bell) = bounded(1);
        Self {
            awaited: Mutex::default(),
            ring,
            bell,
        }
    }

    fn add(&self, departure: Departure, share: Share) {
        let mut awaited = self.awaited();
        let place = awaited.next_place;
        awaited.next_place += 1;
        let who = (departure.room.no(), departure.key);
        awaited.places.insert(who, place);
        awaited.in_order.insert(place, (departure, share));
        if awaited.in_order.len() == 1 {
            let _ = self.ring.try_send(()); // a ring that waits is as good
        }
    }

    /// Awaits a participant no more, since it is back: another may be.
    pub(super) fn await_no_more(&self, room: &SharedRoom, key: MemberKey) {
        let mut awaited = self.awaited();
        if let Some(place) = awaited.places.remove(&(room.no(), key)) {
            awaited.in_order.remove(&place);
        }
    }

    /// How long the next one has; for ever if nobody is awaited.
    fn wait(&self, grace: Duration) -> Duration {
        let awaited = self.awaited();
        let next = awaited.in_order.first_key_value();
        next.map_or(Duration::MAX, |(_, (departure, _))| {
            grace.saturating_sub(departure.at.elapsed())
        })
    }

    /// Takes out the next one if its grace period is over.
    fn take_due(&self, grace: Duration) -> Option<(Departure, Share)> {
        let mut awaited = self.awaited();
        let next = awaited.in_order.first_entry()?;
        if next.get().0.at.elapsed() < grace {
            return None;
        }
        let due = next.remove();
        awaited.places.remove(&(due.0.room.no(), due.0.key));
        Some(due)
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets those leave whose grace period is over.
pub(super) fn run(house: &House, quit: &Receiver<()>, grace: Duration) {
    let departures = &house.departures;
    loop {
        select! {
            recv(quit) -> _ => return,
            recv(departures.bell) -> _ => {}
            default(departures.wait(grace)) => {}
        }
        if let Some((departure, share)) = departures.take_due(grace) {
            departure.announce(&mut departure.room.lock(), "expired", house);
            house.journal.settle(None);
            drop(share);
        }
    }
}
