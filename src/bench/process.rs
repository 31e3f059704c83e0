//! What the system tells of a process, and how many files this one may open.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Units of processor time a second in `/proc`; the same on every Linux that
/// this program runs on.
const TICKS_A_SECOND: u64 = 100;

/// The processor time that a process has used, to 10 ms. `None` where there is
/// no `/proc`, or no such process.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let used = ticks(11)? + ticks(12)?;
    Some(Duration::from_millis(used * 1000 / TICKS_A_SECOND))
}

/// The memory of a process that is in the machine's, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub now: u64,
    pub peak: u64,
}

/// The resident memory of a process. `None` as with [`cpu_time`].
pub(super) fn memory(pid: u32) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory {
        now: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

/// Raises the limit of open files to `needed`, if it is lower. Returns what it
/// is then, which may still be too low.
pub(super) fn allow_open_files(needed: u64) -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= needed {
        return Ok(now);
    }
    let raised = needed.min(limit.maximum.unwrap_or(u64::MAX));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        },
    )?;
    Ok(raised)
}

/// As long as it lives this thread, and those that it starts, wake up to a
/// microsecond after the time for which they asked instead of 50: an open loop
/// sends on time. A server that is started afterwards must not inherit that: it
/// would rest for shorter than any other does. It must not go to another thread.
pub(super) struct Prompt(PhantomData<*const ()>);

impl Prompt {
    pub(super) fn begin() -> Self {
        set_slack(NonZeroU64::new(1000));
        Self(PhantomData)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        set_slack(None);
    }
}

/// Sets this thread's slack, in nanoseconds, or what it was when it began. Where
/// that is not possible, latencies are a little higher.
fn set_slack(nanos: Option<NonZeroU64>) {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(nanos);
    #[cfg(not(target_os = "linux"))]
    let _ = nanos;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_server_that_is_started_after_a_load_rests_as_long_as_any_other() {
        let slack = || rustix::thread::current_timer_slack().unwrap();
        let before = slack();
        let prompt = Prompt::begin();
        assert_eq!(slack(), 1000);
        drop(prompt);
        assert_eq!(slack(), before);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_can_be_asked_for_its_time_and_memory() {
        let me = std::process::id();
        assert!(cpu_time(me).is_some());
        let memory = memory(me).unwrap();
        assert!(memory.now > 0 && memory.peak >= memory.now);
        assert!(cpu_time(u32::MAX).is_none());
    }
}
