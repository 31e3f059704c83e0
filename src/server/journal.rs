//! The journal thread: takes what the sessions stamped, in order, keeps a
//! group of it, and only then lets anybody see it.
//!
//! There is no timer: a group is whatever waits when the thread looks, so an
//! idle server keeps one step at a time and a busy one hundreds.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::fanout::Fanout;
use super::metrics::{Metrics, Outboxes};
use super::report;
use crate::chat::{Audience, Event, Joined, Member, MemberKey, Parted, Room, StoredMember};
use crate::history::{Journal, Record, Roster};
use crate::rpc::Outbox;
use crate::trace::LogSink;
use crate::wire::Ending;

/// Steps in one group at most. It bounds the size of a batch: a step is at most
/// some 900 bytes on the wire, and gRPC clients read 4 MB by default.
const MAX_GROUP: usize = 1024;

/// What the journal thread is told.
pub(super) enum Message {
    /// Something happened in a room.
    Step(Box<Step>),
    /// Nobody gets anything from now on: all outboxes end, for this reason,
    /// after what is in them.
    Close(Ending),
    /// Somebody wants to know how full the outboxes are.
    Measure(Sender<Outboxes>),
    /// The last message.
    Quit,
}

/// One step of a room, on its way to the history and to the outboxes.
pub(super) struct Step {
    /// What is kept.
    pub record: Record,
    /// What the participant alone is told and nobody keeps.
    pub receipt: Option<(Event, MemberKey)>,
    /// How the room's outboxes change, before the event is handed out.
    pub change: Change,
    /// Whom it is about.
    pub who: Arc<str>,
    /// Its id.
    pub id: i32,
    /// For a departure: how it came to it.
    pub why: &'static str,
}

/// A change to a room's outboxes.
pub(super) enum Change {
    None,
    /// From here on this participant gets everything through this outbox; one
    /// that it had before ends as replaced.
    Attach(Seat),
    /// This participant gets no more; its outbox ends so.
    Detach(MemberKey, Ending),
}

/// A participant's place in the fan-out.
pub(super) struct Seat {
    pub key: MemberKey,
    pub name: Arc<str>,
    pub outbox: Outbox,
    pub batches: bool,
    /// Told when everything before this seat's first event is kept.
    pub ready: Option<Sender<()>>,
}

impl Step {
    /// A participant joined or resumed.
    pub fn joined(room: &Room, joined: Joined, seat: Seat, member: Option<&Member>) -> Self {
        let Joined {
            key,
            id,
            event,
            audience,
            resumed,
            ..
        } = joined;
        let who = event.sender.clone();
        let (kept, receipt) = match resumed {
            true => (None, Some((event, key))),
            false => (Some((event, audience)), None),
        };
        let entered = member.filter(|_| !resumed).map(|m| StoredMember {
            key: m.key,
            id: m.id,
            name: m.name.clone(),
            secret: m.secret,
            joined: m.joined,
            last_sent: m.last_sent,
            present: true,
        });
        Self {
            record: Record {
                room: room.id().clone(),
                clock: room.clock(),
                event: kept,
                author: None,
                roster: entered.map_or(Roster::Same, Roster::Entered),
            },
            receipt,
            change: Change::Attach(seat),
            who,
            id,
            why: "",
        }
    }

    /// A participant said something, or was refused it.
    pub fn said(
        room: &Room,
        event: Event,
        audience: Audience,
        author: MemberKey,
        who: Arc<str>,
        id: i32,
    ) -> Self {
        let record = Record {
            room: room.id().clone(),
            clock: room.clock(),
            event: Some((event, audience)),
            author: Some(author),
            roster: Roster::Same,
        };
        Self {
            record,
            receipt: None,
            change: Change::None,
            who,
            id,
            why: "",
        }
    }

    /// A participant left.
    pub fn parted(room: &Room, parted: Parted, why: &'static str, change: Change) -> Self {
        let Parted {
            key,
            event,
            remembered,
            forgotten,
        } = parted;
        let (who, id) = (event.sender.clone(), event.sender_id);
        let record = Record {
            room: room.id().clone(),
            clock: room.clock(),
            event: Some((event, Audience::Room)),
            author: None,
            roster: Roster::Parted {
                key,
                remembered,
                forgotten,
            },
        };
        Self {
            record,
            receipt: None,
            change,
            who,
            id,
            why,
        }
    }

    /// A participant's outbox goes, and nothing else happens.
    pub fn detached(room: &Room, key: MemberKey, ending: Ending) -> Self {
        let record = Record {
            room: room.id().clone(),
            clock: room.clock(),
            event: None,
            author: None,
            roster: Roster::Same,
        };
        Self {
            record,
            receipt: None,
            change: Change::Detach(key, ending),
            who: "".into(),
            id: 0,
            why: "",
        }
    }
}

/// Takes steps until it is told to quit. If the history fails, nothing of that
/// group or after it is sent to anybody: `failed` is called, which must not
/// wait, and all members are told.
pub(super) fn run(
    queue: Receiver<Message>,
    mut history: Box<dyn Journal>,
    log: &LogSink,
    metrics: &Arc<Metrics>,
    failed: impl Fn(),
) {
    let mut fanout = Fanout::new(metrics.clone());
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut records = Vec::with_capacity(MAX_GROUP);
    let mut poisoned = false;
    while let Ok(first) = queue.recv() {
        let mut last = None;
        for message in std::iter::once(first).chain(queue.try_iter()) {
            match message {
                Message::Step(step) => {
                    let Step {
                        record,
                        receipt,
                        change,
                        who,
                        id,
                        why,
                    } = *step;
                    records.push(record);
                    group.push(Rest {
                        receipt,
                        change,
                        who,
                        id,
                        why,
                    });
                    if group.len() == MAX_GROUP {
                        break;
                    }
                }
                other => {
                    last = Some(other);
                    break;
                }
            }
        }
        let begun = Instant::now();
        if !poisoned
            && !records.is_empty()
            && let Err(error) = history.append(&records)
        {
            log::error!(
                "{}",
                anyhow::Error::from(error)
                    .context("nothing more is kept or sent")
                    .root_cause()
            );
            poisoned = true;
            failed();
            fanout.end_all(&Ending::StoreFailed, true);
        }
        if poisoned {
            group.drain(..).for_each(|rest| fanout.refuse(rest.change));
        } else if !group.is_empty() {
            metrics.committed(records.len(), begun.elapsed());
            for (event, _) in records.iter().filter_map(|record| record.event.as_ref()) {
                metrics.event(event.kind, event.time);
            }
            // The lines go out before anybody sees what they tell, so that a
            // log never lacks an event that somebody saw.
            let held = log.hold();
            records
                .iter()
                .zip(&group)
                .for_each(|(record, rest)| report::step(record, rest));
            drop(held);
            fanout.deliver(&records, group.drain(..));
        }
        records.clear();
        match last {
            Some(Message::Close(ending)) => fanout.end_all(&ending, false),
            Some(Message::Measure(ask)) => {
                let _ = ask.send(fanout.measure()); // it may have lost its patience
            }
            Some(Message::Quit) => return,
            _ => {}
        }
    }
}

/// What remains of a step beside its record.
pub(super) struct Rest {
    pub receipt: Option<(Event, MemberKey)>,
    pub change: Change,
    pub who: Arc<str>,
    pub id: i32,
    pub why: &'static str,
}
