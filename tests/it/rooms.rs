//! Rooms: each has its own clock, order and roster. And what only two see.

use chitchat::chat::Kind;
use chitchat::rpc::{Dialled, Dialler, Keepalive};
use chitchat::wire::{Join, PastAsk, Request, WhoQuery};

use crate::support::{DEADLINE, Peer, TestServer, join, with_secret};

fn in_room(room: &str, name: &str, id: i32) -> Join {
    Join {
        room: room.to_owned(),
        ..join(name, id)
    }
}

fn private(peer: &mut Peer, to: &str, text: &str, sent: i64) {
    peer.send(vec![Request::Say {
        text: text.to_owned(),
        to: to.to_owned(),
        sent,
    }]);
}

fn dial(server: &TestServer) -> Dialled {
    Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap()
}

#[test]
fn each_room_has_its_own_clock_order_and_roster() {
    let server = TestServer::start();
    let mut ops = Peer::ask(&server.address, in_room("ops", "Alex", 1));
    let joined = ops.next();
    assert_eq!(
        (joined.text.as_str(), joined.time, joined.seq),
        ("Participant Alex joined #ops at logical time L=1", 1, 1)
    );
    ops.say("here", 500);
    assert_eq!(ops.next().time, 501);
    // the same name and id, in the default room, whose words are the original's
    let mut lobby = Peer::ask(&server.address, join("Alex", 1));
    let joined = lobby.next();
    assert_eq!(
        (joined.text.as_str(), joined.time, joined.seq),
        (
            "Participant Alex joined Chit Chat at logical time L=1",
            1,
            1
        )
    );
    lobby.say("there", 1);
    let said = lobby.next();
    assert_eq!((said.time, said.seq), (2, 2));
    // rooms are the same without regard to case, with and without the hash
    let same = Peer::ask(&server.address, in_room("#OPS", "Aske", 2)).next();
    assert_eq!(
        (same.text.as_str(), same.seq),
        ("Participant Aske joined #ops at logical time L=502", 3)
    );
    assert_eq!(ops.next().text, same.text);
    for bad in ["#", "server", "a\u{202e}b"] {
        let peer = Peer::ask(&server.address, in_room(bad, "Alex", 1));
        assert_eq!(peer.status().0, 3, "INVALID_ARGUMENT for {bad:?}");
    }
}

#[test]
fn who_tells_who_is_there_and_who_may_come_back() {
    let server = TestServer::with(|s| s.grace = DEADLINE);
    let dialled = dial(&server);
    let who = |room: &str| {
        let room = room.to_owned();
        dialled.who(&WhoQuery { room }).unwrap()
    };
    let empty = who("nowhere");
    assert_eq!((empty.clock, empty.participants.len()), (0, 0));
    let mut alex = Peer::join(&server.address, "Alex", 7);
    let aske = Peer::ask(&server.address, with_secret("Aske", 8));
    alex.next();
    let expected = |away| {
        [("Alex", 7, 1, false), ("Aske", 8, 2, away)]
            .map(|(name, id, joined, away)| (name.to_owned(), id, joined, away))
    };
    let roster = || -> Vec<_> {
        let found = who("#Chit Chat").participants;
        found
            .into_iter()
            .map(|p| (p.name, p.id, p.joined, p.away))
            .collect()
    };
    assert_eq!(roster(), expected(false));
    assert_eq!(who("").room, "Chit Chat");
    drop(aske);
    let mut sent = 0;
    while roster() != expected(true) {
        sent += 1;
        alex.say("is it gone?", sent); // an exchange with the server between two looks
        alex.next();
        assert!(sent < 100_000, "the loss is not noticed");
    }
    assert_eq!(who("").clock, sent + 2);
}

#[test]
fn rooms_are_listed_in_the_order_in_which_they_were_opened() {
    let server = TestServer::start();
    let dialled = dial(&server);
    assert_eq!(dialled.rooms().unwrap().0, []);
    let ops = Peer::ask(&server.address, in_room("ops", "Alex", 1));
    ops.next();
    let _lobby = Peer::join(&server.address, "Alex", 1);
    let _aske = Peer::ask(&server.address, in_room("Ops", "Aske", 2)).next();
    ops.next();
    let rooms = || -> Vec<_> {
        let found = dialled.rooms().unwrap().0;
        found
            .into_iter()
            .map(|r| (r.name, r.participants, r.clock))
            .collect()
    };
    ops.until("the departure", |e| e.kind == Kind::Leave);
    assert_eq!(
        rooms(),
        [("ops".to_owned(), 1, 3), ("Chit Chat".to_owned(), 1, 1)]
    );
}

#[test]
fn a_private_message_is_for_two_also_later() {
    let server = TestServer::with(|s| s.grace = DEADLINE);
    let [mut alex, aske, nosy] = [("Alex", 1), ("Aske", 2), ("Nosy", 3)].map(|(name, id)| {
        let peer = Peer::ask(&server.address, with_secret(name, id));
        peer.next();
        peer
    });
    alex.until("Nosy", |e| e.sender.as_ref() == "Nosy");
    aske.until("Nosy", |e| e.sender.as_ref() == "Nosy");
    private(&mut alex, "ASKE", "psst", 4);
    private(&mut alex, "Nobody", "psst", 5);
    alex.say("to all", 6);
    let echo = alex.next();
    assert_eq!(
        (echo.text.as_str(), echo.time, echo.seq, echo.to.as_deref()),
        ("psst", 5, 0, Some("Aske"))
    );
    let refused = alex.next();
    assert_eq!(
        (refused.kind, refused.text.as_str(), refused.time),
        (Kind::Refusal, "There is no participant «Nobody» here.", 6)
    );
    let public = alex.next();
    assert_eq!((public.time, public.seq), (7, 4), "numbers have no gap");
    assert_eq!(aske.next(), echo);
    assert_eq!(aske.next(), public);
    assert_eq!(nosy.next(), public);

    // and so it is for those who come back
    drop((alex, aske, nosy));
    for (name, id, expected) in [
        ("Alex", 1, vec![5, 6, 7]),
        ("Aske", 2, vec![5, 7]),
        ("Nosy", 3, vec![7]),
    ] {
        let again = Join {
            past: Some(PastAsk::After(4)),
            ..with_secret(name, id)
        };
        let heard = Peer::ask(&server.address, again).hear_until("live", |r| !r.replayed);
        let times: Vec<_> = heard
            .iter()
            .filter(|r| r.replayed)
            .map(|r| r.event.time)
            .collect();
        assert_eq!(times, expected, "{name}");
    }
    // somebody new, even with the name, sees what all see
    let stranger = Join {
        past: Some(PastAsk::After(4)),
        ..join("Stranger", 9)
    };
    let heard = Peer::ask(&server.address, stranger).hear_until("live", |r| !r.replayed);
    assert!(heard.iter().all(|r| r.event.seq > 0), "{heard:#?}");
}

#[test]
fn a_message_to_white_space_is_for_nobody() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let aske = Peer::join(&server.address, "Aske", 2);
    alex.next();
    for (sent, to) in [(2, " "), (3, "\t\n"), (4, "\u{a0}")] {
        private(&mut alex, to, "a secret", sent);
        let refused = alex.next();
        assert_eq!(
            (refused.kind, refused.text.as_str(), refused.sent),
            (Kind::Refusal, "There is no participant «» here.", sent)
        );
    }
    alex.say("to all", 5);
    assert_eq!(aske.next().text, "to all");
}

#[test]
fn however_a_room_is_written_its_name_leads_back_to_it() {
    let server = TestServer::start();
    let dialled = dial(&server);
    for (n, (written, shown)) in [
        ("chit chat", "Chit Chat"),
        ("", "Chit Chat"),
        ("##ops", "#ops"),
        ("# ops", "#ops"),
        ("ops", "#ops"),
    ]
    .into_iter()
    .enumerate()
    {
        let joined = Peer::ask(&server.address, in_room(written, &format!("P{n}"), 0)).next();
        let words = format!("Participant P{n} joined {shown} at logical time");
        assert!(joined.text.starts_with(&words), "{written}: {joined:?}");
    }
    let rooms = dialled.rooms().unwrap().0;
    let names: Vec<_> = rooms.into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["Chit Chat", "ops"]);
    for room in names {
        let asked = WhoQuery { room: room.clone() };
        assert_eq!(dialled.who(&asked).unwrap().room, room);
    }
}
