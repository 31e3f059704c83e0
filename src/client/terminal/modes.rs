//! The terminal's modes. The editor gives the terminal back after each line;
//! without this, keys that are pressed before the next line begins would be
//! echoed, or mean what they mean to a shell: Ctrl-D would be lost, Ctrl-C a
//! signal.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcflush, tcgetattr,
    tcsetattr,
};
use nix::unistd::{Pid, getpgrp, read, tcgetpgrp, write};
use rustix::io::ioctl_fionread;
use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, RepeatCount};

/// Sequences that switch the bracketing of pastes.
const PASTE_ON: &[u8] = b"\x1b[?2004h";
const PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// How long a terminal that stands still keeps a program that is to end at once.
const AT_ONCE: Duration = Duration::from_millis(100);

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

/// What gives the terminal, which is the standard input, back as it is now: for
/// an end at once, whatever the other threads are doing.
pub fn giver_back() -> impl Fn() + Send + 'static {
    let modes = tcgetattr(io::stdin()).ok();
    move || {
        // From behind another program, to set them would stop this one.
        let is_in_front = tcgetpgrp(io::stdin()).is_ok_and(|front| front == getpgrp());
        let Some(modes) = modes.as_ref().filter(|_| is_in_front) else {
            return;
        };
        if let Err(why) = tcsetattr(io::stdin(), SetArg::TCSANOW, modes) {
            log::warn!("cannot give the terminal back: {why}"); // it is gone
        }
        let (done, told) = crossbeam_channel::bounded::<()>(0);
        let written = Builder::new().name("paste".to_owned()).spawn(move || {
            let _ = write(io::stdout(), PASTE_OFF); // past the lock on it
            drop(done);
        });
        if written.is_ok() {
            let _ = told.recv_timeout(AT_ONCE);
        }
    }
}

/// Forgets keys that were pressed and not read yet.
pub(super) fn forget_keys() {
    if let Err(why) = tcflush(io::stdin(), FlushArg::TCIFLUSH) {
        log::warn!("cannot forget keys: {why}"); // the terminal is gone
    }
}

/// Takes what was typed and not read yet, as text: without keys that are none.
pub(super) fn typed_ahead() -> String {
    let waiting = ioctl_fionread(io::stdin()).unwrap_or_default();
    let mut typed = vec![0; usize::try_from(waiting).unwrap_or_default()];
    let read = match typed.is_empty() {
        true => 0, // it would wait for a key
        false => read(io::stdin(), &mut typed).unwrap_or_default(),
    };
    let mut text = String::new();
    for c in String::from_utf8_lossy(&typed[..read]).chars() {
        match c {
            '\x1b' => break, // a key with a sequence, and who knows how long that is
            '\x08' | '\x7f' => drop(text.pop()),
            '\r' => text.push('\n'),
            c if c.is_control() && c != '\t' => {}
            c => text.push(c),
        }
    }
    text
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
