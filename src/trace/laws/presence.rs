//! When a participant was in a room, by the server's account.

use std::collections::HashMap;

use crate::trace::line::What;
use crate::trace::names::NameId;
use crate::trace::order::Trace;

/// Whether a participant is in a room at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It joined, and has not left since.
    In,
    /// It has left, or never joined; this event shows it, if one does.
    Out(Option<u32>),
    /// The server's log lacks what would tell.
    Unknown,
}

/// The comings and goings in one epoch of a room.
#[derive(Debug, Default)]
struct Room {
    /// JOIN, RESUME and LEAVE of each name: Lamport times, rising, and events.
    turns: HashMap<NameId, Vec<(i64, u32)>>,
    /// Lamport times after which something may lack, rising.
    gaps: Vec<i64>,
    is_told: bool,
}

/// The comings and goings in every room.
#[derive(Debug)]
pub(super) struct Presences<'a> {
    trace: &'a Trace,
    rooms: Vec<Room>,
}

impl<'a> Presences<'a> {
    pub(super) fn of(trace: &'a Trace) -> Self {
        let time = |node: u32| trace.time(node).unwrap_or(0);
        let mut rooms = Vec::with_capacity(trace.rooms.len());
        for (order, epoch) in trace.rooms.iter().zip(&trace.epochs) {
            let mut room = Room {
                is_told: epoch.is_logged,
                ..Room::default()
            };
            for gap in &order.gaps {
                let before = gap.checked_sub(1).map(|at| time(order.events[at]));
                room.gaps.push(before.unwrap_or(i64::MIN));
            }
            for &node in &order.events {
                let entry = &trace.log.entries[node as usize];
                if matches!(entry.what, What::Join | What::Resume | What::Leave) {
                    let name = trace.log.names.folded(entry.who);
                    room.turns.entry(name).or_default().push((time(node), node));
                }
            }
            // They are in order, unless a room's clock went back.
            room.gaps.sort_unstable();
            room.turns.values_mut().for_each(|t| t.sort_unstable());
            rooms.push(room);
        }
        Self { trace, rooms }
    }

    /// JOIN, RESUME and LEAVE of a participant: Lamport times, rising, and the
    /// events.
    pub(super) fn turns(&self, epoch: u32, name: NameId) -> &[(i64, u32)] {
        let turns = &self.rooms[epoch as usize].turns;
        turns.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Whether something between two Lamport times may lack.
    pub(super) fn may_lack(&self, epoch: u32, after: i64, before: i64) -> bool {
        let room = &self.rooms[epoch as usize];
        let gap = room.gaps[room.gaps.partition_point(|g| *g < after)..].first();
        !room.is_told || gap.is_some_and(|gap| *gap < before)
    }

    /// Whether a participant sees what happens in the room at `time`: its own
    /// joining it does, its own leaving it does not.
    pub(super) fn at(&self, epoch: u32, name: NameId, time: i64) -> Presence {
        let turns = self.turns(epoch, name);
        let past = turns.partition_point(|(turn, _)| *turn <= time);
        let last = past.checked_sub(1).map(|at| turns[at]);
        match last {
            Some((_, node)) if !self.is_leave(node) => Presence::In,
            _ if self.may_lack(epoch, last.map_or(i64::MIN, |l| l.0), time) => Presence::Unknown,
            Some((_, node)) => Presence::Out(Some(node)),
            None => Presence::Out(turns.first().map(|(_, node)| *node)),
        }
    }

    /// Whether a participant that is in the room at `from` is the one that is
    /// there at `to`, beyond doubt.
    pub(super) fn stays(&self, epoch: u32, name: NameId, from: i64, to: i64) -> bool {
        let turns = self.turns(epoch, name);
        let between = &turns[turns.partition_point(|(turn, _)| *turn <= from)..];
        let mut between = between.iter().take_while(|(turn, _)| *turn <= to);
        !between.any(|(_, node)| self.is_leave(*node)) && !self.may_lack(epoch, from, to)
    }

    fn is_leave(&self, node: u32) -> bool {
        self.trace.log.entries[node as usize].what == What::Leave
    }
}
