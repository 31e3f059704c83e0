//! How long a disk takes to keep something.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How much is written each time, in bytes: about a small commit.
const WRITE_BYTES: usize = 4096;

/// How many such places of the file are written in turn.
const PLACES: usize = 100;

/// How long to measure. A disk that others use too is fast and slow by turns.
const FOR: Duration = Duration::from_millis(500);

/// The pause between two writes. Without it this thread would use up its share
/// of a busy machine, and then wait for a core instead of the disk.
const PAUSE: Duration = Duration::from_millis(2);

/// How long it took to overwrite 4 KiB of a file and to have the disk keep it
/// (`fdatasync`). In place, as SQLite writes its log once that has grown: a file
/// that grows takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncTime {
    /// The shortest.
    pub min: Duration,
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
    file.write_all(&[0; WRITE_BYTES * PLACES])?;
    file.sync_all()?;
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || began.elapsed() < FOR {
        if times.len() % PLACES == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        std::thread::sleep(PAUSE);
        let from = Instant::now();
        file.write_all(&[0x5a; WRITE_BYTES])?;
        file.sync_data()?;
        times.push(from.elapsed());
    }
    times.sort();
    Ok(SyncTime {
        min: times[0],
        median: times[times.len() / 2],
        max: times[times.len() - 1],
    })
}
