//! Where log lines go: a writer that can hold lines back for a moment, so
//! that the lines of a whole group go out in one write.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that are held back at most.
const HELD_BYTES: usize = 64 * 1024;

/// A shared way to a log. What is written is passed on with every flush,
/// unless somebody [holds](Self::hold) it.
#[derive(Clone)]
pub struct LogSink(Arc<Mutex<Lines>>);

struct Lines {
    out: Box<dyn Write + Send>,
    waiting: Vec<u8>,
    holders: usize,
    /// Whether the last line that went out may be half a line: the disk was full.
    breaks_off: bool,
}

/// Holds lines back until it is dropped.
#[must_use = "lines are held back only while this lives"]
pub struct Held<'a>(&'a LogSink);

impl LogSink {
    /// A sink that passes lines on to `out`.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            out: Box::new(out),
            waiting: Vec::new(),
            holders: 0,
            breaks_off: false,
        })))
    }

    /// Holds lines back, also those of other threads, in their order.
    pub fn hold(&self) -> Held<'_> {
        self.lines().holders += 1;
        Held(self)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LogSink {
    /// A sink to standard error.
    fn default() -> Self {
        Self::new(io::stderr())
    }
}

impl Lines {
    fn pass_on(&mut self) -> io::Result<()> {
        // What stands behind half a line could not be read either.
        if self.breaks_off {
            self.waiting.insert(0, b'\n');
        }
        let written = self.out.write_all(&self.waiting);
        self.waiting.clear();
        self.breaks_off = written.is_err();
        written.and_then(|()| self.out.flush())
    }
}

impl Write for LogSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines().waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut lines = self.lines();
        match lines.holders > 0 && lines.waiting.len() < HELD_BYTES {
            true => Ok(()),
            false => lines.pass_on(),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut lines = self.0.lines();
        lines.holders -= 1;
        if lines.holders == 0 && !lines.waiting.is_empty() {
            // A log that cannot be written must not stop the chat.
            let _ = lines.pass_on();
        }
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A disk with room for so many bytes.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let fits = bytes.len().min(disk.1 - disk.0.len());
            disk.0.extend_from_slice(&bytes[..fits]);
            match fits {
                0 => Err(io::ErrorKind::StorageFull.into()),
                fits => Ok(fits),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn where_the_disk_was_full_the_next_line_is_one_of_its_own() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 6))));
        let mut sink = LogSink::new(disk.clone());
        let mut log = |line: &str| {
            sink.write_all(line.as_bytes()).unwrap();
            sink.flush().is_ok()
        };
        assert!(log("one\n"));
        assert!(!log("two\n"));
        assert!(!log("three\n"), "still full");
        disk.0.lock().unwrap().1 = 100;
        assert!(log("four\n") && log("five\n"));
        let written = disk.0.lock().unwrap().0.clone();
        assert_eq!(written, b"one\ntw\nfour\nfive\n");
    }

    #[test]
    fn held_lines_go_out_together_when_the_hold_ends() {
        let out = Shared::default();
        let mut sink = LogSink::new(out.clone());
        writeln!(sink, "one").unwrap();
        sink.flush().unwrap();
        let held = sink.hold();
        let mut other = sink.clone();
        writeln!(other, "two").unwrap();
        other.flush().unwrap();
        assert_eq!(*out.0.lock().unwrap(), b"one\n");
        drop(held);
        assert_eq!(*out.0.lock().unwrap(), b"one\ntwo\n");
    }
}
