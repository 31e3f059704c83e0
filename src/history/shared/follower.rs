//! The way out of the log: what was appended, read back in order.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Connection, Script};

use super::connect::ANSWER;
use super::entry::{self, Entry};
use super::snapshot::Snapshot;
use super::{BELL, ROOMS, SharedError, SharedLog, beginning, stream};
use crate::chat::{Name, RoomId};

/// Rings that are heard at once.
const RINGS_AT_ONCE: usize = 1000;

/// Entries of one room that are read at once.
const PAGE: usize = 1000;

/// Entries of a stream as Redis gives them: ids, and fields and values in turn.
type Page = Vec<(String, Vec<String>)>;

/// Reads the log on one connection. After an error it is of no use any more.
pub struct Follower {
    log: SharedLog,
    connection: Connection,
    groups_at: Script,
    /// The number of the last ring that it heard.
    heard: u64,
}

/// What the bell told.
#[derive(Debug, PartialEq, Eq)]
pub enum Rung {
    /// There may be something new in these rooms.
    For(Vec<u32>),
    /// There may be something new in any room.
    ForAll,
}

impl Follower {
    /// Connects. Whatever is appended from now on rings the bell; what was
    /// before is to be read room by room.
    ///
    /// # Errors
    /// What Redis says; [`SharedError::Replaced`] if the log is gone.
    pub fn connect(log: &SharedLog) -> Result<Self, SharedError> {
        let mut connection = log.connect()?;
        let last: Page = redis::cmd("XREVRANGE")
            .arg(&[BELL, "+", "-", "COUNT", "1"])
            .query(&mut connection)?;
        let heard = match last.first() {
            Some((id, _)) => ring(id)?,
            None => 0,
        };
        Ok(Self {
            log: log.clone(),
            connection,
            groups_at: Script::new(include_str!("groups_at.lua")),
            heard,
        })
    }

    /// Waits until there is something new, at most for `patience`, which must
    /// be shorter than Redis's answer may take.
    ///
    /// # Errors
    /// What Redis says.
    pub fn wait(&mut self, patience: Duration) -> Result<Rung, SharedError> {
        debug_assert!(patience < ANSWER);
        let rung: Option<Vec<(String, Page)>> = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(RINGS_AT_ONCE)
            .arg("BLOCK")
            .arg(patience.as_millis() as u64)
            .arg(&["STREAMS", BELL])
            .arg(format!("{}-0", self.heard))
            .query(&mut self.connection)?;
        let mut rooms = Vec::new();
        let mut is_gapless = true;
        for (id, values) in rung.into_iter().flatten().flat_map(|(_, rings)| rings) {
            let number = ring(&id)?;
            is_gapless &= number == self.heard + 1;
            self.heard = number;
            let named = values.get(1).map_or("", String::as_str);
            for room in named.split(' ') {
                match room.parse() {
                    Ok(room) if rooms.contains(&room) => {}
                    Ok(room) => rooms.push(room),
                    Err(_) => return Err(damaged(BELL, format!("it rang for {named:?}"))),
                }
            }
        }
        Ok(match is_gapless {
            true => Rung::For(rooms),
            false => Rung::ForAll,
        })
    }

    /// Checks that Redis still holds this log, and this server's number in it.
    ///
    /// # Errors
    /// [`SharedError::Replaced`] or [`SharedError::NumberTaken`] if it does not;
    /// what Redis says.
    pub fn recognise(&mut self) -> Result<(), SharedError> {
        self.log.recognise(&mut self.connection)
    }

    /// All rooms, by their numbers.
    ///
    /// # Errors
    /// What Redis says.
    pub fn rooms(&mut self) -> Result<Vec<RoomId>, SharedError> {
        let found: Vec<(u32, String)> = redis::cmd("HGETALL")
            .arg(ROOMS)
            .query(&mut self.connection)?;
        let mut rooms = found
            .into_iter()
            .map(|(no, name)| room_id(no, &name))
            .collect::<Result<Vec<_>, _>>()?;
        rooms.sort_by_key(|room| room.no);
        Ok(rooms)
    }

    /// Writes back rooms that Redis has lost.
    ///
    /// # Errors
    /// What Redis says; [`SharedError::Replaced`] if a room's number or name is
    /// another's now.
    pub fn write_back(&mut self, rooms: &[RoomId]) -> Result<(), SharedError> {
        super::write_back(&mut self.connection, rooms)
    }

    /// The room with this number.
    ///
    /// # Errors
    /// What Redis says.
    pub fn room(&mut self, no: u32) -> Result<RoomId, SharedError> {
        let name: Option<String> = redis::cmd("HGET")
            .arg(ROOMS)
            .arg(no)
            .query(&mut self.connection)?;
        match name {
            Some(name) => room_id(no, &name),
            None => Err(damaged(ROOMS, format!("room {no} is missing"))),
        }
    }

    /// What follows in each of these rooms after the Lamport time beside it: at
    /// most a page each. `true`: there may be more.
    ///
    /// # Errors
    /// What Redis says; an entry cannot be read.
    pub fn read(&mut self, rooms: &[(u32, i64)]) -> Result<Vec<(Vec<Entry>, bool)>, SharedError> {
        let mut call = redis::cmd("XREAD");
        call.arg("COUNT").arg(PAGE).arg("STREAMS");
        for (room, _) in rooms {
            call.arg(stream(*room));
        }
        for (_, after) in rooms {
            call.arg(format!("{after}-0"));
        }
        let found: Option<Vec<(String, Page)>> = call.query(&mut self.connection)?;
        let mut found: HashMap<String, Page> = found.into_iter().flatten().collect();
        let read = |(room, _): &(u32, i64)| {
            let key = stream(*room);
            let page = found.remove(&key).unwrap_or_default();
            let is_full = page.len() == PAGE;
            let entries = page.iter().map(|(id, values)| {
                let entry = entry::read(id, values);
                entry.ok_or_else(|| damaged(&key, format!("{id} cannot be read")))
            });
            Ok((entries.collect::<Result<_, SharedError>>()?, is_full))
        };
        rooms.iter().map(read).collect()
    }

    /// The group that each of these rooms has at the Lamport time beside it.
    ///
    /// # Errors
    /// What Redis says.
    pub fn groups_at(&mut self, places: &[(u32, i64)]) -> Result<Vec<Option<String>>, SharedError> {
        let mut call = self.groups_at.prepare_invoke();
        for (room, time) in places {
            call.key(stream(*room)).arg(format!("{time}-0"));
        }
        Ok(call.invoke(&mut self.connection)?)
    }

    /// The snapshot at which a room begins: every command after it is kept.
    ///
    /// # Errors
    /// What Redis says; it cannot be read.
    pub fn beginning(&mut self, id: &RoomId) -> Result<Snapshot, SharedError> {
        let key = beginning(id.no);
        let found: Vec<String> = redis::cmd("ZRANGE")
            .arg(&key)
            .arg(&[0, 0])
            .query(&mut self.connection)?;
        let read = |text: &String| {
            Snapshot::parse(id, self.log.most_remembered, text)
                .ok_or_else(|| damaged(&key, "the snapshot cannot be read".to_owned()))
        };
        match found.first() {
            Some(text) => read(text),
            None => Ok(Snapshot::of_nothing(id, self.log.most_remembered)),
        }
    }

    /// Adds a snapshot to its room's list, and lets the room begin at the last
    /// one that `may_begin` allows.
    ///
    /// # Errors
    /// What Redis says.
    pub fn keep_snapshot(
        &mut self,
        snapshot: &Snapshot,
        may_begin: impl Fn(&Snapshot) -> bool,
    ) -> Result<(), SharedError> {
        super::snapshot::keep(
            &mut self.connection,
            self.log.most_remembered,
            snapshot,
            may_begin,
        )
    }

    /// Waits until as many replicas as the server asks for hold everything that
    /// this follower has read, at most for `patience`. Replicas take all writes
    /// in one order, so it makes a write and waits for that: there where it
    /// reads, since in a failover another way may lead to another Redis.
    ///
    /// # Errors
    /// What Redis says; [`SharedError::Replicas`] if they are too few.
    pub fn confirm(&mut self, patience: Duration) -> Result<(), SharedError> {
        let wanted = self.log.store.replicas;
        if wanted == 0 {
            return Ok(());
        }
        let ((), found): ((), usize) = redis::pipe()
            .cmd("SET")
            .arg(format!("chitchat:confirm:{}", self.log.server))
            .arg(self.heard)
            .arg("PX")
            .arg(60_000)
            .cmd("WAIT")
            .arg(wanted)
            .arg(patience.as_millis() as u64)
            .query(&mut self.connection)?;
        match found >= wanted {
            true => Ok(()),
            false => Err(SharedError::Replicas { wanted, found }),
        }
    }
}

fn ring(id: &str) -> Result<u64, SharedError> {
    let number = id.strip_suffix("-0").and_then(|number| number.parse().ok());
    number.ok_or_else(|| damaged(BELL, format!("{id} is no ring's number")))
}

fn room_id(no: u32, name: &str) -> Result<RoomId, SharedError> {
    let name = Name::parse(name)
        .map_err(|why| damaged(ROOMS, format!("the name of room {no} is none: {why}")))?;
    Ok(RoomId { no, name })
}

fn damaged(key: &str, why: String) -> SharedError {
    SharedError::Damaged {
        key: key.to_owned(),
        why,
    }
}
