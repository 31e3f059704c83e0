//! What the threads of the terminal know in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chat::sanitise;

/// What is known of the server, and the line being typed.
#[derive(Debug, Default)]
pub(super) struct Known {
    online: AtomicBool,
    /// Sanitised, by the name without regard to case.
    names: Mutex<BTreeMap<String, String>>,
    rooms: Mutex<Vec<String>>,
    line: Mutex<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Whether the connection stands.
    pub(super) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// Sets it; returns what it was.
    pub(super) fn set_online(&self, online: bool) -> bool {
        self.online.swap(online, Ordering::Relaxed)
    }

    /// Who is in the room, for completion.
    pub(super) fn names(&self) -> Vec<String> {
        locked(&self.names).values().cloned().collect()
    }

    pub(super) fn came(&self, name: &str) {
        locked(&self.names).insert(name.to_lowercase(), sanitise(name).into_owned());
    }

    pub(super) fn went(&self, name: &str) {
        locked(&self.names).remove(&name.to_lowercase());
    }

    pub(super) fn forget_names(&self) {
        locked(&self.names).clear();
    }

    /// Rooms heard of, for completion.
    pub(super) fn rooms(&self) -> Vec<String> {
        locked(&self.rooms).clone()
    }

    pub(super) fn set_rooms(&self, rooms: Vec<String>) {
        *locked(&self.rooms) = rooms;
    }

    /// Remembers the line being typed.
    pub(super) fn typing(&self, line: &str) {
        line.clone_into(&mut locked(&self.line));
    }

    /// The line that was being typed, once.
    pub(super) fn take_line(&self) -> String {
        std::mem::take(&mut locked(&self.line))
    }
}
