//! Reads a room's past from the file.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::not_ours;
use super::readers::Readers;
use crate::chat::{Event, Kind, MemberKey};
use crate::history::{HistoryError, Past, Span};

// Each index gives its events by their time, so SQLite merges them and stops
// at the limit: nothing is sorted, nothing is skipped. Without a viewer `?5`
// is NULL, which equals nothing.

const PAGE: &str = "
    SELECT * FROM events INDEXED BY events_of_room
    WHERE room = ?1 AND time > ?2 AND time <= ?3 AND seen_by IS NULL
    UNION ALL
    SELECT * FROM events INDEXED BY events_of_one
    WHERE room = ?1 AND time > ?2 AND time <= ?3 AND seen_by = ?5
    UNION ALL
    SELECT * FROM events INDEXED BY events_of_other
    WHERE room = ?1 AND time > ?2 AND time <= ?3 AND also_seen_by = ?5
    ORDER BY time LIMIT ?4";

const FIRST_OF_LAST: &str = "
    SELECT time FROM events INDEXED BY events_of_room
    WHERE room = ?1 AND time > ?2 AND time <= ?3 AND seen_by IS NULL
    UNION ALL
    SELECT time FROM events INDEXED BY events_of_one
    WHERE room = ?1 AND time > ?2 AND time <= ?3 AND seen_by = ?5
    UNION ALL
    SELECT time FROM events INDEXED BY events_of_other
    WHERE room = ?1 AND time > ?2 AND time <= ?3 AND also_seen_by = ?5
    ORDER BY time DESC LIMIT 1 OFFSET ?4";

/// The highest key of those who alone, or as one of two, saw an event of a
/// room: the last entry of each index.
const LAST_VIEWER: &str = "
    SELECT max(
      ifnull((SELECT max(seen_by) FROM events INDEXED BY events_of_one
              WHERE room = ?1 AND seen_by IS NOT NULL), 0),
      ifnull((SELECT max(also_seen_by) FROM events INDEXED BY events_of_other
              WHERE room = ?1 AND also_seen_by IS NOT NULL), 0))";

const FLOOR: &str = "SELECT floor FROM rooms WHERE no = ?1";

/// Makes sure that the tables are there to be read.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    for sql in [PAGE, FIRST_OF_LAST, LAST_VIEWER, FLOOR] {
        connection.prepare_cached(sql)?;
    }
    Ok(())
}

/// The half that reads.
pub(super) struct SqlitePast {
    readers: Arc<Readers>,
}

impl SqlitePast {
    pub(super) fn new(readers: Arc<Readers>) -> Self {
        Self { readers }
    }
}

impl Past for SqlitePast {
    fn read(
        &self,
        room: u32,
        span: Span,
        viewer: Option<MemberKey>,
    ) -> Result<Vec<Event>, HistoryError> {
        let viewer = viewer.map(|key| key.0.cast_signed());
        let limit = i64::try_from(span.limit).unwrap_or(i64::MAX);
        self.readers.read(|connection| {
            span.above(floor(connection, room)?)?;
            let mut page = connection.prepare_cached(PAGE)?;
            let page =
                page.query_map(params![room, span.after, span.up_to, limit, viewer], event)?;
            Ok(page.collect::<Result<_, _>>()?)
        })
    }

    fn position_of_last(
        &self,
        room: u32,
        count: usize,
        up_to: i64,
        viewer: Option<MemberKey>,
    ) -> Result<i64, HistoryError> {
        let viewer = viewer.map(|key| key.0.cast_signed());
        self.readers.read(|connection| {
            let floor = floor(connection, room)?;
            let Some(before_first) = count.checked_sub(1) else {
                return Ok(up_to.max(floor));
            };
            let offset = i64::try_from(before_first).unwrap_or(i64::MAX);
            let first: Option<i64> = connection
                .prepare_cached(FIRST_OF_LAST)?
                .query_row(params![room, floor, up_to, offset, viewer], |row| {
                    row.get(0)
                })
                .optional()?;
            Ok(first.map_or(floor, |first| first - 1))
        })
    }
}

/// The Lamport time up to which events may have been removed, or 0.
fn floor(connection: &Connection, room: u32) -> rusqlite::Result<i64> {
    let floor = connection
        .prepare_cached(FLOOR)?
        .query_row([room], |row| row.get(0))
        .optional()?;
    Ok(floor.unwrap_or(0))
}

/// The highest key in the audience of any of a room's private events, or 0.
pub(super) fn last_viewer(connection: &Connection, room: u32) -> rusqlite::Result<MemberKey> {
    let last: i64 = connection
        .prepare_cached(LAST_VIEWER)?
        .query_row([room], |row| row.get(0))?;
    Ok(MemberKey(last.cast_unsigned()))
}

/// An event from all columns of its row, in the order of `schema.sql`.
fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        time: row.get(1)?,
        seq: row.get::<_, i64>(2)?.cast_unsigned(),
        kind: kind(row, 3)?,
        sender_id: row.get(4)?,
        sender: row.get(5)?,
        text: row.get(6)?,
        sent: row.get(7)?,
        wall_ms: row.get(8)?,
        to: row.get(9)?,
    })
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    let found = row.get_ref(column)?;
    let text = found.as_str()?;
    Kind::of_word(text).ok_or_else(|| {
        let why = format!("«{text}» is no kind of event");
        not_ours(column, found.data_type(), why)
    })
}

/// How many steps SQLite makes for a page of five events, for the position of
/// the last five, and for the last viewer of a room.
#[cfg(test)]
pub(super) fn steps(connection: &Connection, room: u32, viewer: MemberKey) -> [i32; 3] {
    use rusqlite::StatementStatus::{FullscanStep, Sort, VmStep};
    let viewer = viewer.0.cast_signed();
    [
        (PAGE, Some(5), 5),
        (FIRST_OF_LAST, Some(4), 1),
        (LAST_VIEWER, None, 1),
    ]
    .map(|(sql, limit, rows)| {
        let mut statement = connection.prepare(sql).unwrap();
        let found = match limit {
            Some(limit) => statement.query(params![room, 0, i64::MAX, limit, viewer]),
            None => statement.query([room]),
        };
        assert_eq!(found.unwrap().mapped(|_| Ok(())).count(), rows);
        assert_eq!(statement.get_status(FullscanStep), 0);
        assert_eq!(statement.get_status(Sort), 0);
        statement.get_status(VmStep)
    })
}
