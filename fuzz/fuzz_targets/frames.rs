//! Whatever the network brings as a message, of each kind and in pieces: it is
//! read or refused, and what is read can be written and read again.

#![no_main]

use chitchat_fuzz::wire::{
    CHAT_CALL, CHAT_SIGHTINGS, ClientFrame, Group, HEALTH_CHECK, HISTORY_CALL, REFLECT,
    ROOMS_CALL, Request, WHO_CALL, read_requests,
};
use grpcio::{GrpcSlice, Marshaller, MessageReader};
use libfuzzer_sys::fuzz_target;

/// The message, and as the network brings it: in pieces of so many bytes.
fn read<T>(marshaller: &Marshaller<T>, bytes: &[u8], piece: usize) -> Option<T> {
    let pieces = bytes.chunks(piece).map(<[u8]>::to_vec);
    (marshaller.de)(MessageReader::new(pieces)).ok()
}

fn written<T>(marshaller: &Marshaller<T>, value: &T) -> Vec<u8> {
    let mut out = GrpcSlice::default();
    (marshaller.ser)(value, &mut out).expect("what was read can be written");
    out.as_slice().to_vec()
}

/// As the server reads a frame.
fn requests(bytes: &[u8], piece: usize) -> Option<Vec<Request>> {
    let pieces = bytes.chunks(piece).map(<[u8]>::to_vec);
    let mut requests = Vec::new();
    let read = read_requests(MessageReader::new(pieces), bytes.len(), &mut requests);
    read.ok().map(|()| requests)
}

/// Reads, writes and reads again.
fn there_and_back<T: PartialEq + std::fmt::Debug>(
    marshaller: &Marshaller<T>,
    bytes: &[u8],
    piece: usize,
) {
    if let Some(value) = read(marshaller, bytes, piece) {
        let again = read(marshaller, &written(marshaller, &value), usize::MAX);
        assert_eq!(Some(value), again);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, bytes)) = input.split_first() else {
        return;
    };
    let piece = usize::from(piece).max(1);
    if let Some(said) = requests(bytes, piece) {
        let name = said.iter().find_map(|request| match request {
            Request::Join(join) => Some(join.name.as_str()),
            _ => None,
        });
        let frame = ClientFrame {
            id: 0,
            name: name.unwrap_or_default().into(),
            requests: said,
        };
        let again = requests(&written(&CHAT_CALL.req_mar, &frame), piece);
        assert_eq!(Some(&frame.requests), again.as_ref());
    }
    if let Some(events) = read(&CHAT_CALL.resp_mar, bytes, piece) {
        let mut group = Group::default();
        (events.iter()).for_each(|r| group.push(&r.event, r.replayed));
        let frame = group.batch();
        assert_eq!(
            read(&CHAT_CALL.resp_mar, frame.bytes(), piece),
            Some(events)
        );
        let seen = read(&CHAT_SIGHTINGS.resp_mar, frame.bytes(), piece);
        let seen = seen.expect("what the server encodes is seen");
        let times = |s: &chitchat_fuzz::wire::Sighting| (s.time, s.seq, s.sent, s.sender_id);
        let again = read(&CHAT_CALL.resp_mar, frame.bytes(), piece).unwrap_or_default();
        let told = again.iter().map(|r| &r.event);
        let told = told.map(|e| (e.time, e.seq, e.sent, e.sender_id));
        assert!(seen.iter().map(times).eq(told));
    }
    let _ = read(&CHAT_SIGHTINGS.resp_mar, bytes, piece);
    there_and_back(&HISTORY_CALL.req_mar, bytes, piece);
    there_and_back(&WHO_CALL.req_mar, bytes, piece);
    there_and_back(&WHO_CALL.resp_mar, bytes, piece);
    there_and_back(&ROOMS_CALL.resp_mar, bytes, piece);
    let _ = read(&HEALTH_CHECK.req_mar, bytes, piece);
    let _ = read(&REFLECT.req_mar, bytes, piece);
});
