//! The past on request: all of it, in order, before anything live, without a
//! gap or a repeat where the two meet.

use std::sync::atomic::{AtomicBool, Ordering};

use chitchat::chat::{Event, Kind};
use chitchat::history::{Keep, Store};
use chitchat::rpc::{CallError, Code, Dialler, Keepalive};
use chitchat::wire::{HistoryQuery, Join, PastAsk, Received, Request, WhoQuery};

use crate::support::{DEADLINE, Peer, Random, TestServer, join};

pub fn asking(name: &str, id: i32, past: PastAsk, batches: bool) -> Join {
    Join {
        past: Some(past),
        batches,
        ..join(name, id)
    }
}

fn batch(texts: u64, sent: &mut i64) -> Vec<Request> {
    (0..texts)
        .map(|_| {
            *sent += 1;
            Request::Say {
                text: format!("number {sent}"),
                to: String::new(),
                sent: *sent,
            }
        })
        .collect()
}

/// Says so many things and waits for the echo of the last. Returns its time.
pub fn say_many(peer: &mut Peer, count: i64, sent: &mut i64) -> i64 {
    let last = *sent + count;
    while *sent < last {
        let some = (last - *sent).min(256) as u64;
        peer.send(batch(some, sent));
    }
    let id = peer.name.clone();
    let heard = peer.until("its own last echo", |e| {
        e.kind == Kind::Message && e.sent == last && e.sender.as_ref() == id
    });
    heard.last().unwrap().time
}

/// Replayed events, then live ones; numbers without a gap.
fn check_seam(heard: &[Received], what: &str) {
    let live = heard.iter().position(|r| !r.replayed).unwrap();
    assert!(heard[live..].iter().all(|r| !r.replayed), "{what}");
    for pair in heard.windows(2) {
        let (before, after) = (&pair[0].event, &pair[1].event);
        assert_eq!(after.seq, before.seq + 1, "{what}: {before:?} {after:?}");
        assert!(after.time > before.time, "{what}: {before:?} {after:?}");
    }
    let joined = &heard[live].event;
    assert_eq!(joined.kind, Kind::Join, "{what}: first comes its own join");
}

/// Two clients talk without a pause while this goes on.
pub fn while_two_talk(server: &TestServer, meanwhile: impl FnOnce()) {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(over);
        for id in [1, 2] {
            let ask = Join {
                batches: true,
                ..join(&format!("Talker{id}"), id)
            };
            let mut talker = Peer::ask(&server.address, ask);
            scope.spawn(move || {
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    say_many(&mut talker, 100, &mut sent);
                }
            });
        }
        meanwhile();
    });
}

/// Ends the writers, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn seams(store: Store) {
    const WRITERS: usize = 3;
    const JOINS: u64 = 24;
    /// How far back a join asks at most: the store in memory forgets.
    const BACK: usize = 3000;
    let mut random = Random::new();
    let server = TestServer::with(|s| {
        s.store = store;
        s.outbox_events = 1_000_000; // nobody is to be let go here
    });
    let ask = Join {
        batches: true,
        ..join("Observer", 1000)
    };
    let mut observer = Peer::ask(&server.address, ask);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for n in 0..WRITERS {
            let (address, over, mut random) = (&server.address, &over, random.fork());
            scope.spawn(move || {
                let ask = Join {
                    batches: n % 2 == 0,
                    ..join(&format!("Writer{n}"), n as i32 + 1)
                };
                let mut writer = Peer::ask(address, ask);
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    let size = [1, 1, random.between(2, 50)][random.below(3) as usize];
                    say_many(&mut writer, size as i64, &mut sent);
                }
            });
        }
        let mut known: Vec<Event> = Vec::new();
        for round in 0..JOINS {
            // up to now, and a random moment longer
            let sent = round as i64 + 1;
            observer.say("now", sent);
            let own = |e: &Event| e.sender_id == 1000 && e.kind == Kind::Message && e.sent == sent;
            known.extend(observer.until("its own echo", own));
            let mut more = random.between(1, 400);
            known.extend(observer.until("more", |_| {
                more -= 1;
                more == 0
            }));
            let batches = random.below(2) == 0;
            let past = match random.below(3) {
                0 => PastAsk::Last(random.between(1, 1500) as u32),
                1 if known.len() < BACK => PastAsk::After(0),
                _ => {
                    let back = random.between(1, known.len().min(BACK) as u64) as usize;
                    PastAsk::After(known[known.len() - back].time)
                }
            };
            let what = format!("round {round}, {past:?}, batches {batches}");
            let ask = asking(&format!("Late{round}"), 100 + round as i32, past, batches);
            let late = Peer::ask(&server.address, ask);
            let mut live = 0;
            let heard = late.hear_until("live events", |r| {
                live += u32::from(!r.replayed);
                live == 100
            });
            check_seam(&heard, &what);
            let replayed = heard.iter().filter(|r| r.replayed).count() as u64;
            match past {
                PastAsk::Last(count) => {
                    // others wrote while it was read
                    let all = heard[0].event.seq == 1;
                    assert!(all || replayed >= count.into(), "{what}: {replayed}");
                }
                PastAsk::After(after) => {
                    let before = known.iter().filter(|e| e.time <= after).map(|e| e.seq);
                    let first = before.max().unwrap_or(0) + 1;
                    assert_eq!(heard[0].event.seq, first, "{what}");
                }
            }
        }
    });
}

#[test]
fn past_and_present_meet_without_a_gap_or_a_repeat_while_others_write() {
    seams(Store::Memory);
}

#[test]
fn past_and_present_meet_so_too_where_the_past_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    seams(Store::Sqlite(folder.path().join("rooms.db")));
}

#[test]
fn the_last_so_many_events_are_so_many_and_none_is_asked_for_by_nothing() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let mut sent = 0;
    say_many(&mut alex, 10, &mut sent);
    let late = Peer::ask(&server.address, asking("Late", 2, PastAsk::Last(4), false));
    let heard = late.hear_until("its own join", |r| !r.replayed);
    let texts: Vec<_> = heard.iter().map(|r| r.event.text.as_str()).collect();
    assert_eq!(
        texts[..4],
        ["number 7", "number 8", "number 9", "number 10"]
    );
    assert_eq!(heard.len(), 5);
    assert_eq!(
        Peer::join(&server.address, "Later", 3).name,
        "Later",
        "its own join comes first"
    );
}

#[test]
fn a_position_in_the_future_or_no_longer_kept_is_out_of_range() {
    const KEPT: i64 = 100_000; // by the store in memory, in every room
    let server = TestServer::with(|s| s.outbox_events = 2 * KEPT as usize);
    let out_of_range = |past| {
        let (code, words) = Peer::ask(&server.address, asking("Late", 9, past, true)).status();
        assert_eq!(code, Code::OUT_OF_RANGE.0, "{words}");
        words
    };
    assert_eq!(
        out_of_range(PastAsk::After(1)),
        "L=1 is not in the past: the room is at L=0"
    );
    out_of_range(PastAsk::After(-1));
    let mut alex = Peer::ask(
        &server.address,
        Join {
            batches: true,
            ..join("Alex", 1)
        },
    );
    let mut sent = 0;
    let last = say_many(&mut alex, KEPT + 9, &mut sent);
    assert_eq!(last, KEPT + 10);
    out_of_range(PastAsk::After(last + 1));
    assert_eq!(
        out_of_range(PastAsk::After(9)),
        "events before L=11 are no longer kept"
    );
    let late = Peer::ask(&server.address, asking("Late", 9, PastAsk::After(10), true));
    let heard = late.hear_until("its own join", |r| !r.replayed);
    assert_eq!((heard[0].event.time, heard.len() as i64), (11, KEPT + 1));
    check_seam(&heard, "all that is kept");

    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let ask = |past| {
        let room = String::new();
        let mut reader = dialled.history(&HistoryQuery { room, past }).unwrap();
        let mut times = Vec::new();
        loop {
            match reader.recv() {
                Ok(Some(page)) => times.extend(page.iter().map(|r| r.event.time)),
                Ok(None) => return Ok(times),
                Err(CallError::Status { code, .. }) => return Err(code),
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    for outside in [9, last + 1000, -1] {
        let answer = ask(Some(PastAsk::After(outside)));
        assert_eq!(answer, Err(Code::OUT_OF_RANGE), "{outside}");
    }
    let all: Vec<_> = ask(None).unwrap();
    // its join and its departure take the places of the two oldest
    assert_eq!(all.len() as i64, KEPT);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn whose_past_goes_while_it_joins_is_shown_nothing_behind_the_gap() {
    const KEPT: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::with(|s| {
        s.store = Store::Sqlite(folder.path().join("rooms.db"));
        s.keep = Some(Keep::Events(KEPT));
        s.outbox_events = 1_000_000; // nobody is to be let go here
    });
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let mut gone = 0;
    while_two_talk(&server, || {
        for round in 0..400 {
            let room = String::new();
            let now = dialled.who(&WhoQuery { room }).unwrap().clock;
            let name = format!("Late{round}");
            let ask = asking(&name, 100 + round, PastAsk::After(now), true);
            let mut late = Peer::ask(&server.address, ask);
            late.leave(1);
            let (heard, end) = late.rest();
            if end.is_ok() {
                continue;
            }
            gone += 1;
            let own = heard.iter().find(|e| e.sender.as_ref() == name);
            assert_eq!(own, None, "round {round}: {end:?}");
        }
    });
    assert!(gone > 0, "nobody was too late");
}

#[test]
fn a_client_that_is_gone_before_its_past_holds_nothing_up() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let mut sent = 0;
    say_many(&mut alex, 2000, &mut sent);
    for n in 0..50 {
        // each event of the past is a frame of its own
        let past = asking(&format!("Hasty{n}"), 10 + n, PastAsk::After(0), false);
        drop(Peer::ask(&server.address, past));
    }
    say_many(&mut alex, 1, &mut sent);
    assert!(server.stop(), "every session has ended");
}
