//! The program: what it prints, how it ends, with which exit code.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use chitchat::chat::Kind;
use chitchat::trace::line::{Line, What};

use crate::support::{DEADLINE, Peer, Program, TestServer};

fn code(status: std::process::ExitStatus) -> i32 {
    status.code().expect("it ended by itself")
}

#[test]
fn a_port_that_is_taken_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, out, err) =
        Program::start(&["server", "--store", "memory", "--listen", &address]).end();
    assert_eq!(code(status), 1);
    assert!(out.is_empty(), "{out:?}");
    let last = err.last().expect("an error");
    assert!(
        last.starts_with(&format!("chitchat: cannot listen on {address}: ")),
        "{err:?}"
    );
    assert!(last.contains("in use"), "{err:?}");
}

#[test]
fn a_second_server_does_not_steal_the_port_of_the_first() {
    let (_first, address) = Program::server(&[]);
    let (status, _, err) =
        Program::start(&["server", "--store", "memory", "--listen", &address]).end();
    assert_eq!(code(status), 1, "{err:?}");
    Peer::join(&address, "Alex", 1);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it needs a mount of its own")]
fn a_name_is_served_at_all_of_its_addresses_or_not_at_all() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").unwrap();
    let mount = format!("mount --bind {} /etc/hosts", hosts.display());
    let alone = ["--mount", "sh", "-c", &mount];
    let mounted = Command::new("unshare").args(alone).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a name with several addresses needs the right to mount its file");
        return;
    }
    let program = env!("CARGO_BIN_EXE_chitchat");
    let server = format!("exec {program} server --listen localhost:{port} --store memory");
    let script = format!("{mount} && {server}");
    let args = ["--mount", "sh", "-c", &script];
    let (status, _, err) = Program::start_other(Path::new("unshare"), &args).end();
    assert_eq!(code(status), 1, "{err:?}");
    let words = format!("127.0.0.1:{port}: Address already in use");
    assert!(err.last().unwrap().contains(&words), "{err:?}");
}

#[test]
fn a_server_at_several_addresses_starts_once_in_its_log() {
    let two = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let args = [&["server", "--store", "memory"], &two[..]].concat();
    let mut server = Program::start(&args);
    let addresses = [(); 2].map(|()| {
        let line = server.wait_for("listening on ");
        line.trim_start_matches("listening on ").to_owned()
    });
    for address in &addresses {
        Peer::join(address, address, 0);
    }
    server.signal("-TERM");
    let (status, _, log) = server.end();
    assert_eq!(code(status), 0, "{log:?}");
    let starts = log.iter().filter_map(|line| Line::parse(line));
    let starts: Vec<_> = starts.filter(|line| line.what == What::Start).collect();
    assert_eq!(starts.len(), 1, "{log:?}");
    assert!(starts[0].words.ends_with(&addresses.join(", ")), "{log:?}");
}

#[test]
fn a_second_server_does_not_take_a_socket_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/chat.sock", dir.path().display());
    let args = ["server", "--store", "memory", "--listen", path.as_str()];
    let mut first = Program::start(&args);
    first.wait_for("listening on unix:");
    let (status, _, err) = Program::start(&args).end();
    assert_eq!(code(status), 1);
    assert!(
        err.last().unwrap().contains("another server listens there"),
        "{err:?}"
    );
    Peer::join(&path, "Alex", 1);
    first.signal("-KILL");
    first.end();
    // what a killed server left behind is no obstacle
    let mut next = Program::start(&args);
    next.wait_for("listening on unix:");
    Peer::join(&path, "Alex", 1);
}

#[test]
fn a_socket_of_another_kind_of_program_stays_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let other = UnixDatagram::bind(&path).unwrap();
    let listen = format!("unix:{}", path.display());
    let args = ["server", "--store", "memory", "--listen", &listen];
    let (status, _, err) = Program::start(&args).end();
    assert_eq!(code(status), 1);
    let words = "another program may listen there";
    assert!(err.last().unwrap().contains(words), "{err:?}");
    let word = UnixDatagram::unbound().unwrap().send_to(b"hello", &path);
    assert_eq!(word.unwrap(), 5);
    assert_eq!(other.recv(&mut [0; 9]).unwrap(), 5);
}

#[test]
fn an_address_that_is_none_is_a_clear_error() {
    for address in [
        "nonsense",
        "127.0.0.1:70000",
        "unix:/nowhere/at/all",
        "300.1.1.1:1",
    ] {
        let (status, _, err) =
            Program::start(&["server", "--store", "memory", "--listen", address]).end();
        assert_eq!(code(status), 1, "{address}");
        let start = format!("chitchat: cannot listen on {address}: ");
        assert!(err.last().unwrap().starts_with(&start), "{err:?}");
    }
}

#[test]
fn a_port_that_there_is_not_leads_to_no_other() {
    let server = TestServer::start();
    let (host, port) = server.address.rsplit_once(':').unwrap();
    let other = format!("{host}:{}", port.parse::<u32>().unwrap() + 65_536);
    let port = other.rsplit_once(':').unwrap().1;
    let (status, out, err) = Program::client("Alex", &other, &[]).end();
    assert_eq!((code(status), out.as_slice()), (3, &[][..]));
    let last = err.last().unwrap();
    let why = format!("chitchat: cannot reach {other}: there is no port {port}");
    assert_eq!(*last, why);
}

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

/// Whether what is started here hears a hangup: not where this was started with
/// nohup(1) itself.
fn hears_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    ignored.is_none_or(|set| set & 1 == 0)
}

#[test]
fn a_signal_lets_the_client_leave_politely() {
    let signals = ["-INT", "-TERM", "-HUP"];
    for signal in &signals[..if hears_hangups() { 3 } else { 2 }] {
        let (_server, address) = Program::server(&[]);
        let witness = Peer::join(&address, "Witness", 1);
        let mut client = Program::client("Alex", &address, &[]);
        client.wait_for("joined");
        client.signal(signal);
        let (status, _, err) = client.end();
        assert_eq!(code(status), 0, "{signal} {err:?}");
        let log: Vec<_> = err.iter().filter_map(|l| Line::parse(l)).collect();
        assert!(
            log.iter()
                .any(|l| l.what == What::Send && l.text("kind") == Some("leave"))
        );
        witness.until("the departure", |e| {
            e.text.starts_with("Participant Alex left")
        });
    }
}

#[test]
fn a_second_signal_ends_the_client_at_once() {
    let (server, address) = Program::server(&[]);
    let mut client = Program::client("Alex", &address, &[]);
    client.wait_for("Alex joined");
    server.signal("-STOP"); // it could wait long for a goodbye
    client.signal("-INT");
    client.signal("-TERM");
    let ended = code(client.end().0);
    assert!([128 + 2, 128 + 15].contains(&ended), "{ended}");
}

#[test]
fn a_signal_stops_the_server_and_tells_its_members() {
    for signal in ["-INT", "-TERM"] {
        let (server, address) = Program::server(&[]);
        let alex = Peer::join(&address, "Alex", 1);
        server.signal(signal);
        let (status, _, err) = server.end();
        assert_eq!(code(status), 0, "{signal} {err:?}");
        assert_eq!(alex.status(), (14, "the server is stopping".to_owned()));
        let words: Vec<_> = err
            .iter()
            .filter_map(|l| Line::parse(l))
            .map(|l| l.what)
            .collect();
        assert_eq!(words, [What::Start, What::Join, What::Stop], "{err:?}");
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "elsewhere it cannot be told")]
fn a_server_that_is_to_outlive_its_terminal_does() {
    let program = env!("CARGO_BIN_EXE_chitchat");
    let script = format!("exec nohup {program} server --listen 127.0.0.1:0 --store memory");
    let mut server = Program::start_other(Path::new("sh"), &["-c", &script]);
    let line = server.wait_for("listening on ");
    server.signal("-HUP");
    let mut alex = Peer::join(line.trim_start_matches("listening on "), "Alex", 1);
    alex.say("still here", 2);
    alex.until("the echo", |e| e.text == "still here");
    server.signal("-TERM");
    let (status, _, err) = server.end();
    assert_eq!(code(status), 0, "{err:?}");
    assert_eq!(alex.status(), (14, "the server is stopping".to_owned()));
}

#[test]
fn a_stop_does_not_wait_for_clients_that_do_not_read() {
    let (mut server, address) = Program::server(&["--outbox", "100000"]);
    let mut talker = Peer::join(&address, "Talker", 1);
    let mut stuck = Program::client("Stuck", &address, &[]);
    stuck.wait_for("joined");
    talker.until("Stuck", |e| e.sender.as_ref() == "Stuck");
    stuck.signal("-STOP");
    // more than the socket and gRPC's window take
    let text = "🦀".repeat(128);
    for n in 1..=20_000 {
        talker.say(&text, n);
    }
    talker.until("the last echo", |e| e.sent == 20_000);
    let begun = Instant::now();
    server.signal("-TERM");
    server.wait_for_error("STOP: ");
    let (status, _, err) = server.end();
    assert_eq!(code(status), 0, "{err:?}");
    assert!(begun.elapsed() < DEADLINE);
    assert_eq!(talker.status().0, 14, "UNAVAILABLE");
    stuck.signal("-CONT");
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let (mut server, address) = Program::server(&["--outbox", "100000"]);
    let mut stuck = Program::client("Stuck", &address, &[]);
    stuck.wait_for("joined");
    stuck.signal("-STOP");
    server.wait_for_error("JOIN ");
    server.signal("-STOP");
    server.signal("-INT");
    server.signal("-TERM");
    server.signal("-CONT");
    let (status, _, _) = server.end();
    let code = code(status);
    assert!(code == 130 || code == 143, "{code}");
    stuck.signal("-CONT");
}

#[test]
fn the_servers_log_keeps_the_originals_words_and_nobody_can_forge_a_line() {
    let (mut server, address) = Program::server(&[]);
    let mut alex = Peer::join(&address, "Alex", 3300);
    alex.say("Hello World!", 1);
    alex.say(
        "x\n2026-01-01T00:00:00Z INFO  [Server] STOP: \u{1b}[31mforged",
        2,
    );
    alex.say("", 3);
    alex.leave(4);
    alex.end().unwrap();
    let mut expect = |end: &str| {
        let line = server.wait_for_error(end);
        assert!(line.ends_with(end), "{line}");
        let parsed = Line::parse(&line).unwrap_or_else(|| panic!("{line}"));
        (parsed.what, parsed.number("L"), parsed.words.into_owned())
    };
    let (what, time, _) = expect("JOIN: Alex (ID=3300) at L=1");
    assert_eq!((what, time), (What::Join, Some(1)));
    assert_eq!(
        expect("Message from Alex: Hello World! (L=2)").0,
        What::Message
    );
    let (what, _, words) = expect("\\u{1b}[31mforged (L=3)");
    assert_eq!(what, What::Message);
    assert!(
        words.contains("x\n2026-01-01"),
        "the text is read back as it was: {words:?}"
    );
    assert_eq!(
        expect("Refused Alex: Message is empty. (L=4)").0,
        What::Refused
    );
    assert_eq!(expect("REMOVED: Alex (ID=3300)").0, What::Leave);
}

#[test]
fn at_debug_level_the_server_logs_each_delivery() {
    let (mut server, address) = Program::server(&["--log-level", "debug"]);
    let mut alex = Peer::join(&address, "Alex", 1);
    let aske = Peer::join(&address, "Aske", 2);
    alex.say("hi", 1);
    aske.next();
    for name in ["Alex", "Aske"] {
        let line = server.wait_for_error(&format!("Delivery of L=3 to {name}"));
        let line = Line::parse(&line).unwrap();
        assert_eq!(
            (line.what, line.number("of"), line.text("by")),
            (What::Deliver, Some(3), Some(name))
        );
    }
}

#[test]
fn a_log_file_gets_the_log_and_standard_error_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.log");
    let (server, address) = Program::server(&["--log-file", path.to_str().unwrap()]);
    Peer::join(&address, "Alex", 1);
    server.signal("-TERM");
    let (status, _, err) = server.end();
    assert_eq!((code(status), err), (0, Vec::new()));
    let log = std::fs::read_to_string(&path).unwrap();
    let what: Vec<_> = log.lines().map(|l| Line::parse(l).expect(l).what).collect();
    assert!(what.starts_with(&[What::Start, What::Join]), "{log}");
    assert_eq!(what.last(), Some(&What::Stop));
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
#[cfg_attr(not(target_os = "linux"), ignore = "it reads /proc")]
fn as_many_poll_threads_serve_as_were_asked_for() {
    let (server, address) = Program::server(&["--poll-threads", "3"]);
    Peer::join(&address, "Alex", 1);
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let name = |thread: &std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
    let polling = threads
        .filter_map(|thread| name(&thread.unwrap()).ok()) // it may have ended
        .filter(|name| name.starts_with("poll-"));
    assert_eq!(polling.count(), 3);
}

#[test]
fn the_environment_says_what_is_logged_where_the_command_line_does_not() {
    for (level, args, logged) in [
        ("error", &[][..], false),
        ("info", &[], true),
        ("error", &["--log-level", "info"], true),
        ("", &[], true),
    ] {
        // It begins to listen, and ends because there are no metrics to serve.
        let output = Command::new(env!("CARGO_BIN_EXE_chitchat"))
            .args(["server", "--listen", "127.0.0.1:0", "--store", "memory"])
            .args(["--metrics", "no address"])
            .args(args)
            .env("RUST_LOG", level)
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("cannot serve metrics"), "{log}");
        assert_eq!(log.contains(" START "), logged, "{level} {args:?}: {log}");
    }
}

#[test]
fn an_empty_variable_is_none() {
    let home = tempfile::tempdir().unwrap();
    let empty = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_chitchat"))
            .args(args)
            .envs(
                [
                    "CHITCHAT_STORE",
                    "CHITCHAT_LISTEN",
                    "CHITCHAT_TLS_CERT",
                    "CHITCHAT_TLS_KEY",
                    "CHITCHAT_CLIENT_CA",
                    "CHITCHAT_SERVER_PASSWORD_FILE",
                    "CHITCHAT_REDIS_PASSWORD_FILE",
                    "CHITCHAT_METRICS",
                    "CHITCHAT_SERVER",
                    "CHITCHAT_TLS_CA",
                    "CHITCHAT_PASSWORD_FILE",
                ]
                .map(|name| (name, "")),
            )
            .env("HOME", home.path())
            .env_remove("XDG_DATA_HOME")
            .output()
            .unwrap()
    };
    // Each goes as far as it can: there is no such address, nor such a server.
    let server = empty(&[
        "server",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "no address",
    ]);
    let words = String::from_utf8(server.stderr).unwrap();
    assert!(
        words.contains("cannot serve metrics on no address"),
        "{words}"
    );
    let client = empty(&["client", "Alex", "--server", "127.0.0.1:1"]);
    assert_eq!(client.status.code(), Some(3), "{client:?}");
}

#[test]
fn limits_with_which_nobody_could_stay_are_refused() {
    for option in [
        "--keepalive",
        "--keepalive-timeout",
        "--first-frame",
        "--idle",
        "--max-per-connection",
        "--max-per-address",
        "--max-members",
        "--outbox",
    ] {
        let args = ["server", "--listen", "127.0.0.1:0", "--store", "memory"];
        let (status, _, err) = Program::start(&[&args[..], &[option, "0"]].concat()).end();
        assert_eq!(code(status), 2, "{option}: {err:?}");
        assert!(err[0].contains("invalid value '0'"), "{option}: {err:?}");
    }
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

#[test]
fn logs_are_read_from_a_pipe_and_a_verdict_that_cannot_be_written_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("server.log").display().to_string();
    let (server, address) = Program::server(&["--log-file", &log]);
    let mut alex = Peer::join(&address, "Alex", 1);
    alex.leave(2);
    alex.status();
    server.signal("-TERM");
    assert_eq!(code(server.end().0), 0);
    let program = env!("CARGO_BIN_EXE_chitchat");
    for (script, expected) in [
        (format!("cat {log} | {program} check /dev/stdin"), 0),
        (format!("{program} check {log} >/dev/full 2>/dev/null"), 2),
    ] {
        let status = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::null())
            .status();
        assert_eq!(code(status.unwrap()), expected, "{script}");
    }
}

#[test]
fn a_log_is_its_owners_alone_and_says_where_rooms_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (log, store) = (dir.path().join("server.log"), dir.path().join("rooms.db"));
    let args = ["--log-file", &log.display().to_string()];
    let server = Program::server_with_store("127.0.0.1:0", &store, &args);
    server.signal("-TERM");
    assert_eq!(code(server.end().0), 0);
    let mode = std::fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let words = std::fs::read_to_string(&log).unwrap();
    let place = format!("rooms are kept in {}", store.display());
    assert!(words.contains(&place), "{words}");
}
