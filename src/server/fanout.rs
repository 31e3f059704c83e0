//! Fan-out: hands a kept group to the outboxes of those who may see it.
//!
//! It belongs to whoever keeps the group, so it takes no lock, and all that a
//! member gets has passed one queue in one order. An event is encoded once,
//! however many members it goes to; a run of events that all see becomes one
//! frame for those who accept batches.
//!
//! Poll threads send what is in the outboxes. Only a session that keeps a group
//! sends its own member's share itself: it is the receipt that the member waits
//! for, and so it is spared the way through another thread.

use std::collections::HashMap;
use std::sync::Arc;

use super::metrics::{Metrics, Outboxes};
use super::report;
use super::step::{Change, Seat, Sequel};
use crate::chat::{Audience, Event, MemberKey, RoomId};
use crate::history::Record;
use crate::rpc::{Call, Overflow};
use crate::wire::{Ending, Frame, Group};

pub(super) struct Fanout {
    metrics: Arc<Metrics>,
    rooms: HashMap<u32, Seats>,
    /// Members of the rooms that something was handed out in since the last look.
    reached: usize,
    /// Set once nobody gets anything any more.
    ended: Option<Ending>,
}

/// The members of a room, and what waits to be handed to all of them.
#[derive(Default)]
struct Seats {
    seats: Vec<Seat>,
    index: HashMap<MemberKey, usize>,
    waiting: Group,
    /// Who said it: they wait for it, since it is their receipt.
    authors: Vec<MemberKey>,
    /// What was handed out since the last look, and who was let go.
    delivered: u64,
    let_go: u64,
}

/// How what is handed out gets on its way.
struct Way {
    /// The participant on whose session's thread this is, if it is one.
    here: Option<MemberKey>,
    /// The poll threads that have something to send now.
    calls: Vec<Call>,
}

impl Fanout {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            rooms: HashMap::new(),
            reached: 0,
            ended: None,
        }
    }

    /// How many members groups went to since the last call, about: those who
    /// are in the rooms now.
    pub(super) fn take_reached(&mut self) -> usize {
        std::mem::take(&mut self.reached)
    }

    /// How full the outboxes are.
    pub(super) fn measure(&self) -> Outboxes {
        let mut all = Outboxes::default();
        for seat in self.rooms.values().flat_map(|room| &room.seats) {
            let depth = seat.outbox.depth();
            all.members += 1;
            all.events += depth;
            all.fullest = all.fullest.max(depth);
        }
        all
    }

    /// Hands out a group, on the thread of the session of `here` if it is one.
    /// The poll threads that this returns are to be called.
    pub(super) fn deliver(
        &mut self,
        records: &[Record],
        group: impl Iterator<Item = Sequel>,
        here: Option<MemberKey>,
    ) -> Vec<Call> {
        let mut way = Way {
            here,
            calls: Vec::new(),
        };
        let mut touched = Vec::new();
        for (record, sequel) in records.iter().zip(group) {
            let room = self.rooms.entry(record.room.no).or_default();
            match sequel.change {
                Change::None => {}
                // Those who were there before get what was said before; the
                // newcomer does not.
                Change::Attach(seat) => {
                    room.hand_out(&mut way);
                    room.attach(*seat, self.ended.as_ref());
                }
                Change::Detach(key, ending) => {
                    room.hand_out(&mut way);
                    room.detach(key, ending);
                }
                Change::Dismiss(key, ending) => {
                    room.hand_out(&mut way);
                    room.dismiss(key, ending);
                }
                Change::DismissAll(ending) => {
                    room.hand_out(&mut way);
                    room.dismiss_all(&ending);
                }
            }
            if let Some((event, audience)) = &record.event {
                room.take(&record.room, event, *audience, record.author, &mut way);
            }
            if let Some((event, key)) = sequel.receipt.as_deref() {
                room.take(&record.room, event, Audience::One(*key), None, &mut way);
            }
            if touched.last() != Some(&record.room.no) {
                touched.push(record.room.no);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for no in touched {
            if let Some(room) = self.rooms.get_mut(&no) {
                room.hand_out(&mut way);
                self.reached += room.seats.len();
                let (delivered, let_go) = (&mut room.delivered, &mut room.let_go);
                self.metrics
                    .delivered(std::mem::take(delivered), std::mem::take(let_go));
            }
        }
        way.calls
    }

    /// Ends every outbox: after what is in it or, with `at_once`, without.
    pub(super) fn end_all(&mut self, ending: &Ending, at_once: bool) {
        for seat in self.rooms.values().flat_map(|room| &room.seats) {
            match at_once {
                true => seat.outbox.cut(ending.clone()),
                false => seat.outbox.close_and_kick(ending.clone()),
            }
        }
        self.rooms.clear();
        self.ended.get_or_insert_with(|| ending.clone());
    }

    /// Takes a change of which nothing was kept.
    pub(super) fn refuse(&self, change: Change) {
        if let Change::Attach(seat) = change {
            seat.outbox
                .cut(self.ended.clone().unwrap_or(Ending::StoreFailed));
        }
    }
}

impl Seats {
    fn attach(&mut self, mut seat: Seat, ended: Option<&Ending>) {
        if let Some(ending) = ended {
            seat.outbox.close_and_kick(ending.clone());
            return;
        }
        if let Some(ready) = seat.ready.take() {
            let _ = ready.send(()); // its session may be gone already
        }
        match self.index.get(&seat.key) {
            Some(&at) => {
                let old = std::mem::replace(&mut self.seats[at], seat);
                old.outbox.cut(Ending::Replaced);
            }
            None => {
                self.index.insert(seat.key, self.seats.len());
                self.seats.push(seat);
            }
        }
    }

    fn detach(&mut self, key: MemberKey, ending: Ending) {
        if let Some(&at) = self.index.get(&key) {
            self.remove(at).outbox.close(ending);
        }
    }

    fn dismiss(&mut self, key: MemberKey, ending: Ending) {
        if let Some(&at) = self.index.get(&key) {
            self.remove(at).outbox.close_and_kick(ending);
        }
    }

    fn dismiss_all(&mut self, ending: &Ending) {
        self.index.clear();
        for seat in self.seats.drain(..) {
            seat.outbox.close_and_kick(ending.clone());
        }
    }

    fn remove(&mut self, at: usize) -> Seat {
        let seat = self.seats.swap_remove(at);
        self.index.remove(&seat.key);
        if let Some(moved) = self.seats.get(at) {
            self.index.insert(moved.key, at);
        }
        seat
    }

    /// Takes an event for those who may see it.
    fn take(
        &mut self,
        room: &RoomId,
        event: &Event,
        audience: Audience,
        author: Option<MemberKey>,
        way: &mut Way,
    ) {
        if log::log_enabled!(target: report::TARGET, log::Level::Debug) {
            for seat in self.seats.iter().filter(|s| audience.includes(s.key)) {
                report::deliver(room, event, &seat.name);
            }
        }
        let (Audience::One(first) | Audience::Two(first, _)) = audience else {
            self.waiting.push(event, false);
            if self.authors.last() != author.as_ref() {
                self.authors.extend(author);
            }
            return;
        };
        let second = match audience {
            Audience::Two(_, second) if second != first => Some(second),
            _ => None,
        };
        self.hand_out(way);
        let frame = Frame::single(event, false);
        for key in std::iter::once(first).chain(second) {
            let Some(&at) = self.index.get(&key) else {
                continue;
            };
            match self.seats[at].outbox.queue(&frame) {
                Ok(()) => {
                    self.delivered += 1;
                    way.send(&self.seats[at]);
                }
                Err(Overflow) => self.let_go(at),
            }
        }
    }

    /// Hands what waits to all members, first to those who said it. One that
    /// has no room for it is let go: it can come back and read what it missed.
    fn hand_out(&mut self, way: &mut Way) {
        if self.waiting.is_empty() {
            return;
        }
        let mut batch = None;
        let mut singles = None;
        let mut slow = Vec::new();
        let authors = self.authors.drain(..);
        let mut first: Vec<usize> = authors
            .filter_map(|key| self.index.get(&key).copied())
            .collect();
        first.sort_unstable();
        first.dedup();
        let others = (0..self.seats.len()).filter(|at| first.binary_search(at).is_err());
        for at in first.iter().copied().chain(others) {
            let seat = &self.seats[at];
            let queued = if seat.batches {
                seat.outbox
                    .queue(batch.get_or_insert_with(|| self.waiting.batch()))
            } else {
                seat.outbox
                    .queue_singles(singles.get_or_insert_with(|| self.waiting.singles().collect()))
            };
            match queued {
                Ok(()) => {
                    self.delivered += self.waiting.len() as u64;
                    way.send(seat);
                }
                Err(Overflow) => slow.push(at),
            }
        }
        self.waiting.clear();
        // From the end, since letting one go moves the last into its place.
        slow.sort_unstable();
        for at in slow.into_iter().rev() {
            self.let_go(at);
        }
    }

    fn let_go(&mut self, at: usize) {
        self.let_go += 1;
        self.remove(at).outbox.cut(Ending::TooSlow);
    }
}

impl Way {
    /// Has what is queued for a member sent.
    fn send(&mut self, seat: &Seat) {
        match self.here == Some(seat.key) {
            true => seat.outbox.write(),
            false => self.calls.extend(seat.outbox.wake()),
        }
    }
}
