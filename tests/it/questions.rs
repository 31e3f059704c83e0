//! Calls other than `Chat`: which questions are answered, and how many calls of
//! one address.

use std::sync::Arc;
use std::time::Duration;

use chitchat::rpc::{CallError, Code, Dialler, Keepalive};
use chitchat::wire::{HEALTH_CHECK, HEALTH_WATCH, HISTORY, HistoryQuery, REFLECT, ROOMS, WHO};
use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};
use grpcio::{
    CallOption, ChannelBuilder, Client, CompressionAlgorithms, Environment, RpcStatus,
    RpcStatusCode, WriteFlags,
};

use crate::metrics::http;
use crate::support::{DEADLINE, Http2, Peer, TestServer, raw, sooner_or_later};

#[test]
fn a_compressed_frame_is_not_unpacked() {
    let server = TestServer::start();
    let channel = ChannelBuilder::new(Arc::new(Environment::new(1)))
        .default_compression_algorithm(CompressionAlgorithms::GRPC_COMPRESS_GZIP)
        .connect(&server.address);
    let bomb = [&[0x0a, 0xa0, 0x8d, 0x06][..], &[b'x'; 100_000]].concat();
    let end = Client::new(channel).unary_call(&raw(&WHO), &bomb, CallOption::default());
    let Err(grpcio::Error::RpcFailure(status)) = end else {
        panic!("it was unpacked");
    };
    assert_eq!(status.code(), RpcStatusCode::UNIMPLEMENTED, "{status:?}");
    assert!(status.message().contains("gzip"), "{status:?}");
}

/// gRPC's core takes the stream back, which clients call INTERNAL: it looks at the
/// message neither compressed nor as it is.
#[test]
fn a_compression_that_nobody_knows_is_refused() {
    let server = TestServer::start();
    for encoding in ["zstd", "snappy", ""] {
        let mut connection = Http2::connect(&server.address);
        connection.call_compressed(WHO.name, encoding);
        connection.until_reset();
    }
}

/// Its filter in gRPC's core, which every message would pass, says in each answer
/// what it could unpack. Built without `.cargo/grpc.cmake` (`cargo clean --release
/// -p grpcio-sys` has it built anew), or for another machine, it is there.
#[test]
fn a_server_has_nothing_that_compresses() {
    let server = TestServer::start();
    let mut connection = Http2::connect(&server.address);
    connection.ask(HEALTH_CHECK.name, 1);
    let answer = connection.until("grpc-status");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("application/grpc"), "{answer}");
    assert!(!answer.contains("grpc-accept-encoding"), "{answer}");
}

#[test]
fn a_question_that_is_too_large_or_none_is_refused_with_a_reason() {
    let server = TestServer::start();
    let channel = ChannelBuilder::new(Arc::new(Environment::new(1))).connect(&server.address);
    let client = Client::new(channel);
    // a name of 100,000 bytes, and one that is longer than its frame
    let large = [&[0x0a, 0xa0, 0x8d, 0x06][..], &[b'x'; 100_000]].concat();
    let cut = vec![0x0a, 0x05, b'x'];
    for (question, code, words) in [
        (
            large,
            RpcStatusCode::RESOURCE_EXHAUSTED,
            "a frame of 100004 bytes is larger than 65536",
        ),
        (cut, RpcStatusCode::INVALID_ARGUMENT, "malformed frame: "),
    ] {
        let option = CallOption::default;
        let streamed = |method| {
            let answers = client.server_streaming(method, &question, option());
            block_on(answers.unwrap().next()).unwrap().map(drop)
        };
        let (mut sink, mut answers) = client.duplex_streaming(&raw(&REFLECT), option()).unwrap();
        // An error says that the answer was faster.
        let _ = block_on(sink.send((question.clone(), WriteFlags::default())));
        let ends = [
            (client.unary_call(&raw(&WHO), &question, option())).map(drop),
            (client.unary_call(&raw(&HEALTH_CHECK), &question, option())).map(drop),
            streamed(&raw(&HISTORY)),
            streamed(&raw(&HEALTH_WATCH)),
            block_on(answers.next()).unwrap().map(drop),
        ];
        for end in ends {
            let Err(grpcio::Error::RpcFailure(status)) = end else {
                panic!("{end:?}");
            };
            assert_eq!(status.code(), code);
            assert!(status.message().starts_with(words), "{status:?}");
        }
    }
}

#[test]
fn a_service_that_is_not_there_may_have_a_long_name() {
    let server = TestServer::start();
    let channel = ChannelBuilder::new(Arc::new(Environment::new(1))).connect(&server.address);
    let long = [&[0x0a, 0xe0, 0xd4, 0x03][..], &[b'x'; 60_000]].concat();
    let end = Client::new(channel).unary_call(&raw(&HEALTH_CHECK), &long, CallOption::default());
    let Err(grpcio::Error::RpcFailure(status)) = end else {
        panic!("it is there");
    };
    assert_eq!(status.code(), RpcStatusCode::NOT_FOUND, "{status:?}");
}

#[test]
fn of_answers_that_nobody_takes_the_oldest_are_given_up() {
    let server = TestServer::with(|s| {
        s.max_questions = 4;
        s.metrics = Some("127.0.0.1:0".to_owned());
    });
    let dialled = Dialler::new(Keepalive::default()).dial(&server.address, DEADLINE);
    let dialled = dialled.unwrap();
    let mut stuck = Http2::connect_stuck(&server.address);
    for stream in (1..).step_by(2).take(10) {
        stuck.ask([ROOMS.name, WHO.name][stream as usize / 2 % 2], stream);
        stuck.until_answered(stream);
        sooner_or_later("an answer for whoever takes it", || dialled.rooms().is_ok());
    }
    // Of the two last ones the first was given up for the last that was taken.
    let page = || http(&server.metrics_address(), "GET /metrics");
    sooner_or_later("one to be left", || {
        page().contains("chitchat_questions 1\n")
    });
}

#[test]
fn a_history_has_its_place_until_its_client_has_taken_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/chat.sock", dir.path().display());
    let server = TestServer::with(|s| {
        s.listen.push(socket.clone());
        s.max_per_address = 1;
    });
    let _member = Peer::join(&socket, "Alex", 1);
    let mut stuck = Http2::connect_stuck(&server.address);
    stuck.ask(HISTORY.name, 1);
    stuck.until_answered(1);
    let dialled = Dialler::new(Keepalive::default()).dial(&server.address, DEADLINE);
    let dialled = dialled.unwrap();
    let everything = HistoryQuery {
        room: String::new(),
        past: None,
    };
    let another = || dialled.history(&everything).unwrap().recv();
    let Err(CallError::Status { code, message }) = another() else {
        panic!("there are two from one address");
    };
    assert_eq!(code, Code::RESOURCE_EXHAUSTED, "{message}");
    stuck.close();
    sooner_or_later("the place to be free", || another().is_ok());
}

#[test]
fn calls_whose_question_never_comes_keep_nobody_out_and_end() {
    let server = TestServer::with(|s| {
        s.poll_threads = 1;
        s.first_frame = Duration::from_secs(1);
    });
    let mut silent = Http2::connect(&server.address);
    let paths = [WHO.name, HISTORY.name, HEALTH_WATCH.name, REFLECT.name];
    for (stream, path) in (1..).step_by(2).zip(paths.into_iter().cycle().take(80)) {
        silent.call_as(path, stream);
    }
    Peer::join(&server.address, "Alex", 1);
    for path in paths {
        let mut silent = Http2::connect(&server.address);
        silent.call_as(path, 1);
        silent.until("no question came in time");
    }
}

/// The status with which a call ends at once. What an answer says is of no
/// interest, nor whether it can be read here.
fn refusal<T>(first: grpcio::Result<T>) -> Option<RpcStatus> {
    match first {
        Err(grpcio::Error::RpcFailure(status)) => Some(status),
        _ => None,
    }
}

#[test]
fn streams_that_are_nobodys_have_a_share_of_each_address() {
    const SHARE: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/chat.sock", dir.path().display());
    let server = TestServer::with(|s| s.listen.push(socket.clone()));
    let env = Arc::new(Environment::new(1));
    let connect = |address: &str| Client::new(ChannelBuilder::new(env.clone()).connect(address));
    let (client, elsewhere) = (connect(&server.address), connect(&socket));
    let reflect = |client: &Client| {
        let (mut sink, mut answers) = client
            .duplex_streaming(&raw(&REFLECT), CallOption::default())
            .unwrap();
        // An error says that the answer was faster.
        let _ = block_on(sink.send((Vec::new(), WriteFlags::default())));
        let refused = refusal(block_on(answers.next()).unwrap());
        (refused, (sink, answers))
    };
    let watch = |client: &Client| {
        let nothing = Vec::new();
        let option = CallOption::default();
        let answers = client.server_streaming(&raw(&HEALTH_WATCH), &nothing, option);
        let mut answers = answers.unwrap();
        let refused = refusal(block_on(answers.next()).unwrap());
        (refused, answers)
    };
    let mut watches = Vec::new();
    let mut reflections = Vec::new();
    for _ in 0..SHARE / 2 {
        watches.push(watch(&client));
        reflections.push(reflect(&client));
    }
    let mut refused = watches.iter().map(|w| &w.0);
    assert!(refused.all(Option::is_none));
    let mut refused = reflections.iter().map(|r| &r.0);
    assert!(refused.all(Option::is_none));
    let words = "this server has 16 such streams from your address and takes no more";
    for refused in [watch(&client).0, reflect(&client).0] {
        let status = refused.expect("it is one too many");
        assert_eq!(status.code(), RpcStatusCode::RESOURCE_EXHAUSTED);
        assert_eq!(status.message(), words);
    }
    assert!(watch(&elsewhere).0.is_none() && reflect(&elsewhere).0.is_none());
    drop(reflections.pop());
    sooner_or_later("a place", || reflect(&client).0.is_none());
    drop(watches.pop());
    sooner_or_later("another place", || reflect(&client).0.is_none());
}
