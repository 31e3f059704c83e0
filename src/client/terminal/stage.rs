//! Whose turn the terminal is: nothing is printed while the editor draws its
//! first line or has just given one back.
//!
//! rustyline prints above the line being typed only while a line is being
//! typed; before and after, its printer writes wherever the cursor happens to
//! stand. What its printer has taken is lost, too, with an editor that is dropped
//! before it has drawn it. So lines wait here, and the helper puts them before
//! the prompt whenever the editor draws; the printer only makes it draw.
//!
//! It also has no way to end a line from another thread, except that a SIGINT
//! does, as Ctrl-C does: so this process sends itself one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

/// How long to wait for the line to end before the next signal. A signal can
/// come a moment before the editor listens, and is then lost.
const SIGNAL_AGAIN: Duration = Duration::from_millis(100);

/// Ends the line that the editor has begun on this thread. It first takes the
/// keys that it has read, and no others.
pub(super) fn interrupt() {
    if let Err(why) = raise(Signal::SIGINT) {
        log::warn!("cannot end the line being typed: {why}");
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    /// The main thread does something with a line, or begins one.
    #[default]
    Between,
    /// A line is being typed.
    Editing,
    /// No line is typed any more.
    Over,
}

#[derive(Debug, Default)]
struct State {
    turn: Turn,
    ending: bool,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Stage {
    state: Mutex<State>,
    changed: Condvar,
    /// Finished lines that nobody has drawn yet.
    lines: Mutex<String>,
}

impl Stage {
    fn lines(&self) -> MutexGuard<'_, String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are to be drawn next, above the line being typed.
    pub(super) fn put(&self, lines: &str) {
        self.lines().push_str(lines);
    }

    /// What is to be drawn now, once.
    pub(super) fn take(&self) -> String {
        std::mem::take(&mut self.lines())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether that is news.
    fn turn(&self, turn: Turn) -> bool {
        let mut state = self.state();
        let is_new = state.turn != turn && state.turn != Turn::Over;
        if is_new {
            state.turn = turn;
            self.changed.notify_all();
        }
        is_new
    }

    /// The editor draws its line. Returns whether for the first time.
    pub(super) fn editing(&self) -> bool {
        self.turn(Turn::Editing)
    }

    /// The line is complete.
    pub(super) fn between(&self) {
        self.turn(Turn::Between);
    }

    /// There is no editor any more.
    pub(super) fn over(&self) {
        self.turn(Turn::Over);
    }

    /// Whether there is no editor any more.
    pub(super) fn is_over(&self) -> bool {
        self.state().turn == Turn::Over
    }

    /// Whether no further line is to be read.
    pub(super) fn is_ending(&self) -> bool {
        self.state().ending
    }

    /// Waits until something may be printed.
    pub(super) fn wait_to_print(&self) {
        let state = self.state();
        drop(
            self.changed
                .wait_while(state, |s| s.turn == Turn::Between)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Ends the line being typed, and returns when there is no editor any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ending = true;
        while state.turn != Turn::Over {
            if state.turn == Turn::Editing {
                // To the process and not to a thread: the system then prefers
                // the main thread, where the editor waits for a key.
                if let Err(why) = kill(Pid::this(), Signal::SIGINT) {
                    log::warn!("cannot end the line being typed: {why}");
                }
            }
            state = self
                .changed
                .wait_timeout(state, SIGNAL_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
