//! The pulse of the poll threads: whether each of them still comes round, and
//! to what is on its connections.
//!
//! gRPC's core reads a connection for as long as anything is there to be read.
//! Whoever floods it keeps a poll thread for itself, and where every poll thread
//! is kept so, no handler runs that could find it out. Calls of a method that
//! nobody serves have no handler at all: the core reads them on threads of its
//! own, and its poll threads come round, but only to their ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::poll_fn;
use futures_util::task::AtomicWaker;
use grpcio::{ChannelBuilder, Client, Environment};
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};

/// Time between two looks.
const BEAT: Duration = Duration::from_millis(25);

/// A poll thread that has run for so long without coming round is kept. Under
/// honest load none did; the worst was when 1,000 clients came at once. One that
/// does not get to run, on a machine with much else to do, is no sign of a flood.
const KEPT: Duration = Duration::from_millis(75);

/// Looks in a row at which the core's own threads are reading a flood.
const READ_ASIDE: usize = 3;

/// The core's own threads take at least this part of the time where they read a
/// flood (half of it or more, measured), and no more than a twenty-fifth under any
/// honest load that was tried. On a machine with much else to do it is this part
/// of the time for which the process gets to run.
const ASIDE_PART: u32 = 4;

/// Where they take this part, there may be more of them than before.
const MORE_PART: u32 = 16;

/// Where the process has taken less than this part of the time for itself since
/// the last look, no poll thread is kept, and none is woken.
const CALM_PART: u32 = 8;

/// Time until the next look then.
const CALM_BEAT: Duration = Duration::from_millis(200);

/// A task on every poll thread. They end with it.
pub(super) struct Pulse(Vec<Arc<Beat>>);

/// Feels the pulse, on a thread that is no poll thread.
pub(super) struct Watch {
    /// With the processor time of the thread when it was asked last.
    beats: Vec<(Arc<Beat>, Duration)>,
    aside: Aside,
    /// Looks in a row at which those of the core were reading a flood.
    read_aside: usize,
    /// When it looked last, and the processor time of this process then.
    looked: Instant,
    used: Duration,
    is_calm: bool,
}

#[derive(Default)]
struct Beat {
    task: AtomicWaker,
    /// Whether its thread was asked to come round and has not done so since.
    is_awaited: AtomicBool,
    is_over: AtomicBool,
    /// Where the system tells what its thread has run (Linux).
    told: OnceLock<PathBuf>,
}

impl Pulse {
    /// Of all poll threads of `env`, which gives them out in turn and has given
    /// out none yet.
    pub(super) fn of(env: &Arc<Environment>) -> Self {
        let beats = env.completion_queues().iter().map(|_| {
            let beat = Arc::new(Beat::default());
            // Only what belongs to a call or a channel runs on a poll thread.
            // This channel never has a call, so it is never dialled.
            let channel = ChannelBuilder::new(env.clone()).connect("unix:");
            Client::new(channel).spawn(come_round(beat.clone()));
            beat.task.wake(); // it then knows its thread
            beat
        });
        Self(beats.collect())
    }

    /// A way to feel it.
    pub(super) fn watch(&self) -> Watch {
        Watch {
            beats: self.0.iter().map(|b| (b.clone(), Duration::ZERO)).collect(),
            aside: Aside::find(),
            read_aside: 0,
            looked: Instant::now(),
            used: processor_time(),
            is_calm: true,
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        for beat in &self.0 {
            beat.is_over.store(true, Ordering::Release);
            beat.task.wake();
        }
    }
}

impl Watch {
    /// When to look again.
    pub(super) fn next_look(&self) -> Instant {
        self.looked
            + match self.is_calm {
                true => CALM_BEAT,
                false => BEAT,
            }
    }

    /// Looks whether a poll thread is kept from coming round.
    pub(super) fn is_one_kept(&mut self) -> bool {
        let (now, used) = (Instant::now(), processor_time());
        let (time, worked) = (now - self.looked, used.saturating_sub(self.used));
        self.is_calm = worked < time / CALM_PART;
        (self.looked, self.used) = (now, used);
        let aside = self.aside.lap();
        let reads_aside = aside >= time.min(worked) / ASIDE_PART;
        // The first gives itself its name when it has begun, which may be now.
        if aside >= time / MORE_PART || self.aside.told.is_empty() {
            self.aside = Aside::find();
            // Where there are many threads, that took a while.
            (self.looked, self.used) = (Instant::now(), processor_time());
        }
        self.read_aside = match self.is_calm || !reads_aside {
            true => 0,
            false => self.read_aside + 1,
        };
        self.does_one_not_come_round() || self.read_aside >= READ_ASIDE
    }

    /// Asks those again that have come round, unless it is calm.
    fn does_one_not_come_round(&mut self) -> bool {
        let mut is_one_kept = false;
        for (beat, asked) in &mut self.beats {
            if beat.is_awaited.load(Ordering::Acquire) {
                let is_over = beat.is_over.load(Ordering::Acquire);
                is_one_kept |= !is_over && beat.run_time().saturating_sub(*asked) >= KEPT;
            } else if !self.is_calm {
                *asked = beat.run_time();
                beat.is_awaited.store(true, Ordering::Release);
                beat.task.wake();
            }
        }
        is_one_kept
    }
}

impl Beat {
    /// Of its thread, once that has come round for the first time.
    fn run_time(&self) -> Duration {
        let told = self.told.get().and_then(|told| run_time(told));
        told.unwrap_or_default()
    }
}

/// The processor time of the core's own threads, as far as the system tells.
struct Aside {
    /// Where it is told (Linux).
    told: Vec<PathBuf>,
    last: Duration,
}

impl Aside {
    /// The core starts one with its first environment, and more when that one has
    /// too much to do. Looks at every thread of the process, so not often.
    fn find() -> Self {
        let threads = std::fs::read_dir("/proc/self/task");
        let paths = threads.into_iter().flatten().flatten().map(|t| t.path());
        let is_one = |thread: &PathBuf| {
            std::fs::read_to_string(thread.join("comm"))
                .is_ok_and(|name| name.starts_with("default-execut"))
        };
        let told = paths.filter(is_one).map(|thread| thread.join("schedstat"));
        let mut aside = Self {
            told: told.collect(),
            last: Duration::ZERO,
        };
        aside.lap();
        aside
    }

    /// What they took since this was asked last.
    fn lap(&mut self) -> Duration {
        let now: Duration = self.told.iter().filter_map(|told| run_time(told)).sum();
        now.saturating_sub(std::mem::replace(&mut self.last, now))
    }
}

async fn come_round(beat: Arc<Beat>) {
    // It begins on the thread that starts it, and goes on on its own.
    let starter = gettid();
    poll_fn(|cx| {
        let thread = gettid();
        if thread != starter {
            let told = || format!("/proc/self/task/{}/schedstat", thread.as_raw_pid()).into();
            beat.told.get_or_init(told);
        }
        // Registered before the look: who asks after it wakes this again.
        beat.task.register(cx.waker());
        beat.is_awaited.store(false, Ordering::Release);
        match beat.is_over.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// How long a thread has run, by its `schedstat`.
fn run_time(told: &Path) -> Option<Duration> {
    let told = std::fs::read_to_string(told).ok()?;
    let nanos = told.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use futures_channel::oneshot;
    use grpcio::EnvBuilder;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Keeps a processor busy for about a beat.
    fn work() {
        let until = processor_time() + BEAT;
        while processor_time() < until {}
    }

    fn look_until(watch: &mut Watch, kept: bool) {
        let begun = Instant::now();
        loop {
            work();
            if watch.is_one_kept() == kept {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "kept: {}", !kept);
        }
    }

    #[test]
    fn one_poll_thread_that_is_kept_is_noticed_until_it_is_let_go() {
        let env = Arc::new(EnvBuilder::new().cq_count(2).build());
        let pulse = Pulse::of(&env);
        let mut watch = pulse.watch();
        let is_kept = Arc::new(AtomicBool::new(false));
        let may_go = Arc::new(AtomicBool::new(false));
        let (begin, begun) = oneshot::channel();
        let (keeps, let_go) = (is_kept.clone(), may_go.clone());
        let channel = ChannelBuilder::new(env.clone()).connect("unix:");
        Client::new(channel).spawn(async move {
            let _ = begun.await; // from here on it is on a poll thread
            keeps.store(true, Ordering::Release);
            while !let_go.load(Ordering::Acquire) {}
        });
        begin.send(()).unwrap();
        while !is_kept.load(Ordering::Acquire) {}
        look_until(&mut watch, true);
        may_go.store(true, Ordering::Release);
        look_until(&mut watch, false);
        drop(pulse);
        look_in_vain(&mut watch);
    }

    #[test]
    fn a_poll_thread_that_does_not_get_to_run_is_not_kept() {
        let env = Arc::new(EnvBuilder::new().cq_count(1).build());
        let pulse = Pulse::of(&env);
        let mut watch = pulse.watch();
        let (begin, begun) = oneshot::channel();
        let (stands, is_standing) = bounded(0);
        let (go, may_go) = bounded::<()>(0);
        let channel = ChannelBuilder::new(env.clone()).connect("unix:");
        Client::new(channel).spawn(async move {
            let _ = begun.await; // from here on it is on a poll thread
            let _ = stands.send(());
            let _ = may_go.recv();
        });
        begin.send(()).unwrap();
        is_standing.recv_timeout(PATIENCE).unwrap();
        look_in_vain(&mut watch);
        drop(go);
    }

    fn look_in_vain(watch: &mut Watch) {
        let begun = processor_time();
        while processor_time() < begun + 3 * KEPT {
            work();
            assert!(!watch.is_one_kept(), "no poll thread is");
        }
    }
}
