//! A million lines.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{crowd, verdict};

#[test]
fn a_crowd_is_lawful() {
    let (broken, words) = verdict(crowd::logs(20, 200, 1));
    assert!(broken.is_empty(), "{words}");
    assert!(words.contains("220 events stamped"), "{words}");
}

/// Also leaves the logs in `target/tmp/million` for `chitchat check`, so that
/// its memory can be measured.
#[test]
#[ignore = "takes some seconds and writes 200 MB"]
fn a_million_lines_are_checked_within_five_seconds() {
    let logs = crowd::logs(20, 45_500, 1);
    let lines: usize = logs.iter().map(|(_, text)| text.lines().count()).sum();
    assert!(lines >= 1_000_000, "{lines}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("million");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in &logs {
        fs::write(folder.join(name), text).unwrap();
    }
    let begin = Instant::now();
    let (broken, words) = verdict(logs);
    assert!(broken.is_empty(), "{words}");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}
