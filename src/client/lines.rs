//! A participant as lines of text: what is read is said, what happens is
//! written, one line each.

use std::io::{self, BufRead, Write};

use crossbeam_channel::Receiver;

use super::{End, Happening, SayError, Voice, json};
use crate::chat::{Event, MAX_TEXT_CHARS, sanitise};
use crate::rpc::CallError;

/// The longest line that is read as one, in bytes. What is longer is far too
/// long to be said and must not fill the memory.
const LONGEST_LINE: usize = 64 * 1024;

/// An event as it is shown: the original's form.
pub fn shown(event: &Event, replayed: bool) -> String {
    let (sender, text) = (sanitise(&event.sender), sanitise(&event.text));
    let earlier = if replayed { ", earlier" } else { "" };
    match &event.to {
        None => format!("[Server @ L={}{earlier}] {sender}: {text}", event.time),
        Some(to) => {
            format!(
                "[Server @ L={}{earlier}] {sender} to {} (private): {text}",
                event.time,
                sanitise(to)
            )
        }
    }
}

/// A shown line with a dim head and a bold name.
fn coloured(line: &str) -> String {
    let parts = line
        .split_once("] ")
        .and_then(|(head, rest)| Some((head, rest.split_once(": ")?)));
    match parts {
        Some((head, (name, text))) => {
            format!("\x1b[2m{head}]\x1b[0m \x1b[1m{name}\x1b[0m: {text}")
        }
        None => line.to_owned(),
    }
}

/// Reads lines until the end of the input or one that says `exit`, and says
/// each that is not empty.
///
/// # Errors
/// The input cannot be read.
pub fn say_lines(
    input: impl BufRead,
    voice: &Voice,
    notices: &mut dyn FnMut(&str),
) -> io::Result<()> {
    let mut input = input;
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut input, &mut line)? {
            Some(Read::Whole) => {}
            Some(Read::Cut) => {
                notices(&format!(
                    "Message too long (more than {LONGEST_LINE} bytes). Limit is {MAX_TEXT_CHARS}."
                ));
                continue;
            }
            None => return Ok(()),
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text == "exit" {
            return Ok(());
        }
        if text.is_empty() {
            continue;
        }
        match voice.say(text, "") {
            Ok(_) => {}
            Err(SayError::Over) => return Ok(()),
            Err(why) => notices(&why.to_string()),
        }
    }
}

/// What was read of a line.
#[derive(Clone, Copy)]
enum Read {
    Whole,
    Cut,
}

/// Reads a line, if there is one. What is more than [`LONGEST_LINE`] bytes of it
/// is passed over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Read>> {
    let mut read = None;
    loop {
        let (used, ended) = {
            let chunk = match input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return Ok(read);
            }
            let end = chunk.iter().position(|&b| b == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = LONGEST_LINE.saturating_sub(line.len());
            if part.len() > room {
                read = Some(Read::Cut);
            }
            line.extend_from_slice(&part[..part.len().min(room)]);
            (end.map_or(chunk.len(), |at| at + 1), end.is_some())
        };
        input.consume(used);
        let so_far = read.get_or_insert(Read::Whole);
        if ended {
            return Ok(Some(*so_far));
        }
    }
}

/// How what happens is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// For people: the original's form.
    Lines {
        /// Names in bold, the rest of the head dim.
        colour: bool,
    },
    /// For programs: one JSON object a line for everything that happens.
    Json {
        /// The room, which every object names.
        room: String,
    },
}

/// Writes what happens as lines.
pub struct Plain<O, E> {
    /// How.
    pub format: Format,
    /// Where events go.
    pub out: O,
    /// Where the client's own notices go.
    pub notices: E,
}

impl<O: Write, E: Write> Plain<O, E> {
    /// Writes until the end, and returns it. A reader of `out` that has gone
    /// ends it too, as if it had left.
    ///
    /// # Errors
    /// Something could not be written though somebody would read it; then it
    /// has left, too.
    pub fn run(&mut self, happenings: &Receiver<Happening>, voice: &Voice) -> io::Result<End> {
        // What stands if the reader thread dies without a word.
        let mut end = End::Gone {
            why: CallError::Lost,
            unsent: 0,
        };
        let mut failed = None;
        for happening in happenings {
            let line = match (&self.format, &happening) {
                (Format::Json { room }, _) => Some(json::object(&happening, room).to_string()),
                (Format::Lines { colour }, Happening::Event { received, .. }) => {
                    let line = shown(&received.event, received.replayed);
                    Some(if *colour { coloured(&line) } else { line })
                }
                (Format::Lines { .. }, other) => {
                    self.notice(other);
                    None
                }
            };
            let written = match line {
                None => Ok(()),
                Some(line) => writeln!(self.out, "{line}"),
            };
            // Whatever came last: nothing written waits for what comes next.
            let written = written.and_then(|()| match happenings.is_empty() {
                true => self.out.flush(),
                false => Ok(()),
            });
            if let Err(why) = written {
                voice.leave(); // nobody reads: what was said still gets its echo
                failed.get_or_insert(why);
            }
            if let Happening::Ended(how) = happening {
                end = how;
                break;
            }
        }
        let failed = failed.or(self.out.flush().err());
        match failed.filter(|why| why.kind() != io::ErrorKind::BrokenPipe) {
            Some(why) => Err(why),
            None => Ok(end),
        }
    }

    fn notice(&mut self, happening: &Happening) {
        // Without anybody to read it a notice is lost, and nothing else.
        let _ = match happening {
            Happening::Gap { from, to } => {
                writeln!(
                    self.notices,
                    "chitchat: events {from} to {to} of the room are missing"
                )
            }
            Happening::Resumed { missed } => {
                writeln!(
                    self.notices,
                    "chitchat: back in the room; events that came meanwhile: {missed}"
                )
            }
            Happening::PastGone => {
                writeln!(
                    self.notices,
                    "chitchat: what came meanwhile is no longer kept; joining anew"
                )
            }
            Happening::Lost { why, retry_in } => writeln!(
                self.notices,
                "chitchat: connection lost ({}); trying again in {:.1} s",
                sanitise(&why.to_string()),
                retry_in.as_secs_f64()
            ),
            Happening::Event { .. } | Happening::Ended(_) => Ok(()),
        };
    }
}
