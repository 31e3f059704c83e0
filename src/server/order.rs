//! Where the order of a room's events is made: here, under the room's lock, or
//! in a log that several servers share. A session does not care which.

use std::sync::{Arc, MutexGuard};

use super::departures::Departure;
use super::journal::Message;
use super::metrics::LogNow;
use super::rooms::SharedRoom;
use super::session::{Chair, End};
use super::shared::Shared;
use super::step::{Change, Claim, Step};
use super::{House, Settings, report, wall_ms};
use crate::chat::{Ask, Loss, MemberKey, Name, Room, ServerNo, SessionNo};
use crate::history::shared::SharedLog;
use crate::history::{Cache, HistoryError, Keep, Store};
use crate::wire::{Ending, PastAsk};

/// Where the order is made.
pub(super) enum Order {
    Here,
    /// What is done is brought to the log, and happens when it is read back.
    Shared(Arc<Shared>),
}

/// A client is in its room.
pub(super) struct Seated {
    pub key: MemberKey,
    pub id: i32,
    /// The Lamport time up to which everything lies before its join.
    pub seam: i64,
}

/// A participant is out of its room, or will be.
pub(super) struct Parting {
    /// How its stream ends.
    pub ending: Ending,
    /// Whether the journal closes its outbox, behind what was said before.
    pub is_detached: bool,
}

impl Parting {
    /// The session itself closes the outbox.
    pub(super) fn alone(ending: Ending) -> Self {
        Self {
            ending,
            is_detached: false,
        }
    }
}

/// What a participant says.
pub(super) struct Words {
    pub text: String,
    pub to: String,
    pub sent: i64,
    pub wall_ms: i64,
}

impl Order {
    /// Where it is made for this store, whose cache this is if it has one.
    pub(super) fn of(
        settings: &Settings,
        cache: Option<Cache>,
        keep: Keep,
    ) -> Result<Self, HistoryError> {
        let (Store::Shared(store), Some(cache)) = (&settings.store, cache) else {
            return Ok(Order::Here);
        };
        let log = SharedLog::open(store, settings.max_remembered)?;
        if log.most_remembered() != settings.max_remembered {
            log::warn!(
                "each room remembers {} participants, as the first server of this log said",
                log.most_remembered()
            );
        }
        Ok(Order::Shared(Arc::new(Shared::new(log, cache, keep))))
    }

    /// This server's number among those that make it.
    pub(super) fn server(&self) -> ServerNo {
        match self {
            Order::Here => 0,
            Order::Shared(shared) => shared.log().server(),
        }
    }

    /// The id of the log in which it is made, if it is elsewhere.
    pub(super) fn log_id(&self) -> Option<&str> {
        match self {
            Order::Here => None,
            Order::Shared(shared) => Some(shared.log().id()),
        }
    }

    /// How the log is doing, if it is made in one.
    pub(super) fn log_now(&self) -> Option<LogNow> {
        match self {
            Order::Here => None,
            Order::Shared(shared) => Some(shared.now()),
        }
    }

    /// How many participants that left each room remembers, of which `asked`
    /// is what this server was told.
    pub(super) fn most_remembered(&self, asked: usize) -> usize {
        match self {
            Order::Here => asked,
            Order::Shared(shared) => shared.log().most_remembered(),
        }
    }

    /// The room of this name, opened if there is none.
    pub(super) fn open(&self, house: &House, name: &Name) -> Result<SharedRoom, Ending> {
        match self {
            Order::Here => house.rooms.open(name),
            Order::Shared(shared) => shared.open(house, name),
        }
    }

    /// Lets a client into a room, or says why not.
    pub(super) fn join(
        &self,
        house: &House,
        room: &SharedRoom,
        ask: Ask,
        claim: Claim,
    ) -> Result<Seated, Ending> {
        match self {
            Order::Here => join_here(house, room, ask, claim),
            Order::Shared(shared) => shared.join(room, ask, claim),
        }
    }

    /// Waits, where others may have told a client more of a room than is known
    /// here, until as much is known.
    ///
    /// # Errors
    /// That cannot be known at the moment.
    pub(super) fn catch_up(&self, room: &SharedRoom, past: PastAsk) -> Result<(), Ending> {
        match self {
            Order::Here => Ok(()),
            Order::Shared(shared) => shared.catch_up(room, past),
        }
    }

    /// Says early, before a long past is sent, that a client is not let in.
    /// Where the order is made elsewhere that is not known early.
    pub(super) fn admit(&self, house: &House, room: &mut Room, ask: &Ask) -> Result<(), Ending> {
        if let Order::Here = self {
            judge(house, room, ask.sent);
            room.admit(ask)?;
        }
        Ok(())
    }

    /// A turn at a room for what one participant says without a pause.
    pub(super) fn turn<'a>(&'a self, chair: &'a Chair) -> Turn<'a> {
        match self {
            Order::Here => Turn::Here(chair, chair.room.lock()),
            Order::Shared(shared) => Turn::Shared(chair, shared),
        }
    }

    /// Takes a participant out of its room, as its session's end demands, and
    /// says how its stream ends.
    pub(super) fn part(
        &self,
        house: &House,
        chair: Chair,
        session: SessionNo,
        end: End,
    ) -> Parting {
        match self {
            Order::Here => part_here(house, chair, session, end),
            Order::Shared(shared) => shared.part(&chair, session, end),
        }
    }
}

/// A turn at a room.
pub(super) enum Turn<'a> {
    Here(&'a Chair, MutexGuard<'a, Room>),
    Shared(&'a Chair, &'a Shared),
}

impl Turn<'_> {
    /// Says something through `session`.
    pub(super) fn say(&mut self, house: &House, session: SessionNo, words: Words) {
        let (chair, room) = match self {
            Turn::Here(chair, room) => (chair, room),
            Turn::Shared(chair, shared) => return shared.say(chair, session, words),
        };
        let Words {
            text,
            to,
            sent,
            wall_ms,
        } = words;
        judge(house, room, sent);
        let said = room.say(chair.key, session, text, &to, sent, wall_ms);
        let who = chair.name.to_shared();
        if let Some(step) = Step::of_said(room, said, chair.key, who, chair.id) {
            hand_over(house, step);
        }
    }
}

/// Hands a step to the journal; see [`Journal::hand_over`] and
/// [`Journal::settle`](super::journal::Journal::settle), which must follow.
///
/// [`Journal::hand_over`]: super::journal::Journal::hand_over
fn hand_over(house: &House, step: Step) {
    house.journal.hand_over(Message::Step(step));
}

/// Sees to it that `room` can judge a sender's time. One that is far ahead of it
/// may come from another room: only then that is looked up.
fn judge(house: &House, room: &mut Room, sent: i64) {
    if !room.accepts(sent) {
        room.hear_of(house.metrics.highest_clock());
    }
}

fn join_here(house: &House, shared: &SharedRoom, ask: Ask, claim: Claim) -> Result<Seated, Ending> {
    let mut room = shared.lock();
    judge(house, &mut room, ask.sent);
    let joined = room.join(ask, wall_ms())?;
    if joined.resumed {
        house.departures.await_no_more(shared, joined.key);
    }
    let seated = Seated {
        key: joined.key,
        id: joined.id,
        seam: joined.seam,
    };
    let change = Change::Attach(claim.granted_to(joined.key));
    hand_over(house, Step::joined(&room, joined, change));
    drop(room);
    house.journal.settle(None);
    Ok(seated)
}

fn part_here(house: &House, chair: Chair, session: SessionNo, end: End) -> Parting {
    let detached = |ending| Parting {
        ending,
        is_detached: true,
    };
    let mut room = chair.room.lock();
    let (parted, why, ending) = match end {
        End::Superseded(ending) => return Parting::alone(ending),
        End::Left { sent } => {
            judge(house, &mut room, sent);
            let parted = room.leave(chair.key, session, sent, wall_ms());
            (parted, "left", Ending::Goodbye)
        }
        End::Fault(ending) => (room.leave(chair.key, session, 0, wall_ms()), "cut", ending),
        End::Lost(ending) => match room.lose(chair.key, session, wall_ms()) {
            Loss::None => return Parting::alone(ending),
            Loss::Left(parted) => (Some(parted), "lost", ending),
            Loss::Away => {
                let change = Change::Detach(chair.key, ending.clone());
                hand_over(house, Step::changed(&room, change));
                drop(room);
                house.journal.settle(None);
                report::lost(
                    &chair.room_id,
                    chair.name.as_str(),
                    chair.id,
                    &ending.to_string(),
                );
                let departure = Departure::now(chair.room.clone(), chair.key, session);
                departure.begin(&mut chair.room.lock(), "lost", house);
                house.journal.settle(None);
                return detached(ending);
            }
        },
    };
    let Some(parted) = parted else {
        return Parting::alone(ending);
    };
    let change = Change::Detach(chair.key, ending.clone());
    hand_over(house, Step::parted(&room, parted, why, change));
    drop(room);
    house.journal.settle(None);
    detached(ending)
}
