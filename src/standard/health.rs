//! Whether the server serves, for those who ask once and those who watch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rpc::{Connection, Listener, Streamed};
use crate::wire::{Ending, Health};

/// What the health service says. Clones are one board.
#[derive(Clone)]
pub struct HealthBoard(Arc<Board>);

struct Board {
    /// Full names of the services that it speaks for, beside the whole.
    services: Vec<String>,
    /// Set by whoever finds that nothing can be served any more, without a
    /// lock.
    broken: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    serving: bool,
    /// No watcher comes any more.
    closed: bool,
    watches: Vec<(String, Connection)>,
}

impl HealthBoard {
    /// A board for a server that does not serve yet.
    pub fn new(services: Vec<String>) -> Self {
        Self(Arc::new(Board {
            services,
            broken: AtomicBool::new(false),
            state: Mutex::default(),
        }))
    }

    /// Adds the service to a listener.
    pub fn serve(&self, listener: Listener) -> Listener {
        let (for_check, for_watch) = (self.clone(), self.clone());
        listener.health(
            move |service| for_check.of(service),
            move |service, streamed| for_watch.watch(service, streamed),
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The health of a service.
    pub fn of(&self, service: &str) -> Health {
        let serving = self.state().serving;
        self.health_of(service, serving)
    }

    fn health_of(&self, service: &str, serving: bool) -> Health {
        if !service.is_empty() && !self.0.services.iter().any(|s| s == service) {
            return Health::Unknown;
        }
        match serving && !self.0.broken.load(Ordering::Acquire) {
            true => Health::Serving,
            false => Health::NotServing,
        }
    }

    fn watch(&self, service: String, streamed: Streamed) {
        let connection = streamed.into_connection();
        let mut state = self.state();
        state.watches.retain(|(_, watch)| !watch.is_over());
        if state.closed {
            return connection.refuse(Ending::Stopping);
        }
        show(&connection, self.health_of(&service, state.serving));
        state.watches.push((service, connection));
    }

    /// From now on the server serves.
    pub fn serving(&self) {
        let mut state = self.state();
        state.serving = !state.closed;
        self.show_all(&state);
    }

    /// For now the server does not serve: tells the watchers.
    pub fn pause(&self) {
        let mut state = self.state();
        state.serving = false;
        self.show_all(&state);
    }

    /// Says to whoever asks that the server does not serve any more. Takes no
    /// lock; watchers learn it from [`stop`](Self::stop).
    pub fn fail(&self) {
        self.0.broken.store(true, Ordering::Release);
    }

    /// From now on the server does not serve: tells the watchers, and ends
    /// their streams.
    pub fn stop(&self) {
        let mut state = self.state();
        state.serving = false;
        state.closed = true;
        self.show_all(&state);
        for (_, watch) in &state.watches {
            watch.outbox().close(Ending::Stopping);
        }
    }

    /// After [`stop`](Self::stop): cancels the streams of watchers that do not
    /// read to the end within `patience`.
    pub fn end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let watches = std::mem::take(&mut self.state().watches);
        for (_, watch) in watches {
            let left = deadline.saturating_duration_since(Instant::now());
            watch.finish(Ending::Stopping, left);
        }
    }

    fn show_all(&self, state: &State) {
        for (service, watch) in &state.watches {
            show(watch, self.health_of(service, state.serving));
        }
    }
}

fn show(watch: &Connection, health: Health) {
    if let Ok(frame) = health.to_frame() {
        // A watcher reads two states at most behind.
        let _ = watch.outbox().queue(&frame);
        drop(watch.outbox().wake());
    }
}
