//! A step of a room on its way from the session that stamped it to the history
//! and to the outboxes.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::chat::{Audience, Event, Joined, MemberKey, Parted, Room, Said, StoredMember};
use crate::history::{Record, Roster};
use crate::rpc::Outbox;
use crate::wire::Ending;

/// One step of a room: what is kept of it, and what comes of it then. There is
/// one for each line of text, so what few have is behind a pointer.
pub(super) struct Step {
    pub record: Record,
    pub sequel: Sequel,
}

/// What comes of a step once it is kept.
pub(super) struct Sequel {
    /// What the participant alone is told and nobody keeps.
    pub receipt: Option<Box<(Event, MemberKey)>>,
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
    Attach(Box<Seat>),
    /// This participant gets no more; its outbox ends so.
    Detach(MemberKey, Ending),
    /// As `Detach`, and its session is told.
    Dismiss(MemberKey, Ending),
    /// Nobody in the room gets more for now; all sessions are told.
    DismissAll(Ending),
}

/// What a client brings that wants a seat.
pub(super) struct Claim {
    pub name: Arc<str>,
    pub outbox: Outbox,
    pub batches: bool,
    /// See [`Seat::ready`].
    pub ready: Option<Sender<()>>,
}

impl Claim {
    /// The seat, now that it is known whose it is.
    pub fn granted_to(self, key: MemberKey) -> Box<Seat> {
        Box::new(Seat {
            key,
            name: self.name,
            outbox: self.outbox,
            batches: self.batches,
            ready: self.ready,
        })
    }
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
    pub fn joined(room: &Room, joined: Joined, change: Change) -> Self {
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
            true => (None, Some(Box::new((event, key)))),
            false => (Some((event, audience)), None),
        };
        let member = room.member(key);
        let entered = member.filter(|_| !resumed).map(|m| {
            Box::new(StoredMember {
                key: m.key,
                id: m.id,
                name: m.name.clone(),
                secret: m.secret,
                joined: m.joined,
                last_sent: m.last_sent,
                present: true,
            })
        });
        Self {
            record: Record {
                room: room.id().clone(),
                clock: room.clock(),
                event: kept,
                author: None,
                roster: entered.map_or(Roster::Same, Roster::Entered),
            },
            sequel: Sequel {
                receipt,
                change,
                who,
                id,
                why: "",
            },
        }
    }

    /// What came of something said. `None`: nothing.
    pub fn of_said(
        room: &Room,
        said: Said,
        author: MemberKey,
        who: Arc<str>,
        id: i32,
    ) -> Option<Self> {
        match said {
            Said::Stamped(event, audience) | Said::Refused(event, audience) => {
                Some(Self::said(room, event, audience, author, who, id))
            }
            Said::Repeated(notice) => Some(Self::repeated(room, notice, author, who, id)),
            Said::Superseded => None,
        }
    }

    /// A participant said something, or was refused it.
    fn said(
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
            sequel: Sequel {
                receipt: None,
                change: Change::None,
                who,
                id,
                why: "",
            },
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
            sequel: Sequel {
                receipt: None,
                change,
                who,
                id,
                why,
            },
        }
    }

    /// A participant said again what had been answered before.
    fn repeated(room: &Room, notice: Event, author: MemberKey, who: Arc<str>, id: i32) -> Self {
        let mut step = Self::changed(room, Change::None);
        step.sequel = Sequel {
            receipt: Some(Box::new((notice, author))),
            who,
            id,
            ..step.sequel
        };
        step
    }

    /// Outboxes change, and only the clock is kept.
    pub fn changed(room: &Room, change: Change) -> Self {
        let record = Record {
            room: room.id().clone(),
            clock: room.clock(),
            event: None,
            author: None,
            roster: Roster::Same,
        };
        Self {
            record,
            sequel: Sequel {
                receipt: None,
                change,
                who: "".into(),
                id: 0,
                why: "",
            },
        }
    }
}
