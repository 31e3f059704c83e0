//! The way of a message between two threads of the server, without gRPC: the
//! room stamps it, it is encoded, and a frame of it is handed to every member.
//!
//! `cargo bench` runs it.

use chitchat::chat::{Ask, Audience, Event, MemberKey, Name, Room, RoomId, Said};
use chitchat::wire::{Frame, Group};
use crossbeam_channel::unbounded;
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

const TEXT: &str = "a line of thirty-two characters.";
const SENDER: MemberKey = MemberKey(1);

/// A room with so many members, the first of whom speaks.
fn room(members: u64) -> Room {
    let mut room = Room::new(RoomId {
        no: 1,
        name: Name::parse_room("").expect("the default room has a name"),
    });
    for n in 1..=members {
        let ask = Ask {
            id: n as i32,
            name: Name::parse(&format!("Member {n}")).expect("it is short"),
            secret: None,
            sent: 1,
            session: n,
            fresh: MemberKey(n),
        };
        room.join(ask, 0).expect("the names differ");
    }
    room
}

fn stamped(room: &mut Room) -> Event {
    let sent = room.clock();
    match room.say(SENDER, 1, TEXT, "", sent, 0) {
        Said::Stamped(event, Audience::Room) => event,
        other => panic!("it was not stamped: {other:?}"),
    }
}

fn group(room: &mut Room, events: usize) -> Group {
    let mut group = Group::default();
    (0..events).for_each(|_| group.push(&stamped(room), false));
    group
}

#[divan::bench(args = [10, 256])]
fn stamp(bencher: Bencher, members: u64) {
    let mut room = room(members);
    bencher.bench_local(|| stamped(&mut room));
}

#[divan::bench]
fn encode_one(bencher: Bencher) {
    let event = stamped(&mut room(1));
    let mut group = Group::default();
    bencher.bench_local(|| {
        group.clear();
        group.push(&event, false);
    });
}

/// A group becomes one frame for those who accept batches …
#[divan::bench(args = [1, 64, 512])]
fn frame_of_a_group(bencher: Bencher, events: usize) {
    let group = group(&mut room(1), events);
    bencher
        .counter(ItemsCount::new(events))
        .bench_local(|| group.batch());
}

/// … and one frame an event for the others.
#[divan::bench(args = [64, 512])]
fn frames_of_a_group(bencher: Bencher, events: usize) {
    let group = group(&mut room(1), events);
    bencher
        .counter(ItemsCount::new(events))
        .bench_local(|| group.singles().collect::<Vec<_>>());
}

/// A group of 64 to every member's queue: stamped, encoded, framed, and shared
/// by all. The queue is of the kind that an outbox has.
#[divan::bench(args = [1, 64, 256])]
fn group_to_all(bencher: Bencher, members: u64) {
    const EVENTS: usize = 64;
    let mut room = room(members);
    let queues: Vec<_> = (0..members).map(|_| unbounded::<Frame>()).collect();
    bencher
        .counter(ItemsCount::new(EVENTS * members as usize))
        .bench_local(|| {
            let frame = group(&mut room, EVENTS).batch();
            for (queue, taken) in &queues {
                let _ = queue.send(frame.clone());
                drop(taken.try_recv());
            }
        });
}

/// What every member costs beyond the first: a reference to the same bytes.
#[divan::bench]
fn share_a_frame(bencher: Bencher) {
    let frame = group(&mut room(1), 64).batch();
    bencher.bench_local(|| frame.clone());
}
