//! Who somebody is belongs to the stream; times that no honest clock has are
//! refused.

use chitchat::chat::{Kind, MAX_AHEAD};
use chitchat::rpc::{Dialler, Keepalive};
use chitchat::wire::{ClientFrame, Join, PastAsk, Request};

use crate::support::{DEADLINE, Peer, TestServer, join};

#[test]
fn an_id_or_a_name_in_a_message_changes_nothing() {
    let server = TestServer::start();
    let witness = Peer::join(&server.address, "Witness", 1);
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let (mut writer, _reader) = dialled.chat().unwrap();
    let mut send = |id, name: &str, request| {
        writer
            .send(ClientFrame {
                id,
                name: name.into(),
                requests: vec![request],
            })
            .unwrap();
    };
    send(7, "Mallory", Request::Join(Box::new(join("Mallory", 7))));
    send(
        1,
        "Witness",
        Request::Say {
            text: "I am Witness".into(),
            to: String::new(),
            sent: 1,
        },
    );
    send(1, "Witness", Request::Leave { sent: 2 });
    witness.next();
    let said = witness.next();
    assert_eq!((said.sender_id, said.sender.as_ref()), (7, "Mallory"));
    let left = witness.next();
    assert_eq!((left.kind, left.sender.as_ref()), (Kind::Leave, "Mallory"));
}

#[test]
fn a_name_or_an_id_that_is_taken_is_refused_until_its_holder_has_left() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    for (name, id, words) in [
        ("Alex", 2, "the name «Alex» is taken in Chit Chat"),
        ("ALEX", 2, "the name «ALEX» is taken in Chit Chat"),
        ("Aske", 1, "the id 1 is taken in Chit Chat"),
    ] {
        let peer = Peer::ask(&server.address, join(name, id));
        assert_eq!(peer.status(), (6, words.to_owned()), "ALREADY_EXISTS");
    }
    alex.leave(1);
    assert_eq!(alex.status().0, 0);
    Peer::join(&server.address, "alex", 1);
}

#[test]
fn names_that_are_none_are_refused_with_the_rule_that_they_break() {
    let server = TestServer::start();
    let long = "x".repeat(33);
    for (name, words) in [
        ("", "a name must not be empty"),
        ("  ", "a name must not be empty"),
        (
            long.as_str(),
            "a name may have at most 32 characters, this one has 33",
        ),
        (
            "Ser\u{200b}ver",
            "a name may not contain the character U+200B",
        ),
        ("a\u{1b}[2J", "a name may not contain the character U+001B"),
        ("server", "the name «Server» is reserved"),
    ] {
        let peer = Peer::ask(&server.address, join(name, 5));
        assert_eq!(
            peer.status(),
            (3, words.to_owned()),
            "INVALID_ARGUMENT for {name:?}"
        );
    }
    Peer::join(&server.address, &"ø".repeat(32), 5);
}

#[test]
fn an_id_of_zero_lets_the_server_choose() {
    let server = TestServer::start();
    let first = Peer::ask(&server.address, join("First", 0)).next();
    let second = Peer::ask(&server.address, join("Second", 0)).next();
    assert!(first.sender_id > 0 && second.sender_id > 0);
    assert_ne!(first.sender_id, second.sender_id);
}

#[test]
fn hostile_times_hurt_nobody() {
    let server = TestServer::start();
    let mut mallory = Peer::join(&server.address, "Mallory", 1);
    let mut alex = Peer::join(&server.address, "Alex", 2);
    mallory.next();
    let mut time = 2;
    for hostile in [-1, i64::MIN, i64::MAX, i64::MAX - 1, time + MAX_AHEAD + 100] {
        mallory.say("too late", hostile);
        let refused = mallory.next();
        time += 1;
        assert_eq!(
            refused.text,
            format!("Timestamp {hostile} is out of range.")
        );
        assert_eq!(
            (refused.kind, refused.time),
            (Kind::Refusal, time),
            "it ticks the clock by one"
        );
    }
    alex.say("all is well", 1);
    assert_eq!(alex.next().time, time + 1);
    assert_eq!(mallory.next().time, time + 1);
    for hostile in [-1, i64::MAX] {
        let ask = Join {
            sent: hostile,
            ..join("Late", 9)
        };
        assert_eq!(
            Peer::ask(&server.address, ask).status().0,
            3,
            "INVALID_ARGUMENT"
        );
    }
    mallory.leave(i64::MAX);
    let left = alex.next();
    assert_eq!((left.kind, left.time), (Kind::Leave, time + 2));
}

#[test]
fn who_is_in_several_rooms_is_heard_in_all_however_far_apart_their_clocks_are() {
    let server = TestServer::start();
    let ask = |room: &str, name: &str, id, sent| Join {
        room: room.to_owned(),
        sent,
        ..join(name, id)
    };
    let enter = |join| {
        let peer = Peer::ask(&server.address, join);
        let joined = peer.next();
        (peer, joined.time)
    };
    let (mut mallory, _) = enter(ask("far", "Mallory", 1, MAX_AHEAD));
    let (alex_far, _) = enter(ask("far", "Alex", 2, 0));
    let (mut alex_here, _) = enter(ask("here", "Alex", 2, 0));
    let (mut alex_there, _) = enter(ask("there", "Alex", 2, 0));
    let (bob, _) = enter(ask("there", "Bob", 3, 0));
    mallory.next();
    mallory.say("as far as it gets", 2 * MAX_AHEAD);
    let heard = alex_far.next().time;
    assert_eq!(heard, 2 * MAX_AHEAD + 1);

    alex_here.say("hello", heard + 2);
    assert_eq!(alex_here.next().time, heard + 3);
    for (room, past) in [("third", None), ("fourth", Some(PastAsk::Last(1)))] {
        let joined = enter(Join {
            past,
            ..ask(room, "Alex", 2, heard + 5)
        });
        assert_eq!(joined.1, heard + 6);
    }
    alex_there.leave(heard + 7);
    let left = bob.next();
    assert_eq!((left.kind, left.time), (Kind::Leave, heard + 8));
    // Nobody is further ahead of all rooms than before.
    let hostile = heard + 8 + MAX_AHEAD + 1;
    alex_here.say("too late", hostile);
    assert_eq!(
        alex_here.next().text,
        format!("Timestamp {hostile} is out of range.")
    );
}

#[test]
fn a_secret_must_be_one() {
    let server = TestServer::start();
    for bytes in [1, 15, 65] {
        let ask = Join {
            secret: vec![1; bytes],
            ..join("Alex", 1)
        };
        assert_eq!(
            Peer::ask(&server.address, ask).status().0,
            3,
            "{bytes} bytes"
        );
    }
}
