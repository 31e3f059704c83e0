//! A crowd: as many clients as one likes, each of which says so much, with
//! several lines on their way at any time.

use std::collections::VecDeque;

use super::simulation::Random;
use chitchat::trace::line::{Fields, What, client_process};

struct Member {
    name: String,
    clock: i64,
    sends: VecDeque<(i64, &'static str)>,
    arrivals: VecDeque<(i64, u64, &'static str, usize, i64)>,
    log: String,
}

/// The logs of `clients` that say `messages` lines in all.
pub fn logs(clients: usize, messages: usize, seed: u64) -> Vec<(String, String)> {
    let mut random = Random(seed);
    let mut members: Vec<Member> = (0..clients).map(member).collect();
    let mut server = String::new();
    line(
        &mut server,
        "Server",
        Fields::new(What::Start).text("addr", "here"),
        "running",
    );
    let (mut clock, mut seq, mut said) = (0i64, 0u64, 0);
    let mut here: Vec<usize> = Vec::new();
    while said < messages
        || members
            .iter()
            .any(|m| !m.sends.is_empty() || !m.arrivals.is_empty())
    {
        let who = random.below(clients);
        // Now and then everybody reads what has come.
        let readers = if random.below(3) == 0 {
            0..clients
        } else {
            who..who + 1
        };
        for reader in readers {
            read(&mut members, reader, random.below(4));
        }
        if said < messages && here.len() == clients && random.below(2) == 0 {
            members[who].send("message");
            said += 1;
        } else if here.len() < clients && members[who].clock == 0 {
            members[who].send("join");
        }
        let Some((sent, kind)) = members[who].sends.pop_front() else {
            continue;
        };
        clock = clock.max(sent) + 1;
        seq += 1;
        if kind == "join" {
            here.push(who);
        }
        let what = if kind == "join" {
            What::Join
        } else {
            What::Message
        };
        let fields = Fields::new(what).number("L", clock).number("seq", seq);
        let fields = fields
            .text("room", "Chit Chat")
            .text("who", &members[who].name);
        let name = members[who].name.clone();
        let words = match kind {
            "join" => format!("JOIN: {name} (ID={who}) at L={clock}"),
            _ => format!("Message from {name}: what number {said} has to say (L={clock})"),
        };
        line(
            &mut server,
            "Server",
            fields.number("id", who as i64).number("sent", sent),
            &words,
        );
        for at in &here {
            members[*at]
                .arrivals
                .push_back((clock, seq, kind, who, sent));
        }
    }
    line(&mut server, "Server", Fields::new(What::Stop), "stopped");
    let mut logs = vec![("server.log".to_owned(), server)];
    logs.extend(
        members
            .into_iter()
            .map(|m| (format!("{}.log", m.name), m.log)),
    );
    logs
}

fn member(number: usize) -> Member {
    let name = format!("Client{:02}", number + 1);
    let mut member = Member {
        name,
        clock: 0,
        sends: VecDeque::new(),
        arrivals: VecDeque::new(),
        log: String::new(),
    };
    member.write(Fields::new(What::Start).number("L", 0), "starts");
    member
}

impl Member {
    fn write(&mut self, fields: Fields, words: &str) {
        line(&mut self.log, &client_process(&self.name), fields, words);
    }

    fn send(&mut self, kind: &'static str) {
        self.clock += 1;
        self.sends.push_back((self.clock, kind));
        let fields = Fields::new(What::Send)
            .number("L", self.clock)
            .text("kind", kind);
        self.write(fields.text("room", "Chit Chat"), "Sent it");
    }
}

fn read(members: &mut [Member], reader: usize, most: usize) {
    for _ in 0..most {
        let Some((of, seq, kind, who, sent)) = members[reader].arrivals.pop_front() else {
            return;
        };
        let sender = members[who].name.clone();
        let member = &mut members[reader];
        member.clock = member.clock.max(of) + 1;
        let fields = Fields::new(What::Deliver)
            .number("L", member.clock)
            .number("of", of);
        let fields = fields
            .text("room", "Chit Chat")
            .number("seq", seq)
            .text("kind", kind);
        let fields = fields
            .text("who", &sender)
            .number("id", who as i64)
            .number("sent", sent);
        let words = format!("[Server @ L={of}] {sender}: what somebody has to say");
        member.write(fields.number("replayed", 0), &words);
    }
}

fn line(out: &mut String, process: &str, fields: Fields, words: &str) {
    let fields = fields.words(format_args!("{words}"));
    out.push_str(&format!(
        "2026-01-02T03:04:05.678901Z INFO  [{process}] {fields}\n"
    ));
}
