//! What is drawn: a column for each process, and in it what happened to it.

use std::collections::{HashMap, HashSet};

use super::{Choice, rows};
use crate::trace::check::process_name;
use crate::trace::epochs::is_stamped;
use crate::trace::line::What;
use crate::trace::log::{Entry, Log, Process, Run};
use crate::trace::names::NO_NAME;
use crate::trace::order::{NONE, Trace};

/// The most events of the server in one picture, and the most things that
/// happen to all processes together.
const MAX_STAMPED: usize = 500;
const MAX_ITEMS: usize = 12_000;

/// The most processes in one picture.
const MAX_COLUMNS: usize = 64;

/// A process's line in the picture.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) process: Process,
    /// Its items, from top to bottom.
    pub(super) items: Vec<usize>,
}

/// Something that happens to a process: an event, or a mark without a place in
/// happened-before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) node: u32,
    pub(super) column: usize,
    pub(super) row: usize,
}

/// What is drawn, and where.
pub(super) struct Picture<'a> {
    pub(super) trace: &'a Trace,
    pub(super) columns: Vec<Column>,
    pub(super) items: Vec<Item>,
    /// The item of each event that is drawn.
    item_of: HashMap<u32, usize>,
    /// The epoch of each of the server's events.
    epochs: HashMap<u32, u32>,
    /// What something that is drawn came of.
    causes: HashSet<u32>,
    pub(super) rows: usize,
    pub(super) left_out: Option<String>,
}

impl<'a> Picture<'a> {
    pub(super) fn new(trace: &'a Trace, choice: &Choice) -> Self {
        let mut left_out = None;
        let stamped = stamped(trace, choice, &mut left_out);
        let mut picture = Self {
            trace,
            columns: Vec::new(),
            items: Vec::new(),
            item_of: HashMap::new(),
            epochs: HashMap::new(),
            causes: HashSet::new(),
            rows: 0,
            left_out,
        };
        let is_cut = picture.left_out.is_some();
        for (at, room) in (0u32..).zip(&trace.rooms) {
            picture
                .epochs
                .extend(room.events.iter().map(|node| (*node, at)));
        }
        let chosen = Chosen::new(trace, &stamped, is_cut);
        picture.add_server(&stamped, choice, is_cut);
        picture.add_clients(&chosen, choice);
        picture.rows = rows::assign(&mut picture);
        picture
    }

    pub(super) fn entry(&self, item: &Item) -> &'a Entry {
        &self.trace.log.entries[item.node as usize]
    }

    pub(super) fn is_server(&self, item: &Item) -> bool {
        self.columns[item.column].process == Process::Server
    }

    /// The item from which an arrow goes to this one.
    pub(super) fn cause(&self, item: &Item) -> Option<&Item> {
        self.cause_at(item).map(|at| &self.items[at])
    }

    /// Its place among the items.
    pub(super) fn cause_at(&self, item: &Item) -> Option<usize> {
        let cause = self.trace.cause[item.node as usize];
        self.item_of.get(&cause).copied()
    }

    /// Whether this is a send of which no log tells that it arrived.
    pub(super) fn is_lost(&self, item: &Item) -> bool {
        self.entry(item).what == What::Send && !self.causes.contains(&item.node)
    }

    /// The epoch of one of the server's events.
    pub(super) fn epoch_of(&self, item: &Item) -> u32 {
        self.epochs.get(&item.node).copied().unwrap_or(0)
    }

    fn add(&mut self, column: usize, node: u32) {
        if self.items.len() >= 2 * MAX_ITEMS || column >= MAX_COLUMNS {
            let words = "not all that the clients tell is drawn; --from, --until and --only choose";
            self.left_out.get_or_insert_with(|| words.to_owned());
            return;
        }
        let at = self.items.len();
        self.items.push(Item {
            node,
            column,
            row: 0,
        });
        self.columns[column].items.push(at);
        self.item_of.insert(node, at);
        self.causes.insert(self.trace.cause[node as usize]);
    }

    /// The server's line: what it stamped, and the marks between.
    fn add_server(&mut self, stamped: &[(u32, u32)], choice: &Choice, is_cut: bool) {
        self.columns.push(Column {
            name: process_name(&self.trace.log, Process::Server),
            process: Process::Server,
            items: Vec::new(),
        });
        let log = &self.trace.log;
        let server = log.runs.iter().filter(|run| run.process == Process::Server);
        let end = server.map(|run| run.end).max().unwrap_or(0);
        let mut waiting = stamped.iter().copied().peekable();
        let (mut is_near, mut marks) = (choice.from.is_none(), 0);
        for node in 0..end {
            let entry = &log.entries[node as usize];
            if is_stamped(entry.what) {
                while let Some((_, untold)) =
                    waiting.next_if(|(next, n)| *next <= node && *n != node)
                {
                    self.add(0, untold);
                }
                is_near = waiting.next_if(|(_, n)| *n == node).is_some();
                if is_near {
                    self.add(0, node);
                }
            } else if is_near && marks < MAX_STAMPED && is_server_mark(log, entry, choice) {
                marks += 1;
                self.add(0, node);
            }
            if is_cut && waiting.peek().is_none() {
                break;
            }
        }
        for (_, node) in waiting {
            self.add(0, node);
        }
    }

    /// Each client's line: what it sent and got, and the marks between.
    fn add_clients(&mut self, chosen: &Chosen, choice: &Choice) {
        let trace = self.trace;
        let mut column_of: HashMap<(Process, u32), usize> = HashMap::new();
        for run in &trace.log.runs {
            let Process::Client(name) = run.process else {
                continue;
            };
            if !choice.has_name(trace.log.names.folded(name)) {
                continue;
            }
            let is_shown = |node: &u32| chosen.has(trace, *node, choice);
            let shown: Vec<u32> = (run.first..run.end).filter(is_shown).collect();
            let (Some(first), Some(last)) = (shown.first(), shown.last()) else {
                continue;
            };
            // The marks that stand beside what is shown belong to it.
            let is_mark = |node: &u32| !trace.is_event(*node);
            let before = (run.first..*first).rev().take_while(is_mark).last();
            let behind = (*last + 1..run.end).take_while(is_mark).last();
            let source = trace.log.entries[run.first as usize].source;
            let next = self.columns.len();
            let column = *column_of.entry((run.process, source)).or_insert(next);
            if column == next && next < MAX_COLUMNS {
                self.columns.push(Column {
                    name: process_name(&trace.log, run.process),
                    process: run.process,
                    items: Vec::new(),
                });
            }
            for node in before.unwrap_or(*first)..=behind.unwrap_or(*last) {
                if is_mark(&node) || is_shown(&node) {
                    self.add(column, node);
                }
            }
        }
    }
}

/// Which of the server's events are drawn, and what follows from that for the
/// clients' lines.
struct Chosen {
    stamped: HashSet<u32>,
    /// Sends behind what is drawn, and behind anything at all.
    sent: HashSet<u32>,
    known_sends: HashSet<u32>,
    is_cut: bool,
}

impl Chosen {
    fn new(trace: &Trace, stamped: &[(u32, u32)], is_cut: bool) -> Self {
        let stamped: HashSet<u32> = stamped.iter().map(|(_, node)| *node).collect();
        let cause = |node: &u32| trace.cause[*node as usize];
        let all = trace.rooms.iter().flat_map(|room| &room.events);
        Self {
            sent: stamped.iter().map(cause).collect(),
            known_sends: all.map(cause).collect(),
            stamped,
            is_cut,
        }
    }

    /// Whether a client's event is drawn. One that nothing connects with the
    /// server is drawn by its own time, unless the picture is cut.
    fn has(&self, trace: &Trace, node: u32, choice: &Choice) -> bool {
        let entry = &trace.log.entries[node as usize];
        let cause = trace.cause[node as usize];
        let by_time = |time: i64| {
            let room = trace.log.names.folded(entry.room);
            !self.is_cut && choice.room.is_none_or(|r| r == room) && choice.has_time(time)
        };
        match entry.what {
            What::Send if self.known_sends.contains(&node) => self.sent.contains(&node),
            What::Send => by_time(entry.time.unwrap_or(0)),
            What::Deliver | What::Refused if cause != NONE => self.stamped.contains(&cause),
            What::Deliver | What::Refused => by_time(entry.of),
            _ => false,
        }
    }
}

/// Whether a line of the server that is no event is drawn: that it starts
/// again, stops, loses or ends a session. Where several servers share a log,
/// the others go on.
fn is_server_mark(log: &Log, entry: &Entry, choice: &Choice) -> bool {
    let run = &log.runs[entry.run as usize];
    match entry.what {
        What::Start => run.number > 1 && !is_one_of_several(log, run),
        What::Stop => !is_one_of_several(log, run),
        What::Cut => true,
        What::Lost => {
            let room = log.names.folded(entry.room);
            choice.room.is_none_or(|r| r == room) && choice.has_name(log.names.folded(entry.who))
        }
        _ => false,
    }
}

/// Whether another server shares the log of this run.
fn is_one_of_several(log: &Log, run: &Run) -> bool {
    let source = |run: &Run| log.entries[run.first as usize].source;
    let is_other = |other: &Run| other.log == run.log && source(other) != source(run);
    run.log != NO_NAME && log.runs.iter().any(is_other)
}

/// The server's events that are drawn, in the order in which they are, each
/// with the line of the server's log before which, or at which, it stands.
fn stamped(trace: &Trace, choice: &Choice, left_out: &mut Option<String>) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, i64, u32)> = Vec::new();
    for (order, epoch) in trace.rooms.iter().zip(&trace.epochs) {
        if choice.room.is_some_and(|room| room != epoch.room) {
            continue;
        }
        // An untold event stands before the next line, or behind all lines.
        let mut next = u32::MAX;
        let mut places = Vec::with_capacity(order.events.len());
        for &node in order.events.iter().rev() {
            if (node as usize) < trace.told {
                next = node;
            }
            places.push((next, node));
        }
        // Where servers share a room, what one tells may stand before what
        // another tells of earlier events.
        let mut highest = 0;
        for (next, node) in places.into_iter().rev() {
            highest = next.max(highest);
            let time = trace.time(node).unwrap_or(0);
            if choice.has_time(time) {
                all.push((highest, time, node));
            }
        }
    }
    // A room's events stay in their order.
    all.sort_by_key(|(next, time, _)| (*next, if *next == u32::MAX { *time } else { 0 }));
    let mut arrivals: HashMap<u32, usize> = HashMap::new();
    for visit in &trace.visits {
        for arrival in &visit.arrivals {
            *arrivals.entry(trace.cause[*arrival as usize]).or_default() += 1;
        }
    }
    let mut items = 0;
    let fits = |(_, _, node): &&(u32, i64, u32)| {
        items += 2 + arrivals.get(node).copied().unwrap_or(0);
        items <= MAX_ITEMS
    };
    let shown = all.iter().take(MAX_STAMPED).take_while(fits).count();
    if shown < all.len() {
        let time = |at: usize| all.get(at).map_or(0, |(_, time, _)| *time);
        *left_out = Some(format!(
            "only the first {shown} of {} events are drawn, up to L={}; --from {} shows what comes next",
            all.len(),
            time(shown.saturating_sub(1)),
            time(shown)
        ));
    }
    all.truncate(shown);
    all.into_iter()
        .map(|(next, _, node)| (next, node))
        .collect()
}
