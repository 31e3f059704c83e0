//! Passwords: of a server, and of names.

use std::io::Write;

use chitchat::chat::Name;
use chitchat::rpc::{Access, Dialler, Keepalive};
use chitchat::server::{Password, ReservedNames};
use chitchat::wire::{HistoryQuery, Join, WhoQuery};

use crate::support::{DEADLINE, Peer, Program, TestServer, Tmux, join};

fn ask(server: &TestServer, name: &str, password: &str) -> (i32, String) {
    let join = Join {
        password: password.to_owned(),
        ..join(name, 0)
    };
    let mut peer = Peer::ask(&server.address, join);
    peer.leave(1);
    peer.status()
}

#[test]
fn a_server_with_a_password_lets_only_those_in_who_know_it() {
    let server = TestServer::with(|s| s.password = Some(Password::new("open sesame")));
    assert_eq!(ask(&server, "Alex", "open sesame").0, 0);
    let refused = |words: &str| (16, words.to_owned()); // UNAUTHENTICATED
    assert_eq!(
        ask(&server, "Alex", ""),
        refused("this server has a password")
    );
    for wrong in ["open sesam", "open sesame ", "x"] {
        assert_eq!(
            ask(&server, "Alex", wrong),
            refused("the password is wrong")
        );
    }
}

#[test]
fn questions_want_the_password_too() {
    let server = TestServer::with(|s| s.password = Some(Password::new("ø ✓")));
    let answers = |password: &str| {
        let access = Access {
            password: password.to_owned(),
            ..Access::default()
        };
        let dialled = Dialler::with_access(Keepalive::default(), access)
            .dial(&server.address, DEADLINE)
            .unwrap();
        let history = HistoryQuery {
            room: String::new(),
            past: None,
        };
        let who = WhoQuery {
            room: String::new(),
        };
        [
            dialled.rooms().map(|_| ()),
            dialled.who(&who).map(|_| ()),
            dialled
                .history(&history)
                .and_then(|mut r| r.recv())
                .map(|_| ()),
        ]
    };
    assert!(answers("ø ✓").iter().all(Result::is_ok));
    for wrong in ["", "x"] {
        assert!(answers(wrong).iter().all(Result::is_err), "{wrong:?}");
    }
}

#[test]
fn a_reserved_name_is_for_whoever_knows_its_password() {
    let line = ReservedNames::reserve(&Name::parse("Alex").unwrap(), "mine").unwrap();
    let server = TestServer::with(|s| s.reserved = ReservedNames::parse(&line).unwrap());
    assert_eq!(ask(&server, "ALEX", "mine").0, 0);
    let refused = |words: &str| (16, words.to_owned());
    assert_eq!(
        ask(&server, "Alex", ""),
        refused("the name «Alex» is reserved and has a password")
    );
    assert_eq!(
        ask(&server, "Alex", "yours"),
        refused("the password is wrong")
    );
    assert_eq!(ask(&server, "Aske", "").0, 0);
}

#[test]
fn many_who_try_passwords_at_once_keep_nobody_else_waiting_for_long() {
    let line = ReservedNames::reserve(&Name::parse("Alex").unwrap(), "mine").unwrap();
    let server = TestServer::with(|s| s.reserved = ReservedNames::parse(&line).unwrap());
    let mut aske = Peer::join(&server.address, "Aske", 1);
    let guesses: Vec<_> = (0..100)
        .map(|n| {
            let guess = Join {
                password: format!("guess {n}"),
                ..join("Alex", 0)
            };
            Peer::ask(&server.address, guess)
        })
        .collect();
    aske.say("meanwhile", 1);
    assert_eq!(aske.next().text, "meanwhile");
    let codes: Vec<_> = guesses.iter().map(|g| g.status().0).collect();
    // UNAUTHENTICATED, or RESOURCE_EXHAUSTED for those that are too many
    assert!(codes.iter().all(|c| [16, 8].contains(c)), "{codes:?}");
    assert!(codes.contains(&16), "{codes:?}");
}

#[test]
fn the_programs_read_passwords_from_files_and_show_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut maker = Program::start(&["password", "Alex"]);
    writeln!(maker.input.as_mut().unwrap(), "hidden own").unwrap();
    let (status, line, _) = maker.end();
    assert!(
        status.success() && line[0].starts_with("Alex $argon2id$"),
        "{line:?}"
    );
    let (ours, own) = (
        file("ours", "hidden ours\nmore"),
        file("own", "hidden own\n"),
    );
    let names = file("names", &line[0]);
    let (server, address) = Program::server(&[
        "--password-file",
        &ours,
        "--names-file",
        &names,
        "--log-level",
        "trace",
    ]);
    for (name, password, code) in [("Alex", &own, 0), ("Alex", &ours, 4), ("Aske", &ours, 0)] {
        let args = ["--password-file", password, "--log-level", "trace"];
        let mut client = Program::client(name, &address, &args);
        client.end_input();
        let (status, out, err) = client.end();
        assert_eq!(status.code(), Some(code), "{name} {err:?}");
        assert!(!format!("{out:?}{err:?}").contains("hidden"), "{err:?}");
    }
    let args = ["history", "--server", &address, "--password-file", &ours];
    let (status, out, _) = Program::start(&args).end();
    assert_eq!((status.code(), out.len()), (Some(0), 4));
    let args = ["history", "--server", &address];
    assert_eq!(Program::start(&args).end().0.code(), Some(4));
    server.signal("-TERM");
    let (_, out, err) = server.end();
    assert!(!format!("{out:?}{err:?}").contains("hidden"), "{err:?}");
    let empty = file("empty", "\nx");
    for args in [
        ["server", "--password-file", &empty],
        ["server", "--names-file", &ours],
    ] {
        let (status, _, err) = Program::start(&args).end();
        assert_eq!(status.code(), Some(1), "{err:?}");
    }
}

#[test]
fn ctrl_c_at_the_question_for_a_password_gives_the_terminal_back() {
    let terminal = Tmux::start(80, 24);
    terminal.run("clear; $C password Alex");
    terminal.wait_for_line("Password of Alex:");
    terminal.text("half a pass");
    terminal.keys(&["C-c"]);
    assert_eq!(terminal.ended(), 1);
}
