//! Removes from the file what need not be kept any more: with each group a
//! bounded number of events, in the group's own transaction.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::history::{Keep, Record};

/// Events of one room that go with one group at most, besides twice as many as
/// the group has of it: so what is to go is gone sooner than it comes.
const PORTION: u64 = 64;

/// How many events each room has: of those that all see the last number and the
/// first tell it, which have none missing between them; the others are counted.
/// To count all of a large file would take seconds.
const COUNT: &str = "
    SELECT no,
      ifnull(1 + seq - (SELECT seq FROM events INDEXED BY events_of_room
                        WHERE room = no AND seen_by IS NULL ORDER BY time LIMIT 1), 0)
      + (SELECT count(*) FROM events INDEXED BY events_of_one
         WHERE room = no AND seen_by IS NOT NULL)
    FROM rooms";

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
            let mut count = connection.prepare(COUNT)?;
            let counts = count.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            for count in counts {
                let (room, events) = count?;
                // A person may have changed what is there.
                let events = u64::try_from(events).unwrap_or(0);
                trim.events.insert(room, events);
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
                *events = events.saturating_sub(1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Audience, MemberKey};
    use crate::history::Store;
    use crate::history::tests::{message, room};

    #[test]
    fn events_are_counted_without_a_look_at_each() {
        use rusqlite::StatementStatus::VmStep;
        const EVENTS: i64 = 5000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let store = Store::Sqlite(path.clone());
        let rooms = [1, 2, 3].map(|no| room(no, &format!("room {no}")));
        let mut opened = store.open_keeping(Keep::Events(EVENTS as u64)).unwrap();
        let (mut seq, mut group) = (0, Vec::new());
        for time in 1..=2 * EVENTS {
            // the first has events that few see, at its beginning and its end too
            let mut first = message(&rooms[0], time, 0);
            let (event, audience) = first.event.as_mut().unwrap();
            *audience = match time % 50 {
                1 => Audience::One(MemberKey(3)),
                0 => Audience::Two(MemberKey(3), MemberKey(5)),
                _ => Audience::Room,
            };
            if *audience == Audience::Room {
                seq += 1;
                event.seq = seq;
            }
            group.extend([first, message(&rooms[1], time, time as u64)]);
            if time % 500 == 0 {
                opened.journal.append(&group).unwrap();
                group.clear();
            }
        }
        // nothing was ever said in the last
        let mut silent = message(&rooms[2], 1, 0);
        silent.event = None;
        opened.journal.append(&[silent]).unwrap();
        drop(opened);

        let connection = Connection::open(&path).unwrap();
        let trim = Trim::new(&connection, Keep::Events(9)).unwrap();
        let counted = |room: u32| {
            let sql = "SELECT count(*) FROM events WHERE room = ?1";
            let count = connection.query_row(sql, [room], |row| row.get::<_, i64>(0));
            count.unwrap().cast_unsigned()
        };
        for room in 1..=3 {
            assert_eq!(trim.events[&room], counted(room), "room {room}");
        }
        assert_eq!(trim.events[&1], EVENTS as u64);
        let mut count = connection.prepare(COUNT).unwrap();
        assert_eq!(count.query([]).unwrap().mapped(|_| Ok(())).count(), 3);
        let steps = count.get_status(VmStep);
        assert!(i64::from(steps) < EVENTS / 2, "{steps} steps");
    }
}
