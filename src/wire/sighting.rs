//! An event as somebody reads it who only checks where it stands: no text, no
//! name, nothing on the heap. The generated message costs about ten times this,
//! which a load generator would spend on every delivery.

use grpcio::MessageReader;

use super::field::{Value, field};
use super::frame::{malformed, read_whole};
use crate::chat::{Kind, SERVER_ID};

/// How many of a text's first bytes a [`Sighting`] keeps.
pub const HEAD_BYTES: usize = 9;

/// What was seen of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// What happened. A message from the id of the server is a refusal.
    pub kind: Kind,
    /// The sender's id.
    pub sender_id: i32,
    /// The room's Lamport time of the event.
    pub time: i64,
    /// Its number among those that the whole room sees; 0 if it has none.
    pub seq: u64,
    /// The sender's Lamport time of the send; 0 if it is not told.
    pub sent: i64,
    /// The first bytes of the text, followed by zeros if it is shorter.
    pub head: [u8; HEAD_BYTES],
}

// The fields of `ServerMessage` in `proto/chat.proto`.
const SENDER_ID: u64 = 1;
const TEXT: u64 = 4;
const TYPE: u64 = 5;
const TIME: u64 = 6;
const SEQ: u64 = 7;
const SENT: u64 = 8;
const BATCH: u64 = 15;

pub(super) fn read_sightings(reader: MessageReader) -> grpcio::Result<Vec<Sighting>> {
    read_whole(reader, |frame| {
        sightings(frame).ok_or_else(|| malformed("not a ServerMessage"))
    })
}

/// The events of a frame, alone or in a batch.
fn sightings(frame: &[u8]) -> Option<Vec<Sighting>> {
    let mut batch = Vec::new();
    let mut rest = frame;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (BATCH, Value::Bytes(event)) => batch.push(sighting(event)?),
            // A message without a batch: all of it is one event.
            _ if batch.is_empty() => return Some(vec![sighting(frame)?]),
            _ => {}
        }
    }
    match batch.is_empty() {
        true => Some(vec![sighting(frame)?]),
        false => Some(batch),
    }
}

fn sighting(mut rest: &[u8]) -> Option<Sighting> {
    let mut seen = Sighting {
        kind: Kind::Join,
        sender_id: 0,
        time: 0,
        seq: 0,
        sent: 0,
        head: [0; HEAD_BYTES],
    };
    let mut kind = 0;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (SENDER_ID, Value::Number(n)) => seen.sender_id = n as i32,
            (TYPE, Value::Number(n)) => kind = n,
            (TIME, Value::Number(n)) => seen.time = n as i64,
            (SEQ, Value::Number(n)) => seen.seq = n,
            (SENT, Value::Number(n)) => seen.sent = n as i64,
            (TEXT, Value::Bytes(text)) => {
                let len = text.len().min(HEAD_BYTES);
                seen.head[..len].copy_from_slice(&text[..len]);
            }
            _ => {}
        }
    }
    seen.kind = match kind {
        0 => Kind::Join,
        1 if seen.sender_id == SERVER_ID => Kind::Refusal,
        1 => Kind::Message,
        2 => Kind::Leave,
        _ => return None,
    };
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Event;
    use crate::wire::{Frame, Group};

    fn event(kind: Kind, sender_id: i32, text: &str) -> Event {
        Event {
            time: 1 << 40,
            seq: 300,
            kind,
            sender_id,
            sender: "Ålex".into(),
            text: text.to_owned(),
            sent: 127,
            wall_ms: 1_700_000_000_000,
            to: None,
        }
    }

    fn seen(kind: Kind, sender_id: i32, head: [u8; HEAD_BYTES]) -> Sighting {
        Sighting {
            kind,
            sender_id,
            time: 1 << 40,
            seq: 300,
            sent: 127,
            head,
        }
    }

    #[test]
    fn what_the_server_encodes_is_seen_alone_and_in_batches() {
        let events = [
            event(Kind::Message, -3300, "#0000002a and more"),
            event(Kind::Join, 7, "hi"),
            event(Kind::Message, SERVER_ID, ""),
            event(Kind::Leave, 7, ""),
        ];
        let expected = [
            seen(Kind::Message, -3300, *b"#0000002a"),
            seen(Kind::Join, 7, *b"hi\0\0\0\0\0\0\0"),
            seen(Kind::Refusal, SERVER_ID, [0; HEAD_BYTES]),
            seen(Kind::Leave, 7, [0; HEAD_BYTES]),
        ];
        let mut group = Group::default();
        for (event, expected) in events.iter().zip(expected) {
            let replayed = event.kind == Kind::Join;
            let frame = Frame::single(event, replayed);
            assert_eq!(sightings(frame.bytes()), Some(vec![expected]));
            group.push(event, replayed);
        }
        let batch = group.batch();
        assert_eq!(sightings(batch.bytes()), Some(expected.to_vec()));
    }

    #[test]
    fn what_is_cut_off_is_recognised() {
        let frame = Frame::single(&event(Kind::Message, 1, "a text"), false);
        let whole = frame.bytes();
        assert_eq!(sightings(&whole[..whole.len() - 1]), None);
        assert_eq!(sightings(&[0xff; 12]), None);
        assert_eq!(sightings(&[2 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
    }
}
