//! The follower thread: reads back what all servers brought to the log, and
//! lets the rooms obey it in that order.
//!
//! After every new connection it looks whether Redis still holds, at the place
//! where it stopped in each room, what it obeyed there. Redis replicates in
//! order, so what was appended before is there too then. If not, the room is
//! read anew from its beginning.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Shared;
use super::obey::obey;
use super::trouble::Part;
use crate::chat::{Deed, Room, RoomId, server_of};
use crate::history::shared::{Entry as Placed, Follower, Rung, SharedError, Snapshot};
use crate::history::{HEADWAY, Record};
use crate::server::journal::Message;
use crate::server::rooms::SharedRoom;
use crate::server::step::{Change, Step};
use crate::server::{House, report, wall_ms};
use crate::wire::Ending;

/// How long it waits for the bell before it looks whether the server stops.
const LISTEN: Duration = Duration::from_millis(250);

/// How long it waits before it connects again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long replicas may take before the wait for them counts as a trouble.
const CONFIRM: Duration = Duration::from_secs(1);

/// How often it waits so long at the start.
const TRIES: u32 = 10;

/// Rooms that are read in one call.
const ROOMS_AT_ONCE: usize = 200;

/// Follows the log.
pub(in crate::server) struct Following {
    rooms: HashMap<u32, Followed>,
    link: Option<Follower>,
}

/// A room, and up to where it was followed.
struct Followed {
    room: SharedRoom,
    /// Lamport time, number and group of the command that was obeyed last.
    time: i64,
    number: u64,
    group: String,
    /// How many events the room has had.
    events: u64,
}

impl Followed {
    fn at(room: SharedRoom, snapshot: &Snapshot) -> Self {
        Self {
            room,
            time: snapshot.room.clock,
            number: snapshot.number,
            group: snapshot.group.clone(),
            events: snapshot.events,
        }
    }
}

impl Following {
    /// Follows the log up to its end, telling nobody.
    pub(super) fn begin(house: &House, shared: &Shared) -> Result<Self, SharedError> {
        let mut link = Follower::connect(&shared.log)?;
        let mut rooms = HashMap::new();
        for id in link.rooms()? {
            let mut followed = adopt(house, shared, &mut link, &id)?;
            read_quietly(shared, &mut link, &mut followed)?;
            house.metrics.restored(followed.time);
            rooms.insert(id.no, followed);
        }
        // Replicas that have just been started take a while.
        let mut tries = 1;
        while let Err(why) = link.confirm(CONFIRM) {
            if tries == TRIES {
                return Err(why);
            }
            tries += 1;
        }
        Ok(Self {
            rooms,
            link: Some(link),
        })
    }

    /// Follows the log until the server stops. If the log is gone for good,
    /// `fail` is called.
    pub(super) fn run(mut self, house: &House, shared: &Shared, fail: &dyn Fn()) {
        while !shared.is_stopping() {
            match self.follow(house, shared) {
                Ok(()) => return,
                Err(why @ SharedError::Replaced) => {
                    log::error!("nothing more is kept or sent: {why}");
                    let failed = Message::Close(Ending::StoreFailed);
                    house.journal.hand_over(failed);
                    house.journal.ring();
                    return fail();
                }
                Err(why) => shared.trouble.of(Part::Follower, &why),
            }
            self.link = None;
            if !shared.pause(AGAIN) {
                return;
            }
        }
    }

    /// Follows it on one connection.
    fn follow(&mut self, house: &House, shared: &Shared) -> Result<(), SharedError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let mut link = Follower::connect(&shared.log)?;
                self.check_all(house, shared, &mut link)?;
                link
            }
        };
        while !shared.is_stopping() {
            shared.trouble.over(Part::Follower);
            match link.wait(LISTEN)? {
                Rung::For(rooms) if rooms.is_empty() => link.recognise()?,
                Rung::For(rooms) => self.read(house, shared, &mut link, rooms)?,
                Rung::ForAll => self.check_all(house, shared, &mut link)?,
            }
        }
        Ok(())
    }

    /// Looks at every room: whether what was obeyed is still there, and for
    /// what is new.
    fn check_all(
        &mut self,
        house: &House,
        shared: &Shared,
        link: &mut Follower,
    ) -> Result<(), SharedError> {
        let all: Vec<u32> = link.rooms()?.iter().map(|id| id.no).collect();
        let known = self.rooms.iter().filter(|(_, room)| room.number > 0);
        let places: Vec<_> = known.map(|(no, room)| (*no, room.time)).collect();
        for places in places.chunks(ROOMS_AT_ONCE) {
            let found = link.groups_at(places)?;
            for ((no, _), found) in places.iter().zip(found) {
                if let Some(room) = self.rooms.get_mut(no)
                    && found.as_ref() != Some(&room.group)
                {
                    read_anew(house, shared, link, room)?;
                }
            }
        }
        self.read(house, shared, link, all)
    }

    /// Obeys what is new in these rooms.
    fn read(
        &mut self,
        house: &House,
        shared: &Shared,
        link: &mut Follower,
        mut rooms: Vec<u32>,
    ) -> Result<(), SharedError> {
        while !rooms.is_empty() && !shared.is_stopping() {
            let now: Vec<u32> = rooms.drain(..rooms.len().min(ROOMS_AT_ONCE)).collect();
            let mut places = Vec::with_capacity(now.len());
            for &no in &now {
                let followed = match self.rooms.entry(no) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let id = link.room(no)?;
                        let followed = adopt(house, shared, link, &id)?;
                        if followed.time > 0 {
                            report::room(&id, followed.time);
                        }
                        new.insert(followed)
                    }
                };
                places.push((no, followed.time));
            }
            let pages = link.read(&places)?;
            if pages.iter().any(|(page, _)| !page.is_empty()) {
                link.confirm(CONFIRM)?;
            }
            for (no, (page, is_full)) in now.into_iter().zip(pages) {
                let Some(followed) = self.rooms.get_mut(&no) else {
                    continue;
                };
                take_page(house, shared, link, followed, page)?;
                if is_full {
                    rooms.push(no);
                }
            }
            shared.tell_progress();
        }
        Ok(())
    }
}

/// A room that was not followed so far, at its beginning.
fn adopt(
    house: &House,
    shared: &Shared,
    link: &mut Follower,
    id: &RoomId,
) -> Result<Followed, SharedError> {
    let beginning = link.beginning(id)?;
    shared.cache.begin(id.no, beginning.room.clock);
    let room = house.rooms.adopt(Room::from(beginning.room.clone()));
    Ok(Followed::at(room, &beginning))
}

/// Lets a room obey a page, and tells everybody what comes of it.
fn take_page(
    house: &House,
    shared: &Shared,
    link: &mut Follower,
    followed: &mut Followed,
    page: Vec<Placed>,
) -> Result<(), SharedError> {
    let mut snapshots = Vec::new();
    let mut room = followed.room.lock();
    for entry in page {
        if entry.number != followed.number + 1 {
            drop(room);
            house.journal.settle(None);
            return read_anew(house, shared, link, followed);
        }
        let session = entry.command.session;
        let is_mine = server_of(session) == shared.log.server();
        let (joins, parts) = match entry.command.deed {
            Deed::Join { .. } if is_mine => (shared.waiting.take_join(session), None),
            Deed::Leave { .. } | Deed::Lose { .. } if is_mine => {
                (None, shared.waiting.take_part(session))
            }
            _ => (None, None),
        };
        let (claim, answer) = joins.unzip();
        let (ending, parted) = parts.unzip();
        let outcome = obey(&mut room, entry.time, &entry.command, claim, ending);
        let is_detached = outcome.step.is_some();
        if let Some(step) = outcome.step {
            followed.events += u64::from(step.record.event.is_some());
            house.journal.hand_over(Message::Step(step));
        }
        if let (Some(waiter), Some(answer)) = (answer, outcome.answer) {
            let _ = waiter.send(answer); // it may have lost its patience
        }
        if let Some(parted) = parted {
            let _ = parted.send(is_detached); // likewise
        }
        followed.room.see(entry.time);
        (followed.time, followed.number) = (entry.time, entry.number);
        // One server is enough: the one whose command it was.
        let is_due = entry.number.is_multiple_of(shared.keep.snapshot_every());
        if is_due && entry.server() == Some(shared.log.server()) {
            snapshots.push(Snapshot {
                room: room.snapshot(),
                number: entry.number,
                group: entry.group.clone(),
                events: followed.events,
                wall_ms: wall_ms(),
            });
        }
        followed.group = entry.group;
    }
    drop(room);
    house.journal.settle(None);
    for snapshot in snapshots {
        let (events, now) = (snapshot.events, snapshot.wall_ms);
        link.keep_snapshot(&snapshot, |old| {
            let later = events.saturating_sub(old.events);
            old.number + HEADWAY <= snapshot.number
                && shared.keep.lets_go(later, now.saturating_sub(old.wall_ms))
        })?;
    }
    Ok(())
}

/// Reads a room anew from where it begins now. Its members are let go: they
/// can come back, and see what there is.
fn read_anew(
    house: &House,
    shared: &Shared,
    link: &mut Follower,
    followed: &mut Followed,
) -> Result<(), SharedError> {
    let id = followed.room.lock().id().clone();
    let beginning = link.beginning(&id)?;
    match beginning.room.clock > followed.time {
        true => log::warn!(
            "{} is kept from L={} on, and this server was at L={}: it is read anew",
            id.shown(),
            beginning.room.clock + 1,
            followed.time
        ),
        false => log::error!(
            "what {} had at L={} is not in Redis any more: it lost what was said last; the room \
             is read anew",
            id.shown(),
            followed.time
        ),
    }
    let cut = Step::changed(&followed.room.lock(), Change::DismissAll(Ending::ReadAnew));
    house.journal.hand_over(Message::Step(cut));
    // When this is answered, nothing of the room is on its way any more.
    let (ask, answer) = bounded(1);
    house.journal.hand_over(Message::Measure(ask));
    house.journal.ring();
    let _ = answer.recv();
    shared.cache.begin(id.no, beginning.room.clock);
    *followed.room.lock() = Room::from(beginning.room.clone());
    *followed = Followed::at(followed.room.clone(), &beginning);
    read_quietly(shared, link, followed)?;
    link.confirm(CONFIRM)?;
    report::room(&id, followed.time);
    shared.tell_progress();
    Ok(())
}

/// Lets a room obey everything that there is, and tells nobody: it happened
/// before this server was there, or before it had to begin anew.
fn read_quietly(
    shared: &Shared,
    link: &mut Follower,
    followed: &mut Followed,
) -> Result<(), SharedError> {
    let mut room = followed.room.lock();
    let no = room.id().no;
    loop {
        let (page, is_full) = link.read(&[(no, followed.time)])?.remove(0);
        let mut records: Vec<Record> = Vec::with_capacity(page.len());
        for entry in page {
            let session = entry.command.session;
            if let Some((_, answer)) = shared.waiting.take_join(session) {
                let _ = answer.send(Err(Ending::ReadAnew)); // it may have lost its patience
            }
            let outcome = obey(&mut room, entry.time, &entry.command, None, None);
            records.extend(outcome.step.map(|step| step.record));
            followed.room.see(entry.time);
            followed.time = entry.time;
            followed.number = entry.number;
            followed.group = entry.group;
        }
        let kept = records.iter().filter(|record| record.event.is_some());
        followed.events += kept.count() as u64;
        shared.cache.append(&records);
        if !is_full {
            return Ok(());
        }
    }
}
