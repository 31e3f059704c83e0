//! A log that several servers share, in Redis Streams: it gives every command
//! its place, and every server obeys it in that order.
//!
//! A room's stream holds the commands of its room; an entry's id is its
//! Lamport time. [`Appender`] appends groups of commands, [`Follower`] reads
//! them back, [`Leases`] knows which servers live, and [`Snapshot`]s let a room
//! begin later than at its beginning. Each has a connection of its own, and
//! gives it up after an error: whoever uses it connects again.
//!
//! | key | what |
//! |---|---|
//! | `chitchat:log` | hash: `id` of this log, `layout`, `remembered`, `servers` (the last server's number), `redis` (who gave places last) and `term` (how often that changed) |
//! | `chitchat:rooms`, `chitchat:names` | hashes: number → name, folded name → number |
//! | `chitchat:room:N` | stream: the commands of room N, at `L-0` |
//! | `chitchat:tip:N` | hash: `L` and `n` (number) of the room's last command, and its `term` |
//! | `chitchat:begin:N` | sorted set: snapshots of room N by `L`; the stream holds every command after the first |
//! | `chitchat:bell`, `chitchat:rings` | stream: which rooms have something new; the number of its last entry |
//! | `chitchat:servers`, `chitchat:server:S` | set of servers; a key that server S renews while it lives, with what tells it from another of that number |
//! | `chitchat:group:S` | number of the last group of server S that was appended; gone after a day |
//! | `chitchat:confirm:S` | what server S writes to wait until replicas have it |
//!
//! The bell spares the follower to name thousands of streams with each call:
//! it waits for the bell alone, and reads the rooms that were rung for.

mod appender;
mod connect;
mod entry;
mod follower;
mod leases;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redis::{Connection, RedisError, Script};

use crate::chat::{RoomId, ServerNo};

use connect::Source;

pub use appender::{Appender, Proposal};
pub use connect::SharedStore;
pub use entry::Entry;
pub use follower::{Follower, Rung};
pub use leases::{Census, Leases};
pub use snapshot::Snapshot;

/// The version of the layout of the keys.
const LAYOUT: &str = "1";

/// Rings that the bell keeps, about. A follower that is further behind looks
/// at every room.
const RINGS: usize = 10_000;

/// Rooms that are written back in one call.
const ROOMS_AT_ONCE: usize = 1000;

/// What can go wrong with the shared log.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Redis says so, or cannot be reached.
    #[error("Redis: {0}")]
    Redis(RedisError),
    /// Redis did not answer in time: it hangs, or speaks without TLS where TLS is
    /// asked for.
    #[error("Redis does not answer")]
    Silent,
    /// The log was written by another version.
    #[error("the log in Redis has layout {0}, which this version cannot read")]
    Foreign(String),
    /// The log that this server follows is gone, or holds other rooms under the
    /// numbers of this server's.
    #[error("Redis holds another log than before, or none: its data was lost or removed")]
    Replaced,
    /// Another server got this one's number: Redis had lost that it was taken.
    #[error("another server has the number of this one, which Redis had lost")]
    NumberTaken,
    /// Something in it cannot be read.
    #[error("{key} in Redis is damaged: {why}")]
    Damaged {
        /// Which key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Too few replicas hold what was read.
    #[error("{found} of {wanted} replicas hold what was said last")]
    Replicas {
        /// How many there must be.
        wanted: usize,
        /// How many answered.
        found: usize,
    },
}

/// No source: the text of an error of Redis holds those of its causes.
impl From<RedisError> for SharedError {
    fn from(error: RedisError) -> Self {
        match error.is_timeout() {
            true => Self::Silent,
            false => Self::Redis(error),
        }
    }
}

/// The log, as one server shares it.
#[derive(Clone)]
pub struct SharedLog {
    source: Arc<Source>,
    store: SharedStore,
    id: String,
    /// The last term of which this server has heard: the log may forget it.
    term: Arc<AtomicI64>,
    server: ServerNo,
    /// What this server's lease says, and no other's.
    token: String,
    most_remembered: usize,
}

impl SharedLog {
    /// Finds the log, or begins it, and takes a number for this server.
    ///
    /// # Errors
    /// Redis cannot be reached, or holds a log of another version.
    pub fn open(store: &SharedStore, most_remembered: usize) -> Result<Self, SharedError> {
        let source = Source::new(store)?;
        let mut connection = source.connect()?;
        warn_if_volatile(&mut connection);
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(|why| RedisError::from(std::io::Error::other(why)))?;
        let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        // No transaction: where Redis refuses one, the crate's arithmetic fails.
        let (id, layout, remembered): (String, String, usize) = redis::pipe()
            .cmd("HSETNX")
            .arg(&[LOG, "id", &token])
            .ignore()
            .cmd("HSETNX")
            .arg(&[LOG, "layout", LAYOUT])
            .ignore()
            .cmd("HSETNX")
            .arg(&[LOG, "remembered"])
            .arg(most_remembered)
            .ignore()
            .cmd("HGET")
            .arg(&[LOG, "id"])
            .cmd("HGET")
            .arg(&[LOG, "layout"])
            .cmd("HGET")
            .arg(&[LOG, "remembered"])
            .query(&mut connection)?;
        if layout != LAYOUT {
            return Err(SharedError::Foreign(layout));
        }
        let server = leases::enter(&mut connection, store.lease, &token)?;
        let log = Self {
            source: Arc::new(source),
            store: store.clone(),
            id,
            term: Arc::default(),
            server,
            token,
            most_remembered: remembered,
        };
        // Not later: whoever is here first after a failover must not take it for
        // the one that gave the first places.
        log.begin_term(&mut connection)?;
        Ok(log)
    }

    /// Which log: an id that no other has.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// This server's number.
    pub fn server(&self) -> ServerNo {
        self.server
    }

    /// How it is shared.
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// How many participants that left each room remembers. All servers must
    /// do the same, so the first one decided.
    pub fn most_remembered(&self) -> usize {
        self.most_remembered
    }

    /// A connection to this log and no other, where nobody else has this server's
    /// number.
    fn connect(&self) -> Result<Connection, SharedError> {
        let mut connection = self.source.connect()?;
        self.recognise(&mut connection)?;
        Ok(connection)
    }

    fn recognise(&self, connection: &mut Connection) -> Result<(), SharedError> {
        type Found = ((Option<String>, Option<i64>), Option<String>);
        let ((id, term), holder): Found = redis::pipe()
            .cmd("HMGET")
            .arg(&[LOG, "id", "term"])
            .cmd("GET")
            .arg(leases::lease(self.server))
            .query(connection)?;
        if id.as_ref() != Some(&self.id) {
            return Err(SharedError::Replaced);
        }
        if holder.is_some_and(|holder| holder != self.token) {
            return Err(SharedError::NumberTaken);
        }
        self.term.fetch_max(term.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    /// Notes that this Redis gives places from now on, and that this server's
    /// number is taken. Where it is not the one that gave places last, the clocks
    /// of all rooms leap, see `append.lua`.
    fn begin_term(&self, connection: &mut Connection) -> Result<(), SharedError> {
        let told: Result<String, _> = redis::cmd("INFO").arg("replication").query(connection);
        let told = told.unwrap_or_default();
        let id = told.lines().find_map(|l| l.strip_prefix("master_replid:"));
        if id.is_none() {
            log::warn!(
                "Redis does not tell who it is (INFO replication): a failover that loses something \
                 may give Lamport times again, and whoever saw what was lost miss what has them"
            );
        }
        Script::new(include_str!("term.lua"))
            .key(LOG)
            .arg(self.server)
            .arg(self.term.load(Ordering::Relaxed))
            .arg(id.map_or("", str::trim))
            .invoke::<()>(connection)?;
        Ok(())
    }
}

/// Sees to it that Redis has these rooms: a failover may have lost their
/// opening, and their numbers must not become other rooms'.
fn write_back(connection: &mut Connection, rooms: &[RoomId]) -> Result<(), SharedError> {
    let script = Script::new(include_str!("write_back.lua"));
    for rooms in rooms.chunks(ROOMS_AT_ONCE) {
        let mut call = script.prepare_invoke();
        for key in [ROOMS, NAMES, BELL, RING] {
            call.key(key);
        }
        call.arg(RINGS);
        for RoomId { no, name } in rooms {
            call.arg(no).arg(name.folded()).arg(name.as_str());
        }
        if !call.invoke::<bool>(connection)? {
            return Err(SharedError::Replaced);
        }
    }
    Ok(())
}

/// The connection, made if there is none.
fn connected<'a>(
    log: &SharedLog,
    connection: &'a mut Option<Connection>,
) -> Result<&'a mut Connection, SharedError> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(log.connect()?)),
    }
}

const LOG: &str = "chitchat:log";
const ROOMS: &str = "chitchat:rooms";
const NAMES: &str = "chitchat:names";
const BELL: &str = "chitchat:bell";
const RING: &str = "chitchat:rings";

fn stream(room: u32) -> String {
    format!("chitchat:room:{room}")
}

fn tip(room: u32) -> String {
    format!("chitchat:tip:{room}")
}

fn beginning(room: u32) -> String {
    format!("chitchat:begin:{room}")
}

/// What Redis keeps in memory alone is gone when it restarts.
fn warn_if_volatile(connection: &mut Connection) {
    let found: Result<Vec<String>, _> = redis::cmd("CONFIG")
        .arg(&["GET", "appendonly"])
        .query(connection);
    // Whoever may not ask is told nothing.
    if found.is_ok_and(|found| found.last().is_some_and(|value| value == "no")) {
        log::warn!(
            "Redis writes nothing down at once (appendonly no): a restart of it loses what was said last"
        );
    }
}
