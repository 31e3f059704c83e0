//! Happened-before (L. Lamport, CACM 21(7), 1978): which event of the logs can
//! have influenced which.
//!
//! An event has at most two direct predecessors: the one before it in its own
//! process, and what it received. The server's «receive, order, broadcast» is
//! one event of the room's clock, so each room, epoch by epoch, is a process
//! here, and each run of a client is one.
//!
//! What the server stamped and its log lacks is an event all the same if a
//! client tells of it: it then stands behind the entries as an untold event,
//! with the place of the client's line.

use std::collections::HashMap;

use super::epochs::{Epoch, epochs, is_stamped};
use super::line::What;
use super::log::{Entry, Log, Process, ReadError};
use super::names::{NO_NAME, NameId};
use super::sends::match_sends;
use super::visits::{Visit, place_visits, same_event, stamped, visits};
use crate::chat::Kind;

/// No event.
pub const NONE: u32 = u32::MAX;

/// Something that the logs say and that no lawful run says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// An arrival of something that the server never stamped.
    Unsaid(u32),
    /// An arrival that differs from what the server stamped at that time.
    Altered { arrival: u32, said: u32 },
    /// Two clients tell of different events at one Lamport time of a room.
    TwoAtOnce(u32, u32),
    /// The server stamped something that its sender, whose log is there, did
    /// not send.
    NeverSent(u32),
    /// The server stamped something else than was sent.
    AlteredSend { send: u32, stamped: u32 },
    /// A private message was stamped as one for everybody.
    Published { send: u32, stamped: u32 },
    /// The server stamped one send twice.
    StampedTwice { first: u32, second: u32 },
}

/// What cannot be decided from these logs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unjudged {
    /// Arrivals that fit more than one epoch of their room, or that contradict
    /// each other without a log of the server.
    pub arrivals: usize,
    /// Stamped events whose sender has a log in which the send cannot be
    /// found, but may have been.
    pub senders: usize,
    /// Events that only clients tell of.
    pub untold: usize,
}

/// The order of a room in one epoch.
#[derive(Debug, Default)]
pub struct RoomOrder {
    /// The stamped events, the untold ones among them, except where clients
    /// contradict each other and no log of the server decides.
    pub events: Vec<u32>,
    /// Positions in `events` before which something may lack, rising.
    pub gaps: Vec<usize>,
}

/// The logs, with all that connects their events.
#[derive(Debug)]
pub struct Trace {
    /// The logs; behind the lines of the files stand the untold events.
    pub log: Log,
    /// Every room's epochs.
    pub epochs: Vec<Epoch>,
    /// Every client's visits.
    pub visits: Vec<Visit>,
    /// How many entries are lines.
    pub told: usize,
    /// For each event the one before it in its process.
    pub previous: Vec<u32>,
    /// For each event what it received.
    pub cause: Vec<u32>,
    /// For each epoch its order.
    pub rooms: Vec<RoomOrder>,
    /// What no lawful run says.
    pub strays: Vec<Stray>,
    /// What cannot be decided.
    pub unjudged: Unjudged,
}

impl Trace {
    /// Reads logs and connects their events.
    ///
    /// # Errors
    /// Which file cannot be read, and why.
    pub fn read(paths: &[std::path::PathBuf]) -> Result<Self, ReadError> {
        Log::read(paths).map(Self::new)
    }

    /// Connects the events of logs.
    pub fn new(log: Log) -> Self {
        let mut epochs = epochs(&log);
        let mut visits = visits(&log);
        place_visits(&log, &mut epochs, &mut visits);
        let told = log.entries.len();
        let mut trace = Self {
            previous: Vec::new(),
            cause: vec![NONE; told],
            rooms: Vec::new(),
            strays: Vec::new(),
            unjudged: Unjudged::default(),
            log,
            epochs,
            visits,
            told,
        };
        let untold = trace.match_arrivals();
        trace.order_rooms(untold);
        match_sends(&mut trace);
        trace.order_processes();
        trace
    }

    /// The room of this name, folded, if the logs tell of it.
    pub fn room(&self, name: &str) -> Option<NameId> {
        let name = name.trim();
        let id = self
            .log
            .names
            .find(name.strip_prefix('#').unwrap_or(name))?;
        let room = self.log.names.folded(id);
        self.epochs.iter().any(|e| e.room == room).then_some(room)
    }

    /// Whether this entry is an event: something that has a place in
    /// happened-before.
    pub fn is_event(&self, node: u32) -> bool {
        let entry = &self.log.entries[node as usize];
        match self.log.process(entry) {
            Process::Server => is_stamped(entry.what),
            Process::Client(_) => {
                node as usize >= self.told
                    || matches!(entry.what, What::Send | What::Deliver | What::Refused)
            }
        }
    }

    /// The line that stands for an event of which several servers tell alike.
    pub fn first_told(&self, node: u32) -> u32 {
        let mut first = self.epochs.iter().filter_map(|e| e.alike.get(&node));
        first.next().copied().unwrap_or(node)
    }

    /// Whether an arrival in this epoch is beyond doubt of this history of its
    /// room: of one that only clients tell of, at its edge, that is not known.
    pub fn is_placed(&self, arrival: u32, epoch: Option<u32>) -> bool {
        let cause = self.cause[arrival as usize];
        let of = self.log.entries[arrival as usize].of;
        let is_told = cause != NONE && (cause as usize) < self.told;
        is_told || epoch.is_some_and(|at| !self.epochs[at as usize].is_edge_at(of))
    }

    /// An event's Lamport time by the clock of its own process.
    pub fn time(&self, node: u32) -> Option<i64> {
        self.log.entries[node as usize].time
    }

    /// Finds for each arrival what the server stamped. Returns each epoch's
    /// untold events, by time, and whether those at its edges contradict each
    /// other: then they are not of one history.
    fn match_arrivals(&mut self) -> Vec<(Vec<u32>, bool)> {
        let mut contested = vec![false; self.epochs.len()];
        let mut untold: HashMap<(u32, i64), (u32, u32)> = HashMap::new();
        for visit in &self.visits {
            let Some(at) = visit.epoch else {
                self.unjudged.arrivals += visit.arrivals.len();
                continue;
            };
            let epoch = &self.epochs[at as usize];
            for &arrival in &visit.arrivals {
                let entry = self.log.entries[arrival as usize];
                let entries = &self.log.entries;
                let same = |i: &u32| same_event(&self.log, &entries[*i as usize], &entry);
                if let Some(line) = stamped(&self.log, epoch, &entry) {
                    self.cause[arrival as usize] = line;
                } else if let Some(said) = epoch.stamped_at(entry.of).next() {
                    self.strays.push(Stray::Altered { arrival, said });
                } else if !epoch.may_lack(entry.of) {
                    self.strays.push(Stray::Unsaid(arrival));
                } else if let Some((node, first)) = untold.get(&(at, entry.of)).copied() {
                    if same(&node) {
                        self.cause[arrival as usize] = node;
                    } else if epoch.is_edge_at(entry.of) {
                        contested[at as usize] = true;
                        self.unjudged.arrivals += 1;
                    } else {
                        self.strays.push(Stray::TwoAtOnce(first, arrival));
                    }
                } else {
                    let node = self.log.entries.len() as u32;
                    untold.insert((at, entry.of), (node, arrival));
                    let entry = untold_event(&self.log, &entry);
                    self.log.entries.push(entry);
                    self.cause[arrival as usize] = node;
                    self.cause.push(NONE);
                    self.unjudged.untold += 1;
                }
            }
        }
        let mut by_epoch: Vec<_> = contested.into_iter().map(|c| (Vec::new(), c)).collect();
        let mut untold: Vec<_> = untold.into_iter().collect();
        untold.sort_unstable();
        for ((at, _), (node, _)) in untold {
            by_epoch[at as usize].0.push(node);
        }
        by_epoch
    }

    /// Puts each epoch's lines and untold events into one order.
    fn order_rooms(&mut self, untold: Vec<(Vec<u32>, bool)>) {
        for (epoch, (untold, contested)) in self.epochs.iter().zip(untold) {
            let time = |n: &u32| self.time(*n).unwrap_or(0);
            let mut room = RoomOrder::default();
            let mut untold = untold.into_iter().peekable();
            let mut holes = epoch.holes.iter().peekable();
            for before in 0..=epoch.lines.len() {
                while let Some(hole) = holes.next_if(|hole| hole.before == before) {
                    let mut covered = Vec::new();
                    while let Some(node) = untold.next_if(|n| time(n) <= hole.up_to) {
                        covered.push(node);
                    }
                    let numbers = covered.iter().map(|n| self.log.entries[*n as usize].seq);
                    let is_one = numbers.filter(|n| *n > 0).is_sorted_by(|a, b| a < b);
                    room.gaps.push(room.events.len());
                    if !hole.is_edge() || (is_one && !contested) {
                        for node in covered {
                            room.events.push(node);
                            room.gaps.push(room.events.len());
                        }
                    }
                }
                if let Some(line) = epoch.lines.get(before)
                    && is_stamped(self.log.entries[*line as usize].what)
                {
                    room.events.push(*line);
                }
            }
            self.rooms.push(room);
        }
    }

    /// Links each event to the one before it in its process.
    fn order_processes(&mut self) {
        self.previous = vec![NONE; self.log.entries.len()];
        for room in &self.rooms {
            for pair in room.events.windows(2) {
                self.previous[pair[1] as usize] = pair[0];
            }
        }
        for run in &self.log.runs {
            if run.process == Process::Server {
                continue;
            }
            let mut last = NONE;
            for node in run.first..run.end {
                if self.is_event(node) {
                    self.previous[node as usize] = last;
                    last = node;
                }
            }
        }
    }
}

/// The server's event behind an arrival of which the server's log lacks the
/// line. It keeps the place of the client's line.
fn untold_event(log: &Log, arrival: &Entry) -> Entry {
    let what = match (arrival.what, arrival.kind) {
        (What::Refused, _) => What::Refused,
        (_, Some(Kind::Join)) if arrival.seq == 0 => What::Resume,
        (_, Some(Kind::Join)) => What::Join,
        (_, Some(Kind::Leave)) => What::Leave,
        _ => What::Message,
    };
    let who = match (what, log.process(arrival)) {
        (What::Refused, Process::Client(name)) => name,
        _ => arrival.who,
    };
    Entry {
        what,
        kind: None,
        replayed: false,
        begins: false,
        time: Some(arrival.of),
        who,
        by: NO_NAME,
        ..*arrival
    }
}
