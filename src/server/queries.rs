//! Questions about rooms, each answered on a thread of its own: an answer may
//! wait for a room's lock or for a slow reader, and a poll thread must not.

use std::sync::Arc;
use std::time::Duration;

use super::House;
use super::past::{self, EVERYTHING, Walk};
use super::quota::{Quota, Share};
use crate::chat::Name;
use crate::rpc::{Connection, Listener, Question};
use crate::wire::{
    Ending, HistoryQuery, Participant, PastAsk, RoomInfo, RoomList, Roster, WhoQuery,
};

/// How long a reader may take for the last of a history.
const LAST_FRAMES: Duration = Duration::from_secs(30);

pub(super) fn serve(listener: Listener, house: &Arc<House>) -> Listener {
    let (for_who, for_rooms, for_history) = (house.clone(), house.clone(), house.clone());
    listener
        .who(move |asked, reply| {
            let house = for_who.clone();
            on_own_thread(&for_who, &for_who.questions, move |share| {
                let answer = ask(&house, &asked).and_then(|()| who(&house, &asked.query));
                reply.send(answer, share);
            });
        })
        .rooms(move |asked, reply| {
            let house = for_rooms.clone();
            on_own_thread(&for_rooms, &for_rooms.questions, move |share| {
                reply.send(ask(&house, &asked).map(|()| rooms(&house)), share);
            });
        })
        .history(move |asked, streamed| {
            let house = for_history.clone();
            on_own_thread(&for_history, &for_history.threads, move |_share| {
                let connection = streamed.into_connection();
                let no = house.next_session();
                let place = house
                    .sessions
                    .enter(no, &connection.caller, connection.kick());
                let ending = match &place {
                    Ok(_) => ask(&house, &asked)
                        .and_then(|()| history(&house, &asked.query, &connection))
                        .err()
                        .unwrap_or(Ending::Goodbye),
                    Err(ending) => ending.clone(),
                };
                house.metrics.ended(&ending);
                connection.finish(ending, LAST_FRAMES);
                drop(place);
            });
        })
}

/// A call that gets no thread is dropped, and with that refused or cancelled.
/// `answer` gets the call's share of `quota`.
fn on_own_thread(house: &House, quota: &Arc<Quota>, answer: impl FnOnce(Share) + Send + 'static) {
    let Some(share) = quota.take() else {
        house.metrics.dropped();
        return;
    };
    if let Err(why) = super::thread("query", move || answer(share)) {
        log::warn!("cannot answer a question: {why}");
    }
}

fn ask<T>(house: &House, asked: &Question<T>) -> Result<(), Ending> {
    house.gate.ask(&asked.password)
}

fn who(house: &House, query: &WhoQuery) -> Result<Roster, Ending> {
    let name = Name::parse_room(&query.room)?;
    // A room that nobody has opened is an empty one: it is there for the asking.
    let Some(room) = house.rooms.find(&name) else {
        return Ok(Roster {
            room: name.to_string(),
            clock: 0,
            participants: Vec::new(),
        });
    };
    let room = room.lock();
    let mut participants: Vec<_> = room
        .members()
        .map(|m| Participant {
            id: m.id,
            name: m.name.to_string(),
            joined: m.joined,
            away: !m.is_here(),
        })
        .collect();
    participants.sort_by_key(|p| p.joined);
    Ok(Roster {
        room: room.id().name.to_string(),
        clock: room.clock(),
        participants,
    })
}

fn rooms(house: &House) -> RoomList {
    let info = house.rooms.all().into_iter().map(|room| {
        let room = room.lock();
        RoomInfo {
            name: room.id().name.to_string(),
            participants: u32::try_from(room.members().count()).unwrap_or(u32::MAX),
            clock: room.clock(),
        }
    });
    RoomList(info.collect())
}

fn history(house: &House, query: &HistoryQuery, connection: &Connection) -> Result<(), Ending> {
    let name = Name::parse_room(&query.room)?;
    let ask = query.past.unwrap_or(EVERYTHING);
    // As in `who`. Nothing has happened there yet.
    let Some(room) = house.rooms.find(&name) else {
        return past::check(ask, 0);
    };
    house.order.catch_up(&room, ask)?;
    let (id, now) = {
        let room = room.lock();
        (room.id().clone(), room.clock())
    };
    let past = &*house.past;
    // What is not kept yet, and will be meanwhile, would be more than so many.
    let up_to = match ask {
        PastAsk::Last(_) => past::last_kept(past, &id, now)?,
        PastAsk::After(_) => now,
    };
    let out = connection.outbox().begin_past();
    let is_over = || connection.is_over();
    Walk::begin(past, is_over, &id, None, true, ask, up_to)?.finish(up_to, &out)
}
