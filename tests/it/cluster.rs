//! Several servers, one room: what is said on one is heard on all, in one
//! order, whichever of them or of Redis fails.

use std::time::Duration;

use chitchat::chat::{Event, Kind, Name};
use chitchat::history::shared::{Appender, SharedLog};
use chitchat::history::{Keep, Store};
use chitchat::rpc::{Code, Dialler, Keepalive};
use chitchat::wire::{HistoryQuery, Join, PastAsk, Request};

use crate::support::{DEADLINE, Peer, Program, Redis, TestServer, fixed_port, join, with_secret};

/// A server that shares its rooms through this Redis.
fn server(redis: &Redis) -> TestServer {
    TestServer::with(|settings| {
        let mut store = redis.store();
        store.lease = Duration::from_secs(1);
        settings.store = Store::Shared(store);
        settings.grace = Duration::from_secs(1);
    })
}

/// What is said of an event everywhere.
fn told(events: &[Event]) -> Vec<(i64, u64, String)> {
    let told = |e: &Event| (e.time, e.seq, e.text.clone());
    events.iter().map(told).collect()
}

#[test]
fn what_is_said_on_one_server_is_heard_on_all_in_one_order() {
    let Some(redis) = Redis::start() else { return };
    let servers = [server(&redis), server(&redis), server(&redis)];
    let mut peers: Vec<Peer> = Vec::new();
    for (n, server) in servers.iter().enumerate() {
        let name = format!("P{n}");
        peers.push(Peer::join(&server.address, &name, 1 + n as i32));
        for other in &peers[..n] {
            other.until("the others", |e| e.sender.as_ref() == name);
        }
    }
    for sent in 10..60 {
        for peer in &mut peers {
            peer.say(&format!("{} {sent}", peer.name.clone()), sent);
        }
    }
    let mut records: Vec<_> = peers
        .iter()
        .map(|peer| {
            let mut messages = 0;
            peer.until("everything", |e| {
                messages += usize::from(e.kind == Kind::Message);
                messages == 150
            })
        })
        .collect();
    let first = told(&records.remove(0));
    assert_eq!(first.len(), 150);
    assert!(
        first
            .windows(2)
            .all(|p| p[0].0 < p[1].0 && p[0].1 + 1 == p[1].1)
    );
    for record in records {
        assert_eq!(told(&record), first);
    }
    for peer in &mut peers {
        peer.leave(100);
        assert_eq!(peer.status().0, 0);
    }
    for server in servers {
        assert!(server.stop());
    }
}

#[test]
fn a_name_is_taken_on_every_server() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (server(&redis), server(&redis));
    let mut alex = Peer::join(&one.address, "Alex", 1);
    let taken = Peer::ask(&other.address, join("ALEX", 2));
    assert_eq!(taken.status().0, Code::ALREADY_EXISTS.0);
    alex.leave(5);
    assert_eq!(alex.status().0, 0);
    Peer::join(&other.address, "alex", 2);
}

#[test]
fn a_private_message_crosses_servers_and_reaches_its_two_alone() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (server(&redis), server(&redis));
    let mut alex = Peer::join(&one.address, "Alex", 1);
    let aske = Peer::join(&other.address, "Aske", 2);
    let bob = Peer::join(&other.address, "Bob", 3);
    alex.until("Bob", |e| e.sender.as_ref() == "Bob");
    alex.send(vec![Request::Say {
        text: "hush".to_owned(),
        to: "aske".to_owned(),
        sent: 9,
    }]);
    alex.say("loud", 10);
    let hush = alex.next();
    assert_eq!((hush.text.as_str(), hush.seq), ("hush", 0));
    let at_aske = aske.until("loud", |e| e.text == "loud");
    assert!(at_aske.contains(&hush), "{at_aske:?}");
    let at_bob = bob.until("loud", |e| e.text == "loud");
    assert!(at_bob.iter().all(|e| e.text != "hush"), "{at_bob:?}");
}

#[test]
fn what_is_refused_does_not_lie_in_the_log() {
    let Some(redis) = Redis::start() else { return };
    let server = server(&redis);
    let mut alex = Peer::join(&server.address, "Alex", 1);
    let bob = Peer::join(&server.address, "Bob", 2);
    alex.next();
    let wide = |c: &str| c.repeat(60_000 / c.len());
    let far = format!("Bob{}x", wide(" "));
    let said = [
        (
            wide("y"),
            "",
            "Message too long (60000 chars). Limit is 128.",
        ),
        (
            wide("ø"),
            "",
            "Message too long (30000 chars). Limit is 128.",
        ),
        (wide("\n"), "", "Message is empty."),
        (
            "hush".to_owned(),
            &*wide("z"),
            "A name has at most 32 characters.",
        ),
        (
            "hush".to_owned(),
            &*far,
            "A name has at most 32 characters.",
        ),
        (format!("{}hi{}", wide(" "), "\n"), "", "hi"),
        (format!("{}hush", wide("\t")), "\tbob\n", "hush"),
    ];
    for (sent, (text, to, answer)) in (10..).zip(said) {
        let to = to.to_owned();
        alex.send(vec![Request::Say { text, to, sent }]);
        let heard = alex.next();
        assert!(heard.text.starts_with(answer), "{heard:?}");
        assert_eq!(heard.sent, sent);
    }
    let texts = ["hi", "hush"].map(|_| bob.next().text);
    assert_eq!(texts, ["hi", "hush"]);
    let log = redis.cli(&["XRANGE", "chitchat:room:1", "-", "+"]);
    assert!(log.len() < 3000, "{} bytes: {log}", log.len());
}

#[test]
fn whoever_resumes_on_another_server_is_the_same_and_says_nothing_twice() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (server(&redis), server(&redis));
    let watcher = Peer::join(&other.address, "Watcher", 9);
    let mut alex = Peer::ask(&one.address, with_secret("Alex", 1));
    let joined = alex.next();
    alex.say("once", 5);
    let once = alex.next();
    let mut back = Peer::ask(
        &other.address,
        Join {
            past: Some(PastAsk::After(joined.time)),
            sent: 6,
            ..with_secret("Alex", 1)
        },
    );
    assert_eq!(back.next(), once, "what it missed");
    let receipt = back.next();
    assert_eq!((receipt.kind, receipt.seq), (Kind::Join, 0));
    assert_eq!(alex.status().0, Code::ABORTED.0, "replaced");
    back.say("once", 5);
    assert_eq!(back.next().text, "Your message of L=5 was received before.");
    back.say("twice", 7);
    let seen = watcher.until("twice", |e| e.text == "twice");
    let texts: Vec<_> = seen.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts[1..], ["once", "twice"], "and nobody left or joined");
}

/// What a stopping server brings to the log of what one says is the beginning
/// of it: whatever lacked in the middle would be taken for a repeat when it is
/// said again, and so be lost.
#[test]
fn a_history_goes_on_after_whatever_another_server_told() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (server(&redis), server(&redis));
    let mut alex = Peer::join(&one.address, "Alex", 1);
    let dialled = Dialler::new(Keepalive::default())
        .dial(&other.address, DEADLINE)
        .unwrap();
    for round in 0..200 {
        let last = (round + 1) * 256;
        let burst = (last - 255..=last).map(|sent| Request::Say {
            text: "on one".to_owned(),
            to: String::new(),
            sent,
        });
        alex.send(burst.collect());
        let heard = alex.until("its last echo", |e| e.sent == last);
        let ask = HistoryQuery {
            room: String::new(),
            past: heard.last().map(|e| PastAsk::After(e.time)),
        };
        let mut reader = dialled.history(&ask).unwrap();
        assert_eq!(reader.recv(), Ok(None), "round {round}");
    }
}

#[test]
fn a_server_that_stops_leaves_no_hole_in_what_somebody_says() {
    const FRAMES: i64 = 100;
    const IN_A_FRAME: i64 = 200;
    let Some(redis) = Redis::start() else { return };
    let other = server(&redis);
    let watcher = Peer::join(&other.address, "Watcher", 99);
    let mut marker = Peer::join(&other.address, "Marker", 98);
    for round in 1..=3 {
        let stops = server(&redis);
        let name = format!("Speaker {round}");
        let mut speaker = Peer::ask(&stops.address, with_secret(&name, round));
        speaker.next();
        let says = std::thread::spawn(move || {
            for frame in 0..FRAMES {
                let numbers = 1 + frame * IN_A_FRAME..=(1 + frame) * IN_A_FRAME;
                let say = |sent: i64| Request::Say {
                    text: sent.to_string(),
                    to: String::new(),
                    sent,
                };
                speaker.send(numbers.map(say).collect());
            }
            speaker
        });
        watcher.until("some of it", |e| {
            e.sender.as_ref() == name && e.text == "300"
        });
        stops.stop();
        let end = format!("end of round {round}");
        marker.say(&end, 1);
        let heard = watcher.until(&end, |e| e.text == end);
        let heard = heard.iter().filter(|e| e.sender.as_ref() == name);
        let numbers: Vec<_> = heard
            .filter(|e| e.kind == Kind::Message)
            .map(|e| e.sent)
            .collect();
        let expected: Vec<_> = (301..).take(numbers.len()).collect();
        assert!(numbers == expected, "round {round}: {numbers:?}");
        says.join().expect("no panic");
    }
}

#[test]
fn a_room_opened_on_one_server_is_there_on_the_others_and_after_a_restart() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (server(&redis), server(&redis));
    let in_ops = |name: &str, id| Join {
        room: "ops".to_owned(),
        ..join(name, id)
    };
    let mut alex = Peer::ask(&one.address, in_ops("Alex", 1));
    alex.next();
    let aske = Peer::ask(&other.address, in_ops("Aske", 2));
    assert_eq!(aske.next().seq, 2);
    alex.next();
    alex.say("kept", 9);
    let kept = alex.next();
    aske.next();
    assert!(one.stop() && other.stop());
    let third = server(&redis);
    let late = Peer::ask(
        &third.address,
        Join {
            past: Some(PastAsk::After(0)),
            ..in_ops("Late", 3)
        },
    );
    let past = late.until("its own joining", |e| e.sender.as_ref() == "Late");
    assert!(past.contains(&kept), "{past:?}");
    let numbered = past.iter().filter(|e| e.seq > 0).enumerate();
    for (n, event) in numbered {
        assert_eq!(event.seq, n as u64 + 1);
    }
}

#[test]
fn the_members_of_a_dead_server_leave_once_unless_they_come_back_in_time() {
    let Some(redis) = Redis::start() else { return };
    let (one, other, third) = (server(&redis), server(&redis), server(&redis));
    let watchers = [&other, &third].map(|s| Peer::join(&s.address, &s.address[10..], 0));
    let alex = Peer::ask(&one.address, with_secret("Alex", 1));
    let gone = Peer::ask(&one.address, with_secret("Gone", 2));
    let plain = Peer::ask(&one.address, join("Plain", 3));
    let last = [alex.next(), gone.next(), plain.next()][2].time;
    // It ends as a stop does, which leaves its members where they are.
    one.stop();
    let mut back = Peer::ask(
        &other.address,
        Join {
            past: Some(PastAsk::After(last)),
            sent: 9,
            ..with_secret("Alex", 1)
        },
    );
    for watcher in &watchers {
        let (mut left, mut alex) = (Vec::new(), 0);
        watcher.until("the others' leaving", |e| {
            alex += usize::from(e.sender.as_ref() == "Alex");
            if e.kind == Kind::Leave {
                left.push(e.sender.to_string());
            }
            left.len() == 2
        });
        left.sort();
        assert_eq!(left, ["Gone", "Plain"]);
        assert_eq!(alex, 1, "Alex joined, and never left");
    }
    back.say("still here", 20);
    for watcher in &watchers {
        let until = watcher.until("Alex", |e| e.text == "still here");
        assert_eq!(until.len(), 1, "nothing was said twice: {until:?}");
    }
}

#[test]
fn old_events_go_and_a_server_that_starts_later_begins_where_they_end() {
    const KEPT: u64 = 64;
    // Redis keeps some thousand more, for servers that are behind.
    const SAID: i64 = 7000;
    let Some(redis) = Redis::start() else { return };
    let keeping = || {
        TestServer::with(|settings| {
            settings.store = Store::Shared(redis.store());
            settings.keep = Some(Keep::Events(KEPT));
        })
    };
    let (one, other) = (keeping(), keeping());
    let mut alex = Peer::ask(&one.address, with_secret("Alex", 1));
    let aske = Peer::join(&other.address, "Aske", 2);
    for sent in 10..10 + SAID {
        alex.say(&format!("line {sent}"), sent);
    }
    let last = format!("line {}", 9 + SAID);
    for peer in [&alex, &aske] {
        peer.until("the last line", |e| e.text == last);
    }
    let third = keeping();
    let early = |address: &str, name: &str, past| {
        Peer::ask(
            address,
            Join {
                past: Some(past),
                ..join(name, 0)
            },
        )
    };
    for (server, name) in [(&one, "Late"), (&third, "Later")] {
        let gone = early(&server.address, "Early", PastAsk::After(1));
        assert_eq!(gone.status().0, Code::OUT_OF_RANGE.0);
        let late = early(&server.address, name, PastAsk::Last(u32::MAX));
        let past = late.until("its own joining", |e| e.sender.as_ref() == name);
        assert!(past.len() as u64 >= KEPT, "{} events", past.len());
        assert!(past.len() as u64 <= 2 * KEPT, "{} events", past.len());
        let numbers: Vec<u64> = past.iter().map(|e| e.seq).collect();
        assert!(numbers.windows(2).all(|p| p[1] == p[0] + 1), "{numbers:?}");
        assert_eq!(
            *numbers.last().expect("its own"),
            past.len() as u64 - 1 + numbers[0]
        );
        let mut late = late;
        late.leave(9000);
        assert_eq!(late.status().0, 0);
    }
    let length: u64 = redis
        .cli(&["XLEN", "chitchat:room:1"])
        .parse()
        .expect("a number");
    assert!((KEPT..6000).contains(&length), "{length} entries");
    // What Alex said before all that is kept is recognised all the same.
    let mut back = Peer::ask(
        &third.address,
        Join {
            sent: 9999,
            ..with_secret("Alex", 1)
        },
    );
    back.next();
    back.say("line 10", 10);
    assert_eq!(
        back.next().text,
        "Your message of L=10 was received before."
    );
}

#[test]
fn no_more_rooms_are_opened_than_there_may_be_however_many_ask_at_once() {
    const MOST: usize = 3;
    const ASK: usize = 40;
    let Some(redis) = Redis::start() else { return };
    let server = TestServer::with(|settings| {
        settings.store = Store::Shared(redis.store());
        settings.max_rooms = MOST;
    });
    let mut peers: Vec<Peer> = (0..ASK).map(|_| Peer::dial(&server.address)).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        let join = Join {
            room: format!("room {n}"),
            ..join("Alex", 0)
        };
        peer.send(vec![Request::Join(Box::new(join))]);
    }
    let let_in = peers.iter().filter(|peer| peer.next_or_end().is_some());
    assert_eq!(let_in.count(), MOST);
    assert_eq!(redis.cli(&["HLEN", "chitchat:rooms"]), MOST.to_string());
}

#[test]
fn thousands_of_rooms_are_found_and_each_goes_on() {
    const ROOMS: usize = 3000;
    let Some(redis) = Redis::start() else { return };
    let log = SharedLog::open(&redis.store(), 8).expect("it opens");
    let mut appender = Appender::new(log);
    for n in 1..=ROOMS {
        let name = Name::parse(&format!("room {n}")).expect("a name");
        appender.open_room(&name, ROOMS).expect("Redis is there");
    }
    let (one, other) = (server(&redis), server(&redis));
    let in_room = |name: &str, n: usize| Join {
        room: format!("room {n}"),
        ..join(name, 0)
    };
    for n in [1, ROOMS / 2, ROOMS] {
        let mut alex = Peer::ask(&one.address, in_room("Alex", n));
        alex.next();
        let aske = Peer::ask(&other.address, in_room("Aske", n));
        aske.next();
        alex.say("hi", 9);
        assert_eq!(aske.next().text, "hi");
    }
    let newest = Peer::ask(&one.address, in_room("Alex", ROOMS + 1));
    assert_eq!(newest.next().seq, 1);
}

#[test]
fn a_client_goes_to_whichever_of_its_servers_is_there() {
    let server = TestServer::start();
    let nobody = format!("127.0.0.1:{}", fixed_port());
    let args = [
        "client",
        "Alex",
        "--server",
        &nobody,
        "--server",
        &server.address,
    ];
    let mut alex = Program::start(&args);
    alex.wait_for("Participant Alex joined");
    assert!(alex.end().0.success());
}
