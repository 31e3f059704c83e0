//! The server's lines in the log. See [`crate::trace::line`] for the grammar.
//!
//! Lines with a Lamport time are written by the journal thread alone, so in
//! each room they stand in the order of their times.

use crate::chat::{Event, Kind, RoomId};
use crate::history::Record;
use crate::trace::line::{Fields, What, escaped};

use super::step::Sequel;

/// The target of the server's lines.
pub(super) const TARGET: &str = "chitchat::server";

/// `log` is the id of the log that the server shares, if it does.
/// Once for all addresses: a line of this kind begins a run.
pub(super) fn start(addresses: &str, log: Option<&str>) {
    let mut line = Fields::new(What::Start).text("addr", addresses);
    if let Some(log) = log {
        line = line.text("log", log);
    }
    log::info!(target: TARGET, "{}", line.words(format_args!("Chit Chat service running on {}", escaped(addresses))));
}

pub(super) fn stop() {
    log::info!(target: TARGET, "{}", Fields::new(What::Stop).words(format_args!("Chit Chat service stopped")));
}

/// A room as it was found in the store.
pub(super) fn room(room: &RoomId, clock: i64) {
    let line = Fields::new(What::Room)
        .number("L", clock)
        .text("room", room.name.as_str());
    log::info!(target: TARGET, "{}", line.words(format_args!("Room {} goes on after L={clock}", escaped(&room.shown()))));
}

/// A kept step.
pub(super) fn step(record: &Record, sequel: &Sequel) {
    if !log::log_enabled!(target: TARGET, log::Level::Info) {
        return;
    }
    let event = record
        .event
        .as_ref()
        .map(|(event, _)| event)
        .or(sequel.receipt.as_deref().map(|(event, _)| event));
    let Some(event) = event else { return };
    let what = match event.kind {
        Kind::Join if sequel.receipt.is_some() => What::Resume,
        Kind::Join => What::Join,
        Kind::Message => What::Message,
        Kind::Leave => What::Leave,
        Kind::Refusal => What::Refused,
    };
    let mut line = Fields::new(what).number("L", event.time);
    if event.seq > 0 {
        line = line.number("seq", event.seq);
    }
    line = line
        .text("room", record.room.name.as_str())
        .text("who", &sequel.who)
        .number("id", sequel.id)
        .number("sent", event.sent);
    if let Some(to) = &event.to {
        line = line.text("to", to);
    }
    if what == What::Leave {
        line = line.text("why", sequel.why);
    }
    let (who, id, time, text) = (
        escaped(&sequel.who),
        sequel.id,
        event.time,
        escaped(&event.text),
    );
    let line = match what {
        What::Join => line.words(format_args!("JOIN: {who} (ID={id}) at L={time}")),
        What::Resume => line.words(format_args!("RESUMED: {who} (ID={id}) at L={time}")),
        What::Message => match &event.to {
            None => line.words(format_args!("Message from {who}: {text} (L={time})")),
            Some(to) => line.words(format_args!(
                "Message from {who} to {}: {text} (L={time})",
                escaped(to)
            )),
        },
        What::Leave => line.words(format_args!("REMOVED: {who} (ID={id})")),
        _ => line.words(format_args!("Refused {who}: {text} (L={time})")),
    };
    log::info!(target: TARGET, "{line}");
}

/// An event went into somebody's outbox.
pub(super) fn deliver(room: &RoomId, event: &Event, by: &str) {
    let line = Fields::new(What::Deliver)
        .number("of", event.time)
        .text("room", room.name.as_str())
        .number("seq", event.seq)
        .text("kind", event.kind.word())
        .text("by", by);
    log::debug!(target: TARGET, "{}", line.words(format_args!("Delivery of L={} to {}", event.time, escaped(by))));
}

/// A session is gone and its participant may come back.
pub(super) fn lost(room: &RoomId, who: &str, id: i32, why: &str) {
    let line = Fields::new(What::Lost)
        .text("room", room.name.as_str())
        .text("who", who)
        .number("id", id)
        .text("why", why);
    log::info!(target: TARGET, "{}", line.words(format_args!("Lost the connection of {} (ID={id})", escaped(who))));
}

/// A stream was refused, or ended because of what its client did.
pub(super) fn cut(peer: &str, who: &str, why: &str) {
    let line = Fields::new(What::Cut)
        .text("peer", peer)
        .text("who", who)
        .text("why", why);
    log::info!(target: TARGET, "{}", line.words(format_args!("Ended a stream of {}: {}", escaped(peer), escaped(why))));
}
