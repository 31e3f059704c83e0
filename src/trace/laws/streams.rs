//! What one participant got, from its joining to its end.

use std::collections::HashMap;

use super::{Findings, Law};
use crate::trace::line::What;
use crate::trace::log::{NO_NAME, NameId};
use crate::trace::order::Trace;
use crate::trace::streams::{Stream, streams};
use crate::trace::visits::Visit;

/// What the server stamped for or about a participant: Lamport times, rising,
/// and the events.
type Times = HashMap<(u32, NameId), Vec<(i64, u32)>>;

pub(super) fn try_streams(trace: &Trace, findings: &mut Findings) {
    let (mut leaves, mut personal) = (Times::new(), Times::new());
    for (at, room) in (0u32..).zip(&trace.rooms) {
        for &node in &room.events {
            let entry = &trace.log.entries[node as usize];
            let at = |name| (at, trace.log.names.folded(name));
            let stamped = (entry.time.unwrap_or(0), node);
            match entry.what {
                What::Leave => leaves.entry(at(entry.who)).or_default().push(stamped),
                What::Refused => personal.entry(at(entry.who)).or_default().push(stamped),
                What::Message if entry.to != NO_NAME => {
                    personal.entry(at(entry.who)).or_default().push(stamped);
                    if at(entry.to) != at(entry.who) {
                        personal.entry(at(entry.to)).or_default().push(stamped);
                    }
                }
                _ => {}
            }
        }
    }
    for times in leaves.values_mut().chain(personal.values_mut()) {
        times.sort_unstable(); // as they are, unless a room's clock went back
    }
    for visit in &trace.visits {
        try_beginning(trace, visit, findings);
    }
    for stream in streams(trace) {
        try_order(trace, &stream, findings);
        let Some(epoch) = stream.epoch else { continue };
        let key = (epoch, stream.name);
        if let Some(since) = stream.in_since(trace) {
            try_end(trace, &stream, after(&leaves, key, since).first(), findings);
            try_personal(trace, &stream, after(&personal, key, since), findings);
        }
    }
}

fn after(times: &Times, key: (u32, NameId), since: i64) -> &[(i64, u32)] {
    let all = times.get(&key).map_or(&[][..], Vec::as_slice);
    &all[all.partition_point(|(time, _)| *time <= since)..]
}

/// A participant is first told that it is in the room, and only then of what
/// happens there. What comes from the past may come before.
fn try_beginning(trace: &Trace, visit: &Visit, findings: &mut Findings) {
    let run = &trace.log.runs[visit.run as usize];
    if visit.join.is_none() && !run.whole {
        return; // its log begins too late to tell
    }
    findings.tried(Law::JoinedAndLeft);
    let is_live = |i: &&u32| {
        let entry = &trace.log.entries[**i as usize];
        entry.what == What::Deliver && !entry.replayed
    };
    let Some(first) = visit.arrivals.iter().find(is_live) else {
        return;
    };
    if visit.receipt != Some(*first) {
        let lines: Vec<u32> = visit.join.into_iter().chain([*first]).collect();
        findings.broken(Law::JoinedAndLeft, &lines, || {
            "what happens in the room was told to somebody who was not told of joining it"
                .to_owned()
        });
    }
}

/// In the order of L, without a gap and without a repeat.
fn try_order(trace: &Trace, stream: &Stream, findings: &mut Findings) {
    let entries = &trace.log.entries;
    let mut last: Option<u32> = None;
    let mut last_numbered: Option<u32> = None;
    for arrival in stream.arrivals(trace) {
        let entry = &entries[arrival as usize];
        if let Some(before) = last {
            let (earlier, later) = (entries[before as usize].of, entry.of);
            findings.tried(Law::OneOrder);
            if later < earlier {
                findings.broken(Law::OneOrder, &[before, arrival], || {
                    format!("L={later} was delivered after L={earlier}")
                });
                continue;
            }
            if later == earlier {
                findings.broken(Law::NoGap, &[before, arrival], || {
                    format!("L={later} was delivered twice")
                });
                continue;
            }
        }
        last = Some(arrival);
        if entry.seq == 0 {
            continue;
        }
        if let Some(before) = last_numbered {
            let number = entries[before as usize].seq;
            findings.tried(Law::NoGap);
            if entry.seq <= number {
                findings.broken(Law::NoGap, &[before, arrival], || {
                    format!("number {} was delivered after number {number}", entry.seq)
                });
            } else if entry.seq - number > 1 {
                let is_first = findings.about(Law::NoGap).broken == 0;
                let missing = is_first
                    .then(|| missing(trace, stream, number + 1, before, arrival))
                    .flatten();
                let lines: Vec<u32> = [before]
                    .into_iter()
                    .chain(missing)
                    .chain([arrival])
                    .collect();
                findings.broken(Law::NoGap, &lines, || match entry.seq - number {
                    2 => format!("number {} was not delivered", number + 1),
                    _ => format!(
                        "numbers {} to {} were not delivered",
                        number + 1,
                        entry.seq - 1
                    ),
                });
            }
        }
        last_numbered = Some(arrival);
    }
}

/// The server's event of this number, between two arrivals.
fn missing(trace: &Trace, stream: &Stream, seq: u64, before: u32, after: u32) -> Option<u32> {
    let events = &trace.rooms[stream.epoch? as usize].events;
    let (before, after) = (trace.cause[before as usize], trace.cause[after as usize]);
    let from = events.iter().position(|n| *n == before)?;
    let between = events[from..].iter().take_while(|n| **n != after);
    between
        .copied()
        .find(|n| trace.log.entries[*n as usize].seq == seq)
}

/// Nothing after its own leaving, and not even that.
fn try_end(trace: &Trace, stream: &Stream, leave: Option<&(i64, u32)>, findings: &mut Findings) {
    let Some(&(left, leave)) = leave else { return };
    findings.tried(Law::JoinedAndLeft);
    let of = |i: u32| trace.log.entries[i as usize].of;
    if let Some(late) = stream.arrivals(trace).find(|i| of(*i) >= left) {
        let told_itself = of(late) == left;
        findings.broken(Law::JoinedAndLeft, &[leave, late], || {
            if told_itself {
                "a participant was told of its own leaving".to_owned()
            } else {
                format!(
                    "L={} was delivered to a participant that left at L={left}",
                    of(late)
                )
            }
        });
    }
}

/// Whatever was for this participant, up to the last thing that it got, has
/// reached it.
fn try_personal(trace: &Trace, stream: &Stream, personal: &[(i64, u32)], findings: &mut Findings) {
    let mut got: Vec<(i64, u32)> = stream
        .arrivals(trace)
        .map(|i| (trace.log.entries[i as usize].of, i))
        .collect();
    got.sort_unstable();
    let Some(&(last, last_line)) = got.last() else {
        return;
    };
    for &(time, node) in personal.iter().take_while(|(time, _)| *time < last) {
        findings.tried(Law::ForWhom);
        if got.binary_search_by_key(&time, |(of, _)| *of).is_err() {
            let after = got[got.partition_point(|(of, _)| *of < time)..].first();
            let after = after.map_or(last_line, |(_, line)| *line);
            findings.broken(Law::ForWhom, &[node, after], || {
                let name = trace.log.names.text(stream.name);
                format!("L={time} never reached {name}, who got what came later")
            });
        }
    }
}
