//! Which of two events happened before the other, and the causal chain that
//! shows it.

use super::chain::shortest;
use super::check::{process_name, shown};
use super::log::Process;
use super::names::NameId;
use super::order::Trace;
use crate::chat::sanitise;

/// The most lines of a chain that are shown.
const SHOWN_LINKS: usize = 60;

/// How two events stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// They are one event.
    Same,
    /// The first happened before the second; the shortest chain from the first
    /// to the second.
    Before(Vec<u32>),
    /// The second happened before the first; the shortest chain from the
    /// second to the first.
    After(Vec<u32>),
    /// Neither can have influenced the other.
    Concurrent,
    /// Each happened before the other: the logs contradict themselves.
    Both,
}

/// Why an event is not found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EventError {
    /// It is written in no known way.
    #[error("«{0}» is no event: write a Lamport time of the server, or NAME:LINE")]
    Unwritten(String),
    /// No such event.
    #[error("no event of the server has L={0}")]
    NoTime(i64),
    /// There are several.
    #[error("L={time} is the time of several events: {places}; name one by NAME:LINE, or a --room")]
    Ambiguous {
        /// The time.
        time: i64,
        /// Where they are.
        places: String,
    },
    /// No such process, and no such file.
    #[error("«{0}» is neither a process of these logs nor one of the files")]
    NoProcess(String),
    /// No such line.
    #[error("line {line} of «{process}» tells of no event that has a place in happened-before")]
    NoLine {
        /// The process or file.
        process: String,
        /// The line.
        line: u32,
    },
    /// The process has several files.
    #[error("«{process}» has a line {line} in several files: {files}; write FILE:LINE")]
    SeveralFiles {
        /// The process.
        process: String,
        /// The line.
        line: u32,
        /// The files.
        files: String,
    },
}

/// Finds the event that is meant by `text`: a Lamport time of the server (in
/// `room`, if there are several), or `NAME:LINE`, the line of a process's log;
/// instead of the name the file may be named.
///
/// # Errors
/// Why it is not found.
pub fn find(trace: &Trace, text: &str, room: Option<NameId>) -> Result<u32, EventError> {
    if let Ok(time) = text.parse::<i64>() {
        return find_time(trace, time, room);
    }
    let written = text.rsplit_once(':');
    let written = written.and_then(|(process, line)| Some((process, line.parse::<u32>().ok()?)));
    let Some((process, line)) = written else {
        return Err(EventError::Unwritten(text.to_owned()));
    };
    find_line(trace, process, line)
}

fn find_time(trace: &Trace, time: i64, room: Option<NameId>) -> Result<u32, EventError> {
    let rooms = trace.rooms.iter().zip(&trace.epochs);
    let rooms = rooms.filter(|(_, epoch)| room.is_none_or(|room| room == epoch.room));
    let events = rooms.flat_map(|(order, _)| &order.events).copied();
    let found: Vec<u32> = events.filter(|n| trace.time(*n) == Some(time)).collect();
    match found[..] {
        [] => Err(EventError::NoTime(time)),
        [event] => Ok(event),
        _ => {
            let entries = found.iter().map(|n| &trace.log.entries[*n as usize]);
            let places: Vec<_> = entries.map(|e| trace.log.place(e)).collect();
            let places = places.join(", ");
            Err(EventError::Ambiguous { time, places })
        }
    }
}

fn find_line(trace: &Trace, process: &str, line: u32) -> Result<u32, EventError> {
    let log = &trace.log;
    let is_exact = |p: Process| process_name(log, p) == process;
    let any_exact = log.runs.iter().any(|run| is_exact(run.process));
    let lower = process.to_lowercase();
    let is_named = |p: Process| match any_exact {
        true => is_exact(p),
        false => process_name(log, p).to_lowercase() == lower,
    };
    let is_process = log.runs.iter().any(|run| is_named(run.process));
    if !is_process && !log.sources.iter().any(|s| s.path == process) {
        return Err(EventError::NoProcess(process.to_owned()));
    }
    let is_meant = |node: &u32| {
        let entry = &log.entries[*node as usize];
        entry.line == line
            && match is_process {
                true => is_named(log.process(entry)),
                false => log.sources[entry.source as usize].path == process,
            }
    };
    let found: Vec<u32> = (0..trace.told as u32).filter(is_meant).collect();
    match found[..] {
        [event] if trace.is_event(event) => Ok(trace.first_told(event)),
        [] | [_] => Err(EventError::NoLine {
            process: process.to_owned(),
            line,
        }),
        _ => {
            let entries = found.iter().map(|n| &log.entries[*n as usize]);
            let files: Vec<_> = entries
                .map(|e| log.sources[e.source as usize].path.as_str())
                .collect();
            Err(EventError::SeveralFiles {
                process: process.to_owned(),
                line,
                files: files.join(", "),
            })
        }
    }
}

/// How two events stand to each other.
pub fn relation(trace: &Trace, a: u32, b: u32) -> Relation {
    if a == b {
        return Relation::Same;
    }
    let forth = shortest(trace, a, b, usize::MAX);
    let back = shortest(trace, b, a, usize::MAX);
    match (forth, back) {
        (Some(chain), None) => Relation::Before(chain),
        (None, Some(chain)) => Relation::After(chain),
        (None, None) => Relation::Concurrent,
        (Some(_), Some(_)) => Relation::Both,
    }
}

/// The answer in words, safe for a terminal. `a` and `b` are the events, and
/// what they were called.
pub fn words(trace: &Trace, a: (u32, &str), b: (u32, &str)) -> String {
    let relation = relation(trace, a.0, b.0);
    let (first, second) = (sanitise(a.1), sanitise(b.1));
    let both = format!("    {}\n    {}\n", shown(trace, a.0), shown(trace, b.0));
    match relation {
        Relation::Same => format!(
            "{first} and {second} are one event:\n    {}\n",
            shown(trace, a.0)
        ),
        Relation::Before(chain) => {
            format!(
                "{first} happened before {second}:\n{}",
                links(trace, &chain)
            )
        }
        Relation::After(chain) => {
            format!("{first} happened after {second}:\n{}", links(trace, &chain))
        }
        Relation::Concurrent => format!(
            "{first} and {second} are concurrent: neither can have influenced the other, whatever their times.\n{both}"
        ),
        Relation::Both => format!(
            "{first} and {second} happened before each other: these logs contradict themselves, and `chitchat check` says where.\n{both}"
        ),
    }
}

/// A chain, a line an event; of a stretch within one process only the ends.
fn links(trace: &Trace, chain: &[u32]) -> String {
    let is_step = |at: usize| trace.previous[chain[at + 1] as usize] == chain[at];
    let mut lines = Vec::new();
    let mut skipped = 0;
    for (at, node) in chain.iter().enumerate() {
        let inside = at > 0 && at + 1 < chain.len() && is_step(at - 1) && is_step(at);
        if inside {
            skipped += 1;
            continue;
        }
        if skipped > 0 {
            lines.push(format!("    … {skipped} more of the same process …\n"));
            skipped = 0;
        }
        lines.push(format!("    {}\n", shown(trace, *node)));
    }
    if lines.len() > SHOWN_LINKS {
        let cut = lines.len() - SHOWN_LINKS;
        let middle = SHOWN_LINKS / 2;
        lines.splice(
            middle..middle + cut,
            [format!("    … {cut} more links …\n")],
        );
    }
    lines.concat()
}
