//! Limits: what is refused, what is slowed, and that nobody else notices.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use chitchat::chat::{Event, Kind};
use chitchat::rpc::{CallError, Code, Dialled, Dialler, EventReader, FrameWriter, Keepalive};
use chitchat::server::Rate;
use chitchat::wire::{ClientFrame, Join, MAX_REQUESTS, Request, WhoQuery};

use crate::metrics::http;
use crate::support::{DEADLINE, Http2, Peer, Program, TestServer, join, sooner_or_later};

const EXHAUSTED: i32 = 8;

#[test]
fn so_many_members_get_in_and_no_more() {
    let server = TestServer::with(|s| s.max_sessions = 2);
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let _aske = Peer::join(&server.address, "Aske", 2);
    let words = "this server has 2 streams and takes no more".to_owned();
    let third = Peer::ask(&server.address, join("Beate", 3));
    assert_eq!(third.status(), (EXHAUSTED, words));
    alex.leave(1);
    assert_eq!(alex.status().0, 0);
    joins_sooner_or_later(&server, "Beate");
}

/// A stream gives its place back soon after its client has read its end.
fn joins_sooner_or_later(server: &TestServer, name: &str) {
    let begun = Instant::now();
    loop {
        let mut peer = Peer::ask(&server.address, join(name, 0));
        peer.leave(1);
        match peer.status() {
            (0, _) => return,
            other => assert!(begun.elapsed() < DEADLINE, "{other:?}"),
        }
    }
}

#[test]
fn one_address_gets_so_many_streams_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/chat.sock", dir.path().display());
    let server = TestServer::with(|s| {
        s.max_per_address = 2;
        s.listen.push(socket.clone());
    });
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let _aske = Peer::join(&server.address, "Aske", 2);
    let third = Peer::ask(&server.address, join("Beate", 3));
    let words = "this server has 2 streams from your address and takes no more".to_owned();
    assert_eq!(third.status(), (EXHAUSTED, words));
    for n in 0..3 {
        Peer::join(&socket, &format!("Local {n}"), 10 + n);
    }
    alex.leave(1);
    assert_eq!(alex.status().0, 0);
    joins_sooner_or_later(&server, "Beate");
}

#[test]
fn so_many_rooms_are_opened_and_no_more() {
    let server = TestServer::with(|s| s.max_rooms = 1);
    let _alex = Peer::join(&server.address, "Alex", 1);
    let elsewhere = Join {
        room: "elsewhere".to_owned(),
        ..join("Aske", 2)
    };
    assert_eq!(Peer::ask(&server.address, elsewhere).status().0, EXHAUSTED);
    Peer::join(&server.address, "Aske", 2);
}

#[test]
fn a_larger_frame_is_read_where_that_is_allowed() {
    let server = TestServer::with(|s| s.max_receive_bytes = 200_000);
    let mut alex = Peer::join(&server.address, "Alex", 1);
    alex.say(&"x".repeat(150_000), 1);
    assert_eq!(
        alex.next().kind,
        Kind::Refusal,
        "its text is too long, the frame is not"
    );
    alex.say(&"x".repeat(250_000), 2);
    let (code, words) = alex.status();
    assert_eq!(code, EXHAUSTED);
    assert!(words.ends_with("bytes is larger than 200000"), "{words}");
}

#[test]
fn a_frame_holds_so_many_messages_and_no_more() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let say = |sent| Request::Say {
        text: "x".to_owned(),
        to: String::new(),
        sent,
    };
    let most = MAX_REQUESTS as i64;
    alex.send((1..=most).map(say).collect());
    alex.until("the last", |e| e.sent == most);
    // The last is one that the fast way does not read.
    for last in [say(0), Request::Leave { sent: 0 }] {
        let mut peer = Peer::join(&server.address, "Many", 2);
        peer.send((1..=most).map(say).chain([last]).collect());
        let words = "a frame of more than 1024 messages".to_owned();
        assert_eq!(peer.status(), (EXHAUSTED, words));
    }
    alex.send(vec![say(most + 1)]);
    let heard = alex.until("its own words", |e| e.sent == most + 1);
    let of_many = heard.iter().filter(|e| e.sender.as_ref() == "Many");
    assert!(
        of_many.clone().all(|e| e.kind != Kind::Message),
        "{heard:?}"
    );
}

#[test]
fn who_is_too_fast_is_slowed_and_loses_nothing_and_others_are_not() {
    let server = TestServer::with(|s| {
        s.rate = Some(Rate {
            per_second: 50.0,
            burst: 5,
        });
    });
    let mut fast = Peer::join(&server.address, "Fast", 1);
    let mut calm = Peer::join(&server.address, "Calm", 2);
    fast.next();
    let begun = Instant::now();
    for n in 1..=30 {
        fast.say(&format!("line {n}"), n);
    }
    calm.say("meanwhile", 1);
    let is_last = |e: &Event| e.text == "line 30";
    let heard = calm.until("the last line", is_last);
    assert!(
        begun.elapsed() >= Duration::from_millis(500 - 10),
        "{:?}",
        begun.elapsed()
    );
    let place = heard.iter().position(|e| e.text == "meanwhile");
    assert!(
        place.is_some_and(|p| p < 29),
        "calm was not slowed: {place:?}"
    );
    let lines = heard.iter().filter(|e| e.sender.as_ref() == "Fast");
    let expected: Vec<_> = (1..=30).map(|n| format!("line {n}")).collect();
    assert!(lines.map(|e| &e.text).eq(&expected), "in order, each once");
}

/// So slow that whoever waits for it waits for ever.
const HARDLY_EVER: Rate = Rate {
    per_second: 0.001,
    burst: 1,
};

#[test]
fn a_stop_wakes_a_slowed_session() {
    let server = TestServer::with(|s| s.rate = Some(HARDLY_EVER));
    let mut alex = Peer::join(&server.address, "Alex", 1);
    alex.say("first", 1);
    alex.say("second", 2);
    assert_eq!(alex.next().text, "first");
    let begun = Instant::now();
    assert!(server.stop());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(alex.status(), (14, "the server is stopping".to_owned()));
}

#[test]
fn a_slowed_session_ends_with_its_stream_however_much_has_come() {
    let server = TestServer::with(|s| s.rate = Some(HARDLY_EVER));
    let witness = Peer::join(&server.address, "Witness", 1);
    let mut slowed = Peer::join(&server.address, "Slowed", 2);
    let say = |sent| Request::Say {
        text: "x".to_owned(),
        to: String::new(),
        sent,
    };
    for frame in 0..4 {
        slowed.send((1..=200).map(|n| say(200 * frame + n)).collect());
    }
    slowed.until("the first echo", |e| e.sent == 1);
    drop(slowed);
    let heard = witness.until("the departure", |e| e.kind == Kind::Leave);
    assert_eq!(heard.last().unwrap().sender.as_ref(), "Slowed");
}

#[test]
fn a_slowed_session_is_taken_over_at_once() {
    let server = TestServer::with(|s| s.rate = Some(HARDLY_EVER));
    let ask = Join {
        secret: vec![7; 16],
        ..join("Alex", 1)
    };
    let mut old = Peer::ask(&server.address, ask.clone());
    old.next();
    old.say("first", 1);
    old.say("second", 2);
    assert_eq!(old.next().text, "first");
    let mut new = Peer::ask(&server.address, ask);
    new.next();
    assert_eq!(old.status().0, 10, "ABORTED");
    new.say("second", 2);
    assert_eq!(new.next().text, "second");
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = TestServer::with(|s| {
        s.first_frame = Duration::from_millis(200);
        s.idle = Duration::from_secs(1);
    });
    let mut silent = TcpStream::connect(&server.address).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut rest = Vec::new();
    // what the server says of itself, and then the end
    let end = silent.read_to_end(&mut rest);
    assert!(
        end.as_ref()
            .map_or_else(|e| e.kind() != std::io::ErrorKind::WouldBlock, |_| true),
        "{end:?}"
    );
    // a handshake, and never a stream
    Http2::connect(&server.address).until_closed();
}

/// A stream on a connection that others share.
fn stream(dialled: &Dialled, name: &str) -> (FrameWriter, EventReader) {
    let (mut writer, reader) = dialled.chat().unwrap();
    send(&mut writer, Request::Join(Box::new(join(name, 0))));
    (writer, reader)
}

fn send(writer: &mut FrameWriter, request: Request) {
    let requests = vec![request];
    let frame = ClientFrame {
        id: 0,
        name: "".into(),
        requests,
    };
    // An error says that the stream has ended, as it may before this is known.
    let _ = writer.send(frame);
}

#[test]
fn on_one_connection_a_stream_too_many_waits() {
    let server = TestServer::with(|s| s.max_per_connection = 2);
    let witness = Peer::join(&server.address, "Witness", 1);
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let (mut first, mut first_events) = stream(&dialled, "First");
    first_events.recv().unwrap();
    let (_second, mut second_events) = stream(&dialled, "Second");
    second_events.recv().unwrap();
    let third = std::thread::spawn(move || {
        let (_writer, mut events) = stream(&dialled, "Third");
        events.recv().unwrap();
    });
    send(&mut first, Request::Leave { sent: 1 });
    while first_events.recv().unwrap().is_some() {}
    third.join().unwrap();
    let joins_third = |e: &Event| e.kind == Kind::Join && e.sender.as_ref() == "Third";
    let heard = witness.until("the third", joins_third);
    assert!(
        heard
            .iter()
            .any(|e| e.kind == Kind::Leave && e.sender.as_ref() == "First")
    );
}

/// Joins with a secret: once it vanishes, the server may await it.
fn vanishing(address: &str, n: u8) -> Peer {
    let ask = Join {
        secret: vec![n; 16],
        ..join(&format!("Vanishing {n}"), 0)
    };
    let peer = Peer::ask(address, ask);
    peer.next();
    peer
}

/// Waits until so many are awaited.
fn until_away(server: &TestServer, n: u8) {
    let line = format!("chitchat_away {n}");
    sooner_or_later(&line, || page(server).lines().any(|l| l == line));
}

#[test]
fn however_many_vanish_only_so_many_are_awaited() {
    let server = TestServer::with(|s| {
        s.max_away = 2;
        s.grace = Duration::from_secs(3600);
        s.metrics = Some("127.0.0.1:0".to_owned());
    });
    let witness = Peer::join(&server.address, "Witness", 1);
    for n in 1..=2 {
        drop(vanishing(&server.address, n));
        until_away(&server, n);
    }
    drop(vanishing(&server.address, 3));
    let heard = witness.until("the departure", |e| e.kind == Kind::Leave);
    assert_eq!(heard.last().unwrap().sender.as_ref(), "Vanishing 3");
    let dialled = Dialler::new(Keepalive::default()).dial(&server.address, DEADLINE);
    let ask = WhoQuery {
        room: String::new(),
    };
    let roster = dialled.unwrap().who(&ask).unwrap();
    let away = roster.participants.iter().filter(|p| p.away);
    assert!(away.map(|p| &p.name).eq(["Vanishing 1", "Vanishing 2"]));
}

#[test]
fn whoever_is_back_is_awaited_no_more_and_another_may_be() {
    let server = TestServer::with(|s| {
        s.max_away = 1;
        s.grace = Duration::from_secs(3600);
        s.metrics = Some("127.0.0.1:0".to_owned());
    });
    let mut witness = Peer::join(&server.address, "Witness", 1);
    drop(vanishing(&server.address, 1));
    until_away(&server, 1);
    let back = vanishing(&server.address, 1);
    assert!(page(&server).lines().any(|l| l == "chitchat_away 0"));
    drop(vanishing(&server.address, 2));
    until_away(&server, 1);
    witness.say("nobody has left", 1);
    let heard = witness.until("the echo", |e| e.kind != Kind::Join);
    assert_eq!(heard.last().unwrap().text, "nobody has left");
    drop(back); // is one too many
    let left = witness.next();
    assert_eq!(
        (left.kind, left.sender.as_ref()),
        (Kind::Leave, "Vanishing 1")
    );
}

#[test]
fn whoever_was_back_and_is_lost_again_leaves_when_its_time_is_over() {
    let server = TestServer::with(|s| s.grace = Duration::from_millis(300));
    let witness = Peer::join(&server.address, "Witness", 1);
    // The second one after nobody has been awaited for a while.
    for n in [1, 2] {
        for _ in 0..2 {
            drop(vanishing(&server.address, n));
        }
        let name = format!("Vanishing {n}");
        let left = |e: &Event| e.kind == Kind::Leave && e.sender.as_ref() == name;
        witness.until("the departure", left);
    }
}

#[test]
fn so_many_questions_are_answered_at_once_and_no_more() {
    let ask = |server: &TestServer| {
        let dialled = Dialler::new(Keepalive::default()).dial(&server.address, DEADLINE);
        dialled.unwrap().rooms().map(|rooms| rooms.0.len())
    };
    let none = TestServer::with(|s| s.max_questions = 0);
    let _member = Peer::join(&none.address, "Alex", 1); // is not concerned
    let refused = CallError::Status {
        code: Code::RESOURCE_EXHAUSTED,
        message: "too many questions at once".to_owned(),
    };
    assert_eq!(ask(&none), Err(refused));
    let one = TestServer::with(|s| {
        s.max_questions = 1;
        s.metrics = Some("127.0.0.1:0".to_owned());
    });
    for _ in 0..20 {
        // The one before is answered, but its thread may not have ended.
        sooner_or_later("an answer", || ask(&one) == Ok(0));
    }
    let line = "chitchat_questions 0";
    sooner_or_later(line, || page(&one).lines().any(|l| l == line));
}

#[test]
fn a_connection_without_a_call_is_closed_and_one_with_a_call_is_not() {
    let server = TestServer::with(|s| s.idle = Duration::from_millis(300));
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let begun = Instant::now();
    Http2::connect(&server.address).until_closed();
    assert!(begun.elapsed() >= Duration::from_millis(250));
    alex.say("still here", 1);
    assert_eq!(alex.next().text, "still here");
}

#[test]
fn the_program_takes_these_limits() {
    let (_server, address) = Program::server(&[
        "--max-away",
        "0",
        "--max-questions",
        "0",
        "--idle",
        "300ms",
        "--grace",
        "60m",
    ]);
    let witness = Peer::join(&address, "Witness", 1);
    drop(vanishing(&address, 1));
    witness.until("the departure", |e| e.kind == Kind::Leave);
    let dialled = Dialler::new(Keepalive::default()).dial(&address, DEADLINE);
    assert!(dialled.unwrap().rooms().is_err());
    Http2::connect(&address).until_closed();
}

fn page(server: &TestServer) -> String {
    http(&server.metrics_address(), "GET /metrics")
}

#[test]
fn of_those_who_left_only_so_many_are_recognised() {
    for (remembered, recognised) in [(1, false), (2, true)] {
        let server = TestServer::with(|s| s.max_remembered = remembered);
        let ask = |name: &str, byte| Join {
            secret: vec![byte; 16],
            ..join(name, 0)
        };
        for (name, byte) in [("Alex", 1), ("Aske", 2)] {
            let mut peer = Peer::ask(&server.address, ask(name, byte));
            peer.next();
            peer.say("once", 5);
            peer.next();
            peer.leave(6);
            assert_eq!(peer.status().0, 0);
        }
        let mut alex = Peer::ask(&server.address, ask("Alex", 1));
        alex.next();
        alex.say("once", 5);
        alex.say("and then", 9);
        let heard = alex.until("the second", |e| e.text == "and then");
        let first = if recognised {
            Kind::Refusal
        } else {
            Kind::Message
        };
        assert_eq!(heard[0].kind, first, "{remembered}: {heard:?}");
    }
}

/// What it cannot say yet waits in the client, and not in the server.
#[test]
fn a_slowed_member_does_not_fill_the_servers_memory() {
    let server = TestServer::with(|s| s.rate = Some(HARDLY_EVER));
    let mut connection = Http2::connect(&server.address);
    connection.join("Alex", 1);
    let words = [&[0x2a, 100][..], &[b'x'; 100], &[0x40, 1]].concat(); // msg, type
    let message = [&[0, 0, 0, 0, words.len() as u8][..], &words].concat();
    let let_in = connection.send_all_that_is_let_in(&message.repeat(100), 32 << 20);
    assert!(let_in < 4 << 20, "{let_in}");
}
