//! What is counted, and how it is written for Prometheus (text format 0.0.4).
//!
//! The counters are atomics of their own, mostly touched by the journal thread
//! once a group, so that counting costs the way of a line next to nothing.
//! What would cost it something, the depth of the outboxes, is measured when
//! somebody asks.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::chat::Kind;
use crate::wire::Ending;

/// Upper bounds of the commit times, in seconds.
const SECONDS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.25, 1.0];

/// Upper bounds of the ways to a shared log and back, in seconds.
const WAYS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// Upper bounds of the sizes of groups, in events.
const EVENTS: [f64; 8] = [1.0, 2.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];

#[derive(Default)]
pub(super) struct Metrics {
    /// By kind, in the order of [`Kind::ALL`].
    events: [AtomicU64; Kind::ALL.len()],
    deliveries: AtomicU64,
    let_go: AtomicU64,
    clock: AtomicI64,
    commits: Histogram,
    groups: Histogram,
    slowed_ms: AtomicU64,
    dropped: AtomicU64,
    severed: AtomicU64,
    ways: Histogram,
    read_anew: AtomicU64,
    /// Streams that did not end well, by why. Touched once a stream.
    endings: Mutex<BTreeMap<&'static str, u64>>,
}

/// What is looked up when somebody asks.
pub(super) struct Now {
    pub streams: usize,
    pub addresses: usize,
    pub rooms: usize,
    pub away: usize,
    pub questions: usize,
    pub outboxes: Outboxes,
    /// Where servers share a log.
    pub log: Option<LogNow>,
}

/// What is looked up of a shared log.
pub(super) struct LogNow {
    /// Participants that are away, on any server.
    pub away: usize,
    /// Servers that live.
    pub servers: usize,
    /// Commands that the log has not taken yet.
    pub waiting: usize,
    /// What needs the log, and for how long it has not worked.
    pub troubles: Vec<(&'static str, Duration)>,
}

/// The outboxes of all members.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outboxes {
    pub members: usize,
    /// Events in all of them.
    pub events: usize,
    /// Events in the fullest.
    pub fullest: usize,
}

impl Metrics {
    pub(super) fn event(&self, kind: Kind) {
        self.events[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A room stands there.
    pub(super) fn clock(&self, clock: i64) {
        self.clock.fetch_max(clock, Ordering::Relaxed);
    }

    /// The highest Lamport time of any room, of what was shown to anybody.
    pub(super) fn highest_clock(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(super) fn committed(&self, steps: usize, took: Duration) {
        self.commits.add(&SECONDS, took.as_secs_f64());
        self.groups.add(&EVENTS, steps as f64);
    }

    pub(super) fn delivered(&self, events: u64, let_go: u64) {
        self.deliveries.fetch_add(events, Ordering::Relaxed);
        self.let_go.fetch_add(let_go, Ordering::Relaxed);
    }

    pub(super) fn slowed(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.slowed_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn severed(&self, connections: usize) {
        (self.severed).fetch_add(connections as u64, Ordering::Relaxed);
    }

    /// Something said here has come back from a shared log.
    pub(super) fn came_back(&self, took: Duration) {
        self.ways.add(&WAYS, took.as_secs_f64());
    }

    /// A room was read anew.
    pub(super) fn read_anew(&self) {
        self.read_anew.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, ending: &Ending) {
        if *ending != Ending::Goodbye {
            self.ended_badly(ending.word());
        }
    }

    /// A stream ended without a LEAVE: its connection is gone.
    pub(super) fn lost(&self) {
        self.ended_badly("lost");
    }

    fn ended_badly(&self, why: &'static str) {
        let endings = self.endings.lock();
        let mut endings = endings.unwrap_or_else(PoisonError::into_inner);
        *endings.entry(why).or_default() += 1;
    }

    /// Everything, in the text format.
    pub(super) fn write(&self, now: &Now) -> String {
        let mut out = Page(String::with_capacity(4096));
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        out.one(
            "chitchat_members",
            "gauge",
            "Members that get what is said",
            now.outboxes.members,
        );
        out.one(
            "chitchat_streams",
            "gauge",
            "Streams, joined or not",
            now.streams,
        );
        out.one(
            "chitchat_addresses",
            "gauge",
            "Addresses that streams come from",
            now.addresses,
        );
        out.one("chitchat_rooms", "gauge", "Rooms", now.rooms);
        out.one(
            "chitchat_away",
            "gauge",
            "Lost participants whose grace period is not over",
            now.away,
        );
        out.one(
            "chitchat_questions",
            "gauge",
            "Questions that are being answered",
            now.questions,
        );
        out.one(
            "chitchat_clock",
            "gauge",
            "Highest Lamport time of any room",
            self.highest_clock(),
        );
        out.head("chitchat_events_total", "counter", "Events that were kept");
        for (kind, n) in Kind::ALL.iter().zip(&self.events) {
            out.line(format_args!(
                "chitchat_events_total{{kind=\"{}\"}} {}",
                kind.word(),
                get(n)
            ));
        }
        out.one(
            "chitchat_deliveries_total",
            "counter",
            "Events put into outboxes",
            get(&self.deliveries),
        );
        out.one(
            "chitchat_outbox_events",
            "gauge",
            "Events that wait in outboxes",
            now.outboxes.events,
        );
        out.one(
            "chitchat_outbox_fullest_events",
            "gauge",
            "Events that wait in the fullest outbox",
            now.outboxes.fullest,
        );
        out.one(
            "chitchat_let_go_total",
            "counter",
            "Members let go because their outboxes were full",
            get(&self.let_go),
        );
        out.head(
            "chitchat_refused_total",
            "counter",
            "Streams that did not end well, by reason",
        );
        let endings = self
            .endings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (reason, n) in endings {
            out.line(format_args!(
                "chitchat_refused_total{{reason=\"{reason}\"}} {n}"
            ));
        }
        out.one(
            "chitchat_dropped_total",
            "counter",
            "Calls not answered because too many came at once",
            get(&self.dropped),
        );
        out.one(
            "chitchat_severed_total",
            "counter",
            "Connections reset because they flooded the server with calls",
            get(&self.severed),
        );
        let slowed = get(&self.slowed_ms) as f64 / 1000.0;
        out.one(
            "chitchat_slowed_seconds_total",
            "counter",
            "Time for which sessions were slowed by the rate limit",
            slowed,
        );
        self.commits.write(
            &mut out,
            "chitchat_commit_seconds",
            "Time to keep a group",
            &SECONDS,
        );
        self.groups.write(
            &mut out,
            "chitchat_group_events",
            "Steps kept as one group",
            &EVENTS,
        );
        if let Some(log) = &now.log {
            self.write_log(&mut out, log);
        }
        out.0
    }

    fn write_log(&self, out: &mut Page, log: &LogNow) {
        self.ways.write(
            out,
            "chitchat_log_round_trip_seconds",
            "Time until something said here came back from the shared log",
            &WAYS,
        );
        let trouble = "chitchat_log_trouble_seconds";
        out.head(
            trouble,
            "gauge",
            "For how long a part of this server has not been able to use the shared log",
        );
        for (part, lasts) in &log.troubles {
            let lasts = lasts.as_secs_f64();
            out.line(format_args!("{trouble}{{part=\"{part}\"}} {lasts}"));
        }
        out.one(
            "chitchat_log_waiting_commands",
            "gauge",
            "Commands that the shared log has not taken yet",
            log.waiting,
        );
        out.one(
            "chitchat_log_rooms_read_anew_total",
            "counter",
            "Rooms read anew from the shared log, whose members were let go",
            self.read_anew.load(Ordering::Relaxed),
        );
        out.one(
            "chitchat_log_servers",
            "gauge",
            "Servers of the shared log whose leases hold",
            log.servers,
        );
    }
}

/// Counts by size. The bounds belong to whoever uses it.
#[derive(Default)]
struct Histogram {
    /// Those above all bounds come last.
    counts: [AtomicU64; 9],
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    fn add(&self, bounds: &[f64; 8], value: f64) {
        let at = bounds.iter().position(|b| value <= *b).unwrap_or(8);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, out: &mut Page, name: &str, help: &str, bounds: &[f64; 8]) {
        out.head(name, "histogram", help);
        let mut all = 0;
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            all += count.load(Ordering::Relaxed);
            out.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {all}"));
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        out.line(format_args!("{name}_sum {sum}\n{name}_count {all}"));
    }
}

struct Page(String);

impl Page {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.0, "{line}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl fmt::Display) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_each_number_under_its_name() {
        let metrics = Metrics::default();
        metrics.event(Kind::Message);
        metrics.event(Kind::Message);
        metrics.clock(7);
        metrics.clock(5);
        metrics.committed(3, Duration::from_micros(700));
        metrics.committed(5000, Duration::from_secs(2));
        metrics.delivered(12, 1);
        metrics.severed(2);
        metrics.slowed(Duration::from_millis(1500));
        metrics.ended(&Ending::Goodbye);
        metrics.ended(&Ending::NotJoined);
        metrics.came_back(Duration::from_millis(1500));
        metrics.read_anew();
        let mut now = Now {
            streams: 4,
            addresses: 2,
            rooms: 1,
            away: 6,
            questions: 5,
            outboxes: Outboxes {
                members: 3,
                events: 9,
                fullest: 8,
            },
            log: None,
        };
        let page = metrics.write(&now);
        assert!(!page.contains("chitchat_log_"), "no log is shared:\n{page}");
        now.log = Some(LogNow {
            away: 6,
            servers: 7,
            waiting: 11,
            troubles: vec![("follower", Duration::from_millis(2500))],
        });
        let page = metrics.write(&now);
        for line in [
            "chitchat_members 3",
            "chitchat_streams 4",
            "chitchat_addresses 2",
            "chitchat_rooms 1",
            "chitchat_away 6",
            "chitchat_questions 5",
            "chitchat_clock 7",
            "chitchat_events_total{kind=\"message\"} 2",
            "chitchat_events_total{kind=\"join\"} 0",
            "chitchat_deliveries_total 12",
            "chitchat_outbox_events 9",
            "chitchat_outbox_fullest_events 8",
            "chitchat_let_go_total 1",
            "chitchat_refused_total{reason=\"not_joined\"} 1",
            "chitchat_severed_total 2",
            "chitchat_slowed_seconds_total 1.5",
            "chitchat_commit_seconds_bucket{le=\"0.0005\"} 0",
            "chitchat_commit_seconds_bucket{le=\"0.001\"} 1",
            "chitchat_commit_seconds_bucket{le=\"1\"} 1",
            "chitchat_commit_seconds_bucket{le=\"+Inf\"} 2",
            "chitchat_commit_seconds_sum 2.0007",
            "chitchat_commit_seconds_count 2",
            "chitchat_group_events_bucket{le=\"4\"} 1",
            "chitchat_group_events_sum 5003",
            "chitchat_log_round_trip_seconds_bucket{le=\"1\"} 0",
            "chitchat_log_round_trip_seconds_bucket{le=\"5\"} 1",
            "chitchat_log_round_trip_seconds_sum 1.5",
            "chitchat_log_trouble_seconds{part=\"follower\"} 2.5",
            "chitchat_log_waiting_commands 11",
            "chitchat_log_rooms_read_anew_total 1",
            "chitchat_log_servers 7",
        ] {
            assert!(
                page.lines().any(|l| l == line),
                "{line} is missing:\n{page}"
            );
        }
        assert!(!page.contains("goodbye"), "a good end is no refusal");
    }
}
