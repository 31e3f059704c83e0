//! Lengths are counted in characters, whatever the script.

use chitchat::chat::Kind;

use crate::support::{Peer, TestServer};

#[test]
fn exactly_128_characters_of_any_script_pass() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let mut sent = 0;
    for unit in ["a", "ø", "漢", "🦀", "ا", "न", "\u{1F1E9}"] {
        sent += 1;
        let fits = unit.repeat(128);
        alex.say(&fits, sent);
        let event = alex.next();
        assert_eq!((event.kind, event.text), (Kind::Message, fits), "{unit}");
        sent += 1;
        alex.say(&unit.repeat(129), sent);
        let event = alex.next();
        let words = "Message too long (129 chars). Limit is 128.";
        assert_eq!(
            (event.kind, event.text.as_str()),
            (Kind::Refusal, words),
            "{unit}"
        );
    }
}

#[test]
fn a_combining_mark_counts_as_the_character_that_it_is() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    alex.say(&"e\u{301}".repeat(64), 1);
    assert_eq!(alex.next().kind, Kind::Message);
    alex.say(&format!("{}!", "e\u{301}".repeat(64)), 2);
    assert_eq!(
        alex.next().text,
        "Message too long (129 chars). Limit is 128."
    );
}

#[test]
fn white_space_around_a_text_does_not_count_and_is_not_sent() {
    let server = TestServer::start();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    alex.say(&format!("   {}\r\n", "x".repeat(128)), 1);
    assert_eq!(alex.next().text, "x".repeat(128));
    for empty in ["", "  ", "\r\n", "\u{3000}"] {
        alex.say(empty, 2);
        assert_eq!(alex.next().text, "Message is empty.", "{empty:?}");
    }
}
