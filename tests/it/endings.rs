//! Every way in which a client can end yields exactly one «left».

use std::sync::Arc;
use std::time::Duration;

use chitchat::chat::{Event, Kind};
use chitchat::rpc::{Dialler, EventReader, FrameWriter, Keepalive};
use chitchat::wire::{CHAT_CALL, ClientFrame, Request};
use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};

use crate::support::{DEADLINE, Http2, Peer, Program, TestServer, join};

const VICTIM: &str = "Victim";

/// Lets a client join and end, and checks that a witness sees one departure:
/// the name is free again, and nothing more comes of the first stream.
fn exactly_one_left(server: &TestServer, end: impl FnOnce(&TestServer)) {
    let mut witness = Peer::join(&server.address, "Witness", 1);
    end(server);
    let is = |kind, e: &Event| e.kind == kind && e.sender.as_ref() == VICTIM;
    let mut seen = witness.until("the departure", |e| is(Kind::Leave, e));
    let mut again = Peer::ask(&server.address, join(VICTIM, 77));
    again.until("its own announcement", |e| is(Kind::Join, e));
    again.leave(1);
    assert_eq!(again.status().0, 0);
    seen.extend(witness.until("the second departure", |e| is(Kind::Leave, e)));
    witness.say("the end", 1);
    seen.extend(witness.until("the end", |e| e.text == "the end"));
    let count = |kind| seen.iter().filter(|e| is(kind, e)).count();
    assert_eq!((count(Kind::Join), count(Kind::Leave)), (2, 2), "{seen:#?}");
    witness.leave(2);
    assert_eq!(witness.status().0, 0);
}

/// A stream that has joined, its two halves in hand.
fn joined(server: &TestServer) -> (FrameWriter, EventReader) {
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let (mut writer, mut reader) = dialled.chat().unwrap();
    let requests = vec![Request::Join(Box::new(join(VICTIM, 7)))];
    writer
        .send(ClientFrame {
            id: 7,
            name: VICTIM.into(),
            requests,
        })
        .unwrap();
    reader.recv().unwrap();
    (writer, reader)
}

fn send(writer: &mut FrameWriter, request: Request) {
    // An error says that the server has already ended the stream.
    let _ = writer.send(ClientFrame {
        id: 7,
        name: VICTIM.into(),
        requests: vec![request],
    });
}

#[test]
fn a_leave_that_is_read_to_the_end() {
    let server = TestServer::start();
    for _ in 0..20 {
        exactly_one_left(&server, |server| {
            let (mut writer, mut reader) = joined(server);
            send(&mut writer, Request::Leave { sent: 1 });
            while reader.recv().unwrap().is_some() {}
        });
    }
}

#[test]
fn a_leave_and_at_once_the_end_of_everything() {
    let server = TestServer::start();
    for _ in 0..20 {
        exactly_one_left(&server, |server| {
            let (mut writer, _reader) = joined(server);
            send(&mut writer, Request::Leave { sent: 1 });
        });
    }
}

#[test]
fn a_half_close_that_is_read_to_the_end() {
    let server = TestServer::start();
    for _ in 0..20 {
        exactly_one_left(&server, |server| {
            let (mut writer, mut reader) = joined(server);
            writer.close();
            while reader.recv().unwrap().is_some() {}
        });
    }
}

#[test]
fn a_half_close_whose_reader_is_dropped() {
    let server = TestServer::start();
    for _ in 0..20 {
        exactly_one_left(&server, |server| {
            let (mut writer, reader) = joined(server);
            writer.close();
            drop(reader);
        });
    }
}

#[test]
fn both_halves_dropped() {
    let server = TestServer::start();
    for _ in 0..20 {
        exactly_one_left(&server, |server| drop(joined(server)));
    }
}

#[test]
fn a_cancelled_call() {
    let server = TestServer::start();
    for _ in 0..20 {
        exactly_one_left(&server, |server| {
            let (mut writer, mut reader) = joined(server);
            writer.cancel();
            reader.recv().unwrap_err();
        });
    }
}

#[test]
fn a_deadline_that_passes() {
    let server = TestServer::start();
    exactly_one_left(&server, |server| {
        let env = Arc::new(grpcio::Environment::new(1));
        let client = grpcio::Client::new(grpcio::ChannelBuilder::new(env).connect(&server.address));
        let option = grpcio::CallOption::default().timeout(Duration::from_secs(1));
        let (mut sink, mut stream) = client.duplex_streaming(&CHAT_CALL, option).unwrap();
        let requests = vec![Request::Join(Box::new(join(VICTIM, 7)))];
        let frame = ClientFrame {
            id: 7,
            name: VICTIM.into(),
            requests,
        };
        block_on(sink.send((frame, grpcio::WriteFlags::default()))).unwrap();
        let end = block_on(async {
            loop {
                if let Err(end) = stream.next().await.expect("a deadline is an error") {
                    break end;
                }
            }
        });
        assert!(format!("{end}").contains("DEADLINE_EXCEEDED"), "{end}");
    });
}

#[test]
fn a_frame_that_is_too_large() {
    let server = TestServer::start();
    exactly_one_left(&server, |server| {
        let (mut writer, mut reader) = joined(server);
        let text = "x".repeat(100_000);
        send(
            &mut writer,
            Request::Say {
                text,
                to: String::new(),
                sent: 1,
            },
        );
        let end = loop {
            match reader.recv() {
                Ok(Some(_)) => {}
                other => break other.unwrap_err(),
            }
        };
        assert!(end.to_string().contains("is larger than 65536"), "{end}");
    });
}

#[test]
fn a_client_that_pings_too_often() {
    let server = TestServer::start();
    exactly_one_left(&server, |server| {
        let mut client = Http2::connect(&server.address);
        client.join(VICTIM, 7);
        client.until("Participant Victim joined");
        for _ in 0..10 {
            client.frame(6, 0, 0, &[0; 8]); // PING
        }
        client.until_closed(); // GOAWAY, «too_many_pings»
    });
}

#[test]
fn a_second_join() {
    let server = TestServer::start();
    exactly_one_left(&server, |server| {
        let (mut writer, mut reader) = joined(server);
        send(&mut writer, Request::Join(Box::new(join("Other", 8))));
        let end = loop {
            match reader.recv() {
                Ok(events) => assert!(events.is_some(), "a second JOIN is an error"),
                Err(end) => break end,
            }
        };
        assert_eq!(end.to_string(), "this stream has joined already");
    });
}

/// A client process whose participant leaves at once when its connection is
/// lost, as its grace period is over in no time.
fn victim_process(server: &TestServer, args: &[&str]) -> Program {
    let mut client = Program::client(VICTIM, &server.address, args);
    client.wait_for("Victim: Participant Victim joined");
    client
}

#[test]
fn a_killed_process() {
    let server = TestServer::with(|s| s.grace = Duration::from_millis(1));
    for _ in 0..3 {
        exactly_one_left(&server, |server| {
            victim_process(server, &[]).signal("-KILL")
        });
    }
}

#[test]
fn a_process_that_exits_without_a_word() {
    let server = TestServer::with(|s| s.grace = Duration::from_millis(1));
    exactly_one_left(&server, |server| {
        let client = victim_process(server, &[]);
        // the second signal ends it at once, whatever it was doing
        client.signal("-STOP");
        client.signal("-INT");
        client.signal("-TERM");
        client.signal("-CONT");
        client.end();
    });
}

#[test]
fn a_client_that_is_stopped_like_one_whose_cable_is_pulled() {
    let server = TestServer::with(|s| {
        s.grace = Duration::from_millis(1);
        s.keepalive = Keepalive {
            every: Duration::from_secs(1),
            patience: Duration::from_secs(1),
        };
    });
    let mut stopped = None;
    exactly_one_left(&server, |server| {
        let client = victim_process(server, &[]);
        client.signal("-STOP");
        stopped = Some(client);
    });
}

#[test]
fn a_stream_that_never_joins_disturbs_nobody() {
    let server = TestServer::with(|s| s.first_frame = Duration::from_millis(50));
    let idle = Peer::dial(&server.address);
    assert_eq!(idle.status().0, 4, "DEADLINE_EXCEEDED");
    let mut early = Peer::dial(&server.address);
    early.say("hello", 1);
    assert_eq!(
        early.status(),
        (3, "the first frame must be a JOIN".to_owned())
    );
    drop(Peer::dial(&server.address));
    let alex = Peer::join(&server.address, "Alex", 1);
    drop(alex);
}

#[test]
fn a_stop_tells_every_member_and_those_who_have_not_joined() {
    let server = TestServer::start();
    let idle = Peer::dial(&server.address);
    let alex = Peer::join(&server.address, "Alex", 1);
    let aske = Peer::join(&server.address, "Aske", 2);
    assert!(server.stop(), "all of them take everything");
    let told = (14, "the server is stopping".to_owned());
    assert_eq!(alex.status(), told);
    assert_eq!(aske.status(), told);
    // gRPC's core itself answers CANCELLED to a call that it had not handed over
    let status = idle.status();
    assert!(status == told || status.0 == 1, "{status:?}");
}
