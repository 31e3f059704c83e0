//! What other servers, or Redis, do between two requests of one server.

use std::sync::Arc;
use std::time::Duration;

use chitchat::chat::{Kind, Room};
use chitchat::history::Store;
use chitchat::history::shared::{Follower, SharedLog, SharedStore, Snapshot};
use chitchat::rpc::Code;
use chitchat::server::{Server, Settings};
use chitchat::wire::{Join, WHO_CALL, WhoQuery};
use crossbeam_channel::bounded;

use crate::support::{
    DEADLINE, Peer, Program, Proxy, Redis, TestServer, fixed_port, join, sooner_or_later,
    with_secret,
};

/// Shorter than Redis's answer may take, after which a server asks anew.
const PATIENCE: Duration = Duration::from_secs(3);

/// A server that shares its rooms through this store, and does not give up.
fn server(mut store: SharedStore) -> TestServer {
    store.lease = Duration::from_secs(60);
    TestServer::with(|settings| settings.store = Store::Shared(store))
}

/// Lets the first room begin behind its first so many commands, as any server
/// may that knows it.
struct Trimmer(Follower);

impl Trimmer {
    fn new(redis: &Redis) -> Self {
        let log = SharedLog::open(&redis.store(), 8).expect("it opens");
        Self(Follower::connect(&log).expect("Redis is there"))
    }

    fn begin_after(&mut self, number: u64) {
        let Self(follower) = self;
        let id = follower.rooms().expect("Redis is there").remove(0);
        let begins = follower.beginning(&id).expect("Redis is there");
        let mut snapshot = begins.clone();
        let mut room = Room::from(begins.room);
        let entries = follower.read(&[(id.no, room.clock())]);
        for entry in entries.expect("Redis is there").remove(0).0 {
            if entry.number <= number {
                room.obey(entry.time, &entry.command);
                (snapshot.number, snapshot.group) = (entry.number, entry.group);
            }
        }
        let snapshot = Snapshot {
            room: room.snapshot(),
            ..snapshot
        };
        follower
            .keep_snapshot(&snapshot, |_| true)
            .expect("Redis is there");
        assert_eq!(follower.beginning(&id).expect("it is there"), snapshot);
    }
}

/// Says so many things, and waits for each.
fn talk(peer: &mut Peer, times: i64) {
    for n in 0..times {
        peer.say("hi", 10 + n);
        assert_eq!(peer.next().text, "hi");
    }
}

fn reads_the_room(request: &str) -> bool {
    request.contains("XREAD") && request.contains("chitchat:room:1\r\n")
}

#[test]
fn a_server_that_starts_while_others_trim_begins_anew_and_misses_nothing() {
    let Some(redis) = Redis::start() else { return };
    let one = server(redis.store());
    let mut alex = Peer::join(&one.address, "Alex", 1);
    talk(&mut alex, 6);
    let (way, store) = redis.way();
    let mut trimmer = Trimmer::new(&redis);
    way.before(reads_the_room, move || trimmer.begin_after(4));
    let late = server(store);
    let taken = Peer::ask(&late.address, join("ALEX", 2));
    assert_eq!(taken.status().0, Code::ALREADY_EXISTS.0, "Alex is missing");
    let bob = Peer::ask(&late.address, join("Bob", 3));
    assert_eq!(bob.next(), alex.next(), "what Bob and Alex see of it");
}

#[test]
fn a_server_does_not_take_a_room_with_a_hole_for_whole() {
    let Some(redis) = Redis::start() else { return };
    let one = server(redis.store());
    let mut alex = Peer::join(&one.address, "Alex", 1);
    talk(&mut alex, 3);
    redis.cli(&["XDEL", "chitchat:room:1", "12-0"]);
    let late = Server::start(Settings {
        listen: vec!["127.0.0.1:0".to_owned()],
        store: Store::Shared(redis.store()),
        ..Settings::default()
    });
    assert!(late.is_err(), "it missed a command and did not notice");
}

#[test]
fn a_room_that_begins_where_a_server_stopped_need_not_be_read_anew() {
    let Some(redis) = Redis::start() else { return };
    let server = server(redis.store());
    let mut alex = Peer::join(&server.address, "Alex", 1);
    talk(&mut alex, 3);
    Trimmer::new(&redis).begin_after(4);
    assert_eq!(redis.cli(&["XLEN", "chitchat:room:1"]), "0");
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    alex.say("still here", 20);
    assert_eq!(alex.next().text, "still here");
}

#[test]
fn nobody_waits_for_a_room_that_is_read_anew() {
    let Some(redis) = Redis::start() else { return };
    let (way, store) = redis.way();
    let server = server(store);
    let mut alex = Peer::ask(&server.address, with_secret("Alex", 1));
    alex.next();
    talk(&mut alex, 2);
    let (tell, held) = bounded(1);
    let (release, released) = bounded::<()>(0);
    let from_its_beginning = |r: &str| reads_the_room(r) && r.contains("\r\n0-0\r\n");
    way.before(from_its_beginning, move || {
        let _ = tell.send(());
        let _ = released.recv_timeout(DEADLINE);
    });
    // As after a failover to a replica that had not heard of the last.
    redis.cli(&["XDEL", "chitchat:room:1", "12-0"]);
    redis.cli(&["HSET", "chitchat:tip:1", "L", "11", "n", "2"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    held.recv_timeout(DEADLINE).expect("it is read anew");
    let env = std::sync::Arc::new(grpcio::Environment::new(1));
    let channel = grpcio::ChannelBuilder::new(env).connect(&server.address);
    let room = String::new();
    let patient = grpcio::CallOption::default().timeout(PATIENCE);
    let who = grpcio::Client::new(channel).unary_call(&WHO_CALL, &WhoQuery { room }, patient);
    let found = who.expect("somebody holds the room").participants;
    assert_eq!(found.len(), 1);
    drop(release);
    assert_eq!(alex.status().0, Code::UNAVAILABLE.0);
    let back = Peer::ask(&server.address, with_secret("Alex", 1));
    assert_eq!(back.next().seq, 0, "it resumes");
}

/// As a failover to a replica that had not heard of the second room, `alpha`.
fn lose_alpha(redis: &Redis) {
    redis.cli(&["HDEL", "chitchat:rooms", "2"]);
    redis.cli(&["HDEL", "chitchat:names", "alpha"]);
    redis.cli(&["DEL", "chitchat:room:2", "chitchat:tip:2"]);
}

fn in_room(room: &str, name: &str) -> Join {
    Join {
        room: room.to_owned(),
        secret: name.repeat(6).into_bytes(),
        ..join(name, 0)
    }
}

#[test]
fn a_failover_that_loses_the_opening_of_a_room_merges_it_with_no_other() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (server(redis.store()), server(redis.store()));
    Peer::join(&one.address, "First", 1);
    let alf = Peer::ask(&one.address, in_room("alpha", "Alf"));
    assert_eq!(alf.next().seq, 1);
    let kim = Peer::ask(&other.address, in_room("alpha", "Kim"));
    assert_eq!(kim.next().seq, 2);
    lose_alpha(&redis);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    let mut zoe = Peer::ask(&other.address, in_room("beta", "Zoe"));
    assert_eq!(zoe.next().seq, 1);
    for peer in [alf, kim] {
        assert_eq!(peer.status().0, Code::UNAVAILABLE.0, "it is read anew");
    }
    let third = server(redis.store());
    let ann = Peer::ask(&third.address, in_room("beta", "Ann"));
    assert_eq!(ann.next().seq, 2);
    let mut alf = Peer::ask(&one.address, in_room("alpha", "Alf"));
    assert_eq!(alf.next().seq, 1);
    let bea = Peer::ask(&third.address, in_room("alpha", "Bea"));
    assert_eq!(bea.next().seq, 2);
    alf.say("for alpha", 20);
    zoe.say("for beta", 20);
    for (peer, own) in [
        (&alf, "alpha"),
        (&bea, "alpha"),
        (&zoe, "beta"),
        (&ann, "beta"),
    ] {
        let heard = peer.until("what is said in its room", |e| e.kind == Kind::Message);
        let said = &heard.last().expect("it ends with that").text;
        assert_eq!(*said, format!("for {own}"));
    }
}

#[test]
fn a_server_whose_room_has_become_another_ends() {
    let Some(redis) = Redis::start() else { return };
    let address = format!("127.0.0.1:{}", fixed_port());
    let server = Program::server_with_redis(&address, &redis, &[]);
    Peer::join(&address, "First", 1);
    let alf = Peer::ask(&address, in_room("alpha", "Alf"));
    assert_eq!(alf.next().seq, 1);
    lose_alpha(&redis);
    redis.cli(&["HSET", "chitchat:rooms", "2", "beta"]);
    redis.cli(&["HSET", "chitchat:names", "beta", "2"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(alf.status().0, Code::UNAVAILABLE.0);
    let (status, _, log) = server.end();
    assert_eq!(status.code(), Some(1), "{log:#?}");
}

/// The others take it for dead meanwhile, and would take its members for lost.
#[test]
fn a_server_whose_start_takes_longer_than_its_lease_keeps_its_members() {
    let Some(redis) = Redis::start() else { return };
    let redis = Arc::new(redis);
    let leader = TestServer::with(|settings| {
        let mut store = redis.store();
        store.lease = Duration::from_millis(300);
        settings.store = Store::Shared(store);
    });
    let mut watcher = Peer::join(&leader.address, "Watcher", 1);
    let (way, mut store) = redis.way();
    store.lease = Duration::from_secs(60);
    let at = redis.clone();
    way.before(reads_the_room, move || {
        at.cli(&["DEL", "chitchat:server:2"]);
        sooner_or_later("the end of the leader's patience", || {
            at.cli(&["SISMEMBER", "chitchat:servers", "2"]) == "0"
        });
    });
    let late = TestServer::with(|settings| {
        settings.store = Store::Shared(store);
        settings.grace = Duration::from_secs(60);
    });
    let plain = Peer::join(&late.address, "Plain", 2);
    // The leader looks at every lease when it renews its own.
    for _ in 0..5 {
        redis.cli(&["DEL", "chitchat:server:1"]);
        sooner_or_later("the leader's lease", || {
            redis.cli(&["EXISTS", "chitchat:server:1"]) == "1"
        });
    }
    watcher.say("is everybody here?", 9);
    let heard = watcher.until("its echo", |e| e.kind == Kind::Message);
    assert!(heard.iter().all(|e| e.kind != Kind::Leave), "{heard:?}");
    assert_eq!(plain.next().text, "is everybody here?");
}

/// As after a failover that lost the number of a server that had just come.
#[test]
fn a_server_whose_number_another_got_ends() {
    let Some(redis) = Redis::start() else { return };
    let address = format!("127.0.0.1:{}", fixed_port());
    let args = ["--lease", "1m", "--grace", "5m"];
    let early = Program::server_with_redis(&address, &redis, &args);
    redis.cli(&["HDEL", "chitchat:log", "servers"]);
    redis.cli(&["DEL", "chitchat:server:1"]);
    let late = server(redis.store());
    let (status, _, log) = early.end();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    Peer::join(&late.address, "Bob", 2);
}

#[test]
fn a_server_that_renews_its_lease_after_others_is_not_taken_for_dead() {
    let Some(redis) = Redis::start() else { return };
    let redis = Arc::new(redis);
    let through = |(way, mut store): (Proxy, SharedStore)| {
        store.lease = Duration::from_secs(2);
        let server = TestServer::with(|settings| settings.store = Store::Shared(store));
        (way, server)
    };
    let (leader_way, leader) = through(redis.way());
    let (late_way, late) = through(redis.way());
    let plain = Peer::join(&late.address, "Plain", 1);
    let mut watcher = Peer::join(&leader.address, "Watcher", 2);
    plain.next();
    let renews = |request: &str| request.contains("chitchat:servers");
    // As when Redis has stood still: the leases have ended, and the leader is
    // heard first.
    let (release, released) = bounded::<()>(0);
    let (tell, is_held) = bounded(1);
    late_way.before(renews, move || {
        let _ = tell.send(());
        let _ = released.recv_timeout(DEADLINE);
    });
    is_held.recv_timeout(DEADLINE).expect("it renews its lease");
    redis.cli(&["DEL", "chitchat:server:2"]);
    let (tell, is_past) = bounded(1);
    leader_way.before(renews, move || {
        let _ = tell.send(());
    });
    is_past.recv_timeout(DEADLINE).expect("it renews its lease");
    let (tell, is_past) = bounded(1);
    let at = redis.clone();
    leader_way.before(renews, move || {
        drop(release);
        sooner_or_later("the late lease", || {
            at.cli(&["EXISTS", "chitchat:server:2"]) == "1"
        });
        let _ = tell.send(());
    });
    is_past.recv_timeout(DEADLINE).expect("and again");
    watcher.say("is everybody here?", 9);
    let heard = watcher.until("its echo", |e| e.kind == Kind::Message);
    assert_eq!(heard.len(), 1, "Plain never left: {heard:?}");
    assert_eq!(plain.next().text, "is everybody here?");
}
