//! Attacks, bounded in time and on loopback: what they cost those who behave.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::metrics::http;
use crate::support::{Http2, Peer, Program};

/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(2);

/// Connections that attack at once, and the MiB that they may take: one, and more
/// than there are poll threads on most machines that run this.
const ATTACKERS: [(usize, u64); 2] = [(1, 512), (16, 2048)];

/// How long after an attack its last traces may be felt, on a slow machine.
const AFTER: Duration = Duration::from_secs(20);

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
    for (attackers, most) in ATTACKERS {
        reset_rapidly(attackers, most);
    }
}

fn reset_rapidly(attackers: usize, most: u64) {
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
                while begun.elapsed() < ATTACK && attacker.open_and_reset(stream, 100) {
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
        "{attackers} attackers, {resets:?} resets in {ATTACK:?}; {} echoes, median {:?}, slowest {:?}; up to {threads} threads, {grown} KiB more",
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
