//! Lost connections: a client comes back as the one that it was, and hears
//! and says everything exactly once.

use std::time::{Duration, Instant};

use chitchat::chat::{Kind, Name};
use chitchat::client::{End, Happening, Participant, Settings};
use chitchat::rpc::{CallError, Code, Dialler, Keepalive};
use chitchat::wire::{Join, PastAsk, Request, WhoQuery};

use crate::support::talk::Talk;
use crate::support::{
    DEADLINE, Peer, Program, Proxy, Random, TestServer, fixed_port, join, with_secret,
};

/// A resume after the last event seen.
fn back(name: &str, id: i32, after: i64) -> Join {
    Join {
        past: Some(PastAsk::After(after)),
        ..with_secret(name, id)
    }
}

/// Waits until the server knows that somebody lost its connection.
fn until_away(server: &TestServer, name: &str) {
    let dialled = Dialler::new(Keepalive::default())
        .dial(&server.address, DEADLINE)
        .unwrap();
    let begun = Instant::now();
    loop {
        let room = String::new();
        let roster = dialled.who(&WhoQuery { room }).unwrap();
        let mut participants = roster.participants.iter();
        if participants.any(|p| p.name == name && p.away) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "the loss is not noticed");
    }
}

#[test]
fn the_secret_takes_over_a_session_that_the_server_still_believes_alive() {
    let server = TestServer::start();
    let mut witness = Peer::join(&server.address, "Witness", 1);
    let old = Peer::ask(&server.address, with_secret("Alex", 7));
    old.next();
    let mut new = Peer::ask(&server.address, with_secret("Alex", 7));
    let receipt = new.next();
    assert_eq!(
        (receipt.text.as_str(), receipt.seq, receipt.sender_id),
        (
            "Participant Alex resumed Chit Chat at logical time L=3",
            0,
            7
        )
    );
    assert_eq!(
        old.status(),
        (10, "resumed on another connection".to_owned()),
        "ABORTED"
    );
    new.say("it is me", 4);
    assert_eq!(new.next().text, "it is me");
    let seen = witness.until("the message", |e| e.text == "it is me");
    let kinds: Vec<_> = seen.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [Kind::Join, Kind::Message], "nobody else is told");
    // the secret is Alex's, and Alex is here
    let other = Peer::ask(
        &server.address,
        Join {
            id: 8,
            ..with_secret("Aske", 7)
        },
    );
    assert_eq!(other.status().0, 6, "ALREADY_EXISTS");
    // and nobody has the name with another secret
    assert_eq!(
        Peer::ask(&server.address, with_secret("Alex", 9))
            .status()
            .0,
        6
    );
    witness.leave(1);
    assert_eq!(witness.status().0, 0);
}

#[test]
fn who_comes_back_in_other_letters_is_called_as_before() {
    let server = TestServer::start();
    Peer::ask(&server.address, with_secret("Alex", 7)).next();
    let mut alex = Peer::ask(&server.address, with_secret("ALEX", 7));
    let receipt = alex.next();
    alex.say("it is me", 3);
    assert_eq!(receipt.sender, alex.next().sender, "as its echoes are");
    assert_eq!(
        (receipt.sender.as_ref(), receipt.text.as_str()),
        (
            "Alex",
            "Participant Alex resumed Chit Chat at logical time L=2"
        )
    );
}

#[test]
fn within_the_grace_period_nobody_is_told() {
    let server = TestServer::with(|s| s.grace = DEADLINE);
    let mut witness = Peer::join(&server.address, "Witness", 1);
    let alex = Peer::ask(&server.address, with_secret("Alex", 7));
    let joined = alex.next().time;
    for _ in 0..3 {
        let alex = Peer::ask(&server.address, back("Alex", 7, joined));
        assert!(alex.next().text.contains("resumed"));
        drop(alex);
        until_away(&server, "Alex");
    }
    witness.say("all quiet", 1);
    let seen = witness.until("its own message", |e| e.kind == Kind::Message);
    assert_eq!(seen.len(), 2, "{seen:#?}");
    assert_eq!(seen[1].time, 2 + 3 + 1, "each resume ticked the clock");
    assert_eq!(seen[1].seq, 3, "and took no number");
}

#[test]
fn after_the_grace_period_all_are_told_once_and_later_it_joins_again() {
    const GRACE: Duration = Duration::from_millis(700);
    let server = TestServer::with(|s| s.grace = GRACE);
    let mut witness = Peer::join(&server.address, "Witness", 1);
    let alex = Peer::ask(&server.address, with_secret("Alex", 7));
    let joined = alex.next().time;
    let lost = Instant::now();
    drop(alex);
    let mut seen = witness.until("the departure", |e| e.kind == Kind::Leave);
    assert!(lost.elapsed() >= GRACE, "{:?}", lost.elapsed());
    witness.say("meanwhile", 1);
    seen.extend(witness.until("its echo", |e| e.text == "meanwhile"));
    let alex = Peer::ask(&server.address, back("Alex", 7, joined));
    let heard = alex.hear_until("its own join", |r| !r.replayed);
    let texts: Vec<_> = heard.iter().map(|r| r.event.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Participant Alex left Chit Chat at logical time L=3",
            "meanwhile",
            "Participant Alex joined Chit Chat at logical time L=5"
        ]
    );
    seen.extend(witness.until("the second join", |e| e.time == 5));
    let of_alex = |kind| {
        let is = move |e: &&_| -> bool {
            let e: &chitchat::chat::Event = e;
            e.kind == kind && e.sender.as_ref() == "Alex"
        };
        seen.iter().filter(is).count()
    };
    assert_eq!((of_alex(Kind::Join), of_alex(Kind::Leave)), (2, 1));
}

#[test]
fn without_a_secret_a_loss_is_told_at_once() {
    let server = TestServer::with(|s| s.grace = 2 * DEADLINE);
    let witness = Peer::join(&server.address, "Witness", 1);
    drop(Peer::join(&server.address, "Alex", 7));
    witness.until("the departure", |e| e.kind == Kind::Leave);
}

#[test]
fn what_is_sent_again_is_recognised_and_a_refusal_is_answered_again() {
    let server = TestServer::with(|s| s.grace = DEADLINE);
    let witness = Peer::join(&server.address, "Witness", 1);
    let mut alex = Peer::ask(&server.address, with_secret("Alex", 7));
    let joined = alex.next().time;
    alex.say("one", 5);
    alex.say("", 6);
    alex.say("two", 7);
    alex.until("its last echo", |e| e.text == "two");
    drop(alex);
    let mut alex = Peer::ask(&server.address, back("Alex", 7, joined));
    let heard = alex.hear_until("the receipt", |r| !r.replayed);
    let texts: Vec<_> = heard
        .iter()
        .map(|r| (r.event.text.as_str(), r.event.sent))
        .collect();
    assert_eq!(
        texts[..3],
        [("one", 5), ("Message is empty.", 6), ("two", 7)],
        "echoes and refusals alike"
    );
    alex.say("one", 5);
    alex.say("two", 7);
    alex.say("three", 8);
    let heard = alex.until("the new message", |e| e.text == "three");
    let notices: Vec<_> = heard
        .iter()
        .map(|e| (e.kind, e.sent, e.text.as_str()))
        .collect();
    assert_eq!(
        notices,
        [
            (Kind::Refusal, 5, "Your message of L=5 was received before."),
            (Kind::Refusal, 7, "Your message of L=7 was received before."),
            (Kind::Message, 8, "three")
        ]
    );
    // within one session times rise, or it would not be known what was meant
    alex.say("back in time", 8);
    assert_eq!(alex.next().text, "Timestamp 8 does not rise above 8.");
    let seen = witness.until("the last", |e| e.text == "three");
    let said = seen.iter().filter(|e| e.kind == Kind::Message);
    assert_eq!(said.map(|e| e.sent).collect::<Vec<_>>(), [5, 7, 8]);
}

#[test]
fn what_has_no_time_is_not_said_to_be_known() {
    let server = TestServer::start();
    let mut alex = Peer::ask(&server.address, with_secret("Alex", 7));
    alex.next();
    alex.say("never said before", 0);
    assert_eq!(alex.next().text, "Timestamp 0 does not rise above 0.");
    alex.say("one", 1);
    assert_eq!(alex.next().text, "one");
    let mut alex = Peer::ask(&server.address, with_secret("Alex", 7));
    alex.next();
    alex.say("never said before", 0);
    assert_eq!(alex.next().text, "Timestamp 0 does not rise above 1.");
    alex.say("one", 1);
    assert_eq!(alex.next().text, "Your message of L=1 was received before.");
}

fn cut_again_and_again(grace: &str) {
    const CLIENTS: usize = 3;
    let mut random = Random::new();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", fixed_port());
    let store = folder.path().join("rooms.db");
    let _server = Program::server_with_store(&address, &store, &["--grace", grace]);
    let proxies: Vec<_> = (0..CLIENTS).map(|_| Proxy::to(&address)).collect();
    let addresses: Vec<_> = proxies.iter().map(|p| p.address.as_str()).collect();
    let mut talk = Talk::start(&addresses, &["--reconnect", "5m"]);
    for proxy in &proxies {
        let mut random = random.fork();
        proxy.limit(move || random.between(1000, 60_000));
        proxy.cut();
    }
    for _ in 0..3 {
        talk.burst(300, |_, _| {});
    }
    for proxy in &proxies {
        proxy.limit(|| u64::MAX);
    }
    talk.finish();
}

#[test]
fn connections_cut_anywhere_lose_nothing_and_repeat_nothing() {
    cut_again_and_again("5m");
}

#[test]
fn nor_do_they_where_everybody_has_left_before_coming_back() {
    cut_again_and_again("0ms");
}

#[test]
fn a_pulled_cable_is_noticed_and_what_went_into_it_is_sent_again() {
    let (_server, address) = Program::server(&[]);
    let witness = Peer::join(&address, "Witness", 1);
    let proxy = Proxy::to(&address);
    let args = ["--keepalive", "1s", "--keepalive-timeout", "1s"];
    let mut alex = Program::client("Alex", &proxy.address, &args);
    alex.wait_for("joined");
    proxy.silence();
    for n in 0..10 {
        alex.type_line(&format!("line {n}."));
    }
    alex.wait_for_error("chitchat: connection lost");
    alex.wait_for_error("chitchat: back in the room; events that came meanwhile: 0");
    alex.wait_for("line 9.");
    let (status, out, _) = alex.end();
    assert!(status.success());
    assert_eq!(out.len(), 1 + 10, "{out:#?}");
    let seen = witness.until("the departure", |e| e.kind == Kind::Leave);
    assert_eq!(seen.len(), 1 + 10 + 1, "{seen:#?}");
}

#[test]
fn a_refusal_that_was_lost_on_the_way_is_heard_after_the_resume() {
    let (mut server, address) = Program::server(&[]);
    let proxy = Proxy::to(&address);
    let mut alex = Program::client("Alex", &proxy.address, &[]);
    alex.wait_for("joined");
    proxy.deafen();
    alex.type_line(&"x".repeat(200));
    alex.type_line("short enough");
    server.wait_for_error("short enough");
    proxy.cut();
    alex.wait_for("Message too long (200 chars)");
    let (status, out, log) = alex.end();
    assert!(status.success(), "{log:#?}");
    let count = |what: &str| out.iter().filter(|l| l.contains(what)).count();
    assert_eq!(count("Message too long"), 1, "{out:#?}");
    assert_eq!(count("Alex: short enough"), 1, "{out:#?}");
    assert_eq!(out.len(), 3, "{out:#?}");
}

#[test]
fn a_client_goes_on_although_what_it_missed_is_no_longer_kept() {
    let (_server, address) = Program::server(&["--log-level", "warn", "--grace", "5m"]);
    let mut witness = Peer::ask(
        &address,
        Join {
            batches: true,
            ..join("Witness", 1)
        },
    );
    let proxy = Proxy::to(&address);
    let mut alex = Program::client("Alex", &proxy.address, &["--log-level", "warn"]);
    alex.wait_for("joined");
    proxy.deafen();
    alex.type_line("its echo is lost");
    witness.until("the message", |e| e.text == "its echo is lost");
    for burst in 0..400 {
        let batch = (1..=256).map(|n| Request::Say {
            text: "more than is kept".to_owned(),
            to: String::new(),
            sent: burst * 256 + n,
        });
        witness.send(batch.collect());
        witness.until("its last echo", |e| e.sent == (burst + 1) * 256);
    }
    proxy.cut();
    alex.wait_for_error("chitchat: what came meanwhile is no longer kept");
    // numbers 1 to 3: two joins and its message; its own is the last before
    alex.wait_for_error("chitchat: events 3 to ");
    alex.type_line("here again");
    alex.wait_for("Your message of L=");
    alex.wait_for("here again");
    let (status, _, err) = alex.end();
    assert!(status.success(), "it waits for no echo: {err:#?}");
}

#[test]
fn a_client_that_stands_still_is_let_go_and_loses_time_alone() {
    let (mut server, address) =
        Program::server(&["--outbox", "3000", "--grace", "5m", "--keepalive", "5m"]);
    let mut talk = Talk::start(&[address.as_str(); 3], &["--reconnect", "5m"]);
    let mut flood = Peer::join(&address, "Flood", 1);
    for _ in 0..2 {
        talk.burst(200, |clients, _| {
            clients[0].signal("-STOP");
            let text = "🦀".repeat(128);
            let begun = flood_clock(&mut flood);
            for n in begun + 1..=begun + 20_000 {
                flood.say(&text, n);
                if n % 500 == 0 {
                    flood.until("an echo", |e| e.sender_id == 1 && e.sent == n);
                }
            }
            let lost = server.wait_for_error("LOST room=\"Chit Chat\" who=Client0");
            assert!(lost.contains("too slow"), "{lost}");
            clients[0].signal("-CONT");
            server.wait_for_error("RESUMED: Client0");
        });
    }
    talk.finish();
}

/// A Lamport time for what it says next: past everything that it said.
fn flood_clock(flood: &mut Peer) -> i64 {
    flood.say("", 0);
    flood
        .until("its refusal", |e| e.kind == Kind::Refusal)
        .pop()
        .unwrap()
        .time
        / 500
        * 500
        + 500
}

#[test]
fn a_participant_that_does_not_listen_hears_everything_later() {
    const SAID: i64 = 30_000;
    let server = TestServer::with(|s| {
        s.outbox_events = 2000;
        s.grace = 2 * DEADLINE;
    });
    let (alex, told) = Participant::start(Settings {
        servers: vec![server.address.clone()],
        name: Name::parse("Alex").unwrap(),
        id: 77,
        room: String::new(),
        past: None,
        keepalive: Keepalive::default(),
        dial_patience: DEADLINE,
        reconnect: DEADLINE,
        access: Default::default(),
    })
    .unwrap();
    assert!(matches!(
        told.recv_timeout(DEADLINE),
        Ok(Happening::Event { .. })
    ));
    let mut flood = Peer::join(&server.address, "Flood", 1);
    let text = "🦀".repeat(128);
    for n in 1..=SAID {
        flood.say(&text, n);
        if n % 500 == 0 {
            flood.until("an echo", |e| e.sent == n);
        }
    }
    until_away(&server, "Alex");
    let (mut seqs, mut losses) = (Vec::new(), 0);
    while seqs.len() < 1 + SAID as usize {
        match told.recv_timeout(DEADLINE).expect("it goes on") {
            Happening::Event { received, .. } => seqs.push(received.event.seq),
            Happening::Lost { why, .. } => {
                losses += 1;
                // One that reads nothing for five seconds more is not told why.
                let slow = matches!(
                    &why,
                    CallError::Status {
                        code: Code::RESOURCE_EXHAUSTED | Code::CANCELLED,
                        ..
                    }
                );
                assert!(slow, "{why:?}");
            }
            Happening::Resumed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(losses > 0);
    assert!(seqs.iter().copied().eq(2..=SAID as u64 + 2));
    alex.voice().leave();
    let end = told.iter().find(|h| matches!(h, Happening::Ended(_)));
    assert!(matches!(end, Some(Happening::Ended(End::Left))), "{end:?}");
    alex.join();
}
