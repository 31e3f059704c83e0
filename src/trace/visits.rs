//! The clients' side: visits.
//!
//! A visit is what a client's run saw of one room through one connection:
//! from the JOIN that it sent until it sent another or lost the connection.
//! All of it comes from one run of the server, so it belongs to one epoch of
//! the room.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::epochs::Epoch;
use super::line::What;
use super::log::{Entry, Log, Process};
use super::names::{NO_NAME, NameId};
use super::said::agree;
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
    /// The LEAVE that it sent; `None` if the connection was lost, also after
    /// that.
    pub leave: Option<u32>,
    /// The room's epoch; `None` if that cannot be told.
    pub epoch: Option<u32>,
    /// Whether that is beyond doubt.
    pub is_sure: bool,
}

impl Visit {
    /// Whether it is known to be the continuation of an earlier one: the
    /// receipt of a resume has no number, since nobody else sees it. Whoever
    /// is told that what it missed is not kept any more begins anew.
    pub fn is_resumed(&self, log: &Log) -> bool {
        let entry = |i: u32| &log.entries[i as usize];
        let begins = self.join.is_some_and(|i| entry(i).begins);
        self.receipt.is_some_and(|i| entry(i).seq == 0) && !begins
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
            match (entry.what, entry.kind) {
                // Where it does not say of which room, there is but one.
                (What::Lost, _) if entry.room == NO_NAME => {
                    for at in open.drain().map(|(_, at)| at) {
                        visits[at].leave = None;
                    }
                }
                (What::Lost, _) => {
                    if let Some(at) = open.remove(&room) {
                        visits[at].leave = None;
                    }
                }
                (What::Send, Some(Kind::Leave)) => {
                    if let Some(at) = open.get(&room) {
                        visits[*at].leave = Some(index as u32);
                    }
                }
                _ if begins => {
                    open.remove(&room);
                }
                _ => {}
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
                    leave: None,
                    epoch: None,
                    is_sure: false,
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
    if !agree(said, arrived) {
        return false;
    }
    if arrived.what == What::Refused {
        return said.what == What::Refused && said.sent == arrived.sent;
    }
    said.what.stamped() == arrived.kind
        && arrived.kind.is_some()
        && said.may_share_id(arrived)
        && log.names.same(said.who, arrived.who)
        && (said.sent, said.seq) == (arrived.sent, arrived.seq)
        && log.names.same(said.to, arrived.to)
}

/// How well a visit fits an epoch.
#[derive(Clone, Copy)]
struct Fit {
    /// Arrivals that contradict the epoch's lines.
    wrong: usize,
    /// Arrivals of which the lines tell.
    told: usize,
    /// Those among them that are a sign: somebody's first JOIN is none, since
    /// those are alike in every run.
    signs: usize,
    /// Arrivals from beyond the lines.
    beyond: usize,
    /// Whether the lines tell of another event where it was let in.
    is_foreign: bool,
}

impl Fit {
    fn of(log: &Log, epoch: &Epoch, visit: &Visit) -> Self {
        let mut fit = Self {
            wrong: 0,
            told: 0,
            signs: 0,
            beyond: 0,
            is_foreign: false,
        };
        let is_of = |who| match log.runs[visit.run as usize].process {
            Process::Client(name) => log.names.same(name, who),
            Process::Server => false,
        };
        for &at in &visit.arrivals {
            let arrival = &log.entries[at as usize];
            let line = stamped(log, epoch, arrival).map(|line| &log.entries[line as usize]);
            // A refusal to somebody else is more likely one of another run.
            let is_own = |said: &&Entry| said.what != What::Refused || is_of(said.who);
            if line.filter(is_own).is_some() {
                fit.told += 1;
                let is_first_join = arrival.kind == Some(Kind::Join) && arrival.sent <= 1;
                fit.signs += usize::from(!is_first_join);
            } else if epoch.is_edge_at(arrival.of) {
                fit.beyond += 1;
            } else if !epoch.may_lack(arrival.of) {
                fit.wrong += 1;
                fit.is_foreign |= visit.receipt == Some(at);
            }
        }
        fit
    }

    fn rank(&self) -> (Reverse<usize>, usize) {
        (Reverse(self.wrong), self.told)
    }

    /// Whether the lines tell of most of it. If not it may belong to a run of
    /// the server whose log is not there, and which began like this one; that is
    /// likelier where it was let in by another event.
    fn is_believed(&self, epoch: &Epoch) -> bool {
        match self.wrong {
            wrong if self.is_foreign => self.signs > 4 * wrong + 2 * self.beyond,
            0 => self.signs >= self.beyond || !epoch.is_logged,
            wrong => self.signs > 2 * wrong + self.beyond,
        }
    }
}

/// The epoch's line that tells of what arrived.
pub fn stamped(log: &Log, epoch: &Epoch, arrival: &Entry) -> Option<u32> {
    let mut lines = epoch.stamped_at(arrival.of);
    lines.find(|line| same_event(log, &log.entries[*line as usize], arrival))
}

/// Finds the epoch of each visit. Where a room has several, it is the one
/// whose lines tell of what arrived; where that leaves a choice, none.
pub fn place_visits(log: &Log, epochs: &mut Vec<Epoch>, visits: &mut [Visit]) {
    let mut by_room: HashMap<NameId, Vec<u32>> = HashMap::new();
    for (at, epoch) in (0u32..).zip(epochs.iter()) {
        by_room.entry(epoch.room).or_default().push(at);
    }
    let mut fits = Vec::with_capacity(visits.len());
    for visit in visits.iter_mut() {
        let known = by_room.entry(visit.room).or_insert_with(|| {
            let first = visit.join.or(visit.arrivals.first().copied());
            let name = first.map_or(NO_NAME, |i| log.entries[i as usize].room);
            epochs.push(Epoch::untold(visit.room, name));
            vec![epochs.len() as u32 - 1]
        });
        let best = best(log, epochs, known, visit);
        visit.epoch = best.map(|(at, _)| at);
        visit.is_sure = best.is_some_and(|(_, fit)| fit.signs > 0);
        fits.push(best.map(|(_, fit)| (Reverse(fit.wrong), fit.signs)));
    }
    settle_claims(log, epochs, visits, &fits);
}

/// The one epoch that fits a visit best.
fn best(log: &Log, epochs: &[Epoch], known: &[u32], visit: &Visit) -> Option<(u32, Fit)> {
    let tried = known.iter().rev().take(TRIED);
    let fits = tried.map(|at| (*at, Fit::of(log, &epochs[*at as usize], visit)));
    let fits: Vec<_> = fits.collect();
    let (at, best) = *fits.iter().max_by_key(|(_, fit)| fit.rank())?;
    let alike = fits.iter().filter(|(_, fit)| fit.rank() == best.rank());
    let is_believed = alike.count() == 1 && best.is_believed(&epochs[at as usize]);
    is_believed.then_some((at, best))
}

/// One event of the server lets one visit in. Where several say that it let
/// them in, the others belong to runs of the server whose log is not there.
fn settle_claims(
    log: &Log,
    epochs: &[Epoch],
    visits: &mut [Visit],
    fits: &[Option<(Reverse<usize>, usize)>],
) {
    let mut claims: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, visit) in visits.iter().enumerate() {
        if let (Some(epoch), Some(receipt)) = (visit.epoch, visit.receipt) {
            let receipt = &log.entries[receipt as usize];
            let line = stamped(log, &epochs[epoch as usize], receipt);
            claims.entry(line.unwrap_or(u32::MAX)).or_default().push(at);
        }
    }
    claims.remove(&u32::MAX);
    for claimants in claims.into_values().filter(|c| c.len() > 1) {
        let best = claimants.iter().map(|at| fits[*at]).max().flatten();
        let is_only = claimants.iter().filter(|at| fits[**at] == best).count() == 1;
        for at in claimants {
            let wins = fits[at] == best;
            visits[at].is_sure &= wins && is_only;
            let is_contradicted = best.is_none_or(|(Reverse(wrong), _)| wrong > 0);
            if !wins || (!is_only && is_contradicted) {
                visits[at].epoch = None;
            }
        }
    }
}
