//! Frames of events, as the server sends and a client reads them.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use grpcio::{GrpcSlice, MessageReader};
use protobuf::{CodedInputStream, Enum, EnumOrUnknown, Message};

use super::field::{put_number, put_text, put_varint};
use super::generated::chat::{EventType, ServerMessage};
use crate::chat::{Event, Kind, SERVER_ID, SERVER_NAME};

/// An event as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The event.
    pub event: Event,
    /// Whether it came from the past that the client asked for.
    pub replayed: bool,
}

/// Events of one room on their way to its members, encoded: in one piece, since
/// most members take them as a batch.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The batch.
    bytes: Vec<u8>,
    /// Where in it each event is.
    events: Vec<Range<usize>>,
    /// The last event, whose length stands before it.
    last: Vec<u8>,
}

impl Group {
    /// Adds an event.
    pub fn push(&mut self, event: &Event, replayed: bool) {
        const BATCH: u64 = 15 << 3 | 2;
        self.last.clear();
        encode(&mut self.last, event, replayed);
        put_varint(&mut self.bytes, BATCH);
        put_varint(&mut self.bytes, self.last.len() as u64);
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&self.last);
        self.events.push(begin..self.bytes.len());
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes all events out. Of the space only what a group of some hundreds
    /// needs is kept: each room has one.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(16 * 1024);
        self.events.clear();
        self.events.shrink_to(256);
    }

    /// A frame that holds all, for a client that accepts batches.
    pub fn batch(&self) -> Frame {
        Frame {
            slice: GrpcSlice::from(self.bytes.as_slice()),
            events: self.events.len() as u32,
            is_batch: true,
        }
    }

    /// A frame for each.
    pub fn singles(&self) -> impl Iterator<Item = Frame> {
        let bytes = |event: &Range<usize>| &self.bytes[event.clone()];
        self.events
            .iter()
            .map(move |event| Frame::of_bytes(bytes(event)))
    }
}

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
    pub fn single(event: &Event, replayed: bool) -> Self {
        let mut bytes = Vec::with_capacity(64 + event.sender.len() + event.text.len());
        encode(&mut bytes, event, replayed);
        Self::of_bytes(&bytes)
    }

    /// A frame that is a message of these bytes, which counts as one event.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            slice: GrpcSlice::from(bytes),
            events: 1,
            is_batch: false,
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
fn encode(out: &mut Vec<u8>, event: &Event, replayed: bool) {
    put_number(out, 1, event.sender_id as i64);
    put_text(out, 2, &event.sender);
    put_text(out, 4, &event.text);
    put_number(out, 5, kind_on_wire(event.kind).value() as i64);
    put_number(out, 6, event.time);
    put_number(out, 7, event.seq as i64);
    put_number(out, 8, event.sent);
    put_number(out, 9, replayed as i64);
    put_text(out, 10, event.to.as_deref().unwrap_or(""));
    put_number(out, 11, event.wall_ms);
}

fn kind_on_wire(kind: Kind) -> EventType {
    match kind {
        Kind::Join => EventType::JOIN,
        Kind::Message | Kind::Refusal => EventType::MESSAGE,
        Kind::Leave => EventType::LEAVE,
    }
}

// The marshallers. `grpcio` takes plain functions of these shapes.

pub(super) fn write_frame(frame: &Frame, out: &mut GrpcSlice) -> grpcio::Result<()> {
    *out = frame.slice.clone();
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

/// Reads a message by hand: its bytes are at hand in one piece, mostly without a
/// copy.
pub(super) fn read_whole<T>(
    mut reader: MessageReader,
    read: impl FnOnce(&[u8]) -> grpcio::Result<T>,
) -> grpcio::Result<T> {
    let unread = |why: io::Error| malformed(&why.to_string());
    let len = reader.len();
    let piece = reader.fill_buf().map_err(unread)?;
    if piece.len() == len {
        return read(piece);
    }
    let mut whole = Vec::with_capacity(len);
    reader.read_to_end(&mut whole).map_err(unread)?;
    read(&whole)
}

fn parse<M: Message>(reader: &mut MessageReader) -> grpcio::Result<M> {
    let mut message = M::new();
    message.merge_from(&mut CodedInputStream::from_buf_read(reader))?;
    Ok(message)
}

pub(super) fn malformed(why: &str) -> grpcio::Error {
    grpcio::Error::Codec(why.into())
}

pub(super) fn event_type(kind: EnumOrUnknown<EventType>) -> grpcio::Result<EventType> {
    kind.enum_value()
        .map_err(|n| malformed(&format!("there is no event type {n}")))
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
            let frame = Frame::single(&event(n), n % 3 == 0);
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
    fn a_batch_holds_its_events_in_order() {
        let events: Vec<_> = (1..=50).map(event).collect();
        let group = |events: &[Event]| {
            let mut group = Group::default();
            events.iter().for_each(|e| group.push(e, false));
            group
        };
        let whole = group(&events);
        let frame = whole.batch();
        assert_eq!(frame.events(), 50);
        let texts: Vec<_> = decoded(&frame).into_iter().map(|r| r.event).collect();
        assert_eq!(texts, events);
        let halves = events.chunks(20).map(|part| group(part).batch()).collect();
        let joined = Frame::join(halves);
        assert_eq!((joined.events(), joined.len()), (50, frame.len()));
        assert_eq!(decoded(&joined), decoded(&frame));
        let singles = whole.singles().flat_map(|frame| decoded(&frame));
        let texts: Vec<_> = singles.map(|r| r.event).collect();
        assert_eq!(texts, events);
    }
}
