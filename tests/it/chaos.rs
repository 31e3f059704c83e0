//! Three servers under load, killed at random together with their Redis: every
//! message that was acknowledged is there once, in one order, for everybody.

use std::fs;

use chitchat::chat::Kind;
use chitchat::rpc::{Dialler, Keepalive};
use chitchat::wire::WhoQuery;

use crate::support::talk::{Talk, line};
use crate::support::{DEADLINE, Peer, Program, Random, Redis, fixed_port};

const CLIENTS: usize = 5;
const SERVERS: usize = 3;
const ROUNDS: usize = 6;
const LINES: usize = 150; // a multiple of 50, as the words of refusals want it

/// Short, so that those who were killed are soon told of; long enough for a
/// client to come back.
const ARGS: [&str; 4] = ["--grace", "8s", "--lease", "1s"];

/// Servers that are killed and come back, and what they logged.
struct Cluster {
    redis: Redis,
    addresses: Vec<String>,
    servers: Vec<Option<Program>>,
    logs: Vec<(usize, Vec<String>)>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let redis = Redis::start()?;
        let addresses: Vec<String> = (0..SERVERS)
            .map(|_| format!("127.0.0.1:{}", fixed_port()))
            .collect();
        let start = |address: &String| Some(Program::server_with_redis(address, &redis, &ARGS));
        Some(Self {
            servers: addresses.iter().map(start).collect(),
            addresses,
            redis,
            logs: Vec::new(),
        })
    }

    fn kill(&mut self, at: usize) {
        let server = self.servers[at].take().expect("it runs");
        self.logs.push((at, server.kill()));
    }

    fn revive(&mut self, at: usize) {
        let server = Program::server_with_redis(&self.addresses[at], &self.redis, &ARGS);
        self.servers[at] = Some(server);
    }

    /// All addresses, beginning with one of them.
    fn list_from(&self, first: usize) -> String {
        let mut list = self.addresses.clone();
        list.rotate_left(first % SERVERS);
        list.join(",")
    }
}

/// Waits until nobody but an inspector is in the room.
fn wait_until_empty(address: &str) {
    let inspector = Peer::join(address, "Inspector", 99);
    let dialled = Dialler::new(Keepalive::default())
        .dial(address, DEADLINE)
        .expect("it is there");
    let who = WhoQuery {
        room: String::new(),
    };
    let found = dialled.who(&who).expect("an answer").participants;
    let mut here: Vec<String> = found.into_iter().map(|p| p.name).collect();
    here.retain(|name| name != "Inspector");
    while !here.is_empty() {
        let gone = inspector.until("the leaving of those who are gone", |e| {
            e.kind == Kind::Leave
        });
        let gone = gone.last().expect("it ends with one").sender.to_string();
        here.retain(|name| *name != gone);
    }
}

#[test]
fn servers_and_redis_killed_at_random_lose_nothing_and_repeat_nothing() {
    let mut random = Random::new();
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let lists: Vec<String> = (0..CLIENTS).map(|n| cluster.list_from(n)).collect();
    let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
    let mut talk = Talk::start(&lists, &["--reconnect", "5m"]);
    let mut victims = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("Victim{round}");
        let mut victim = Program::client(&name, &cluster.list_from(round), &[]);
        victim.wait_for(&format!("{name} joined"));
        talk.burst(LINES, |clients, burst| {
            let witness = random.below(CLIENTS as u64) as usize;
            let said = line(
                random.below(CLIENTS as u64) as usize,
                burst,
                random.below(LINES as u64) as usize,
            );
            clients[witness].expect_line(&said);
            let at = random.below(SERVERS as u64) as usize;
            match random.below(4) {
                0 => cluster.redis.restart(),
                1 => {
                    cluster.kill(at);
                    cluster.redis.restart();
                    cluster.revive(at);
                }
                2 => {
                    // one alone must do
                    cluster.kill(at);
                    cluster.kill((at + 1) % SERVERS);
                    cluster.revive(at);
                    cluster.revive((at + 1) % SERVERS);
                }
                _ => {
                    cluster.kill(at);
                    cluster.revive(at);
                }
            }
        });
        victims.push((name, victim.kill()));
    }
    let (records, client_logs) = talk.finish_with_logs();
    let messages = |n: usize| {
        let all = records[n].iter();
        all.filter(|e| e.text.starts_with("client ")).count()
    };
    assert_eq!(messages(0), CLIENTS * (ROUNDS * LINES + 1));
    wait_until_empty(&cluster.addresses[0]);

    for at in 0..SERVERS {
        let server = cluster.servers[at].take().expect("it runs");
        server.signal("-TERM");
        cluster.logs.push((at, server.end().2));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut args = vec!["check".to_owned()];
    let mut write = |name: String, lines: &[String]| {
        let path = folder.path().join(name);
        fs::write(&path, lines.join("\n") + "\n").expect("a file");
        args.push(path.display().to_string());
    };
    for (n, (at, log)) in cluster.logs.iter().enumerate() {
        write(format!("server{at}-{n}.log"), log);
    }
    for (n, log) in client_logs.iter().enumerate() {
        write(format!("Client{n}.log"), log);
    }
    for (name, log) in &victims {
        write(format!("{name}.log"), log);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (status, out, err) = Program::start(&args).end();
    assert!(status.success(), "{}", [out, err].concat().join("\n"));
}
