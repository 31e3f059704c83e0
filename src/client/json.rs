//! Events, and whatever else happens, as JSON: one object each.
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
//! | `to` | events | the recipient of a private message, or null |
//! | `wall_ms` | events | milliseconds since the Unix epoch, by the server's clock |
//! | `own` | events that a client received | its own Lamport time of the receipt |
//! | `replayed` | events that a client received | whether it is from the past |
//! | `from`, `to` | `gap` | the numbers of the events that are missing |
//! | `missed` | `resumed` | how many events the loss had kept back |
//! | `why`, `retry_ms` | `lost` | why, and when the next try begins |
//! | | `past_gone` | what came meanwhile is no longer kept |
//! | `why`, `unsent` | `ended` | the last object: how it ended (`left` or words), messages without an echo |

use serde_json::{Value, json};

use super::Happening;
use crate::chat::Event;

/// The object for an event of `room`.
pub fn event(event: &Event, room: &str) -> Value {
    json!({
        "kind": event.kind.word(),
        "room": room,
        "sender": event.sender.as_ref(),
        "id": event.sender_id,
        "text": event.text,
        "L": event.time,
        "seq": event.seq,
        "sent": event.sent,
        "to": event.to.as_deref(),
        "wall_ms": event.wall_ms,
    })
}

/// The object for something that happened in `room`.
pub(super) fn object(happening: &Happening, room: &str) -> Value {
    match happening {
        Happening::Event { received, own_time } => {
            let mut object = event(&received.event, room);
            object["own"] = json!(own_time);
            object["replayed"] = json!(received.replayed);
            object
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
            let why = end.why().map_or("left".to_owned(), ToString::to_string);
            let unsent = end.unsent();
            json!({"kind": "ended", "room": room, "why": why, "unsent": unsent})
        }
    }
}
