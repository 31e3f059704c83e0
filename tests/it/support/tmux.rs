use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use super::DEADLINE;

/// What the shell in the terminal shows when it waits for a command.
const SHELL: &str = "shell$";

/// A terminal with a shell in it, and hands that type: a tmux server of its
/// own, killed at the end of the test.
pub struct Tmux {
    socket: String,
    home: TempDir,
}

impl Tmux {
    /// A terminal of this size, with a shell that waits for a command.
    pub fn start(columns: u16, rows: u16) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            socket: format!("chitchat-test-{}-{number}", std::process::id()),
            home: tempfile::tempdir().expect("a folder"),
        };
        let home = format!("HOME={}", terminal.home.path().display());
        let program = format!("C={}", env!("CARGO_BIN_EXE_chitchat"));
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.tmux(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "env",
            "-i",
            "LANG=C.UTF-8",
            "TERM=tmux-256color",
            "TZ=UTC",
            &home,
            &program,
            &format!("PATH={}", std::env::var("PATH").unwrap_or_default()),
            &format!("PS1={SHELL} "),
            "sh",
            "-i",
        ]);
        terminal.wait_for(SHELL);
        terminal
    }

    /// A terminal in which `chitchat client NAME` has joined the default room.
    pub fn client(columns: u16, rows: u16, name: &str, address: &str, args: &str) -> Self {
        let terminal = Self::start(columns, rows);
        terminal.run(&format!(
            "clear; $C client {name} --server {address} {args}"
        ));
        terminal.wait_for(&format!("{name} joined"));
        terminal.wait_for_line(&format!("{name}>"));
        terminal
    }

    /// The folder in which programs find their settings.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Types a command to the shell.
    pub fn run(&self, command: &str) {
        self.text(command);
        self.keys(&["Enter"]);
    }

    /// Types a text as it is.
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses keys, by their names in tmux.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a text and presses Enter.
    pub fn line(&self, text: &str) {
        self.text(text);
        self.keys(&["Enter"]);
    }

    /// Pastes a text, as a terminal does that brackets it.
    pub fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", "--", text]);
        self.tmux(&["paste-buffer", "-p"]);
    }

    /// Gives the terminal another size, and waits until programs are told:
    /// tmux does that up to a quarter of a second later.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
        ]);
        let device = self.asked("#{pane_tty}");
        let size = || {
            let output = Command::new("stty").args(["-F", &device, "size"]).output();
            String::from_utf8_lossy(&output.expect("stty").stdout).into_owned()
        };
        let wanted = format!("{rows} {columns}");
        let begun = Instant::now();
        while size().trim_end() != wanted {
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {wanted}");
        }
    }

    /// What is on the screen, without empty rows below.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    /// The same with the sequences that colour it.
    pub fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
            .trim_end()
            .to_owned()
    }

    /// The screen and all that has scrolled off it; what was wrapped is joined.
    pub fn all(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J", "-S", "-"])
            .trim_end()
            .to_owned()
    }

    /// Keeps, from now on, every byte that programs write to the terminal.
    pub fn record(&self) -> Recording {
        let path = self.home.path().join("bytes");
        self.tmux(&["pipe-pane", &format!("cat > {}", path.display())]);
        Recording(path)
    }

    /// What tmux knows of the terminal, such as `#{pane_title}`.
    pub fn asked(&self, format: &str) -> String {
        self.tmux(&["display-message", "-p", format])
            .trim_end()
            .to_owned()
    }

    /// Waits until this is on the screen.
    pub fn wait_for(&self, what: &str) {
        self.wait_until(what, |screen| screen.contains(what));
    }

    /// Waits until the last row of the screen that is not empty is this one.
    pub fn wait_for_line(&self, last: &str) {
        let row = |screen: &str| {
            screen
                .lines()
                .last()
                .unwrap_or_default()
                .trim_end()
                .to_owned()
        };
        self.wait_until(last, |screen| row(screen) == last);
    }

    /// Waits until `holds` does of the screen, and returns that screen. Asking
    /// tmux takes a moment, so this does not keep a processor busy.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "waited in vain for {what:?}; the screen:\n{screen}"
            );
            std::thread::yield_now();
        }
    }

    /// Waits until the client has ended; the terminal must be as it was.
    /// Returns the client's exit code.
    pub fn ended(&self) -> i32 {
        self.wait_for_line(SHELL);
        let (code, modes) = self.code_and_modes();
        assert_eq!(modes, "isig icanon echo", "the terminal is not as it was");
        code
    }

    /// The terminal's modes, as the shell that waits for a command finds them.
    pub fn modes(&self) -> String {
        self.code_and_modes().1
    }

    fn code_and_modes(&self) -> (i32, String) {
        // Numbered: the answer to an earlier question may still be on the screen.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("answer{}=", COUNT.fetch_add(1, Ordering::Relaxed));
        let modes = "stty -a | tr ' ;' '\\n\\n' | grep -xE -e '-?(isig|icanon|echo)'";
        self.run(&format!("R=$?; clear; echo {mark}$R $({modes})"));
        let answered = |screen: &str| screen.starts_with(&mark) && screen.contains(SHELL);
        let screen = self.wait_until("the shell's answer", answered);
        let answer = screen.lines().next().unwrap_or_default();
        let (code, modes) = answer[mark.len()..].split_once(' ').expect("two things");
        (code.parse().expect("a code"), modes.trim_end().to_owned())
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .env_remove("TMUX")
            .output()
            .unwrap_or_else(|why| panic!("these tests need tmux, and it does not start: {why}"));
        assert!(
            output.status.success(),
            "tmux {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The bytes that were written to a terminal.
pub struct Recording(PathBuf);

impl Recording {
    /// Waits until this was written, and returns all that was.
    pub fn until(&self, what: &str) -> String {
        let begun = Instant::now();
        loop {
            let bytes = std::fs::read(&self.0).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(what) {
                return text.into_owned();
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {what:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}
