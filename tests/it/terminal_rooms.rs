//! The client at a terminal that goes from room to room, and how it leaves.

use std::time::Duration;

use chitchat::chat::MAX_AHEAD;
use chitchat::server::Rate;
use chitchat::wire::Join;

use crate::support::{Peer, Program, TestServer, Tmux, join};

#[test]
fn nothing_of_a_room_is_lost_by_going_to_another() {
    let server = TestServer::with(|s| s.rate = None);
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let rooms = 12;
    let line = |room: usize, n: usize| format!("line-{room}-{n}.");
    for room in 1..=rooms {
        // All at once: the last lines have no echo when the room is left.
        let mut keys: Vec<String> = (1..=8)
            .flat_map(|n| [line(room, n), "Enter".to_owned()])
            .collect();
        keys.extend(["/join", "Space", &format!("room{room}"), "Enter"].map(str::to_owned));
        alex.keys(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        alex.wait_for_line(&format!("#room{room} Alex>"));
    }
    alex.wait_for(&format!("from here on #room{rooms}"));
    let all = alex.all();
    for room in 1..=rooms {
        let end = all.find(&format!("from here on #room{room}\n"));
        for n in 1..=8 {
            let shown: Vec<_> = all.match_indices(&line(room, n)).collect();
            assert_eq!(shown.len(), 1, "{}: {all}", line(room, n));
            assert!(
                Some(shown[0].0) < end,
                "{} before the next room: {all}",
                line(room, n)
            );
        }
    }
}

#[test]
fn a_client_in_several_rooms_is_one_process_with_one_clock() {
    let dir = tempfile::tempdir().unwrap();
    let log = |name: &str| dir.path().join(name).display().to_string();
    let (server, address) = Program::server(&["--log-file", &log("server.log")]);
    let args = format!("--log-file {}", log("alex.log"));
    let alex = Tmux::client(80, 24, "Alex", &address, &args);
    let mut aske = Peer::join(&address, "Aske", 1);
    aske.say("far ahead", 900);
    alex.wait_for("far ahead");
    for room in ["ops", "more"] {
        alex.line("said before");
        alex.line(&format!("/join {room}"));
        alex.wait_for(&format!("from here on #{room}"));
        alex.line(&format!("said in {room}"));
        alex.wait_for(&format!("Alex: said in {room}"));
    }
    alex.line("/quit");
    assert_eq!(alex.ended(), 0);
    drop(aske);
    server.signal("-TERM");
    assert!(server.end().0.success());
    let (status, out, _) = Program::start(&["check", &log("server.log"), &log("alex.log")]).end();
    assert!(status.success(), "{out:#?}");
    let lines = std::fs::read_to_string(log("alex.log")).unwrap();
    for once in ["START", "STOP"] {
        let count = lines.matches(&format!("] {once} ")).count()
            + lines.matches(&format!("] {once}:")).count();
        assert_eq!(count, 1, "{once}: {lines}");
    }
}

#[test]
fn whoever_comes_back_to_a_room_is_not_in_its_own_way() {
    let server = TestServer::with(|s| {
        s.rate = Some(Rate {
            per_second: 3.0,
            burst: 1,
        });
    });
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    // They wait for the server's limit: so long Alex is there.
    alex.text("line 1\rline 2\rline 3\r/join ops\r");
    alex.wait_for_line("#ops Alex>");
    alex.line("/join chit chat");
    alex.wait_for("from here on Chit Chat");
    let all = alex.all();
    assert!(!all.contains("is taken"), "{all}");
    assert_eq!(all.matches("Alex: line 3").count(), 1, "{all}");
}

#[test]
fn what_was_typed_for_a_room_that_lets_nobody_in_is_said_nowhere() {
    let (server, address) = Program::server(&[]);
    let taken = Join {
        room: "full".to_owned(),
        ..join("Alex", 1)
    };
    let _taken = Peer::ask(&address, taken);
    let alex = Tmux::client(80, 24, "Alex", &address, "");
    let aske = Peer::join(&address, "Aske", 2);
    alex.wait_for("Aske joined");
    server.signal("-STOP");
    alex.line("/join full");
    alex.wait_until("no line to type on", |screen| {
        !screen.lines().last().unwrap_or_default().contains("Alex>")
    });
    alex.line("a secrex\u{7f}t of the other room");
    server.signal("-CONT");
    alex.wait_for("/join full: the name «Alex» is taken in #full");
    alex.wait_for_line("Alex> a secret of the other room");
    alex.keys(&["C-c"]);
    alex.line("hello");
    let heard = aske.until("the line", |e| e.text == "hello");
    assert!(
        heard.iter().all(|e| !e.text.contains("secret")),
        "{heard:#?}"
    );
}

#[test]
fn what_comes_with_the_enter_of_a_join_that_fails_is_no_part_of_the_room() {
    let server = TestServer::with(|s| s.max_rooms = 1);
    let alex = Tmux::client(90, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.wait_for("Aske joined");
    let long = "x".repeat(33);
    for (room, why) in [("another", "opens no more"), (&long, "at most 32")] {
        let command = format!("Alex> /join {room}");
        let two_rows = "a secret of theirs ".repeat(5);
        let typed = [
            ("a secrex\u{7f}t", "Alex> a secret"),
            ("a secret\rand another", "Alex> a secret\nand another"),
            ("\r\r", &command),
            (&two_rows, "\n of theirs"),
        ];
        for (n, (ahead, left)) in (1..).zip(typed) {
            alex.text(&format!("/join {room}\r{ahead}"));
            alex.wait_until(left, |screen| {
                screen.matches(why).count() == n && screen.ends_with(left)
            });
            alex.keys(&["C-c"]);
            alex.wait_for_line("Alex>");
            assert!(!alex.all().contains("secret"), "{}", alex.all());
        }
    }
    alex.line("hello");
    let heard = aske.until("the line", |e| e.text == "hello");
    assert!(
        heard.iter().all(|e| !e.text.contains("secret")),
        "{heard:#?}"
    );
}

#[test]
fn where_a_room_cannot_be_opened_the_client_says_so_and_stays() {
    let server = TestServer::with(|s| s.max_rooms = 1);
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.line("/join another");
    alex.wait_for("/join another: this server has 1 rooms and opens no more");
    alex.keys(&["C-c"]);
    alex.line("still here");
    aske.until("the line", |e| e.text == "still here");
    alex.keys(&["C-d"]);
    assert_eq!(alex.ended(), 0);
}

#[test]
fn a_room_that_is_far_behind_in_time_can_be_joined_all_the_same() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    for n in 1..=2 {
        // The furthest ahead that the room takes.
        aske.say("far ahead", n * MAX_AHEAD);
    }
    alex.wait_until("both", |screen| screen.matches("far ahead").count() == 2);
    alex.line("/join ops");
    alex.wait_for("from here on #ops");
    alex.line("hello");
    alex.wait_for("Alex: hello");
}

#[test]
fn another_server_is_asked_for_a_room_too() {
    let full = TestServer::with(|s| s.max_sessions = 0);
    let server = TestServer::start();
    let both = format!("{},{}", full.address, server.address);
    let alex = Tmux::client(80, 24, "Alex", &both, "");
    alex.line("/join ops");
    alex.wait_for("from here on #ops");
}

#[test]
fn one_ctrl_c_leaves_without_what_has_no_echo() {
    let (server, address) = Program::server(&[]);
    let alex = Tmux::client(80, 24, "Alex", &address, "--reconnect 5m");
    server.kill();
    alex.wait_for("trying again");
    alex.line("too late");
    alex.wait_for("will be sent when the server is there");
    alex.line("/quit");
    alex.wait_for("without an echo: 1; Ctrl-C leaves without them");
    // The terminal shows «^C» where the shell's next line begins.
    alex.keys(&["C-c"]);
    alex.wait_for("shell$");
    alex.run("echo code $?");
    alex.wait_for("\ncode 130");
}

#[test]
fn what_a_server_does_not_take_back_is_counted() {
    let (server, address) = Program::server(&[]);
    let mut alex = Program::client("Alex", &address, &["--json", "--reconnect", "5m"]);
    alex.wait_for("\"join\"");
    server.kill();
    alex.wait_for("\"lost\"");
    for text in ["two", "three"] {
        alex.type_line(text);
    }
    // It wants a password now.
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "a password\n").unwrap();
    let file = password.path().display().to_string();
    let _server = Program::start(&["server", "--listen", &address, "--password-file", &file]);
    let ended = alex.wait_for("\"ended\"");
    assert!(ended.contains("\"unsent\":2"), "{ended}");
    let (status, _, err) = alex.end();
    assert_eq!(status.code(), Some(4));
    assert!(
        err.iter()
            .any(|l| l.ends_with("; messages without an echo: 2")),
        "{err:#?}"
    );
}

#[test]
fn the_counter_counts_what_a_command_would_send() {
    let server = TestServer::start();
    let mut aske = Peer::join(&server.address, "Aske", 1);
    let alex = Tmux::client(200, 24, "Alex", &server.address, "");
    alex.text(&format!("/msg Aske {}", "x".repeat(125)));
    alex.wait_for("  [3]");
    alex.text("xxxx");
    alex.wait_for("  [1 too many]");
    alex.keys(&["BSpace", "Enter"]);
    aske.until("all of it", |e| e.text == "x".repeat(128));
    aske.say("done", 1);
    alex.wait_for("Aske: done");
    alex.line("/nothing");
    alex.wait_for("there is no /nothing");
    alex.keys(&["C-c"]);
    alex.wait_for_line("Alex>");
    alex.keys(&["C-d"]);
    // The shell's line is behind all that the client says at its end.
    alex.wait_for_line("shell$");
    assert!(!alex.all().contains("not sent"), "{}", alex.all());
    assert_eq!(alex.ended(), 0);
}

#[test]
fn a_server_that_is_full_refuses_a_newcomer() {
    let server = TestServer::with(|s| {
        s.max_rooms = 1;
        s.grace = Duration::ZERO;
    });
    let _first = Peer::join(&server.address, "First", 1);
    let mut client = Program::client("Alex", &server.address, &["--room", "another"]);
    client.wait_for_error("the server refused: this server has 1 rooms and opens no more");
    assert_eq!(client.end().0.code(), Some(4));
}
