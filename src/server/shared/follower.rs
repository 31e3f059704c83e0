//! The follower thread: reads back what all servers brought to the log, and
//! lets the rooms obey it in that order.
//!
//! After every new connection it looks whether Redis still holds, at the place
//! where it stopped in each room, what it obeyed there. Redis replicates in
//! order, so what was appended before is there too then. If not, the room is
//! read anew from its beginning.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Shared;
use super::obey::obey;
use super::sequencer::Proposed;
use super::trouble::Part;
use crate::chat::{Deed, Room, RoomId, server_of};
use crate::history::shared::{Entry as Placed, Follower, Rung, SharedError, Snapshot};
use crate::history::{Filling, HEADWAY};
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

/// How often the beginning of a room may be moved while it is read.
const MOVES: u32 = 10;

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
    place: Place,
}

/// A place in a room's log.
struct Place {
    /// Lamport time, number and group of the command there.
    time: i64,
    number: u64,
    group: String,
    /// How many events the room has had.
    events: u64,
}

impl Place {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            time: snapshot.room.clock,
            number: snapshot.number,
            group: snapshot.group.clone(),
            events: snapshot.events,
        }
    }

    /// Whether nothing is missing between this place and a command that was
    /// read after it.
    fn is_before(&self, entry: &Placed) -> bool {
        entry.number == self.number + 1
    }

    /// A command was obeyed, of which so many events came.
    fn move_to(&mut self, entry: Placed, events: u64) {
        *self = Self {
            time: entry.time,
            number: entry.number,
            group: entry.group,
            events: self.events + events,
        };
    }
}

/// A room as the log tells it, while it is nobody's yet.
struct Whole {
    room: Room,
    place: Place,
    past: Filling,
}

impl Following {
    /// Follows the log up to its end, telling nobody.
    pub(super) fn begin(house: &House, shared: &Shared) -> Result<Self, SharedError> {
        let mut link = Follower::connect(&shared.log)?;
        let mut rooms = HashMap::new();
        for id in link.rooms()? {
            let Whole { room, place, past } = read_whole(shared, &mut link, &id)?;
            house.metrics.clock(place.time);
            shared.cache.put(id.no, past);
            let room = house.rooms.adopt(room);
            rooms.insert(id.no, Followed { room, place });
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

    /// Follows the log until the server stops. If the log, or the server's number
    /// in it, is gone for good, `fail` is called.
    pub(super) fn run(mut self, house: &House, shared: &Shared, fail: &dyn Fn()) {
        while !shared.is_stopping() {
            match self.follow(house, shared) {
                Ok(()) => return,
                Err(why @ (SharedError::Replaced | SharedError::NumberTaken)) => {
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
                // The sequencer, which may have nothing to bring, looks there for
                // what never came. A full queue wakes it, too.
                shared.has_moved.store(true, Ordering::SeqCst);
                let _ = shared.proposals.try_send(Proposed::Look);
                link
            }
        };
        while !shared.is_stopping() {
            match link.wait(LISTEN)? {
                Rung::For(rooms) if rooms.is_empty() => link.recognise()?,
                Rung::For(rooms) => self.read(house, shared, &mut link, rooms)?,
                Rung::ForAll => self.check_all(house, shared, &mut link)?,
            }
            shared.rounds.fetch_add(1, Ordering::Relaxed);
            // Not before: a bell that cannot be heard is a trouble that lasts.
            shared.trouble.over(Part::Follower);
        }
        Ok(())
    }

    /// Looks at every room: whether it and what was obeyed in it is still
    /// there, and for what is new.
    fn check_all(
        &mut self,
        house: &House,
        shared: &Shared,
        link: &mut Follower,
    ) -> Result<(), SharedError> {
        let mut all = link.rooms()?;
        let is_there = |id: &RoomId| {
            let at = all.binary_search_by_key(&id.no, |found| found.no);
            at.is_ok_and(|at| all[at] == *id)
        };
        let known = self.rooms.values().map(|f| f.room.lock().id().clone());
        let lost = known.filter(|id| !is_there(id));
        let lost: Vec<RoomId> = lost.map(|id| id.as_ref().clone()).collect();
        link.write_back(&lost)?;
        all.extend(lost);
        let known = self.rooms.iter().filter(|(_, room)| room.place.number > 0);
        let places: Vec<_> = known.map(|(no, room)| (*no, room.place.time)).collect();
        for places in places.chunks(ROOMS_AT_ONCE) {
            let found = link.groups_at(places)?;
            for ((no, _), found) in places.iter().zip(found) {
                let Some(room) = self.rooms.get_mut(no) else {
                    continue;
                };
                let is_there = match found {
                    Some(group) => group == room.place.group,
                    // Others may have trimmed it: it is where the room begins.
                    None => begins_at(link, room)?,
                };
                if !is_there {
                    read_anew(house, shared, link, room)?;
                }
            }
        }
        self.read(house, shared, link, all.iter().map(|id| id.no).collect())
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
                        if followed.place.time > 0 {
                            report::room(&id, followed.place.time);
                        }
                        new.insert(followed)
                    }
                };
                places.push((no, followed.place.time));
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
    let place = Place::of(&beginning);
    shared.cache.put(id.no, shared.cache.fill(place.time));
    let room = house.rooms.adopt(Room::from(beginning.room));
    Ok(Followed { room, place })
}

/// Whether a room begins where it was followed to.
fn begins_at(link: &mut Follower, followed: &Followed) -> Result<bool, SharedError> {
    let id = followed.room.lock().id().clone();
    let beginning = link.beginning(&id)?;
    let place = &followed.place;
    Ok(beginning.room.clock == place.time && beginning.group == place.group)
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
    let now = wall_ms();
    let mut room = followed.room.lock();
    for entry in page {
        if !followed.place.is_before(&entry) {
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
        if let Deed::Say { .. } = entry.command.deed
            && is_mine
        {
            let took = now.saturating_sub(entry.command.wall_ms);
            let took = Duration::from_millis(took.try_into().unwrap_or(0));
            house.metrics.came_back(took);
        }
        let outcome = obey(&mut room, entry.time, &entry.command, claim, ending);
        let is_detached = outcome.step.is_some();
        let mut events = 0;
        if let Some(step) = outcome.step {
            events = u64::from(step.record.event.is_some());
            house.journal.hand_over(Message::Step(step));
        }
        if let (Some(waiter), Some(answer)) = (answer, outcome.answer) {
            let _ = waiter.send(answer); // it may have lost its patience
        }
        if let Some(parted) = parted {
            let _ = parted.send(is_detached); // likewise
        }
        followed.room.see(entry.time);
        // One server is enough: the one whose command it was.
        let is_due = entry.number.is_multiple_of(shared.keep.snapshot_every());
        let is_due = is_due && entry.server() == Some(shared.log.server());
        followed.place.move_to(entry, events);
        if is_due {
            let place = &followed.place;
            snapshots.push(Snapshot {
                room: room.snapshot(),
                number: place.number,
                group: place.group.clone(),
                events: place.events,
                wall_ms: wall_ms(),
            });
        }
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
    let (begins, was_at) = (link.beginning(&id)?.room.clock, followed.place.time);
    match begins > was_at {
        true => log::warn!(
            "{} is kept from L={} on, and this server was at L={was_at}: it is read anew",
            id.shown(),
            begins + 1,
        ),
        false => log::error!(
            "what {} had at L={was_at} is not in Redis any more: it lost what was said last; the \
             room is read anew",
            id.shown(),
        ),
    }
    house.metrics.read_anew();
    let cut = Step::changed(&followed.room.lock(), Change::DismissAll(Ending::ReadAnew));
    house.journal.hand_over(Message::Step(cut));
    // When this is answered, nothing of the room is on its way any more.
    let (ask, answer) = bounded(1);
    house.journal.hand_over(Message::Measure(ask));
    house.journal.ring();
    let _ = answer.recv();
    let Whole { room, place, past } = read_whole(shared, link, &id)?;
    link.confirm(CONFIRM)?;
    {
        // Whoever holds the room finds the past that goes with it.
        let mut known = followed.room.lock();
        shared.cache.put(id.no, past);
        *known = room;
    }
    followed.room.see(place.time);
    followed.place = place;
    report::room(&id, followed.place.time);
    shared.tell_progress();
    Ok(())
}

/// Reads a room from where it begins up to its end, and tells nobody: it
/// happened before this server was there, or before it had to begin anew. It is
/// read apart, so that nobody waits for Redis with it, or sees half of it.
fn read_whole(shared: &Shared, link: &mut Follower, id: &RoomId) -> Result<Whole, SharedError> {
    let mut number = 0;
    for _ in 0..MOVES {
        let beginning = link.beginning(id)?;
        let mut whole = Whole {
            place: Place::of(&beginning),
            past: shared.cache.fill(beginning.room.clock),
            room: Room::from(beginning.room),
        };
        if whole.read_on(shared, link)? {
            return Ok(whole);
        }
        number = whole.place.number;
    }
    Err(SharedError::Damaged {
        key: id.shown(),
        why: format!("what follows its command {number} is missing"),
    })
}

impl Whole {
    /// Obeys everything up to the log's end. Returns false if something is
    /// missing: others have moved the room's beginning since it was read.
    fn read_on(&mut self, shared: &Shared, link: &mut Follower) -> Result<bool, SharedError> {
        let no = self.room.id().no;
        loop {
            let (page, is_full) = link.read(&[(no, self.place.time)])?.remove(0);
            for entry in page {
                if !self.place.is_before(&entry) {
                    return Ok(false);
                }
                // They may have lost their patience.
                match entry.command.deed {
                    Deed::Join { .. } => {
                        if let Some((_, answer)) = shared.waiting.take_join(entry.command.session) {
                            let _ = answer.send(Err(Ending::ReadAnew));
                        }
                    }
                    Deed::Leave { .. } | Deed::Lose { .. } => {
                        if let Some((_, parted)) = shared.waiting.take_part(entry.command.session) {
                            let _ = parted.send(false);
                        }
                    }
                    _ => {}
                }
                let outcome = obey(&mut self.room, entry.time, &entry.command, None, None);
                let mut events = 0;
                if let Some(Step { record, .. }) = outcome.step {
                    events = u64::from(record.event.is_some());
                    self.past.add(&record);
                }
                self.place.move_to(entry, events);
            }
            if !is_full {
                return Ok(true);
            }
        }
    }
}
