//! Which send became which event of the server.
//!
//! The server's line names the sender and the sender's own Lamport time. Names
//! come again, and so do times, since every client begins at 0: what decides
//! is who held the name then, and that is told by the receipts of the JOINs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::line::What;
use super::log::{self, Process};
use super::names::{NO_NAME, NameId};
use super::order::{NONE, RoomOrder, Stray, Trace};
use super::said::agree;
use crate::chat::Kind;

/// Who speaks under a name in a room.
#[derive(Clone, Copy)]
struct Holder {
    run: u32,
    /// Its JOIN or RESUME.
    since: u32,
    /// Whether a receipt tells of it.
    is_told: bool,
    /// After how many gaps: behind the next one somebody else may speak.
    gap: usize,
}

/// What the clients tell of their sends.
struct Sends {
    /// Every send, by run and Lamport time.
    by_time: HashMap<(u32, i64), u32>,
    /// The JOIN behind each of the server's events that a receipt tells of.
    by_receipt: HashMap<u32, u32>,
    /// JOINs without a sure receipt, by name, room and Lamport time.
    unanswered: HashMap<(NameId, NameId, i64), Vec<u32>>,
}

/// Finds for each of the server's events the send that it came from.
pub(super) fn match_sends(trace: &mut Trace) {
    let sends = collect(trace);
    let rooms = std::mem::take(&mut trace.rooms);
    for (at, order) in rooms.iter().enumerate() {
        match_room(trace, at, order, &sends);
    }
    trace.rooms = rooms;
}

fn collect(trace: &Trace) -> Sends {
    let entries = &trace.log.entries[..trace.told];
    let by_time = (0u32..)
        .zip(entries)
        .filter(|(_, e)| e.what == What::Send)
        .map(|(i, e)| ((e.run, e.time.unwrap_or(0)), i))
        .collect();
    let mut by_receipt = HashMap::new();
    let mut unanswered: HashMap<_, Vec<_>> = HashMap::new();
    for visit in &trace.visits {
        let Some(join) = visit.join else { continue };
        let receipt = visit.receipt.filter(|_| visit.is_sure);
        let stamped = receipt.map(|i| trace.cause[i as usize]);
        match stamped.filter(|node| *node != NONE) {
            Some(node) => {
                by_receipt.insert(node, join);
            }
            None => {
                let entry = &trace.log.entries[join as usize];
                let key = (
                    holder_name(trace, entry),
                    visit.room,
                    entry.time.unwrap_or(0),
                );
                unanswered.entry(key).or_default().push(join);
            }
        }
    }
    Sends {
        by_time,
        by_receipt,
        unanswered,
    }
}

/// The name of the client that wrote an entry, folded.
fn holder_name(trace: &Trace, entry: &log::Entry) -> NameId {
    match trace.log.process(entry) {
        Process::Client(name) => trace.log.names.folded(name),
        Process::Server => NO_NAME,
    }
}

fn match_room(trace: &mut Trace, at: usize, order: &RoomOrder, sends: &Sends) {
    let mut holders: HashMap<NameId, Holder> = HashMap::new();
    // For each send its event, and since when its sender spoke then.
    let mut stamped: HashMap<u32, (u32, u32)> = HashMap::new();
    let mut guessed = Vec::new();
    let room = trace.epochs[at].room;
    let mut gaps = order.gaps.iter().peekable();
    let mut gap = 0;
    for (position, &node) in order.events.iter().enumerate() {
        while gaps.next_if(|gap| **gap <= position).is_some() {
            gap += 1;
        }
        let entry = trace.log.entries[node as usize];
        let name = trace.log.names.folded(entry.who);
        if matches!(entry.what, What::Join | What::Resume) {
            let sure = sends.by_receipt.get(&node).copied();
            let key = (name, room, entry.sent);
            let guess = sends.unanswered.get(&key).filter(|joins| joins.len() == 1);
            let join = sure.or(guess.map(|joins| joins[0]));
            holders.remove(&name);
            if let Some(join) = join {
                let run = trace.log.entries[join as usize].run;
                let is_told = sure.is_some();
                let since = node;
                let holder = Holder {
                    run,
                    since,
                    is_told,
                    gap,
                };
                holders.insert(name, holder);
                trace.cause[node as usize] = join;
            }
            continue;
        }
        let Some(holder) = holders.get(&name).copied().filter(|_| entry.sent != 0) else {
            continue;
        };
        let is_sure = holder.is_told && holder.gap == gap;
        let Some(&send) = sends.by_time.get(&(holder.run, entry.sent)) else {
            if is_sure && must_be_told(trace, holder.run, entry.sent) {
                trace.strays.push(Stray::NeverSent(node));
            } else {
                trace.unjudged.senders += 1;
            }
            continue;
        };
        let wrong = difference(trace, send, node);
        if !is_sure {
            match wrong {
                None => guessed.push((send, node)),
                Some(_) => trace.unjudged.senders += 1,
            }
            continue;
        }
        let (first, since) = *stamped.entry(send).or_insert((node, holder.since));
        // Whoever came back and says again what was stamped is told so.
        let is_notice = entry.what == What::Refused && since != holder.since;
        match wrong {
            Some(stray) => trace.strays.push(stray),
            None if first != node && !is_notice => trace.strays.push(Stray::StampedTwice {
                first,
                second: node,
            }),
            None => trace.cause[node as usize] = send,
        }
    }
    for (send, node) in guessed {
        if let Entry::Vacant(free) = stamped.entry(send) {
            free.insert((node, node));
            trace.cause[node as usize] = send;
        } else {
            trace.unjudged.senders += 1;
        }
    }
}

/// What is wrong if the server made of a send what it says it did.
fn difference(trace: &Trace, send: u32, stamped: u32) -> Option<Stray> {
    let sent = &trace.log.entries[send as usize];
    let entry = &trace.log.entries[stamped as usize];
    let names = &trace.log.names;
    let kind = match entry.what {
        What::Message => Some(Kind::Message),
        What::Leave => Some(Kind::Leave),
        _ => None,
    };
    if entry.what == What::Message && sent.to != NO_NAME && entry.to == NO_NAME {
        return Some(Stray::Published { send, stamped });
    }
    let same = names.same(sent.room, entry.room)
        && (kind.is_none() || sent.kind == kind)
        && (entry.what != What::Message || (names.same(sent.to, entry.to) && agree(sent, entry)));
    (!same).then_some(Stray::AlteredSend { send, stamped })
}

/// Whether a run that sent something at `time` has it in its log: one that was
/// killed may lack the end, one whose log begins late the beginning.
fn must_be_told(trace: &Trace, run: u32, time: i64) -> bool {
    let run = &trace.log.runs[run as usize];
    let own = &trace.log.entries[run.entries()];
    let first = own.iter().find_map(|e| e.time);
    let last = own.iter().rev().find_map(|e| e.time);
    (run.whole || first.is_some_and(|t| t <= time))
        && (run.stopped || last.is_some_and(|t| time < t))
}
