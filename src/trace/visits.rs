//! The clients' side: visits.
//!
//! A visit is what a client's run saw of one room through one connection:
//! from the JOIN that it sent until it sent another or lost the connection.
//! All of it comes from one run of the server, so it belongs to one epoch of
//! the room.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::epochs::Epoch;
use super::line::What;
use super::log::{Entry, Log, Process};
use super::names::{NO_NAME, NameId};
use crate::chat::Kind;

/// How many epochs of a room are tried for a visit.
const TRIED: usize = 64;

/// What a client's run saw of a room through one connection.
#[derive(Debug)]
pub struct Visit {
    /// The client's run.
    pub run: u32,
    /// The room, folded.
    pub room: NameId,
    /// The JOIN that it sent; `None` where the log begins later.
    pub join: Option<u32>,
    /// What arrived, in order.
    pub arrivals: Vec<u32>,
    /// The arrival that told it that it is in the room.
    pub receipt: Option<u32>,
    /// The room's epoch; `None` if that cannot be told.
    pub epoch: Option<u32>,
}

impl Visit {
    /// Whether it is known to be the continuation of an earlier one: the
    /// receipt of a resume has no number, since nobody else sees it.
    pub fn is_resumed(&self, log: &Log) -> bool {
        let receipt = self.receipt.map(|i| &log.entries[i as usize]);
        receipt.is_some_and(|e| e.seq == 0)
    }
}

/// Reads the visits off the clients' logs, each client's in order.
pub fn visits(log: &Log) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for (run_no, run) in (0u32..).zip(&log.runs) {
        let Process::Client(name) = run.process else {
            continue;
        };
        let mut open: HashMap<NameId, usize> = HashMap::new();
        for index in run.entries() {
            let entry = &log.entries[index];
            let room = log.names.folded(entry.room);
            let begins = entry.what == What::Send && entry.kind == Some(Kind::Join);
            let arrives = matches!(entry.what, What::Deliver | What::Refused);
            if entry.what == What::Lost || begins {
                open.clear();
            }
            if !begins && !arrives {
                continue;
            }
            let at = *open.entry(room).or_insert_with(|| {
                visits.push(Visit {
                    run: run_no,
                    room,
                    join: begins.then_some(index as u32),
                    arrivals: Vec::new(),
                    receipt: None,
                    epoch: None,
                });
                visits.len() - 1
            });
            if arrives {
                let visit = &mut visits[at];
                visit.arrivals.push(index as u32);
                let join = visit.join.map(|i| &log.entries[i as usize]);
                if visit.receipt.is_none() && is_receipt(log, name, join, entry) {
                    visit.receipt = Some(index as u32);
                }
            }
        }
    }
    visits
}

/// Whether an arrival tells the participant that it is in the room. A server
/// of the original kind does not say which send an event came from.
fn is_receipt(log: &Log, name: NameId, join: Option<&Entry>, entry: &Entry) -> bool {
    entry.what == What::Deliver
        && entry.kind == Some(Kind::Join)
        && !entry.replayed
        && log.names.same(entry.who, name)
        && join.is_some_and(|j| entry.sent == 0 || j.time == Some(entry.sent))
}

/// Whether a client's line tells of the event that the server's line tells of.
/// To whom a refusal went is not looked at: that is a law of its own.
pub fn same_event(log: &Log, said: &Entry, arrived: &Entry) -> bool {
    if arrived.what == What::Refused {
        return said.what == What::Refused && said.sent == arrived.sent;
    }
    let kind = match said.what {
        What::Join | What::Resume => Kind::Join,
        What::Message => Kind::Message,
        What::Leave => Kind::Leave,
        _ => return false,
    };
    arrived.kind == Some(kind)
        && log.names.same(said.who, arrived.who)
        && (said.sent, said.seq) == (arrived.sent, arrived.seq)
        && log.names.same(said.to, arrived.to)
}

/// Finds the epoch of each visit. Where a room has several, it is the one
/// whose lines tell of what arrived; where that leaves a choice, none. None
/// either if the lines do not tell of most of it: then it may belong to a run
/// of the server whose log is not there. That the lines tell of somebody's
/// first JOIN says nothing: those are alike in every run.
pub fn place_visits(log: &Log, epochs: &mut Vec<Epoch>, visits: &mut [Visit]) {
    let mut by_room: HashMap<NameId, Vec<u32>> = HashMap::new();
    let mut told_runs: HashMap<NameId, HashSet<u32>> = HashMap::new();
    for (at, epoch) in (0u32..).zip(epochs.iter()) {
        by_room.entry(epoch.room).or_default().push(at);
        let runs = epoch.lines.iter().map(|i| log.entries[*i as usize].run);
        told_runs.entry(epoch.room).or_default().extend(runs);
    }
    let server = log.runs.iter().take_while(|r| r.process == Process::Server);
    let broken_off: HashSet<u32> = (0u32..)
        .zip(server)
        .filter(|(_, run)| !(run.whole && run.stopped))
        .map(|(at, _)| at)
        .collect();
    let mut may_hide: HashMap<NameId, bool> = HashMap::new();
    for visit in visits {
        let known = by_room.entry(visit.room).or_insert_with(|| {
            let first = visit.join.or(visit.arrivals.first().copied());
            let name = first.map_or(NO_NAME, |i| log.entries[i as usize].room);
            let may_lack = !log.has_server() || !broken_off.is_empty();
            epochs.push(Epoch::untold(visit.room, name, may_lack));
            vec![epochs.len() as u32 - 1]
        });
        let may_hide = *may_hide.entry(visit.room).or_insert_with(|| {
            let told = told_runs.get(&visit.room);
            let is_untold = |run| told.is_some_and(|told| !told.contains(run));
            broken_off.iter().any(is_untold)
        });
        visit.epoch = best(log, epochs, known, visit, may_hide);
    }
}

/// The one epoch that fits a visit best. `may_hide`: the room may have another
/// one, of which no line is left.
fn best(log: &Log, epochs: &[Epoch], known: &[u32], visit: &Visit, may_hide: bool) -> Option<u32> {
    let fit = |at: u32| {
        let epoch = &epochs[at as usize];
        let (mut told, mut contradicted) = (0usize, 0usize);
        let (mut signs, mut beyond) = (0usize, 0usize);
        for arrival in &visit.arrivals {
            let arrival = &log.entries[*arrival as usize];
            let mut lines = epoch.stamped_at(arrival.of);
            if lines.any(|i| same_event(log, &log.entries[i as usize], arrival)) {
                told += 1;
                signs += usize::from(arrival.kind != Some(Kind::Join) || arrival.sent > 1);
            } else if epoch.is_edge_at(arrival.of) {
                beyond += 1;
            } else if !epoch.may_lack(arrival.of) {
                contradicted += 1;
            }
        }
        (Reverse(contradicted), told, signs, beyond)
    };
    let fits = known.iter().rev().take(TRIED).map(|at| (fit(*at), *at));
    let fits: Vec<_> = fits.collect();
    let rank = |(fit, _): &((Reverse<usize>, usize, _, _), u32)| (fit.0, fit.1);
    let (best, at) = *fits.iter().max_by_key(|fit| rank(fit))?;
    let is_like = |fit: &&_| rank(fit) == (best.0, best.1);
    let is_only = fits.iter().filter(is_like).count() == 1;
    let (Reverse(contradicted), _, signs, beyond) = best;
    let is_believed = match (contradicted, beyond) {
        (0, 0) => true,
        (0, beyond) => signs >= beyond || !epochs[at as usize].is_logged,
        (wrong, beyond) => signs >= wrong + beyond && !may_hide,
    };
    (is_only && is_believed).then_some(at)
}
