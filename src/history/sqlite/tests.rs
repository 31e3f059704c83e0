//! What is true of the file, beyond the contract of every store.

#[cfg(target_os = "linux")]
mod full_disk;
mod refused;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::chat::{Audience, Event, MemberKey};
use crate::history::tests::{message, room};
use crate::history::{Record, Roster, Span, Store};

const ALL: Span = Span {
    after: 0,
    up_to: i64::MAX,
    limit: usize::MAX,
};

fn open(path: &Path) -> Result<Opened, HistoryError> {
    Store::Sqlite(path.to_owned()).open()
}

/// Why it cannot be opened.
fn refusal(path: &Path) -> HistoryError {
    open(path).map(drop).unwrap_err()
}

fn messages(times: std::ops::RangeInclusive<i64>) -> Vec<Record> {
    let room = room(1, "Chit Chat");
    times
        .map(|time| message(&room, time, time.cast_unsigned()))
        .collect()
}

/// What a page of everything holds, by its times.
fn times(opened: &Opened) -> Vec<i64> {
    let page = opened.past.read(1, ALL, None).unwrap();
    page.iter().map(|event: &Event| event.time).collect()
}

/// Makes a history of so many events and closes it.
fn written(path: &Path, events: i64) {
    let mut opened = open(path).unwrap();
    opened.journal.append(&messages(1..=events)).unwrap();
}

/// What a person does to it with another program.
fn edit(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// All files of a folder with their bytes, but for the lock.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() != Some("lock".as_ref()))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[cfg(unix)]
#[test]
fn the_folder_and_its_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for it/history.db");
    let mut opened = open(&path).unwrap();
    opened.journal.append(&messages(1..=1)).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for folder in path.ancestors().skip(1).take(2) {
        assert_eq!(mode(folder), 0o700, "{folder:?}");
    }
    for ending in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&companion(&path, ending)), 0o600, "{ending}");
    }
}

#[test]
fn a_closed_history_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut opened = open(&path).unwrap();
    opened.journal.append(&messages(1..=9)).unwrap();
    assert_eq!(times(&opened).len(), 9);
    drop(opened.journal); // although the other half is still there
    let names: Vec<PathBuf> = files(folder.path()).into_iter().map(|f| f.0).collect();
    assert_eq!(names, [path.canonicalize().unwrap()]);
}

#[test]
fn a_second_server_is_refused_while_the_first_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let opened = open(&path).unwrap();
    assert!(matches!(refusal(&path), HistoryError::InUse(_)));
    #[cfg(unix)]
    {
        let other_name = folder.path().join("link.db");
        std::os::unix::fs::symlink(&path, &other_name).unwrap();
        assert!(matches!(refusal(&other_name), HistoryError::InUse(_)));
    }
    drop(opened.journal);
    open(&path).unwrap();
}

#[test]
fn a_lock_is_let_go_although_a_process_that_begins_has_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let lock = Lock::take(&path).unwrap();
    let _copy = lock.0.try_clone().unwrap();
    drop(lock);
    Lock::take(&path).unwrap();
}

/// Runs this test once more in another process, which holds the file that the
/// variable names until it is killed.
#[test]
fn another_process_is_refused_and_a_killed_one_leaves_the_file_free() {
    const HELD: &str = "CHITCHAT_TEST_HELD_HISTORY";
    if let Some(path) = std::env::var_os(HELD) {
        let mut opened = open(Path::new(&path)).unwrap();
        opened.journal.append(&messages(1..=3)).unwrap();
        println!("\nheld");
        std::io::stdin().lines().for_each(drop);
        unreachable!("is killed while it waits");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact"])
        .arg("history::sqlite::tests::another_process_is_refused_and_a_killed_one_leaves_the_file_free")
        .env(HELD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "held"), "it holds nothing");

    assert!(matches!(refusal(&path), HistoryError::InUse(_)));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(times(&open(&path).unwrap()), [1, 2, 3]);
}

#[test]
fn what_a_crash_left_of_a_new_history_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    for ending in [".new", ".new-wal", ".new-journal"] {
        fs::write(companion(&path, ending), "half").unwrap();
    }
    written(&path, 1);
    assert_eq!(times(&open(&path).unwrap()), [1]);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn events_that_were_removed_are_known_to_be_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut opened = open(&path).unwrap();
    opened.journal.append(&messages(1..=9)).unwrap();
    edit(
        &path,
        "DELETE FROM events WHERE time <= 4; UPDATE rooms SET floor = 4",
    );
    let read = |after| opened.past.read(1, Span { after, ..ALL }, None);
    for after in [-1, 0, 3] {
        assert!(matches!(read(after), Err(HistoryError::Gone(5))), "{after}");
    }
    assert_eq!(read(4).unwrap().len(), 5);
    let position = |count, up_to| opened.past.position_of_last(1, count, up_to, None).unwrap();
    assert_eq!(position(2, i64::MAX), 7);
    assert_eq!(
        (position(9, i64::MAX), position(0, 2), position(1, 2)),
        (4, 4, 4)
    );

    // the room does not begin anew
    opened.journal.append(&messages(10..=10)).unwrap();
    drop(opened);
    let opened = open(&path).unwrap();
    assert_eq!((opened.rooms[0].clock, opened.rooms[0].seq), (10, 10));
    assert_eq!(
        opened.past.position_of_last(1, 99, i64::MAX, None).unwrap(),
        4
    );
}

#[test]
fn a_group_that_fails_leaves_nothing_and_closes_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut opened = open(&path).unwrap();
    opened.journal.append(&messages(1..=2)).unwrap();
    let mut group = messages(3..=5);
    group[0].roster = Roster::Entered(Box::new(StoredMember {
        key: MemberKey(1),
        id: 1,
        name: Name::parse("Alex").unwrap(),
        secret: None,
        joined: 3,
        last_sent: 0,
        present: true,
    }));
    group.extend(messages(4..=4)); // no Lamport time is used twice
    let why = opened.journal.append(&group).unwrap_err();
    assert!(matches!(why, HistoryError::Store(_)), "{why:?}");
    let why = opened.journal.append(&messages(6..=6)).unwrap_err();
    assert!(matches!(why, HistoryError::Poisoned), "{why:?}");
    assert_eq!(times(&opened), [1, 2]);
    drop(opened);

    let opened = open(&path).unwrap();
    assert_eq!(times(&opened), [1, 2]);
    let room = &opened.rooms[0];
    assert_eq!((room.clock, room.seq, room.members.len()), (2, 2, 0));
}

#[test]
fn a_page_costs_the_same_however_much_others_see() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut opened = open(&path).unwrap();
    let (viewer, other) = (MemberKey(1), MemberKey(9));
    for (no, gap) in [(1, 3), (2, 1000)] {
        let room = room(no, "Chit Chat");
        let step = |time: i64| {
            let mut record = message(&room, time, 0);
            let (_, audience) = record.event.as_mut().unwrap();
            *audience = match (time % gap, time / gap % 3) {
                (0, 0) => Audience::Room,
                (0, 1) => Audience::One(viewer),
                (0, _) => Audience::Two(other, viewer),
                _ => Audience::One(other),
            };
            record
        };
        let group: Vec<Record> = (1..=30 * gap).map(step).collect();
        opened.journal.append(&group).unwrap();
    }
    let reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let costs = [1, 2].map(|room| past::steps(&reader, room, viewer));
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_key_is_known_as_long_as_anything_that_its_owner_alone_saw() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut opened = open(&path).unwrap();
    assert_eq!(opened.last_key, MemberKey(0));
    let mut time = 0;
    let mut kept = |opened: &mut Opened, no, audience| {
        time += 1;
        let mut record = message(&room(no, "Chit Chat"), time, 0);
        record.event.as_mut().unwrap().1 = audience;
        opened.journal.append(&[record]).unwrap();
    };
    let found = |opened: Opened| {
        drop(opened);
        open(&path).unwrap()
    };
    kept(&mut opened, 1, Audience::One(MemberKey(4)));
    kept(&mut opened, 2, Audience::Room);
    opened = found(opened);
    assert_eq!(opened.last_key, MemberKey(4));
    kept(&mut opened, 1, Audience::Two(MemberKey(2), MemberKey(6)));
    kept(&mut opened, 2, Audience::One(MemberKey(5)));
    opened = found(opened);
    assert_eq!(opened.last_key, MemberKey(6));
    let mut entered = messages(90..=90);
    entered[0].roster = Roster::Entered(Box::new(StoredMember {
        key: MemberKey(9),
        id: 1,
        name: Name::parse("Alex").unwrap(),
        secret: None,
        joined: 90,
        last_sent: 0,
        present: true,
    }));
    opened.journal.append(&entered).unwrap();
    assert_eq!(found(opened).last_key, MemberKey(9));
}

#[test]
fn a_copy_that_a_person_makes_while_more_is_said_is_a_whole_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let copy = folder.path().join("copy.db");
    let mut opened = open(&path).unwrap();
    opened.journal.append(&messages(1..=20_000)).unwrap();
    let (tell, told) = crossbeam_channel::bounded(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let told = told; // dropped when this ends
            let mut time = 20_000;
            while told.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                time += 1;
                opened.journal.append(&messages(time..=time)).unwrap();
            }
        });
        edit(&path, &format!("VACUUM INTO '{}'", copy.display()));
        drop::<crossbeam_channel::Sender<()>>(tell);
    });
    let copied = open(&copy).unwrap();
    let times = times(&copied);
    assert!(times.len() >= 20_000);
    assert_eq!(times, (1..=copied.rooms[0].clock).collect::<Vec<_>>());
}

#[test]
fn the_file_can_be_read_by_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut opened = open(&path).unwrap();
    opened.journal.append(&messages(1..=1)).unwrap();
    let person = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let line: String = person
        .query_row(
            "SELECT concat_ws('|', room, L, seq, kind, sender, recipient, text, utc) FROM log",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let text = format!("number {:-<50}", 1);
    assert_eq!(
        line,
        format!("Chit Chat|1|1|message|Alex|{text}|2026-01-02 03:04:05.679")
    );
}
