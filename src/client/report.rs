//! The client's lines in the log. See [`crate::trace::line`] for the grammar.

use crate::chat::{Kind, Name};
use crate::trace::line::{Fields, What, escaped};
use crate::wire::{PastAsk, Received};

/// The target of a client's lines.
const TARGET: &str = "chitchat::client";

fn is_on() -> bool {
    log::log_enabled!(target: TARGET, log::Level::Info)
}

pub(super) fn start(name: &Name, room: &str, servers: &str) {
    let line = Fields::new(What::Start)
        .number("L", 0)
        .text("who", name.as_str())
        .text("room", room)
        .text("addr", servers);
    log::info!(target: TARGET, "{}", line.words(format_args!("{} joins through {}", escaped(name.as_str()), escaped(servers))));
}

pub(super) fn stop(now: i64) {
    log::info!(target: TARGET, "{}", Fields::new(What::Stop).words(format_args!("Stopped after L={now}")));
}

pub(super) fn lost(room: &str, why: &str) {
    let line = Fields::new(What::Lost).text("room", room).text("why", why);
    log::info!(target: TARGET, "{}", line.words(format_args!("The connection is lost: {}", escaped(why))));
}

/// A JOIN, and whether it goes on where the participant was.
pub(super) fn join(time: i64, room: &str, past: Option<PastAsk>) {
    let mut line = Fields::new(What::Send)
        .number("L", time)
        .text("kind", Kind::Join.word())
        .text("room", room);
    if let Some(PastAsk::Last(events)) = past {
        line = line.number("last", events);
    }
    log::info!(target: TARGET, "{}", line.words(format_args!("Sent JOIN (L={time})")));
}

/// A send event, once for each, however often it goes out.
pub(super) fn send(time: i64, kind: Kind, room: &str, to: &str, text: &str) {
    if !is_on() {
        return;
    }
    let word = kind.word();
    let mut line = Fields::new(What::Send)
        .number("L", time)
        .text("kind", word)
        .text("room", room);
    if !to.is_empty() {
        line = line.text("to", to);
    }
    let line = match kind {
        Kind::Message => line.words(format_args!("Sent {} (L={time})", escaped(text))),
        _ => line.words(format_args!("Sent {} (L={time})", word.to_uppercase())),
    };
    log::info!(target: TARGET, "{line}");
}

/// An event arrived, at the client's own Lamport time `time`.
pub(super) fn deliver(time: i64, room: &str, received: &Received) {
    if !is_on() {
        return;
    }
    let event = &received.event;
    let what = if event.kind == Kind::Refusal {
        What::Refused
    } else {
        What::Deliver
    };
    let mut line = Fields::new(what)
        .number("L", time)
        .number("of", event.time)
        .text("room", room);
    if what == What::Deliver {
        line = line
            .number("seq", event.seq)
            .text("kind", event.kind.word())
            .text("who", &event.sender);
        line = line.number("id", event.sender_id);
    }
    line = line.number("sent", event.sent);
    if what == What::Deliver {
        line = line.number("replayed", received.replayed as u8);
    }
    if let Some(to) = &event.to {
        line = line.text("to", to);
    }
    let (sender, text) = (escaped(&event.sender), escaped(&event.text));
    let line = line.words(format_args!("[Server @ L={}] {sender}: {text}", event.time));
    log::info!(target: TARGET, "{line}");
}
