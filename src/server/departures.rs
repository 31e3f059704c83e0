//! Those who lost their connection and may come back: nobody is told until
//! their grace period is over.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never, select};

use super::journal::Message;
use super::quota::Share;
use super::rooms::SharedRoom;
use super::step::{Change, Step};
use super::{House, wall_ms};
use crate::chat::{MemberKey, Room, SessionNo};

/// A participant that lost its session.
pub(super) struct Departure {
    room: SharedRoom,
    key: MemberKey,
    /// The session that it lost; if it has another by then, it is back.
    session: SessionNo,
    at: Instant,
}

/// One that may come back until its grace period is over, and its share of
/// those who are awaited.
pub(super) type Awaited = (Departure, Share);

impl Departure {
    pub(super) fn now(room: SharedRoom, key: MemberKey, session: SessionNo) -> Self {
        Self {
            room,
            key,
            session,
            at: Instant::now(),
        }
    }

    pub(super) fn room(&self) -> &SharedRoom {
        &self.room
    }

    /// Lets it leave, unless it is back. Whoever calls this settles the journal
    /// when `room` is free again.
    pub(super) fn announce(&self, room: &mut Room, why: &'static str, house: &House) {
        if let Some(parted) = room.expire(self.key, self.session, wall_ms()) {
            let step = Step::parted(room, parted, why, Change::None);
            house.journal.hand_over(Message::Step(step));
        }
    }
}

/// Lets those leave whose grace period is over. They all have the same one, so
/// the queue is in the order of their ends.
pub(super) fn run(house: &House, queue: Receiver<Awaited>, quit: &Receiver<()>, grace: Duration) {
    let mut next: Option<Awaited> = None;
    loop {
        let due = match &next {
            Some((d, _)) => after((d.at + grace).saturating_duration_since(Instant::now())),
            None => never(),
        };
        // One at a time: the others wait in the channel.
        let incoming = if next.is_none() {
            queue.clone()
        } else {
            never()
        };
        select! {
            recv(quit) -> _ => return,
            recv(incoming) -> awaited => next = awaited.ok(),
            recv(due) -> _ => {
                if let Some((departure, _)) = next.take() {
                    departure.announce(&mut departure.room.lock(), "expired", house);
                    house.journal.settle(None);
                }
            }
        }
    }
}
