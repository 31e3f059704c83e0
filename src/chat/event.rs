//! An event: something that happened in a room, at one place in its order.

use std::sync::Arc;

use super::name::{DEFAULT_ROOM, Name};

/// The name under which the server itself speaks; nobody can join with it.
pub const SERVER_NAME: &str = "Server";

/// The sender's id of what the server itself says. No participant has it.
pub const SERVER_ID: i32 = 0;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A participant joined.
    Join,
    /// A participant said something.
    Message,
    /// A participant left, by its own will or because it was lost.
    Leave,
    /// The server refused something; only its sender is told.
    Refusal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Join, Kind::Message, Kind::Leave, Kind::Refusal];

    /// The kind's word wherever it is written: in logs, histories, metrics and
    /// JSON. It is read back from the first two, so it never changes.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Join => "join",
            Kind::Message => "message",
            Kind::Leave => "leave",
            Kind::Refusal => "refusal",
        }
    }

    /// The kind with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Who a participant is, for as long as the room remembers it: unlike its id
/// and its name nobody else ever gets it. Never sent to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey(pub u64);

/// Who may see an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody in the room.
    Room,
    /// One participant: it alone is told of a refusal.
    One(MemberKey),
    /// Sender and recipient of a private message.
    Two(MemberKey, MemberKey),
}

impl Audience {
    /// Whether this participant belongs to it.
    pub fn includes(&self, key: MemberKey) -> bool {
        match *self {
            Audience::Room => true,
            Audience::One(a) => a == key,
            Audience::Two(a, b) => a == key || b == key,
        }
    }
}

/// An event of a room, as it is kept, sent and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The room's Lamport time of this event; unique in the room.
    pub time: i64,
    /// Its number among the events that the whole room sees: 1, 2, 3 … without
    /// a gap. 0 for an event that only some see.
    pub seq: u64,
    /// What happened.
    pub kind: Kind,
    /// The sender's id, or [`SERVER_ID`].
    pub sender_id: i32,
    /// The sender's name, or [`SERVER_NAME`].
    pub sender: Arc<str>,
    /// What is shown to people.
    pub text: String,
    /// The sender's own Lamport time when it sent what became this event;
    /// 0 where nothing was sent, as when a participant is lost.
    pub sent: i64,
    /// Milliseconds since the Unix epoch by the server's clock on the wall.
    /// For people alone: nothing is ordered by it.
    pub wall_ms: i64,
    /// The recipient's name, if this is a private message.
    pub to: Option<Arc<str>>,
}

/// Which room: a number that never changes, and a name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomId {
    /// Counted from 1 in the order in which rooms were first opened.
    pub no: u32,
    /// As written by whoever opened it.
    pub name: Name,
}

impl RoomId {
    /// How announcements call the room: the default room by its name, as the
    /// original did, any other with a `#` before it.
    pub fn shown(&self) -> String {
        match self.name.as_str() {
            DEFAULT_ROOM => DEFAULT_ROOM.to_owned(),
            name => format!("#{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
        }
        assert_eq!(Kind::of_word("Join"), None);
        // The metrics count by the number of a kind.
        assert_eq!(Kind::ALL.map(|kind| kind as usize), [0, 1, 2, 3]);
    }
}
