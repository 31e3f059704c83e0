//! The way into the log: groups of commands, each appended once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{Connection, Script, ScriptInvocation};

use super::entry::{fields, tag};
use super::{
    BELL, LOG, NAMES, RING, RINGS, ROOMS, SharedError, SharedLog, connected, stream, tip,
    write_back,
};
use crate::chat::{Command, Name, RoomId};

/// How long Redis remembers which of a server's groups it has. A server that
/// has no answer asks again far sooner.
const RECORD: Duration = Duration::from_secs(24 * 60 * 60);

/// A command that seeks its place.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The number of its room.
    pub room: u32,
    /// What is to be done.
    pub command: Command,
}

/// Appends groups of commands.
pub struct Appender {
    log: SharedLog,
    connection: Option<Connection>,
    append: Script,
    open_room: Script,
    /// The number of the next group.
    group: u64,
    /// The last group that Redis said it has, and when it did.
    taken: Option<(u64, Instant)>,
}

impl Appender {
    /// An appender for one server's life: it numbers the server's groups.
    pub fn new(log: SharedLog) -> Self {
        Self {
            log,
            connection: None,
            append: Script::new(include_str!("append.lua")),
            open_room: Script::new(include_str!("open_room.lua")),
            group: 1,
            taken: None,
        }
    }

    /// Connects, if it has no connection, and returns whether it had to. Redis
    /// then knows whether it gave places before, and has the rooms that `known`
    /// tells, so that nothing is appended to a room, or opened as one, that a
    /// failover has made another's.
    ///
    /// # Errors
    /// What Redis says; [`SharedError::Replaced`] if a room's number or name is
    /// another's now.
    pub fn connect(&mut self, known: impl FnOnce() -> Vec<RoomId>) -> Result<bool, SharedError> {
        let is_new = self.connection.is_none();
        if is_new {
            let connection = connected(&self.log, &mut self.connection)?;
            let done =
                (self.log.begin_term(connection)).and_then(|()| write_back(connection, &known()));
            self.unless_failed(done)?;
        }
        Ok(is_new)
    }

    /// Gives its connection up, which may lead to where the log no longer is.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Whether Redis has lost a group that it had, as it may where another has
    /// taken its place. Each loss is told once.
    ///
    /// # Errors
    /// What Redis says.
    pub fn has_lost(&mut self) -> Result<bool, SharedError> {
        // Nobody waits any more for what was appended so long ago.
        let Some((taken, _)) = self.taken.filter(|(_, at)| at.elapsed() < RECORD / 2) else {
            return Ok(false);
        };
        let record = record(&self.log);
        let found = connected(&self.log, &mut self.connection).and_then(|connection| {
            let found: Option<u64> = redis::cmd("GET").arg(record).query(connection)?;
            Ok(found)
        });
        let has_lost = self.unless_failed(found)?.unwrap_or(0) < taken;
        if has_lost {
            self.taken = None;
        }
        Ok(has_lost)
    }

    /// Gives the connection up after an error.
    fn unless_failed<T>(&mut self, done: Result<T, SharedError>) -> Result<T, SharedError> {
        if done.is_err() {
            self.connection = None;
        }
        done
    }

    /// Appends a group, in order. `seen` tells the highest Lamport time that
    /// this server has seen in a room: no command gets a lower place, even
    /// where Redis has lost what was there. `highest` is the highest that it has
    /// seen in any: so far ahead may be who is in several rooms.
    ///
    /// # Errors
    /// [`SharedError::Replaced`] if the log is gone; what Redis says. Whether the
    /// group was appended is not known then; the same group must be brought
    /// again until it is taken.
    pub fn append(
        &mut self,
        group: &[Proposal],
        mut seen: impl FnMut(u32) -> i64,
        highest: i64,
    ) -> Result<(), SharedError> {
        let mut rooms: Vec<u32> = Vec::new();
        let mut at_of: HashMap<u32, usize> = HashMap::new();
        for proposal in group {
            at_of.entry(proposal.room).or_insert_with(|| {
                rooms.push(proposal.room);
                rooms.len()
            });
        }
        let server = self.log.server;
        let mut call = self.append.prepare_invoke();
        call.key(record(&self.log)).key(BELL).key(RING).key(LOG);
        call.arg(self.group)
            .arg(tag(server, self.group))
            .arg(RECORD.as_millis() as u64)
            .arg(RINGS)
            .arg(&self.log.id)
            .arg(rooms.len())
            .arg(highest);
        for room in rooms {
            call.key(stream(room)).key(tip(room));
            call.arg(room).arg(seen(room));
        }
        for Proposal { room, command } in group {
            let fields = fields(command);
            call.arg(at_of[room])
                .arg(command.sent())
                .arg(2 * fields.len());
            for (field, value) in fields {
                call.arg(field).arg(value);
            }
        }
        let done = invoke(&self.log, &mut self.connection, &call);
        self.unless_failed(done)?;
        self.taken = Some((self.group, Instant::now()));
        self.group += 1;
        Ok(())
    }

    /// Opens a room, unless it is open or there are `most` already. Its number is
    /// told by the bell.
    ///
    /// # Errors
    /// [`SharedError::Replaced`] if the log is gone; what Redis says. It does no
    /// harm to ask again.
    pub fn open_room(&mut self, name: &Name, most: usize) -> Result<(), SharedError> {
        let mut call = self.open_room.prepare_invoke();
        for key in [ROOMS, NAMES, BELL, RING, LOG] {
            call.key(key);
        }
        call.arg(name.folded()).arg(name.as_str()).arg(RINGS);
        call.arg(&self.log.id).arg(most);
        let done = invoke(&self.log, &mut self.connection, &call);
        self.unless_failed(done)
    }
}

/// Invokes a script that does nothing, and says so, where it finds another log.
fn invoke(
    log: &SharedLog,
    connection: &mut Option<Connection>,
    call: &ScriptInvocation<'_>,
) -> Result<(), SharedError> {
    match call.invoke(connected(log, connection)?)? {
        true => Ok(()),
        false => Err(SharedError::Replaced),
    }
}

/// Where Redis remembers which of this server's groups it has.
fn record(log: &SharedLog) -> String {
    format!("chitchat:group:{}", log.server)
}
