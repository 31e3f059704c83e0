//! Snapshots in the log in Redis: where rooms begin, against a real redis-server.

use chitchat::chat::{Command, Deed, MemberKey, Name, Room, RoomId};
use chitchat::history::shared::{Appender, Follower, SharedLog, Snapshot};

use crate::shared_log::{open, open_room, read, say, times};
use crate::support::Redis;

#[test]
fn a_room_begins_at_a_snapshot_and_every_command_after_it_is_there() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    open_room(&mut appender, "ops");
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let id = follower.rooms().expect("Redis is there").remove(0);
    let nothing = follower.beginning(&id).expect("Redis is there");
    assert_eq!(nothing, Snapshot::of_nothing(&id, 8));

    let mut room = Room::from(nothing.room);
    let mut kept = Vec::new();
    for _ in 0..30 {
        let group: Vec<_> = (0..10).map(|_| say(&log, 1, "x", 0)).collect();
        appender.append(&group, |_| 0, 0).expect("Redis is there");
        for entry in read(&mut follower, 1, room.clock()) {
            room.obey(entry.time, &entry.command);
        }
        let snapshot = Snapshot {
            room: room.snapshot(),
            number: room.clock() as u64,
            group: "1/1".to_owned(),
            events: 3,
            wall_ms: 5,
        };
        // It must keep 100 commands.
        let now = room.clock();
        follower
            .keep_snapshot(&snapshot, |old| old.room.clock <= now - 100)
            .expect("Redis is there");
        kept.push(snapshot);
        let begin = follower.beginning(&id).expect("Redis is there");
        let first = begin.room.clock;
        assert!(first == 0 || kept.contains(&begin), "{begin:?}");
        // as far as the snapshots between allow
        assert!(
            first <= (now - 100).max(0) && first >= now - 160,
            "{first} at {now}"
        );
        let left = read(&mut follower, 1, 0);
        assert_eq!(times(&left), (first + 1..=now).collect::<Vec<_>>());
    }
    let snapshots: usize = redis
        .cli(&["ZCARD", "chitchat:begin:1"])
        .parse()
        .expect("a number");
    assert!(snapshots <= 12, "{snapshots}");
}

/// Something is said so many times, and a snapshot made of the room then. What
/// it holds does not matter here.
fn snapshot_after(appender: &mut Appender, log: &SharedLog, id: &RoomId, time: i64) -> Snapshot {
    let group: Vec<_> = (0..10).map(|_| say(log, 1, "x", 0)).collect();
    appender.append(&group, |_| 0, 0).expect("Redis is there");
    let mut snapshot = Snapshot::of_nothing(id, 8);
    snapshot.room.clock = time;
    snapshot.number = time as u64;
    snapshot
}

#[test]
fn a_snapshot_that_is_kept_late_is_not_put_before_what_was_trimmed() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    open_room(&mut appender, "ops");
    let mut one = Follower::connect(&log).expect("Redis is there");
    let (way, store) = redis.way();
    let far = SharedLog::open(&store, 8).expect("it opens");
    let mut other = Follower::connect(&far).expect("Redis is there");
    let id = one.rooms().expect("Redis is there").remove(0);
    let [early, next, last] =
        [10, 20, 30].map(|time| snapshot_after(&mut appender, &log, &id, time));
    // Between its look at the list, which is empty, and what it puts there,
    // another moves the beginning twice.
    let (then, at_last) = (next.clone(), last.clone());
    way.before(
        |r| r.contains("chitchat:begin:1") && !r.contains("ZRANGE"),
        move || {
            for snapshot in [then, at_last] {
                one.keep_snapshot(&snapshot, |_| true)
                    .expect("Redis is there");
            }
        },
    );
    let begins_at_last = |other: &mut Follower| {
        let begins = other.beginning(&id).expect("Redis is there");
        assert_eq!(begins, last);
        assert!(read(other, 1, begins.room.clock).is_empty());
        assert_eq!(redis.cli(&["ZCARD", "chitchat:begin:1"]), "1");
    };
    other
        .keep_snapshot(&early, |_| false)
        .expect("Redis is there");
    begins_at_last(&mut other);
    // And where the list is there.
    other
        .keep_snapshot(&next, |_| true)
        .expect("Redis is there");
    begins_at_last(&mut other);
}

#[test]
fn a_snapshot_is_the_whole_room() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    open_room(&mut appender, "ops");
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let id: RoomId = follower.rooms().expect("Redis is there").remove(0);
    let mut room = Room::from(Snapshot::of_nothing(&id, 8).room);
    let command = |session, deed| Command {
        session,
        wall_ms: 1,
        deed,
    };
    let join = |name: &str, secret: Option<u8>, fresh| Deed::Join {
        id: 0,
        name: Name::parse(name).expect("a name"),
        secret: secret.map(|byte| chitchat::chat::Secret([byte; 32])),
        sent: 0,
        fresh: MemberKey(fresh),
    };
    room.obey(1, &command(1, join("Ålex \"x\"", Some(1), u64::MAX)));
    room.obey(2, &command(2, join("Aske", None, 8)));
    room.obey(3, &command(3, join("Bob", Some(2), 9)));
    room.obey(4, &command(u64::MAX, join("Eve", Some(3), 10)));
    let key = MemberKey(9);
    room.obey(
        5,
        &command(
            1,
            Deed::Lose {
                key: MemberKey(u64::MAX),
            },
        ),
    );
    room.obey(
        6,
        &command(
            3,
            Deed::Leave {
                key,
                sent: 0,
                is_cut: false,
            },
        ),
    );
    let snapshot = Snapshot {
        room: room.snapshot(),
        number: 6,
        group: "1/1".to_owned(),
        events: 3,
        wall_ms: 5,
    };
    assert_eq!(
        (snapshot.room.members.len(), snapshot.room.remembered.len()),
        (3, 1)
    );
    follower
        .keep_snapshot(&snapshot, |_| true)
        .expect("Redis is there");
    assert_eq!(follower.beginning(&id).expect("Redis is there"), snapshot);
}
