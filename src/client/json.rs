//! What happens, as JSON: one object each.
//!
//! | key | in | what |
//! |---|---|---|
//! | `kind` | all | `join`, `message`, `leave`, `refusal`, or one of those below |
//! | `room` | all | the room |
//! | `sender`, `id` | events | whose event it is |
//! | `text` | events | what is shown to people, unsanitised |
//! | `L` | events | the room's Lamport time |
//! | `seq` | events | the number in the room; 0 if not all see the event |
//! | `sent` | events | the sender's own Lamport time of the send |
//! | `own` | events | this client's own Lamport time of the receipt |
//! | `to` | events | the recipient of a private message, or null |
//! | `replayed` | events | whether it is from the past |
//! | `wall_ms` | events | milliseconds since the Unix epoch, by the server's clock |
//! | `from`, `to` | `gap` | the numbers of the events that are missing |
//! | `missed` | `resumed` | how many events the loss had kept back |
//! | `why`, `retry_ms` | `lost` | why, and when the next try begins |
//! | | `past_gone` | what came meanwhile is no longer kept |
//! | `why`, `unsent` | `ended` | the last object: how it ended (`left` or words), messages without an echo |

use serde_json::{Value, json};

use super::{End, Happening};
use crate::chat::Kind;

/// The object for something that happened in `room`.
pub(super) fn object(happening: &Happening, room: &str) -> Value {
    match happening {
        Happening::Event { received, own_time } => {
            let event = &received.event;
            json!({
                "kind": word(event.kind),
                "room": room,
                "sender": event.sender.as_ref(),
                "id": event.sender_id,
                "text": event.text,
                "L": event.time,
                "seq": event.seq,
                "sent": event.sent,
                "own": own_time,
                "to": event.to.as_deref(),
                "replayed": received.replayed,
                "wall_ms": event.wall_ms,
            })
        }
        Happening::Gap { from, to } => json!({"kind": "gap", "room": room, "from": from, "to": to}),
        Happening::Resumed { missed } => json!({"kind": "resumed", "room": room, "missed": missed}),
        Happening::PastGone => json!({"kind": "past_gone", "room": room}),
        Happening::Lost { why, retry_in } => json!({
            "kind": "lost",
            "room": room,
            "why": why.to_string(),
            "retry_ms": u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX),
        }),
        Happening::Ended(end) => {
            let (why, unsent) = match end {
                End::Left => ("left".to_owned(), 0),
                End::Unreachable(why) | End::Refused(why) => (why.to_string(), 0),
                End::Gone { why, unsent } => (why.to_string(), *unsent),
            };
            json!({"kind": "ended", "room": room, "why": why, "unsent": unsent})
        }
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Join => "join",
        Kind::Message => "message",
        Kind::Leave => "leave",
        Kind::Refusal => "refusal",
    }
}
