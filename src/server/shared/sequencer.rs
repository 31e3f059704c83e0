//! The sequencer thread: brings what sessions propose to the log, in groups,
//! each as often as it takes until the log has it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::trouble::Part;
use crate::chat::Name;
use crate::history::shared::{Appender, Proposal, SharedError};
use crate::server::House;
use crate::server::rooms::SharedRoom;

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
}

pub(super) fn run(house: &House, shared: &Shared) {
    let mut appender = Appender::new(shared.log.clone());
    let mut group = Vec::new();
    let mut rooms: Vec<SharedRoom> = Vec::new();
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
            }
            if group.len() == MAX_GROUP || room_to_open.is_some() {
                break;
            }
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
            appender.connect(known)?;
            if !group.is_empty() {
                appender.append(&group, seen)?;
                group.clear();
            }
            room_to_open
                .as_ref()
                .map_or(Ok(()), |name| appender.open_room(name))
        };
        if !insist(shared, &mut || bring(&mut appender)) {
            return;
        }
        rooms.clear();
        shared.in_hand.store(0, Ordering::Relaxed);
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
