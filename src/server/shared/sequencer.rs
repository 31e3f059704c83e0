//! The sequencer thread: brings what sessions propose to the log, in groups,
//! each as often as it takes until the log has it.
//!
//! A failover may lose a group that the log had and that nobody has heard of.
//! Whoever said something in it would wait for it for ever, and what it says
//! next would take the place of that. So all members are let go: they come back
//! and say again what has no echo, in order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::trouble::Part;
use super::{Shared, let_all_go};
use crate::chat::{Command, Deed, Name, SessionNo};
use crate::history::shared::{Appender, Proposal, SharedError};
use crate::server::House;
use crate::server::rooms::SharedRoom;
use crate::wire::Ending;

/// Commands in one group at most. It bounds how long one call of the script
/// keeps Redis from everything else.
const MAX_GROUP: usize = 256;

/// The first and the longest wait before the log is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What sessions propose.
pub(super) enum Proposed {
    /// That something is done in a room.
    Command(SharedRoom, Proposal),
    /// That there is a room of this name.
    Room(Name),
    /// Nothing but to look whether the log has moved.
    Look,
}

pub(super) fn run(house: &House, shared: &Shared) {
    let mut appender = Appender::new(shared.log.clone());
    let mut group = Vec::new();
    let mut rooms: Vec<SharedRoom> = Vec::new();
    // What sessions before this one still bring is said again through others.
    let mut first_session = 0;
    loop {
        let first = crossbeam_channel::select_biased! {
            recv(shared.queue) -> first => first.ok(),
            recv(shared.stop) -> _ => None,
        };
        let Some(first) = first else { return };
        let mut room_to_open = None;
        for proposed in std::iter::once(first).chain(shared.queue.try_iter()) {
            match proposed {
                Proposed::Command(room, proposal) => {
                    if !rooms.iter().any(|known| known.no() == proposal.room) {
                        rooms.push(room);
                    }
                    group.push(proposal);
                }
                Proposed::Room(name) => room_to_open = Some(name),
                Proposed::Look => {}
            }
            if group.len() == MAX_GROUP || room_to_open.is_some() {
                break;
            }
        }
        // A master that another has replaced may go on for a while.
        if shared.has_moved.swap(false, Ordering::SeqCst) {
            appender.hang_up();
        }
        let in_hand = group.len() + usize::from(room_to_open.is_some());
        shared.in_hand.store(in_hand, Ordering::Relaxed);
        let seen = |no| {
            let room = rooms.iter().find(|room| room.no() == no);
            room.map_or(0, SharedRoom::seen)
        };
        let known = || {
            let rooms = house.rooms.all();
            let ids = rooms.iter().map(|room| room.lock().id().as_ref().clone());
            ids.collect()
        };
        let mut bring = |appender: &mut Appender| {
            if appender.connect(known)? && appender.has_lost()? {
                first_session = begin_anew(house, shared);
            }
            group.retain(|Proposal { command, .. }| {
                let is_before = is_said_before(first_session, command);
                if is_before {
                    refuse(shared, command);
                }
                !is_before
            });
            if !group.is_empty() {
                appender.append(&group, seen, house.metrics.highest_clock())?;
                group.clear();
            }
            room_to_open
                .as_ref()
                .map_or(Ok(()), |name| appender.open_room(name, house.rooms.most()))
        };
        if !insist(shared, &mut || bring(&mut appender)) {
            return;
        }
        rooms.clear();
        shared.in_hand.store(0, Ordering::Relaxed);
    }
}

/// Lets all members go that this server has. Returns the first session that may
/// say something again.
fn begin_anew(house: &House, shared: &Shared) -> SessionNo {
    log::error!("Redis lost what was said last on this server: all members are let go");
    // In this order: whoever waits for a seat after this has a session that is
    // told by `refuse`, or one that is not concerned; and a seat that is given
    // before its room is locked for this is taken away again.
    shared.waiting.end_joins(&Ending::ReadAnew);
    let first_session = house.next_session.load(Ordering::Relaxed);
    let_all_go(house, &Ending::ReadAnew);
    first_session
}

/// Whether a command is of a session before this one. What the steward proposes
/// is not: it is true whatever was lost.
fn is_said_before(first_session: SessionNo, command: &Command) -> bool {
    let is_said = !matches!(command.deed, Deed::Lose { .. } | Deed::Expire { .. });
    is_said && command.session < first_session
}

/// Brings a command nowhere. Its session is, or will be, let go.
fn refuse(shared: &Shared, command: &Command) {
    if let Deed::Join { .. } = command.deed
        && let Some((_, answer)) = shared.waiting.take_join(command.session)
    {
        let _ = answer.send(Err(Ending::ReadAnew)); // it may have lost its patience
    }
}

/// Does it until it succeeds. Returns false if it does not before the server
/// stops.
fn insist(shared: &Shared, bring: &mut dyn FnMut() -> Result<(), SharedError>) -> bool {
    let mut wait = FIRST_WAIT;
    loop {
        match bring() {
            Ok(()) => {
                shared.trouble.over(Part::Sequencer);
                return true;
            }
            Err(why) => shared.trouble.of(Part::Sequencer, &why),
        }
        if !shared.pause(wait) {
            return false;
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}
