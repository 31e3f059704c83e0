//! The client at a terminal whose connection is lost, or that stands still.

use std::time::Duration;

use chitchat::chat::Kind;
use chitchat::trace::line::{Line, What};
use chitchat::wire::Request;

use crate::support::{Peer, Program, TestServer, Tmux};

#[test]
fn a_stopped_client_goes_on_where_it_was() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    alex.text("half a line");
    alex.wait_for_line("Alex> half a line");
    alex.keys(&["C-z"]);
    alex.wait_for("shell$");
    assert_eq!(alex.modes(), "isig icanon echo");
    aske.say("while you slept", 1);
    alex.run("fg");
    alex.wait_for("Aske: while you slept");
    alex.wait_for_line("Alex> half a line");
    alex.line(" and all of it");
    aske.until("the line", |e| e.text == "half a line and all of it");
    alex.keys(&["C-d"]);
    assert_eq!(alex.ended(), 0);
}

#[test]
fn whoever_was_too_slow_is_told_so_and_misses_nothing() {
    let server = TestServer::with(|s| {
        s.outbox_events = 1024;
        s.grace = Duration::from_millis(100);
    });
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("alex.log");
    let args = format!("--log-file {}", log.display());
    let alex = Tmux::client(80, 24, "Alex", &server.address, &args);
    let mut talker = Peer::join(&server.address, "Talker", 1);
    alex.keys(&["C-z"]);
    alex.wait_for("shell$");
    // What the kernel and gRPC take for a client that reads nothing, some
    // megabytes, fills first, then the outbox.
    let long = "🦀".repeat(128);
    let mut sent = 0;
    let mut is_gone = false;
    while !is_gone {
        let words = (0..100).map(|_| {
            sent += 1;
            Request::Say {
                text: long.clone(),
                to: String::new(),
                sent,
            }
        });
        talker.send(words.collect());
        let heard = talker.until("an echo", |e| e.sent == sent);
        is_gone = heard.iter().any(|e| e.kind == Kind::Leave);
        assert!(sent < 200_000, "a stopped client is still in the room");
    }
    talker.say("the last word", sent + 1);
    // What it says is soon off the screen.
    let bytes = alex.record();
    alex.run("fg");
    bytes.until("too slow: the outbox was full");
    bytes.until("back in the room;");
    alex.wait_for("Talker: the last word");
    alex.line("and I am here");
    talker.until("the line", |e| e.text == "and I am here");
    alex.wait_for("Alex: and I am here");
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log.lines().filter_map(Line::parse);
    let delivered = lines.filter(|line| line.what == What::Deliver);
    let seqs: Vec<_> = delivered.filter_map(|line| line.number("seq")).collect();
    assert!(seqs.len() as i64 > sent, "{} of {sent}", seqs.len());
    assert!(seqs.windows(2).all(|w| w[1] == w[0] + 1), "without a gap");
}

#[test]
fn a_line_being_typed_survives_a_reconnect_and_what_was_sent_meanwhile_arrives_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}/rooms.db", dir.path().display());
    let args = ["server", "--listen", "127.0.0.1:0", "--store", &store];
    let mut server = Program::start(&args);
    let line = server.wait_for("listening on ");
    let address = line.trim_start_matches("listening on ").to_owned();
    let alex = Tmux::client(80, 24, "Alex", &address, "");
    alex.text("half");
    server.signal("-TERM");
    assert!(server.end().0.success());
    alex.wait_for("the server is stopping; trying again in ");
    alex.text(" a line");
    alex.keys(&["Enter"]);
    alex.wait_for("will be sent when the server is there (1 of 1024): half a line");
    alex.text("and then");
    let mut again = Program::start(&["server", "--listen", &address, "--store", &store]);
    again.wait_for("listening on ");
    alex.wait_for("back in the room; nothing was missed");
    alex.wait_for("Alex: half a line");
    alex.wait_for_line("Alex> and then");
    alex.line(" on");
    alex.wait_for("Alex: and then on");
    let said = Program::start(&["history", "--server", &address]).end().1;
    let count = |text: &str| said.iter().filter(|l| l.ends_with(text)).count();
    assert_eq!(
        (count(": half a line"), count(": and then on")),
        (1, 1),
        "{said:#?}"
    );
}

#[test]
fn the_end_of_the_server_gives_the_terminal_back_and_says_what_was_not_sent() {
    let (server, address) = Program::server(&[]);
    let alex = Tmux::client(80, 24, "Alex", &address, "--reconnect 0");
    alex.text("never sent");
    alex.wait_for_line("Alex> never sent");
    server.signal("-TERM");
    alex.wait_for("chitchat: the server is gone: the server is stopping");
    alex.wait_for("-- not sent: never sent");
    assert_eq!(alex.ended(), 5);
}
