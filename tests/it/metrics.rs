//! The page of metrics, as Prometheus gets it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use chitchat::chat::{Event, Kind};
use chitchat::history::Store;
use chitchat::rpc::{Dialler, Keepalive};
use chitchat::server::Rate;
use chitchat::wire::{HistoryQuery, Join, PastAsk};

use crate::support::{
    DEADLINE, Peer, Program, Redis, TestServer, join, sooner_or_later, with_secret,
};

/// What an HTTP server answers.
pub fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn has(page: &str, line: &str) {
    assert!(
        page.lines().any(|l| l == line),
        "{line} is missing:\n{page}"
    );
}

#[test]
fn the_page_tells_what_happens() {
    let server = TestServer::with(|s| {
        s.metrics = Some("127.0.0.1:0".to_owned());
        s.max_sessions = 2;
    });
    let address = server.metrics_address();
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let aske = Peer::join(&server.address, "Aske", 2);
    for n in 1..=3 {
        alex.say("hello", n);
    }
    aske.until("the last", |e| e.sent == 3);
    assert_eq!(Peer::ask(&server.address, join("Beate", 3)).status().0, 8);
    let page = http(&address, "GET /metrics");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    for line in [
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        "chitchat_members 2",
        "chitchat_streams 2",
        "chitchat_addresses 1",
        "chitchat_rooms 1",
        "chitchat_clock 5",
        "chitchat_events_total{kind=\"join\"} 2",
        "chitchat_events_total{kind=\"message\"} 3",
        "chitchat_deliveries_total 9",
        "chitchat_refused_total{reason=\"limit\"} 1",
        "chitchat_group_events_sum 5",
    ] {
        has(&page, line);
    }
    assert!(http(&address, "GET /other").starts_with("HTTP/1.1 404 "));
    assert!(http(&address, "POST /metrics").starts_with("HTTP/1.1 405 "));
    alex.leave(9);
    aske.until("the departure", |e| e.sent == 9);
    has(&http(&address, "GET /metrics"), "chitchat_members 1");
    // The limit is two: a place is free when the stream before has ended.
    let in_time = |line: &str| {
        let shown = || http(&address, "GET /metrics").contains(line);
        sooner_or_later(line, shown);
    };
    in_time("chitchat_streams 1\n");
    let mut beate = Peer::join(&server.address, "Beate", 3);
    beate.say(&"x".repeat(100_000), 1); // more than a frame may have
    let left = |name: &str, e: &Event| e.kind == Kind::Leave && e.sender.as_ref() == name;
    aske.until("the end of a fault", |e| left("Beate", e));
    in_time("chitchat_streams 1\n");
    drop(Peer::join(&server.address, "Cleo", 4));
    aske.until("the loss", |e| left("Cleo", e));
    for reason in ["too_large", "lost"] {
        in_time(&format!(
            "chitchat_refused_total{{reason=\"{reason}\"}} 1\n"
        ));
    }
}

#[test]
fn the_page_tells_how_a_shared_log_does() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let serve = || {
        TestServer::with(|s| {
            let mut store = redis.store();
            store.lease = Duration::from_secs(60);
            s.store = Store::Shared(store);
            s.grace = Duration::from_secs(2); // so often is looked who is away
            s.metrics = Some("127.0.0.1:0".to_owned());
        })
    };
    let servers = [serve(), serve()];
    let [one, other] = [0, 1].map(|n| servers[n].metrics_address());
    let shows = |address: &str, lines: &[&str]| {
        sooner_or_later(&format!("{lines:?}"), || {
            let page = http(address, "GET /metrics");
            lines.iter().all(|line| page.lines().any(|l| l == *line))
        });
    };
    let mut alex = Peer::ask(&servers[0].address, with_secret("Alex", 1));
    alex.next();
    let aske = Peer::ask(&servers[1].address, with_secret("Aske", 2));
    alex.next();
    for n in 10..13 {
        alex.say("hello", n);
        assert_eq!(alex.next().text, "hello");
    }
    shows(
        &one,
        &[
            "chitchat_log_round_trip_seconds_count 3",
            "chitchat_log_trouble_seconds{part=\"sequencer\"} 0",
            "chitchat_log_trouble_seconds{part=\"follower\"} 0",
            "chitchat_log_trouble_seconds{part=\"steward\"} 0",
            "chitchat_log_waiting_commands 0",
            "chitchat_log_rooms_read_anew_total 0",
            "chitchat_log_servers 2",
            "chitchat_away 0",
        ],
    );
    shows(&other, &["chitchat_log_round_trip_seconds_count 0"]);
    drop(aske);
    for address in [&one, &other] {
        shows(address, &["chitchat_away 1"]);
    }
    let _aske = Peer::ask(&servers[1].address, with_secret("Aske", 2));
    for address in [&one, &other] {
        shows(address, &["chitchat_away 0"]);
    }

    redis.kill();
    alex.say("meanwhile", 20);
    for part in ["sequencer", "follower", "steward"] {
        sooner_or_later(part, || {
            let page = http(&one, "GET /metrics");
            let name = format!("chitchat_log_trouble_seconds{{part=\"{part}\"}} ");
            let mut lines = page.lines();
            lines.any(|l| l.strip_prefix(&name).is_some_and(|lasts| lasts != "0"))
        });
    }
    shows(&one, &["chitchat_log_waiting_commands 1"]);
    redis.restart();
    alex.until("what was said meanwhile", |e| e.text == "meanwhile");
    shows(
        &one,
        &[
            "chitchat_log_trouble_seconds{part=\"sequencer\"} 0",
            "chitchat_log_trouble_seconds{part=\"follower\"} 0",
            "chitchat_log_trouble_seconds{part=\"steward\"} 0",
            "chitchat_log_waiting_commands 0",
            "chitchat_log_round_trip_seconds_count 4",
        ],
    );

    // As after a failover to a replica that had not heard of the last.
    let last = redis.cli(&["XREVRANGE", "chitchat:room:1", "+", "-", "COUNT", "1"]);
    redis.cli(&[
        "XDEL",
        "chitchat:room:1",
        last.lines().next().expect("an id"),
    ]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    shows(&one, &["chitchat_log_rooms_read_anew_total 1"]);
}

#[test]
fn a_member_that_is_let_go_is_counted() {
    let server = TestServer::with(|s| {
        s.metrics = Some("127.0.0.1:0".to_owned());
        s.outbox_events = 0;
    });
    let alex = Peer::ask(&server.address, join("Alex", 1));
    assert_eq!(alex.status().0, 8);
    let address = server.metrics_address();
    has(&http(&address, "GET /metrics"), "chitchat_let_go_total 1");
    // The journal lets it go; its own session counts that a little later.
    let counted = "chitchat_refused_total{reason=\"too_slow\"} 1";
    let begun = Instant::now();
    while !http(&address, "GET /metrics").lines().any(|l| l == counted) {
        assert!(begun.elapsed() < DEADLINE, "it is never counted");
    }
}

#[test]
fn whoever_asks_for_the_metrics_keeps_nobody_from_them_nor_the_server_from_its_end() {
    let (mut server, _) = Program::server(&["--metrics", "127.0.0.1:0"]);
    let address = server.metrics_address();
    let line = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
    let asks = |text: String| {
        let mut client = TcpStream::connect(&address).unwrap();
        let _ = client.write_all(text.as_bytes()); // it may be too much
        client
    };
    let _stays = [
        asks(String::new()),
        asks(line.to_owned()),
        asks(format!("{line}X: {}", "x".repeat(100_000))),
        asks(format!("{line}\r\n").repeat(1000)),
        asks(format!("{line}Content-Length: 5000\r\n\r\n")),
        asks(format!("{line}Content-Length: 1000000000000000\r\n\r\n")),
        asks(format!("{line}Transfer-Encoding: chunked\r\n\r\n")),
    ];
    has(&http(&address, "GET /metrics"), "chitchat_members 0");
    server.signal("-TERM");
    assert!(server.end().0.success());
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "elsewhere a pipe has two ends")]
fn a_journal_that_stands_still_is_told_of_and_is_no_stop() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("log");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let log = OpenOptions::new().read(true).write(true).open(&pipe);
    let mut log = log.unwrap();
    let path = pipe.display().to_string();
    let (mut server, address) = Program::server(&["--metrics", "127.0.0.1:0", "--log-file", &path]);
    let metrics = server.metrics_address();
    let mut alex = Peer::join(&address, "Alex", 1);
    // More than the pipe takes, which nobody reads.
    for sent in 1..=1000 {
        alex.say("a line", sent);
    }
    sooner_or_later("the journal to stand still", || {
        !http(&metrics, "GET /metrics").starts_with("HTTP/1.1 200 ")
    });
    let page = http(&metrics, "GET /metrics");
    assert!(page.contains("the journal does not answer"), "{page}");
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    alex.until("the last line", |e| e.sent == 1000);
    has(&http(&metrics, "GET /metrics"), "chitchat_members 1");
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it reads /proc")]
fn the_metrics_are_there_again_when_descriptors_are() {
    const MOST: usize = 100;
    let args = ["--store", "memory", "--metrics", "127.0.0.1:0"];
    let (mut server, address) = Program::server_with_descriptors(MOST, &args);
    let metrics = server.metrics_address();
    let others = server.take_descriptors(&address, MOST);
    let ask = || {
        let waits = TcpStream::connect(&metrics).unwrap();
        waits.set_nonblocking(true).unwrap();
        waits
    };
    let mut waits = ask();
    sooner_or_later("nobody to be able to ask", || {
        // A descriptor was free again when it asked: then it was let in, and let
        // go since it asked nothing. The next member takes that descriptor.
        if matches!(waits.read(&mut [0]), Ok(0)) {
            server.wait_for_descriptors(MOST);
            waits = ask();
        }
        server.has_told("nobody can ask for the metrics now")
    });
    drop(others);
    has(&http(&metrics, "GET /metrics"), "chitchat_members 0");
}

#[test]
fn the_page_tells_of_clocks_that_move_without_an_event() {
    let server = TestServer::with(|s| s.metrics = Some("127.0.0.1:0".to_owned()));
    let secret = with_secret("Alex", 1);
    let _before = Peer::ask(&server.address, secret.clone()).next();
    let resumed = Peer::ask(
        &server.address,
        Join {
            sent: 1000,
            ..secret
        },
    );
    let time = resumed.next().time;
    assert!(time > 1000);
    let page = http(&server.metrics_address(), "GET /metrics");
    has(&page, &format!("chitchat_clock {time}"));
}

#[test]
fn the_page_tells_how_a_history_ends() {
    let server = TestServer::with(|s| s.metrics = Some("127.0.0.1:0".to_owned()));
    let _alex = Peer::join(&server.address, "Alex", 1);
    let dialled = Dialler::new(Keepalive::default()).dial(&server.address, DEADLINE);
    let future = HistoryQuery {
        room: String::new(),
        past: Some(PastAsk::After(1000)),
    };
    let mut history = dialled.unwrap().history(&future).unwrap();
    assert!(history.recv().is_err());
    let page = http(&server.metrics_address(), "GET /metrics");
    has(&page, "chitchat_refused_total{reason=\"out_of_range\"} 1");
}

#[test]
fn the_page_tells_for_how_long_members_were_slowed_so_far() {
    let begun = Instant::now();
    let server = TestServer::with(|s| {
        s.metrics = Some("127.0.0.1:0".to_owned());
        s.rate = Some(Rate {
            per_second: 1e-6,
            burst: 1,
        });
    });
    let mut alex = Peer::join(&server.address, "Alex", 1);
    alex.say("one", 1);
    alex.say("and another", 2);
    alex.until("the first", |e| e.sent == 1);
    drop(alex);
    let address = server.metrics_address();
    let name = "chitchat_slowed_seconds_total ";
    let mut slowed = 0.0;
    sooner_or_later("the end of the session", || {
        let page = http(&address, "GET /metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        slowed = line.unwrap().parse().unwrap();
        page.contains("chitchat_streams 0\n")
    });
    assert!(slowed <= begun.elapsed().as_secs_f64(), "{slowed}");
}

#[test]
fn the_program_says_where_its_metrics_are_and_that_an_address_is_taken() {
    let (mut server, _) = Program::server(&["--metrics", "127.0.0.1:0"]);
    let address = server.metrics_address();
    has(&http(&address, "GET /metrics"), "chitchat_members 0");
    let args = [
        "server",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory",
        "--metrics",
        &address,
    ];
    let (status, _, err) = Program::start(&args).end();
    assert_eq!(status.code(), Some(1));
    let start = format!("chitchat: cannot serve metrics on {address}: ");
    assert!(err.last().unwrap().starts_with(&start), "{err:?}");
    let began = err.iter().any(|line| line.contains("service running"));
    assert!(!began, "a run that begins and never ends: {err:?}");
}
