//! A real failover: a replica that had not heard the last of its master takes
//! its place.

use std::time::Duration;

use chitchat::history::Store;
use chitchat::history::shared::SharedStore;

use crate::support::{Peer, Program, Proxy, Redis, TestServer, sooner_or_later, with_secret};

/// A master, a replica that a test can make deaf, and a replica of that one.
struct Pair {
    master: Redis,
    line: Proxy,
    replica: Redis,
    _second: Redis,
}

impl Pair {
    fn start() -> Option<Self> {
        let master = Redis::start()?;
        let line = Proxy::to(&format!("127.0.0.1:{}", master.port));
        let follow = |address: &str| {
            let (host, port) = address.split_once(':').expect("an address");
            let args = ["--replicaof", host, port, "--appendonly", "yes"];
            let replica = Redis::with(&args).expect("redis-server is here");
            sooner_or_later("the replica", || {
                replica
                    .cli(&["INFO", "replication"])
                    .contains("master_link_status:up")
            });
            replica
        };
        let replica = follow(&line.address);
        let _second = follow(&format!("127.0.0.1:{}", replica.port));
        Some(Self {
            master,
            line,
            replica,
            _second,
        })
    }

    /// The replica hears nothing more of the master.
    fn part(&self) {
        let offset = |redis: &Redis, of: &str| {
            let told = redis.cli(&["INFO", "replication"]);
            let offset = told.lines().find_map(|line| line.strip_prefix(of));
            offset.map(str::trim).map(str::to_owned)
        };
        sooner_or_later("the replica to have heard everything", || {
            offset(&self.replica, "slave_repl_offset:")
                == offset(&self.master, "master_repl_offset:")
        });
        self.line.silence();
    }

    /// The replica takes the master's place, for whoever goes one of these
    /// ways.
    fn fail_over(&mut self, ways: &[&Proxy]) {
        self.master.kill();
        self.replica.cli(&["REPLICAOF", "NO", "ONE"]);
        for way in ways {
            way.lead_to(&format!("127.0.0.1:{}", self.replica.port));
            way.cut();
        }
    }

    /// How many commands the first room has where it is written now.
    fn commands(&self) -> String {
        self.master.cli(&["XLEN", "chitchat:room:1"])
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

#[test]
fn what_a_failover_lost_before_anybody_heard_it_is_said_again() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let (way, store) = pair.master.way();
    let server = server(store, 1);
    let mut alex = Program::client("Alex", &server.address, &["--reconnect", "5m"]);
    alex.wait_for("joined");
    pair.part();
    alex.type_line("held back");
    sooner_or_later("the master to have it", || pair.commands() == "2");
    pair.fail_over(&[&way]);
    alex.type_line("said later");
    alex.end_input();
    let (status, shown, log) = alex.end();
    assert!(status.success(), "{status} {log:#?}");
    let texts: Vec<&str> = (shown.iter())
        .filter_map(|line| line.split_once("Alex: ").map(|(_, text)| text))
        .collect();
    assert_eq!(texts[1..], ["held back", "said later"]);
}

#[test]
fn what_is_said_after_a_failover_is_missed_by_nobody_who_saw_what_it_lost() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let (way, store) = pair.master.way();
    let one = server(store, 0);
    let (other_way, store) = pair.master.way();
    let other = server(store, 0);
    let mut alex = Program::client("Alex", &one.address, &["--reconnect", "5m"]);
    alex.wait_for("Alex joined");
    let mut bob = Peer::ask(&other.address, with_secret("Bob", 2));
    bob.next();
    alex.wait_for("Bob joined");
    pair.part();
    other_way.refuse(|request| request.contains("XREAD"));
    other_way.cut();
    for n in 0..3 {
        alex.type_line(&format!("lost {n}"));
        alex.wait_for(&format!("lost {n}"));
    }
    // The other server, which has seen nothing of it, is there first.
    pair.fail_over(&[&other_way]);
    other_way.refuse(|_| false);
    let said = (1..20).map(|n| format!("kept {n}"));
    for (sent, text) in (1..).zip(said.clone()) {
        bob.say(&text, sent);
        bob.until("its echo", |e| e.text == text);
    }
    way.lead_to(&format!("127.0.0.1:{}", pair.replica.port));
    way.cut();
    for text in said {
        alex.expect_line(&format!("Bob: {text}"));
    }
}
