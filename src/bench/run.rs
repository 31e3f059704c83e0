//! A run from its first connection to its verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

use super::client::{Ear, Report, Run, Voice};
use super::figures::{Figures, Load};
use super::plan::{Length, Pace, Plan};
use super::process;
use super::verdict::Verdict;
use crate::rpc::{Access, CallError, Dialler, Keepalive, outgoing};

/// How long a connection may take.
const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// How often to look whether everything is there. It does not enter into the
/// figures: each client knows when its last delivery came.
const GLANCE: Duration = Duration::from_millis(2);

/// How often to tell how far it is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How long a call may take to end once it is cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// Files that this process needs beside one for each connection.
const OTHER_FILES: u64 = 64;

/// Between what is not measured, a burst, and what is: a server may wait for more
/// of a burst when the first message after it comes.
const REST: Duration = Duration::from_millis(100);

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Target {
    /// `HOST:PORT` or `unix:PATH`: at least one. To several, servers that share
    /// their rooms, the clients are dealt in turn.
    pub addresses: Vec<String>,
    /// What to show to get in.
    pub access: Access,
    /// Its process, if it is on this machine.
    pub pid: Option<u32>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The server cannot be reached.
    #[error(transparent)]
    Unreachable(CallError),
    /// A client was turned away, or its JOIN was not announced to it.
    #[error("client {client} of {clients} could not join: {why}")]
    NotJoined {
        /// Which client, counted from 1.
        client: usize,
        /// How many there are to be.
        clients: usize,
        /// What the server said.
        why: String,
    },
    /// The system does not let this process open enough connections.
    #[error(
        "{clients} clients need {needed} open files and the limit is {limit}; raise it \
         (ulimit -n), or use fewer clients"
    )]
    Files {
        /// Clients of the plan.
        clients: usize,
        /// Files for them.
        needed: u64,
        /// What the system allows.
        limit: u64,
    },
    /// The limit of open files cannot be changed.
    #[error("cannot change the limit of open files")]
    Limit(#[source] std::io::Error),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What it does.
    pub phase: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// Of how much, if that is known.
    pub of: Option<u64>,
}

/// Raises the limit of open files as far as a plan needs it; a server process
/// that is started afterwards inherits it.
///
/// # Errors
/// [`BenchError::Files`], [`BenchError::Limit`].
pub fn prepare(plan: &Plan) -> Result<(), BenchError> {
    let needed = plan.clients() as u64 + OTHER_FILES;
    let limit = process::allow_open_files(needed).map_err(BenchError::Limit)?;
    if limit < needed {
        return Err(BenchError::Files {
            clients: plan.clients(),
            needed,
            limit,
        });
    }
    Ok(())
}

/// Puts the load on the server and returns what came of it. `stop` interrupts
/// it; `tell` is told how far it is. To be called on the main thread, whose
/// timer it makes precise until it returns.
///
/// # Errors
/// Why it did not come to a verdict.
pub fn run(
    plan: &Plan,
    target: &Target,
    stop: &Receiver<i32>,
    tell: &mut dyn FnMut(Progress),
) -> Result<Figures, BenchError> {
    prepare(plan)?;
    let _prompt = process::Prompt::begin();
    let (ended, reports) = unbounded();
    let base_id = 1 + (random() % (1 << 30)) as i32;
    let mut director = Director {
        run: Arc::new(Run::new(plan.clone(), base_id, ended)),
        tag: random() % (1 << 24),
        dialler: Dialler::with_poll_threads(
            plan.threads,
            Keepalive::default(),
            target.access.clone(),
        ),
        voices: Vec::with_capacity(plan.clients()),
        reports,
        ended: Vec::new(),
        stop,
        tell,
        told: Instant::now(),
    };
    director.perform(target)
}

/// Not for secrets: two loads at once shall not use the same names.
fn random() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_le_bytes(bytes),
        Err(_) => std::process::id(),
    }
}

struct Director<'a> {
    run: Arc<Run>,
    tag: u32,
    dialler: Dialler,
    voices: Vec<Voice>,
    reports: Receiver<Report>,
    ended: Vec<Report>,
    stop: &'a Receiver<i32>,
    tell: &'a mut dyn FnMut(Progress),
    told: Instant,
}

impl Director<'_> {
    fn perform(&mut self, target: &Target) -> Result<Figures, BenchError> {
        let plan = self.run.plan.clone();
        let memory = || target.pid.and_then(process::memory);
        let cpu = |pid: Option<u32>| pid.and_then(process::cpu_time);
        self.gather(target, plan.active())?;
        let before_idle = memory();
        self.gather(target, plan.clients())?;
        let with_idle = memory();
        let warm = self.warm_up()?;

        let me = Some(std::process::id());
        let (cpu_before, own_before) = (cpu(target.pid), cpu(me));
        if warm {
            self.measure()?;
        }
        let (cpu_after, own_after) = (cpu(target.pid), cpu(me));
        let memory_after = memory();
        let used = |from: Option<Duration>, to: Option<Duration>| to?.checked_sub(from?);
        // What was given up may come until the streams have ended.
        let unended = self.part()?;
        let load = Load {
            published: self.published(),
            delivered: self.delivered().saturating_sub(self.warmup_deliveries()),
            time: self.run.measured_time(),
            server_cpu: used(cpu_before, cpu_after),
            own_cpu: used(own_before, own_after),
            peak_memory: memory_after.map(|m| m.peak),
            idle_memory: before_idle
                .zip(with_idle)
                .map(|(before, after)| after.now.saturating_sub(before.now)),
        };
        let sent: Vec<u32> = self.senders().map(Voice::sent).collect();
        let verdict = Verdict::of(&plan, &sent, &self.ended, unended);
        Ok(Figures::of(&plan, load, &self.run.latencies(), verdict))
    }

    /// Lets clients join until there are so many.
    fn gather(&mut self, target: &Target, clients: usize) -> Result<(), BenchError> {
        for client in self.voices.len()..clients {
            let dialled = self
                .dialler
                .dial(
                    &target.addresses[client % target.addresses.len()],
                    DIAL_PATIENCE,
                )
                .map_err(BenchError::Unreachable)?;
            let (outgoing, queue) = outgoing();
            let voice = Voice::new(&self.run, client, self.tag, outgoing);
            let mut ear = Ear::new(self.run.clone(), voice.clone());
            dialled
                .attend(queue, move |news| ear.hear(news))
                .map_err(BenchError::Unreachable)?;
            voice.join(self.room(client), self.run.plan.batches);
            self.voices.push(voice);
            self.glance(self.stop.try_recv().is_ok(), "joining", client as u64)?;
        }
        let joined = |d: &Self| d.run.joined.load(Ordering::SeqCst) as u64;
        self.wait("joining", Some(clients as u64), joined)?;
        let turned_away = self.ended.first();
        if turned_away.is_none() && joined(self) == clients as u64 {
            return Ok(());
        }
        let (client, why) = match turned_away {
            None => (joined(self) as usize, "it is not told that it has".into()),
            Some(report) => (report.client, said(&report.end)),
        };
        Err(BenchError::NotJoined {
            client: client + 1,
            clients: self.run.plan.clients(),
            why,
        })
    }

    fn room(&self, client: usize) -> String {
        let plan = &self.run.plan;
        match client.checked_sub(plan.active()) {
            None => format!("bench-{}", plan.room_of(client)),
            Some(idle) => format!("bench-idle-{}", idle / plan.idle_room),
        }
    }

    /// Sends what is not measured. Returns whether all of it came.
    fn warm_up(&mut self) -> Result<bool, BenchError> {
        let plan = self.run.plan.clone();
        for voice in self.senders() {
            voice.set_limit(plan.warmup);
            voice.say(&self.run, plan.window());
        }
        let expected = self.warmup_deliveries();
        self.wait("warming up", Some(expected), Self::delivered)?;
        std::thread::sleep(REST);
        Ok(self.delivered() == expected)
    }

    /// Sends what is measured, and waits until it came or nothing comes.
    fn measure(&mut self) -> Result<(), BenchError> {
        let plan = self.run.plan.clone();
        self.run.begin_to_measure();
        let limit = match plan.length {
            Length::Messages(messages) => plan.warmup.saturating_add(messages),
            Length::Time(_) => u32::MAX,
        };
        self.senders().for_each(|voice| voice.set_limit(limit));
        match plan.pace {
            Pace::Rate(rate) => self.send_at(rate)?,
            Pace::Window(window) => {
                for voice in self.senders() {
                    voice.say(&self.run, window);
                }
                if let Length::Time(time) = plan.length {
                    self.wait_for(time)?;
                }
            }
        }
        if let Length::Time(_) = plan.length {
            self.senders().for_each(|voice| voice.set_limit(0));
        }
        let expected = match (plan.pace, plan.length) {
            // They send on while they are heard.
            (Pace::Window(_), Length::Messages(_)) => self.deliveries_of(|_| limit),
            _ => self.deliveries_of(Voice::sent),
        };
        self.wait("measuring", Some(expected), Self::delivered)
    }

    /// Sends in an open loop: at its time, whatever comes back.
    fn send_at(&mut self, rate: f64) -> Result<(), BenchError> {
        let plan = self.run.plan.clone();
        let end = match plan.length {
            Length::Messages(_) => None,
            Length::Time(time) => self.run.due(0, plan.warmup, rate).checked_add(time),
        };
        loop {
            for sender in 0..plan.senders {
                let sent = self.voices[sender].sent();
                let is_last = matches!(plan.length, Length::Messages(m) if sent - plan.warmup == m);
                let due = self.run.due(sender, sent, rate);
                if is_last || end.is_some_and(|end| due >= end) {
                    return Ok(());
                }
                // Also what looks for a signal.
                let signal = self.stop.recv_deadline(due);
                self.voices[sender].say(&self.run, 1);
                self.glance(signal.is_ok(), "measuring", self.delivered())?;
            }
        }
    }

    /// Lets every client leave, and waits for what it has to tell. What was
    /// delivered twice comes before the end of a stream. Returns how many
    /// streams did not end by themselves.
    fn part(&mut self) -> Result<u64, BenchError> {
        self.run.leaving.store(true, Ordering::SeqCst);
        self.voices.iter().for_each(Voice::leave);
        let clients = self.voices.len() as u64;
        let ended = |d: &Self| d.ended.len() as u64;
        self.wait("leaving", Some(clients), ended)?;
        let unended = clients - ended(self);
        if unended > 0 {
            self.voices.iter().for_each(Voice::cancel);
            let deadline = Instant::now() + CANCEL_PATIENCE;
            while ended(self) < clients
                && let Ok(report) = self.reports.recv_deadline(deadline)
            {
                self.ended.push(report);
            }
        }
        Ok(unended)
    }

    /// Waits until `count` has reached `of`, or has not risen for as long as
    /// the plan has patience, or every client has ended.
    fn wait(
        &mut self,
        phase: &'static str,
        of: Option<u64>,
        count: impl Fn(&Self) -> u64,
    ) -> Result<(), BenchError> {
        let patience = self.run.plan.patience;
        let (mut last, mut rose) = (count(self), Instant::now());
        loop {
            self.ended.extend(self.reports.try_iter());
            let now = count(self);
            if of.is_some_and(|of| now >= of) || self.ended.len() == self.voices.len() {
                return Ok(());
            }
            if now > last {
                (last, rose) = (now, Instant::now());
            }
            // Nobody joins any more where one was turned away.
            let turned_away = phase == "joining" && !self.ended.is_empty();
            if turned_away || rose.elapsed() > patience {
                return Ok(());
            }
            let signal = self.stop.recv_timeout(GLANCE);
            self.glance_at(signal, phase, now, of)?;
        }
    }

    /// Lets a closed loop run for so long.
    fn wait_for(&mut self, time: Duration) -> Result<(), BenchError> {
        let deadline = Instant::now() + time;
        loop {
            let next = deadline.min(Instant::now() + TELL_EVERY);
            let signal = self.stop.recv_deadline(next);
            self.glance(signal.is_ok(), "measuring", self.delivered())?;
            if Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    fn glance_at(
        &mut self,
        signal: Result<i32, RecvTimeoutError>,
        phase: &'static str,
        done: u64,
        of: Option<u64>,
    ) -> Result<(), BenchError> {
        if signal.is_ok() {
            return Err(BenchError::Interrupted);
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            (self.tell)(Progress { phase, done, of });
        }
        Ok(())
    }

    fn glance(
        &mut self,
        interrupted: bool,
        phase: &'static str,
        done: u64,
    ) -> Result<(), BenchError> {
        let signal = match interrupted {
            true => Ok(0),
            false => Err(RecvTimeoutError::Timeout),
        };
        self.glance_at(signal, phase, done, None)
    }

    fn senders(&self) -> impl Iterator<Item = &Voice> {
        self.voices.iter().take(self.run.plan.senders)
    }

    fn delivered(&self) -> u64 {
        self.run.delivered.load(Ordering::SeqCst)
    }

    /// What was sent after the warm-up.
    fn published(&self) -> u64 {
        let warmup = self.run.plan.warmup;
        self.senders()
            .map(|voice| u64::from(voice.sent().saturating_sub(warmup)))
            .sum()
    }

    fn warmup_deliveries(&self) -> u64 {
        self.deliveries_of(|_| self.run.plan.warmup)
    }

    /// The deliveries that there are if each sender has sent so many messages.
    fn deliveries_of(&self, sent: impl Fn(&Voice) -> u32) -> u64 {
        let plan = &self.run.plan;
        let mut members = vec![0; plan.rooms];
        (0..plan.active()).for_each(|client| members[plan.room_of(client)] += 1);
        self.senders()
            .enumerate()
            .map(|(sender, voice)| u64::from(sent(voice)) * members[plan.room_of(sender)])
            .sum()
    }
}

/// How a stream ended, in words.
pub(super) fn said(end: &Result<(), CallError>) -> String {
    match end {
        Ok(()) => "the server ended the stream".to_owned(),
        Err(CallError::Status { code, message }) => format!("{message} (gRPC status {})", code.0),
        Err(why) => why.to_string(),
    }
}
