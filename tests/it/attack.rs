//! Attacks, bounded in time and on loopback: what they cost those who behave.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chitchat::wire::{
    CHAT, HEALTH_CHECK, HEALTH_WATCH, HISTORY, REFLECT, REFLECT_V1ALPHA, ROOMS, WHO,
};

use crate::metrics::http;
use crate::support::{Http2, Peer, Program};

/// Nobody serves it, so it has no handler.
const NO_METHOD: &str = "/itu.chitchat.ChatService/Nothing";

/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(2);

/// Connections that attack at once, and the MiB that they may take: one, and more
/// than there are poll threads on most machines that run this.
const ATTACKERS: [(usize, u64); 2] = [(1, 512), (16, 2048)];

/// How long after an attack its last traces may be felt, on a slow machine.
const AFTER: Duration = Duration::from_secs(20);

/// Calls after which a connection that takes them back is certainly cut off, if
/// anything cuts it off.
const MANY: u32 = 200_000;

/// A number of a process, in the unit of its line in /proc/PID/status.
fn status(server: &Program, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|l| l.starts_with(key)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// HTTP/2 rapid reset (CVE-2023-44487): calls that are taken back as soon as
/// they are made, which no limit on open streams stops.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it reads /proc")]
fn rapid_resets_starve_nobody_and_fill_no_memory() {
    for path in [CHAT.name, NO_METHOD] {
        for (attackers, most) in ATTACKERS {
            reset_rapidly(path, attackers, most);
        }
    }
}

fn reset_rapidly(path: &str, attackers: usize, most: u64) {
    // The members come another way: the attacker's own address is cut off.
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/chat.sock", dir.path().display());
    let (mut server, address) = Program::server(&["--listen", &socket, "--metrics", "127.0.0.1:0"]);
    server.wait_for("listening on unix:");
    let metrics = server.metrics_address();
    let mut member = Peer::join(&socket, "Member", 1);
    let before = status(&server, "VmRSS:");
    let (over, resets) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut echoes = Vec::new();
    let mut threads = 0;
    std::thread::scope(|scope| {
        let attack = || {
            let begun = Instant::now();
            while begun.elapsed() < ATTACK {
                let mut attacker = Http2::connect(&address);
                let mut from_server = attacker.reader();
                scope
                    .spawn(move || while from_server.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {});
                let mut stream = 1;
                while begun.elapsed() < ATTACK && attacker.open_and_reset(path, stream, 100) {
                    stream += 200;
                    resets.fetch_add(100, Ordering::Relaxed);
                }
                attacker.close();
            }
            over.store(true, Ordering::Release);
        };
        for _ in 0..attackers {
            scope.spawn(attack);
        }
        let mut sent = 0;
        while !over.load(Ordering::Acquire) {
            sent += 1;
            let begun = Instant::now();
            member.say("still served", sent);
            member.until("its echo", |e| e.sent == sent);
            echoes.push(begun.elapsed());
            threads = threads.max(status(&server, "Threads:"));
        }
    });
    echoes.sort();
    let grown = status(&server, "VmRSS:").saturating_sub(before);
    eprintln!(
        "{path}: {attackers} attackers, {resets:?} resets in {ATTACK:?}; {} echoes, median {:?}, slowest {:?}; up to {threads} threads, {grown} KiB more",
        echoes.len(),
        echoes[echoes.len() / 2],
        echoes[echoes.len() - 1],
    );
    let slowest = echoes[echoes.len() - 1];
    assert!(slowest < ATTACK + AFTER, "{slowest:?}");
    assert!(grown < most * 1024, "{attackers} attackers: {grown} KiB");
    assert!(threads < 2000, "{threads} threads");
    Peer::join(&socket, "Newcomer", 2);
    let page = http(&metrics, "GET /metrics");
    let severed = page
        .lines()
        .find_map(|line| line.strip_prefix("chitchat_severed_total "))
        .and_then(|count| count.parse::<u64>().ok());
    assert!(severed > Some(0), "{page}");
}

/// Opens calls and takes them back at once, until the connection is cut off.
fn reset_until_cut_off(mut attacker: Http2, path: &str) {
    let mut from_server = attacker.reader();
    std::thread::spawn(move || while from_server.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {});
    let mut stream = 1;
    while attacker.open_and_reset(path, stream, 100) {
        stream += 200;
        assert!(stream < 2 * MANY, "{path}: nothing cuts it off");
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "nothing is cut off")]
fn calls_that_are_taken_back_count_whatever_they_would_have_asked() {
    let (_server, address) = Program::server(&["--max-per-address", "10"]);
    for path in [
        CHAT.name,
        HISTORY.name,
        WHO.name,
        ROOMS.name,
        HEALTH_CHECK.name,
        HEALTH_WATCH.name,
        REFLECT.name,
        REFLECT_V1ALPHA.name,
        NO_METHOD,
    ] {
        reset_until_cut_off(Http2::connect(&address), path);
    }
}

/// The locks that a process holds on files, sorted.
fn locks(server: &Program) -> Vec<String> {
    let owner = server.id().to_string();
    let all = std::fs::read_to_string("/proc/locks").unwrap();
    let of_server = all.lines().filter_map(|line| {
        let (_number, lock) = line.split_once(": ")?;
        (lock.split_whitespace().nth(3) == Some(&owner)).then(|| lock.to_owned())
    });
    let mut locks: Vec<_> = of_server.collect();
    locks.sort();
    locks
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it reads /proc")]
fn who_is_cut_off_takes_no_lock_of_the_history_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}/rooms.db", dir.path().display());
    let (server, address) = Program::server(&["--store", &store, "--max-per-address", "10"]);
    let _member = Peer::join(&address, "Member", 1);
    let before = locks(&server);
    assert!(
        before.iter().any(|lock| lock.starts_with("POSIX")),
        "{before:?}"
    );
    reset_until_cut_off(Http2::connect(&address), CHAT.name);
    assert_eq!(locks(&server), before);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "nothing is cut off")]
fn who_floods_is_cut_off_when_all_descriptors_are_taken_too() {
    const MOST: usize = 100;
    let (server, address) = Program::server_with_descriptors(MOST, &["--store", "memory"]);
    let attacker = Http2::connect(&address);
    attacker.reader().read_exact(&mut [0]).unwrap(); // it has been accepted
    let _others = server.take_descriptors(&address, MOST);
    reset_until_cut_off(attacker, CHAT.name);
}
