//! A stop under load: in time, whatever clients do, and without losing what
//! somebody has heard.

use std::collections::HashSet;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use chitchat::chat::{Event, Kind};
use chitchat::history::{Span, Store};
use chitchat::rpc::{Dialler, Keepalive};
use chitchat::server::{Server, Settings};
use chitchat::wire::{ClientFrame, Join, Request};

use crate::support::{DEADLINE, Http2, Program, join};

/// How long a stop may take here; every round takes most of it, since the
/// stuck clients never read their end.
const PATIENCE: Duration = Duration::from_millis(60);

/// What a stop may take beyond its patience, on a slow machine: far less than
/// a hang, and far more than its own work.
const SLACK: Duration = Duration::from_secs(10);

#[test]
fn two_hundred_stops_under_load_hang_never_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(dir.path().join("rooms.db"));
    let mut heard = HashSet::new();
    for round in 0..200 {
        let server = Server::start(Settings {
            listen: vec!["127.0.0.1:0".to_owned()],
            store: store.clone(),
            ..Settings::default()
        })
        .unwrap();
        let address = server.addresses()[0].clone();
        let mut stuck: Vec<_> = (1..=2)
            .map(|n| {
                let mut client = Http2::connect_stuck(&address);
                client.join(&format!("Stuck {n}"), n);
                client
            })
            .collect();
        let (talkers, begin) = (2, crossbeam_channel::bounded(2));
        let talkers: Vec<_> = (0..talkers)
            .map(|n| {
                let (address, begun) = (address.clone(), begin.0.clone());
                std::thread::spawn(move || talk(&address, &format!("Talker {n}"), &begun))
            })
            .collect();
        for _ in &talkers {
            begin.1.recv_timeout(DEADLINE).expect("they talk");
        }
        let stop = Instant::now();
        server.stop(PATIENCE);
        let took = stop.elapsed();
        assert!(took < PATIENCE + SLACK, "round {round} took {took:?}");
        for talker in talkers {
            heard.extend(talker.join().unwrap());
        }
        stuck.iter_mut().for_each(Http2::until_closed);
    }
    let kept: HashSet<_> = {
        let opened = store.open().unwrap();
        let span = Span {
            after: 0,
            up_to: i64::MAX,
            limit: usize::MAX,
        };
        let room = opened.rooms[0].id.no;
        let events = opened.past.read(room, span, None).unwrap();
        events.iter().map(told).collect()
    };
    let lost: Vec<_> = heard.difference(&kept).collect();
    let (some, all) = (&lost[..lost.len().min(5)], heard.len());
    assert!(
        lost.is_empty(),
        "{} of {all} are lost: {some:?} …",
        lost.len()
    );
    assert!(heard.len() > 2000, "they said little: {}", heard.len());
}

fn told(event: &Event) -> (i64, String) {
    (event.time, event.text.clone())
}

/// Talks until its stream ends, and returns what it heard. Says so when it has
/// heard its first own words.
fn talk(address: &str, name: &str, begun: &crossbeam_channel::Sender<()>) -> Vec<(i64, String)> {
    let dialled = Dialler::new(Keepalive::default())
        .dial(address, DEADLINE)
        .unwrap();
    let (mut writer, mut reader) = dialled.chat().unwrap();
    let frame = |request| ClientFrame {
        id: 0,
        name: "".into(),
        requests: vec![request],
    };
    let ask = Join {
        batches: true,
        ..join(name, 0)
    };
    writer.send(frame(Request::Join(Box::new(ask)))).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let say = |sent| Request::Say {
                text: format!("word {sent}"),
                to: String::new(),
                sent,
            };
            // an error: the stream has ended
            (1..)
                .take_while(|&sent| writer.send(frame(say(sent))).is_ok())
                .count();
        });
        let mut heard = Vec::new();
        let mut is_first = true;
        while let Ok(Some(events)) = reader.recv() {
            for received in events {
                let own = received.event.sender.as_ref() == name;
                if own && received.event.kind == Kind::Message && is_first {
                    begun.send(()).unwrap();
                    is_first = false;
                }
                heard.push(told(&received.event));
            }
        }
        drop(reader); // ends the call, and with it the writer's wait
        heard
    })
}

#[test]
fn a_service_manager_is_told_when_the_server_is_ready_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let program = env!("CARGO_BIN_EXE_chitchat");
    let server = Program::start_other(
        Path::new("env"),
        &[
            &variable,
            program,
            "server",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "memory",
        ],
    );
    let mut buffer = [0; 64];
    let mut told = || {
        let n = manager.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    server.signal("-TERM");
    assert_eq!(told(), "STOPPING=1");
    assert!(server.end().0.success());
}
