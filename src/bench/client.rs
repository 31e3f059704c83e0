//! One client of the load: what it does with what it hears, on a poll thread.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use hdrhistogram::Histogram;

use super::mark;
use super::plan::{Pace, Plan};
use super::witness::{Faults, Witness};
use crate::chat::{Kind, LamportClock};
use crate::rpc::{CallError, Outgoing};
use crate::wire::{ClientFrame, Join, Request, Sighting};

/// The latencies that are told apart: from a microsecond to ten minutes, in
/// nanoseconds. Longer ones count as ten minutes.
const LATENCIES: (u64, u64) = (1_000, 600_000_000_000);

/// What all clients of a run share.
pub(super) struct Run {
    pub plan: Plan,
    /// The id of client 0; the others follow.
    base_id: i32,
    began: Instant,
    /// When measuring began, in nanoseconds of this run.
    measured_from: AtomicU64,
    /// Clients that were told of their own JOIN.
    pub joined: AtomicUsize,
    /// Different messages of the load, over all clients.
    pub delivered: AtomicU64,
    /// When the last of them came, in nanoseconds of this run.
    last_delivery: AtomicU64,
    /// Set once clients may end.
    pub leaving: AtomicBool,
    latencies: Mutex<Histogram<u64>>,
    ended: Sender<Report>,
}

/// What a client can tell at its end.
pub(super) struct Report {
    pub client: usize,
    pub faults: Faults,
    /// How many different messages came from each sender of the room.
    pub counts: Vec<u32>,
    /// See [`Witness::order`].
    pub order: u64,
    /// It ended before it was to.
    pub early: bool,
    pub end: Result<(), CallError>,
}

impl Run {
    pub fn new(plan: Plan, base_id: i32, ended: Sender<Report>) -> Self {
        let (low, high) = LATENCIES;
        Self {
            plan,
            base_id,
            began: Instant::now(),
            measured_from: AtomicU64::new(0),
            joined: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            last_delivery: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            latencies: Mutex::new(
                Histogram::new_with_bounds(low, high, 3).expect("the bounds are in order"),
            ),
            ended,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// From now on the messages after the warm-up are measured.
    pub fn begin_to_measure(&self) {
        self.measured_from.store(self.now(), Ordering::SeqCst);
    }

    /// From the beginning of measuring to the last delivery.
    pub fn measured_time(&self) -> Duration {
        let from = self.measured_from.load(Ordering::SeqCst);
        let to = self.last_delivery.load(Ordering::SeqCst);
        Duration::from_nanos(to.saturating_sub(from))
    }

    /// When an open loop is to send the next message of a sender.
    pub fn due(&self, sender: usize, sent: u32, rate: f64) -> Instant {
        self.began + Duration::from_nanos(self.due_ns(sender, sent, rate))
    }

    /// When an open loop was to send a message, in nanoseconds of this run.
    /// The senders take turns.
    fn due_ns(&self, sender: usize, number: u32, rate: f64) -> u64 {
        let turn = f64::from(number.saturating_sub(self.plan.warmup));
        let before = turn * self.plan.senders as f64 + sender as f64;
        self.measured_from.load(Ordering::Relaxed) + (before / rate * 1e9) as u64
    }

    /// The time from each measured message's send to its sender's own echo.
    pub fn latencies(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's way to speak.
#[derive(Clone)]
pub(super) struct Voice {
    client: usize,
    id: i32,
    name: Arc<str>,
    outgoing: Outgoing,
    speech: Arc<Mutex<Speech>>,
}

struct Speech {
    clock: LamportClock,
    /// The number of the next message.
    next: u32,
    /// The number at which to stop.
    limit: u32,
    /// When the last messages were sent, in nanoseconds of the run: as many
    /// as may be on their way. Empty for a client that sends nothing.
    sent_at: Vec<u64>,
}

impl Voice {
    pub fn new(run: &Run, client: usize, tag: u32, outgoing: Outgoing) -> Self {
        let sends = client < run.plan.senders;
        let ring = if sends { run.plan.window() as usize } else { 0 };
        Self {
            client,
            id: run.base_id + client as i32,
            name: format!("bench-{tag:06x}-{client}").into(),
            outgoing,
            speech: Arc::new(Mutex::new(Speech {
                clock: LamportClock::default(),
                next: 0,
                limit: 0,
                sent_at: vec![0; ring],
            })),
        }
    }

    fn speech(&self) -> MutexGuard<'_, Speech> {
        self.speech.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame(&self, requests: Vec<Request>) -> ClientFrame {
        ClientFrame {
            id: self.id,
            name: self.name.clone(),
            requests,
        }
    }

    pub fn join(&self, room: String, batches: bool) {
        let sent = self.speech().clock.tick();
        let join = Join {
            id: self.id,
            name: self.name.to_string(),
            sent,
            room,
            batches,
            ..Join::default()
        };
        self.outgoing
            .send(self.frame(vec![Request::Join(Box::new(join))]));
    }

    pub fn leave(&self) {
        let sent = self.speech().clock.tick();
        self.outgoing
            .send(self.frame(vec![Request::Leave { sent }]));
        self.outgoing.close();
    }

    pub fn cancel(&self) {
        self.outgoing.cancel();
    }

    /// Sends up to the message with this number, and no further.
    pub fn set_limit(&self, limit: u32) {
        self.speech().limit = limit;
    }

    /// How many messages it has sent.
    pub fn sent(&self) -> u32 {
        self.speech().next
    }

    /// Sends so many messages, or fewer if they reach the limit.
    pub fn say(&self, run: &Run, count: u32) {
        self.say_as(&mut self.speech(), run, run.now(), count);
    }

    /// Under the lock of the speech, so that the numbers go out in order.
    fn say_as(&self, speech: &mut Speech, run: &Run, now: u64, count: u32) {
        let last = speech.next.saturating_add(count).min(speech.limit);
        let mut ready = Vec::new();
        while speech.next < last {
            let number = speech.next;
            let slot = number as usize % speech.sent_at.len();
            speech.sent_at[slot] = now;
            speech.next += 1;
            ready.push(Request::Say {
                text: mark::text(number, run.plan.text_bytes),
                to: String::new(),
                sent: speech.clock.tick(),
            });
            if ready.len() == run.plan.bundle || speech.next == last {
                self.outgoing.send(self.frame(std::mem::take(&mut ready)));
            }
        }
    }
}

/// A client's ear, which its poll thread owns.
pub(super) struct Ear {
    run: Arc<Run>,
    voice: Voice,
    /// `None`: it only stays.
    room: Option<usize>,
    has_joined: bool,
    witness: Witness,
    /// Its own messages in the frame at hand; kept for its memory.
    echoes: Vec<u32>,
}

impl Ear {
    pub fn new(run: Arc<Run>, voice: Voice) -> Self {
        let client = voice.client;
        let room = (client < run.plan.active()).then(|| run.plan.room_of(client));
        let senders = room.map_or(0, |room| run.plan.senders_in(room));
        Self {
            run,
            voice,
            room,
            has_joined: false,
            witness: Witness::new(senders),
            echoes: Vec::new(),
        }
    }

    pub fn hear(&mut self, news: Result<Option<Vec<Sighting>>, CallError>) {
        match news {
            Ok(Some(seen)) => self.take(&seen),
            Ok(None) => self.end(Ok(())),
            Err(why) => self.end(Err(why)),
        }
    }

    fn take(&mut self, frame: &[Sighting]) {
        let now = self.run.now();
        let mut fresh = 0;
        for seen in frame {
            let message = self.message(seen);
            if self.witness.take(seen, message) {
                fresh += 1;
                if let Some((_, number)) = message
                    && seen.sender_id == self.voice.id
                {
                    self.echoes.push(number);
                }
            }
            if seen.kind == Kind::Join && seen.sender_id == self.voice.id && !self.has_joined {
                self.has_joined = true;
                self.run.joined.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.answer(frame, now);
        if fresh > 0 {
            self.run.last_delivery.fetch_max(now, Ordering::SeqCst);
            self.run.delivered.fetch_add(fresh, Ordering::SeqCst);
        }
    }

    /// Which message of the load this is: its sender's place in the room and
    /// its number. Others may use the server too; what they say is passed over.
    fn message(&mut self, seen: &Sighting) -> Option<(usize, u32)> {
        let plan = &self.run.plan;
        let sender = usize::try_from(seen.sender_id.wrapping_sub(self.run.base_id)).ok()?;
        if seen.kind != Kind::Message || sender >= plan.senders {
            return None;
        }
        let number = mark::number(&seen.head)?;
        if self.room != Some(plan.room_of(sender)) {
            self.witness.strayed();
            return None;
        }
        Some((plan.place_in_room(sender), number))
    }

    /// Moves the clock, measures the echoes and, in a closed loop, sends a
    /// message for each.
    fn answer(&mut self, frame: &[Sighting], now: u64) {
        let run = &self.run;
        let mut speech = self.voice.speech();
        for seen in frame {
            speech.clock.witness(seen.time);
        }
        if self.echoes.is_empty() {
            return;
        }
        let mut latencies = run.latencies();
        let mut more = 0;
        for number in self.echoes.drain(..) {
            let warms_up = number < run.plan.warmup;
            let sent_at = match run.plan.pace {
                Pace::Rate(rate) => run.due_ns(self.voice.client, number, rate),
                Pace::Window(_) => speech.sent_at[number as usize % speech.sent_at.len()],
            };
            if !warms_up {
                latencies.saturating_record(now.saturating_sub(sent_at));
            }
            if warms_up || matches!(run.plan.pace, Pace::Window(_)) {
                more += 1;
            }
        }
        drop(latencies);
        self.voice.say_as(&mut speech, run, now, more);
    }

    fn end(&self, end: Result<(), CallError>) {
        let report = Report {
            client: self.voice.client,
            faults: self.witness.faults(),
            counts: self.witness.counts().collect(),
            order: self.witness.order(),
            early: !self.run.leaving.load(Ordering::SeqCst),
            end,
        };
        // A run that was given up does not wait for it.
        let _ = self.run.ended.send(report);
    }
}
