//! The steward thread: keeps this server's lease, and sees to it that nobody
//! stays in a room whose session is gone.
//!
//! It compares who is in the rooms with which sessions there are: with its own
//! server's, and, while its server is the one with the lowest number of those
//! that live, with the servers themselves. What it proposes does nothing if it
//! is not so any more, so it need remember nothing.
//!
//! A server is taken for dead when it is found so twice in a row: where Redis
//! stood still, or failed over, all leases have ended, and whoever renews its
//! own first finds all others dead.
//!
//! A server that has let its members go, since another of its threads cannot
//! use the log, gives up its lease too: it could not see to anybody, and the
//! others would leave that to it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::trouble::Part;
use super::{Shared, let_all_go};
use crate::chat::{Deed, MemberKey, Presence, ServerNo, SessionNo, server_of};
use crate::history::shared::{Census, Leases};
use crate::server::House;
use crate::server::rooms::SharedRoom;
use crate::standard::HealthBoard;
use crate::wire::Ending;

/// How often within the time of the lease it is renewed.
const RENEWALS: u32 = 3;

/// A participant whose session is not one of this server's.
struct Absent {
    room: SharedRoom,
    key: MemberKey,
    session: SessionNo,
    /// Whether the room takes it for connected.
    is_here: bool,
}

pub(super) fn run(house: &House, shared: &Shared, health: &HealthBoard) {
    let lease = shared.log.store().lease;
    let tick = (lease / RENEWALS)
        .min(house.grace / 2)
        .max(Duration::from_millis(50));
    let mut leases = Leases::new(shared.log.clone());
    let mut away = HashMap::new();
    let mut found_dead = Vec::new();
    while shared.pause(tick) {
        // Whoever is in a room now has a server that was entered before.
        let absent = absent(house);
        let still_away = absent.iter().filter(|member| !member.is_here).count();
        shared.away.store(still_away, Ordering::Relaxed);
        let is_out = shared.trouble.is_told() && shared.trouble.is_beside(Part::Steward);
        let renewed = match is_out {
            true => leases.give_up().map(|()| None),
            false => leases.renew().map(Some),
        };
        let holds_lease = matches!(renewed, Ok(Some(_)));
        match renewed {
            Ok(None) => shared.trouble.over(Part::Steward),
            Ok(Some(mut census)) => {
                shared.trouble.over(Part::Steward);
                shared.servers.store(census.live.len(), Ordering::Relaxed);
                give_time(&mut census, &mut found_dead);
                if census.was_late {
                    log::warn!(
                        "this server was silent for longer than {lease:?}: the others may have \
                         taken it for dead"
                    );
                }
                if shared.trouble.lasts().is_none() {
                    settle(house, shared, &census, &absent, &mut away);
                    bury(&mut leases, &census, &absent);
                }
            }
            Err(why) => shared.trouble.of(Part::Steward, &why),
        }
        tell(house, shared, health, lease, holds_lease);
    }
    if let Err(why) = leases.give_up() {
        log::warn!("cannot give up the lease, which ends by itself: {why}");
    }
}

/// Everybody whose session is not one of this server's that lives.
fn absent(house: &House) -> Vec<Absent> {
    let mut absent = Vec::new();
    for shared in house.rooms.all() {
        let room = shared.lock();
        for member in room.members() {
            let (session, is_here) = match member.presence {
                Presence::Here(session) => (session, true),
                Presence::Away(session) => (session, false),
            };
            if !is_here || !house.sessions.is_live(session) {
                absent.push(Absent {
                    room: shared.clone(),
                    key: member.key,
                    session,
                    is_here,
                });
            }
        }
    }
    absent
}

/// Counts those as alive that were not found dead before.
fn give_time(census: &mut Census, found_dead: &mut Vec<ServerNo>) {
    let before = std::mem::replace(found_dead, census.dead.clone());
    let is_late = |server: &ServerNo| !before.contains(server);
    (census.live).extend(census.dead.iter().copied().filter(is_late));
    census.dead.retain(|server| !is_late(server));
}

/// Proposes that those are lost whose sessions are gone, and that those have
/// left who did not come back in time.
fn settle(
    house: &House,
    shared: &Shared,
    census: &Census,
    absent: &[Absent],
    away: &mut HashMap<(u32, MemberKey, SessionNo), Instant>,
) {
    let me = shared.log.server();
    let leads = census.live.iter().min() == Some(&me);
    let mut still_away = HashMap::new();
    for member in absent {
        let server = server_of(member.session);
        let deed = if member.is_here {
            let is_gone = server == me || (leads && !census.live.contains(&server));
            is_gone.then_some(Deed::Lose { key: member.key })
        } else {
            let id = (member.room.no(), member.key, member.session);
            let since = *away.get(&id).unwrap_or(&Instant::now());
            // However many come and vanish, so many are awaited.
            let is_over =
                leads && (since.elapsed() >= house.grace || still_away.len() >= house.away.most());
            still_away.insert(id, since);
            is_over.then_some(Deed::Expire { key: member.key })
        };
        if let Some(deed) = deed {
            let proposed = shared.command(&member.room, member.session, deed);
            // With a full queue there is a next time.
            let _ = shared.proposals.try_send(proposed);
        }
    }
    *away = still_away;
}

/// Forgets dead servers of which nobody is left in a room.
fn bury(leases: &mut Leases, census: &Census, absent: &[Absent]) {
    let is_left = |server: ServerNo| {
        let mut here = absent.iter().filter(|m| m.is_here);
        here.any(|m| server_of(m.session) == server)
    };
    for server in census.dead.iter().filter(|server| !is_left(**server)) {
        if let Err(why) = leases.forget(*server) {
            log::debug!("cannot forget server {server}: {why}");
        }
    }
}

/// Tells the members if the log has not been there for too long: by then the
/// other servers, if they have it, take this one for dead. They may go there.
/// Nobody is let in again before the lease holds, or the others would take them
/// for lost.
fn tell(house: &House, shared: &Shared, health: &HealthBoard, lease: Duration, holds_lease: bool) {
    let lasts = shared.trouble.lasts();
    if lasts.is_none() && holds_lease && shared.trouble.is_told() {
        log::info!("the log that the servers share is there again");
        shared.trouble.set_told(false);
        health.serving();
    } else if lasts.is_some_and(|lasts| lasts >= lease) && !shared.trouble.is_told() {
        log::error!(
            "the log that the servers share has not been there for {lease:?}: all members are let go"
        );
        shared.trouble.set_told(true);
        health.pause();
        let_all_go(house, &Ending::Unreachable);
    }
}
