//! The verdict on the logs of a run: which laws hold, what breaks the others,
//! and what these logs cannot tell.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use super::laws::{Findings, Law, Violation};
use super::line::What;
use super::log::{Log, Process};
use super::names::{NO_NAME, NameId};
use super::order::Trace;
use crate::chat::sanitise;

/// The longest part of a log line that is shown, in characters.
const SHOWN_CHARS: usize = 220;

/// The most names of missing processes that are shown.
const SHOWN_NAMES: usize = 8;

/// The verdict on logs.
#[derive(Debug)]
pub struct Verdict<'a> {
    trace: &'a Trace,
    findings: Findings,
}

impl<'a> Verdict<'a> {
    /// Tries every law.
    pub fn of(trace: &'a Trace) -> Self {
        let findings = Findings::of(trace);
        Self { trace, findings }
    }

    /// Whether no law is broken.
    pub fn holds(&self) -> bool {
        self.findings.violations().next().is_none()
    }

    /// The smallest violation of each law that is broken.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.findings.violations()
    }

    /// The verdict in words, a line each, safe for a terminal.
    pub fn words(&self) -> String {
        let mut out = String::new();
        for violation in self.violations() {
            self.tell(violation, &mut out);
        }
        self.summary(&mut out);
        out
    }

    fn tell(&self, violation: &Violation, out: &mut String) {
        let law = violation.law;
        line(out, format_args!("violated: {}", law.name()));
        line(out, format_args!("  the law: {}", law.says()));
        line(out, format_args!("  but {}:", violation.why));
        for &node in &violation.lines {
            line(out, format_args!("    {}", shown(self.trace, node)));
        }
        match self.findings.about(law).broken - 1 {
            0 => {}
            more => line(out, format_args!("  and {more} more like it")),
        }
        out.push('\n');
    }

    fn summary(&self, out: &mut String) {
        let (trace, log) = (self.trace, &self.trace.log);
        let mut processes = BTreeSet::new();
        for run in &log.runs {
            processes.insert(process_name(log, run.process));
        }
        let stamped: usize = trace.rooms.iter().map(|room| room.events.len()).sum();
        let arrivals = trace.visits.iter().flat_map(|v| &v.arrivals);
        let (mut delivered, mut replayed) = (0, 0);
        for &arrival in arrivals {
            delivered += 1;
            replayed += usize::from(log.entries[arrival as usize].replayed);
        }
        let is_send = |e: &&super::log::Entry| e.what == What::Send;
        let sent = log.entries[..trace.told].iter().filter(is_send).count();
        line(
            out,
            format_args!(
                "read: {} in {}, of {} in {}",
                count(log.lines_read(), "line"),
                count(log.sources.len(), "file"),
                count(processes.len(), "process"),
                count(log.runs.len(), "run")
            ),
        );
        line(
            out,
            format_args!(
                "told: {}, {} stamped in {}, {} ({replayed} from the past)",
                count(sent, "send"),
                count(stamped, "event"),
                count(trace.rooms.len(), "history of a room"),
                count(delivered, "delivery"),
            ),
        );
        for law in Law::ALL {
            let (name, finding) = (law.name(), self.findings.about(law));
            match (finding.broken, count(finding.tried, "trial")) {
                (0, _) if finding.tried == 0 => {
                    line(
                        out,
                        format_args!("  -         {name}: nothing to try it on"),
                    );
                }
                (0, trials) => line(out, format_args!("  holds     {name} ({trials})")),
                (broken, trials) => {
                    line(
                        out,
                        format_args!("  VIOLATED  {name} ({broken} of {trials})"),
                    );
                }
            }
        }
        self.not_told(out);
    }

    /// What these logs do not tell, and what therefore is not judged.
    fn not_told(&self, out: &mut String) {
        let (trace, log) = (self.trace, &self.trace.log);
        if !log.has_server() {
            line(
                out,
                format_args!(
                    "missing: the server's log; what it stamped is known from the clients alone"
                ),
            );
        }
        let missing = missing_clients(trace);
        if !missing.is_empty() {
            let names: Vec<_> = missing
                .iter()
                .take(SHOWN_NAMES)
                .map(|n| sanitise(n))
                .collect();
            let more = missing.len() - names.len();
            let and_more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            line(
                out,
                format_args!("missing: the logs of {}{and_more}", names.join(", ")),
            );
        }
        for source in &log.sources {
            if source.unread > 0 {
                line(
                    out,
                    format_args!(
                        "passed over: {} of {} that are for people",
                        count(source.unread, "line"),
                        source.path
                    ),
                );
            }
            if source.broken_off {
                line(
                    out,
                    format_args!(
                        "passed over: the last line of {}, which breaks off",
                        source.path
                    ),
                );
            }
        }
        let unjudged = trace.unjudged;
        let lacking = trace
            .epochs
            .iter()
            .filter(|e| e.is_logged)
            .flat_map(|e| &e.holes);
        let lacking = lacking.filter(|hole| hole.up_to != i64::MAX).count();
        for (number, what) in [
            (
                lacking,
                "stretch of a room's time that the server's log lacks",
            ),
            (
                unjudged.untold,
                "event that the server's log lacks and clients tell of",
            ),
            (
                unjudged.arrivals,
                "delivery that fits no one history of its room",
            ),
            (
                unjudged.senders,
                "event whose send is not in its sender's log, but may have been made",
            ),
        ] {
            if number > 0 {
                line(out, format_args!("not judged: {number} × {what}"));
            }
        }
    }
}

/// A process's name, as it is shown.
pub fn process_name(log: &Log, process: Process) -> String {
    match process {
        Process::Server => "Server".to_owned(),
        Process::Client(name) => log.names.text(name).to_owned(),
    }
}

/// An event's log line with its place, shortened, safe for a terminal. Of an
/// event that the server's log lacks it is the line that tells of it.
pub fn shown(trace: &Trace, node: u32) -> String {
    let entry = &trace.log.entries[node as usize];
    let raw = trace.log.raw(entry);
    let mut text: String = raw.chars().take(SHOWN_CHARS).collect();
    if text.len() < raw.len() {
        text.push('…');
    }
    let untold = if node as usize >= trace.told {
        " (the server's line is lacking; known from this one)"
    } else {
        ""
    };
    sanitise(&format!("{}: {text}{untold}", trace.log.place(entry))).into_owned()
}

/// The participants of whom the server tells and whose logs are not there.
fn missing_clients(trace: &Trace) -> BTreeSet<&str> {
    let names = &trace.log.names;
    let clients: HashSet<NameId> = trace
        .log
        .runs
        .iter()
        .filter_map(|run| match run.process {
            Process::Client(name) => Some(names.folded(name)),
            Process::Server => None,
        })
        .collect();
    let stamped = trace.rooms.iter().flat_map(|room| &room.events);
    stamped
        .map(|node| trace.log.entries[*node as usize].who)
        .filter(|who| *who != NO_NAME && !clients.contains(&names.folded(*who)))
        .map(|who| names.text(who))
        .collect()
}

fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, what) => format!("1 {what}"),
        (n, "process") => format!("{n} processes"),
        (n, "delivery") => format!("{n} deliveries"),
        (n, "history of a room") => format!("{n} histories of rooms"),
        (n, what) => format!("{n} {what}s"),
    }
}

fn line(out: &mut String, words: std::fmt::Arguments<'_>) {
    let words = words.to_string();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", sanitise(&words));
}
