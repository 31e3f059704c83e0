//! The two laws of Lamport's clocks.

use std::collections::HashSet;

use super::{Findings, Law};
use crate::trace::chain::{Successors, predecessors, shortest, sorted};
use crate::trace::line::What;
use crate::trace::log::Process;
use crate::trace::order::{NONE, Trace};

/// How many violations are looked at to find the one with the shortest chain,
/// and how many events are visited for each.
const LOOKED_AT: usize = 16;
const SEARCHED: usize = 100_000;

/// A process's own times strictly rise.
pub(super) fn try_own_times(trace: &Trace, findings: &mut Findings) {
    let law = Law::OwnTimes;
    let entries = &trace.log.entries;
    for epoch in &trace.epochs {
        let mut last: Option<u32> = None;
        for &line in &epoch.lines {
            let entry = &entries[line as usize];
            let time = entry.time.unwrap_or(0);
            let before = last.map_or(0, |i| entries[i as usize].time.unwrap_or(0));
            findings.tried(law);
            // A room that was found is no event: its clock may stand still.
            if time < before || (time == before && entry.what != What::Room) {
                let lines: Vec<u32> = last.into_iter().chain([line]).collect();
                findings.broken(law, &lines, || {
                    format!("the room's clock goes from L={before} to L={time}")
                });
            }
            last = Some(line);
        }
        for lines in &epoch.repeated {
            findings.broken(law, lines, || {
                let time = entries[lines[0] as usize].time.unwrap_or(0);
                format!("the room's clock goes from L={time} to L={time}")
            });
        }
    }
    for run in &trace.log.runs {
        if run.process == Process::Server {
            continue;
        }
        let mut last: Option<(u32, i64)> = None;
        for node in run.first..run.end {
            let entry = &entries[node as usize];
            let Some(time) = entry.time else { continue };
            findings.tried(law);
            match last.replace((node, time)) {
                // The start of a run tells where the clock stands; the first
                // event of an original client bears that time too.
                Some((before, at)) if time < at || (time == at && !is_at_start(trace, before)) => {
                    findings.broken(law, &[before, node], || {
                        format!("the process's clock goes from L={at} to L={time}")
                    });
                }
                None if time < 0 => {
                    findings.broken(law, &[node], || format!("the clock begins with L={time}"));
                }
                _ => {}
            }
        }
    }
}

fn is_at_start(trace: &Trace, node: u32) -> bool {
    trace.log.entries[node as usize].what == What::Start
}

/// If a happened before b, then L(a) < L(b): over all of happened-before, not
/// only from one event to the next, since an event may bear no time. (From one
/// to the next in a process it is the law above.)
pub(super) fn try_condition(trace: &Trace, findings: &mut Findings) {
    try_fields(trace, findings);
    let law = Law::ClockCondition;
    let (order, left_over) = sorted(trace, &Successors::of(trace));
    // For each event the highest time of any before it, and whose that is.
    let mut highest = vec![(i64::MIN, NONE); trace.log.entries.len()];
    let mut indirect = Vec::new();
    for node in order {
        let mut reach = (i64::MIN, NONE);
        let mut highest_direct = i64::MIN;
        for before in predecessors(trace, node) {
            let own = trace.time(before).unwrap_or(i64::MIN);
            highest_direct = highest_direct.max(own);
            reach = reach.max((own, before)).max(highest[before as usize]);
        }
        highest[node as usize] = reach;
        let Some(time) = trace.time(node) else {
            continue;
        };
        findings.tried(law);
        if reach.1 != NONE && highest_direct < time && time <= reach.0 {
            indirect.push((reach.1, node));
        }
    }
    indirect.extend(circle(trace, &left_over).map(|node| (node, node)));
    let looked_at = &indirect[..indirect.len().min(LOOKED_AT)];
    let chains = looked_at
        .iter()
        .filter_map(|(from, to)| shortest(trace, *from, *to, SEARCHED));
    if let Some(chain) = chains.min_by_key(Vec::len) {
        for _ in 1..indirect.len() {
            findings.broken_again(law);
        }
        let (from, between, to) = (chain[0], chain.len() - 2, chain[chain.len() - 1]);
        let time = |node| {
            trace
                .time(node)
                .map_or("no time".to_owned(), |t| format!("L={t}"))
        };
        findings.broken(law, &[from, chain[chain.len() / 2], to], || match between {
            _ if from == to => "an event happened before itself".to_owned(),
            1 => format!("{} happened before {}", time(from), time(to)),
            n => format!(
                "{} happened before {}, through {n} events between them",
                time(from),
                time(to)
            ),
        });
    }
}

/// An event on a circle of happened-before.
fn circle(trace: &Trace, left_over: &[u32]) -> Option<u32> {
    // Each event that is left over has a predecessor that is: whoever goes
    // back long enough goes around.
    let is_left: HashSet<u32> = left_over.iter().copied().collect();
    let mut node = *left_over.first()?;
    for _ in 0..left_over.len() {
        node = predecessors(trace, node).find(|p| is_left.contains(p))?;
    }
    Some(node)
}

/// What a line says of the times of its own past, whether or not the lines of
/// that past are there.
fn try_fields(trace: &Trace, findings: &mut Findings) {
    let law = Law::ClockCondition;
    for node in 0..trace.told as u32 {
        let entry = &trace.log.entries[node as usize];
        if !trace.is_event(node) || entry.what == What::Send {
            continue;
        }
        let cause =
            Some(trace.cause[node as usize]).filter(|c| *c != NONE && (*c as usize) < trace.told);
        let lines: Vec<u32> = cause.into_iter().chain([node]).collect();
        let is_server = trace.log.process(entry) == Process::Server;
        let stamped = if is_server {
            entry.time
        } else {
            Some(entry.of)
        };
        let mut compare = |sent: i64, received: Option<i64>, what: &str| {
            let Some(received) = received else { return };
            findings.tried(law);
            if received <= sent {
                findings.broken(law, &lines, || {
                    format!("{what} with L={sent} was received with L={received}")
                });
            }
        };
        if entry.sent > 0 {
            compare(entry.sent, stamped, "what was sent");
        }
        if !is_server {
            compare(entry.of, entry.time, "what was stamped");
        }
    }
}
