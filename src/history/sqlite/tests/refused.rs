//! Files that are not opened, and stay as they are: those of others and
//! damaged ones.

use super::*;

/// Puts a file where a history is looked for.
type Make = fn(&Path);

#[test]
fn files_of_others_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let makers: [(&str, Make); 6] = [
        ("another version", |path| {
            written(path, 3);
            edit(path, "PRAGMA user_version = 2");
        }),
        ("text", |path| {
            fs::write(path, "dear diary, ".repeat(1000)).unwrap()
        }),
        ("one byte", |path| fs::write(path, "x").unwrap()),
        ("a table", |path| edit(path, "CREATE TABLE notes (text)")),
        ("a table and a log", |path| {
            edit(path, "PRAGMA journal_mode = WAL; CREATE TABLE notes (text)");
        }),
        ("another application", |path| {
            edit(path, "PRAGMA application_id = 77; PRAGMA user_version = 1");
        }),
    ];
    for (what, make) in makers {
        make(&path);
        let before = fs::read(&path).unwrap();
        let why = refusal(&path);
        assert!(
            matches!(why, HistoryError::Foreign { .. }),
            "{what}: {why:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), before, "{what}");
        for (file, _) in files(folder.path()) {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_folder_is_no_history_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    fs::create_dir(&path).unwrap();
    let why = anyhow::Error::from(refusal(&path));
    assert!(format!("{why:#}").contains("is a directory"), "{why:#}");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

/// A file that can only be read, also by somebody who may do everything.
struct Sealed<'a>(&'a Path);

impl<'a> Sealed<'a> {
    /// `None`: this user may write it all the same.
    fn seal(path: &'a Path) -> Option<Self> {
        let mut permissions = path.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(path, permissions).unwrap();
        let file = path.display().to_string();
        for args in [["--bind", &file], ["-o", "remount,ro,bind"]] {
            if OpenOptions::new().write(true).open(path).is_err() {
                break;
            }
            let mounted = Command::new("mount").args(args).arg(path).output();
            if !mounted.is_ok_and(|output| output.status.success()) {
                break;
            }
        }
        let sealed = Self(path);
        OpenOptions::new()
            .write(true)
            .open(path)
            .is_err()
            .then_some(sealed)
    }
}

impl Drop for Sealed<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).output(); // it may be no mount
    }
}

#[test]
fn a_file_that_can_only_be_read_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    written(&path, 3);
    let Some(_sealed) = Sealed::seal(&path) else {
        eprintln!("SKIPPED: a file that can only be read needs the right to mount one");
        return;
    };
    let why = refusal(&path);
    assert!(matches!(why, HistoryError::File { .. }), "{why:?}");
    assert_eq!(files(folder.path()).len(), 1, "something lies beside it");
}

/// What another program has committed only to its log stays there.
#[test]
fn the_log_of_a_foreign_file_is_not_carried_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    edit(
        &path,
        "PRAGMA journal_mode = WAL; CREATE TABLE notes (text)",
    );
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("INSERT INTO notes VALUES ('not yet in the file')")
        .unwrap();
    let copy = folder.path().join("copy.db");
    for ending in ["", "-wal"] {
        fs::copy(companion(&path, ending), companion(&copy, ending)).unwrap();
    }
    let both = |path| ["", "-wal"].map(|ending| fs::read(companion(path, ending)).unwrap());
    let before = both(&copy);
    assert!(matches!(refusal(&copy), HistoryError::Foreign { .. }));
    assert!(both(&copy) == before, "the file or its log was written");
}

#[test]
fn a_truncated_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    written(&path, 500);
    let whole = fs::read(&path).unwrap();
    let last_page = whole.len() - 4096;
    for length in [
        0,
        1,
        50,
        100,
        512,
        4095,
        4096,
        5000,
        8192,
        last_page,
        whole.len() - 1,
    ] {
        fs::write(&path, &whole[..length]).unwrap();
        let why = refusal(&path);
        assert!(
            matches!(
                why,
                HistoryError::Damaged { .. } | HistoryError::Foreign { .. }
            ),
            "{length}: {why:?}"
        );
        let left = files(folder.path());
        assert!(left[0].1 == whole[..length], "{length}: written to");
    }
}

#[test]
fn what_no_history_holds_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    written(&path, 3);
    let whole = fs::read(&path).unwrap();
    for sql in [
        "DROP TABLE members",
        "DROP INDEX events_of_one",
        "DROP VIEW log; ALTER TABLE events DROP COLUMN wall_ms",
        "UPDATE rooms SET name = 'Server'",
        "UPDATE rooms SET name = CAST(x'ff' AS TEXT)",
        "UPDATE rooms SET clock = 2",
        "UPDATE rooms SET no = -1",
        "INSERT INTO members VALUES (1, 1, 1, 'Åse', x'00', 1, 1, NULL)",
    ] {
        fs::write(&path, &whole).unwrap();
        edit(&path, sql);
        let before = fs::read(&path).unwrap();
        let why = refusal(&path);
        assert!(
            matches!(why, HistoryError::Damaged { .. }),
            "{sql}: {why:?}"
        );
        assert!(fs::read(&path).unwrap() == before, "{sql}: written to");
    }
}

#[test]
fn damage_among_the_events_is_reported_by_whoever_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    written(&path, 5000);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8 * 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();

    let opened = open(&path).expect("the rooms and the last event are whole");
    let why = opened
        .past
        .read(1, ALL, None)
        .expect_err("a page is missing");
    assert!(matches!(why, HistoryError::Damaged { .. }), "{why:?}");
    let last = opened.past.position_of_last(1, 3, i64::MAX, None);
    assert_eq!(last.unwrap(), 4997, "what is whole can be read");
    drop(opened);

    let path = folder.path().join("other.db");
    written(&path, 3);
    edit(&path, "UPDATE events SET kind = 'dance' WHERE time = 2");
    let why = open(&path).unwrap().past.read(1, ALL, None).unwrap_err();
    assert!(matches!(why, HistoryError::Damaged { .. }), "{why:?}");
}

#[test]
fn a_log_without_its_file_is_not_taken_for_a_new_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    fs::write(companion(&path, "-wal"), "of a file that was lost").unwrap();
    let before = files(folder.path());
    assert!(matches!(refusal(&path), HistoryError::Damaged { .. }));
    assert_eq!(files(folder.path()), before);
}
