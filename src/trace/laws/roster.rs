//! The server's own account of a room: who is in it, and its numbers.

use std::collections::HashMap;

use super::{Findings, Law};
use crate::trace::line::What;
use crate::trace::log::Entry;
use crate::trace::names::{NO_NAME, NameId};
use crate::trace::order::{RoomOrder, Trace};

/// Where a participant is, and the event that says so.
#[derive(Clone, Copy)]
enum Presence {
    Present(u32),
    Gone(u32),
}

/// Who is in a room, as far as that is told.
struct Roster {
    known: HashMap<NameId, Presence>,
    /// Whether whoever is not in `known` is not in the room.
    is_complete: bool,
}

/// The room's numbers, as far as they are told.
struct Numbers {
    last: Option<u32>,
    /// Whether none may lack between `last` and the next one.
    is_gapless: bool,
}

pub(super) fn try_rooms(trace: &Trace, findings: &mut Findings) {
    for order in &trace.rooms {
        try_room(trace, order, findings);
    }
    for lines in trace.epochs.iter().flat_map(|epoch| &epoch.skipped) {
        findings.broken(Law::NoGap, lines, || {
            "one of the servers does not tell of it, but of what comes later".to_owned()
        });
    }
}

fn try_room(trace: &Trace, order: &RoomOrder, findings: &mut Findings) {
    let mut roster = Roster {
        known: HashMap::new(),
        is_complete: true,
    };
    let mut numbers = Numbers {
        last: None,
        is_gapless: true,
    };
    let mut gaps = order.gaps.iter().peekable();
    for (position, &node) in order.events.iter().enumerate() {
        while gaps.next_if(|gap| **gap <= position).is_some() {
            roster.known.clear();
            roster.is_complete = false;
            numbers.is_gapless = false;
        }
        if node as usize >= trace.told {
            continue; // it lies in a gap, where nothing is certain
        }
        let entry = &trace.log.entries[node as usize];
        roster.take(trace, node, entry, findings);
        numbers.take(trace, node, entry, findings);
    }
}

impl Roster {
    fn take(&mut self, trace: &Trace, node: u32, entry: &Entry, findings: &mut Findings) {
        let law = Law::JoinedAndLeft;
        let name = trace.log.names.folded(entry.who);
        findings.tried(law);
        if entry.what == What::Join {
            if let Some(Presence::Present(since)) = self.known.get(&name) {
                findings.broken(law, &[*since, node], || {
                    "somebody joined who was in the room".to_owned()
                });
            }
            self.known.insert(name, Presence::Present(node));
            return;
        }
        let why = match entry.what {
            What::Leave => "left",
            What::Resume => "came back",
            What::Refused => "was refused something",
            _ => "said something",
        };
        self.must_be_in(node, name, why, law, findings);
        if entry.what == What::Message && entry.to != NO_NAME {
            let to = trace.log.names.folded(entry.to);
            self.must_be_in(node, to, "got a private message", Law::ForWhom, findings);
        }
        let now = match entry.what {
            What::Leave => Presence::Gone(node),
            _ => Presence::Present(node),
        };
        // The event that says it first is the one to be shown.
        match self.known.get(&name) {
            Some(Presence::Present(_)) if entry.what != What::Leave => {}
            _ => {
                self.known.insert(name, now);
            }
        }
    }

    fn must_be_in(&self, node: u32, name: NameId, did: &str, law: Law, findings: &mut Findings) {
        match self.known.get(&name) {
            Some(Presence::Gone(left)) => findings.broken(law, &[*left, node], || {
                format!("somebody {did} who had left the room")
            }),
            None if self.is_complete => findings.broken(law, &[node], || {
                format!("somebody {did} who had not joined the room")
            }),
            _ => {}
        }
    }
}

impl Numbers {
    fn take(&mut self, trace: &Trace, node: u32, entry: &Entry, findings: &mut Findings) {
        let law = Law::NoGap;
        findings.tried(law);
        let is_for_all = match entry.what {
            What::Join | What::Leave => true,
            What::Message => entry.to == NO_NAME,
            _ => false,
        };
        if !is_for_all {
            if entry.seq != 0 {
                findings.broken(law, &[node], || {
                    "what not all see has a number of the room".to_owned()
                });
            }
            return;
        }
        let before = self.last.map_or(0, |i| trace.log.entries[i as usize].seq);
        let fits = match self.is_gapless {
            true => entry.seq.checked_sub(1) == Some(before),
            false => entry.seq > before,
        };
        if !fits {
            let lines: Vec<u32> = self.last.into_iter().chain([node]).collect();
            findings.broken(law, &lines, || {
                format!("the room's numbers go from {before} to {}", entry.seq)
            });
        }
        self.last = Some(node);
        self.is_gapless = true;
    }
}
