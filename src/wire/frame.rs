//! Frames of the Chat stream: requests in, events out.

use std::fmt;
use std::sync::Arc;

use grpcio::{GrpcSlice, MessageReader};
use protobuf::{CodedInputStream, Enum, EnumOrUnknown, Message};

use super::generated::chat::{EventType, JoinMsgLeave, ServerMessage};
use crate::chat::{Event, Kind, SERVER_ID, SERVER_NAME};

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

/// An event as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The event.
    pub event: Event,
    /// Whether it came from the past that the client asked for.
    pub replayed: bool,
}

/// The bytes of one event, ready to be sent alone or in a batch.
#[derive(Debug, Clone)]
pub struct Encoded(Vec<u8>);

/// An encoded frame. Clones share the bytes, so that one encoding serves every
/// member of a room.
#[derive(Debug, Clone)]
pub struct Frame {
    slice: GrpcSlice,
    events: u32,
    is_batch: bool,
}

impl Frame {
    /// A frame that is this event.
    pub fn single(event: &Encoded) -> Self {
        Self {
            slice: GrpcSlice::from(event.0.as_slice()),
            events: 1,
            is_batch: false,
        }
    }

    /// A message of another service, which counts as one event.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            slice: GrpcSlice::from(bytes),
            events: 1,
            is_batch: false,
        }
    }

    /// A frame that holds these events, in order, for a client that accepts
    /// batches.
    pub fn batch(events: &[Encoded]) -> Self {
        const BATCH: u64 = 15 << 3 | 2;
        let size = events
            .iter()
            .map(|e| 1 + varint_len(e.0.len() as u64) + e.0.len())
            .sum();
        let mut bytes = Vec::with_capacity(size);
        for event in events {
            put_varint(&mut bytes, BATCH);
            put_varint(&mut bytes, event.0.len() as u64);
            bytes.extend_from_slice(&event.0);
        }
        Self {
            slice: GrpcSlice::from(bytes),
            events: events.len() as u32,
            is_batch: true,
        }
    }

    /// Joins batches into one. A batch is a repeated field and nothing else, so
    /// two of them one after the other are one.
    ///
    /// # Panics
    /// If there is none.
    pub fn join(mut batches: Vec<Frame>) -> Self {
        if batches.len() == 1 {
            return batches.remove(0);
        }
        let mut bytes = Vec::with_capacity(batches.iter().map(Frame::len).sum());
        batches
            .iter()
            .for_each(|frame| bytes.extend_from_slice(frame.slice.as_slice()));
        let events = batches.iter().map(|frame| frame.events).sum();
        Self {
            slice: GrpcSlice::from(bytes),
            events,
            is_batch: true,
        }
    }

    /// As it is on the wire.
    pub fn bytes(&self) -> &[u8] {
        self.slice.as_slice()
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        self.events as usize
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.slice.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.slice.is_empty()
    }

    /// Whether it can be joined with others.
    pub fn is_batch(&self) -> bool {
        self.is_batch
    }
}

/// Writes an event as a `ServerMessage`.
///
/// By hand, because it stands between the stamp and every outbox: the
/// generated message would first copy every text.
pub fn encode(event: &Event, replayed: bool) -> Encoded {
    let mut out = Vec::with_capacity(48 + event.sender.len() + event.text.len());
    put_number(&mut out, 1, event.sender_id as i64);
    put_text(&mut out, 2, &event.sender);
    put_text(&mut out, 4, &event.text);
    put_number(&mut out, 5, kind_on_wire(event.kind).value() as i64);
    put_number(&mut out, 6, event.time);
    put_number(&mut out, 7, event.seq as i64);
    put_number(&mut out, 8, event.sent);
    put_number(&mut out, 9, replayed as i64);
    put_text(&mut out, 10, event.to.as_deref().unwrap_or(""));
    put_number(&mut out, 11, event.wall_ms);
    Encoded(out)
}

fn kind_on_wire(kind: Kind) -> EventType {
    match kind {
        Kind::Join => EventType::JOIN,
        Kind::Message | Kind::Refusal => EventType::MESSAGE,
        Kind::Leave => EventType::LEAVE,
    }
}

/// A varint field; like every proto3 field it is left out when it is 0.
/// Negative numbers take ten bytes, as `int32` and `int64` do on the wire.
fn put_number(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        put_varint(out, field << 3);
        put_varint(out, value as u64);
    }
}

fn put_text(out: &mut Vec<u8>, field: u64, text: &str) {
    if !text.is_empty() {
        put_varint(out, field << 3 | 2);
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

// The marshallers. `grpcio` takes plain functions of these shapes.

pub(super) fn write_frame(frame: &Frame, out: &mut GrpcSlice) -> grpcio::Result<()> {
    *out = frame.slice.clone();
    Ok(())
}

pub(super) fn read_requests(mut reader: MessageReader) -> grpcio::Result<Vec<Request>> {
    let message: JoinMsgLeave = parse(&mut reader)?;
    if message.batch.is_empty() {
        return Ok(vec![request(message)?]);
    }
    message.batch.into_iter().map(request).collect()
}

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

pub(super) fn write_nothing<T>(_: &T, _: &mut GrpcSlice) -> grpcio::Result<()> {
    Err(malformed("this end only reads"))
}

pub(super) fn read_events(mut reader: MessageReader) -> grpcio::Result<Vec<Received>> {
    let message: ServerMessage = parse(&mut reader)?;
    if message.batch.is_empty() {
        return Ok(vec![received(message)?]);
    }
    message.batch.into_iter().map(received).collect()
}

pub(super) fn read_frame(_: MessageReader) -> grpcio::Result<Frame> {
    Err(malformed("this end only writes"))
}

pub(super) fn read_no_requests(_: MessageReader) -> grpcio::Result<ClientFrame> {
    Err(malformed("this end only writes"))
}

fn parse<M: Message>(reader: &mut MessageReader) -> grpcio::Result<M> {
    let mut message = M::new();
    message.merge_from(&mut CodedInputStream::from_buf_read(reader))?;
    Ok(message)
}

pub(super) fn malformed(why: &str) -> grpcio::Error {
    grpcio::Error::Codec(why.into())
}

fn event_type(kind: EnumOrUnknown<EventType>) -> grpcio::Result<EventType> {
    kind.enum_value()
        .map_err(|n| malformed(&format!("there is no event type {n}")))
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

fn received(m: ServerMessage) -> grpcio::Result<Received> {
    if !m.batch.is_empty() {
        return Err(malformed("a batch inside a batch"));
    }
    let kind = match event_type(m.type_)? {
        EventType::JOIN => Kind::Join,
        EventType::LEAVE => Kind::Leave,
        EventType::MESSAGE if m.sender_id == SERVER_ID && m.sender_name == SERVER_NAME => {
            Kind::Refusal
        }
        EventType::MESSAGE => Kind::Message,
    };
    Ok(Received {
        event: Event {
            time: m.timestamp,
            seq: m.seq,
            kind,
            sender_id: m.sender_id,
            sender: m.sender_name.into(),
            text: m.msg_stream,
            sent: m.sent,
            wall_ms: m.wall_ms,
            to: (!m.to.is_empty()).then(|| m.to.into()),
        },
        replayed: m.replayed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: i64) -> Event {
        Event {
            time: n,
            seq: n as u64,
            kind: Kind::Message,
            sender_id: -3300,
            sender: "Ålex".into(),
            text: "漢".repeat(n as usize % 200),
            sent: i64::MAX - n,
            wall_ms: 1_700_000_000_000,
            to: (n % 2 == 0).then(|| "Aske".into()),
        }
    }

    fn decoded(frame: &Frame) -> Vec<Received> {
        let message = ServerMessage::parse_from_bytes(frame.slice.as_slice()).unwrap();
        match message.batch.is_empty() {
            true => vec![received(message).unwrap()],
            false => message
                .batch
                .into_iter()
                .map(|m| received(m).unwrap())
                .collect(),
        }
    }

    #[test]
    fn what_is_encoded_by_hand_is_what_the_generated_code_reads() {
        for n in [1, 2, 127, 128, 300, 70_000] {
            let frame = Frame::single(&encode(&event(n), n % 3 == 0));
            assert_eq!(
                decoded(&frame),
                [Received {
                    event: event(n),
                    replayed: n % 3 == 0
                }]
            );
        }
    }

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

    #[test]
    fn a_batch_holds_its_events_in_order() {
        let events: Vec<_> = (1..=50).map(event).collect();
        let encoded: Vec<_> = events.iter().map(|e| encode(e, false)).collect();
        let frame = Frame::batch(&encoded);
        assert_eq!(frame.events(), 50);
        let texts: Vec<_> = decoded(&frame).into_iter().map(|r| r.event).collect();
        assert_eq!(texts, events);
        let halves = encoded.chunks(20).map(Frame::batch).collect();
        let joined = Frame::join(halves);
        assert_eq!((joined.events(), joined.len()), (50, frame.len()));
        assert_eq!(decoded(&joined), decoded(&frame));
        assert_eq!(
            decoded(&Frame::batch(&encoded[..1])),
            decoded(&Frame::single(&encoded[0]))
        );
    }

    #[test]
    fn the_length_of_a_varint_is_known_beforehand() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }

    #[test]
    fn a_request_survives_the_way_to_the_server() {
        let requests = vec![
            Request::Join(Box::new(Join {
                id: 3300,
                name: "Alex".into(),
                sent: 1,
                room: "ops".into(),
                past: Some(PastAsk::After(0)),
                secret: vec![7; 16],
                password: "p".into(),
                batches: true,
            })),
            Request::Say {
                text: "hi".into(),
                to: "Aske".into(),
                sent: 2,
            },
            Request::Leave { sent: 3 },
        ];
        let frame = ClientFrame {
            id: 3300,
            name: "Alex".into(),
            requests: requests.clone(),
        };
        let mut bytes = GrpcSlice::default();
        write_requests(&frame, &mut bytes).unwrap();
        let message = JoinMsgLeave::parse_from_bytes(bytes.as_slice()).unwrap();
        let read: Vec<_> = message
            .batch
            .into_iter()
            .map(|m| request(m).unwrap())
            .collect();
        assert_eq!(read, requests);
    }
}
