//! Whatever becomes of Redis: members are told, nothing is acknowledged that
//! it does not hold, and everything goes on by itself when it is back.

use std::time::{Duration, Instant};

use chitchat::chat::{Event, Kind};
use chitchat::history::Store;
use chitchat::history::shared::SharedStore;
use chitchat::rpc::Code;
use chitchat::server::{Server, Settings};
use chitchat::wire::{HEALTH_CHECK, Health, Join, PastAsk};

use crate::support::talk::{Talk, line};
use crate::support::{
    Peer, Program, Redis, Sentinel, TestServer, fixed_port, join, raw, with_secret,
};

/// A server that shares its rooms through this Redis, and does not give up.
fn patient(redis: &Redis) -> TestServer {
    server(redis, Duration::from_secs(60))
}

fn server(redis: &Redis, lease: Duration) -> TestServer {
    TestServer::with(|settings| {
        let mut store = redis.store();
        store.lease = lease;
        settings.store = Store::Shared(store);
        settings.grace = Duration::from_secs(5);
    })
}

fn health(address: &str) -> Health {
    let env = std::sync::Arc::new(grpcio::Environment::new(1));
    let client = grpcio::Client::new(grpcio::ChannelBuilder::new(env).connect(address));
    let whole = Vec::new();
    client
        .unary_call(&raw(&HEALTH_CHECK), &whole, grpcio::CallOption::default())
        .expect("it answers")
}

/// Does something to Redis that stops all writes, and undoes it: what is said
/// meanwhile has its echo after that, once.
fn goes_on_after(redis: &mut Redis, stop: impl Fn(&Redis), go_on: impl Fn(&mut Redis)) {
    let (one, other) = (patient(redis), patient(redis));
    let mut alex = Peer::join(&one.address, "Alex", 1);
    let aske = Peer::join(&other.address, "Aske", 2);
    alex.until("Aske", |e| e.sender.as_ref() == "Aske");
    stop(redis);
    alex.say("meanwhile", 9);
    go_on(redis);
    for peer in [&alex, &aske] {
        let heard = peer.until("what was said meanwhile", |e| e.text == "meanwhile");
        assert_eq!(heard.len(), 1, "{heard:?}");
    }
    alex.say("after", 10);
    for peer in [&alex, &aske] {
        let heard = peer.until("what was said after", |e| e.text == "after");
        assert_eq!(heard.len(), 1, "{heard:?}");
    }
}

#[test]
fn a_redis_that_stands_still_holds_up_what_is_said_and_loses_nothing() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    goes_on_after(&mut redis, |r| r.signal("-STOP"), |r| r.signal("-CONT"));
}

#[test]
fn a_redis_that_was_killed_and_comes_back_goes_on() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    goes_on_after(&mut redis, |r| r.signal("-KILL"), Redis::restart);
}

#[test]
fn a_redis_that_may_only_be_read_goes_on_when_it_may_be_written() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let set = |replicas: &str| {
        let replicas = replicas.to_owned();
        move |r: &Redis| {
            r.cli(&["CONFIG", "SET", "min-replicas-to-write", &replicas]);
        }
    };
    goes_on_after(&mut redis, set("1"), |r| set("0")(r));
}

#[test]
fn a_redis_that_became_a_replica_goes_on_when_it_is_none() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let nobody = fixed_port().to_string();
    goes_on_after(
        &mut redis,
        |r| drop(r.cli(&["REPLICAOF", "127.0.0.1", &nobody])),
        |r| drop(r.cli(&["REPLICAOF", "NO", "ONE"])),
    );
}

#[test]
fn a_redis_without_memory_goes_on_when_it_has_some() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let set = |bytes: &str| {
        let bytes = bytes.to_owned();
        move |r: &Redis| {
            r.cli(&["CONFIG", "SET", "maxmemory", &bytes]);
        }
    };
    goes_on_after(&mut redis, set("1"), |r| set("0")(r));
}

#[test]
fn a_redis_that_forgot_its_scripts_goes_on() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    goes_on_after(&mut redis, |r| drop(r.cli(&["SCRIPT", "FLUSH"])), |_| {});
}

#[test]
fn members_are_told_of_a_redis_that_is_gone_and_come_back_when_it_is_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let server = server(&redis, Duration::from_secs(2));
    let mut alex = Peer::ask(&server.address, with_secret("Alex", 1));
    alex.next();
    assert_eq!(health(&server.address), Health::Serving);
    redis.kill();
    alex.say("is anybody there?", 5);
    let (events, end) = alex.rest();
    assert!(events.is_empty(), "nothing is acknowledged: {events:?}");
    let end = format!("{end:?}");
    assert!(end.contains("the log that the servers share"), "{end}");
    assert_eq!(health(&server.address), Health::NotServing);
    let early = Peer::ask(&server.address, join("Early", 2));
    assert_eq!(early.status().0, Code::UNAVAILABLE.0);

    redis.restart();
    let back = Join {
        past: Some(PastAsk::After(1)),
        sent: 6,
        ..with_secret("Alex", 1)
    };
    // Until the server has found out that Redis is back it sends everybody away.
    let (mut alex, first) = loop {
        let peer = Peer::ask(&server.address, back.clone());
        if let Some(first) = peer.next_or_end() {
            break (peer, first);
        }
    };
    assert_eq!(health(&server.address), Health::Serving);
    // What it said reached the log when Redis came back, or is said again.
    let mut heard = vec![(first.kind, first.text)];
    alex.say("is anybody there?", 5);
    alex.say("after", 7);
    alex.until("after", |e| {
        heard.push((e.kind, e.text.clone()));
        e.text == "after"
    });
    let said = heard.iter().filter(|(_, text)| text == "is anybody there?");
    assert_eq!(said.count(), 1, "{heard:?}");
    assert!(
        heard.iter().all(|(kind, _)| *kind != Kind::Leave),
        "{heard:?}"
    );
}

#[test]
fn a_server_that_was_paused_for_too_long_tells_its_members_and_goes_on() {
    let Some(redis) = Redis::start() else { return };
    let address = format!("127.0.0.1:{}", fixed_port());
    let args = ["--lease", "500ms", "--grace", "1m"];
    let paused = Program::server_with_redis(&address, &redis, &args);
    let other = TestServer::with(|settings| {
        let mut store = redis.store();
        store.lease = Duration::from_millis(500);
        settings.store = Store::Shared(store);
    });
    let watcher = Peer::join(&other.address, "Watcher", 9);
    let alex = Peer::ask(&address, with_secret("Alex", 1));
    let joined = alex.next();
    let plain = Peer::ask(&address, join("Plain", 2));
    plain.next();
    paused.signal("-STOP");
    // Whoever cannot come back has left; that is how it is known to be late.
    watcher.until("Plain's leaving", |e| {
        e.kind == Kind::Leave && e.sender.as_ref() == "Plain"
    });
    paused.signal("-CONT");
    for peer in [&alex, &plain] {
        let (code, words) = peer.status();
        assert_eq!(code, Code::UNAVAILABLE.0);
        assert!(words.contains("silent for too long"), "{words}");
    }
    let mut back = Peer::ask(
        &address,
        Join {
            past: Some(PastAsk::After(joined.time)),
            sent: 5,
            ..with_secret("Alex", 1)
        },
    );
    back.until("the receipt", |e| e.kind == Kind::Join && e.seq == 0);
    back.say("here again", 6);
    let heard = watcher.until("Alex", |e| e.text == "here again");
    assert_eq!(heard.len(), 1, "and Alex never left: {heard:?}");
}

#[test]
fn a_stop_does_not_wait_for_a_redis_that_stands_still() {
    let Some(redis) = Redis::start() else { return };
    let server = Server::start(Settings {
        listen: vec!["127.0.0.1:0".to_owned()],
        store: Store::Shared(redis.store()),
        ..Settings::default()
    })
    .expect("it starts");
    let mut alex = Peer::join(&server.addresses()[0], "Alex", 1);
    redis.signal("-STOP");
    alex.say("into the void", 5);
    let begun = Instant::now();
    server.stop(Duration::from_secs(1));
    // Its answer is waited for longer than that.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(alex.status().0, Code::UNAVAILABLE.0);
}

#[test]
fn whoever_leaves_has_what_came_before_or_is_not_told_goodbye() {
    let Some(redis) = Redis::start() else { return };
    let slow = patient(&redis);
    let mut alex = Peer::join(&slow.address, "Alex", 1);
    let hasty = server(&redis, Duration::from_secs(3));
    let mut bob = Peer::join(&hasty.address, "Bob", 2);
    alex.next();
    redis.signal("-STOP");
    for peer in [&mut alex, &mut bob] {
        peer.say("heard by nobody yet", 5);
        peer.leave(6);
    }
    let (events, end) = bob.rest();
    assert!(events.is_empty() && end.is_err(), "{events:?} {end:?}");
    redis.signal("-CONT");
    let (events, end) = alex.rest();
    assert!(end.is_ok(), "{end:?}");
    let said = |e: &&Event| e.sender.as_ref() == "Alex" && e.kind == Kind::Message;
    assert_eq!(events.iter().filter(said).count(), 1, "{events:?}");
}

#[test]
fn a_server_that_cannot_follow_gives_up_the_lead_and_comes_back() {
    // It can read nothing; it can read, but hears no bell.
    for refused in ["XREAD", "BLOCK"] {
        let Some(redis) = Redis::start() else { return };
        let (way, far) = redis.way();
        let with = |mut store: SharedStore| {
            store.lease = Duration::from_secs(1);
            TestServer::with(|settings| {
                settings.store = Store::Shared(store);
                settings.grace = Duration::from_secs(1);
            })
        };
        let leader = with(far);
        let other = with(redis.store());
        let watcher = Peer::join(&other.address, "Watcher", 9);
        let vanish = |name: &str| {
            Peer::ask(&other.address, with_secret(name, 1)).next();
            watcher.until("its leaving", |e| {
                e.kind == Kind::Leave && e.sender.as_ref() == name
            });
        };
        way.refuse(move |request| request.contains(refused));
        vanish("One");
        way.refuse(|_| false);
        let mut back = loop {
            let peer = Peer::ask(&leader.address, join("Back", 2));
            if peer.next_or_end().is_some() {
                break peer;
            }
        };
        // It leads again, and nobody takes its member for lost.
        vanish("Two");
        back.say("here", 30);
        let heard = watcher.until("Back", |e| e.text == "here");
        assert!(heard.iter().all(|e| e.kind != Kind::Leave), "{heard:?}");
    }
}

#[test]
fn whoever_saw_more_than_a_server_that_cannot_read_the_log_is_not_told_that_it_is_gone() {
    let Some(redis) = Redis::start() else { return };
    let one = patient(&redis);
    let (way, mut far) = redis.way();
    far.lease = Duration::from_secs(60);
    let other = TestServer::with(|settings| settings.store = Store::Shared(far));
    let mut alex = Peer::ask(&one.address, with_secret("Alex", 1));
    alex.next();
    way.refuse(|request| request.contains("XREAD"));
    way.cut();
    alex.say("seen", 5);
    let back = Join {
        past: Some(PastAsk::After(alex.next().time)),
        sent: 9,
        ..with_secret("Alex", 1)
    };
    let early = Peer::ask(&other.address, back.clone());
    assert_eq!(early.status().0, Code::UNAVAILABLE.0);
    way.refuse(|_| false);
    let late = Peer::ask(&other.address, back);
    let receipt = late.next();
    assert_eq!((receipt.kind, receipt.seq), (Kind::Join, 0), "{receipt:?}");
}

#[test]
fn what_redis_lost_is_found_missing_and_the_room_is_read_anew() {
    let Some(redis) = Redis::start() else { return };
    let server = patient(&redis);
    let mut alex = Peer::ask(&server.address, with_secret("Alex", 1));
    alex.next();
    for (text, sent) in [("kept", 5), ("lost", 6)] {
        alex.say(text, sent);
        assert_eq!(alex.next().text, text);
    }
    // As after a failover to a replica that had not heard of the last.
    let id = redis.cli(&["XREVRANGE", "chitchat:room:1", "+", "-", "COUNT", "1"]);
    let id = id.lines().next().expect("an id").to_owned();
    assert_eq!(id, "7-0");
    redis.cli(&["XDEL", "chitchat:room:1", &id]);
    redis.cli(&["HSET", "chitchat:tip:1", "L", "6", "n", "2"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    let (code, words) = alex.status();
    assert_eq!(code, Code::UNAVAILABLE.0, "{words}");
    assert!(words.contains("read the room anew"), "{words}");
    let mut back = Peer::ask(
        &server.address,
        Join {
            past: Some(PastAsk::After(0)),
            sent: 1,
            ..with_secret("Alex", 1)
        },
    );
    let past = back.until("the receipt", |e| e.kind == Kind::Join && e.seq == 0);
    let texts: Vec<_> = past.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts[1..2], ["kept"], "{texts:?}");
    assert!(
        past.last().expect("the receipt").time > 7,
        "time never turns back"
    );
    back.say("lost", 6);
    let again = back.next();
    assert_eq!((again.text.as_str(), again.seq), ("lost", 3));
}

#[test]
fn a_redis_that_lost_everything_ends_the_server() {
    let Some(redis) = Redis::start() else { return };
    let address = format!("127.0.0.1:{}", fixed_port());
    let server = Program::server_with_redis(&address, &redis, &[]);
    let alex = Peer::join(&address, "Alex", 1);
    redis.cli(&["FLUSHALL"]);
    assert_eq!(alex.status().0, Code::UNAVAILABLE.0);
    let (status, _, log) = server.end();
    assert_eq!(status.code(), Some(1));
    let told = log
        .iter()
        .any(|l| l.contains("its data was lost or removed"));
    assert!(told, "{log:#?}");
}

#[test]
fn nothing_is_delivered_that_too_few_replicas_hold() {
    let Some(redis) = Redis::start() else { return };
    let port = redis.port.to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]).expect("redis-server is here");
    let server = TestServer::with(|settings| {
        let mut store = redis.store();
        store.lease = Duration::from_secs(60);
        store.replicas = 1;
        settings.store = Store::Shared(store);
    });
    let mut alex = Peer::join(&server.address, "Alex", 1);
    replica.signal("-STOP");
    alex.say("held back", 5);
    let early = alex.listen(Duration::from_secs(2));
    assert!(early.is_empty(), "it was delivered without a replica");
    replica.signal("-CONT");
    assert_eq!(alex.next().text, "held back");
}

#[test]
fn a_failover_behind_a_wait_for_a_replica_loses_nothing() {
    const CLIENTS: usize = 3;
    const LINES: usize = 150;
    let Some(mut master) = Redis::start() else {
        return;
    };
    let port = master.port.to_string();
    let follow = ["--replicaof", "127.0.0.1", &port, "--appendonly", "yes"];
    let _replicas = [(); 2].map(|()| Redis::with(&follow).expect("redis-server is here"));
    let sentinel = Sentinel::watch(&master, 2);
    let addresses: Vec<_> = (0..2)
        .map(|_| format!("127.0.0.1:{}", fixed_port()))
        .collect();
    let args = ["--redis-wait", "1", "--grace", "5m"];
    let _servers = [0, 1].map(|n| Program::server_with_url(&addresses[n], &sentinel.url(), &args));
    let list = addresses.join(",");
    let mut talk = Talk::start(&[list.as_str(); CLIENTS], &["--reconnect", "5m"]);
    talk.burst(LINES, |clients, burst| {
        clients[0].expect_line(&line(1, burst, LINES / 2));
        master.kill();
    });
    talk.burst(LINES, |_, _| {});
    talk.finish();
}

/// As a user that may do nothing dangerous: to that belongs INFO.
#[test]
fn whoever_may_not_ask_redis_who_it_is_hears_what_that_costs() {
    let Some(redis) = Redis::start() else { return };
    let user = ["on", ">hush", "~chitchat:*", "+@all", "-@dangerous"];
    let url = format!("redis://user:hush@127.0.0.1:{}", redis.port);
    for (more, is_warned) in [("-info", true), ("+info", false)] {
        redis.cli(&[&["ACL", "SETUSER", "user"], &user[..], &[more]].concat());
        let address = format!("127.0.0.1:{}", fixed_port());
        let server = Program::server_with_url(&address, &url, &[]);
        Peer::join(&address, more, 0);
        server.signal("-TERM");
        let (status, _, log) = server.end();
        assert!(status.success(), "{log:#?}");
        let warned = log.iter().any(|l| l.contains("does not tell who it is"));
        assert_eq!(warned, is_warned, "{log:#?}");
    }
}

#[test]
fn the_way_to_redis_may_be_encrypted_and_need_a_password_that_nobody_sees() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let certs = path("certs");
    assert!(Program::start(&["certs", &certs]).end().0.success());
    std::fs::write(path("password"), "hush-hush\n").expect("a file");
    let tls_port = fixed_port();
    let (port, pem, key) = (
        tls_port.to_string(),
        path("certs/server.pem"),
        path("certs/server.key"),
    );
    let (ca, password) = (path("certs/ca.pem"), path("password"));
    let args = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &pem,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "hush-hush",
    ];
    let Some(redis) = Redis::with(&args) else {
        return;
    };
    let url = format!("rediss://localhost:{tls_port}");
    let address = format!("127.0.0.1:{}", fixed_port());
    let right = ["--redis-ca", &ca, "--redis-password-file", &password];
    let server = Program::server_with_url(&address, &url, &right);
    Peer::join(&address, "Alex", 1);
    server.signal("-TERM");
    let (status, out, log) = server.end();
    assert!(status.success(), "{log:#?}");
    let all = [out, log].concat().join("\n");
    assert!(!all.contains("hush-hush"), "{all}");

    let refused = |args: &[&str], url: &str, why: &str| {
        let mut all = vec!["server", "--listen", "127.0.0.1:0", "--store", url];
        all.extend(args);
        let (status, out, err) = Program::start(&all).end();
        assert_eq!(status.code(), Some(1), "{why}: {out:?} {err:?}");
        let said = [out, err].concat().join("\n");
        assert!(said.contains("cannot be used"), "{why}: {said}");
        assert!(!said.contains("hush-hush"), "{why}: {said}");
        assert!(
            said.matches("(os error ").count() <= 1,
            "a cause is told once: {said}"
        );
        said
    };
    refused(&["--redis-ca", &ca], &url, "no password");
    refused(&["--redis-password-file", &password], &url, "an unknown CA");
    let wrong = format!("rediss://:not-hush-hush@localhost:{tls_port}");
    refused(&["--redis-ca", &ca], &wrong, "a wrong password");
    let nowhere = format!("redis://127.0.0.1:{}", fixed_port());
    refused(&[], &nowhere, "nobody there");
    let plain = format!("rediss://localhost:{}", redis.port);
    let said = refused(&right, &plain, "no TLS there");
    assert!(!said.contains("os error"), "{said}");

    let malformed = "redis://:hush-hush@host:port";
    let (status, out, err) = Program::start(&["server", "--store", malformed]).end();
    assert_eq!(status.code(), Some(2), "{err:?}");
    let said = [out, err].concat().join("\n");
    assert!(said.contains("--store"), "{said}");
    assert!(!said.contains("hush-hush"), "{said}");
}
