//! What the server says that it put into whose outbox: it does at debug level,
//! and then stands in for the logs of clients that are not there.
//!
//! What comes from the past does not go through an outbox. An outbox ends when
//! its participant is lost or let go, and what is in it is lost then: so only
//! what lies between two of a participant's comings and goings is compared.

use std::collections::HashMap;

use super::audience::{may_see, told_the_wrong_one};
use super::presence::{Presence, Presences};
use super::streams::Personal;
use super::{Findings, Law};
use crate::trace::line::What;
use crate::trace::log::Process;
use crate::trace::names::{NO_NAME, NameId};
use crate::trace::order::Trace;

/// A participant of a room in one epoch.
type Key = (u32, NameId);

pub(super) fn try_outboxes(
    trace: &Trace,
    presences: &Presences<'_>,
    personal: &Personal,
    findings: &mut Findings,
) {
    let puts = puts(trace);
    if puts.is_empty() {
        return;
    }
    // The last put of each participant in each stretch between its turns, and
    // the last one that had a number.
    let mut last: HashMap<(Key, usize), (u32, u32)> = HashMap::new();
    for (put, epoch) in puts {
        let entries = &trace.log.entries;
        let entry = &entries[put as usize];
        let Some(said) = stamped(trace, (put, epoch), findings) else {
            continue;
        };
        let event = &entries[said as usize];
        findings.tried(Law::ForWhom);
        if !may_see(trace, event, entry.by) {
            findings.broken(Law::ForWhom, &[said, put], || {
                told_the_wrong_one(trace, event, entry.by)
            });
        }
        let key = (epoch, trace.log.names.folded(entry.by));
        findings.tried(Law::JoinedAndLeft);
        if let Presence::Out(shown_by) = presences.at(epoch, key.1, entry.of) {
            let lines: Vec<u32> = shown_by.into_iter().chain([put]).collect();
            findings.broken(Law::JoinedAndLeft, &lines, || {
                format!(
                    "L={} was put into the outbox of somebody who was not in the room",
                    entry.of
                )
            });
            continue;
        }
        let turns = presences.turns(epoch, key.1);
        let stretch = turns.partition_point(|(time, _)| *time <= entry.of);
        let before = last.get(&(key, stretch)).copied();
        let numbered = before.map_or(put, |(_, numbered)| numbered);
        let now = (put, if entry.seq > 0 { put } else { numbered });
        last.insert((key, stretch), now);
        let Some((before, numbered)) = before else {
            continue;
        };
        let (time, number) = (entries[before as usize].of, entries[numbered as usize].seq);
        findings.tried(Law::OneOrder);
        if entry.of < time {
            findings.broken(Law::OneOrder, &[before, put], || {
                format!("L={} was put after L={time} into one outbox", entry.of)
            });
        } else if entry.of == time {
            findings.broken(Law::NoGap, &[before, put], || {
                format!("L={time} was put into one outbox twice")
            });
        } else if number > 0 && entry.seq > number.saturating_add(1) {
            findings.broken(Law::NoGap, &[numbered, put], || {
                format!("number {} was not put into this outbox", number + 1)
            });
        }
        // What is for few has no number.
        let own = personal.get(&key).map_or(&[][..], Vec::as_slice);
        let next = own.get(own.partition_point(|(own, _)| *own <= time));
        if let Some(&(_, lacking)) = next.filter(|(own, _)| *own < entry.of) {
            findings.broken(Law::ForWhom, &[lacking, put], || {
                format!(
                    "it was not put into the outbox into which L={} was put",
                    entry.of
                )
            });
        }
    }
}

/// The event that was put into an outbox, if it is as it was stamped.
fn stamped(trace: &Trace, (put, epoch): (u32, u32), findings: &mut Findings) -> Option<u32> {
    let law = Law::NothingFromNowhere;
    let entry = &trace.log.entries[put as usize];
    let epoch = &trace.epochs[epoch as usize];
    let Some(said) = epoch.stamped_at(entry.of).next() else {
        if !epoch.may_lack(entry.of) {
            findings.broken(law, &[put], || {
                format!("the server stamped nothing with L={}", entry.of)
            });
        }
        return None;
    };
    let event = &trace.log.entries[said as usize];
    findings.tried(law);
    let is_another = entry.kind.is_some() && entry.kind != event.what.stamped();
    if entry.seq != event.seq || is_another {
        findings.broken(law, &[said, put], || {
            format!("what was put as L={} is not what was stamped", entry.of)
        });
    }
    Some(said)
}

/// The lines that tell of an outbox, each with its epoch.
fn puts(trace: &Trace) -> Vec<(u32, u32)> {
    let mut epoch_of: HashMap<u32, u32> = HashMap::new();
    let mut puts = Vec::new();
    let is_put = |node: &u32| {
        let entry = &trace.log.entries[*node as usize];
        entry.what == What::Deliver && trace.log.process(entry) == Process::Server
    };
    let told = 0..trace.told as u32;
    if !told.clone().any(|node| is_put(&node)) {
        return puts;
    }
    let log_of = |node: u32| {
        let run = trace.log.entries[node as usize].run;
        trace.log.runs[run as usize].log
    };
    // What several servers tell alike is told once: each has its own outboxes.
    let mut shared: HashMap<(NameId, NameId), u32> = HashMap::new();
    for (at, epoch) in (0u32..).zip(&trace.epochs) {
        epoch_of.extend(epoch.lines.iter().map(|line| (*line, at)));
        for log in epoch.lines.iter().map(|line| log_of(*line)) {
            shared.insert((log, epoch.room), at);
        }
    }
    // An epoch's line comes before what tells of its outboxes, in one run.
    let mut now: HashMap<NameId, u32> = HashMap::new();
    for node in told {
        let entry = &trace.log.entries[node as usize];
        let room = trace.log.names.folded(entry.room);
        if let Some(epoch) = epoch_of.get(&node) {
            now.insert(room, *epoch);
        }
        if !is_put(&node) {
            continue;
        }
        let epoch = match log_of(node) {
            NO_NAME => now.get(&room),
            log => shared.get(&(log, room)),
        };
        puts.extend(epoch.map(|epoch| (node, *epoch)));
    }
    puts
}
