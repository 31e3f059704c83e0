//! The program: how it starts and stops, and what it logs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use chitchat::trace::line::{Line, What};

use crate::support::{DEADLINE, Peer, Program, code};

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
        let level = format!("RUST_LOG={level}");
        let server = [&level, env!("CARGO_BIN_EXE_chitchat"), "server"];
        let rooms = ["--listen", "127.0.0.1:0", "--store", "memory"];
        let mut server =
            Program::start_other(Path::new("env"), &[&server[..], &rooms, args].concat());
        server.wait_for("listening on ");
        server.signal("-TERM");
        let log = server.end().2.join("\n");
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
fn an_empty_address_among_servers_is_refused() {
    let start = |args: &[&str], server: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_chitchat"));
        let program = program.args(args).env("CHITCHAT_SERVER", server);
        program.stdin(Stdio::null()).output().unwrap()
    };
    let own = "127.0.0.1:1";
    for (args, server, expected) in [
        (&["client", "Alex", "--server", "127.0.0.1:1,"][..], own, 2),
        (&["client", "Alex", "--server", ""], own, 2),
        (&["history", "--server", ",127.0.0.1:1"], own, 2),
        (
            &["history", "--server", "127.0.0.1:1, ,127.0.0.1:1"],
            own,
            2,
        ),
        (&["bench", "--connect", "127.0.0.1:1,"], own, 2),
        (&["history"], "127.0.0.1:1,", 2),
        (&["client", "Alex"], "127.0.0.1:1,", 1),
        (&["client", "Alex", "--print-config"], " ", 1),
    ] {
        let output = start(args, server);
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(code(output.status), expected, "{args:?}: {words}");
        let why = "each server needs an address: HOST:PORT or unix:PATH";
        assert!(words.contains(why), "{args:?}: {words}");
    }
    let args = ["client", "Alex", "--print-config", "--server", "a:1, b:2"];
    let output = start(&[&args[..], &["--server", "c:3"]].concat(), own);
    let settings = String::from_utf8(output.stdout).unwrap();
    assert!(
        settings.starts_with("server = \"a:1,b:2,c:3\""),
        "{settings}"
    );
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
fn what_is_for_rooms_in_redis_is_refused_for_others() {
    for option in [
        ["--redis-wait", "1"],
        ["--lease", "9s"],
        ["--redis-ca", "ca.pem"],
    ] {
        let args = ["server", "--listen", "127.0.0.1:0", "--store", "memory"];
        let (status, _, err) = Program::start(&[&args[..], &option].concat()).end();
        assert_eq!(status.code(), Some(1), "{err:?}");
        let why = format!("chitchat: {} is for rooms in Redis: ", option[0]);
        assert!(err.last().unwrap().starts_with(&why), "{err:?}");
    }
}

#[test]
fn logs_are_read_from_a_pipe_and_what_is_made_of_them_is_written_or_code_2() {
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
        (format!("{program} diagram {log} >/dev/full 2>/dev/null"), 2),
        (
            format!("{program} before 2 3 {log} >/dev/full 2>/dev/null"),
            2,
        ),
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
