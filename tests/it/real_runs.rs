//! The logs of real runs obey the laws, and what is spoilt in them is found.

use std::fs;
use std::path::Path;

use crate::support::{Program, Proxy, Random, fixed_port, sooner_or_later};

const NAMES: [&str; 3] = ["Alex", "Aske", "Bob"];

/// What `chitchat check` says of all logs in a folder: its exit code and words.
fn check(folder: &Path) -> (Option<i32>, String) {
    let logs: Vec<_> = ["Server"]
        .iter()
        .chain(&NAMES)
        .map(|name| folder.join(format!("{name}.log")).display().to_string())
        .collect();
    let mut args = vec!["check"];
    args.extend(logs.iter().map(String::as_str));
    let (status, out, err) = Program::start(&args).end();
    (status.code(), [out, err].concat().join("\n"))
}

/// Three clients talk at random; the server is killed in the middle and comes
/// back; one client is killed.
fn run(folder: &Path) {
    let mut random = Random::new();
    let address = format!("127.0.0.1:{}", fixed_port());
    let log_of = |name: &str| folder.join(format!("{name}.log")).display().to_string();
    let store = folder.join("rooms.db");
    let server_log = log_of("Server");
    let serve = || {
        let args = ["--grace", "1s", "--log-file", &server_log];
        Program::server_with_store(&address, &store, &args)
    };
    let mut server = serve();
    let logs = NAMES.map(log_of);
    let mut clients: Vec<_> = NAMES
        .iter()
        .zip(&logs)
        .map(|(name, log)| {
            let args = ["--log-file", log, "--reconnect", "5m"];
            let mut client = Program::client(name, &address, &args);
            client.wait_for(&format!("Participant {name} joined"));
            client
        })
        .collect();
    for round in 0..3 {
        for n in 0..random.between(20, 60) {
            let who = random.below(3) as usize;
            let text = match random.below(8) {
                0 => "x".repeat(129), // refused
                _ => format!("round {round}, line {n} of {}", NAMES[who]),
            };
            clients[who].type_line(&text);
        }
        if round == 1 {
            server.signal("-KILL");
            server.end();
            server = serve();
        }
        for (client, name) in clients.iter_mut().zip(NAMES) {
            client.type_line(&format!("end of round {round} of {name}"));
            client.wait_for(&format!("end of round {round} of {name}"));
        }
    }
    let bob = clients.pop().expect("there are three");
    bob.signal("-KILL");
    bob.end();
    clients[0].wait_for("Participant Bob left");
    for client in clients {
        let (status, ..) = client.end();
        assert!(status.success());
    }
    server.signal("-TERM");
    assert!(server.end().0.success());
}

/// Changes one client's log and says what the check makes of it.
fn spoilt(folder: &Path, change: impl FnOnce(&mut Vec<String>)) -> (Option<i32>, String) {
    let path = folder.join("Alex.log");
    let whole = fs::read_to_string(&path).expect("a log");
    let mut lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").expect("the log is ours");
    let verdict = check(folder);
    fs::write(&path, whole).expect("the log is ours");
    verdict
}

/// Where a live message of somebody else was delivered, with another behind it.
fn deliveries(lines: &[String]) -> (usize, usize) {
    let mut at = lines.iter().enumerate().filter(|(_, line)| {
        line.contains("DELIVER") && line.contains("kind=message") && line.contains("who=Aske")
    });
    let mut next = || at.next().expect("Aske said something").0;
    (next(), next())
}

/// What `line` tells, at the client's own time of `place`.
fn at_time_of(line: &str, place: &str) -> String {
    let split = |line: &str| {
        let (head, tail) = line.split_once(" L=").expect("a time");
        let (time, tail) = tail.split_once(' ').expect("more fields");
        [head.to_owned(), time.to_owned(), tail.to_owned()]
    };
    let ([head, _, tail], [_, time, _]) = (split(line), split(place));
    format!("{head} L={time} {tail}")
}

#[test]
fn the_logs_of_a_real_run_with_losses_and_a_restart_hold_and_spoilt_ones_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path());
    let (code, words) = check(folder.path());
    assert_eq!(code, Some(0), "{words}");
    let violated = |law: &str, (code, words): (Option<i32>, String)| {
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains(&format!("  VIOLATED  {law} (")), "{words}");
    };
    // Each line keeps the client's own time of its place: times still rise.
    violated(
        "one order",
        spoilt(folder.path(), |lines| {
            let (a, b) = deliveries(lines);
            let (first, second) = (
                at_time_of(&lines[b], &lines[a]),
                at_time_of(&lines[a], &lines[b]),
            );
            (lines[a], lines[b]) = (first, second);
        }),
    );
    violated(
        "no gap, no repeat",
        spoilt(folder.path(), |lines| {
            let (a, _) = deliveries(lines);
            lines.remove(a);
        }),
    );
    violated(
        "no gap, no repeat",
        spoilt(folder.path(), |lines| {
            let (a, b) = deliveries(lines);
            lines[b] = at_time_of(&lines[a], &lines[b]);
        }),
    );
    violated(
        "nothing from nowhere",
        spoilt(folder.path(), |lines| {
            let (a, _) = deliveries(lines);
            lines[a] = lines[a].replace("line", "lime");
        }),
    );
    // The last that came before it left.
    violated(
        "no gap, no repeat",
        spoilt(folder.path(), |lines| {
            let is_numbered = |line: &String| line.contains("DELIVER") && !line.contains("seq=0 ");
            let last = lines
                .iter()
                .rposition(is_numbered)
                .expect("it heard something");
            lines.remove(last);
        }),
    );
    violated(
        "own times rise",
        spoilt(folder.path(), |lines| {
            let (_, b) = deliveries(lines);
            let (head, tail) = lines[b].split_once(" L=").expect("a time");
            let (_, tail) = tail.split_once(' ').expect("more fields");
            lines[b] = format!("{head} L=1 {tail}");
        }),
    );
}

/// What came before the goodbye may have been lost with the connection: that
/// nothing lacks is not to be concluded from it.
#[test]
fn a_log_tells_that_a_goodbye_had_no_answer_and_with_which_past_a_client_began() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("Alex.log");
    let (_server, address) = Program::server(&[]);
    let proxy = Proxy::to(&address);
    let args = ["--last", "5", "--log-file", &log.display().to_string()];
    let mut client = Program::client("Alex", &proxy.address, &args);
    client.wait_for("Participant Alex joined");
    proxy.deafen();
    client.end_input();
    let told = || fs::read_to_string(&log).expect("a log");
    sooner_or_later("the goodbye is in the log", || {
        told().contains("kind=leave")
    });
    proxy.cut();
    assert!(client.end().0.success());
    let told = told();
    let tells: Vec<_> = told
        .lines()
        .filter_map(|line| line.split([' ', ':']).nth(7))
        .collect();
    assert_eq!(
        tells,
        ["START", "SEND", "DELIVER", "SEND", "LOST", "STOP"],
        "{told}"
    );
    assert!(
        told.contains("kind=join room=\"Chit Chat\" last=5:"),
        "{told}"
    );
}
