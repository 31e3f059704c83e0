use std::collections::HashMap;
use std::io::Write;

use chitchat::trace::line::{Line, What};

use super::Program;

/// Client processes that talk in bursts, and what each must have shown at the
/// end: everything that any of them said, once, in one order.
pub struct Talk {
    pub clients: Vec<Program>,
    bursts: usize,
    said: Vec<String>,
    /// By client: the server's words for what it refused.
    refused: Vec<Vec<String>>,
}

/// An event as a client shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub time: i64,
    pub sender: String,
    pub text: String,
}

/// What a client says as the `n`th line of a burst.
pub fn line(client: usize, burst: usize, n: usize) -> String {
    format!("client {client} burst {burst} line {n}.")
}

impl Talk {
    /// One client for each address, all in the room.
    pub fn start(addresses: &[&str], args: &[&str]) -> Self {
        let mut clients: Vec<Program> = Vec::new();
        for (n, address) in addresses.iter().enumerate() {
            let name = format!("Client{n}");
            let mut client = Program::client(&name, address, args);
            client.wait_for("joined");
            for other in &mut clients {
                other.wait_for(&format!("{name} joined"));
            }
            clients.push(client);
        }
        Self {
            bursts: 0,
            said: Vec::new(),
            refused: vec![Vec::new(); clients.len()],
            clients,
        }
    }

    /// Every client is fed so many lines while `meanwhile` goes on; it gets
    /// the clients and the burst's number.
    pub fn burst(&mut self, lines: usize, meanwhile: impl FnOnce(&mut [Program], usize)) {
        let burst = self.bursts;
        self.bursts += 1;
        let mut feeders = Vec::new();
        for (client, program) in self.clients.iter_mut().enumerate() {
            let mut input = program.input.take().expect("the input is open");
            let mut fed = Vec::new();
            for n in 0..lines {
                let said = line(client, burst, n);
                fed.push(said.clone());
                self.said.push(said);
                // A refusal takes a Lamport time too, and must not get lost.
                if n % 50 == 7 {
                    let chars = 129 + (burst * lines + n) / 50;
                    fed.push("x".repeat(chars));
                    let words = format!("Message too long ({chars} chars). Limit is 128.");
                    self.refused[client].push(words);
                }
            }
            feeders.push(std::thread::spawn(move || {
                for text in fed {
                    writeln!(input, "{text}").expect("it reads its input");
                }
                input
            }));
        }
        meanwhile(&mut self.clients, burst);
        for (program, feeder) in self.clients.iter_mut().zip(feeders) {
            program.input = Some(feeder.join().expect("the client takes it"));
        }
    }

    /// Waits until everybody has heard everything, ends the clients, and
    /// checks what they showed and logged. Returns what they showed.
    pub fn finish(self) -> Vec<Vec<Shown>> {
        self.finish_with_logs().0
    }

    /// As [`finish`](Self::finish), with each client's log.
    pub fn finish_with_logs(mut self) -> (Vec<Vec<Shown>>, Vec<Vec<String>>) {
        self.burst(1, |_, _| {});
        for client in 0..self.clients.len() {
            for program in &mut self.clients {
                program.expect_line(&line(client, self.bursts - 1, 0));
            }
        }
        let ended: Vec<_> = self.clients.into_iter().map(Program::end).collect();
        let mut records = Vec::new();
        for (client, (status, out, log)) in ended.iter().enumerate() {
            assert!(status.success(), "client {client}: {status} {log:#?}");
            let record = shown(out);
            let rises = record.windows(2).all(|pair| pair[0].time < pair[1].time);
            assert!(rises, "the times that client {client} shows rise");
            check_log(client, log);
            let mut times_shown: HashMap<&str, u32> = HashMap::new();
            for event in &record {
                *times_shown.entry(&event.text).or_default() += 1;
            }
            for text in self.said.iter().chain(&self.refused[client]) {
                let shown = times_shown.get(text.as_str()).copied().unwrap_or(0);
                assert_eq!(shown, 1, "how often client {client} shows «{text}»");
            }
            records.push(record);
        }
        one_order(&records);
        (records, ended.into_iter().map(|(_, _, log)| log).collect())
    }
}

/// Events out of the lines of a client's output.
pub fn shown(out: &[String]) -> Vec<Shown> {
    let parse = |line: &String| {
        let (time, rest) = line.strip_prefix("[Server @ L=")?.split_once("] ")?;
        let time = time.trim_end_matches(", earlier").parse().ok()?;
        let (sender, text) = rest.split_once(": ")?;
        Some(Shown {
            time,
            sender: sender.to_owned(),
            text: text.to_owned(),
        })
    };
    out.iter()
        .map(|line| parse(line).unwrap_or_else(|| panic!("{line}")))
        .collect()
}

/// From where all were there, what all may see is the same for all.
fn one_order(records: &[Vec<Shown>]) {
    let all_there = records.iter().map(|r| r[0].time).max().expect("some");
    let all_there_until = |r: &Vec<Shown>| r.iter().rposition(|e| e.text.ends_with(" line 0."));
    let common = |r: &Vec<Shown>| -> Vec<Shown> {
        let last = all_there_until(r).expect("everybody said something last");
        let seen_by_all = |e: &&Shown| e.time >= all_there && e.sender != "Server";
        r[..=last].iter().filter(seen_by_all).cloned().collect()
    };
    let first = common(&records[0]);
    for (client, record) in records.iter().enumerate() {
        let differs = first.iter().zip(common(record)).find(|(a, b)| *a != b);
        assert_eq!(differs, None, "the order that client {client} shows");
        assert_eq!(first.len(), common(record).len(), "client {client}");
    }
}

/// A client's log: its own times rise, and no number of the room is missing.
fn check_log(client: usize, log: &[String]) {
    let (mut latest, mut last_seq) = (-1, 0);
    for line in log.iter().filter_map(|line| Line::parse(line)) {
        if let Some(time) = line.number("L") {
            assert!(time > latest, "client {client} after L={latest}: {line:?}");
            latest = time;
        }
        let seq = line.number("seq").unwrap_or(0);
        if line.what == What::Deliver && seq > 0 {
            let dense = last_seq == 0 || seq == last_seq + 1;
            assert!(dense, "client {client} after number {last_seq}: {line:?}");
            last_seq = seq;
        }
    }
    assert!(last_seq > 0, "client {client} logs nothing");
}

/// The logs of one server after another on the same store, with one room: no
/// Lamport time was used twice.
pub fn server_times_rise(logs: &[Vec<String>]) {
    let mut latest = 0;
    for (run, log) in logs.iter().enumerate() {
        let mut parsed = log.iter().filter_map(|line| Line::parse(line));
        let first = parsed.next().expect("it logs something");
        assert_eq!(first.what, What::Start, "run {run} begins with {first:?}");
        for line in parsed {
            let Some(time) = line.number("L") else {
                continue;
            };
            let found = line.what == What::Room && time == latest.max(time);
            assert!(
                time > latest || found,
                "run {run} after L={latest}: {line:?}"
            );
            latest = time;
        }
    }
}
