//! A small chat in this process, without threads or a network, that writes the
//! logs which the programs would write: with losses, resumes, expired graces,
//! refusals, private messages, killed and restarted servers and clients, two
//! rooms, and histories that are asked for. Every run of it is lawful.

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

    fn server_reads(&mut self, who: usize) {
        let Some(frame) = self.clients[who].up.pop_front() else {
            return;
        };
        let (no, secret) = (self.clients[who].room, self.clients[who].secret);
        match frame {
            Frame::Join { sent, after, last } => self.server_joins(who, sent, after, last),
            Frame::Leave { sent } => {
                if self.seat(no, who, secret).is_some() {
                    self.part(no, who, sent, "left");
                }
                self.clients[who].down.push_back(goodbye());
            }
            Frame::Say {
                sent,
                to,
                is_refused,
            } => {
                let Some(at) = self.seat(no, who, secret) else {
                    return;
                };
                let room = self.rooms.entry(no).or_default();
                if sent <= room.members[at].settled {
                    return; // it came through another connection
                }
                room.members[at].last_sent = sent;
                let recipient = to.and_then(|to| room.members.iter().find(|m| m.who == to));
                let recipient = recipient.map(|m| (m.who, m.secret));
                let is_refused = is_refused || to.is_some() != recipient.is_some();
                let what = if is_refused {
                    What::Refused
                } else {
                    What::Message
                };
                let to = recipient.filter(|_| !is_refused);
                self.stamp(no, what, (who, secret), sent, to, "");
            }
        }
    }

    fn seat(&self, room: usize, who: usize, secret: u64) -> Option<usize> {
        let members = &self.rooms.get(&room)?.members;
        members
            .iter()
            .position(|m| m.who == who && m.secret == secret)
    }

    fn server_joins(&mut self, who: usize, sent: i64, after: Option<i64>, last: Option<usize>) {
        let (no, secret) = (self.clients[who].room, self.clients[who].secret);
        let room = self.rooms.entry(no).or_default();
        let is_taken = room
            .members
            .iter()
            .any(|m| m.who == who && m.secret != secret);
        if is_taken || after.is_some_and(|after| after > room.clock) {
            let client = &mut self.clients[who];
            client.is_connected = false;
            if after.is_some_and(|after| after > room.clock) {
                (client.has_joined, client.position) = (false, 0);
            }
            return self.log(SERVER, Fields::new(What::Cut).text("why", "no"), "refused");
        }
        let visible = |e: &&Event| match (e.what, e.to) {
            (What::Refused, _) => e.secret == secret,
            (_, Some((_, to))) => e.secret == secret || to == secret,
            _ => true,
        };
        let seen: Vec<_> = room.past.iter().filter(visible).collect();
        let skipped = match (after, last) {
            (Some(after), _) => seen.iter().filter(|e| e.time <= after).count(),
            (None, last) => seen.len().saturating_sub(last.unwrap_or(0)),
        };
        let replayed = seen[skipped..].iter().map(|e| Event {
            replayed: true,
            ..(**e).clone()
        });
        let replayed: Vec<_> = replayed.collect();
        self.clients[who].down = replayed.into();
        let room = self.rooms.entry(no).or_default();
        if let Some(member) = room.members.iter_mut().find(|m| m.who == who) {
            member.is_here = true;
            member.settled = member.last_sent;
            return self.stamp(no, What::Resume, (who, secret), sent, None, "");
        }
        let last_sent = room.remembered.get(&secret).copied().unwrap_or(0);
        room.members.push(Member {
            who,
            secret,
            is_here: true,
            last_sent,
            settled: last_sent,
        });
        self.stamp(no, What::Join, (who, secret), sent, None, "");
    }

    fn part(&mut self, no: usize, who: usize, sent: i64, why: &str) {
        let room = self.rooms.entry(no).or_default();
        let at = room.members.iter().position(|m| m.who == who).unwrap();
        let Member {
            secret, last_sent, ..
        } = room.members.remove(at);
        room.remembered.insert(secret, last_sent);
        self.stamp(no, What::Leave, (who, secret), sent, None, why);
    }

    /// Stamps, keeps, logs and hands out.
    fn stamp(
        &mut self,
        no: usize,
        what: What,
        (who, secret): (usize, u64),
        sent: i64,
        to: Option<(usize, u64)>,
        why: &str,
    ) {
        let event = self.keep(no, what, (who, secret), sent, to);
        let mut line = Fields::new(what).number("L", event.time);
        if event.seq > 0 {
            line = line.number("seq", event.seq);
        }
        line = line
            .text("room", ROOMS[no])
            .text("who", NAMES[who])
            .number("sent", sent);
        if let Some((to, _)) = to {
            line = line.text("to", NAMES[to]);
        }
        if !why.is_empty() {
            line = line.text("why", why);
        }
        self.log(SERVER, line, "stamped");
        let room = self.rooms.entry(no).or_default();
        let members = room.members.iter().filter(|m| m.is_here);
        let sees = |m: &&Member| match what {
            What::Refused | What::Resume => m.secret == secret,
            _ => to.is_none_or(|(_, to)| m.secret == secret || m.secret == to),
        };
        for name in members.filter(sees).map(|m| m.who).collect::<Vec<_>>() {
            self.clients[name].down.push_back(event.clone());
            if self.tells_outboxes {
                let line = Fields::new(What::Deliver).number("of", event.time);
                let line = line.text("room", ROOMS[no]).number("seq", event.seq);
                let line = line.text("kind", kind(what)).text("by", NAMES[name]);
                self.log(SERVER, line, "put");
            }
        }
    }

    fn keep(
        &mut self,
        no: usize,
        what: What,
        (who, secret): (usize, u64),
        sent: i64,
        to: Option<(usize, u64)>,
    ) -> Event {
        let room = self.rooms.entry(no).or_default();
        room.clock = room.clock.max(sent) + 1;
        let is_for_all = to.is_none() && !matches!(what, What::Refused | What::Resume);
        room.seq += u64::from(is_for_all);
        let seq = if is_for_all { room.seq } else { 0 };
        let time = room.clock;
        let event = Event {
            what,
            time,
            seq,
            who,
            secret,
            sent,
            to,
            replayed: false,
        };
        if what != What::Resume {
            room.past.push(event.clone());
        }
        event
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

    fn away(&mut self, who: usize) {
        let (no, secret) = (self.clients[who].room, self.clients[who].secret);
        if let Some(at) = self.seat(no, who, secret) {
            self.rooms.entry(no).or_default().members[at].is_here = false;
            let line = Fields::new(What::Lost)
                .text("room", ROOMS[no])
                .text("who", NAMES[who]);
            self.log(SERVER, line.text("why", "broken"), "lost");
        }
    }

    fn expire(&mut self, who: usize) {
        for no in 0..ROOMS.len() {
            let Some(room) = self.rooms.get(&no) else {
                continue;
            };
            if room.members.iter().any(|m| m.who == who && !m.is_here) {
                self.part(no, who, 0, "expired");
            }
        }
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

    /// The server stops or is killed, and starts again.
    fn restart_server(&mut self) {
        let is_killed = self.random.one_in(2);
        for who in 0..NAMES.len() {
            let (no, secret) = (self.clients[who].room, self.clients[who].secret);
            // What a killed server kept and did not yet log or hand out.
            if is_killed
                && self.keeps
                && let Some(&Frame::Say {
                    sent,
                    to: None,
                    is_refused: false,
                }) = self.clients[who].up.front()
                && let Some(at) = self.seat(no, who, secret)
                && sent > self.rooms[&no].members[at].settled
            {
                self.keep(no, What::Message, (who, secret), sent, None);
                self.rooms.entry(no).or_default().members[at].last_sent = sent;
            }
            let client = &mut self.clients[who];
            if client.is_running && client.is_connected {
                client.is_connected = false;
                client.is_leaving = false;
                client.up.clear();
                client.down.clear();
                if client.has_heard {
                    self.log(who, Fields::new(What::Lost).text("why", "gone"), "lost");
                }
            }
        }
        if is_killed {
            // The disk did not keep the log's last lines.
            for _ in 0..self.random.below(6) {
                let last =
                    self.logs[SERVER].pop_if(|l| !l.contains(" START ") && !l.contains(" ROOM "));
                drop(last);
            }
        } else {
            self.log(SERVER, Fields::new(What::Stop), "stopped");
        }
        self.log(
            SERVER,
            Fields::new(What::Start).text("addr", "here"),
            "running",
        );
        if !self.keeps {
            self.rooms.clear();
        }
        let clocks: Vec<_> = self
            .rooms
            .iter()
            .map(|(no, room)| (*no, room.clock))
            .collect();
        for (no, clock) in clocks {
            let line = Fields::new(What::Room)
                .number("L", clock)
                .text("room", ROOMS[no]);
            self.log(SERVER, line, "goes on");
            let room = self.rooms.entry(no).or_default();
            room.members.iter_mut().for_each(|m| m.is_here = false);
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
