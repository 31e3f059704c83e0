//! Frames of requests, as a client sends and the server reads them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use grpcio::{GrpcSlice, MessageReader};
use protobuf::{Enum, Message};

use super::ending::Ending;
use super::field::{Value, field};
use super::frame::{event_type, malformed, read_whole};
use super::generated::chat::{EventType, JoinMsgLeave};

/// One thing that a client sends. Who it is belongs to the stream: only a
/// JOIN says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Wants to be in a room.
    Join(Box<Join>),
    /// Says something.
    Say {
        /// The text as typed.
        text: String,
        /// The name of its one recipient; empty for the whole room.
        to: String,
        /// The sender's Lamport time of this send.
        sent: i64,
    },
    /// Leaves.
    Leave {
        /// The sender's Lamport time of this send.
        sent: i64,
    },
}

/// What a JOIN carries; see `proto/chat.proto`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Join {
    /// The id that it wants; 0 lets the server choose.
    pub id: i32,
    /// The name that it wants, unchecked.
    pub name: String,
    /// The sender's Lamport time of this send.
    pub sent: i64,
    /// The room, unchecked; empty for the default one.
    pub room: String,
    /// Which part of the past to begin with.
    pub past: Option<PastAsk>,
    /// What proves later that it is the same participant; empty: nothing does.
    pub secret: Vec<u8>,
    /// The password, where the server asks for one.
    pub password: String,
    /// Whether answers may come as batches.
    pub batches: bool,
}

/// Without what only this participant knows.
impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("sent", &self.sent)
            .field("room", &self.room)
            .field("past", &self.past)
            .field("batches", &self.batches)
            .finish_non_exhaustive()
    }
}

/// Which part of a room's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastAsk {
    /// The last so many events.
    Last(u32),
    /// Every event after this Lamport time of the room.
    After(i64),
}

/// What a client sends in one frame.
#[derive(Debug, Clone)]
pub struct ClientFrame {
    /// The sender's id, for all but a JOIN, which has its own. This server
    /// ignores it, the original one does not.
    pub id: i32,
    /// The sender's name, likewise.
    pub name: Arc<str>,
    /// In order; more than one travel as a batch, which the original server
    /// does not know.
    pub requests: Vec<Request>,
}

/// Requests that one frame may hold. A small frame of tiny ones would take more
/// than a hundred times its size. Clients count on it (`proto/chat.proto`).
pub const MAX_REQUESTS: usize = 1024;

/// Reads a frame of a client, if it has at most so many bytes and
/// [`MAX_REQUESTS`], and adds what it holds to `requests`.
///
/// # Errors
/// How the stream of a client ends that sends such a frame; nothing is added.
pub fn read_requests(
    frame: MessageReader,
    most: usize,
    requests: &mut Vec<Request>,
) -> Result<(), Ending> {
    let before = requests.len();
    bounded(frame, most, |frame| {
        read_whole(frame, |bytes| add_requests(bytes, requests))
    })?;
    if requests.len() - before > MAX_REQUESTS {
        requests.truncate(before);
        return Err(Ending::TooMany { most: MAX_REQUESTS });
    }
    Ok(())
}

/// Reads a message of a client, if it has at most so many bytes.
///
/// gRPC's core has the message whole before anybody can look at its size, so a
/// limit of the core's own would hold nothing that this does not.
pub(super) fn bounded<T>(
    frame: MessageReader,
    most: usize,
    read: impl FnOnce(MessageReader) -> grpcio::Result<T>,
) -> Result<T, Ending> {
    let bytes = frame.len();
    if bytes > most {
        return Err(Ending::TooLarge { bytes, most });
    }
    read(frame).map_err(|why| {
        // What is wrong with the frame is inside gRPC's own error.
        let inner = why.source().map(ToString::to_string);
        Ending::Malformed(inner.unwrap_or_else(|| why.to_string()))
    })
}

fn add_requests(frame: &[u8], requests: &mut Vec<Request>) -> grpcio::Result<()> {
    let before = requests.len();
    if add_said(frame, requests).is_some() {
        return Ok(());
    }
    requests.truncate(before);
    let message = JoinMsgLeave::parse_from_bytes(frame)?;
    if message.batch.is_empty() {
        requests.push(request(message)?);
        return Ok(());
    }
    let batch: grpcio::Result<Vec<_>> = message.batch.into_iter().map(request).collect();
    requests.extend(batch?);
    Ok(())
}

// The fields of a MESSAGE, and the batch, in `proto/chat.proto`.
const ID: u64 = 1;
const CLIENT_NAME: u64 = 2;
const TIMESTAMP: u64 = 4;
const MSG: u64 = 5;
const TYPE: u64 = 8;
const TO: u64 = 13;
const BATCH: u64 = 16;

/// What nearly every frame is: something said, one thing or several, and nothing
/// unusual about it. The generated code reads all others. It takes four times as
/// long, and copies a name that this server does not look at. `None`: it is
/// another, of which a part may have been added.
fn add_said(frame: &[u8], requests: &mut Vec<Request>) -> Option<()> {
    if let Some(said) = said(frame) {
        requests.push(said);
        return Some(());
    }
    let mut rest = frame;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (BATCH, Value::Bytes(message)) => requests.push(said(message)?),
            _ => return None,
        }
    }
    (!frame.is_empty()).then_some(())
}

fn said(mut rest: &[u8]) -> Option<Request> {
    let (mut text, mut to, mut sent, mut is_message) = ("", "", 0, false);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (ID, Value::Number(_)) => {}
            (CLIENT_NAME, Value::Bytes(name)) => drop(str::from_utf8(name).ok()?),
            (TIMESTAMP, Value::Number(n)) => sent = n as i64,
            (MSG, Value::Bytes(bytes)) => text = str::from_utf8(bytes).ok()?,
            (TYPE, Value::Number(n)) => is_message = n == EventType::MESSAGE.value() as u64,
            (TO, Value::Bytes(bytes)) => to = str::from_utf8(bytes).ok()?,
            _ => return None,
        }
    }
    is_message.then(|| Request::Say {
        text: text.to_owned(),
        to: to.to_owned(),
        sent,
    })
}

// The marshallers. `grpcio` takes plain functions of these shapes.

pub(super) fn write_requests(frame: &ClientFrame, out: &mut GrpcSlice) -> grpcio::Result<()> {
    let mut messages: Vec<_> = frame.requests.iter().map(|r| message(frame, r)).collect();
    let message = match messages.len() {
        1 => messages.remove(0),
        _ => JoinMsgLeave {
            batch: messages,
            ..Default::default()
        },
    };
    *out = GrpcSlice::from(message.write_to_bytes()?);
    Ok(())
}

pub(super) fn read_no_requests(_: MessageReader) -> grpcio::Result<ClientFrame> {
    Err(malformed("this end only writes"))
}

fn request(m: JoinMsgLeave) -> grpcio::Result<Request> {
    if !m.batch.is_empty() {
        return Err(malformed("a batch inside a batch"));
    }
    Ok(match event_type(m.type_)? {
        EventType::JOIN => Request::Join(Box::new(Join {
            id: m.id,
            name: m.client_name,
            sent: m.timestamp,
            room: m.room,
            past: match (m.replay_after, m.replay_last) {
                (Some(after), _) => Some(PastAsk::After(after)),
                (None, 0) => None,
                (None, last) => Some(PastAsk::Last(last)),
            },
            secret: m.secret,
            password: m.password,
            batches: m.accepts_batches,
        })),
        EventType::MESSAGE => Request::Say {
            text: m.msg,
            to: m.to,
            sent: m.timestamp,
        },
        EventType::LEAVE => Request::Leave { sent: m.timestamp },
    })
}

fn message(frame: &ClientFrame, request: &Request) -> JoinMsgLeave {
    let mut m = JoinMsgLeave {
        id: frame.id,
        client_name: frame.name.to_string(),
        ..Default::default()
    };
    match request {
        Request::Join(join) => {
            m.type_ = EventType::JOIN.into();
            m.id = join.id;
            m.client_name = join.name.clone();
            m.timestamp = join.sent;
            m.room = join.room.clone();
            match join.past {
                Some(PastAsk::After(after)) => m.replay_after = Some(after),
                Some(PastAsk::Last(last)) => m.replay_last = last,
                None => {}
            }
            m.secret = join.secret.clone();
            m.password = join.password.clone();
            m.accepts_batches = join.batches;
        }
        Request::Say { text, to, sent } => {
            m.type_ = EventType::MESSAGE.into();
            m.msg = text.clone();
            m.to = to.clone();
            m.timestamp = *sent;
        }
        Request::Leave { sent } => {
            m.type_ = EventType::LEAVE.into();
            m.timestamp = *sent;
        }
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_participant_knows_is_not_shown() {
        let join = Join {
            name: "Alex".to_owned(),
            secret: b"a secret of Alex".to_vec(),
            password: "open sesame".to_owned(),
            ..Join::default()
        };
        let request = Request::Join(Box::new(join));
        let shown = format!("{request:?}");
        let secret = format!("{:?}", &b"a secret of Alex"[..3]);
        assert!(shown.contains("Alex"), "{shown}");
        for hidden in ["sesame", secret.trim_matches(['[', ']']), "a secret"] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
    }

    fn frame(requests: &[Request]) -> Vec<u8> {
        let frame = ClientFrame {
            id: 3300,
            name: "Ålex".into(),
            requests: requests.to_vec(),
        };
        let mut bytes = GrpcSlice::default();
        write_requests(&frame, &mut bytes).unwrap();
        bytes.as_slice().to_vec()
    }

    fn requests(frame: &[u8]) -> grpcio::Result<Vec<Request>> {
        let mut requests = Vec::new();
        add_requests(frame, &mut requests).map(|()| requests)
    }

    fn say(text: &str, to: &str, sent: i64) -> Request {
        Request::Say {
            text: text.to_owned(),
            to: to.to_owned(),
            sent,
        }
    }

    #[test]
    fn requests_survive_the_way_to_the_server_alone_and_together() {
        let join = Request::Join(Box::new(Join {
            id: 3300,
            name: "Alex".into(),
            sent: 1,
            room: "ops".into(),
            past: Some(PastAsk::After(0)),
            secret: vec![7; 16],
            password: "p".into(),
            batches: true,
        }));
        let said = [
            say("hi", "Aske", 2),
            say("", "", 0),
            say("漢字", "", i64::MAX),
        ];
        let mixed = [&[join][..], &said, &[Request::Leave { sent: 3 }]].concat();
        let singles = mixed.chunks(1);
        for sent in singles.chain([&said[..], &mixed]) {
            assert_eq!(requests(&frame(sent)).unwrap(), sent);
        }
    }

    #[test]
    fn what_is_read_by_hand_is_what_the_generated_code_reads() {
        let generated = |bytes: &[u8]| -> Option<Vec<Request>> {
            let message = JoinMsgLeave::parse_from_bytes(bytes).ok()?;
            match message.batch.is_empty() {
                true => Some(vec![request(message).ok()?]),
                false => (message.batch.into_iter())
                    .map(|m| request(m).ok())
                    .collect(),
            }
        };
        let said = [say("hi", "Aske", 300), say("漢字", "", -1)];
        let mut by_hand = 0;
        for whole in [frame(&said[..1]), frame(&said[1..]), frame(&said)] {
            assert!(generated(&whole).is_some());
            // Each byte in turn is another one, is missing, or is the last.
            for at in 0..whole.len() {
                let changed = (0..=255).map(|byte| {
                    let mut bytes = whole.clone();
                    bytes[at] = byte;
                    bytes
                });
                let without = [&whole[..at], &whole[at + 1..]].concat();
                for bytes in changed.chain([without, whole[..at].to_vec()]) {
                    let mut read = Vec::new();
                    let read = add_said(&bytes, &mut read).map(|()| read);
                    by_hand += usize::from(read.is_some());
                    assert!(read.is_none() || read == generated(&bytes), "{bytes:?}");
                }
            }
        }
        assert!(by_hand > 5_000, "{by_hand}");
    }
}
