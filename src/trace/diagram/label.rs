//! What is written beside an event, in every format.

use super::picture::{Item, Picture};
use crate::chat::sanitise;
use crate::trace::line::{Line, What};
use crate::trace::log::{Entry, Process};
use crate::trace::names::NO_NAME;

/// What happened, in a few words, safe to show: who said what, who joined.
pub(super) fn label(picture: &Picture<'_>, item: &Item) -> String {
    let log = &picture.trace.log;
    let entry = picture.entry(item);
    let who = log.names.text(entry.who);
    let words = log.words(entry);
    let label = match (entry.what, picture.is_server(item)) {
        (What::Join, _) => format!("{who} joined"),
        (What::Resume, _) => format!("{who} is back"),
        (What::Leave, _) => match why(log.raw(entry)) {
            Some(why) if why != "left" => format!("{who} left ({why})"),
            _ => format!("{who} left"),
        },
        (What::Message, _) => message(picture, entry, &words),
        (What::Refused, true) => format!("refused {who}: {}", refusal(who, entry, &words)),
        (What::Lost, true) => format!("{who}: connection lost"),
        (What::Start, true) => "the server starts again".to_owned(),
        (What::Stop, true) => "the server stops".to_owned(),
        (What::Cut, true) => words,
        (What::Start, false) => "starts".to_owned(),
        (What::Stop, false) => "ends".to_owned(),
        (What::Lost, false) => "connection lost".to_owned(),
        (What::Send, _) => format!("sends {}", text(entry, &words, &["Sent ".to_owned()])),
        _ => text(entry, &words, &[]).to_owned(),
    };
    sanitise(&label).into_owned()
}

/// The whole line, as it stands in the log, with its place.
pub(super) fn line(picture: &Picture<'_>, item: &Item) -> String {
    crate::trace::check::shown(picture.trace, item.node)
}

/// Whether an event is a refusal, or the way of one.
pub(super) fn is_refusal(entry: &Entry) -> bool {
    entry.what == What::Refused
}

/// Whether an event is a private message.
pub(super) fn is_private(entry: &Entry) -> bool {
    entry.to != NO_NAME
}

fn message(picture: &Picture<'_>, entry: &Entry, words: &str) -> String {
    let names = &picture.trace.log.names;
    let (who, to) = (names.text(entry.who), names.text(entry.to));
    let written = [
        format!("Message from {who}: "),
        format!("Message from {who} to {to}: "),
    ];
    let text = text(entry, words, &written);
    let text = text.strip_prefix(&format!("{who}: ")).unwrap_or(text);
    match entry.to {
        NO_NAME => format!("{who}: {text}"),
        _ => format!("{who} to {to}, privately: {text}"),
    }
}

fn refusal<'a>(who: &str, entry: &Entry, words: &'a str) -> &'a str {
    let text = text(entry, words, &[format!("Refused {who}: ")]);
    text.strip_prefix("Server: ").unwrap_or(text)
}

/// What was said, without what the log's words put around it.
fn text<'a>(entry: &Entry, words: &'a str, before: &[String]) -> &'a str {
    // A client's line, and what it tells of the server's, has the server's time.
    let time = match entry.what {
        What::Deliver => entry.of,
        _ => entry.time.unwrap_or(entry.of),
    };
    let arrived = format!("[Server @ L={time}] ");
    let text = before.iter().find_map(|b| words.strip_prefix(b.as_str()));
    let text = text.or(words.strip_prefix(&arrived)).unwrap_or(words);
    text.strip_suffix(&format!(" (L={time})")).unwrap_or(text)
}

fn why(raw: &str) -> Option<String> {
    Some(Line::parse(raw)?.text("why")?.to_owned())
}

/// The name of a column's process, safe to show.
pub(super) fn process(picture: &Picture<'_>, column: usize) -> String {
    let column = &picture.columns[column];
    match column.process {
        Process::Server => column.name.clone(),
        Process::Client(_) => sanitise(&column.name).into_owned(),
    }
}
