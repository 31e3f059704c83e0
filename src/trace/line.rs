//! The log's one grammar.
//!
//! ```text
//! line   = time SP level SP "[" process "]" SP what fields ":" SP words
//! time   = UTC by the clock on the wall, RFC 3339 with microseconds
//! process= "Server" | "Client " name              (escaped: \ and ])
//! what   = one of the words in `What`
//! fields = *( SP key "=" value )
//! value  = 1*( letter | digit | "-" | "." | "_" ) | quoted
//! quoted = DQUOTE *( char | "\" char | "\u{" hex "}" ) DQUOTE
//! words  = for people, to the end of the line; escaped like a quoted value,
//!          but for the quotes themselves
//! ```
//!
//! The fields carry what a program needs, but for what was said: that stands in
//! the words, which keep the original's phrases where it had one. Every control,
//! bidirectional and zero-width character of a name or a text is written as
//! `\u{…}`, so nobody can begin a line, or end one, with what they say. A line
//! that does not parse is a message for people (a warning, gRPC's own words) or
//! was cut off.
//!
//! | field | what |
//! |---|---|
//! | `L` | the process's own Lamport time of this event; a room's clock on the server |
//! | `of` | client, `DELIVER` and `REFUSED`: the Lamport time that the server gave the event |
//! | `room` | the room |
//! | `seq` | the event's number in the room; absent or 0 if not all see it |
//! | `who` | the participant that the event is about |
//! | `id` | its id |
//! | `sent` | the sender's own Lamport time of the send; 0 if nothing was sent |
//! | `kind` | `DELIVER`: `join`, `message`, `leave` or `refusal` |
//! | `to` | `MESSAGE`, `SEND` and `DELIVER`: the recipient of a private message; server's `DELIVER`: see `by` |
//! | `by` | server's `DELIVER`: whose outbox the event went into |
//! | `replayed` | client's `DELIVER`: 1 if it came from the past |
//! | `last` | client's `SEND` of a JOIN: it begins with the last so many events, and does not go on where it was |
//! | `log` | server's `START`: the id of the log that it shares with other servers, if it does |
//! | `why` | `LEAVE`, `LOST`, `CUT`: `left`, `lost`, `expired`, `stopped`, … |

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::chat::{Kind, is_deceptive};

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// A process starts. Server: one line, then a `ROOM` line for each room
    /// that it found in its store. Client: `L` is 0.
    Start,
    /// Server: a room's clock as it was found, at the start of a run or, where
    /// servers share their rooms, where the room had to be read anew.
    Room,
    /// A process ends as it meant to.
    Stop,
    /// Server: a participant joined.
    Join,
    /// Server: a participant is back, within its grace period; only it is told.
    Resume,
    /// Server: a message was stamped.
    Message,
    /// Server: something was refused, its sender alone is told. Client: the
    /// server's refusal arrived.
    Refused,
    /// Server: a participant left; `why` says how.
    Leave,
    /// Server: a session is gone and its participant may yet resume (no `L`).
    /// Client: the connection is gone, and with it perhaps the answer to its
    /// goodbye.
    Lost,
    /// Server: a session was refused or ended by the server (no `L`).
    Cut,
    /// Server, at debug level: an event was put into the outbox of `by`.
    /// Client: an event arrived.
    Deliver,
    /// Client: something was sent; `kind` is `join`, `message` or `leave`.
    /// A line that is sent again after a resume is not logged again.
    Send,
}

const WORDS: [(What, &str); 12] = [
    (What::Start, "START"),
    (What::Room, "ROOM"),
    (What::Stop, "STOP"),
    (What::Join, "JOIN"),
    (What::Resume, "RESUME"),
    (What::Message, "MESSAGE"),
    (What::Refused, "REFUSED"),
    (What::Leave, "LEAVE"),
    (What::Lost, "LOST"),
    (What::Cut, "CUT"),
    (What::Deliver, "DELIVER"),
    (What::Send, "SEND"),
];

impl What {
    /// The kind of event that the server has stamped where its log says this;
    /// `None` where that tells of no stamped event.
    pub fn stamped(self) -> Option<Kind> {
        match self {
            Self::Join | Self::Resume => Some(Kind::Join),
            Self::Message => Some(Kind::Message),
            Self::Refused => Some(Kind::Refusal),
            Self::Leave => Some(Kind::Leave),
            _ => None,
        }
    }

    /// The word in the log.
    pub fn word(self) -> &'static str {
        WORDS
            .iter()
            .find(|(w, _)| *w == self)
            .map_or("", |(_, s)| s)
    }

    fn parse(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, s)| *s == word).map(|(w, _)| *w)
    }
}

/// The part of a line behind its process: built field by field, then written
/// with [`words`](Fields::words).
///
/// ```
/// use chitchat::trace::line::{Fields, What};
///
/// let line = Fields::new(What::Join)
///     .number("L", 1)
///     .text("room", "Chit Chat")
///     .text("who", "Alex")
///     .words(format_args!("JOIN: {} (ID=3300) at L=1", "Alex"));
/// assert_eq!(line, r#"JOIN L=1 room="Chit Chat" who=Alex: JOIN: Alex (ID=3300) at L=1"#);
/// ```
#[derive(Debug)]
pub struct Fields(String);

impl Fields {
    /// A line that tells `what`.
    pub fn new(what: What) -> Self {
        let mut line = String::with_capacity(160);
        line.push_str(what.word());
        Self(line)
    }

    /// Adds a number.
    pub fn number(mut self, key: &str, value: impl itoa::Integer) -> Self {
        self.key(key);
        self.0.push_str(itoa::Buffer::new().format(value));
        self
    }

    fn key(&mut self, key: &str) {
        self.0.push(' ');
        self.0.push_str(key);
        self.0.push('=');
    }

    /// Adds a text, quoted and escaped if it needs to be.
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if !value.is_empty() && value.bytes().all(plain) {
            self.0.push_str(value);
        } else {
            self.0.push('"');
            escape_into(&mut self.0, value, '"');
            self.0.push('"');
        }
        self
    }

    /// Ends the line with the words for people; what they contain of a name or
    /// a text must have gone through [`escaped`].
    pub fn words(mut self, words: fmt::Arguments<'_>) -> String {
        let _ = write!(self.0, ": {words}");
        self.0
    }
}

/// A name or text as it may stand in a line's words.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if is_harmless(text, '\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    escape_into(&mut out, text, '\\');
    Cow::Owned(out)
}

/// The process of a client, as it stands between the brackets.
pub fn client_process(name: &str) -> String {
    let mut out = String::from("Client ");
    escape_into(&mut out, name, ']');
    out
}

/// Whether a text needs no escapes.
fn is_harmless(text: &str, also: char) -> bool {
    let is_plain = |c| c != '\\' && c != also;
    // Most texts are seen through here, many bytes at a time.
    let printable = (text.bytes()).fold(true, |all, b| {
        all & matches!(b, b' '..=b'~') & is_plain(char::from(b))
    });
    printable || (text.chars()).all(|c| is_plain(c) && !is_deceptive(c))
}

fn escape_into(out: &mut String, text: &str, also: char) {
    if is_harmless(text, also) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        if is_deceptive(c) {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            if c == '\\' || c == also {
                out.push('\\');
            }
            out.push(c);
        }
    }
}

/// A line read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// UTC by the clock on the wall, as written.
    pub time: &'a str,
    /// `INFO`, `DEBUG`, …
    pub level: &'a str,
    /// `Server` or `Client NAME`, unescaped.
    pub process: Cow<'a, str>,
    /// What it tells.
    pub what: What,
    /// The words for people, unescaped.
    pub words: Cow<'a, str>,
    fields: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Line<'a> {
    /// Reads a line (without its end). `None`: it is not of this grammar.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (level, rest) = rest.trim_start().split_once(' ')?;
        let rest = rest.trim_start().strip_prefix('[')?;
        let (process, rest) = until(rest, ']')?;
        let rest = rest.strip_prefix(' ')?;
        let end = rest.find([' ', ':'])?;
        let what = What::parse(&rest[..end])?;
        let mut rest = &rest[end..];
        let mut fields = Vec::with_capacity(8);
        while let Some(field) = rest.strip_prefix(' ') {
            let (key, value) = field.split_once('=')?;
            let (value, tail) = match value.strip_prefix('"') {
                Some(quoted) => until(quoted, '"')?,
                None => {
                    let end = value.find([' ', ':'])?;
                    (Cow::Borrowed(&value[..end]), &value[end..])
                }
            };
            fields.push((key, value));
            rest = tail;
        }
        let words = unescape(rest.strip_prefix(": ")?);
        Some(Self {
            time,
            level,
            process,
            what,
            words,
            fields,
        })
    }

    /// A field's text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_ref())
    }

    /// A field's number. `None`: it is absent or no number.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.text(key)?.parse().ok()
    }
}

/// What stands before the first unescaped `end`, unescaped, and what follows.
fn until(text: &str, end: char) -> Option<(Cow<'_, str>, &str)> {
    let mut skip = false;
    let at = text.find(|c| {
        if skip {
            skip = false;
            return false;
        }
        skip = c == '\\';
        c == end
    })?;
    Some((unescape(&text[..at]), &text[at + end.len_utf8()..]))
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some((c, tail)) = rest.strip_prefix("u{").and_then(code_point) {
            out.push(c);
            rest = tail;
        } else if let Some(c) = rest.chars().next() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character whose number stands before the first `}`, and what follows.
/// Nobody looks further for the brace than a number is long: a line full of
/// beginnings would take for ever.
fn code_point(text: &str) -> Option<(char, &str)> {
    let end = text.bytes().take(7).position(|b| b == b'}')?;
    let number = u32::from_str_radix(&text[..end], 16).ok()?;
    Some((char::from_u32(number)?, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "2026-01-02T03:04:05.000006Z INFO  [Server] ";

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "plain",
            "",
            "two words",
            "a\"b\\c",
            "]: [",
            "x\u{1b}[31m\n2026 INFO [Server] STOP: ",
            "\u{202e}",
            "ø漢🦀",
            "\\u{41}",
        ] {
            let tail = Fields::new(What::Message)
                .number("L", -3)
                .text("who", text)
                .words(format_args!("Message from {}", escaped(text)));
            let line = format!("{HEAD}{tail}");
            assert!(!line.chars().any(is_deceptive), "{line:?}");
            let read = Line::parse(&line).unwrap_or_else(|| panic!("{line:?}"));
            assert_eq!((read.what, read.number("L")), (What::Message, Some(-3)));
            assert_eq!(read.text("who"), Some(text));
            assert_eq!(read.words, format!("Message from {text}"));
            let line = format!("t INFO [{}] STOP: bye", client_process(text));
            assert_eq!(
                Line::parse(&line).unwrap().process,
                format!("Client {text}")
            );
        }
    }

    #[test]
    fn numbers_of_characters_that_never_end_take_no_time() {
        let line = format!("{HEAD}STOP: {}}}", "\\u{".repeat(300_000));
        let read = Line::parse(&line).unwrap();
        assert_eq!(read.words.len(), 2 * 300_000 + 1);
    }

    #[test]
    fn what_is_not_of_the_grammar_is_not_read() {
        for line in [
            "",
            "x",
            "2026 INFO [Server] STOP",
            "2026 INFO [Server] DANCE: x",
            "2026 INFO [Server] JOIN L=1",
            "2026 INFO [Server] JOIN who=\"a: b",
            "2026 WARN [grpc] E1234: no",
        ] {
            assert_eq!(Line::parse(line), None, "{line:?}");
        }
    }
}
