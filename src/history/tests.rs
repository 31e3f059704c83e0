//! The contract of a store, checked against every store with random schedules
//! and a model that is too simple to be wrong.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use super::*;
use crate::chat::{Kind, Name, Secret};

pub(super) fn room(no: u32, name: &str) -> Arc<RoomId> {
    let name = Name::parse(name).unwrap();
    Arc::new(RoomId { no, name })
}

/// What everybody in the room sees, with a text of some sixty bytes.
pub(super) fn message(room: &Arc<RoomId>, time: i64, seq: u64) -> Record {
    let event = Event {
        time,
        seq,
        kind: Kind::Message,
        sender_id: 1,
        sender: "Alex".into(),
        text: format!("number {time:-<50}"),
        sent: time,
        wall_ms: 1_767_323_045_678 + time,
        to: None,
    };
    Record {
        room: room.clone(),
        clock: time,
        event: Some((event, Audience::Room)),
        author: None,
        roster: Roster::Same,
    }
}

/// A xorshift generator (Marsaglia 2003).
struct Random(u64);

impl Random {
    /// With a new seed, or the one in the environment; prints it.
    fn new() -> Self {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number above 0"),
            Err(_) => RandomState::new().build_hasher().finish() | 1,
        };
        println!("run this schedule again with SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }
}

/// What a store of one room must know.
struct Model {
    id: Arc<RoomId>,
    clock: i64,
    seq: u64,
    events: Vec<(Event, Audience)>,
    present: Vec<StoredMember>,
    left: Vec<StoredMember>,
}

/// Few, so that they meet in several rooms; some do not fit an `i64`.
const KEYS: [MemberKey; 5] = [
    MemberKey(0),
    MemberKey(7),
    MemberKey(i64::MAX as u64),
    MemberKey(i64::MAX as u64 + 1),
    MemberKey(u64::MAX),
];

const TEXTS: [&str; 5] = [
    "hi",
    "",
    "ø漢🦀 «x»",
    "a\0b",
    "two\nlines'; DROP TABLE events",
];

impl Model {
    fn new(no: u32) -> Self {
        Self {
            id: room(no, &format!("#room {no}")),
            clock: 0,
            seq: 0,
            events: Vec::new(),
            present: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Some step that a room can make.
    fn step(&mut self, random: &mut Random) -> Record {
        self.clock += 1 + random.below(3) as i64;
        let key = random.of(&KEYS).unwrap();
        let there = self.present.iter().position(|m| m.key == key);
        match (random.below(8), there) {
            (0, _) => self.record(None, None, Roster::Same),
            (1 | 2, None) => {
                let known = self.left.iter().position(|m| m.key == key);
                let last_sent = known.map_or(0, |at| self.left.remove(at).last_sent);
                let member = StoredMember {
                    key,
                    id: random.next() as i32,
                    name: Name::parse(&format!("Åse {}", random.below(9))).unwrap(),
                    secret: (!random.one_in(4)).then(|| Secret([random.next() as u8; 32])),
                    joined: self.clock,
                    last_sent,
                    present: true,
                };
                self.present.push(member.clone());
                let event = self.event(random, Kind::Join, Audience::Room);
                self.record(Some(event), None, Roster::Entered(Box::new(member)))
            }
            (1 | 2, Some(at)) => {
                let mut member = self.present.remove(at);
                member.present = false;
                let remembered = member.secret.is_some();
                let mut forgotten = Vec::new();
                if remembered {
                    self.left.push(member);
                    let too_many = self.left.len().saturating_sub(1 + random.below(3));
                    forgotten.extend(self.left.drain(..too_many).map(|m| m.key));
                }
                let event = self.event(random, Kind::Leave, Audience::Room);
                let roster = Roster::Parted {
                    key,
                    remembered,
                    forgotten,
                };
                self.record(Some(event), None, roster)
            }
            (what, _) => {
                let (kind, audience) = match what {
                    3 => (Kind::Refusal, Audience::One(key)),
                    4 => (Kind::Message, Audience::Two(key, random.of(&KEYS).unwrap())),
                    _ => (Kind::Message, Audience::Room),
                };
                let event = self.event(random, kind, audience);
                let author = (!random.one_in(5)).then_some(key);
                let everybody = self.present.iter_mut().chain(&mut self.left);
                for member in everybody.filter(|m| Some(m.key) == author && event.0.sent > 0) {
                    member.last_sent = event.0.sent;
                }
                self.record(Some(event), author, Roster::Same)
            }
        }
    }

    fn event(&mut self, random: &mut Random, kind: Kind, audience: Audience) -> (Event, Audience) {
        let seq = match audience {
            Audience::Room => {
                self.seq += 1;
                self.seq
            }
            _ => 0,
        };
        let event = Event {
            time: self.clock,
            seq,
            kind,
            sender_id: random.of(&[i32::MIN, 0, 7]).unwrap(),
            sender: random.of(&["Alex", "Åse", "Server"]).unwrap().into(),
            text: random.of(&TEXTS).unwrap().to_owned(),
            sent: random.below(50) as i64,
            wall_ms: random.next() as i64,
            to: random.one_in(3).then(|| "Sam".into()),
        };
        self.events.push((event.clone(), audience));
        (event, audience)
    }

    fn record(
        &self,
        event: Option<(Event, Audience)>,
        author: Option<MemberKey>,
        roster: Roster,
    ) -> Record {
        Record {
            room: self.id.clone(),
            clock: self.clock,
            event,
            author,
            roster,
        }
    }

    fn stored(&self) -> StoredRoom {
        StoredRoom {
            id: (*self.id).clone(),
            clock: self.clock,
            seq: self.seq,
            members: self.present.iter().chain(&self.left).cloned().collect(),
        }
    }

    fn visible(&self, viewer: Option<MemberKey>) -> impl DoubleEndedIterator<Item = &Event> {
        let sees = move |audience: &Audience| match viewer {
            Some(key) => audience.includes(key),
            None => *audience == Audience::Room,
        };
        let events = self.events.iter();
        events.filter(move |(_, a)| sees(a)).map(|(event, _)| event)
    }

    /// Asks the store something, and knows the answer.
    fn ask(&self, past: &dyn Past, random: &mut Random) {
        let viewer = (!random.one_in(3)).then(|| random.of(&KEYS).unwrap());
        let any_time = |random: &mut Random| match random.below(4) {
            0 => random.of(&[-1, 0, i64::MAX]).unwrap(),
            _ => random.below(self.clock as usize + 3) as i64,
        };
        let span = Span {
            after: any_time(random),
            up_to: any_time(random),
            limit: random.of(&[0, 1, 3, 50, usize::MAX]).unwrap(),
        };
        let expected: Vec<Event> = self
            .visible(viewer)
            .filter(|event| span.after < event.time && event.time <= span.up_to)
            .take(span.limit)
            .cloned()
            .collect();
        let found = past.read(self.id.no, span, viewer).unwrap();
        assert_eq!(found, expected, "{span:?} for {viewer:?}");

        let count = random.of(&[1, 2, 10, 200, usize::MAX]).unwrap();
        let up_to = any_time(random);
        let position = past.position_of_last(self.id.no, count, up_to, viewer);
        let span = Span {
            after: position.unwrap(),
            up_to,
            limit: usize::MAX,
        };
        let before = self.visible(viewer).filter(|event| event.time <= up_to);
        let mut expected: Vec<Event> = before.rev().take(count).cloned().collect();
        expected.reverse();
        let found = past.read(self.id.no, span, viewer).unwrap();
        assert_eq!(found, expected, "last {count}, {span:?} for {viewer:?}");
    }
}

/// What was found, comparable: those who are present come in no order.
fn in_order(mut rooms: Vec<StoredRoom>) -> Vec<StoredRoom> {
    for room in &mut rooms {
        let key_if_present = |m: &StoredMember| (!m.present, m.present.then_some(m.key));
        room.members.sort_by_key(key_if_present);
    }
    rooms
}

fn both_stores(check: impl Fn(&Store)) {
    check(&Store::Memory);
    let folder = tempfile::tempdir().unwrap();
    check(&Store::Sqlite(folder.path().join("history.db")));
}

#[test]
fn what_is_appended_is_read_by_those_it_is_for_and_found_again() {
    both_stores(|store| {
        let mut random = Random::new();
        let mut models: Vec<Model> = (1..=3).map(Model::new).collect();
        let mut opened = store.open().unwrap();
        assert_eq!(opened.rooms, []);
        for _ in 0..120 {
            let size = random.of(&[0, 1, 2, 20, 100]).unwrap();
            let group: Vec<Record> = (0..size)
                .map(|_| {
                    let which = random.below(models.len());
                    models[which].step(&mut random)
                })
                .collect();
            opened.journal.append(&group).unwrap();
            for model in models.iter().filter(|model| model.clock > 0) {
                model.ask(&*opened.past, &mut random);
            }
            if *store != Store::Memory && random.one_in(8) {
                drop(opened);
                opened = store.open().unwrap();
                let used = models.iter().filter(|model| model.clock > 0);
                let expected: Vec<StoredRoom> = used.map(Model::stored).collect();
                assert_eq!(in_order(opened.rooms.clone()), in_order(expected));
            }
        }
    });
}

#[test]
fn of_a_room_that_nobody_opened_nothing_is_kept() {
    both_stores(|store| {
        let past = store.open().unwrap().past;
        let span = Span {
            after: 0,
            up_to: i64::MAX,
            limit: 9,
        };
        assert_eq!(past.read(4, span, None).unwrap(), []);
        assert_eq!(past.position_of_last(4, 9, i64::MAX, None).unwrap(), 0);
    });
}

#[test]
fn the_past_can_be_read_after_the_journal_is_closed() {
    both_stores(|store| {
        let mut opened = store.open().unwrap();
        let group = [message(&room(1, "Chit Chat"), 1, 1)];
        opened.journal.append(&group).unwrap();
        drop(opened.journal);
        let position = opened.past.position_of_last(1, 1, i64::MAX, None);
        assert_eq!(position.unwrap(), 0);
    });
}

#[test]
fn a_read_shows_whole_groups_and_all_that_came_before_it() {
    const GROUP: usize = 7;
    const READERS: usize = 6;
    both_stores(|store| {
        let Opened {
            mut journal, past, ..
        } = store.open().unwrap();
        let room = room(1, "Chit Chat");
        let (appended, ended) = (AtomicI64::new(0), AtomicBool::new(false));
        thread::scope(|threads| {
            for _ in 0..READERS {
                threads.spawn(|| {
                    let mut last_round = false;
                    while !last_round {
                        last_round = ended.load(Ordering::SeqCst);
                        let before = appended.load(Ordering::SeqCst);
                        let span = Span {
                            after: 0,
                            up_to: i64::MAX,
                            limit: usize::MAX,
                        };
                        let page = past.read(1, span, None).unwrap();
                        let last = page.last().map_or(0, |event| event.time);
                        assert_eq!(page.len() % GROUP, 0, "half a group");
                        assert_eq!(page.len() as i64, last, "a gap");
                        assert!(last >= before, "{last} is older than {before}");
                    }
                });
            }
            let times: Vec<i64> = (1..=100 * GROUP as i64).collect();
            for times in times.chunks(GROUP) {
                let group: Vec<Record> = times
                    .iter()
                    .map(|&time| message(&room, time, time as u64))
                    .collect();
                journal.append(&group).unwrap();
                appended.store(times[GROUP - 1], Ordering::SeqCst);
            }
            ended.store(true, Ordering::SeqCst);
        });
    });
}

/// What of a room is kept: the times of its events, and what is said of those
/// before.
fn kept(past: &dyn Past) -> (Vec<i64>, i64) {
    let span = |after| Span {
        after,
        up_to: i64::MAX,
        limit: usize::MAX,
    };
    let floor = past
        .position_of_last(1, usize::MAX, i64::MAX, None)
        .unwrap();
    for gone in 0..floor.min(3) {
        let read = past.read(1, span(gone), None);
        assert!(
            matches!(read, Err(HistoryError::Gone(from)) if from == floor + 1),
            "{read:?}"
        );
    }
    let page = past.read(1, span(floor), None).unwrap();
    (page.iter().map(|event| event.time).collect(), floor)
}

#[test]
fn only_so_many_events_are_kept_and_it_is_told_from_where_on() {
    both_stores(|store| {
        let room = room(1, "Chit Chat");
        let mut random = Random::new();
        let mut opened = store.open_keeping(Keep::Events(50)).unwrap();
        let (mut time, mut seq) = (0, 0);
        for _ in 0..200 {
            let size = random.of(&[1, 1, 3, 40, 300]).unwrap();
            let group: Vec<Record> = (0..size)
                .map(|_| {
                    time += 1 + random.below(2) as i64;
                    seq += 1;
                    message(&room, time, seq)
                })
                .collect();
            opened.journal.append(&group).unwrap();
            let (times, floor) = kept(&*opened.past);
            let whole = times.len() == 50 || (floor == 0 && times.len() < 50);
            assert!(whole, "{} after L={floor}", times.len());
            assert_eq!(times.last(), Some(&time));
            if *store != Store::Memory && random.one_in(9) {
                drop(opened);
                opened = store.open_keeping(Keep::Events(50)).unwrap();
            }
        }
    });
}

#[test]
fn what_is_older_than_it_must_be_goes_in_rooms_where_nothing_is_said_too() {
    both_stores(|store| {
        let (old, lively) = (room(1, "old"), room(2, "lively"));
        let keep = Keep::For(std::time::Duration::from_millis(1000));
        let mut opened = store.open_keeping(keep).unwrap();
        let group: Vec<Record> = (1..=500)
            .map(|time| message(&old, time, time as u64))
            .collect();
        opened.journal.append(&group).unwrap();
        assert_eq!(kept(&*opened.past), ((1..=500).collect(), 0));
        // their times on the wall are their Lamport times, in milliseconds
        opened.journal.append(&[message(&old, 1200, 501)]).unwrap();
        let (times, floor) = kept(&*opened.past);
        match store {
            Store::Memory => assert_eq!((times[0], floor), (201, 200)),
            // a portion at a time
            _ => assert_eq!(i64::from(floor > 0) * (times[0] - 1), floor),
        }
        for time in 1201..1300 {
            opened
                .journal
                .append(&[message(&lively, time, time as u64)])
                .unwrap();
        }
        if *store != Store::Memory {
            // each room has its turn with every other group
            let (_, floor) = kept(&*opened.past);
            assert!((298..=299).contains(&floor), "{floor}");
        }
    });
}

#[test]
fn a_file_that_had_more_shrinks_a_portion_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(folder.path().join("history.db"));
    let room = room(1, "Chit Chat");
    let group: Vec<Record> = (1..=1000)
        .map(|time| message(&room, time, time as u64))
        .collect();
    store.open().unwrap().journal.append(&group).unwrap();
    let mut opened = store.open_keeping(Keep::Events(100)).unwrap();
    let mut last = 0;
    for time in 1001..1100 {
        opened
            .journal
            .append(&[message(&room, time, time as u64)])
            .unwrap();
        let (_, floor) = kept(&*opened.past);
        assert!(floor - last < 100, "from {last} to {floor} at once");
        last = floor;
    }
    assert_eq!(last, 999);
}
