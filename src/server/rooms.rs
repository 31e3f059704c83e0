//! The map of rooms. Its lock is held for a look-up or a creation alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::departures::Departure;
use super::{House, report};
use crate::chat::{Name, Room, RoomId, StoredRoom};
use crate::wire::Ending;

/// A room that sessions share. Whoever makes an event of it hands the event to
/// the journal before letting go of the lock: that makes the order of the
/// stamps the order that everybody sees.
#[derive(Clone)]
pub(super) struct SharedRoom(Arc<Mutex<Room>>);

impl SharedRoom {
    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        // A room's methods do not panic half-way, so its state is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            map.add(Room::restore(room));
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
        if map.in_order.len() >= self.most {
            return Err(Ending::Limit(format!(
                "this server has {} rooms and opens no more",
                self.most
            )));
        }
        let id = RoomId {
            no: map.next_no,
            name: name.clone(),
        };
        map.next_no += 1;
        Ok(map.add(Room::new(id)))
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
            let present: Vec<_> = room
                .members()
                .map(|m| (m.key, m.secret.is_some()))
                .collect();
            for (key, may_resume) in present {
                let departure = Departure::now(shared.clone(), key, 0);
                match house.away.take().filter(|_| may_resume) {
                    // The thread waits for these as long as the server lives.
                    Some(share) => {
                        let _ = house.departures.send((departure, share));
                    }
                    None => departure.announce(&mut room, "restart", house),
                }
            }
            drop(room);
            house.journal.settle();
        }
    }
}

impl Map {
    fn add(&mut self, mut room: Room) -> SharedRoom {
        room.remember_at_most(self.most_remembered);
        let name = room.id().name.folded();
        let shared = SharedRoom(Arc::new(Mutex::new(room)));
        self.by_name.insert(name, shared.clone());
        self.in_order.push(shared.clone());
        shared
    }
}
