//! Where events are kept: one way to append a group, one to read a room's past.
//!
//! The journal thread alone owns the [`Journal`] half and appends through it;
//! any thread reads through the [`Past`] half, which shows only what has been
//! appended wholly. Neither knows of sessions or of gRPC.

mod keep;
mod memory;
pub mod shared;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use shared::{SharedError, SharedStore};

use crate::chat::{Audience, Event, MemberKey, RoomId, StoredMember, StoredRoom};

pub(crate) use keep::HEADWAY;
pub use keep::Keep;
pub use memory::{Cache, Filling};

/// Where to keep the rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In this process: gone when it ends.
    Memory,
    /// In an SQLite file, made if it is missing, together with its folder.
    Sqlite(PathBuf),
    /// In a log that several servers share; what is read of the past is kept
    /// in this process too.
    Shared(SharedStore),
}

/// One step of a room, as its journal keeps it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Which room.
    pub room: Arc<RoomId>,
    /// The room's Lamport time after this step. Kept even where no event is,
    /// so that no time is ever used twice.
    pub clock: i64,
    /// What is kept of it for those who read the past; `None` where only the
    /// clock and the roster move (a participant resumed).
    pub event: Option<(Event, Audience)>,
    /// Who said what became this event, also if it was refused. If the event's
    /// `sent` is above 0, that becomes this participant's
    /// [`StoredMember::last_sent`]. `None` where nothing was said: a JOIN or
    /// LEAVE does not move it.
    pub author: Option<MemberKey>,
    /// How the roster changes.
    pub roster: Roster,
}

/// How a step changes who is in the room and who is remembered.
#[derive(Debug, Clone)]
pub enum Roster {
    /// Not at all.
    Same,
    /// This participant is in the room now (`present` is true).
    Entered(Box<StoredMember>),
    /// This participant left.
    Parted {
        /// Who.
        key: MemberKey,
        /// Whether to remember it (with `present` false) or to forget it.
        remembered: bool,
        /// Who is to be forgotten, too.
        forgotten: Vec<MemberKey>,
    },
}

/// The half that writes. Closes the store when it is dropped: the file is free
/// for another server then, although the other half still reads.
pub trait Journal: Send {
    /// Keeps a group of steps, in order: wholly or, on an error, not at all.
    /// When it returns `Ok`, the group survives whatever the store promises to
    /// survive (SQLite: the loss of power).
    ///
    /// # Errors
    /// What the store says. After one error nothing is appended any more, and
    /// every call ends in [`HistoryError::Poisoned`]: nobody can know what the
    /// disk holds.
    fn append(&mut self, group: &[Record]) -> Result<(), HistoryError>;
}

/// The half that reads. Everything that it returns has been appended wholly.
pub trait Past: Send + Sync {
    /// The events of a room with `after < time <= up_to` that `viewer` may
    /// see (`None`: only what the whole room sees), by rising time, at most
    /// `limit` of them. Of a room that is not known there are none.
    ///
    /// # Errors
    /// [`HistoryError::Gone`] if events after `after` are no longer kept;
    /// what the store says.
    fn read(
        &self,
        room: u32,
        span: Span,
        viewer: Option<MemberKey>,
    ) -> Result<Vec<Event>, HistoryError>;

    /// The Lamport time after which the last `count` events lie that
    /// `viewer` may see and whose time is at most `up_to`. If fewer are kept,
    /// the time after which all that are kept lie. The cost grows with `count`.
    ///
    /// # Errors
    /// What the store says.
    fn position_of_last(
        &self,
        room: u32,
        count: usize,
        up_to: i64,
        viewer: Option<MemberKey>,
    ) -> Result<i64, HistoryError>;
}

/// A stretch of Lamport time of one room: `after < time <= up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The time of the last event before the stretch.
    pub after: i64,
    /// The time of the last event that may belong to it.
    pub up_to: i64,
    /// The most events to return.
    pub limit: usize,
}

impl Span {
    /// Checks that all of the stretch is kept, where events up to `floor` may
    /// have been removed (0: none).
    fn above(&self, floor: i64) -> Result<(), HistoryError> {
        if self.after.max(0) < floor {
            return Err(HistoryError::Gone(floor + 1));
        }
        Ok(())
    }
}

/// An opened store.
pub struct Opened {
    /// Every room, as it was left, by its number; those who left it in the
    /// order in which they did.
    pub rooms: Vec<StoredRoom>,
    /// The highest key that it knows, of a member or of one who alone saw an
    /// event. Nobody new may get one up to it: whoever left without being
    /// remembered is no member any more, but what was private is still there.
    pub last_key: MemberKey,
    /// The half that writes.
    pub journal: Box<dyn Journal>,
    /// The half that reads.
    pub past: Arc<dyn Past>,
    /// For a history in memory: fills it beside its journal.
    pub cache: Option<Cache>,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another server has the file.
    #[error("{0} is in use by another server")]
    InUse(PathBuf),
    /// The file was written by another version, or is not ours at all.
    #[error("{path} is not a store that this version can read: {why}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file is damaged.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What the check said.
        why: String,
    },
    /// The events asked for are no longer kept.
    #[error("events before L={0} are no longer kept")]
    Gone(i64),
    /// The folder of the file cannot be made.
    #[error("cannot make the folder of {path}")]
    Folder {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened, locked or made.
    #[error("cannot open {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An append failed before this one; see [`Journal::append`].
    #[error("the store takes nothing more since it failed")]
    Poisoned,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] rusqlite::Error),
    /// The log that servers share failed.
    #[error("the log that servers share cannot be used")]
    Shared(#[from] SharedError),
}

impl Store {
    /// Opens the store.
    ///
    /// # Errors
    /// Why it cannot be opened; an existing file is left as it was.
    pub fn open(&self) -> Result<Opened, HistoryError> {
        self.open_keeping(self.usual_keep())
    }

    /// Opens the store, to keep so much of each room's past.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn open_keeping(&self, keep: Keep) -> Result<Opened, HistoryError> {
        match self {
            Store::Memory | Store::Shared(_) => Ok(memory::open(keep)),
            Store::Sqlite(path) => sqlite::open(path, keep),
        }
    }

    /// How much it keeps where nothing else is said.
    pub fn usual_keep(&self) -> Keep {
        match self {
            Store::Memory | Store::Shared(_) => Keep::Events(100_000),
            Store::Sqlite(_) => Keep::Everything,
        }
    }
}
