//! Events kept in an SQLite file.
//!
//! One file is one history, and one server at a time writes it. Here it is
//! found or made, locked and recognised; [`journal`] writes it, [`past`] reads
//! it through the connections of [`readers`].

mod journal;
mod past;
mod readers;
#[cfg(test)]
mod tests;
mod trim;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, access};

use self::journal::SqliteJournal;
use self::past::SqlitePast;
use self::readers::Readers;
use super::{HistoryError, Keep, Opened};
use crate::chat::{MemberKey, Name, RoomId, Secret, StoredMember, StoredRoom};

/// «CHIT»: whose file it is, in the header of every SQLite file.
const APPLICATION_ID: i32 = 0x4348_4954;

/// The version of the layout in `schema.sql`.
const LAYOUT: i32 = 1;

pub(super) fn open(path: &Path, keep: Keep) -> Result<Opened, HistoryError> {
    let path = place(path)?;
    let lock = Lock::take(&path)?;
    match path.symlink_metadata() {
        Err(why) if why.kind() == io::ErrorKind::NotFound => create(&path)?,
        Err(source) => return Err(HistoryError::File { path, source }),
        // an empty file is an empty database to SQLite; a history never is one
        Ok(found) if found.len() == 0 => {
            let why = "it is empty; if it never held a history, remove it".to_owned();
            return Err(HistoryError::Damaged { path, why });
        }
        Ok(_) => {}
    }
    // SQLite would open a file that can only be read, and fail at the first
    // append. What it makes beside such a file can only be read, too.
    if let Err(why) = access(&path, Access::WRITE_OK) {
        let source = why.into();
        return Err(HistoryError::File { path, source });
    }
    // Nothing is written before a connection that cannot write has seen whose
    // file it is: not even closing it would carry another's log into it.
    let readers = Arc::new(Readers::new(path.clone()));
    let (rooms, last_key) = readers.read(|connection| {
        recognise(connection, &path)?;
        measure(connection, &path)?;
        past::prepare(connection)?;
        let rooms = load(connection)?;
        if let Some((room, last)) = rooms.iter().find(|(room, last)| *last > room.clock) {
            return Err(HistoryError::Damaged {
                path: path.clone(),
                why: format!(
                    "room {} has an event at L={last}, past its clock",
                    room.id.no
                ),
            });
        }
        let rooms: Vec<_> = rooms.into_iter().map(|(room, _)| room).collect();
        let last_key = last_key(connection, &rooms)?;
        Ok((rooms, last_key))
    })?;
    let journal = SqliteJournal::open(path, readers.clone(), lock, keep)?;
    readers.open_all()?;
    Ok(Opened {
        rooms,
        last_key,
        journal: Box::new(journal),
        past: Arc::new(SqlitePast::new(readers)),
        cache: None,
    })
}

/// Where the file truly lies, so that two names of it share one lock. Makes
/// its folder, for its owner alone.
fn place(path: &Path) -> Result<PathBuf, HistoryError> {
    let failed = |source| HistoryError::Folder {
        path: path.to_owned(),
        source,
    };
    if let Ok(found) = path.canonicalize() {
        // Before anything is made beside it.
        return match found.is_dir() {
            true => Err(HistoryError::File {
                path: found,
                source: io::ErrorKind::IsADirectory.into(),
            }),
            false => Ok(found),
        };
    }
    let whole = std::path::absolute(path).map_err(failed)?;
    let (Some(folder), Some(file)) = (whole.parent(), whole.file_name()) else {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    };
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(failed)?;
    Ok(folder.canonicalize().map_err(failed)?.join(file))
}

/// The path with something behind its name, as SQLite names its own
/// companions.
fn companion(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Opens a file for its owner alone, making it if it is missing.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Says that a server has the file, while it lives. The kernel lets go of it
/// when the process ends, however it ends.
///
/// It is on a companion: on the file itself it could meet SQLite's own locks,
/// which a process loses for a file as soon as it closes any handle of it. The
/// companion stays behind, for whoever removed it could remove one that
/// another server has just locked.
struct Lock(File);

impl Lock {
    fn take(path: &Path) -> Result<Self, HistoryError> {
        let companion = companion(path, ".lock");
        let taken = private(&companion)
            .map_err(TryLockError::Error)
            .and_then(|file| file.try_lock().map(|()| Self(file)));
        taken.map_err(|why| match why {
            TryLockError::WouldBlock => HistoryError::InUse(path.to_owned()),
            TryLockError::Error(source) => HistoryError::File {
                path: companion,
                source,
            },
        })
    }
}

impl Drop for Lock {
    /// Closing the file is not enough while a process that is just being
    /// started has a copy of the handle.
    fn drop(&mut self) {
        if let Err(why) = self.0.unlock() {
            log::warn!("cannot unlock the history: {why}");
        }
    }
}

/// Makes a history in which nothing has happened, beside its place, and moves
/// it there when it is whole: a crash leaves a whole file or none.
fn create(path: &Path) -> Result<(), HistoryError> {
    let log = companion(path, "-wal");
    if log.exists() {
        let why = format!(
            "it is missing, but its log {} is there; \
             bring it back, or remove the log to begin anew",
            log.display()
        );
        let path = path.to_owned();
        return Err(HistoryError::Damaged { path, why });
    }
    let new = companion(path, ".new");
    let failed = |source| HistoryError::File {
        path: new.clone(),
        source,
    };
    for left_by_a_crash in [&new, &companion(&new, "-wal"), &companion(&new, "-journal")] {
        match fs::remove_file(left_by_a_crash) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(why)),
            _ => {}
        }
    }
    private(&new).map_err(failed)?;
    let mut connection = connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("sqlite/schema.sql"))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()?;
    // closing brings the log into the file, syncs it and removes the log
    connection.close().map_err(|(_, why)| why)?;
    fs::rename(&new, path).map_err(failed)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(failed)?;
    }
    Ok(())
}

/// A connection to a file that exists. It belongs to one thread at a time.
fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Whether it is a history, and of a version that can be read.
fn recognise(connection: &Connection, path: &Path) -> Result<(), HistoryError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let foreign = |why| HistoryError::Foreign {
        path: path.to_owned(),
        why,
    };
    let whose = number("application_id").map_err(|why| match why.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => foreign("it is not an SQLite file".to_owned()),
        _ => HistoryError::Store(why),
    })?;
    if whose != APPLICATION_ID {
        return Err(foreign(format!(
            "it belongs to another application ({whose:#010x})"
        )));
    }
    match number("user_version")? {
        LAYOUT => Ok(()),
        other => Err(foreign(format!(
            "its layout has version {other}, this program knows version {LAYOUT}"
        ))),
    }
}

/// Whether its end is there. SQLite misses whole pages itself, but reads what is
/// missing of the last one as zeros. With a log it may be so rightly: a crash
/// while a page was carried from there is made good from there.
fn measure(connection: &Connection, path: &Path) -> Result<(), HistoryError> {
    let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    if size(path) % u64::from(page) != 0 && size(&companion(path, "-wal")) == 0 {
        return Err(HistoryError::Damaged {
            path: path.to_owned(),
            why: "its end is missing".to_owned(),
        });
    }
    Ok(())
}

/// Every room as it was left, with the Lamport time of its last event.
fn load(connection: &Connection) -> rusqlite::Result<Vec<(StoredRoom, i64)>> {
    let mut rooms = connection.prepare(
        "SELECT no, name, clock, seq,
           ifnull((SELECT max(time) FROM events WHERE room = no), 0)
         FROM rooms ORDER BY no",
    )?;
    // those who left in the order in which they did, as they are remembered
    let mut members = connection.prepare(
        "SELECT key, id, name, secret, joined, last_sent, parted IS NULL
         FROM members WHERE room = ?1 ORDER BY parted, joined",
    )?;
    let rooms = rooms.query_map([], |row| {
        let id = RoomId {
            no: row.get(0)?,
            name: name(row, 1)?,
        };
        let members = members.query_map([id.no], member)?;
        let room = StoredRoom {
            clock: row.get(2)?,
            seq: row.get::<_, i64>(3)?.cast_unsigned(),
            members: members.collect::<Result<_, _>>()?,
            id,
        };
        Ok((room, row.get(4)?))
    })?;
    rooms.collect()
}

/// See [`Opened::last_key`].
fn last_key(connection: &Connection, rooms: &[StoredRoom]) -> rusqlite::Result<MemberKey> {
    let members = rooms.iter().flat_map(|room| &room.members);
    let mut last = members.map(|m| m.key).max().unwrap_or(MemberKey(0));
    for room in rooms {
        last = last.max(past::last_viewer(connection, room.id.no)?);
    }
    Ok(last)
}

fn member(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredMember> {
    Ok(StoredMember {
        key: MemberKey(row.get::<_, i64>(0)?.cast_unsigned()),
        id: row.get(1)?,
        name: name(row, 2)?,
        secret: row.get::<_, Option<[u8; 32]>>(3)?.map(Secret),
        joined: row.get(4)?,
        last_sent: row.get(5)?,
        present: row.get(6)?,
    })
}

fn name(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Name> {
    let text = row.get_ref(column)?;
    Name::parse(text.as_str()?).map_err(|why| not_ours(column, text.data_type(), why))
}

/// A value that no history of ours holds.
fn not_ours(
    column: usize,
    data_type: rusqlite::types::Type,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, data_type, why.into())
}

/// Says of what the store reports whether it means that the file is damaged:
/// SQLite says so, or tables or values are not what this program writes.
fn explain(path: &Path, error: HistoryError) -> HistoryError {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    let HistoryError::Store(why) = error else {
        return error;
    };
    match why.sqlite_error_code() {
        Some(code) if !matches!(code, Unknown | DatabaseCorrupt | NotADatabase) => {
            HistoryError::Store(why)
        }
        _ => HistoryError::Damaged {
            path: path.to_owned(),
            why: why.to_string(),
        },
    }
}
