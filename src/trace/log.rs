//! Log files, read into a compact model: every line that is of the grammar
//! and carries what its kind of line must carry becomes an [`Entry`].
//!
//! Entries stand in an order of their own, whatever the order in which the
//! files were named: the server first, then the clients by name, each with its
//! runs one after the other. Only the clock on the wall says which of several
//! files of one process came first; for nothing else is it looked at. Which of
//! several servers goes on in a file that begins in the middle, the rooms'
//! numbers say.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::line::{Line, What};
use super::names::{NO_NAME, NameId, Names};
use super::said::digest;
use crate::chat::{DEFAULT_ROOM, Kind};

/// A longer line, in bytes, is not one that our programs write.
const LONGEST_LINE: usize = 1 << 20;

/// A line of a log.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it tells.
    pub what: What,
    /// `SEND` and `DELIVER`: of what.
    pub kind: Option<Kind>,
    /// A client's `DELIVER`: the event came from the past.
    pub replayed: bool,
    /// A client's `SEND` of a JOIN: it begins with some past, and does not go
    /// on where it was.
    pub begins: bool,
    /// Its process's own Lamport time. Always there for what the server
    /// stamped and for what a client sent.
    pub time: Option<i64>,
    /// The server's Lamport time of the event that arrived.
    pub of: i64,
    /// The sender's own Lamport time of the send, 0 if nothing was sent.
    pub sent: i64,
    /// The event's number in the room, 0 if not all see it.
    pub seq: u64,
    /// The room, as this line writes it.
    pub room: NameId,
    /// Whom it is about.
    pub who: NameId,
    /// Its id, 0 if it is not told.
    pub id: i64,
    /// The recipient of a private message, or [`NO_NAME`].
    pub to: NameId,
    /// The server's `DELIVER`: whose outbox.
    pub by: NameId,
    /// The server's `START`: the log that it shares with other servers, or
    /// [`NO_NAME`].
    pub log: NameId,
    /// A digest of what was said; 0 where the line does not tell it.
    pub(super) said: u64,
    /// Which run of which process wrote it.
    pub run: u32,
    /// Which file it stands in.
    pub source: u32,
    /// The number of the line, from 1.
    pub line: u32,
    pub(super) start: usize,
    pub(super) len: u32,
}

impl Entry {
    /// Whether both may be of one participant, as far as they tell its id.
    pub(super) fn may_share_id(&self, other: &Self) -> bool {
        self.id == other.id || self.id == 0 || other.id == 0
    }
}

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Process {
    /// The server.
    Server,
    /// The client of this participant.
    Client(NameId),
}

/// A run of a process: from its start to its end, or to where its log ends.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Whose.
    pub process: Process,
    /// Which run of its process, from 1.
    pub number: u32,
    /// Its first entry.
    pub first: u32,
    /// The entry behind its last one.
    pub end: u32,
    /// Whether its beginning is in the log.
    pub whole: bool,
    /// Whether it ended as it meant to.
    pub stopped: bool,
    /// The log that a server shares with others, or [`NO_NAME`].
    pub log: NameId,
}

impl Run {
    /// Its entries.
    pub fn entries(&self) -> std::ops::Range<usize> {
        self.first as usize..self.end as usize
    }
}

/// A file.
#[derive(Debug)]
pub struct Source {
    /// Its path, as it was named.
    pub path: String,
    text: String,
    /// Lines for people, and lines that lack what they must carry.
    pub unread: usize,
    /// Whether the last line breaks off.
    pub broken_off: bool,
    entries: usize,
}

/// Why the logs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says so.
    #[error("cannot read {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not one line is of the grammar.
    #[error("{0} is not a log of Chit Chat: no line of it can be read")]
    Foreign(String),
    /// There are more lines than can be numbered.
    #[error("the logs have more than {} lines", u32::MAX / 2)]
    TooLong,
}

/// The logs, read.
#[derive(Debug, Default)]
pub struct Log {
    /// The files, by path.
    pub sources: Vec<Source>,
    /// The lines, process by process.
    pub entries: Vec<Entry>,
    /// The runs, in the order of their entries.
    pub runs: Vec<Run>,
    /// The names in them.
    pub names: Names,
}

/// What one process wrote into one file.
struct Stream {
    process: String,
    first_time: String,
    source: usize,
    entries: Vec<Entry>,
    /// Whether it may go on where the stream before it ends.
    goes_on: bool,
}

/// Where a server's lines of a room begin or end.
struct Edge {
    time: i64,
    /// The first number of the room, or the last one; 0 if none is told.
    seq: u64,
    /// The room was found, or read anew: what was before is not told.
    is_found: bool,
}

impl Stream {
    fn rank(&self) -> (bool, &str, &str, usize) {
        let is_client = self.process != SERVER;
        (is_client, &self.process, &self.first_time, self.source)
    }
}

impl Log {
    /// Reads files. One that is named twice is read once.
    ///
    /// # Errors
    /// Which file cannot be read, and why.
    pub fn read(paths: &[PathBuf]) -> Result<Self, ReadError> {
        let mut files = BTreeMap::new();
        for path in paths {
            let shown = path.display().to_string();
            let failed = |source| ReadError::File {
                path: shown.clone(),
                source,
            };
            // A pipe has no such name.
            let same = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            if files
                .values()
                .any(|(_, known): &(_, PathBuf)| *known == same)
            {
                continue;
            }
            let text = read_text(path).map_err(failed)?;
            files.insert(shown, (text, same));
        }
        let texts = files.into_iter().map(|(path, (text, _))| (path, text));
        Self::from_texts(texts.collect())
    }

    /// Takes the texts of files, each with its path.
    ///
    /// # Errors
    /// Which of them is no log.
    pub fn from_texts(mut texts: Vec<(String, String)>) -> Result<Self, ReadError> {
        texts.sort();
        let mut log = Self::default();
        let mut streams = Vec::new();
        for (path, text) in texts {
            log.take_file(path, text, &mut streams)?;
        }
        streams.sort_by(|a, b| a.rank().cmp(&b.rank()));
        for stream in log.in_sequence(streams) {
            log.append(stream);
        }
        // What a killed process wrote last may break off, also where the next
        // run goes on behind it.
        for run in log.runs.iter().filter(|run| !run.stopped) {
            log.entries[run.end as usize - 1].said = 0;
        }
        Ok(log)
    }

    fn take_file(
        &mut self,
        path: String,
        text: String,
        streams: &mut Vec<Stream>,
    ) -> Result<(), ReadError> {
        let index = self.sources.len();
        let mut own: Vec<Stream> = Vec::new();
        let mut own_index = HashMap::new();
        let (mut start, mut unread, mut entries) = (0, 0, 0);
        let mut broken_off = false;
        for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
            let raw = whole.trim_end_matches(['\n', '\r']);
            let read = (raw.len() <= LONGEST_LINE)
                .then(|| Line::parse(raw))
                .flatten();
            let mut entry = None;
            if let Some(line) = &read {
                entry = self.entry(line).map(|entry| (line, entry));
            }
            if let Some((line, entry)) = entry {
                let number = u32::try_from(number).map_err(|_| ReadError::TooLong)?;
                // What breaks off does not tell all that was said.
                let said = if whole.ends_with('\n') { entry.said } else { 0 };
                let entry = Entry {
                    said,
                    source: index as u32,
                    line: number,
                    start,
                    len: raw.len() as u32,
                    ..entry
                };
                entries += 1;
                let at = match own_index.get(&*line.process) {
                    Some(at) => *at,
                    None => {
                        own_index.insert(line.process.to_string(), own.len());
                        own.push(Stream {
                            process: line.process.to_string(),
                            first_time: line.time.to_owned(),
                            source: index,
                            entries: Vec::new(),
                            goes_on: false,
                        });
                        own.len() - 1
                    }
                };
                own[at].entries.push(entry);
            } else if !raw.is_empty() {
                broken_off = !whole.ends_with('\n');
                unread += usize::from(!broken_off);
            }
            start += whole.len();
        }
        if entries == 0 && unread > 0 {
            return Err(ReadError::Foreign(path));
        }
        streams.extend(own);
        self.sources.push(Source {
            path,
            text,
            unread,
            broken_off,
            entries,
        });
        Ok(())
    }

    /// What a line carries, if it carries what it must.
    fn entry(&mut self, line: &Line<'_>) -> Option<Entry> {
        use What::*;
        let is_server = line.process == SERVER;
        if !is_server && !line.process.starts_with(CLIENT) {
            return None;
        }
        let kind = match line.text("kind") {
            None => None,
            Some(word) => Some(Kind::of_word(word)?),
        };
        let (time, of) = (line.number("L"), line.number("of"));
        let (room, who) = (line.text("room"), line.text("who"));
        let complete = match (is_server, line.what) {
            (_, Start | Stop | Lost) | (true, Cut) => true,
            (true, Room) => time.is_some() && room.is_some(),
            (true, Join | Resume | Message | Leave | Refused) => {
                time.is_some() && room.is_some() && who.is_some()
            }
            (true, Deliver) => of.is_some() && room.is_some() && line.text("by").is_some(),
            (false, Send) => {
                time.is_some() && room.is_some() && kind.is_some_and(|k| k != Kind::Refusal)
            }
            (false, Deliver) => of.is_some() && room.is_some() && kind.is_some() && who.is_some(),
            (false, Refused) => of.is_some() && room.is_some(),
            _ => false,
        };
        if !complete {
            return None;
        }
        // A client calls a refusal by either word.
        let what = match (is_server, kind) {
            (false, Some(Kind::Refusal)) => Refused,
            _ => line.what,
        };
        let said = digest(line, what, kind);
        let names = &mut self.names;
        let room = room.map_or(NO_NAME, |raw| {
            let raw = raw.trim();
            names.id(if raw.is_empty() { DEFAULT_ROOM } else { raw })
        });
        Some(Entry {
            what,
            kind,
            replayed: line.number("replayed") == Some(1),
            begins: line.text("last").is_some(),
            time,
            of: of.unwrap_or(0),
            sent: line.number("sent").unwrap_or(0),
            seq: line.number("seq").map_or(0, |n| n.max(0) as u64),
            room,
            who: who.map_or(NO_NAME, |t| names.id(t)),
            id: line.number("id").unwrap_or(0),
            to: line.text("to").map_or(NO_NAME, |t| names.id(t)),
            by: line.text("by").map_or(NO_NAME, |t| names.id(t)),
            log: line.text("log").map_or(NO_NAME, |t| names.id(t)),
            said,
            run: 0,
            source: 0,
            line: 0,
            start: 0,
            len: 0,
        })
    }

    /// Puts what a server tells in a file that begins in the middle behind what
    /// it goes on with: the logs of several servers may be in parts.
    fn in_sequence(&self, streams: Vec<Stream>) -> Vec<Stream> {
        let mut placed: Vec<Stream> = Vec::with_capacity(streams.len());
        for mut stream in streams {
            let mut at = placed.len();
            stream.goes_on = stream.entries[0].what != What::Start;
            if stream.goes_on && stream.process == SERVER {
                let ends = (0..at).filter_map(|end| Some((self.fit(&placed, end, &stream)?, end)));
                let before = ends.max().map(|(_, end)| end);
                stream.goes_on = before.is_some();
                at = before.map_or(at, |end| end + 1);
            }
            placed.insert(at, stream);
        }
        placed
    }

    /// If the server that wrote a stream may go on in `late`: in each room with
    /// the next event. Then the Lamport times after which it does.
    fn fit(&self, placed: &[Stream], end: usize, late: &Stream) -> Option<Vec<i64>> {
        if placed.get(end + 1).is_some_and(|next| next.goes_on) {
            return None; // it goes on there
        }
        let begins = (0..=end).rev().find(|at| !placed[*at].goes_on)?;
        let entries = placed[begins..=end].iter().flat_map(|s| &s.entries);
        let mut run: Vec<&Entry> = entries.rev().collect();
        let start = run.iter().position(|e| e.what == What::Start);
        run.truncate(start.unwrap_or(run.len()));
        if run.iter().any(|e| e.what == What::Stop) {
            return None;
        }
        let ends = self.edges(run.into_iter());
        let mut times = Vec::new();
        for (room, begin) in self.edges(late.entries.iter()) {
            let is_next = |number| number == 0 || begin.seq == 0 || begin.seq == number + 1;
            let fits = match ends.get(&room) {
                None => begin.is_found || begin.seq <= 1 || start.is_none(),
                Some(end) if begin.is_found => end.time <= begin.time,
                Some(end) => end.time < begin.time && is_next(end.seq),
            };
            if !fits {
                return None;
            }
            times.push(ends.get(&room).map_or(i64::MIN, |end| end.time));
        }
        Some(times)
    }

    /// For each room what is first told of it.
    fn edges<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> BTreeMap<NameId, Edge> {
        let mut edges = BTreeMap::new();
        for entry in entries {
            let is_found = entry.what == What::Room;
            if !is_found && entry.what.stamped().is_none() {
                continue;
            }
            let new = Edge {
                time: entry.time.unwrap_or(0),
                seq: 0,
                is_found,
            };
            let edge: &mut Edge = edges.entry(self.names.folded(entry.room)).or_insert(new);
            if edge.seq == 0 && !edge.is_found {
                edge.seq = entry.seq;
            }
        }
        edges
    }

    /// Takes the runs of a stream behind those that are there.
    fn append(&mut self, stream: Stream) {
        let process = match stream.process.strip_prefix(CLIENT) {
            Some(name) => Process::Client(self.names.id(name)),
            None => Process::Server,
        };
        for (at, mut entry) in stream.entries.iter().copied().enumerate() {
            let whole = entry.what == What::Start;
            let last = self.runs.last().filter(|run| run.process == process);
            // A file may go on where another of the same process ends.
            let is_open = |run: &Run| at > 0 || (stream.goes_on && !run.stopped);
            let goes_on = last.is_some_and(|run| !whole && is_open(run));
            if !goes_on {
                self.runs.push(Run {
                    process,
                    number: last.map_or(1, |run| run.number + 1),
                    first: self.entries.len() as u32,
                    end: self.entries.len() as u32,
                    whole,
                    stopped: false,
                    log: entry.log,
                });
            }
            entry.run = self.runs.len() as u32 - 1;
            self.entries.push(entry);
            if let Some(run) = self.runs.last_mut() {
                run.end = self.entries.len() as u32;
                run.stopped |= entry.what == What::Stop;
            }
        }
    }

    /// The line as it stands in its file.
    pub fn raw(&self, entry: &Entry) -> &str {
        let text = &self.sources[entry.source as usize].text;
        &text[entry.start..entry.start + entry.len as usize]
    }

    /// The words of a line, for people.
    pub fn words(&self, entry: &Entry) -> String {
        Line::parse(self.raw(entry)).map_or_else(String::new, |line| line.words.into_owned())
    }

    /// Where a line stands: `FILE:LINE`.
    pub fn place(&self, entry: &Entry) -> String {
        format!(
            "{}:{}",
            self.sources[entry.source as usize].path, entry.line
        )
    }

    /// The process that wrote an entry.
    pub fn process(&self, entry: &Entry) -> Process {
        self.runs[entry.run as usize].process
    }

    /// Whether anything of the server is there.
    pub fn has_server(&self) -> bool {
        self.runs
            .first()
            .is_some_and(|run| run.process == Process::Server)
    }

    /// Lines that were read.
    pub fn lines_read(&self) -> usize {
        self.sources.iter().map(|s| s.entries).sum()
    }
}

const SERVER: &str = "Server";
const CLIENT: &str = "Client ";

/// A file's text; what is not UTF-8 in it is replaced.
fn read_text(path: &Path) -> std::io::Result<String> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
