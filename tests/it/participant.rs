//! The client's own clock, and what its log says of it.

use std::time::Duration;

use chitchat::chat::{Kind, Name};
use chitchat::client::{End, Happening, Participant, Settings};
use chitchat::rpc::{Access, Keepalive};
use chitchat::trace::line::{Line, What};
use crossbeam_channel::Receiver;

use crate::support::{DEADLINE, Peer, Program, TestServer};

fn settings(server: &TestServer, name: &str) -> Settings {
    Settings {
        servers: vec![server.address.clone()],
        name: Name::parse(name).unwrap(),
        id: 0,
        room: String::new(),
        past: None,
        access: Access::default(),
        keepalive: Keepalive::default(),
        dial_patience: DEADLINE,
        reconnect: Duration::ZERO,
    }
}

fn event(told: &Receiver<Happening>) -> (chitchat::chat::Event, i64) {
    match told.recv_timeout(DEADLINE) {
        Ok(Happening::Event { received, own_time }) => (received.event, own_time),
        other => panic!("an event was to come, not {other:?}"),
    }
}

#[test]
fn the_clients_clock_is_raised_by_what_it_receives() {
    let server = TestServer::start();
    let (alex, told) = Participant::start(settings(&server, "Alex")).unwrap();
    let (joined, own) = event(&told);
    // JOIN was sent at 1, stamped 2, received at 3
    assert_eq!((joined.time, joined.sent, own), (2, 1, 3));
    let mut aske = Peer::join(&server.address, "Aske", 9);
    assert_eq!(event(&told).1, 4);
    aske.say("far ahead", 500);
    let (said, own) = event(&told);
    assert_eq!((said.time, own), (501, 502));
    assert_eq!(alex.voice().say("later than that", "").unwrap(), 503);
    let (echo, own) = event(&told);
    assert_eq!((echo.sent, echo.time, own), (503, 504, 505));
    alex.voice().leave();
    assert!(matches!(
        told.recv_timeout(DEADLINE),
        Ok(Happening::Ended(End::Left))
    ));
    aske.until("the departure", |e| e.kind == Kind::Leave && e.sent == 506);
    alex.join();
}

#[test]
fn in_a_clients_log_its_times_rise_and_each_send_is_later_than_all_it_had_received() {
    let server = TestServer::start();
    let mut aske = Peer::join(&server.address, "Aske", 9);
    let mut client = Program::client("Al\u{65}x ]\\[", &server.address, &[]);
    client.wait_for("joined");
    for n in 0..50 {
        client.type_line(&format!("line {n} \u{1b}[31m\\ \"x\""));
        aske.say("between", n * 7);
    }
    client.end_input();
    let (status, _, log) = client.end();
    assert!(status.success());
    let lines: Vec<_> = log
        .iter()
        .map(|l| Line::parse(l).unwrap_or_else(|| panic!("{l}")))
        .collect();
    assert_eq!(lines[0].what, What::Start);
    assert_eq!(lines.last().unwrap().what, What::Stop);
    assert_eq!(lines[0].process, "Client Alex ]\\[");
    let mut latest = 0;
    for line in &lines[1..lines.len() - 1] {
        let own = line.number("L").unwrap();
        assert!(own > latest, "{line:?}");
        assert!(line.number("of").is_none_or(|of| of < own), "{line:?}");
        latest = own;
    }
    let count = |what| lines.iter().filter(|l| l.what == what).count();
    assert_eq!(count(What::Send), 1 + 50 + 1);
    assert!(
        log.iter()
            .any(|l| l.contains("line 7 \\u{1b}[31m\\\\ \"x\"")),
        "{log:#?}"
    );
}

#[test]
fn a_server_that_is_gone_is_told_and_so_is_what_has_no_echo() {
    let server = TestServer::start();
    let (alex, told) = Participant::start(settings(&server, "Alex")).unwrap();
    event(&told);
    server.stop();
    match told.recv_timeout(DEADLINE) {
        Ok(Happening::Ended(End::Gone { why, unsent: 0 })) => {
            assert_eq!(why.to_string(), "the server is stopping");
        }
        other => panic!("{other:?}"),
    }
    assert!(alex.voice().say("too late", "").is_err());
    alex.join();
}

#[test]
fn a_client_that_is_refused_hears_why() {
    let server = TestServer::start();
    let _first = Peer::join(&server.address, "Alex", 9);
    let (alex, told) = Participant::start(settings(&server, "Alex")).unwrap();
    match told.recv_timeout(DEADLINE) {
        Ok(Happening::Ended(End::Refused { why, unsent: 0 })) => {
            assert_eq!(why.to_string(), "the name «Alex» is taken in Chit Chat");
        }
        other => panic!("{other:?}"),
    }
    alex.join();
}
