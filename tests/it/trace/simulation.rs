//! A small chat in this process, without threads or a network, that writes the
//! logs which the programs would write: with losses, resumes, expired graces,
//! refusals, private messages, killed and restarted servers and clients, two
//! rooms, and histories that are asked for. Every run of it is lawful.

mod server;

use std::collections::{BTreeMap, VecDeque};

use chitchat::trace::line::{Fields, What, client_process};

pub const ROOMS: [&str; 2] = ["Chit Chat", "ops"];
const NAMES: [&str; 5] = ["Alex", "Aske", "Bob", "Åse B.", "x]\"\\y"];

/// Random numbers (splitmix64): the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[derive(Clone)]
struct Event {
    what: What,
    time: i64,
    seq: u64,
    who: usize,
    secret: u64,
    sent: i64,
    to: Option<(usize, u64)>,
    replayed: bool,
}

struct Member {
    who: usize,
    secret: u64,
    is_here: bool,
    last_sent: i64,
    settled: i64,
}

#[derive(Default)]
struct Room {
    clock: i64,
    seq: u64,
    members: Vec<Member>,
    /// What those who left had last sent, by their secrets.
    remembered: BTreeMap<u64, i64>,
    past: Vec<Event>,
}

enum Frame {
    Join {
        sent: i64,
        after: Option<i64>,
        last: Option<usize>,
    },
    Say {
        sent: i64,
        to: Option<usize>,
        is_refused: bool,
    },
    Leave {
        sent: i64,
    },
}

#[derive(Default)]
struct Client {
    is_running: bool,
    room: usize,
    secret: u64,
    clock: i64,
    is_connected: bool,
    up: VecDeque<Frame>,
    down: VecDeque<Event>,
    has_joined: bool,
    has_heard: bool,
    position: i64,
    pending: VecDeque<(i64, Option<usize>, bool)>,
    is_leaving: bool,
}

pub struct Simulation {
    random: Random,
    rooms: BTreeMap<usize, Room>,
    clients: Vec<Client>,
    logs: Vec<Vec<String>>,
    keeps: bool,
    tells_outboxes: bool,
}

const SERVER: usize = NAMES.len();

/// The logs of a run of `steps` steps, as file names and texts.
pub fn logs(seed: u64, steps: usize) -> Vec<(String, String)> {
    let mut random = Random(seed);
    let (keeps, tells_outboxes) = (!random.one_in(3), random.one_in(2));
    let mut simulation = Simulation {
        random,
        rooms: BTreeMap::new(),
        clients: (0..NAMES.len()).map(|_| Client::default()).collect(),
        logs: vec![Vec::new(); NAMES.len() + 1],
        keeps,
        tells_outboxes,
    };
    simulation.log(
        SERVER,
        Fields::new(What::Start).text("addr", "here"),
        "running",
    );
    for _ in 0..steps {
        simulation.step();
    }
    let named = |(who, lines): (usize, Vec<String>)| {
        let name = if who == SERVER {
            "server".to_owned()
        } else {
            format!("client-{who}")
        };
        (format!("{name}.log"), lines.concat())
    };
    simulation.logs.into_iter().enumerate().map(named).collect()
}

impl Simulation {
    fn log(&mut self, process: usize, fields: Fields, words: &str) {
        let name = NAMES
            .get(process)
            .map_or("Server".to_owned(), |n| client_process(n));
        let fields = fields.words(format_args!("{words}"));
        self.logs[process].push(format!(
            "2026-01-02T03:04:05.678901Z INFO  [{name}] {fields}\n"
        ));
    }

    fn step(&mut self) {
        let who = self.random.below(NAMES.len());
        match self.random.below(40) {
            0..=13 => self.server_reads(who),
            14..=27 => self.client_reads(who),
            28..=34 => self.client_acts(who),
            35 if self.random.one_in(3) => self.lose(who),
            36 if self.random.one_in(3) => self.expire(who),
            37 if self.random.one_in(6) => self.kill_client(who),
            38 if self.random.one_in(12) => self.restart_server(),
            _ => {}
        }
    }

    fn client_acts(&mut self, who: usize) {
        let (act, to) = (self.random.below(12), self.random.below(NAMES.len()));
        if !self.clients[who].is_running {
            let room = usize::from(self.random.one_in(4));
            let secret = self.random.below(usize::MAX) as u64;
            self.clients[who] = Client {
                is_running: true,
                room,
                secret,
                ..Client::default()
            };
            self.log(who, Fields::new(What::Start).number("L", 0), "joins");
            return;
        }
        if !self.clients[who].is_connected {
            let last = (act < 4).then_some(act * 2);
            let client = &mut self.clients[who];
            client.is_connected = true;
            client.has_heard = false;
            client.clock += 1;
            let sent = client.clock;
            let after = client.has_joined.then_some(client.position);
            let last = last.filter(|_| after.is_none());
            client.up = VecDeque::from([Frame::Join { sent, after, last }]);
            let line = self.send_line(who, "join", None);
            return self.log(who, line, "Sent JOIN");
        }
        if self.clients[who].is_leaving {
            return;
        }
        if act == 0 {
            // A goodbye waits until all that was said has come back.
            let client = &mut self.clients[who];
            if client.has_heard && client.pending.is_empty() {
                client.is_leaving = true;
                client.clock += 1;
                client.up.push_back(Frame::Leave { sent: client.clock });
                let line = self.send_line(who, "leave", None);
                self.log(who, line, "Sent LEAVE");
            }
            return;
        }
        let (to, is_refused) = ((act < 3).then_some(to), act == 11);
        let client = &mut self.clients[who];
        client.clock += 1;
        let sent = client.clock;
        client.pending.push_back((sent, to, is_refused));
        if client.has_heard {
            client.up.push_back(Frame::Say {
                sent,
                to,
                is_refused,
            });
        }
        let line = self.send_line(who, "message", to);
        self.log(who, line, "Sent something");
    }

    fn send_line(&self, who: usize, kind: &str, to: Option<usize>) -> Fields {
        let client = &self.clients[who];
        let line = Fields::new(What::Send)
            .number("L", client.clock)
            .text("kind", kind);
        let line = line.text("room", ROOMS[client.room]);
        match to {
            Some(to) => line.text("to", NAMES[to]),
            None => line,
        }
    }

    fn client_reads(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if !client.is_running || !client.is_connected {
            return;
        }
        let Some(event) = client.down.pop_front() else {
            return;
        };
        if event.what == What::Stop {
            client.is_running = false;
            client.is_connected = false;
            return self.log(who, Fields::new(What::Stop), "stopped");
        }
        client.clock = client.clock.max(event.time) + 1;
        let is_repeat = client.has_joined && event.time <= client.position;
        let is_first = !client.has_heard;
        (client.has_joined, client.has_heard) = (true, true);
        client.position = client.position.max(event.time);
        if event.secret == client.secret
            && client.pending.front().is_some_and(|p| p.0 == event.sent)
        {
            client.pending.pop_front();
        }
        if is_first {
            for &(sent, to, is_refused) in &client.pending {
                client.up.push_back(Frame::Say {
                    sent,
                    to,
                    is_refused,
                });
            }
        }
        let (time, room) = (client.clock, ROOMS[client.room]);
        if is_repeat {
            return;
        }
        let is_refusal = event.what == What::Refused;
        let line = Fields::new(if is_refusal {
            What::Refused
        } else {
            What::Deliver
        });
        let mut line = line
            .number("L", time)
            .number("of", event.time)
            .text("room", room);
        if !is_refusal {
            line = line.number("seq", event.seq).text("kind", kind(event.what));
            line = line.text("who", NAMES[event.who]);
        }
        line = line.number("sent", event.sent);
        if !is_refusal {
            line = line.number("replayed", event.replayed as u8);
        }
        if let Some((to, _)) = event.to {
            line = line.text("to", NAMES[to]);
        }
        self.log(who, line, "arrived");
    }

    /// The connection breaks; the server sees it, and the client too.
    fn lose(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if !client.is_running || !client.is_connected || client.is_leaving {
            return;
        }
        client.is_connected = false;
        client.up.clear();
        client.down.clear();
        if client.has_heard {
            self.log(who, Fields::new(What::Lost).text("why", "broken"), "lost");
        }
        self.away(who);
    }

    fn kill_client(&mut self, who: usize) {
        if self.clients[who].is_running {
            self.away(who);
            self.clients[who] = Client::default();
            if let Some(last) = self.logs[who].pop() {
                // what the system had not yet written is lost
                let cut: String = last.chars().take(last.len() / 3).collect();
                self.logs[who].push(if self.random.one_in(2) {
                    cut + "\n"
                } else {
                    last
                });
            }
        }
    }
}

/// What tells a client that the server has ended its stream.
fn goodbye() -> Event {
    Event {
        what: What::Stop,
        time: 0,
        seq: 0,
        who: 0,
        secret: 0,
        sent: 0,
        to: None,
        replayed: false,
    }
}

fn kind(what: What) -> &'static str {
    match what {
        What::Join | What::Resume => "join",
        What::Leave => "leave",
        What::Refused => "refusal",
        _ => "message",
    }
}
