//! The figures of a run, for people and for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::disk::SyncTime;
use super::plan::{Length, Pace, Plan};
use super::verdict::Verdict;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Figures {
    plan: Plan,
    load: Load,
    latency: Latency,
    /// Whether everything came as it should.
    pub verdict: Verdict,
}

/// What was measured besides latencies.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub published: u64,
    pub delivered: u64,
    pub time: Duration,
    pub server_cpu: Option<Duration>,
    pub own_cpu: Option<Duration>,
    /// Bytes.
    pub peak_memory: Option<u64>,
    /// Bytes more with the idle members than without.
    pub idle_memory: Option<u64>,
}

/// Milliseconds, where anything was measured.
#[derive(Debug, Clone, Copy)]
struct Latency {
    samples: u64,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
}

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;

impl Figures {
    pub(super) fn of(
        plan: &Plan,
        load: Load,
        latencies: &Histogram<u64>,
        verdict: Verdict,
    ) -> Self {
        let ms = |quantile| {
            let nanos = latencies.value_at_quantile(quantile);
            (!latencies.is_empty()).then_some(nanos as f64 / 1e6)
        };
        Self {
            plan: plan.clone(),
            load,
            latency: Latency {
                samples: latencies.len(),
                p50: ms(0.5),
                p90: ms(0.9),
                p99: ms(0.99),
                p999: ms(0.999),
                max: ms(1.0),
            },
            verdict,
        }
    }

    fn a_second(&self, count: u64) -> f64 {
        match self.load.time.as_secs_f64() {
            0.0 => 0.0,
            seconds => count as f64 / seconds,
        }
    }

    /// Processor seconds for a million deliveries.
    fn cpu_a_million(&self, cpu: Option<Duration>) -> Option<f64> {
        let delivered = self.load.delivered;
        (delivered > 0).then_some(cpu?.as_secs_f64() / delivered as f64 * 1e6)
    }

    /// Resident bytes for an idle member.
    fn idle_bytes(&self) -> Option<f64> {
        let idle = self.plan.idle;
        (idle > 0).then_some(self.load.idle_memory? as f64 / idle as f64)
    }

    /// The names of the columns of [`row`](Self::row).
    pub fn header() -> String {
        format!(
            "{:<13} {:>9} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7}  verdict",
            "load",
            "publ./s",
            "deliv./s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "cpu s/M",
            "MiB"
        )
    }

    /// A line of a table.
    pub fn row(&self, name: &str) -> String {
        let l = &self.latency;
        let or_none = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
        let ms = |latency: Option<f64>| or_none(latency.map(|ms| format!("{ms:.3}")));
        let cpu = self.cpu_a_million(self.load.server_cpu);
        let peak = self.load.peak_memory;
        let verdict = match self.verdict.is_clean() {
            true => "all came, once, in one order".to_owned(),
            false => format!("WRONG: {}", self.verdict.words().join("; ")),
        };
        format!(
            "{name:<13} {:>9.0} {:>11.0} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7}  {verdict}",
            self.a_second(self.load.published),
            self.a_second(self.load.delivered),
            ms(l.p50),
            ms(l.p90),
            ms(l.p99),
            ms(l.p999),
            ms(l.max),
            or_none(cpu.map(|s| format!("{s:.3}"))),
            or_none(peak.map(|bytes| format!("{:.1}", bytes as f64 / MIB))),
        )
    }

    /// What the table has no column for: the memory of idle members.
    pub fn idle_line(&self) -> Option<String> {
        let bytes = self.idle_bytes()?;
        Some(format!(
            "{} idle members: {:.1} KiB of the server's memory each",
            self.plan.idle,
            bytes / KIB
        ))
    }

    /// Everything, as one JSON object. `sync` is what [`super::sync_time`]
    /// measured on the disk of the server's store.
    pub fn to_json(&self, name: &str, sync: Option<SyncTime>) -> Value {
        let (plan, load, l) = (&self.plan, &self.load, &self.latency);
        let seconds = |time: Option<Duration>| time.map(|t| t.as_secs_f64());
        let (rate, window) = match plan.pace {
            Pace::Rate(rate) => (Some(rate), None),
            Pace::Window(window) => (None, Some(window)),
        };
        let (messages, duration) = match plan.length {
            Length::Messages(messages) => (Some(messages), None),
            Length::Time(time) => (None, Some(time)),
        };
        json!({
            "load": name,
            "plan": {
                "senders": plan.senders,
                "receivers": plan.receivers,
                "rooms": plan.rooms,
                "idle": plan.idle,
                "idle_room": plan.idle_room,
                "rate": rate,
                "window": window,
                "messages": messages,
                "duration_s": seconds(duration),
                "size": plan.text_bytes,
                "bundle": plan.bundle,
                "warmup": plan.warmup,
                "batches": plan.batches,
                "threads": plan.threads.max(1),
            },
            "published": load.published,
            "delivered": load.delivered,
            "time_s": load.time.as_secs_f64(),
            "publishes_per_s": self.a_second(load.published),
            "deliveries_per_s": self.a_second(load.delivered),
            "latency_ms": {
                "samples": l.samples,
                "p50": l.p50,
                "p90": l.p90,
                "p99": l.p99,
                "p999": l.p999,
                "max": l.max,
            },
            "server_cpu_s": seconds(load.server_cpu),
            "server_cpu_s_per_million": self.cpu_a_million(load.server_cpu),
            "server_peak_bytes": load.peak_memory,
            "server_bytes_per_idle": self.idle_bytes(),
            "generator_cpu_s": seconds(load.own_cpu),
            "disk_sync_ms": sync.map(|sync| json!({
                "min": sync.min.as_secs_f64() * 1e3,
                "median": sync.median.as_secs_f64() * 1e3,
                "max": sync.max.as_secs_f64() * 1e3,
            })),
            "verdict": self.verdict.to_json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_came_there_is_no_latency() {
        let load = Load {
            published: 5,
            delivered: 0,
            time: Duration::from_secs(1),
            server_cpu: None,
            own_cpu: None,
            peak_memory: None,
            idle_memory: None,
        };
        let none = Histogram::new(3).unwrap();
        let figures = Figures::of(&Plan::default(), load, &none, Verdict::default());
        let json = figures.to_json("custom", None);
        assert_eq!(json["latency_ms"]["p99"], Value::Null);
        assert!(!figures.row("custom").contains("0.000"));
    }
}
