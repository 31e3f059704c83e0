//! Removes from the file what need not be kept any more: with each group a
//! bounded number of events, in the group's own transaction.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::history::{Keep, Record};

/// Events of one room that go with one group at most, besides twice as many as
/// the group has of it: so what is to go is gone sooner than it comes.
const PORTION: u64 = 64;

const OLDEST: &str = "SELECT time, wall_ms FROM events WHERE room = ?1 ORDER BY time LIMIT ?2";
const REMOVE: &str = "DELETE FROM events WHERE room = ?1 AND time <= ?2";
const RAISE: &str = "UPDATE rooms SET floor = ?2 WHERE no = ?1";

pub(super) struct Trim {
    keep: Keep,
    /// How many events each room has.
    events: HashMap<u32, u64>,
    /// Whose turn it is of the rooms that need not have anything in a group.
    turn: u32,
}

impl Trim {
    pub(super) fn new(connection: &Connection, keep: Keep) -> rusqlite::Result<Self> {
        let mut trim = Self {
            keep,
            events: HashMap::new(),
            turn: 0,
        };
        if keep != Keep::Everything {
            let mut count =
                connection.prepare("SELECT room, count(*) FROM events GROUP BY room")?;
            let counts = count.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            for count in counts {
                let (room, events) = count?;
                trim.events.insert(room, events.cast_unsigned());
            }
        }
        Ok(trim)
    }

    /// Removes what need not be kept, now that a group has been.
    pub(super) fn after(
        &mut self,
        transaction: &Connection,
        group: &[Record],
    ) -> rusqlite::Result<()> {
        if self.keep == Keep::Everything {
            return Ok(());
        }
        let mut added: HashMap<u32, u64> = HashMap::new();
        let mut now = 0;
        for record in group {
            if let Some((event, _)) = &record.event {
                *added.entry(record.room.no).or_default() += 1;
                now = event.wall_ms;
            }
        }
        for (room, added) in &added {
            *self.events.entry(*room).or_default() += added;
        }
        if added.is_empty() {
            return Ok(()); // it tells no time
        }
        // Where nothing is said any more, things grow old too.
        let last = self.events.keys().max().copied().unwrap_or(0);
        self.turn = if self.turn < last { self.turn + 1 } else { 1 };
        added.entry(self.turn).or_default();
        for (room, added) in added {
            self.trim(transaction, room, 2 * added + PORTION, now)?;
        }
        Ok(())
    }

    fn trim(
        &mut self,
        transaction: &Connection,
        room: u32,
        portion: u64,
        now: i64,
    ) -> rusqlite::Result<()> {
        let Some(events) = self.events.get_mut(&room) else {
            return Ok(());
        };
        let mut floor = None;
        {
            let mut oldest = transaction.prepare_cached(OLDEST)?;
            let mut rows = oldest.query(params![room, portion.cast_signed()])?;
            while let Some(row) = rows.next()? {
                let wall_ms: i64 = row.get(1)?;
                let age_ms = now.saturating_sub(wall_ms);
                if !self.keep.lets_go(events.saturating_sub(1), age_ms) {
                    break;
                }
                *events -= 1;
                floor = Some(row.get::<_, i64>(0)?);
            }
        }
        if let Some(floor) = floor {
            transaction
                .prepare_cached(REMOVE)?
                .execute(params![room, floor])?;
            transaction
                .prepare_cached(RAISE)?
                .execute(params![room, floor])?;
        }
        Ok(())
    }
}
