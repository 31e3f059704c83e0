//! The log in Redis by itself: places, groups, the bell and leases, against a
//! real redis-server.

use std::time::Duration;

use chitchat::chat::{Command, Deed, MAX_AHEAD, MemberKey, Name, first_of};
use chitchat::history::shared::{
    Appender, Entry, Follower, Leases, Proposal, Rung, SharedError, SharedLog,
};

use crate::support::{DEADLINE, Redis};

/// Shorter than an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn open(redis: &Redis) -> SharedLog {
    SharedLog::open(&redis.store(), 8).expect("it opens")
}

pub fn say(log: &SharedLog, room: u32, text: &str, sent: i64) -> Proposal {
    let key = MemberKey(first_of(log.server()));
    Proposal {
        room,
        command: Command {
            session: key.0,
            wall_ms: 0,
            deed: Deed::Say {
                key,
                text: text.to_owned(),
                too_long: None,
                to: String::new(),
                sent,
            },
        },
    }
}

pub fn open_room(appender: &mut Appender, name: &str) {
    let name = Name::parse(name).expect("a name");
    appender.open_room(&name, 100).expect("Redis is there");
}

fn texts(entries: &[Entry]) -> Vec<String> {
    let text = |entry: &Entry| match &entry.command.deed {
        Deed::Say { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(text).collect()
}

pub fn read(follower: &mut Follower, room: u32, after: i64) -> Vec<Entry> {
    let mut pages = follower.read(&[(room, after)]).expect("Redis is there");
    pages.remove(0).0
}

pub fn times(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.time).collect()
}

#[test]
fn places_rise_above_what_was_sent_and_seen_and_hostile_times_do_not_count() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    let group: Vec<_> = [0, 7, 3, -5, i64::MIN, i64::MAX, 10 + MAX_AHEAD, 0]
        .into_iter()
        .map(|sent| say(&log, 1, "x", sent))
        .collect();
    appender.append(&group, |_| 0, 0).expect("Redis is there");
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let entries = read(&mut follower, 1, 0);
    // 1, then past 7; the last but one is as far ahead as one may be, less one
    assert_eq!(
        times(&entries),
        [1, 8, 9, 10, 11, 12, 11 + MAX_AHEAD, 12 + MAX_AHEAD]
    );
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);

    // As far ahead of the furthest room as of its own, and no further.
    let far = 3 * MAX_AHEAD;
    let group = [far + MAX_AHEAD + 1, far].map(|sent| say(&log, 2, "x", sent));
    appender.append(&group, |_| 0, far).expect("Redis is there");
    assert_eq!(times(&read(&mut follower, 2, 0)), [1, far + 1]);

    // As after a failover that lost the room: what was seen is not seen again.
    redis.cli(&["DEL", "chitchat:room:1", "chitchat:tip:1"]);
    appender
        .append(&[say(&log, 1, "x", 2)], |_| 500, 0)
        .expect("Redis is there");
    assert_eq!(times(&read(&mut follower, 1, 0)), [501]);
    assert!(read(&mut follower, 1, 501).is_empty());
}

#[test]
fn a_group_that_is_brought_again_is_not_appended_again() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let mut appender = Appender::new(log.clone());
    for text in ["a", "b"] {
        appender
            .append(&[say(&log, 1, text, 0)], |_| 0, 0)
            .expect("Redis is there");
    }
    // It numbers its groups from 1, as one would that had heard no answer.
    let mut again = Appender::new(log.clone());
    for text in ["a", "b", "c"] {
        again
            .append(&[say(&log, 1, text, 0)], |_| 0, 0)
            .expect("Redis is there");
    }
    assert_eq!(texts(&read(&mut follower, 1, 0)), ["a", "b", "c"]);
    // Another server's groups are others.
    let other = open(&redis);
    assert_ne!(other.server(), log.server());
    Appender::new(other.clone())
        .append(&[say(&other, 1, "d", 0)], |_| 0, 0)
        .expect("Redis is there");
    let groups: Vec<_> = read(&mut follower, 1, 0)
        .into_iter()
        .map(|entry| entry.group)
        .collect();
    let expected = ["1/1", "1/2", "1/3", "2/1"].map(str::to_owned);
    assert_eq!(groups, expected);
}

#[test]
fn the_bell_names_the_rooms_that_have_something_new() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    open_room(&mut appender, "old");
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let nothing = follower.wait(Duration::from_millis(1));
    assert_eq!(nothing.expect("Redis is there"), Rung::For(vec![]));
    open_room(&mut appender, "Ops");
    open_room(&mut appender, "OPS");
    assert_eq!(
        follower.wait(PATIENCE).expect("Redis is there"),
        Rung::For(vec![2])
    );
    // Also for a room that is open: whoever asks has not heard of it.
    open_room(&mut appender, "ops");
    assert_eq!(
        follower.wait(PATIENCE).expect("Redis is there"),
        Rung::For(vec![2])
    );
    let group = [
        say(&log, 2, "a", 0),
        say(&log, 1, "b", 0),
        say(&log, 2, "c", 0),
    ];
    appender.append(&group, |_| 0, 0).expect("Redis is there");
    assert_eq!(
        follower.wait(PATIENCE).expect("Redis is there"),
        Rung::For(vec![2, 1])
    );
    let rooms = follower.rooms().expect("Redis is there");
    let names: Vec<_> = rooms.iter().map(|r| (r.no, r.name.as_str())).collect();
    assert_eq!(names, [(1, "old"), (2, "Ops")]);
    assert_eq!(follower.room(2).expect("it is there"), rooms[1]);
    let pages = follower.read(&[(1, 0), (2, 1)]).expect("Redis is there");
    assert_eq!(
        (texts(&pages[0].0), texts(&pages[1].0)),
        (vec!["b".to_owned()], vec!["c".to_owned()])
    );
    assert_eq!(
        follower.groups_at(&[(1, 1), (2, 2), (2, 3)]).expect("ok"),
        [Some("1/1".to_owned()), Some("1/1".to_owned()), None]
    );

    // Rings that went before they were heard are missed by none.
    appender
        .append(&[say(&log, 1, "d", 0)], |_| 0, 0)
        .expect("Redis is there");
    redis.cli(&["XTRIM", "chitchat:bell", "MAXLEN", "0"]);
    appender
        .append(&[say(&log, 2, "e", 0)], |_| 0, 0)
        .expect("Redis is there");
    assert_eq!(
        follower.wait(PATIENCE).expect("Redis is there"),
        Rung::ForAll
    );
}

#[test]
fn a_room_that_redis_lost_is_written_back_and_its_number_given_to_no_other() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    for name in ["one", "two", "three"] {
        open_room(&mut appender, name);
    }
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let known = follower.rooms().expect("Redis is there");
    let lose = |no: &str, name: &str| {
        redis.cli(&["HDEL", "chitchat:rooms", no]);
        redis.cli(&["HDEL", "chitchat:names", name]);
    };
    let names = |follower: &mut Follower| -> Vec<String> {
        let rooms = follower.rooms().expect("Redis is there");
        rooms
            .iter()
            .map(|r| format!("{} {}", r.no, r.name))
            .collect()
    };
    lose("1", "one");
    open_room(&mut appender, "four");
    assert_eq!(names(&mut follower), ["2 two", "3 three", "4 four"]);
    let mut anew = Appender::new(log.clone());
    anew.connect(|| known.clone()).expect("they fit");
    assert_eq!(
        names(&mut follower),
        ["1 one", "2 two", "3 three", "4 four"]
    );
    let rung = follower.wait(PATIENCE).expect("Redis is there");
    assert_eq!(rung, Rung::For(vec![4, 1]));
    // Connected as it is, it does not ask again.
    anew.connect(|| panic!("it has a connection"))
        .expect("it has");

    lose("2", "two");
    redis.cli(&["HSET", "chitchat:rooms", "2", "other"]);
    let replaced = |done: Result<(), _>| matches!(done, Err(SharedError::Replaced));
    assert!(replaced(follower.write_back(&known)), "another number");
    redis.cli(&["HDEL", "chitchat:rooms", "2"]);
    redis.cli(&["HSET", "chitchat:names", "two", "9"]);
    let mut anew = Appender::new(log.clone());
    let connected = anew.connect(|| known.clone()).map(drop);
    assert!(replaced(connected), "another name");
    assert_eq!(names(&mut follower), ["1 one", "3 three", "4 four"]);
}

#[test]
fn a_script_that_redis_forgot_is_brought_again() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut appender = Appender::new(log.clone());
    for text in ["a", "b"] {
        appender
            .append(&[say(&log, 1, text, 0)], |_| 0, 0)
            .expect("Redis is there");
        redis.cli(&["SCRIPT", "FLUSH"]);
    }
    let mut follower = Follower::connect(&log).expect("Redis is there");
    assert_eq!(texts(&read(&mut follower, 1, 0)), ["a", "b"]);
}

#[test]
fn a_lease_that_is_not_renewed_ends_and_the_others_see_it() {
    let Some(redis) = Redis::start() else { return };
    let mut store = redis.store();
    store.lease = Duration::from_millis(400);
    let first = SharedLog::open(&store, 8).expect("it opens");
    let second = SharedLog::open(&store, 8).expect("it opens");
    let (mut one, mut other) = (Leases::new(first.clone()), Leases::new(second.clone()));
    one.renew().expect("Redis is there");
    let begun = std::time::Instant::now();
    let census = loop {
        let census = other.renew().expect("Redis is there");
        if !census.dead.is_empty() {
            break census;
        }
        assert!(begun.elapsed() < DEADLINE, "the lease never ends");
    };
    assert_eq!((census.live, census.dead), (vec![2], vec![1]));
    let back = one.renew().expect("Redis is there");
    assert!(back.was_late && back.live.contains(&1), "{back:?}");
    one.give_up().expect("Redis is there");
    assert_eq!(other.renew().expect("Redis is there").dead, [1]);
    other.forget(1).expect("Redis is there");
    assert!(other.renew().expect("Redis is there").dead.is_empty());
    // A failover may forget how many there were.
    redis.cli(&["HSET", "chitchat:log", "servers", "0"]);
    other.renew().expect("Redis is there");
    assert_eq!(open(&redis).server(), 3);
}

/// As after a failover that lost the number of a server that had just come.
#[test]
fn a_server_whose_number_another_got_brings_nothing() {
    let Some(redis) = Redis::start() else { return };
    let early = open(&redis);
    redis.cli(&["HDEL", "chitchat:log", "servers"]);
    redis.cli(&["DEL", "chitchat:server:1"]);
    let late = open(&redis);
    assert_eq!(late.server(), early.server());
    let ways = [
        Appender::new(early.clone()).connect(Vec::new).map(|_| ()),
        Follower::connect(&early).map(|_| ()),
        Leases::new(early).renew().map(|_| ()),
    ];
    for way in ways {
        let why = way.expect_err("the number is another's").to_string();
        assert!(why.contains("number"), "{why}");
    }
    Leases::new(late).renew().expect("it is its own");
}

#[test]
fn nobody_gets_the_number_of_a_server_that_is_back_after_it_was_lost() {
    let Some(redis) = Redis::start() else { return };
    let early = open(&redis);
    redis.cli(&["HDEL", "chitchat:log", "servers"]);
    redis.cli(&["DEL", "chitchat:server:1"]);
    let back = Appender::new(early.clone()).connect(Vec::new);
    assert!(back.expect("Redis is there"), "it is new");
    assert_eq!(open(&redis).server(), early.server() + 1);
}

#[test]
fn a_log_that_is_gone_is_not_taken_for_the_same() {
    let Some(redis) = Redis::start() else { return };
    let log = open(&redis);
    let mut follower = Follower::connect(&log).expect("Redis is there");
    follower.recognise().expect("it is the same");
    assert_eq!(open(&redis).id(), log.id());
    redis.cli(&["FLUSHALL"]);
    assert!(matches!(follower.recognise(), Err(SharedError::Replaced)));
    let other = open(&redis);
    assert_ne!(other.id(), log.id());
    assert!(matches!(
        Follower::connect(&log),
        Err(SharedError::Replaced)
    ));
    redis.cli(&["HSET", "chitchat:log", "layout", "99"]);
    let foreign = SharedLog::open(&redis.store(), 8).map(|_| ());
    assert!(matches!(foreign, Err(SharedError::Foreign(layout)) if layout == "99"));
}

/// A server finds out a little later that its log is gone. What it left behind
/// until then would be taken for a new server's, which gets its number.
#[test]
fn nothing_is_brought_to_the_log_that_takes_the_place_of_one_that_is_gone() {
    let Some(redis) = Redis::start() else { return };
    let gone = open(&redis);
    let mut late = [Appender::new(gone.clone()), Appender::new(gone.clone())];
    for appender in &mut late {
        open_room(appender, "ops");
    }
    redis.cli(&["FLUSHALL"]);
    let ops = Name::parse("ops").expect("a name");
    let [one, other] = &mut late;
    for brought in [
        one.append(&[say(&gone, 1, "late", 0)], |_| 0, 0),
        other.open_room(&ops, 100),
    ] {
        assert!(matches!(brought, Err(SharedError::Replaced)), "{brought:?}");
    }
    let log = open(&redis);
    assert_eq!(log.server(), gone.server());
    let mut appender = Appender::new(log.clone());
    appender
        .append(&[say(&log, 1, "first", 0)], |_| 0, 0)
        .expect("Redis is there");
    let mut follower = Follower::connect(&log).expect("Redis is there");
    assert_eq!(texts(&read(&mut follower, 1, 0)), ["first"]);
    assert_eq!(follower.rooms().expect("Redis is there"), []);
}

#[test]
fn all_servers_remember_as_many_as_the_first_one_said() {
    let Some(redis) = Redis::start() else { return };
    open(&redis);
    let other = SharedLog::open(&redis.store(), 1000).expect("it opens");
    assert_eq!(other.most_remembered(), 8);
}

#[test]
fn a_follower_waits_for_the_replicas_that_it_needs() {
    let Some(redis) = Redis::start() else { return };
    let mut store = redis.store();
    store.replicas = 1;
    let log = SharedLog::open(&store, 8).expect("it opens");
    let mut follower = Follower::connect(&log).expect("Redis is there");
    let alone = follower.confirm(Duration::from_millis(50));
    assert!(
        matches!(
            alone,
            Err(SharedError::Replicas {
                wanted: 1,
                found: 0
            })
        ),
        "{alone:?}"
    );
    let port = redis.port.to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]).expect("redis-server is here");
    let begun = std::time::Instant::now();
    while follower.confirm(PATIENCE).is_err() {
        assert!(begun.elapsed() < DEADLINE, "the replica never comes");
    }
    drop(replica);
}
