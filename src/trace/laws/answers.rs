//! What became of what a client said: the server answers all of it, in the
//! order in which it was said, before it lets the client go.

use std::collections::{HashMap, HashSet};

use super::presence::Presences;
use super::{Findings, Law};
use crate::chat::{Kind, Said};
use crate::trace::line::What;
use crate::trace::log::{Process, Run};
use crate::trace::names::NameId;
use crate::trace::order::{NONE, Trace};
use crate::trace::said::digest_of;

/// Which of the server's events came of a send.
pub(super) struct Answers {
    /// By the send: the room's epoch and the event.
    events: HashMap<u32, (u32, u32)>,
    /// Epoch, sender and its Lamport time of all that was stamped, whether or
    /// not its send is beyond doubt.
    known: HashSet<(u32, NameId, i64)>,
}

/// What a client last said that was answered, and what it said since.
struct Open {
    epoch: u32,
    last: u32,
    waiting: Vec<u32>,
}

impl Answers {
    pub(super) fn of(trace: &Trace) -> Self {
        let mut answers = Self {
            events: HashMap::new(),
            known: HashSet::new(),
        };
        for (at, room) in (0u32..).zip(&trace.rooms) {
            for &node in &room.events {
                let entry = &trace.log.entries[node as usize];
                let who = trace.log.names.folded(entry.who);
                answers.known.insert((at, who, entry.sent));
                let send = trace.cause[node as usize];
                if send != NONE {
                    answers.events.entry(send).or_insert((at, node));
                }
            }
        }
        answers
    }

    /// Whoever is told that its message was received before is told the truth.
    /// Behind the first gap in a room that cannot be known.
    pub(super) fn try_repeats(trace: &Trace, findings: &mut Findings) {
        for room in &trace.rooms {
            let mut received: HashSet<(NameId, i64)> = HashSet::new();
            // Where in the room each first left, and last joined.
            let (mut left, mut joined) = (HashMap::new(), HashMap::new());
            let told = room.gaps.first().map_or(room.events.len(), |gap| *gap);
            for (at, &node) in room.events[..told].iter().enumerate() {
                let entry = &trace.log.entries[node as usize];
                let who = trace.log.names.folded(entry.who);
                match entry.what {
                    What::Join => drop(joined.insert(who, at)),
                    What::Leave => drop(left.entry(who).or_insert(at)),
                    _ => {}
                }
                if !matches!(entry.what, What::Message | What::Refused) {
                    continue;
                }
                let is_first = received.insert((who, entry.sent));
                if !is_first || entry.what == What::Message {
                    continue;
                }
                // The secret tells who it is; the name may be another one now.
                let was_another = |(name, at): (&NameId, &usize)| {
                    let is_before = joined.get(&who).is_some_and(|joined| at < joined);
                    is_before && received.contains(&(*name, entry.sent))
                };
                findings.tried(Law::NoGap);
                if entry.said == digest_of(&Said::words_of_repeated(entry.sent))
                    && !left.iter().any(was_another)
                {
                    findings.broken(Law::NoGap, &[node], || {
                        "what is said to have been received before was never stamped".to_owned()
                    });
                }
            }
        }
    }

    /// What came of a send: the room's epoch and the event.
    pub(super) fn to(&self, send: u32) -> Option<(u32, u32)> {
        self.events.get(&send).copied()
    }

    /// A message is answered before those that are sent after it: they go out
    /// one after the other, and those without an answer go out again.
    pub(super) fn try_sends(
        &self,
        trace: &Trace,
        presences: &Presences<'_>,
        findings: &mut Findings,
    ) {
        let sure = trace
            .visits
            .iter()
            .filter(|v| v.is_sure && v.receipt.is_some());
        let sure: HashSet<u32> = sure.filter_map(|visit| visit.join).collect();
        for run in &trace.log.runs {
            if let Process::Client(name) = run.process {
                let name = trace.log.names.folded(name);
                self.try_run(trace, presences, (run, name), &sure, findings);
            }
        }
    }

    fn try_run(
        &self,
        trace: &Trace,
        presences: &Presences<'_>,
        (run, name): (&Run, NameId),
        sure: &HashSet<u32>,
        findings: &mut Findings,
    ) {
        let time = |node: u32| trace.time(node).unwrap_or(0);
        let mut rooms: HashMap<NameId, Open> = HashMap::new();
        for send in run.first..run.end {
            let entry = &trace.log.entries[send as usize];
            let (What::Send, Some(kind)) = (entry.what, entry.kind) else {
                continue;
            };
            let room = trace.log.names.folded(entry.room);
            let answer = self.to(send);
            if kind == Kind::Join {
                let Some((epoch, last)) = answer.filter(|_| sure.contains(&send)) else {
                    continue;
                };
                // Whoever is back goes on with what it said before.
                let is_back = trace.log.entries[last as usize].what == What::Resume;
                let goes_on = rooms.get(&room).is_some_and(|open| open.epoch == epoch);
                if !(is_back && goes_on) {
                    let waiting = Vec::new();
                    rooms.insert(
                        room,
                        Open {
                            epoch,
                            last,
                            waiting,
                        },
                    );
                }
                continue;
            }
            let Some(open) = rooms.get_mut(&room) else {
                continue;
            };
            let Some((epoch, event)) = answer else {
                if kind == Kind::Message {
                    open.waiting.push(send);
                }
                continue;
            };
            // Whoever left another room for this one may have said goodbye here
            // after it asked to be let in again.
            let let_in = trace.log.entries[open.last as usize].what == What::Join;
            if kind == Kind::Leave && let_in && time(event) < time(open.last) {
                continue;
            }
            if epoch != open.epoch || presences.may_lack(epoch, time(open.last), time(event)) {
                rooms.remove(&room);
                continue;
            }
            findings.tried(Law::OneOrder);
            if time(event) < time(open.last) {
                findings.broken(Law::OneOrder, &[open.last, event], || {
                    "what was sent first was stamped last".to_owned()
                });
            }
            for lost in open.waiting.drain(..) {
                findings.tried(Law::NoGap);
                if !self.known.contains(&(epoch, name, time(lost))) {
                    findings.broken(Law::NoGap, &[lost, event], || {
                        "what was sent was never stamped, but what was sent after it".to_owned()
                    });
                }
            }
            open.last = event;
        }
    }
}
