//! A real failover: a replica that had not heard the last of its master takes
//! its place.

use std::sync::Arc;
use std::time::Duration;

use chitchat::history::Store;
use chitchat::history::shared::{Follower, SharedError, SharedLog, SharedStore};
use chitchat::wire::Join;
use crossbeam_channel::bounded;

use crate::support::{
    DEADLINE, Peer, Program, Proxy, Redis, TestServer, sooner_or_later, with_secret,
};

/// A master, a replica that a test can make deaf, and a replica of that one,
/// which can be made deaf, too.
struct Chain {
    master: Redis,
    line: Proxy,
    replica: Redis,
    second_line: Proxy,
    second: Redis,
}

impl Chain {
    fn start() -> Option<Self> {
        let master = Redis::start()?;
        let follow = |of: &Redis| {
            let line = Proxy::to(&address(of));
            let (host, port) = line.address.split_once(':').expect("an address");
            let args = ["--replicaof", host, port, "--appendonly", "yes"];
            let replica = Redis::with(&args).expect("redis-server is here");
            sooner_or_later("the replica", || {
                replica
                    .cli(&["INFO", "replication"])
                    .contains("master_link_status:up")
            });
            (line, replica)
        };
        let (line, replica) = follow(&master);
        let (second_line, second) = follow(&replica);
        Some(Self {
            master,
            line,
            replica,
            second_line,
            second,
        })
    }

    /// The replica hears nothing more of the master, when all have heard the
    /// same.
    fn part(&self) {
        let offset = |redis: &Redis, of: &str| {
            let told = redis.cli(&["INFO", "replication"]);
            let offset = told.lines().find_map(|line| line.strip_prefix(of));
            offset.map(str::trim).map(str::to_owned)
        };
        sooner_or_later("the replica to have heard everything", || {
            let all = offset(&self.master, "master_repl_offset:");
            [&self.replica, &self.second].map(|r| offset(r, "slave_repl_offset:"))
                == [all.clone(), all]
        });
        self.line.silence();
    }

    /// The replica takes the master's place, for whoever goes one of these
    /// ways.
    fn fail_over(&mut self, ways: &[&Proxy]) {
        self.master.kill();
        promote(&self.replica, ways);
    }

    /// The replica's replica takes its place.
    fn fail_over_again(&mut self, ways: &[&Proxy]) {
        self.replica.kill();
        promote(&self.second, ways);
    }

    /// How many commands the first room has where it is written now.
    fn commands(&self) -> String {
        self.master.cli(&["XLEN", "chitchat:room:1"])
    }
}

fn address(redis: &Redis) -> String {
    format!("127.0.0.1:{}", redis.port)
}

/// A replica becomes a master, for whoever goes one of these ways.
fn promote(replica: &Redis, ways: &[&Proxy]) {
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    for way in ways {
        way.lead_to(&address(replica));
        way.cut();
    }
}

/// A server that does not give up.
fn server(mut store: SharedStore, replicas: usize) -> TestServer {
    store.lease = Duration::from_secs(60);
    store.replicas = replicas;
    TestServer::with(|settings| {
        settings.store = Store::Shared(store);
        settings.grace = Duration::from_secs(60);
    })
}

/// Two servers that do not give up, each with its way to the master.
fn two_servers(chain: &Chain) -> [(Proxy, TestServer); 2] {
    [(); 2].map(|()| {
        let (way, store) = chain.master.way();
        (way, server(store, 0))
    })
}

/// Alex at the one server, a client that comes back, and Bob at the other.
fn meet(one: &TestServer, other: &TestServer) -> (Program, Peer) {
    let mut alex = Program::client("Alex", &one.address, &["--reconnect", "5m"]);
    alex.wait_for("Alex joined");
    let bob = Peer::ask(&other.address, with_secret("Bob", 2));
    bob.next();
    alex.wait_for("Bob joined");
    (alex, bob)
}

/// A client says some lines, each when it has the echo of the last.
fn says_and_hears(client: &mut Program, what: &str) {
    for n in 0..3 {
        let text = format!("{what} {n}");
        client.type_line(&text);
        client.wait_for(&text);
    }
}

/// Bob says some lines where the client's server is not; when that has come
/// there, too, the client is shown all of them.
fn misses_nothing(client: &mut Program, bob: &mut Peer, come: impl FnOnce()) {
    let said = (1..20).map(|n| format!("kept {n}"));
    for (sent, text) in (1..).zip(said.clone()) {
        bob.say(&text, sent);
        bob.until("its echo", |e| e.text == text);
    }
    come();
    for text in said {
        client.expect_line(&format!("Bob: {text}"));
    }
}

#[test]
fn what_a_failover_lost_before_anybody_heard_it_is_said_again() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    let (way, store) = chain.master.way();
    let server = server(store, 1);
    let mut alex = Program::client("Alex", &server.address, &["--reconnect", "5m"]);
    alex.wait_for("joined");
    chain.part();
    alex.type_line("held back");
    sooner_or_later("the master to have it", || chain.commands() == "2");
    chain.fail_over(&[&way]);
    alex.type_line("said later");
    alex.end_input();
    let (status, shown, log) = alex.end();
    assert!(status.success(), "{status} {log:#?}");
    let texts: Vec<&str> = (shown.iter())
        .filter_map(|line| line.split_once("Alex: ").map(|(_, text)| text))
        .collect();
    assert_eq!(texts[1..], ["held back", "said later"]);
}

/// Sentinels let a master that lives go on until they have told it.
#[test]
fn what_is_brought_to_a_master_after_another_took_its_place_is_said_again() {
    let Some(chain) = Chain::start() else {
        return;
    };
    let (way, store) = chain.master.way();
    let server = server(store, 0);
    let mut alex = Program::client("Alex", &server.address, &["--reconnect", "5m"]);
    alex.wait_for("joined");
    chain.part();
    way.refuse(|request| request.contains("XREAD"));
    way.cut();
    alex.type_line("held back");
    sooner_or_later("the master to have it", || chain.commands() == "2");
    // The log is read there; nobody has cut the way on which it is written.
    promote(&chain.replica, &[]);
    way.lead_to(&address(&chain.replica));
    way.refuse(|_| false);
    alex.expect_line("Alex: held back");
}

#[test]
fn what_is_said_after_a_failover_is_missed_by_nobody_who_saw_what_it_lost() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    let [(way, one), (other_way, other)] = two_servers(&chain);
    let (mut alex, mut bob) = meet(&one, &other);
    chain.part();
    other_way.refuse(|request| request.contains("XREAD"));
    other_way.cut();
    says_and_hears(&mut alex, "lost");
    // The other server, which has seen nothing of it, is there first.
    chain.fail_over(&[&other_way]);
    other_way.refuse(|_| false);
    misses_nothing(&mut alex, &mut bob, || promote(&chain.replica, &[&way]));
}

#[test]
fn what_one_redis_has_is_not_confirmed_by_the_replica_of_another() {
    let Some(chain) = Chain::start() else {
        return;
    };
    let (way, mut store) = chain.master.way();
    store.replicas = 1;
    let log = SharedLog::open(&store, 8).expect("it opens");
    chain.part();
    // As Sentinels do who cannot reach the master.
    promote(&chain.replica, &[]);
    let to = address(&chain.replica);
    let way = Arc::new(way);
    let leads = way.clone();
    way.before(
        |request| request.contains("XREVRANGE"),
        move || leads.lead_to(&to),
    );
    let mut follower = Follower::connect(&log).expect("the master is there");
    let found = follower.confirm(Duration::from_millis(100));
    let alone = SharedError::Replicas {
        wanted: 1,
        found: 0,
    };
    assert_eq!(found.map_err(|e| e.to_string()), Err(alone.to_string()));
}

/// Whoever opens it again knows nothing of what was said in it.
#[test]
fn what_is_said_in_a_room_that_is_opened_again_is_missed_by_nobody_who_was_in_the_lost_one() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    let [(way, one), (other_way, other)] = two_servers(&chain);
    chain.part();
    other_way.refuse(|request| request.contains("XREAD"));
    other_way.cut();
    let args = ["--reconnect", "5m", "--room", "alpha"];
    let mut alex = Program::client("Alex", &one.address, &args);
    alex.wait_for("Alex joined");
    says_and_hears(&mut alex, "lost");
    chain.fail_over(&[&other_way]);
    other_way.refuse(|_| false);
    let mut bob = Peer::ask(
        &other.address,
        Join {
            room: "alpha".to_owned(),
            ..with_secret("Bob", 2)
        },
    );
    assert_eq!(bob.next().seq, 1, "the room is another");
    misses_nothing(&mut alex, &mut bob, || promote(&chain.replica, &[&way]));
}

/// The second time also that a failover was is lost.
#[test]
fn what_is_said_after_two_failovers_is_missed_by_nobody_who_saw_what_either_lost() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    let [(way, one), (other_way, other)] = two_servers(&chain);
    let (mut alex, mut bob) = meet(&one, &other);
    chain.part();
    chain.second_line.silence();
    other_way.refuse(|request| request.contains("XREAD"));
    says_and_hears(&mut alex, "lost first");
    chain.fail_over(&[&way, &other_way]);
    says_and_hears(&mut alex, "lost then");
    // The other server has been there, and has heard nothing of the room.
    for _ in 0..2 {
        let (tell, is_there) = bounded(1);
        let connects = |request: &str| request.contains("XREVRANGE");
        other_way.before(connects, move || {
            let _ = tell.send(());
        });
        is_there.recv_timeout(DEADLINE).expect("it connects again");
    }
    chain.fail_over_again(&[&other_way]);
    other_way.refuse(|_| false);
    misses_nothing(&mut alex, &mut bob, || promote(&chain.second, &[&way]));
}
