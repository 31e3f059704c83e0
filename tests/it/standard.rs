//! gRPC's standard services, and the chat, as gRPC's own Python clients see
//! them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chitchat::wire::REFLECT;
use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};

use crate::support::{Peer, Program, TestServer, raw};

/// The interpreter of the virtual environment that has gRPC's clients, made
/// if need be. `None`: it cannot be had, and the test is skipped, loudly.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(root.join("scripts/python-clients.sh")).status();
        assert!(made.expect("the script runs").success());
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = root.join(target.unwrap_or_else(|| "target".into()));
        let python = target.join("python-clients/bin/python");
        python.exists().then_some(python)
    });
    if python.is_none() {
        // not through a macro: those are captured
        let _ = writeln!(std::io::stderr(), "SKIPPED: no Python clients can be had");
    }
    python.as_deref()
}

fn start(script: &str, args: &[&str]) -> Option<Program> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/python/{script}"));
    let mut all = vec![script.to_str().unwrap()];
    all.extend(args);
    Some(Program::start_other(python()?, &all))
}

fn succeeds(program: Program) {
    let (status, out, err) = program.end();
    assert!(status.success(), "{out:#?}\n{err:#?}");
    assert_eq!(out.last().map(String::as_str), Some("done"));
}

#[test]
fn health_is_on_last_and_off_first() {
    let server = TestServer::start();
    let Some(mut watcher) = start("health.py", &[&server.address]) else {
        return;
    };
    watcher.wait_for("watching");
    let alex = Peer::join(&server.address, "Alex", 1);
    assert!(server.stop());
    assert_eq!(alex.status().0, 14);
    succeeds(watcher);
}

#[test]
fn a_failed_store_ends_health_and_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}/rooms.db", dir.path().display());
    // Blocks of a file: what the store writes after that fails.
    let limited = "trap '' XFSZ; ulimit -f 400; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_chitchat");
    let mut server = Program::start_other(
        Path::new("sh"),
        &[
            "-c",
            limited,
            "sh",
            program,
            "server",
            "--listen",
            "127.0.0.1:0",
            "--store",
            &store,
            "--rate-limit",
            "0",
        ],
    );
    let line = server.wait_for("listening on ");
    let address = line.trim_start_matches("listening on ");
    let Some(mut watcher) = start("health.py", &[address]) else {
        return;
    };
    watcher.wait_for("watching");
    let mut alex = Peer::join(address, "Alex", 1);
    for n in 1..=20_000 {
        alex.say(&"x".repeat(128), n);
    }
    // UNAVAILABLE, or gRPC's own CANCELLED for a stream that still sends
    let end = alex.status();
    assert!([14, 1].contains(&end.0), "{end:?}");
    succeeds(watcher);
    let (status, _, err) = server.end();
    assert_eq!(status.code(), Some(1), "{err:?}");
}

#[test]
fn a_client_that_learns_everything_by_reflection_takes_part() {
    let server = TestServer::start();
    if let Some(client) = start("chat.py", &[&server.address, "reflection"]) {
        succeeds(client);
        Peer::join(&server.address, "Python", 42);
    }
}

#[test]
fn a_client_generated_from_the_proto_takes_part() {
    let server = TestServer::start();
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/chat.proto");
    if let Some(client) = start("chat.py", &[&server.address, proto]) {
        succeeds(client);
    }
}

#[test]
fn an_open_reflection_stream_does_not_hold_up_a_stop() {
    let server = TestServer::start();
    let env = Arc::new(grpcio::Environment::new(1));
    let client = grpcio::Client::new(grpcio::ChannelBuilder::new(env).connect(&server.address));
    let (mut sink, mut answers) = client
        .duplex_streaming(&raw(&REFLECT), grpcio::CallOption::default())
        .unwrap();
    let nothing = (Vec::new(), grpcio::WriteFlags::default());
    block_on(sink.send(nothing)).unwrap();
    block_on(answers.next()).expect("an answer").unwrap();
    let begun = Instant::now();
    assert!(server.stop());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let end = block_on(answers.next()).expect("a status").unwrap_err();
    assert!(end.to_string().contains("the server is stopping"), "{end}");
}
