//! Appends to the file: a group is one transaction.

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::readers::Readers;
use super::trim::Trim;
use super::{Lock, connect, explain};
use crate::chat::Audience;
use crate::history::{HistoryError, Journal, Keep, Record, Roster};

/// How long an append waits for a person's tool that writes to the file.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// How many pages of 4 KiB the write-ahead log holds when it is carried into
/// the file and begun anew. The append that reaches it pays for it: a larger
/// log would make that stall longer, a smaller one more frequent.
const LOG_PAGES: usize = 1000;

/// The size in bytes to which the log's file is cut when a long read has made
/// it larger.
const LOG_BYTES: i64 = 16 << 20;

/// How long that append waits for reads to end.
const READS_PATIENCE: Duration = Duration::from_millis(50);

const KEEP_EVENT: &str = "
    INSERT INTO events (room, time, seq, kind, sender_id, sender, text, sent, wall_ms,
                        recipient, seen_by, also_seen_by)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

const MOVE_ROOM: &str = "
    INSERT INTO rooms (no, name, clock, seq) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (no) DO UPDATE SET clock = excluded.clock, seq = max(seq, excluded.seq)";

const ENTER: &str = "
    INSERT OR REPLACE INTO members (room, key, id, name, secret, joined, last_sent, parted)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)";

const SENT: &str = "UPDATE members SET last_sent = ?3 WHERE room = ?1 AND key = ?2";

const PART: &str = "UPDATE members SET parted = ?3 WHERE room = ?1 AND key = ?2";

const FORGET: &str = "DELETE FROM members WHERE room = ?1 AND key = ?2";

/// The half that writes.
pub(super) struct SqliteJournal {
    /// `None` after an append that failed.
    connection: Option<Connection>,
    trim: Trim,
    path: PathBuf,
    readers: Arc<Readers>,
    /// How many pages the write-ahead log holds, and with how many it is to be
    /// begun anew.
    log_pages: Arc<AtomicUsize>,
    log_limit: usize,
    /// Says that the file is in use. The last field, for it must be let go
    /// only when the connection is closed.
    _lock: Lock,
}

impl SqliteJournal {
    pub(super) fn open(
        path: PathBuf,
        readers: Arc<Readers>,
        lock: Lock,
        keep: Keep,
    ) -> Result<Self, HistoryError> {
        let log_pages = Arc::default();
        let connection = prepared(&path, &log_pages).map_err(|why| explain(&path, why.into()))?;
        let trim = Trim::new(&connection, keep).map_err(|why| explain(&path, why.into()))?;
        Ok(Self {
            trim,
            connection: Some(connection),
            log_pages,
            log_limit: LOG_PAGES,
            path,
            readers,
            _lock: lock,
        })
    }

    /// Carries the log into the file, to be begun anew, if it has reached its
    /// limit. SQLite's own checkpoint would wait for a moment without readers,
    /// which never comes while reads overlap.
    fn bound_log(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.log_limit {
            return;
        }
        let nobody_reads = self.readers.pause(READS_PATIENCE);
        let done = checkpoint(connection);
        drop(nobody_reads);
        self.log_limit = match done {
            Ok(true) => LOG_PAGES,
            // a long read, or another program's; again when it has grown as much
            Ok(false) => pages + LOG_PAGES,
            // the group is kept all the same
            Err(why) => {
                log::warn!("cannot checkpoint {}: {why}", self.path.display());
                pages + LOG_PAGES
            }
        };
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, group: &[Record]) -> Result<(), HistoryError> {
        let Some(connection) = &mut self.connection else {
            return Err(HistoryError::Poisoned);
        };
        if let Err(why) = keep(connection, group, &mut self.trim) {
            self.connection = None;
            return Err(explain(&self.path, why.into()));
        }
        self.bound_log();
        Ok(())
    }
}

impl Drop for SqliteJournal {
    /// Lets the connection that writes be the last, so that SQLite carries the
    /// log into the file and removes it.
    fn drop(&mut self) {
        self.readers.close();
    }
}

/// A connection that can write, ready to, and telling the size of its log.
fn prepared(path: &Path, log_pages: &Arc<AtomicUsize>) -> rusqlite::Result<Connection> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(WRITER_PATIENCE)?;
    // a commit is on the disk itself, on systems too where a sync alone is not
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;",
    )?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    let pages = log_pages.clone();
    // takes the place of SQLite's own checkpoints
    connection.wal_hook(Some(move |_: &mut Wal, now: c_int| {
        pages.store(usize::try_from(now).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))?;
    // a log that can only be read shows itself now, not at the first append
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
    for sql in [KEEP_EVENT, MOVE_ROOM, ENTER, SENT, PART, FORGET] {
        connection.prepare_cached(sql)?;
    }
    Ok(connection)
}

/// Carries the log into the file as far as no reader needs it; `true`: all of
/// it, so that the next commit begins it anew.
fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| {
        row.get::<_, bool>(0)
    });
    connection.busy_timeout(WRITER_PATIENCE)?;
    Ok(!busy?)
}

fn keep(connection: &mut Connection, group: &[Record], trim: &mut Trim) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut keep_event = transaction.prepare_cached(KEEP_EVENT)?;
        let mut move_room = transaction.prepare_cached(MOVE_ROOM)?;
        let mut sent = transaction.prepare_cached(SENT)?;
        for record in group {
            let room = record.room.no;
            let seq = record.event.as_ref().map_or(0, |(event, _)| event.seq);
            let name = record.room.name.as_str();
            move_room.execute(params![room, name, record.clock, seq.cast_signed()])?;
            change_roster(&transaction, record)?;
            let Some((event, audience)) = &record.event else {
                continue;
            };
            let (seen_by, also_seen_by) = match *audience {
                Audience::Room => (None, None),
                Audience::Two(a, b) if a != b => (Some(a), Some(b)),
                Audience::One(a) | Audience::Two(a, _) => (Some(a), None),
            };
            keep_event.execute(params![
                room,
                event.time,
                event.seq.cast_signed(),
                event.kind.word(),
                event.sender_id,
                event.sender,
                event.text,
                event.sent,
                event.wall_ms,
                event.to,
                seen_by.map(|key| key.0.cast_signed()),
                also_seen_by.map(|key| key.0.cast_signed()),
            ])?;
            if let (Some(author), true) = (record.author, event.sent > 0) {
                sent.execute(params![room, author.0.cast_signed(), event.sent])?;
            }
        }
    }
    trim.after(&transaction, group)?;
    transaction.commit()
}

fn change_roster(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let room = record.room.no;
    match &record.roster {
        Roster::Same => {}
        Roster::Entered(member) => {
            connection.prepare_cached(ENTER)?.execute(params![
                room,
                member.key.0.cast_signed(),
                member.id,
                member.name.as_str(),
                member.secret.map(|secret| secret.0),
                member.joined,
                member.last_sent,
            ])?;
        }
        Roster::Parted {
            key,
            remembered,
            forgotten,
        } => {
            let mut forget = connection.prepare_cached(FORGET)?;
            if *remembered {
                connection.prepare_cached(PART)?.execute(params![
                    room,
                    key.0.cast_signed(),
                    record.clock
                ])?;
            } else {
                forget.execute(params![room, key.0.cast_signed()])?;
            }
            for forgotten in forgotten {
                forget.execute(params![room, forgotten.0.cast_signed()])?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sqlite;
    use crate::history::tests::{message, room};

    fn journal(path: &Path) -> SqliteJournal {
        drop(sqlite::open(path, Keep::Everything).unwrap());
        let lock = Lock::take(path).unwrap();
        let readers = Arc::new(Readers::new(path.to_owned()));
        SqliteJournal::open(path.to_owned(), readers, lock, Keep::Everything).unwrap()
    }

    fn messages(times: std::ops::Range<i64>) -> Vec<Record> {
        let room = room(1, "Chit Chat");
        times
            .map(|time| message(&room, time, time.cast_unsigned()))
            .collect()
    }

    fn count(connection: &Connection) -> i64 {
        connection
            .query_row("SELECT count(*) FROM events", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn a_commit_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder.path().join("history.db"));
        let connection = journal.connection.as_ref().unwrap();
        let pragma =
            |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        assert_eq!(pragma("journal_mode").unwrap(), "wal");
        let full = connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i32>(0));
        assert_eq!(full.unwrap(), 2);
    }

    #[test]
    fn a_file_that_may_not_grow_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let mut journal = journal(&path);
        journal.append(&messages(1..10)).unwrap();
        let connection = journal.connection.as_ref().unwrap();
        let pages = connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
        let most =
            connection.pragma_update_and_check(None, "max_page_count", pages.unwrap(), |row| {
                row.get::<_, i64>(0)
            });
        most.unwrap();
        let why = journal.append(&messages(10..1000)).unwrap_err();
        let HistoryError::Store(why) = why else {
            panic!("{why:?}");
        };
        assert_eq!(why.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        drop(journal);
        let opened = sqlite::open(&path, Keep::Everything).unwrap();
        assert_eq!((opened.rooms[0].clock, opened.rooms[0].seq), (9, 9));
    }

    #[test]
    fn a_read_is_of_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(&folder.path().join("history.db"));
        journal.append(&messages(1..10)).unwrap();
        let readers = journal.readers.clone();
        let counts = readers.read(|connection| {
            let before = count(connection);
            journal.append(&messages(10..20))?;
            Ok((before, count(connection)))
        });
        assert_eq!(counts.unwrap(), (9, 9));
        assert_eq!(readers.read(|c| Ok(count(c))).unwrap(), 19);
    }

    #[test]
    fn the_log_stays_small_while_reads_overlap() {
        // Never begun anew it would have 35 MB by the end. On a busy machine
        // a read may now and then take so long that it grows by 4 MB more.
        const MOST: u64 = 24 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let mut journal = journal(&path);
        let readers = journal.readers.clone();
        let log = sqlite::companion(&path, "-wal");
        let (end, ended) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                let (readers, ended) = (readers.clone(), ended.clone());
                threads.spawn(move || {
                    while ended.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                        readers.read(|connection| Ok(count(connection))).unwrap();
                    }
                });
            }
            for first in (1..200_000).step_by(1000) {
                journal.append(&messages(first..first + 1000)).unwrap();
                let size = log.metadata().unwrap().len();
                assert!(size < MOST, "{size} bytes at L={first}");
            }
            drop(end);
        });
        assert_eq!(count(journal.connection.as_ref().unwrap()), 200_000);
    }

    #[test]
    fn a_person_who_reads_for_long_does_not_stop_the_appends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        let mut journal = journal(&path);
        journal.append(&messages(1..10)).unwrap();
        let person = Connection::open(&path).unwrap();
        person.execute_batch("BEGIN").unwrap();
        assert_eq!(count(&person), 9);
        journal.append(&messages(10..60_000)).unwrap();
        assert!(journal.log_limit > LOG_PAGES, "the log is still needed");
        assert_eq!(count(&person), 9);
        person.execute_batch("COMMIT").unwrap();
        journal.append(&messages(60_000..120_000)).unwrap();
        assert_eq!(journal.log_limit, LOG_PAGES, "it is begun anew");
        assert_eq!(count(&person), 119_999);
    }
}
