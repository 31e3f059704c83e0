//! The way to the server: dialled, lost, dialled again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::conversation::{Conversation, Heard, SayError};
use super::process::Process;
use super::{End, Happening, Settings, report};
use crate::chat::{Kind, Name};
use crate::rpc::{CallError, Code, Dialled, FrameWriter};
use crate::wire::{ClientFrame, Join, Received, Request};

/// The first and the longest wait between two tries. Each is twice the one
/// before, and then anywhere between half and all of it: a thousand clients
/// that lost the same server must not come back in step.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

pub(super) struct Link {
    settings: Settings,
    secret: Vec<u8>,
    room: String,
    process: Arc<Process>,
    conversation: Mutex<Conversation>,
    /// Something about the conversation or the connection has changed.
    changed: Condvar,
    over: AtomicBool,
}

/// How one connection went.
enum Outcome {
    Left,
    Unreachable(CallError),
    Lost(CallError),
    Refused(CallError),
    PastGone,
}

impl Link {
    pub(super) fn new(settings: Settings, secret: Vec<u8>, process: Arc<Process>) -> Self {
        let room =
            Name::parse_room(&settings.room).map_or(settings.room.clone(), |n| n.to_string());
        Self {
            process,
            settings,
            secret,
            room,
            conversation: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        }
    }

    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn say(&self, text: &str, to: &str) -> Result<i64, SayError> {
        let mut conversation = self.conversation();
        while conversation.is_full() && !conversation.is_leaving() {
            conversation = self
                .changed
                .wait(conversation)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut clock = self.process.clock();
        let sent = conversation.say(text, to, &mut clock)?;
        report::send(sent, Kind::Message, &self.room, to, text);
        self.changed.notify_all();
        Ok(sent)
    }

    pub(super) fn leave(&self) {
        self.conversation().leave();
        self.changed.notify_all();
    }

    pub(super) fn waiting(&self) -> usize {
        self.conversation().pending()
    }

    /// A connection besides the present one, to the first server that answers.
    pub(super) fn dial(&self) -> Result<Dialled, CallError> {
        let settings = &self.settings;
        (self.process.dialler()).dial_any(&settings.servers, settings.dial_patience)
    }

    pub(super) fn process(&self) -> Arc<Process> {
        self.process.clone()
    }

    /// It begins, the first of its process or not: before any thread can log
    /// that it sends.
    pub(super) fn begin(&self, is_first: bool) {
        self.process.begins();
        if is_first {
            report::start(
                &self.settings.name,
                &self.room,
                &self.settings.servers.join(","),
            );
        }
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.process.ends();
        self.over.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn wait_for_end(&self, patience: Duration) {
        let go_on = |_: &mut Conversation| !self.is_over();
        let waited = self
            .changed
            .wait_timeout_while(self.conversation(), patience, go_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The reader thread: one connection after another until the end.
    pub(super) fn run(&self, tell: &Sender<Happening>) {
        let end = self.connect_until_the_end(tell);
        self.conversation().leave(); // whoever waits to say something waits in vain
        self.changed.notify_all();
        self.end();
        drop(self.conversation()); // whoever waits for the end is before its wait or in it
        self.changed.notify_all();
        let _ = tell.send(Happening::Ended(end));
    }

    fn connect_until_the_end(&self, tell: &Sender<Happening>) -> End {
        let mut servers = self.settings.servers.iter().cycle();
        let mut lost_at: Option<Instant> = None;
        let mut tries = 0;
        loop {
            let Some(server) = servers.next() else {
                let why = CallError::Unreachable {
                    address: String::new(),
                    why: "no server is named".to_owned(),
                };
                return End::Unreachable { why, unsent: 0 };
            };
            let is_new = self.conversation().is_new();
            // Whoever was never in is told by the last server that is asked.
            let is_last = is_new && tries + 1 >= self.settings.servers.len();
            let mut joined_now = false;
            let outcome = self.connect(server, tell, &mut joined_now);
            let unsent = self.conversation().pending();
            let why = match outcome {
                Outcome::Left => return End::Left,
                Outcome::Refused(why) => return End::Refused { why, unsent },
                Outcome::PastGone => {
                    self.conversation().forget_position();
                    let _ = tell.send(Happening::PastGone);
                    continue;
                }
                Outcome::Unreachable(why) if is_last => return End::Unreachable { why, unsent },
                Outcome::Lost(why) if is_last && !joined_now && is_full(&why) => {
                    return End::Refused { why, unsent };
                }
                Outcome::Unreachable(why) | Outcome::Lost(why) => why,
            };
            if joined_now {
                (lost_at, tries) = (None, 0);
                report::lost(&self.room, &why.to_string());
            }
            // Whoever was never in has not left: all servers are asked, and what
            // the last one says stands.
            let is_out = is_new && !joined_now;
            let since = *lost_at.get_or_insert_with(Instant::now);
            if !is_out && self.conversation().is_done() {
                return End::Left;
            }
            let is_given_up = || is_out && is_last && self.conversation().is_done();
            let left = self.settings.reconnect.saturating_sub(since.elapsed());
            if left.is_zero() || is_given_up() {
                return End::Gone { why, unsent };
            }
            let retry_in = wait_before(tries).min(left);
            tries += 1;
            let lost = Happening::Lost {
                why: why.clone(),
                retry_in,
            };
            let _ = tell.send(lost);
            self.pause(retry_in);
            // Whoever was in tries once more, to say goodbye.
            if is_given_up() {
                return End::Gone { why, unsent };
            }
        }
    }

    /// Waits, unless it is to leave and has nothing left to say.
    fn pause(&self, wait: Duration) {
        let go_on = |c: &mut Conversation| !c.is_done();
        let waited = self
            .changed
            .wait_timeout_while(self.conversation(), wait, go_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// One connection, from dialling to its end.
    fn connect(&self, server: &str, tell: &Sender<Happening>, joined: &mut bool) -> Outcome {
        let dialled = match self
            .process
            .dialler()
            .dial(server, self.settings.dial_patience)
        {
            Ok(dialled) => dialled,
            Err(why) => return Outcome::Unreachable(why),
        };
        let (mut writer, mut reader) = match dialled.chat() {
            Ok(halves) => halves,
            Err(why) => return Outcome::Lost(why),
        };
        let was_in = self.conversation().has_joined();
        if let Err(why) = writer.send(self.frame(vec![self.join_request()])) {
            log::debug!("the JOIN did not go out: {why}"); // the reader knows why
        }
        let alive = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let alive = &alive;
            let spawned = std::thread::Builder::new()
                .name("writer".to_owned())
                .spawn_scoped(scope, move || self.write(writer, alive));
            if let Err(why) = spawned {
                log::error!("cannot start a writer thread: {why}");
            }
            let end = loop {
                match reader.recv() {
                    Ok(Some(events)) => {
                        if self.hear(events, was_in, joined, tell).is_err() {
                            break Err(CallError::Status {
                                code: Code::INTERNAL,
                                message: "the server sent a time that no Lamport clock has"
                                    .to_owned(),
                            });
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(why) => break Err(why),
                }
            };
            drop(reader); // cancels the call, if it is not over: the writer then wakes
            alive.store(false, Ordering::Release);
            drop(self.conversation()); // the writer is before its wait or in it, not between
            self.changed.notify_all();
            self.outcome(end, was_in)
        })
    }

    fn outcome(&self, end: Result<(), CallError>, was_in: bool) -> Outcome {
        let conversation = self.conversation();
        match end {
            // What came before the goodbye may be lost with the connection.
            Err(why) if conversation.has_left() && conversation.is_numbered() => {
                report::lost(&self.room, &why.to_string());
                Outcome::Left
            }
            // However the server answers a goodbye: the original's answer is
            // UNKNOWN «EOF».
            _ if conversation.has_left() => Outcome::Left,
            Ok(()) => Outcome::Lost(CallError::Lost),
            Err(CallError::Status {
                code: Code::OUT_OF_RANGE,
                ..
            }) if was_in => Outcome::PastGone,
            Err(why) if is_final(&why) => Outcome::Refused(why),
            Err(why) => Outcome::Lost(why),
        }
    }

    fn frame(&self, requests: Vec<Request>) -> ClientFrame {
        ClientFrame {
            id: self.settings.id,
            name: self.settings.name.to_shared(),
            requests,
        }
    }

    fn join_request(&self) -> Request {
        let mut conversation = self.conversation();
        let mut clock = self.process.clock();
        let (sent, past) = conversation.begin(self.settings.past, &mut clock);
        report::join(sent, &self.room, past);
        Request::Join(Box::new(Join {
            id: self.settings.id,
            name: self.settings.name.to_string(),
            sent,
            room: self.settings.room.clone(),
            past,
            secret: self.secret.clone(),
            password: self.settings.access.password.clone(),
            batches: true,
        }))
    }

    /// The writer thread of one connection: sends what is said, and the
    /// goodbye when everything has come back.
    fn write(&self, mut writer: FrameWriter, alive: &AtomicBool) {
        let is_alive = || alive.load(Ordering::Acquire);
        loop {
            let mut conversation = self.conversation();
            while is_alive() && !conversation.may_send() && !conversation.may_leave() {
                conversation = self
                    .changed
                    .wait(conversation)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !is_alive() {
                return;
            }
            if conversation.may_leave() {
                let mut clock = self.process.clock();
                let sent = conversation.goodbye(&mut clock);
                report::send(sent, Kind::Leave, &self.room, "", "");
                drop((clock, conversation));
                if writer
                    .send(self.frame(vec![Request::Leave { sent }]))
                    .is_ok()
                {
                    writer.close();
                }
                self.wait_until_over(&is_alive); // dropping the writer would cancel the call
                return;
            }
            let requests = conversation.next_out();
            drop(conversation);
            if writer.send(self.frame(requests)).is_err() {
                // The reader knows why, or is about to be told: dropping the
                // writer now would cancel the call before that.
                self.wait_until_over(&is_alive);
                return;
            }
        }
    }

    fn wait_until_over(&self, is_alive: &dyn Fn() -> bool) {
        let mut conversation = self.conversation();
        while is_alive() {
            conversation = self
                .changed
                .wait(conversation)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes events, in order. An error: one of them is impossible.
    fn hear(
        &self,
        events: Vec<Received>,
        was_in: bool,
        joined: &mut bool,
        tell: &Sender<Happening>,
    ) -> Result<(), ()> {
        let mut happenings = Vec::with_capacity(events.len());
        {
            let mut conversation = self.conversation();
            for received in events {
                let event = &received.event;
                let mine = event.sender.as_ref() == self.settings.name.as_str()
                    && (event.sender_id == self.settings.id || self.settings.id == 0);
                let back = was_in && mine && event.kind == Kind::Join && !received.replayed;
                let mut clock = self.process.clock();
                match conversation.hear(&received, mine, &mut clock) {
                    Heard::Impossible => return Err(()),
                    Heard::Repeat => continue,
                    Heard::New { own_time, gap } => {
                        *joined = true;
                        report::deliver(own_time, &self.room, &received);
                        happenings.extend(gap.map(|(from, to)| Happening::Gap { from, to }));
                        // The receipt of a resume is for this client, not for people.
                        if back {
                            happenings.push(Happening::Resumed {
                                missed: conversation.replayed(),
                            });
                        }
                        if !(back && event.seq == 0) {
                            happenings.push(Happening::Event { received, own_time });
                        }
                    }
                }
            }
        }
        self.changed.notify_all();
        for happening in happenings {
            let _ = tell.send(happening); // nobody listens any more: it is leaving
        }
        Ok(())
    }
}

/// Whether trying again would only bring the same answer.
fn is_final(why: &CallError) -> bool {
    const AGAIN: [Code; 5] = [
        Code::UNAVAILABLE,
        Code::RESOURCE_EXHAUSTED,
        Code::CANCELLED,
        Code::UNKNOWN,
        Code::DEADLINE_EXCEEDED,
    ];
    matches!(why, CallError::Status { code, .. } if !AGAIN.contains(code))
}

/// Whether the server has no room for another stream, or another room.
fn is_full(why: &CallError) -> bool {
    matches!(why, CallError::Status { code, .. } if *code == Code::RESOURCE_EXHAUSTED)
}

fn wait_before(tries: usize) -> Duration {
    let longest = FIRST_WAIT
        .saturating_mul(1 << tries.min(10))
        .min(LONGEST_WAIT);
    let mut byte = [128];
    // Without random bytes the wait is the middle one.
    let _ = getrandom::fill(&mut byte);
    longest.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}
