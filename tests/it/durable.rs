//! What is kept survives the server: killed under load, or out of disk.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chitchat::chat::{
    Audience, Event, Kind, MAX_REMEMBERED, MemberKey, Name, RoomId, Secret, StoredMember,
};
use chitchat::history::{Record, Roster, Store};
use chitchat::rpc::{CallError, Code, Dialler, Keepalive};
use chitchat::wire::{HistoryQuery, Join, PastAsk, Request};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::support::talk::{Talk, line, server_times_rise};
use crate::support::{DEADLINE, Peer, Program, Random, TestServer, fixed_port, join, with_secret};

/// Long enough for every client to come back.
const PATIENT: [&str; 2] = ["--grace", "5m"];

/// A resume after the last event seen, from `sent` on.
fn back(name: &str, id: i32, after: i64, sent: i64) -> Join {
    Join {
        past: Some(PastAsk::After(after)),
        sent,
        ..with_secret(name, id)
    }
}

/// The history of the default room, by `chitchat history --json`.
fn history(address: &str) -> Vec<serde_json::Value> {
    let (status, out, err) = Program::start(&["history", "--server", address, "--json"]).end();
    assert!(status.success(), "{err:?}");
    out.iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Numbers of the room without a gap, times that rise.
fn check_history(events: &[serde_json::Value]) {
    let mut latest = 0;
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], n + 1, "{event}");
        let time = event["L"].as_i64().unwrap();
        assert!(time > latest, "{event} after L={latest}");
        latest = time;
    }
}

fn killed_again_and_again(address: &str, folder: &Path, random: &mut Random) {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 8;
    const LINES: usize = 400;
    let store = folder.join("rooms.db");
    let start = || Program::server_with_store(address, &store, &PATIENT);
    let mut server = Some(start());
    let mut logs = Vec::new();
    let mut talk = Talk::start(&[address; CLIENTS], &["--reconnect", "5m"]);
    for _ in 0..ROUNDS {
        talk.burst(LINES, |clients, burst| {
            let (witness, speaker, n) = (
                random.below(CLIENTS as u64) as usize,
                random.below(CLIENTS as u64) as usize,
                random.below(LINES as u64) as usize,
            );
            clients[witness].expect_line(&line(speaker, burst, n));
            let running = server.take().expect("it runs");
            logs.push(match random.below(4) {
                0 => {
                    running.signal("-TERM");
                    running.end().2
                }
                _ => running.kill(),
            });
            server = Some(start());
        });
    }
    let records = talk.finish();
    let kept = history(address);
    check_history(&kept);
    let texts: Vec<_> = kept
        .iter()
        .filter(|e| e["kind"] == "message")
        .map(|e| e["text"].as_str().unwrap())
        .collect();
    let shown: Vec<_> = records[0]
        .iter()
        .filter(|e| e.text.starts_with("client "))
        .map(|e| e.text.as_str())
        .collect();
    assert!(texts == shown, "the history is what was shown");
    assert_eq!(
        kept.iter().filter(|e| e["kind"] == "leave").count(),
        CLIENTS,
        "nobody was said to have left before"
    );
    logs.push(server.expect("it runs").kill());
    server_times_rise(&logs);
}

#[test]
fn a_server_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let mut random = Random::new();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", fixed_port());
    killed_again_and_again(&address, folder.path(), &mut random);
}

#[test]
fn a_server_on_a_unix_socket_may_be_killed_too() {
    let mut random = Random::new();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("chat").display());
    killed_again_and_again(&address, folder.path(), &mut random);
}

#[test]
fn the_clock_goes_on_after_a_restart_and_what_was_refused_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("rooms.db");
    let address = format!("127.0.0.1:{}", fixed_port());
    let server = Program::server_with_store(&address, &store, &PATIENT);
    let mut alex = Peer::join(&address, "Alex", 1);
    alex.say("one", 1);
    assert_eq!(alex.next().time, 2);
    for sent in 2..5 {
        alex.say("", sent);
        let refused = alex.next();
        assert_eq!((refused.kind, refused.time), (Kind::Refusal, sent + 1));
    }
    server.kill();
    let server = Program::server_with_store(&address, &store, &PATIENT);
    // Alex has no secret and left at L=6
    let aske = Peer::ask(&address, join("Aske", 2));
    let joined = aske.next();
    assert_eq!((joined.time, joined.seq), (7, 4));
    server.kill();
}

#[test]
fn after_a_restart_those_with_a_secret_are_awaited_and_the_others_have_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("rooms.db");
    let address = format!("127.0.0.1:{}", fixed_port());
    let server = Program::server_with_store(&address, &store, &PATIENT);
    let alex = Peer::ask(&address, with_secret("Alex", 1));
    let last_seen = alex.next().time;
    let _aske = Peer::join(&address, "Aske", 2);
    alex.until("Aske", |e| e.sender.as_ref() == "Aske");
    server.kill();

    let _server = Program::server_with_store(&address, &store, &PATIENT);
    let alex = Peer::ask(&address, back("Alex", 1, last_seen, 9));
    let told = alex.until("the receipt", |e| e.seq == 0);
    let words: Vec<_> = told.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(
        words,
        [
            "Participant Aske joined Chit Chat at logical time L=2",
            "Participant Aske left Chit Chat at logical time L=3",
            "Participant Alex resumed Chit Chat at logical time L=10"
        ]
    );
    // the name of who left is free, the other's is not
    assert_eq!(Peer::ask(&address, join("Alex", 3)).status().0, 6);
    Peer::join(&address, "Aske", 3);
}

#[test]
fn what_is_sent_again_after_a_restart_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("rooms.db");
    let address = format!("127.0.0.1:{}", fixed_port());
    let server = Program::server_with_store(&address, &store, &PATIENT);
    let mut alex = Peer::ask(&address, with_secret("Alex", 1));
    let joined = alex.next().time;
    alex.say("one", 5);
    alex.say("two", 6);
    alex.until("the echo", |e| e.text == "two");
    server.kill();

    let _server = Program::server_with_store(&address, &store, &PATIENT);
    let mut alex = Peer::ask(&address, back("Alex", 1, joined, 7));
    alex.say("one", 5);
    alex.say("two", 6);
    alex.say("three", 8);
    let told = alex.until("the new message", |e| e.text == "three");
    let seqs: Vec<_> = told.iter().filter(|e| e.seq > 0).map(|e| e.seq).collect();
    assert_eq!(seqs, [2, 3, 4]);
    let texts = |events: &[Event]| -> Vec<String> {
        let said = events.iter().filter(|e| e.kind == Kind::Message);
        said.map(|e| e.text.clone()).collect()
    };
    assert_eq!(texts(&told), ["one", "two", "three"]);
}

#[test]
fn what_was_private_stays_so_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(folder.path().join("rooms.db"));
    let start = || TestServer::with(|s| s.store = store.clone());
    let server = start();
    // Without secrets: whoever leaves is not known any more, what it said is.
    let mut bob = Peer::join(&server.address, "Bob", 1);
    let mut alice = Peer::join(&server.address, "Alice", 2);
    let say = |text: &str, to: &str, sent| Request::Say {
        text: text.to_owned(),
        to: to.to_owned(),
        sent,
    };
    alice.send(vec![say("for Bob alone", "Bob", 1), say("", "", 2)]);
    alice.until("the refusal", |e| e.kind == Kind::Refusal);
    bob.until("the private line", |e| e.text == "for Bob alone");
    bob.send(vec![say("", "", 1), Request::Leave { sent: 2 }]);
    assert_eq!(bob.end(), Ok(()));
    alice.leave(3);
    assert_eq!(alice.end(), Ok(()));
    server.stop();

    let server = start();
    let mut strangers = ["Eve", "Mallory", "Trudy"].map(|name| {
        let peer = Peer::ask(&server.address, with_secret(name, name.len() as i32));
        peer.next();
        peer
    });
    for stranger in &mut strangers {
        stranger.leave(9);
        assert_eq!(stranger.end(), Ok(()));
        let name = &stranger.name;
        let again = Peer::ask(&server.address, back(name, name.len() as i32, 0, 10));
        let heard = again.hear_until("its own join", |r| {
            !r.replayed && r.event.sender.as_ref() == name
        });
        let private = heard.iter().find(|r| r.event.seq == 0);
        assert_eq!(private, None, "{name} hears what was for others");
    }
}

/// The secret of the participant that was the `n`th to leave.
fn secret_of(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(2)
}

/// Keeps that so many joined, said something at their time 100, and left.
fn all_left(store: &Store, participants: u64) {
    let room = Arc::new(RoomId {
        no: 1,
        name: Name::parse_room("").unwrap(),
    });
    let steps = (1..=participants).flat_map(|n| {
        let key = MemberKey(n);
        let (joined, left) = (2 * n as i64 - 1, 2 * n as i64);
        let entered = StoredMember {
            key,
            id: n as i32,
            name: Name::parse(&format!("Left {n}")).unwrap(),
            secret: Some(Secret(Sha256::digest(secret_of(n)).into())),
            joined,
            last_sent: 100,
            present: true,
        };
        let parted = Roster::Parted {
            key,
            remembered: true,
            forgotten: Vec::new(),
        };
        [(joined, Roster::Entered(Box::new(entered))), (left, parted)]
    });
    let records = steps.map(|(clock, roster)| Record {
        room: room.clone(),
        clock,
        event: None,
        author: None,
        roster,
    });
    let group: Vec<Record> = records.collect();
    store.open().unwrap().journal.append(&group).unwrap();
}

#[test]
fn those_who_left_are_remembered_after_a_restart_as_many_as_the_setting_says() {
    const MANY: u64 = MAX_REMEMBERED as u64 + 100;
    const FEW: i64 = 7;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    let store = Store::Sqlite(path.clone());
    all_left(&store, MANY);
    let start = |most| {
        TestServer::with(|s| {
            s.store = store.clone();
            s.max_remembered = most as usize;
        })
    };
    let say_again = |server: &TestServer, n: u64| {
        let mut peer = Peer::ask(
            &server.address,
            Join {
                secret: secret_of(n),
                sent: 200,
                ..join("Back", 1)
            },
        );
        peer.next();
        peer.say("again", 100);
        let kind = peer.next().kind;
        peer.leave(201);
        assert_eq!(peer.end(), Ok(()));
        kind
    };
    let server = start(MANY as i64);
    assert_eq!(say_again(&server, 1), Kind::Refusal, "the first that left");
    server.stop();

    let remembered = || -> i64 {
        let file = Connection::open(&path).unwrap();
        let sql = "SELECT count(*) FROM members WHERE parted IS NOT NULL";
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(remembered(), MANY as i64);
    let server = start(FEW);
    assert_eq!(say_again(&server, MANY), Kind::Refusal, "the last but one");
    server.stop();
    assert_eq!(remembered(), FEW);
}

#[test]
fn a_store_that_is_in_use_or_not_ours_or_damaged_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("rooms.db");
    let refused = |words: &str| {
        let name = format!("sqlite:{}", store.display());
        let args = ["server", "--listen", "127.0.0.1:0", "--store", &name];
        let (status, out, err) = Program::start(&args).end();
        assert_eq!(status.code(), Some(1), "{err:?}");
        assert!(out.is_empty(), "{out:?}");
        let last = err.last().unwrap();
        assert!(last.starts_with("chitchat: "), "{err:?}");
        assert!(last.contains(words), "{err:?}");
    };
    let server = Program::server_with_store("127.0.0.1:0", &store, &[]);
    refused("is in use by another server");
    server.signal("-TERM");
    server.end();
    Connection::open(&store)
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    let before = std::fs::read(&store).unwrap();
    refused("version 99");
    assert!(std::fs::read(&store).unwrap() == before);
    std::fs::write(&store, b"not a database, but somebody's text".repeat(99)).unwrap();
    let before = std::fs::read(&store).unwrap();
    refused("it is not an SQLite file");
    assert!(std::fs::read(&store).unwrap() == before);
}

/// Talks until the store fails, lets `mend` make it well, and goes on.
fn a_full_disk(store: &Path, mend: impl FnOnce()) {
    let address = format!("127.0.0.1:{}", fixed_port());
    let server = Program::server_with_store(&address, store, &PATIENT);
    let mut alex = Peer::ask(&address, with_secret("Alex", 1));
    let joined = alex.next().time;
    let aske = Peer::ask(&address, with_secret("Aske", 2));
    aske.next();
    let text = "🦀".repeat(128);
    for burst in 0..40 {
        let batch = (0..100).map(|n| Request::Say {
            text: text.clone(),
            to: String::new(),
            sent: 10 + burst * 100 + n,
        });
        alex.send(batch.collect());
    }
    let (heard, ends): (Vec<_>, Vec<_>) = [alex.rest(), aske.rest()].into_iter().unzip();
    let (status, _, log) = server.end();
    let last_lines = &log[log.len().saturating_sub(5)..];
    for end in ends {
        let told = CallError::Status {
            code: Code::UNAVAILABLE,
            message: "the server cannot keep events any more and stops".to_owned(),
        };
        assert_eq!(end, Err(told), "{last_lines:#?}");
    }
    assert_eq!(status.code(), Some(1), "{last_lines:#?}");
    let says_why = |l: &String| l.contains(" ERROR ") && l.contains("disk is full");
    assert!(log.iter().any(says_why), "{last_lines:#?}");

    mend();
    let server = Program::server_with_store(&address, store, &PATIENT);
    let mut alex = Peer::ask(&address, back("Alex", 1, joined, 9));
    let replayed = alex.until("the receipt", |e| e.text.contains("resumed"));
    for events in &heard {
        // what somebody saw is kept: nobody saw anything of the failed group
        for event in events.iter().filter(|e| e.time > joined) {
            assert!(replayed.contains(event), "{event:?} was seen and is gone");
        }
    }
    let kept = replayed.iter().filter(|e| e.kind == Kind::Message);
    let last = kept.map(|e| e.sent).max().unwrap_or(9);
    assert!(last < 10 + 4000 - 1, "the disk was full");
    alex.say("again", last); // sent again: recognised, or stamped never
    alex.say("on", last + 1);
    let on = alex.until("the next message", |e| e.text == "on").pop();
    let on = on.unwrap();
    assert!(on.time > replayed.last().unwrap().time);
    check_history(&history(&address));
    server.kill();
}

#[test]
fn a_failed_commit_is_seen_by_nobody_and_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("rooms.db");
    Program::server_with_store("127.0.0.1:0", &store, &[]).kill();
    let edit = |sql| {
        Connection::open(&store)
            .unwrap()
            .execute_batch(sql)
            .unwrap()
    };
    edit(
        "CREATE TRIGGER full BEFORE INSERT ON events
         WHEN (SELECT count(*) FROM events) >= 1234
         BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    );
    a_full_disk(&store, || edit("DROP TRIGGER full"));
}

/// A file system of its own, too small for what comes.
struct SmallDisk(tempfile::TempDir);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_ends_the_server_and_with_room_it_goes_on() {
    let disk = SmallDisk(tempfile::tempdir().unwrap());
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(disk.0.path())
        .output();
    if !mounted.as_ref().is_ok_and(|m| m.status.success()) {
        println!("SKIPPED: it needs the right to mount a small disk: {mounted:?}");
        return;
    }
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    a_full_disk(&disk.0.path().join("rooms.db"), || {
        std::fs::remove_file(ballast).unwrap();
    });
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it reads /proc")]
fn the_past_can_be_read_when_no_descriptor_is_left() {
    const MOST: usize = 100;
    const EVENTS: i64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("rooms.db");
    let room = Arc::new(RoomId {
        no: 1,
        name: Name::parse_room("").unwrap(),
    });
    let group: Vec<Record> = (1..=EVENTS)
        .map(|time| Record {
            room: room.clone(),
            clock: time,
            event: Some((said(time), Audience::Room)),
            author: None,
            roster: Roster::Same,
        })
        .collect();
    let opened = Store::Sqlite(store.clone()).open();
    opened.unwrap().journal.append(&group).unwrap();

    let store = format!("sqlite:{}", store.display());
    let args = ["--store", &store, "--first-frame", "5m", "--idle", "5m"];
    let (server, address) = Program::server_with_descriptors(MOST, &args);
    let dialler = Dialler::new(Keepalive::default());
    let dialled = dialler.dial(&address, DEADLINE).unwrap();
    let _others = server.take_descriptors(&address, MOST);
    let read = || {
        let past = Some(PastAsk::Last(EVENTS as u32));
        let room = String::new();
        let mut events = dialled.history(&HistoryQuery { room, past }).unwrap();
        let mut count = 0;
        while let Some(page) = events.recv().unwrap() {
            count += page.len() as i64;
        }
        count
    };
    std::thread::scope(|threads| {
        let readers = [(); 16].map(|()| threads.spawn(read));
        for reader in readers {
            assert_eq!(reader.join().unwrap(), EVENTS);
        }
    });
}

fn said(time: i64) -> Event {
    Event {
        time,
        seq: time.cast_unsigned(),
        kind: Kind::Message,
        sender_id: 1,
        sender: "Alex".into(),
        text: format!("line {time}"),
        sent: 0,
        wall_ms: 0,
        to: None,
    }
}
