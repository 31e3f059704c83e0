//! How long a disk takes to keep something.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How much a commit of the history typically appends, in bytes.
const APPEND_BYTES: usize = 4096;

/// How many times to measure, and for how long at most.
const TIMES: usize = 100;
const AT_MOST: Duration = Duration::from_secs(2);

/// How long it took to append 4 KiB to a file and to have the disk keep it
/// (`fdatasync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncTime {
    /// Half of the times were shorter.
    pub median: Duration,
    /// The longest.
    pub max: Duration,
}

/// Measures in this folder, in a file that is removed again.
pub(super) fn sync_time(folder: &Path) -> io::Result<SyncTime> {
    let path = folder.join(format!(".chitchat-bench-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let measured = measure(&mut file);
    std::fs::remove_file(&path)?;
    measured
}

fn measure(file: &mut File) -> io::Result<SyncTime> {
    let began = Instant::now();
    let mut times = Vec::with_capacity(TIMES);
    while times.is_empty() || times.len() < TIMES && began.elapsed() < AT_MOST {
        let from = Instant::now();
        file.write_all(&[0x5a; APPEND_BYTES])?;
        file.sync_data()?;
        times.push(from.elapsed());
    }
    times.sort();
    Ok(SyncTime {
        median: times[times.len() / 2],
        max: times[times.len() - 1],
    })
}
