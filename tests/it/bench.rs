//! The load generator: a clean verdict on a server that does its work, and the
//! right fault's name on one that does not.

use std::sync::{Arc, Mutex, MutexGuard};

use chitchat::chat::{Event, Kind};
use chitchat::history::Store;
use chitchat::wire::{CHAT, Frame, Request, read_requests};
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::sink::SinkExt;
use futures_util::stream::StreamExt;
use grpcio::{
    DuplexSink, EnvBuilder, MessageReader, RequestStream, RpcContext, Server, ServerBuilder,
    ServerCredentials, ServiceBuilder, WriteFlags,
};
use serde_json::Value;

use crate::support::{Program, TestServer};

/// A load of 2 senders and 3 receivers that takes no time.
const SMALL: [&str; 9] = [
    "bench",
    "--senders=2",
    "--receivers=3",
    "--messages=100",
    "--warmup=20",
    "--window=8",
    "--patience=1s",
    "--size=9",
    "--json",
];

/// Runs a load; its exit code and its JSON objects.
fn bench(args: &[&str]) -> (i32, Vec<Value>) {
    let (status, out, err) = Program::start(args).end();
    let parsed = out.iter().map(|line| serde_json::from_str(line));
    match parsed.collect::<Result<Vec<_>, _>>() {
        Ok(objects) => (status.code().expect("it exits"), objects),
        Err(why) => panic!("{why}: {out:#?}\nerrors: {err:#?}"),
    }
}

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

#[test]
fn an_own_server_holds_nobody_back() {
    // The defaults take 1000 streams from an address and 20 messages a second
    // from a member, once its first 100 are through.
    let (code, objects) = bench(&[
        "bench",
        "--senders=1",
        "--receivers=1",
        "--idle=1001",
        "--messages=1000",
        "--warmup=0",
        "--json",
    ]);
    let figures = &objects[0];
    assert_eq!(code, 0, "{figures:#}");
    let rate = figures["publishes_per_s"].as_f64().unwrap();
    assert!(rate > 100.0, "{figures:#}");
}

#[test]
fn arguments_for_the_own_server_win_over_those_that_it_gets_anyway() {
    let (status, _, err) = Program::start(&with(&SMALL, &["--", "--max-per-address", "3"])).end();
    assert_eq!(status.code(), Some(4), "{err:?}");
}

#[test]
fn an_own_server_can_be_encrypted() {
    let (code, objects) = bench(&with(&SMALL, &["--tls"]));
    assert_eq!(code, 0, "{objects:#?}");
    // Clients that do not encrypt have no business with such a server.
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    assert!(Program::start(&["certs", dir]).end().0.success());
    let (cert, key, ca) = (
        format!("{dir}/server.pem"),
        format!("{dir}/server.key"),
        format!("{dir}/ca.pem"),
    );
    let (_server, address) = Program::server(&["--tls-cert", &cert, "--tls-key", &key]);
    let connect = ["--connect", &address, "--tls-ca", &ca];
    let (code, objects) = bench(&with(&SMALL, &connect));
    assert_eq!(code, 0, "{objects:#?}");
    let (status, _, err) = Program::start(&with(&SMALL, &connect[..2])).end();
    assert_eq!(status.code(), Some(3), "{err:?}");
}

#[test]
fn a_short_load_on_its_own_server_has_a_clean_verdict_and_all_figures() {
    let (code, objects) = bench(&SMALL);
    let figures = &objects[0];
    assert_eq!((code, objects.len()), (0, 1), "{figures:#}");
    assert_eq!(figures["verdict"]["clean"], true, "{figures:#}");
    assert_eq!(figures["verdict"]["orders"], 1);
    assert_eq!(figures["published"], 200);
    assert_eq!(figures["delivered"], 1000);
    assert_eq!(figures["latency_ms"]["samples"], 200);
    for positive in ["publishes_per_s", "deliveries_per_s", "time_s"] {
        assert!(figures[positive].as_f64().unwrap() > 0.0, "{positive}");
    }
    let latency = |name: &str| figures["latency_ms"][name].as_f64().unwrap();
    assert!(0.0 < latency("p50") && latency("p50") <= latency("max"));
    if cfg!(target_os = "linux") {
        assert!(figures["server_cpu_s"].is_number(), "{figures:#}");
        assert!(figures["server_peak_bytes"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn an_open_loop_in_rooms_with_idle_members_is_clean_too() {
    let more = [
        "--senders=3",
        "--rooms=2",
        "--rate=2000",
        "--messages=100",
        "--idle=10",
        "--idle-room=5",
        "--no-batches",
        "--json",
    ];
    let (code, objects) = bench(&with(&["bench", "--receivers=4"], &more));
    let figures = &objects[0];
    assert_eq!(code, 0, "{figures:#}");
    // senders 0 and 2 are with 2 receivers, sender 1 is with 2
    assert_eq!(figures["published"], 300);
    assert_eq!(figures["delivered"], 2 * 100 * 4 + 100 * 3);
    assert!(figures["time_s"].as_f64().unwrap() >= 299.0 / 2000.0);
    if cfg!(target_os = "linux") {
        assert!(figures["server_bytes_per_idle"].is_number(), "{figures:#}");
    }
}

#[test]
fn a_load_ends_after_its_time() {
    let more = ["--duration=300ms", "--warmup=0", "--bundle=4", "--json"];
    let (code, objects) = bench(&with(&["bench", "--senders=1", "--receivers=1"], &more));
    assert_eq!(code, 0, "{objects:#?}");
    let published = objects[0]["published"].as_u64().unwrap();
    assert!(published > 0);
    assert_eq!(objects[0]["delivered"], 2 * published);
}

#[test]
fn a_durable_server_is_measured_beside_its_disk_and_leaves_its_file_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("rooms.db");
    let store = format!("--store=sqlite:{}", path.display());
    for _ in 0..2 {
        let (code, objects) = bench(&with(&SMALL, &[&store]));
        assert_eq!(code, 0, "{objects:#?}");
        assert!(objects[0]["disk_sync_ms"]["median"].as_f64().unwrap() > 0.0);
    }
    assert!(Store::Sqlite(path).open().is_ok());
}

#[test]
fn the_table_has_a_line_for_each_load() {
    let (status, out, err) = Program::start(&SMALL[..8]).end();
    assert!(status.success(), "{err:#?}");
    assert_eq!(out.len(), 2, "{out:#?}");
    assert!(out[0].starts_with("load ") && out[0].ends_with("verdict"));
    assert!(out[1].ends_with("all came, once, in one order"), "{out:#?}");
}

#[test]
fn nobody_at_the_address_is_an_error_of_its_own() {
    let (status, out, err) = Program::start(&["bench", "--connect", "127.0.0.1:1"]).end();
    assert_eq!(status.code(), Some(3));
    assert_eq!(out, [""; 0]);
    let said = err.concat();
    assert!(said.contains("cannot reach 127.0.0.1:1"), "{said}");
}

#[test]
fn a_server_that_turns_clients_away_is_named_with_its_words() {
    let server = TestServer::with(|settings| settings.max_sessions = 3);
    let args = with(&SMALL, &["--connect", &server.address]);
    let (status, _, err) = Program::start(&args).end();
    assert_eq!(status.code(), Some(4), "{err:#?}");
    assert!(err.concat().contains("could not join: "), "{err:#?}");
}

#[test]
fn a_signal_ends_the_load_and_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rooms.db");
    let store = format!("--store=sqlite:{}", path.display());
    let server_args = ["--", "--log-level", "info"];
    let mut load = Program::start(&with(&["bench", "--duration=10m", &store], &server_args));
    load.wait_for_error("bench-");
    load.signal("-TERM");
    let (status, _, err) = load.end();
    assert_eq!(status.code(), Some(1));
    assert!(err.concat().contains("chitchat: interrupted"));
    assert!(
        Store::Sqlite(path).open().is_ok(),
        "the server still has it"
    );
}

#[test]
fn a_lost_message_is_named() {
    expect_fault(Fault::Loses, &[("lost", 1), ("numbering", 1)], "1 lost");
}

#[test]
fn a_repeated_message_is_named() {
    expect_fault(
        Fault::Repeats,
        &[("repeated", 1), ("numbering", 1)],
        "1 repeated",
    );
}

#[test]
fn a_message_out_of_order_is_named() {
    expect_fault(
        Fault::Swaps,
        &[("out_of_order", 1), ("numbering", 2), ("orders", 2)],
        "1 out of order; 2 out of the room's numbering; 2 different orders",
    );
}

#[test]
fn another_order_with_times_and_numbers_to_match_is_found_by_comparison() {
    expect_fault(
        Fault::SwapsUnseen,
        &[("orders", 2)],
        "2 different orders in one room",
    );
}

#[test]
fn a_time_that_is_not_after_its_send_is_named() {
    expect_fault(
        Fault::TurnsBackTime,
        &[("clock", 1), ("out_of_order", 1)],
        "1 not after their send by Lamport time",
    );
}

#[test]
fn a_stream_that_ends_too_early_is_named() {
    let server = Broken::start(Fault::HangsUp);
    let args = with(&SMALL, &["--connect", &server.address]);
    let (code, objects) = bench(&args);
    let verdict = &objects[0]["verdict"];
    assert_eq!((code, &verdict["clean"]), (1, &Value::Bool(false)));
    assert_eq!(verdict["ended_early"], 1, "{verdict:#}");
    assert!(verdict["lost"].as_u64().unwrap() > 0, "{verdict:#}");
}

#[test]
fn a_stream_that_does_not_end_is_named() {
    expect_fault(Fault::Keeps, &[("unended", 1)], "1 did not end");
}

#[test]
fn what_comes_when_nobody_waits_for_it_any_more_counts() {
    let server = Broken::start(Fault::Dawdles);
    let (code, objects) = bench(&with(&SMALL, &["--connect", &server.address]));
    let figures = &objects[0];
    assert_eq!(code, 0, "{figures:#}");
    assert_eq!(figures["delivered"], 1000, "{figures:#}");
}

#[test]
fn a_server_without_fault_in_the_same_harness_is_clean() {
    let server = Broken::start(Fault::None);
    let (code, objects) = bench(&with(&SMALL, &["--connect", &server.address]));
    assert_eq!(code, 0, "{objects:#?}");
}

/// Runs a load on a broken server, once for programs and once for people.
fn expect_fault(fault: Fault, faults: &[(&str, u64)], words: &str) {
    let server = Broken::start(fault);
    let (code, objects) = bench(&with(&SMALL, &["--connect", &server.address]));
    let verdict = &objects[0]["verdict"];
    assert_eq!((code, &verdict["clean"]), (1, &Value::Bool(false)));
    let names = [
        "lost",
        "repeated",
        "out_of_order",
        "numbering",
        "clock",
        "refused",
        "strayed",
        "ended_early",
        "unended",
    ];
    for name in names {
        let found = faults.iter().find(|(fault, _)| *fault == name);
        let expected = found.map_or(0, |(_, count)| *count);
        assert_eq!(verdict[name], expected, "{name}: {verdict:#}");
    }
    let orders = faults.iter().find(|(fault, _)| *fault == "orders");
    assert_eq!(verdict["orders"], orders.map_or(1, |(_, count)| *count));

    let server = Broken::start(fault);
    let args = with(&SMALL[..8], &["--connect", &server.address]);
    let (status, out, _) = Program::start(&args).end();
    assert_eq!(status.code(), Some(1));
    assert!(out.concat().contains(words), "{out:#?}");
}

/// What a broken server does, once and to one of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Loses,
    Repeats,
    /// Sends two messages in the wrong order.
    Swaps,
    /// The same with two messages of different senders, and gives each the
    /// times and the number of the other.
    SwapsUnseen,
    TurnsBackTime,
    HangsUp,
    /// Does not end the stream of who leaves.
    Keeps,
    /// Sends the last message when somebody leaves.
    Dawdles,
}

/// The message at which the fault happens: after the warm-up, when each of the
/// two senders has still something to send.
const FAULTY: usize = 60;

/// The last message: two senders send 20 and then 100.
const LAST: usize = 240;

/// A small chat server with a fault.
struct Broken {
    address: String,
    _server: Server,
}

struct Room {
    fault: Fault,
    time: i64,
    seq: u64,
    messages: usize,
    /// The first one is the one to whom the fault happens.
    members: Vec<(i32, UnboundedSender<Event>)>,
    held: Option<Event>,
}

impl Broken {
    fn start(fault: Fault) -> Self {
        let room = Arc::new(Mutex::new(Room {
            fault,
            time: 0,
            seq: 0,
            messages: 0,
            members: Vec::new(),
            held: None,
        }));
        let service = ServiceBuilder::new()
            .add_duplex_streaming_handler(&CHAT, move |ctx, frames, sink| {
                serve(&ctx, frames, sink, room.clone());
            })
            .build();
        let env = Arc::new(EnvBuilder::new().cq_count(1).build());
        let mut server = ServerBuilder::new(env)
            .register_service(service)
            .build()
            .expect("a server");
        let port = server
            .add_listening_port("127.0.0.1:0", ServerCredentials::insecure())
            .expect("a free port");
        server.start();
        Self {
            address: format!("127.0.0.1:{port}"),
            _server: server,
        }
    }
}

fn serve(
    ctx: &RpcContext<'_>,
    mut frames: RequestStream<MessageReader>,
    mut sink: DuplexSink<Frame>,
    room: Arc<Mutex<Room>>,
) {
    let (outbox, mut events) = unbounded::<Event>();
    ctx.spawn(async move {
        while let Some(event) = events.next().await {
            let frame = Frame::single(&event, false);
            if sink.send((frame, WriteFlags::default())).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    ctx.spawn(async move {
        let mut me = 0;
        let lock = || -> MutexGuard<'_, Room> { room.lock().unwrap() };
        while let Some(Ok(frame)) = frames.next().await {
            let mut requests = Vec::new();
            read_requests(frame, usize::MAX, &mut requests).unwrap();
            for request in requests {
                match request {
                    Request::Join(join) => {
                        me = join.id;
                        lock().members.push((me, outbox.clone()));
                        lock().tell(Kind::Join, me, join.sent, "");
                    }
                    Request::Say { text, sent, .. } => {
                        lock().tell(Kind::Message, me, sent, &text);
                    }
                    Request::Leave { .. } => lock().part(me),
                }
            }
        }
        lock().part(me);
    });
}

impl Room {
    fn part(&mut self, id: i32) {
        if self.fault == Fault::Dawdles
            && let Some(last) = self.held.take()
        {
            let _ = self.members[0].1.unbounded_send(last);
        }
        let kept = usize::from(self.fault == Fault::Keeps);
        let mut at = 0;
        self.members.retain(|(member, _)| {
            at += 1;
            at <= kept || *member != id
        });
    }

    fn tell(&mut self, kind: Kind, sender_id: i32, sent: i64, text: &str) {
        self.time = self.time.max(sent) + 1;
        self.seq += 1;
        self.messages += usize::from(kind == Kind::Message);
        let event = Event {
            time: self.time,
            seq: self.seq,
            kind,
            sender_id,
            sender: "somebody".into(),
            text: text.to_owned(),
            sent,
            wall_ms: 0,
            to: None,
        };
        for n in 0..self.members.len() {
            for event in self.as_told_to(n, &event) {
                let _ = self.members[n].1.unbounded_send(event);
            }
        }
        if self.fault == Fault::HangsUp && self.messages == FAULTY {
            self.members.remove(0).1.close_channel();
            self.fault = Fault::None;
        }
    }

    /// What the server makes of an event for one of its members.
    fn as_told_to(&mut self, member: usize, event: &Event) -> Vec<Event> {
        if member > 0 || event.kind != Kind::Message {
            return vec![event.clone()];
        }
        let mut event = event.clone();
        match self.fault {
            Fault::Loses if self.messages == FAULTY => vec![],
            Fault::Repeats if self.messages == FAULTY => vec![event.clone(), event],
            Fault::Swaps if self.messages == FAULTY => {
                self.held = Some(event);
                vec![]
            }
            Fault::Dawdles if self.messages == LAST => {
                self.held = Some(event);
                vec![]
            }
            Fault::Swaps => std::iter::once(event).chain(self.held.take()).collect(),
            Fault::SwapsUnseen if self.messages >= FAULTY => match self.held.replace(event) {
                None => vec![],
                Some(mut first) => {
                    let mut second = self.held.take().expect("it was just put there");
                    if first.sender_id == second.sender_id {
                        self.held = Some(second);
                        return vec![first];
                    }
                    std::mem::swap(&mut first.time, &mut second.time);
                    std::mem::swap(&mut first.seq, &mut second.seq);
                    std::mem::swap(&mut first.sent, &mut second.sent);
                    self.fault = Fault::None;
                    vec![second, first]
                }
            },
            Fault::TurnsBackTime if self.messages == FAULTY => {
                event.time = 1;
                vec![event]
            }
            _ => vec![event],
        }
    }
}
