//! The terminal's modes. The editor gives the terminal back after each line;
//! without this, keys that are pressed before the next line begins would be
//! echoed, or mean what they mean to a shell: Ctrl-D would be lost, Ctrl-C a
//! signal.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{
    InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use nix::unistd::Pid;
use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, RepeatCount};

/// Sequences that switch the bracketing of pastes.
const PASTE_ON: &[u8] = b"\x1b[?2004h";
const PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// Keys come one by one and are not echoed, until this is dropped.
pub(super) struct KeyByKey {
    original: Arc<Mutex<Termios>>,
}

fn set(modes: &Termios) -> nix::Result<()> {
    // What was typed already must not be dropped.
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, modes)
}

impl KeyByKey {
    /// Begins; the terminal is the standard input.
    ///
    /// # Errors
    /// It is no terminal.
    pub(super) fn begin() -> io::Result<Self> {
        let original = tcgetattr(io::stdin())?;
        let mut modes = original.clone();
        modes.local_flags &=
            !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::IEXTEN | LocalFlags::ISIG);
        modes.input_flags &= !(InputFlags::ICRNL | InputFlags::IXON);
        modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        set(&modes)?;
        Ok(Self {
            original: Arc::new(Mutex::new(original)),
        })
    }

    /// What Ctrl-Z does: the shell gets its terminal as it was.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper(self.original.clone())
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        let original = self.original.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(why) = set(&original) {
            log::warn!("cannot give the terminal back: {why}"); // it is gone
        }
    }
}

/// Stops the program, as Ctrl-Z does.
pub(super) struct Stopper(Arc<Mutex<Termios>>);

impl ConditionalEventHandler for Stopper {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        if let Err(why) = self.stop() {
            log::warn!("cannot stop: {why}");
        }
        Some(Cmd::Repaint)
    }
}

impl Stopper {
    fn stop(&self) -> io::Result<()> {
        let mut out = io::stdout();
        let editing = tcgetattr(io::stdin())?;
        out.write_all(PASTE_OFF)?;
        out.flush()?;
        set(&self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        // The whole group: whatever started this program stops with it. Here
        // the program goes on when it is continued.
        let stopped = kill(Pid::from_raw(0), Signal::SIGTSTP);
        set(&editing)?;
        out.write_all(PASTE_ON)?;
        out.flush()?;
        Ok(stopped?)
    }
}
