//! Questions about rooms: the unary and server-streaming calls.

use grpcio::{GrpcSlice, MessageReader};
use protobuf::{CodedInputStream, Message};

use super::ending::Ending;
use super::generated::chat as pb;
use super::request::{PastAsk, bounded};

/// The largest question that is read, in bytes: a name or two.
const MAX_QUESTION_BYTES: usize = 64 * 1024;

/// A question as it came, or how its call ends because it cannot be read.
pub type Asked<T> = Result<T, Ending>;

/// Asks for a room's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The room, unchecked; empty for the default one.
    pub room: String,
    /// Which part; `None` for everything that is kept.
    pub past: Option<PastAsk>,
}

/// Asks who is in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoQuery {
    /// The room, unchecked; empty for the default one.
    pub room: String,
}

/// Asks which rooms there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomsQuery;

/// Who is in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The room's name.
    pub room: String,
    /// The room's Lamport time.
    pub clock: i64,
    /// By the Lamport time at which they joined.
    pub participants: Vec<Participant>,
}

/// One participant of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Its id.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// The room's Lamport time at which it joined.
    pub joined: i64,
    /// Whether its connection is lost and it may resume.
    pub away: bool,
}

/// The rooms of a server, in the order in which they were opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomList(pub Vec<RoomInfo>);

/// One room of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// How many are in it.
    pub participants: u32,
    /// Its Lamport time.
    pub clock: i64,
}

/// A value with a message of its own on the wire.
pub(super) trait Spelt: Sized {
    type Message: Message;
    fn to_message(&self) -> Self::Message;
    fn from_message(message: Self::Message) -> Self;
}

pub(super) fn write<T: Spelt>(value: &T, out: &mut GrpcSlice) -> grpcio::Result<()> {
    *out = GrpcSlice::from(value.to_message().write_to_bytes()?);
    Ok(())
}

pub(super) fn read<T: Spelt>(mut reader: MessageReader) -> grpcio::Result<T> {
    let mut message = T::Message::new();
    message.merge_from(&mut CodedInputStream::from_buf_read(&mut reader))?;
    Ok(T::from_message(message))
}

pub(super) fn read_asked<T: Spelt>(reader: MessageReader) -> grpcio::Result<Asked<T>> {
    Ok(bounded(reader, MAX_QUESTION_BYTES, read))
}

impl Spelt for HistoryQuery {
    type Message = pb::HistoryRequest;

    fn to_message(&self) -> Self::Message {
        let (last, after) = match self.past {
            None => (0, None),
            Some(PastAsk::Last(last)) => (last, None),
            Some(PastAsk::After(after)) => (0, Some(after)),
        };
        pb::HistoryRequest {
            room: self.room.clone(),
            last,
            after,
            ..Default::default()
        }
    }

    fn from_message(m: Self::Message) -> Self {
        let past = match (m.after, m.last) {
            (Some(after), _) => Some(PastAsk::After(after)),
            (None, 0) => None,
            (None, last) => Some(PastAsk::Last(last)),
        };
        Self { room: m.room, past }
    }
}

impl Spelt for WhoQuery {
    type Message = pb::WhoRequest;

    fn to_message(&self) -> Self::Message {
        pb::WhoRequest {
            room: self.room.clone(),
            ..Default::default()
        }
    }

    fn from_message(m: Self::Message) -> Self {
        Self { room: m.room }
    }
}

impl Spelt for RoomsQuery {
    type Message = pb::RoomsRequest;

    fn to_message(&self) -> Self::Message {
        Self::Message::default()
    }

    fn from_message(_: Self::Message) -> Self {
        Self
    }
}

impl Spelt for Roster {
    type Message = pb::WhoReply;

    fn to_message(&self) -> Self::Message {
        let participants = self.participants.iter().map(|p| pb::Participant {
            id: p.id,
            name: p.name.clone(),
            joined: p.joined,
            away: p.away,
            ..Default::default()
        });
        pb::WhoReply {
            room: self.room.clone(),
            clock: self.clock,
            participants: participants.collect(),
            ..Default::default()
        }
    }

    fn from_message(m: Self::Message) -> Self {
        let participants = m.participants.into_iter().map(|p| Participant {
            id: p.id,
            name: p.name,
            joined: p.joined,
            away: p.away,
        });
        Self {
            room: m.room,
            clock: m.clock,
            participants: participants.collect(),
        }
    }
}

impl Spelt for RoomList {
    type Message = pb::RoomsReply;

    fn to_message(&self) -> Self::Message {
        let rooms = self.0.iter().map(|r| pb::RoomInfo {
            name: r.name.clone(),
            participants: r.participants,
            clock: r.clock,
            ..Default::default()
        });
        pb::RoomsReply {
            rooms: rooms.collect(),
            ..Default::default()
        }
    }

    fn from_message(m: Self::Message) -> Self {
        let rooms = m.rooms.into_iter().map(|r| RoomInfo {
            name: r.name,
            participants: r.participants,
            clock: r.clock,
        });
        Self(rooms.collect())
    }
}
