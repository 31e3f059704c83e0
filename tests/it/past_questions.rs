//! The past for whoever asks for it alone: by the call `History`, and by
//! `chitchat history`.

use std::io::Read;
use std::sync::Arc;

use chitchat::chat::{Audience, Event, Kind, Name, RoomId};
use chitchat::history::{Keep, Record, Roster, Store};
use chitchat::rpc::{CallError, Code, Dialler, Keepalive};
use chitchat::wire::{HISTORY, HistoryQuery, Join, PastAsk};

use crate::past::{asking, say_many, while_two_talk};
use crate::support::{DEADLINE, Http2, Peer, Program, TestServer, join};

/// What a server answered on stream 1: how many messages, and whether it ended
/// well.
fn answered(mut from: impl Read) -> (usize, bool) {
    let (mut data, mut head) = (Vec::new(), [0; 9]);
    loop {
        from.read_exact(&mut head).expect("the server answers");
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        from.read_exact(&mut payload).expect("the server answers");
        let (kind, flags) = (head[3], head[4]);
        match kind {
            0 => data.extend(payload),
            1 if flags & 1 > 0 => {
                let ended_well = b"\x0bgrpc-status\x010";
                let mut messages = 0;
                let mut rest = data.as_slice();
                while let Some((head, left)) = rest.split_at_checked(5) {
                    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                    rest = &left[len as usize..];
                    messages += 1;
                }
                let ends_well = payload.windows(ended_well.len()).any(|w| w == ended_well);
                return (messages, ends_well);
            }
            _ => {}
        }
    }
}

#[test]
fn a_history_that_was_sent_to_its_end_ends_well_although_it_is_gone_by_then() {
    const PAGE: i64 = 256;
    const MOST: i64 = 12;
    const KEPT: i64 = MOST * PAGE;
    let server = TestServer::with(|s| s.keep = Some(Keep::Events(KEPT as u64)));
    let mut whole = 0;
    // With some number of pages the last one waits for its client, and nothing
    // comes behind it.
    for pages in 1..=MOST {
        let room = format!("room {pages:02}");
        let ask = Join {
            room: room.clone(),
            batches: true,
            ..join("Talker", 1)
        };
        let (mut talker, mut sent) = (Peer::ask(&server.address, ask), 0);
        say_many(&mut talker, pages * PAGE - 1, &mut sent); // and its join
        let mut stuck = Http2::connect_stuck(&server.address);
        stuck.call_as(HISTORY.name, 1);
        let question = [b"\0\0\0\0\x09\x0a\x07", room.as_bytes()].concat();
        stuck.frame(0, 1, 1, &question); // DATA, END_STREAM
        stuck.until_answered(1);
        say_many(&mut talker, KEPT + 1, &mut sent);
        for stream in [0, 1] {
            stuck.frame(8, 0, stream, &(1u32 << 30).to_be_bytes()); // WINDOW_UPDATE
        }
        let (messages, ends_well) = answered(stuck.reader());
        if messages as i64 == pages {
            whole += 1;
            assert!(ends_well, "all {pages} pages came");
        }
    }
    assert!(whole > 0, "no history came whole");
}

#[test]
fn however_much_is_said_meanwhile_the_last_so_many_are_no_more() {
    let server = TestServer::start();
    while_two_talk(&server, || {
        for asked in (0..300).map(|n| 1 + n % 3) {
            let events = history(&server, Some(PastAsk::Last(asked)));
            assert!(events.len() <= asked as usize, "{asked}: {events:#?}");
        }
    });
}

#[test]
fn a_room_that_nobody_opened_has_no_past_either() {
    let server = TestServer::start();
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let ask = |past| {
        let room = "nowhere".to_owned();
        let mut reader = dialled.history(&HistoryQuery { room, past }).unwrap();
        reader.recv()
    };
    for nothing in [None, Some(PastAsk::Last(3)), Some(PastAsk::After(0))] {
        assert_eq!(ask(nothing), Ok(None), "{nothing:?}");
    }
    for outside in [1, -1, i64::MAX] {
        let answer = ask(Some(PastAsk::After(outside)));
        let words = format!("L={outside} is not in the past: the room is at L=0");
        let out_of_range = CallError::Status {
            code: Code::OUT_OF_RANGE,
            message: words,
        };
        assert_eq!(answer, Err(out_of_range));
    }
    assert_eq!(dialled.rooms().unwrap().0, [], "to ask opens no room");
}

#[test]
fn history_prints_a_room_for_people_and_for_programs() {
    let (_server, address) = Program::server(&[]);
    let mut alex = Peer::ask(
        &address,
        Join {
            room: "ops".to_owned(),
            ..join("Alex", 7)
        },
    );
    alex.next();
    alex.say("all \u{1b}[31mred", 5);
    alex.next();
    alex.say("", 6); // refused: no part of the history that others read
    alex.next();
    let history = |args: &[&str]| {
        let mut all = vec!["history", "--server", &address];
        all.extend(args);
        let (status, out, err) = Program::start(&all).end();
        (status.code(), out, err)
    };
    let (code, out, _) = history(&["#ops"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        out,
        [
            "[Server @ L=1] Alex: Participant Alex joined #ops at logical time L=1",
            "[Server @ L=6] Alex: all [31mred"
        ]
    );
    // Of several servers the first one that answers.
    let servers = format!("127.0.0.1:1, {address}");
    let (status, several, _) = Program::start(&["history", "ops", "--server", &servers]).end();
    assert!(status.success());
    assert_eq!(several, out);
    let (_, out, _) = history(&["ops", "--json", "--last", "1"]);
    let event: serde_json::Value = serde_json::from_str(&out[0]).unwrap();
    assert_eq!(
        (out.len(), &event["L"], &event["seq"]),
        (1, &6.into(), &2.into())
    );
    assert_eq!(
        (&event["kind"], &event["sender"]),
        (&"message".into(), &"Alex".into())
    );
    assert_eq!((&event["id"], &event["sent"]), (&7.into(), &5.into()));
    assert_eq!(event["text"], "all \u{1b}[31mred");
    assert!(event["wall_ms"].as_i64().unwrap() > 1_600_000_000_000);
    assert_eq!(event["room"], "ops");
    assert_eq!(history(&["ops", "--last", "0"]).0, Some(2));
    assert_eq!(history(&["ops", "--after", "1"]).1.len(), 1);
    assert_eq!(history(&[]).1.len(), 0, "the default room is empty");
    let (code, _, err) = history(&["ops", "--after", "99"]);
    assert_eq!(code, Some(4));
    assert_eq!(
        err.last().unwrap(),
        "chitchat: L=99 is not in the past: the room is at L=7"
    );
}

#[test]
fn what_is_not_kept_any_more_is_said_to_be_gone_on_every_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = [
        Store::Memory,
        Store::Sqlite(folder.path().join("history.db")),
    ];
    for store in stores {
        let server = TestServer::with(|settings| {
            settings.store = store;
            settings.keep = Some(Keep::Events(10));
        });
        let mut alex = Peer::join(&server.address, "Alex", 1);
        for sent in 10..60 {
            alex.say("x", sent);
            alex.next();
        }
        let asking = |past| Join {
            past: Some(past),
            ..join("Late", 2)
        };
        let late = Peer::ask(&server.address, asking(PastAsk::After(1)));
        let (code, words) = late.status();
        assert_eq!(code, Code::OUT_OF_RANGE.0);
        assert_eq!(words, "events before L=51 are no longer kept");
        // Its own joining takes the place of the oldest.
        let late = Peer::ask(&server.address, asking(PastAsk::Last(u32::MAX)));
        let past = late.until("its joining", |e| e.kind == Kind::Join);
        let times: Vec<_> = past.iter().map(|e| e.time).collect();
        assert_eq!(times, (52..=61).collect::<Vec<_>>());
        // Whoever asks for no part in particular gets what is kept.
        let events = history(&server, None);
        let times: Vec<_> = events.iter().map(|e| e.time).collect();
        assert_eq!(times, (52..=61).collect::<Vec<_>>());
    }
}

/// What `History` answers for the default room.
fn history(server: &TestServer, past: Option<PastAsk>) -> Vec<Event> {
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let room = String::new();
    let mut pages = dialled.history(&HistoryQuery { room, past }).unwrap();
    let mut events = Vec::new();
    while let Some(page) = pages.recv().unwrap() {
        events.extend(page.into_iter().map(|r| r.event));
    }
    events
}

#[test]
fn of_the_last_so_many_events_only_so_many_are_sent_but_everything_is_all_of_it() {
    const MOST: usize = 100_000;
    const KEPT: usize = MOST + 321;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(folder.path().join("history.db"));
    let room = Arc::new(RoomId {
        no: 1,
        name: Name::parse_room("").unwrap(),
    });
    let said = |n: usize| Event {
        time: n as i64,
        seq: n as u64,
        kind: Kind::Message,
        sender_id: 1,
        sender: "Alex".into(),
        text: "x".to_owned(),
        sent: n as i64 - 1,
        wall_ms: 0,
        to: None,
    };
    let kept = |n| Record {
        room: room.clone(),
        clock: n as i64,
        event: Some((said(n), Audience::Room)),
        author: None,
        roster: Roster::Same,
    };
    let group: Vec<Record> = (1..=KEPT).map(kept).collect();
    store.open().unwrap().journal.append(&group).unwrap();

    let server = TestServer::with(|s| s.store = store);
    let first_of = |events: Vec<Event>| (events.len(), events[0].seq as usize);
    for (asked, sent) in [
        (MOST - 1, MOST - 1),
        (MOST, MOST),
        (MOST + 1, MOST),
        (KEPT, MOST),
        (u32::MAX as usize, KEPT),
    ] {
        let last = PastAsk::Last(asked as u32);
        let answered = first_of(history(&server, Some(last)));
        assert_eq!(answered, (sent, KEPT + 1 - sent), "{asked}");
    }
    assert_eq!(first_of(history(&server, None)), (KEPT, 1));
    let late = asking("Late", 2, PastAsk::Last(KEPT as u32), true);
    let heard = Peer::ask(&server.address, late).until("its joining", |e| e.kind == Kind::Join);
    assert_eq!(first_of(heard), (MOST + 1, KEPT + 1 - MOST));
}
