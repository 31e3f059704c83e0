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
        let written = self.out.write_all(&self.waiting);
        self.waiting.clear();
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
