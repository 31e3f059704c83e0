//! The client in pipes: what it prints, how it ends, with which exit code.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use chitchat::chat::Kind;

use crate::support::{DEADLINE, Peer, Program, TestServer, code};

#[test]
fn without_a_server_the_client_says_so_and_ends_with_3() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (status, out, err) = Program::client("Alex", &free, &[]).end();
    assert_eq!(code(status), 3);
    assert!(out.is_empty(), "{out:?}");
    let last = err.last().unwrap();
    assert!(
        last.starts_with(&format!("chitchat: cannot reach {free}: ")),
        "{err:?}"
    );
    assert!(last.contains("refused"), "{err:?}");
}

#[test]
fn every_server_is_asked_before_a_client_that_has_nothing_to_say_ends() {
    let (_server, address) = Program::server(&[]);
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = [free(), free()].map(|socket| socket.local_addr().unwrap().to_string());
    let ended = |servers: &str| {
        let mut client = Program::client("Alex", servers, &[]);
        client.end_input();
        let (status, out, err) = client.end();
        (code(status), out.len(), err)
    };
    let (status, lines, err) = ended(&dead.join(","));
    assert_eq!((status, lines), (3, 0), "{err:?}");
    let why = format!("chitchat: cannot reach {}: ", dead[1]);
    assert!(err.last().unwrap().starts_with(&why), "{err:?}");
    let (status, lines, err) = ended(&format!("{},{address}", dead[0]));
    assert_eq!((status, lines), (0, 1), "{err:?}");
}

#[test]
fn a_refused_name_ends_the_client_with_4() {
    let (_server, address) = Program::server(&[]);
    let _alex = Peer::join(&address, "Alex", 1);
    let (status, _, err) = Program::client("Alex", &address, &[]).end();
    assert_eq!(code(status), 4);
    assert_eq!(
        err.last().unwrap(),
        "chitchat: the server refused: the name «Alex» is taken in Chit Chat"
    );
    let (status, _, err) = Program::client("Server", &address, &[]).end();
    assert_eq!(code(status), 1);
    assert_eq!(
        err.last().unwrap(),
        "chitchat: the name «Server» is reserved"
    );
}

#[test]
fn a_server_that_goes_ends_the_client_with_5_when_it_does_not_come_back() {
    let (server, address) = Program::server(&[]);
    let mut client = Program::client("Alex", &address, &["--reconnect", "0s"]);
    client.wait_for("joined");
    server.signal("-KILL");
    server.end();
    let last = client.wait_for_error("chitchat: the server is gone");
    let (status, _, _) = client.end();
    assert_eq!(code(status), 5, "{last}");
}

#[test]
fn piped_lines_are_sent_and_the_client_leaves_after_the_last_has_come_back() {
    let (_server, address) = Program::server(&[]);
    let witness = Peer::join(&address, "Witness", 1);
    let mut client = Program::client("Alex", &address, &[]);
    let mut input = client.input.take().unwrap();
    for n in 0..500 {
        writeln!(input, "line {n}\n").unwrap(); // with an empty line, which is not sent
    }
    write!(input, "the last, without an end").unwrap();
    drop(input);
    let (status, out, _) = client.end();
    assert_eq!(code(status), 0);
    let said: Vec<_> = out
        .iter()
        .filter_map(|l| l.split_once("] Alex: "))
        .map(|(_, t)| t)
        .collect();
    assert_eq!(said.len(), 1 + 500 + 1);
    assert!(
        said[1..501]
            .iter()
            .enumerate()
            .all(|(n, text)| *text == format!("line {n}"))
    );
    assert_eq!(said[501], "the last, without an end");
    let heard = witness.until("the departure", |e| {
        e.text.starts_with("Participant Alex left")
    });
    assert_eq!(heard.len(), 1 + 501 + 1);
}

#[test]
fn the_client_asks_for_a_name_and_shows_what_the_server_says() {
    let (_server, address) = Program::server(&[]);
    let mut client = Program::start(&["client", "--server", &address]);
    client.type_line("  Alex  ");
    client.wait_for("Enter your name: [Server @ L=2] Alex: Participant Alex joined Chit Chat at logical time L=2");
    client.type_line(&"x".repeat(354));
    client.wait_for("[Server @ L=5] Server: Message too long (354 chars). Limit is 128.");
    client.type_line(&"x".repeat(100_000));
    client.wait_for_error("Message too long (more than 65536 bytes). Limit is 128.");
    client.type_line("exit");
    let (status, _, err) = client.end();
    assert_eq!(code(status), 0, "{err:?}");
    let (status, out, _) = Program::start(&["client", "--server", &address]).end();
    assert_eq!(
        (code(status), out),
        (0, vec!["Enter your name: ".to_owned()])
    );
}

#[test]
fn what_others_send_does_not_act_on_the_terminal() {
    let (_server, address) = Program::server(&[]);
    let mut client = Program::client("Alex", &address, &[]);
    client.wait_for("joined");
    let mut mallory = Peer::join(&address, "Mallory", 1);
    mallory.say("a\u{1b}[2J\u{202e}b\u{7}\nc\u{9b}31m", 1);
    assert!(
        client
            .wait_for("] Mallory: a")
            .ends_with("] Mallory: a[2Jb c31m")
    );
}

#[test]
fn the_bot_of_the_readme_works_as_it_is_printed() {
    let server = TestServer::start();
    let lines = include_str!("../../README.md").lines();
    let bot: String = lines
        .skip_while(|line| !line.contains("#!/bin/sh"))
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", &line[4..]))
        .collect();
    assert!(bot.lines().count() <= 10, "{bot}");
    let folder = Path::new(env!("CARGO_BIN_EXE_chitchat")).parent().unwrap();
    let script = format!(
        "export PATH='{}':\"$PATH\" CHITCHAT_SERVER={}\n{bot}",
        folder.display(),
        server.address
    );
    let mut aske = Peer::join(&server.address, "Aske", 1);
    // A signal to `timeout` goes to all that the script has started.
    let bot = Program::start_other(Path::new("timeout"), &["60", "sh", "-c", &script]);
    aske.until("the bot", |e| e.kind == Kind::Join);
    aske.say("!time, please", 1);
    let said = aske.until("the time", |e| e.sender.as_ref() == "Clock");
    let text = &said.last().unwrap().text;
    assert!(text.starts_with("it is ") && text.len() == 11, "{text}");
    bot.signal("-TERM");
    aske.until("the departure", |e| e.kind == Kind::Leave);
}

#[test]
fn a_hundred_thousand_piped_lines_come_back_in_order() {
    const LINES: usize = 100_000;
    let (_server, address) = Program::server(&[]);
    let mut client = Program::client("Yes", &address, &[]);
    let mut input = client.input.take().unwrap();
    let feeding = std::thread::spawn(move || {
        let lines: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        input.write_all(lines.as_bytes())
    });
    let (status, out, _) = client.end();
    feeding.join().unwrap().unwrap();
    assert_eq!(code(status), 0);
    let said: Vec<_> = out.iter().filter(|l| !l.contains("Participant")).collect();
    assert_eq!(said.len(), LINES);
    for (n, line) in said.iter().enumerate() {
        assert!(line.ends_with(&format!("] Yes: {n}")), "{n}: {line}");
    }
}

#[test]
fn whoever_leaves_is_shown_all_that_came_before() {
    let server = TestServer::start();
    let mut aske = Peer::join(&server.address, "Aske", 1);
    for round in 0..20 {
        let mut bot = Program::client("Bot", &server.address, &["--json"]);
        bot.wait_for("Bot joined");
        for n in 1..=50 {
            aske.say("all the while", n);
            if n == 10 + round {
                bot.end_input();
            }
        }
        let told = aske.until("the departure", |e| e.kind == Kind::Leave);
        let left = told.last().unwrap();
        let shown = bot.end().1;
        let seqs: Vec<u64> = shown
            .iter()
            .filter_map(|line| {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                object["seq"].as_u64()
            })
            .collect();
        let (first, last) = (seqs[0], *seqs.last().unwrap());
        assert!(seqs.iter().copied().eq(first..=last), "{shown:#?}");
        // It may be told of its own departure, or not.
        assert!([left.seq - 1, left.seq].contains(&last), "{last}: {left:?}");
    }
}

#[test]
fn a_client_whose_output_nobody_reads_leaves_and_that_is_no_error() {
    let server = TestServer::start();
    let mut witness = Peer::join(&server.address, "Witness", 1);
    let client = concat!(env!("CARGO_BIN_EXE_chitchat"), " client Pan --server");
    let script = format!(
        "({client} {}; echo code $? >&2) | head -n 1",
        server.address
    );
    // Its input stays open: that is not why it leaves.
    let mut shell = Program::start_other(Path::new("sh"), &["-c", &script]);
    shell.wait_for("Pan joined");
    let (begun, mut is_there) = (Instant::now(), true);
    for n in 1.. {
        witness.say("is anybody there?", n);
        let heard = witness.until("the question", |e| e.sent == n && e.kind == Kind::Message);
        is_there &= heard.iter().all(|e| e.kind != Kind::Leave);
        if !is_there {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "the client does not leave");
    }
    shell.wait_for_error("code 0");
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it writes to /dev/full")]
fn a_client_that_cannot_write_says_so_and_leaves() {
    let server = TestServer::start();
    let witness = Peer::join(&server.address, "Witness", 1);
    let client = concat!(env!("CARGO_BIN_EXE_chitchat"), " client Pan --server");
    for args in ["", "--json"] {
        let script = format!("echo hello | {client} {} {args} >/dev/full", server.address);
        let mut shell = Program::start_other(Path::new("sh"), &["-c", &script]);
        shell.wait_for_error("chitchat: cannot write: ");
        assert_eq!(code(shell.end().0), 1);
        let heard = witness.until("the departure", |e| e.kind == Kind::Leave);
        assert!(heard.iter().any(|e| e.text == "hello"), "{heard:#?}");
    }
}

#[test]
fn a_client_that_cannot_read_says_so_and_ends_with_1() {
    let server = TestServer::start();
    let witness = Peer::join(&server.address, "Witness", 1);
    let client = concat!(env!("CARGO_BIN_EXE_chitchat"), " client Pan --server");
    let script = format!("{client} {} </", server.address); // a folder
    let mut shell = Program::start_other(Path::new("sh"), &["-c", &script]);
    shell.wait_for_error("chitchat: cannot read the input: ");
    assert_eq!(code(shell.end().0), 1);
    witness.until("the departure", |e| e.kind == Kind::Leave);
}

#[test]
fn a_client_goes_on_where_nobody_can_be_told_anything() {
    let server = TestServer::start();
    let witness = Peer::join(&server.address, "Witness", 1);
    let program = env!("CARGO_BIN_EXE_chitchat");
    let address = &server.address;
    let full = |script: String| Command::new("sh").args(["-c", &script]).status().unwrap();
    // The first line is far too long, which is told.
    let status = full(format!(
        "(head -c 100000 /dev/zero | tr '\\0' x; echo; echo bye) \
         | {program} client Pan --server {address} 2>/dev/full"
    ));
    assert_eq!(status.code(), Some(0));
    witness.until("the second line", |e| e.text == "bye");
    let status = full(format!(
        "{program} client Pan --server 127.0.0.1:1 2>/dev/full </dev/null"
    ));
    assert_eq!(status.code(), Some(3));
}
