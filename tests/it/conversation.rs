//! The conversation in the report of the original system, with clocks that
//! behave as its clients' did: JOIN at 0, then 1, 2, 3 …, never raised.

use chitchat::chat::{Event, Kind};
use chitchat::rpc::{Dialler, Keepalive};
use chitchat::wire::{CHAT_CALL, ClientFrame, Request};

use crate::support::{DEADLINE, Peer, TestServer, join, raw};

/// What Alex typed at L=6: 354 characters.
const TOO_LONG: &str = "In this assignment you will design and implement Chit Chat, a distributed chat service where participants can join, exchange messages, and leave the conversation at any time. Chit Chat is a lively playground for exploring the essence of distributed systems: communication, coordination, and the ordering of events in a world without a single shared clock";

/// A client as the original's: its clock counts its own sends alone.
struct Original {
    peer: Peer,
    clock: i64,
}

impl Original {
    fn join(server: &TestServer, name: &str, id: i32) -> Self {
        Self {
            peer: Peer::ask(&server.address, join(name, id)),
            clock: 0,
        }
    }

    fn say(&mut self, text: &str) {
        self.clock += 1;
        self.peer.say(text, self.clock);
    }

    fn leave(&mut self) {
        self.clock += 1;
        self.peer.leave(self.clock);
    }

    fn hears(&self, time: i64, sender: &str, text: &str) {
        let event = self.peer.next();
        assert_eq!(
            (event.time, event.sender.as_ref(), event.text.as_str()),
            (time, sender, text),
            "at {}",
            self.peer.name
        );
    }
}

fn all_hear(who: &[&Original], time: i64, sender: &str, text: &str) {
    who.iter().for_each(|one| one.hears(time, sender, text));
}

#[test]
fn the_conversation_of_the_report_has_the_same_times_and_texts() {
    assert_eq!(TOO_LONG.chars().count(), 354);
    let server = TestServer::start();
    let mut alex = Original::join(&server, "Alex", 3300);
    all_hear(
        &[&alex],
        1,
        "Alex",
        "Participant Alex joined Chit Chat at logical time L=1",
    );
    alex.say("Hello World!");
    all_hear(&[&alex], 2, "Alex", "Hello World!");
    let mut aske = Original::join(&server, "Aske", 4800);
    all_hear(
        &[&alex, &aske],
        3,
        "Aske",
        "Participant Aske joined Chit Chat at logical time L=3",
    );
    aske.say("Hello Alex");
    all_hear(&[&alex, &aske], 4, "Aske", "Hello Alex");
    alex.say("I will try to type a really long message");
    all_hear(
        &[&alex, &aske],
        5,
        "Alex",
        "I will try to type a really long message",
    );
    alex.say(TOO_LONG);
    // Alex alone; Aske's next event is L=7
    all_hear(
        &[&alex],
        6,
        "Server",
        "Message too long (354 chars). Limit is 128.",
    );
    aske.say("I could not see the msg");
    all_hear(&[&alex, &aske], 7, "Aske", "I could not see the msg");
    aske.say("Now I will leave the chat");
    all_hear(&[&alex, &aske], 8, "Aske", "Now I will leave the chat");
    let mut bob = Original::join(&server, "Bob", 9400);
    all_hear(
        &[&alex, &aske, &bob],
        9,
        "Bob",
        "Participant Bob joined Chit Chat at logical time L=9",
    );
    aske.say("exitexit");
    all_hear(&[&alex, &aske, &bob], 10, "Aske", "exitexit");
    aske.leave();
    all_hear(
        &[&alex, &bob],
        11,
        "Aske",
        "Participant Aske left Chit Chat at logical time L=11",
    );
    assert_eq!(aske.peer.status(), (0, String::new()));
    bob.say("Can I send a message now.");
    all_hear(&[&alex, &bob], 12, "Bob", "Can I send a message now.");
    bob.say("Oh, great. It seems to work now.");
    all_hear(
        &[&alex, &bob],
        13,
        "Bob",
        "Oh, great. It seems to work now.",
    );
    bob.say(" ");
    // the original showed this empty line to all; here it is refused
    all_hear(&[&bob], 14, "Server", "Message is empty.");
    drop(bob);
    // the original noticed Bob's loss at the next send; here it is announced
    all_hear(
        &[&alex],
        15,
        "Bob",
        "Participant Bob left Chit Chat at logical time L=15",
    );
    alex.say("What about now");
    all_hear(&[&alex], 16, "Alex", "What about now");
    alex.say("I am alone");
    all_hear(&[&alex], 17, "Alex", "I am alone");
    alex.say("goodbye");
    all_hear(&[&alex], 18, "Alex", "goodbye");
    alex.leave();
    assert_eq!(alex.peer.status(), (0, String::new()));
}

#[test]
fn every_event_says_what_it_is_and_carries_its_number_and_its_send() {
    let server = TestServer::start();
    let mut alex = Original::join(&server, "Alex", 3300);
    let joined = alex.peer.next();
    assert_eq!(
        (joined.kind, joined.seq, joined.sent, joined.sender_id),
        (Kind::Join, 1, 0, 3300)
    );
    alex.say("hi");
    let said = alex.peer.next();
    assert_eq!((said.kind, said.seq, said.sent), (Kind::Message, 2, 1));
    alex.say("");
    let refused = alex.peer.next();
    assert_eq!(
        (refused.kind, refused.seq, refused.sent, refused.sender_id),
        (Kind::Refusal, 0, 2, 0)
    );
    alex.say("ho");
    assert_eq!(alex.peer.next().seq, 3);
}

#[test]
fn a_group_comes_as_one_frame_to_those_who_asked_for_batches() {
    let server = TestServer::start();
    let mut many = Peer::ask(
        &server.address,
        chitchat::wire::Join {
            batches: true,
            ..join("Many", 1)
        },
    );
    many.until("its own announcement", |e| e.sender.as_ref() == "Many");
    let one = Peer::join(&server.address, "One", 2);
    many.until("One", |e| e.sender.as_ref() == "One");
    let texts: Vec<_> = (1..=200).map(|n| format!("message {n}")).collect();
    let say = |(n, text): (usize, &String)| Request::Say {
        text: text.clone(),
        to: String::new(),
        sent: n as i64 + 1,
    };
    many.send(texts.iter().enumerate().map(say).collect());
    let said = |events: Vec<Event>| events.into_iter().map(|e| e.text).collect::<Vec<_>>();
    assert_eq!(
        said(many.until("the last", |e| e.text == "message 200")),
        texts
    );
    // who did not ask gets the same events, each in a frame of its own
    for text in &texts {
        assert_eq!(one.next().text, *text);
    }
}

#[test]
fn a_frame_that_is_not_ours_is_refused_with_a_reason() {
    let server = TestServer::start();
    // an event type that does not exist
    let raw = raw(&CHAT_CALL);
    let env = std::sync::Arc::new(grpcio::Environment::new(1));
    let channel = grpcio::ChannelBuilder::new(env).connect(&server.address);
    let client = grpcio::Client::new(channel);
    for bytes in [vec![0x40, 99], vec![0xff; 40], vec![0x12, 200, 1]] {
        use futures_util::{SinkExt, StreamExt};
        let (mut sink, mut stream) = client
            .duplex_streaming(&raw, grpcio::CallOption::default())
            .unwrap();
        // An error says that the answer was faster.
        let _ =
            futures_executor::block_on(sink.send((bytes.clone(), grpcio::WriteFlags::default())));
        match futures_executor::block_on(stream.next()) {
            Some(Err(grpcio::Error::RpcFailure(status))) => {
                assert_eq!(
                    status.code(),
                    grpcio::RpcStatusCode::INVALID_ARGUMENT,
                    "{bytes:?}"
                );
                assert!(
                    status.message().starts_with("malformed frame"),
                    "{}",
                    status.message()
                );
            }
            other => panic!("{bytes:?} got {:?}", other.map(|r| r.map(|e| e.len()))),
        }
    }
}

#[test]
fn an_original_client_needs_nothing_but_the_original_fields() {
    let server = TestServer::start();
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let (mut writer, mut reader) = dialled.chat().unwrap();
    let requests = vec![Request::Join(Box::new(join("Alex", 3300)))];
    writer
        .send(ClientFrame {
            id: 3300,
            name: "Alex".into(),
            requests,
        })
        .unwrap();
    let first = reader.recv().unwrap().unwrap();
    assert_eq!(first.len(), 1);
    assert!(!first[0].replayed);
    writer.close();
    assert_eq!(reader.recv().unwrap(), None);
}
