//! A disk that is full.

use super::*;

/// A file system of its own, too small for what comes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`: this user may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                eprintln!("SKIPPED: the full disk needs the right to mount one: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_costs_the_group_that_did_not_fit_and_no_other() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.0.path().join("history.db");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 256 << 10]).unwrap();
    let mut opened = open(&path).unwrap();
    let mut kept = 0;
    let why = loop {
        let group = messages(kept + 1..=kept + 100);
        match opened.journal.append(&group) {
            Ok(()) => kept += 100,
            Err(why) => break why,
        }
    };
    assert!(kept > 0 && matches!(why, HistoryError::Store(_)), "{why:?}");
    let expected: Vec<i64> = (1..=kept).collect();
    assert_eq!(times(&opened), expected);
    drop(opened);

    fs::remove_file(ballast).unwrap();
    let mut opened = open(&path).unwrap();
    assert_eq!((times(&opened), opened.rooms[0].clock), (expected, kept));
    opened
        .journal
        .append(&messages(kept + 1..=kept + 1))
        .unwrap();
}
