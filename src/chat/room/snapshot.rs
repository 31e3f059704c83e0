//! All that a room is, as a value, so that another can go on from it.

use super::{Member, RememberedMember, Room, Secret};
use crate::chat::RoomId;

/// A room at one moment. Rooms with equal snapshots do the same from there on,
/// whatever happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSnapshot {
    /// Which room.
    pub id: RoomId,
    /// Lamport time of its last event.
    pub clock: i64,
    /// Number of its last event that all saw.
    pub seq: u64,
    /// Who is in it, by key.
    pub members: Vec<Member>,
    /// Who left and would be recognised, the longest gone first.
    pub remembered: Vec<(Secret, RememberedMember)>,
    /// How many it remembers.
    pub most_remembered: usize,
}

impl Room {
    /// What it is at this moment.
    pub fn snapshot(&self) -> RoomSnapshot {
        let mut members: Vec<_> = self.members.values().cloned().collect();
        members.sort_by_key(|m| m.key);
        let remembered = self.remembered_order.iter();
        RoomSnapshot {
            id: self.id.as_ref().clone(),
            clock: self.clock.now(),
            seq: self.seq,
            members,
            remembered: remembered.map(|(s, _)| (*s, self.remembered[s])).collect(),
            most_remembered: self.most_remembered,
        }
    }
}

impl From<RoomSnapshot> for Room {
    fn from(snapshot: RoomSnapshot) -> Self {
        let RoomSnapshot {
            id,
            clock,
            seq,
            members,
            remembered,
            most_remembered,
        } = snapshot;
        let mut room = Self::empty(id, clock, seq, most_remembered);
        for member in members {
            room.enter(member);
        }
        for (secret, member) in remembered {
            room.remember(secret, member);
        }
        room
    }
}
