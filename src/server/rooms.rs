//! The map of rooms. Its lock is held for a look-up or a creation alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::departures::Departure;
use super::order::Order;
use super::{House, report};
use crate::chat::{Name, Room, RoomId, StoredRoom};
use crate::wire::Ending;

/// A room that sessions share. Whoever makes an event of it hands the event to
/// the journal before letting go of the lock: that makes the order of the
/// stamps the order that everybody sees.
#[derive(Clone)]
pub(super) struct SharedRoom {
    no: u32,
    room: Arc<Mutex<Room>>,
    /// The highest Lamport time that was seen of it. Where the room is read
    /// anew from a log that lost its end, that is not the room's clock.
    seen: Arc<AtomicI64>,
}

impl SharedRoom {
    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        // A room's methods do not panic half-way, so its state is whole.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest Lamport time that this server has seen of it.
    pub(super) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Something of this Lamport time was seen.
    pub(super) fn see(&self, time: i64) {
        self.seen.fetch_max(time, Ordering::AcqRel);
    }

    /// Its number.
    pub(super) fn no(&self) -> u32 {
        self.no
    }
}

pub(super) struct Rooms {
    map: Mutex<Map>,
    most: usize,
}

struct Map {
    by_name: HashMap<String, SharedRoom>,
    in_order: Vec<SharedRoom>,
    most_remembered: usize,
    next_no: u32,
}

impl Rooms {
    pub(super) fn restore(stored: Vec<StoredRoom>, most: usize, most_remembered: usize) -> Self {
        let next_no = stored.iter().map(|r| r.id.no).max().unwrap_or(0) + 1;
        let mut map = Map {
            by_name: HashMap::new(),
            in_order: Vec::new(),
            most_remembered,
            next_no,
        };
        for room in stored {
            map.add(Room::restore(room, most_remembered));
        }
        Self {
            map: Mutex::new(map),
            most,
        }
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of this name, if there is one.
    pub(super) fn find(&self, name: &Name) -> Option<SharedRoom> {
        self.map().by_name.get(&name.folded()).cloned()
    }

    /// The room of this name, opened if there is none.
    pub(super) fn open(&self, name: &Name) -> Result<SharedRoom, Ending> {
        let mut map = self.map();
        if let Some(room) = map.by_name.get(&name.folded()) {
            return Ok(room.clone());
        }
        self.check_space_in(&map)?;
        let id = RoomId {
            no: map.next_no,
            name: name.clone(),
        };
        map.next_no += 1;
        let mut room = Room::new(id);
        room.remember_at_most(map.most_remembered);
        Ok(map.add(room))
    }

    /// Takes a room that was opened elsewhere.
    pub(super) fn adopt(&self, room: Room) -> SharedRoom {
        self.map().add(room)
    }

    /// Whether one more room may be opened, or why not.
    pub(super) fn check_space(&self) -> Result<(), Ending> {
        self.check_space_in(&self.map())
    }

    fn check_space_in(&self, map: &Map) -> Result<(), Ending> {
        match map.in_order.len() < self.most {
            true => Ok(()),
            false => Err(Ending::Limit(format!(
                "this server has {} rooms and opens no more",
                self.most
            ))),
        }
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.map().in_order.len()
    }

    /// All rooms, in the order in which they were opened.
    pub(super) fn all(&self) -> Vec<SharedRoom> {
        self.map().in_order.clone()
    }

    /// Those who were in a room when the last run ended may resume, if they
    /// can prove who they are; the others have left.
    pub(super) fn await_those_present(&self, house: &House) {
        for shared in self.all() {
            let mut room = shared.lock();
            report::room(room.id(), room.clock());
            if !matches!(house.order, Order::Here) {
                continue; // the steward awaits them
            }
            let present: Vec<_> = room
                .members()
                .map(|m| (m.key, m.secret.is_some()))
                .collect();
            for (key, may_resume) in present {
                let departure = Departure::now(shared.clone(), key, 0);
                match may_resume {
                    true => departure.begin(&mut room, "restart", house),
                    false => departure.announce(&mut room, "restart", house),
                }
            }
            drop(room);
            house.journal.settle(None);
        }
    }
}

impl Map {
    fn add(&mut self, room: Room) -> SharedRoom {
        let name = room.id().name.folded();
        let shared = SharedRoom {
            no: room.id().no,
            seen: Arc::new(AtomicI64::new(room.clock())),
            room: Arc::new(Mutex::new(room)),
        };
        self.by_name.insert(name, shared.clone());
        self.in_order.push(shared.clone());
        shared
    }
}
