//! The connections that read, shared by all threads. Knows nothing of what is
//! read.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{connect, explain};
use crate::history::HistoryError;

/// The most connections at a time; whoever comes when all are lent out waits.
/// A read is a few index look-ups: more would only contend for the disk.
const MAX_READERS: usize = 4;

/// A bounded pool of connections that cannot write.
pub(super) struct Readers {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Places that are not lent out; an empty one becomes a connection when it
    /// is needed. The last returned is lent first, since it has the most pages
    /// at hand.
    places: Vec<Option<Connection>>,
    /// Whether none may be lent.
    paused: bool,
}

/// A place, lent out; comes back when it is dropped.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

/// While it lives nobody reads.
pub(super) struct Pause<'a>(&'a Readers);

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Mutex::new(State {
                places: (0..MAX_READERS).map(|_| None).collect(),
                paused: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Opens all that are not open yet: once many clients have come, there may be
    /// no descriptor left for one.
    pub(super) fn open_all(&self) -> Result<(), HistoryError> {
        let mut lent = [(); MAX_READERS].map(|()| self.lend());
        let mut all = lent.iter_mut();
        let opened = all.try_for_each(|lent| {
            // SQLite opens its log with the first look at what is there.
            let look = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let connection = lent.connection()?;
            connection.pragma_query_value(None, "schema_version", look)?;
            Ok(())
        });
        opened.map_err(|why| explain(&self.path, why))
    }

    /// Runs `query` on a connection, in one transaction: all that it reads is
    /// of one moment, which is not before this call.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let mut lent = self.lend();
        lent.connection()
            .and_then(|connection| Ok(connection.transaction()?))
            .and_then(|transaction| query(&transaction))
            .map_err(|why| explain(&self.path, why))
    }

    /// Lets nobody begin to read, and waits until nobody reads. `None`:
    /// somebody still did after `patience`.
    pub(super) fn pause(&self, patience: Duration) -> Option<Pause<'_>> {
        let mut state = self.state();
        state.paused = true;
        let pause = Pause(self);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.places.len() < MAX_READERS)
            .unwrap_or_else(PoisonError::into_inner);
        let quiet = state.places.len() == MAX_READERS;
        drop(state); // before the pause, which locks it too
        quiet.then_some(pause)
    }

    /// Closes what is not lent out. It opens again when it is needed.
    pub(super) fn close(&self) {
        self.state().places.fill_with(|| None);
    }

    fn lend(&self) -> Lent<'_> {
        let mut state = self
            .changed
            .wait_while(self.state(), |s| s.paused || s.places.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        Lent {
            readers: self,
            connection: state.places.pop().flatten(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    fn connection(&mut self) -> Result<&mut Connection, HistoryError> {
        Ok(match &mut self.connection {
            Some(open) => open,
            closed => closed.insert(connect(
                &self.readers.path,
                OpenFlags::SQLITE_OPEN_READ_ONLY,
            )?),
        })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.readers.state().places.push(self.connection.take());
        self.readers.changed.notify_all();
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.state().paused = false;
        self.0.changed.notify_all();
    }
}
