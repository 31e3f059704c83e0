//! Hostile clients of every kind, at random, against a server whose members
//! elsewhere must notice nothing.
//!
//! It lasts 10 seconds, or as many as CHITCHAT_STRESS_SECONDS says, after a
//! fifth of that without hostile clients: how long a member waits for its own
//! words is printed for both. The seed of a run is printed too, and
//! CHITCHAT_STRESS_SEED brings it back. The attacks come as fast as they can,
//! or CHITCHAT_STRESS_RATE a second.

use std::fmt;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chitchat::chat::{Event, Kind};
use chitchat::rpc::{Dialler, Keepalive};
use chitchat::wire::{CHAT, ClientFrame, Join, PastAsk, Request};
use crossbeam_channel::{Receiver, Sender, bounded, tick};

use crate::support::{DEADLINE, Http2, Peer, TestServer, join};

/// How long a calm member listens between its words.
const PAUSE: Duration = Duration::from_millis(10);

/// Threads that attack.
const ATTACKERS: u64 = 4;

const CALM: [&str; 3] = ["Alex", "Aske", "Beate"];

/// Numbers that look random: xorshift64 (Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.roll(most)).map(|_| self.roll(256) as u8).collect()
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn members_notice_nothing_of_hostile_clients() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = format!("unix:{}/chat.sock", dir.path().display());
    let server = TestServer::with(|s| {
        s.listen.push(elsewhere.clone());
        s.max_per_address = 1000; // as in the program
        s.first_frame = Duration::from_secs(2);
        s.grace = Duration::from_millis(100);
        s.outbox_events = 4096;
    });
    let time = Duration::from_secs(setting("CHITCHAT_STRESS_SECONDS", 10));
    let seed = setting(
        "CHITCHAT_STRESS_SEED",
        u64::from(std::process::id()) << 20 | 1,
    );
    eprintln!("seed {seed}");
    let rate = setting("CHITCHAT_STRESS_RATE", 0) as u32;
    let (over, attacks) = (AtomicBool::new(false), AtomicU64::new(0));
    let (over, attacks, address) = (&over, &attacks, server.address.as_str());
    let calm: Vec<_> = CALM
        .iter()
        .map(|name| {
            let ask = Join {
                room: "calm".to_owned(),
                ..join(name, 0)
            };
            let peer = Peer::ask(&elsewhere, ask);
            // Before the next one joins: each hears those who join later.
            let own = peer.next();
            assert_eq!((own.kind, own.sender.as_ref()), (Kind::Join, *name));
            peer
        })
        .collect();
    for peer in &calm[..CALM.len() - 1] {
        peer.until("the last to join", |e| e.sender.as_ref() == CALM[2]);
    }
    let (quiet, quiet_is_over) = bounded(0);
    let quiet_until = Instant::now() + time / 5;
    let conversations: Vec<_> = std::thread::scope(|scope| {
        for n in 0..ATTACKERS {
            let quiet_is_over: Receiver<()> = quiet_is_over.clone();
            scope.spawn(move || {
                // Hostile clients bring processors of their own; these must not
                // take the server's.
                let _ = rustix::process::setpriority_process(None, 19);
                let _ = quiet_is_over.recv(); // nobody holds the other end
                let begun = Instant::now();
                let pace = (rate > 0).then(|| tick(Duration::from_secs(ATTACKERS) / rate));
                let mut dice = Dice(seed.wrapping_mul(2 * n + 1).max(1));
                while begun.elapsed() < time {
                    if let Some(pace) = &pace {
                        let _ = pace.recv(); // a clock never ends
                    }
                    attack(address, &mut dice);
                    attacks.fetch_add(1, Ordering::Relaxed);
                }
                over.store(true, Ordering::Release);
            });
        }
        let calm = calm.into_iter().map(|peer| {
            let quiet = quiet.clone();
            scope.spawn(move || converse(peer, over, quiet_until, quiet))
        });
        let calm: Vec<_> = calm.collect();
        drop(quiet);
        calm.into_iter().map(|c| c.join().unwrap()).collect()
    });
    let all = |echoes: fn(&Conversation) -> &Vec<Duration>| {
        Echoes::of(conversations.iter().flat_map(echoes).copied().collect())
    };
    let (quiet, meanwhile) = (all(|c| &c.quiet), all(|c| &c.meanwhile));
    eprintln!(
        "echoes: {quiet} in quiet, {meanwhile} under attack; p99 {:.1} times as long",
        meanwhile.p99.as_secs_f64() / quiet.p99.as_secs_f64()
    );
    let heard: Vec<_> = conversations.into_iter().map(|c| c.heard).collect();
    eprintln!("{attacks:?} attacks, {} events", heard[0].len());
    for other in &heard[1..] {
        assert!(heard[0] == *other, "all hear the same, in the same order");
    }
    let seqs = heard[0].iter().map(|e| e.seq);
    assert!(
        seqs.clone().zip(seqs.skip(1)).all(|(a, b)| b == a + 1),
        "without a gap"
    );
    for event in &heard[0] {
        assert!(CALM.contains(&event.sender.as_ref()), "{event:?}");
    }
    assert!(
        attacks.load(Ordering::Relaxed) > 50,
        "{attacks:?} attacks are none"
    );
    Peer::join(&elsewhere, "Newcomer", 0);
    server.stop();
}

/// How long members waited for their own words.
struct Echoes {
    p50: Duration,
    p99: Duration,
    slowest: Duration,
}

impl Echoes {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort();
        let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
        Self {
            p50: at(0.5),
            p99: at(0.99),
            slowest: at(1.0),
        }
    }
}

impl fmt::Display for Echoes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, slowest } = self;
        write!(f, "p50 {p50:.1?}, p99 {p99:.1?}, slowest {slowest:.1?}")
    }
}

/// A calm member's: what it heard, and how long its words took to come back in
/// quiet and since the hostile clients came.
#[derive(Default)]
struct Conversation {
    heard: Vec<Event>,
    quiet: Vec<Duration>,
    meanwhile: Vec<Duration>,
}

/// Talks and listens until it is over and everybody has said so. Holds `quiet`
/// as long as nobody is to disturb it.
fn converse(
    mut peer: Peer,
    over: &AtomicBool,
    quiet_until: Instant,
    quiet: Sender<()>,
) -> Conversation {
    let mut quiet = Some(quiet);
    let mut conversation = Conversation::default();
    let mut heard = Vec::new();
    let mut goodbyes = 0;
    let mut count = |e: &Event| goodbyes += usize::from(e.text == "goodbye");
    for sent in 1.. {
        let last = over.load(Ordering::Acquire);
        let said = Instant::now();
        if said >= quiet_until {
            quiet = None; // when nobody has it any more, the others come
        }
        peer.say(if last { "goodbye" } else { "all is calm" }, sent);
        let (name, events) = (
            peer.name.clone(),
            peer.until("its own words", |e| {
                e.sent == sent && e.sender.as_ref() == peer.name
            }),
        );
        let echoes = match quiet.is_some() {
            true => &mut conversation.quiet,
            false => &mut conversation.meanwhile,
        };
        echoes.push(said.elapsed());
        for events in [events, if last { Vec::new() } else { peer.listen(PAUSE) }] {
            assert!(
                events.iter().all(|e| e.kind == Kind::Message),
                "{name}: {events:?}"
            );
            events.iter().for_each(&mut count);
            heard.extend(events);
        }
        if last {
            break;
        }
    }
    while goodbyes < CALM.len() {
        let event = peer.next();
        goodbyes += usize::from(event.text == "goodbye");
        heard.push(event);
    }
    conversation.heard = heard;
    conversation
}

/// One thing that no good client does.
fn attack(address: &str, dice: &mut Dice) {
    let name = format!("Mallory {}", dice.roll(8));
    match dice.roll(12) {
        0 => drop(TcpStream::connect(address)),
        1 => {
            // no HTTP at all
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(&dice.bytes(4096));
        }
        2 => {
            // frames of any kind, of any content
            let mut connection = Http2::connect(address);
            for _ in 0..dice.roll(20) {
                let (kind, flags) = (dice.roll(12) as u8, dice.roll(256) as u8);
                let (stream, payload) = (dice.roll(6) as u32, dice.bytes(200));
                connection.frame(kind, flags, stream, &payload);
            }
        }
        3 => {
            // half a JOIN
            let mut connection = Http2::connect(address);
            connection.call();
            connection.frame(0, 0, 1, &[0, 0, 0, 0, 200, 0x08, 1, 0x12]);
        }
        4 => {
            // something in the place of a frame of ours
            let mut connection = Http2::connect(address);
            connection.call();
            let garbage = dice.bytes(100);
            let head = [0, 0, 0, 0, garbage.len() as u8];
            connection.frame(0, 0, 1, &[&head[..], &garbage].concat());
        }
        5 => {
            // joins, never reads, vanishes
            let mut connection = Http2::connect_stuck(address);
            connection.join(&name, 0);
            for n in 0..dice.roll(50) {
                connection.frame(6, 0, 0, &n.to_be_bytes()); // PING
            }
        }
        6 => {
            let mut connection = Http2::connect(address);
            connection.open_and_reset(CHAT.name, 1, dice.roll(100) as u32);
        }
        7 => {
            // a stream that is told to end while it joins
            let mut connection = Http2::connect(address);
            connection.join(&name, 0);
            connection.frame(3, 0, 1, &[0, 0, 0, 8]); // RST_STREAM
        }
        kind => {
            let Ok(dialled) = Dialler::new(Keepalive::default()).dial(address, DEADLINE) else {
                return;
            };
            let Ok((mut writer, mut reader)) = dialled.chat() else {
                return;
            };
            let mut send = |requests| {
                let frame = ClientFrame {
                    id: 0,
                    name: "".into(),
                    requests,
                };
                let _ = writer.send(frame);
            };
            let say = |text: String, sent| Request::Say {
                text,
                to: String::new(),
                sent,
            };
            let mut ask = join(&name, 0);
            match kind {
                // names, secrets and times that are none
                8 => {
                    ask.name = String::from_utf8_lossy(&dice.bytes(60)).into_owned();
                    ask.secret = dice.bytes(80);
                    ask.sent = dice.roll(u64::MAX) as i64;
                    ask.past = Some(PastAsk::After(dice.roll(u64::MAX) as i64));
                    send(vec![Request::Join(Box::new(ask))]);
                    let _ = reader.recv();
                }
                // a flood, and gone without reading it
                9 => {
                    send(vec![Request::Join(Box::new(ask))]);
                    let flood = (1..=200).map(|n| say("flood".to_owned(), n));
                    send(flood.collect());
                }
                // a frame that is too large
                10 => {
                    send(vec![Request::Join(Box::new(ask))]);
                    send(vec![say("x".repeat(100_000), 1)]);
                    let _ = reader.recv();
                }
                // joins that may come back, and do not
                _ => {
                    ask.secret = vec![dice.roll(4) as u8; 16];
                    send(vec![Request::Join(Box::new(ask))]);
                    let _ = reader.recv();
                }
            }
        }
    }
}
