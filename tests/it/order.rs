//! One order for all, and nobody waits for the slow.

use chitchat::chat::{Event, Kind};
use chitchat::wire::{Ending, Join, Request};

use crate::support::{Peer, TestServer, join};

fn say(text: String, sent: i64) -> Request {
    Request::Say {
        text,
        to: String::new(),
        sent,
    }
}

/// Lets them join one after the other, so that all hear everything that is said
/// from then on.
fn gather(address: &str, asks: impl Iterator<Item = Join>) -> Vec<Peer> {
    let is_of = |peer: &Peer, e: &Event| e.sender.as_ref() == peer.name;
    let mut peers: Vec<Peer> = Vec::new();
    for ask in asks {
        let newcomer = Peer::ask(address, ask);
        newcomer.until("its own join", |e| is_of(&newcomer, e));
        for peer in &peers {
            peer.until("the newcomer", |e| is_of(&newcomer, e));
        }
        peers.push(newcomer);
    }
    peers
}

#[test]
fn all_see_one_rising_sequence_without_gap_or_repeat() {
    const SENDERS: usize = 6;
    const READERS: usize = 6;
    const EACH: usize = 400;
    let server = TestServer::start();
    let ask = |n: usize| Join {
        batches: n.is_multiple_of(2),
        ..join(&format!("P{n}"), n as i32 + 1)
    };
    let mut peers = gather(&server.address, (0..SENDERS + READERS).map(ask));
    std::thread::scope(|scope| {
        for peer in peers.iter_mut().take(SENDERS) {
            scope.spawn(move || {
                for n in 0..EACH {
                    peer.send(vec![say(format!("{} {n}", peer.name), n as i64)]);
                }
            });
        }
    });
    let mut all: Vec<Vec<Event>> = Vec::new();
    for peer in &peers {
        let mut heard = 0;
        all.push(peer.until("every message", |_| {
            heard += 1;
            heard == SENDERS * EACH
        }));
    }
    for events in &all {
        for pair in events.windows(2) {
            assert!(pair[0].time < pair[1].time, "{pair:?}");
            assert_eq!(pair[0].seq + 1, pair[1].seq, "{pair:?}");
        }
        assert_eq!(events, &all[0]);
    }
    for n in 0..SENDERS {
        let own: Vec<_> = all[0]
            .iter()
            .filter(|e| e.sender.as_ref() == format!("P{n}"))
            .collect();
        let texts: Vec<_> = own.iter().map(|e| e.text.clone()).collect();
        let sent: Vec<_> = (0..EACH).map(|k| format!("P{n} {k}")).collect();
        assert_eq!(texts, sent, "a sender's own order is kept");
    }
}

#[test]
fn concurrent_sends_have_times_that_pass_what_each_sender_had_seen() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let mut aske = Peer::join(&server.address, "Aske", 2);
    alex.next();
    alex.say("far ahead", 1000);
    assert_eq!(aske.next().time, 1001);
    aske.say("behind", 5);
    assert_eq!(aske.next().time, 1002);
    assert_eq!(
        alex.until("behind", |e| e.text == "behind")
            .pop()
            .unwrap()
            .time,
        1002
    );
}

#[test]
fn a_slow_reader_delays_nobody_and_is_let_go_when_its_outbox_is_full() {
    let server = TestServer::with(|s| s.outbox_events = 64);
    let mut talker = Peer::join(&server.address, "Talker", 1);
    // Reads its first event and then nothing: gRPC's own window, some
    // megabytes, fills first, then the outbox.
    let slow = Stuck::join(&server.address, "Slow");
    talker.until("Slow", |e| e.sender.as_ref() == "Slow");
    let text = "🦀".repeat(128);
    let mut sent = 0;
    let left = loop {
        sent += 1;
        talker.say(&text, sent);
        // The talker reads its echo each time, so its own outbox never fills.
        let heard = talker.until("an echo", |e| e.sent == sent);
        if let Some(left) = heard.into_iter().find(|e| e.kind == Kind::Leave) {
            break left;
        }
        assert!(
            sent < 200_000,
            "a reader that never reads is still in the room"
        );
    };
    assert_eq!(left.sender.as_ref(), "Slow");
    // Once it reads again it gets what gRPC had taken, and then the reason.
    let (code, message) = slow.read_to_the_end();
    assert!(
        (code, message.as_str()) == (8, &Ending::TooSlow.to_string()) || code == 1,
        "{code} {message}"
    );
    talker.say("still here", sent + 1);
    talker.until("the talker's echo", |e| e.text == "still here");
}

/// A client that joins and does not read until it is told to.
struct Stuck {
    writer: chitchat::rpc::FrameWriter,
    reader: chitchat::rpc::EventReader,
    _connection: chitchat::rpc::Dialled,
}

impl Stuck {
    fn join(address: &str, name: &str) -> Self {
        use chitchat::rpc::{Dialler, Keepalive};
        use chitchat::wire::ClientFrame;
        let connection = Dialler::new(Keepalive::default())
            .dial(address, crate::support::DEADLINE)
            .unwrap();
        let (mut writer, mut reader) = connection.chat().unwrap();
        let requests = vec![Request::Join(Box::new(join(name, 99)))];
        writer
            .send(ClientFrame {
                id: 99,
                name: name.into(),
                requests,
            })
            .unwrap();
        reader.recv().unwrap();
        Self {
            writer,
            reader,
            _connection: connection,
        }
    }

    fn read_to_the_end(mut self) -> (i32, String) {
        let end = loop {
            match self.reader.recv() {
                Ok(Some(_)) => {}
                Ok(None) => break (0, String::new()),
                Err(chitchat::rpc::CallError::Status { code, message }) => break (code.0, message),
                Err(other) => break (-1, other.to_string()),
            }
        };
        self.writer.cancel();
        end
    }
}
