//! What one participant got, from its joining to its end.

use std::collections::HashMap;

use super::answers::Answers;
use super::presence::{Presence, Presences};
use super::{Findings, Law};
use crate::trace::line::What;
use crate::trace::names::{NO_NAME, NameId};
use crate::trace::order::Trace;
use crate::trace::streams::{Stream, streams};
use crate::trace::visits::Visit;

/// What the server stamped for a participant and not for all: Lamport times,
/// rising, and the events.
pub(super) type Personal = HashMap<(u32, NameId), Vec<(i64, u32)>>;

pub(super) fn try_streams(
    trace: &Trace,
    presences: &Presences<'_>,
    answers: &Answers,
    personal: &Personal,
    findings: &mut Findings,
) {
    for visit in &trace.visits {
        try_beginning(trace, visit, findings);
    }
    for stream in streams(trace) {
        let left = left(trace, answers, &stream);
        try_order(trace, &stream, left, findings);
        if let Some(epoch) = stream.epoch {
            try_presence(trace, presences, epoch, &stream, findings);
            let own = personal.get(&(epoch, stream.name));
            let own = own.map_or(&[][..], Vec::as_slice);
            try_personal(trace, presences, epoch, (&stream, left), own, findings);
        }
    }
}

/// The server's LEAVE at which a participant's stream ended as both meant it
/// to: all that came before has reached it.
fn left(trace: &Trace, answers: &Answers, stream: &Stream) -> Option<u32> {
    let visit = &trace.visits[*stream.visits.last()? as usize];
    let is_told = visit.is_sure && trace.log.runs[visit.run as usize].stopped;
    let (epoch, event) = answers.to(visit.leave.filter(|_| is_told)?)?;
    let is_leave = trace.log.entries[event as usize].what == What::Leave;
    (is_leave && Some(epoch) == stream.epoch && (event as usize) < trace.told).then_some(event)
}

pub(super) fn personal(trace: &Trace) -> Personal {
    let mut personal = Personal::new();
    for (at, room) in (0u32..).zip(&trace.rooms) {
        for &node in &room.events {
            let entry = &trace.log.entries[node as usize];
            let names = match entry.what {
                What::Refused => [entry.who, NO_NAME],
                What::Message if entry.to != NO_NAME => [entry.who, entry.to],
                _ => continue,
            };
            let [first, second] = names.map(|name| trace.log.names.folded(name));
            let stamped = (entry.time.unwrap_or(0), node);
            personal.entry((at, first)).or_default().push(stamped);
            if second != first && second != NO_NAME {
                personal.entry((at, second)).or_default().push(stamped);
            }
        }
    }
    // They are in order, unless a room's clock went back.
    personal
        .values_mut()
        .for_each(|times| times.sort_unstable());
    personal
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
fn try_order(trace: &Trace, stream: &Stream, left: Option<u32>, findings: &mut Findings) {
    let is_placed = |arrival: u32| trace.is_placed(arrival, stream.epoch);
    let (mut last, mut last_numbered) = (None, None);
    for visit in &stream.visits {
        let arrivals = &trace.visits[*visit as usize].arrivals;
        if let (Some(before), Some(first)) = (last, arrivals.first())
            && !(is_placed(before) && is_placed(*first))
        {
            // It came back, but perhaps to another history.
            (last, last_numbered) = (None, None);
        }
        for &arrival in arrivals {
            let entry = &trace.log.entries[arrival as usize];
            if !last.is_none_or(|before| try_later(trace, before, arrival, findings)) {
                continue;
            }
            last = Some(arrival);
            if entry.seq > 0 {
                if let Some(before) = last_numbered {
                    try_next(trace, stream, before, arrival, findings);
                }
                last_numbered = Some(arrival);
            }
        }
    }
    if let (Some(before), Some(left)) = (last_numbered, left)
        && is_placed(before)
    {
        let law = Law::NoGap;
        let seq = |i: u32| trace.log.entries[i as usize].seq;
        let (number, end) = (seq(before), seq(left));
        findings.tried(law);
        if end > number.saturating_add(1) {
            findings.broken(law, &[before, left], || {
                format!(
                    "number {} was not delivered, and its receiver left later",
                    number + 1
                )
            });
        }
    }
}

/// Whether an arrival has a higher place than the one before.
fn try_later(trace: &Trace, before: u32, arrival: u32, findings: &mut Findings) -> bool {
    let of = |i: u32| trace.log.entries[i as usize].of;
    let (earlier, later) = (of(before), of(arrival));
    findings.tried(Law::OneOrder);
    if later < earlier {
        findings.broken(Law::OneOrder, &[before, arrival], || {
            format!("L={later} was delivered after L={earlier}")
        });
    } else if later == earlier {
        findings.broken(Law::NoGap, &[before, arrival], || {
            format!("L={later} was delivered twice")
        });
    }
    later > earlier
}

/// An arrival has the next number.
fn try_next(trace: &Trace, stream: &Stream, before: u32, arrival: u32, findings: &mut Findings) {
    let law = Law::NoGap;
    let seq = |i: u32| trace.log.entries[i as usize].seq;
    let (number, next) = (seq(before), seq(arrival));
    findings.tried(law);
    if next <= number {
        findings.broken(law, &[before, arrival], || {
            format!("number {next} was delivered after number {number}")
        });
    } else if next - number > 1 {
        let is_first = findings.about(law).broken == 0;
        let missing = is_first
            .then(|| missing(trace, stream, number + 1, before, arrival))
            .flatten();
        let lines: Vec<u32> = [before]
            .into_iter()
            .chain(missing)
            .chain([arrival])
            .collect();
        findings.broken(law, &lines, || match next - number {
            2 => format!("number {} was not delivered", number + 1),
            _ => format!("numbers {} to {} were not delivered", number + 1, next - 1),
        });
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

/// What happens in the room comes to those who are in it, and as long as they
/// are. (What comes from the past comes to whoever asks for it.)
fn try_presence(
    trace: &Trace,
    presences: &Presences<'_>,
    epoch: u32,
    stream: &Stream,
    findings: &mut Findings,
) {
    let law = Law::JoinedAndLeft;
    for arrival in stream.arrivals(trace) {
        let entry = &trace.log.entries[arrival as usize];
        if entry.what != What::Deliver || entry.replayed {
            continue;
        }
        findings.tried(law);
        if let Presence::Out(shown_by) = presences.at(epoch, stream.name, entry.of) {
            let lines: Vec<u32> = shown_by.into_iter().chain([arrival]).collect();
            findings.broken(law, &lines, || {
                let time = entry.of;
                match shown_by.and_then(|node| trace.time(node)) {
                    Some(left) if left == time => {
                        format!("a participant was told of its own leaving, L={time}")
                    }
                    _ => format!("L={time} was delivered to somebody who was not in the room then"),
                }
            });
        }
    }
}

/// Whatever was for this participant, up to the last thing that it got, has
/// reached it.
fn try_personal(
    trace: &Trace,
    presences: &Presences<'_>,
    epoch: u32,
    (stream, left): (&Stream, Option<u32>),
    personal: &[(i64, u32)],
    findings: &mut Findings,
) {
    let times = |lines: &mut dyn Iterator<Item = u32>| {
        let mut times: Vec<i64> = lines.map(|i| trace.log.entries[i as usize].of).collect();
        times.sort_unstable();
        times
    };
    let got = times(&mut stream.arrivals(trace));
    let receipts = times(&mut stream.receipts(trace));
    let (Some(first), Some(last)) = (receipts.first(), stream.arrivals(trace).last()) else {
        return;
    };
    let left_at = left.and_then(|node| trace.time(node)).unwrap_or(0);
    let end = left_at.max(got[got.len() - 1]);
    let from = personal.partition_point(|(time, _)| time <= first);
    for &(time, node) in personal[from..].iter().take_while(|(t, _)| *t < end) {
        let since = receipts[receipts.partition_point(|r| *r <= time) - 1];
        // Somebody else may have had the name meanwhile.
        if !presences.stays(epoch, stream.name, since, time) {
            continue;
        }
        findings.tried(Law::ForWhom);
        if got.binary_search(&time).is_err() {
            let later = |i: &u32| trace.log.entries[*i as usize].of > time;
            let after = stream.arrivals(trace).find(later).or(left);
            findings.broken(Law::ForWhom, &[node, after.unwrap_or(last)], || {
                let name = trace.log.names.text(stream.written);
                format!("L={time} never reached {name}, who got what came later or left later")
            });
        }
    }
}
