//! What is done in a room, as a value: for rooms whose order is made elsewhere.
//!
//! A room is deterministic. Rooms that are given the same commands, at the same
//! Lamport times, stay the same (F. Schneider, «Implementing Fault-Tolerant
//! Services Using the State Machine Approach», ACM Computing Surveys 22(4),
//! 1990). So servers need agree only on the commands' order.

use super::answer::{Ask, Joined, Loss, Parted, Refused, Said};
use super::event::MemberKey;
use super::member::{Secret, SessionNo};
use super::name::Name;
use super::room::Room;

/// How many sessions, and how many participants, one server can number.
const BITS_OF_ONE_SERVER: u32 = 40;

/// The number of a server among those that share their rooms; 0 for a server
/// that shares them with nobody.
pub type ServerNo = u32;

/// The first number that a server gives to a session or a participant: no two
/// servers ever give the same one.
pub fn first_of(server: ServerNo) -> u64 {
    (u64::from(server) << BITS_OF_ONE_SERVER) + 1
}

/// Which server gave a session its number.
pub fn server_of(session: SessionNo) -> ServerNo {
    u32::try_from(session >> BITS_OF_ONE_SERVER).unwrap_or(ServerNo::MAX)
}

/// Something done in a room through a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The session.
    pub session: SessionNo,
    /// Milliseconds since the Unix epoch by the clock on the wall of the server
    /// that has the session.
    pub wall_ms: i64,
    /// What.
    pub deed: Deed,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A client asks to join; see [`Ask`](super::Ask).
    Join {
        /// The id that it wants; 0 lets the room choose.
        id: i32,
        /// The name that it wants.
        name: Name,
        /// What it will prove itself with later.
        secret: Option<Secret>,
        /// Its own Lamport time of this send.
        sent: i64,
        /// Who it becomes if it is not known already.
        fresh: MemberKey,
    },
    /// A participant says something.
    Say {
        /// Who.
        key: MemberKey,
        /// What; nothing if it is too long to be said.
        text: String,
        /// How many characters it has, if they are too many.
        too_long: Option<usize>,
        /// The name of the one who gets it; empty is everybody.
        to: String,
        /// Its own Lamport time of this send.
        sent: i64,
    },
    /// A participant leaves.
    Leave {
        /// Who.
        key: MemberKey,
        /// Its own Lamport time of this send; 0 if nothing was sent.
        sent: i64,
        /// Whether the server cut it off.
        is_cut: bool,
    },
    /// A session is lost.
    Lose {
        /// Whose.
        key: MemberKey,
    },
    /// A participant lost its session and did not come back in time.
    Expire {
        /// Who.
        key: MemberKey,
    },
}

impl Command {
    /// The sender's own Lamport time of the send; 0 if nothing was sent.
    pub fn sent(&self) -> i64 {
        match self.deed {
            Deed::Join { sent, .. } | Deed::Say { sent, .. } | Deed::Leave { sent, .. } => sent,
            Deed::Lose { .. } | Deed::Expire { .. } => 0,
        }
    }
}

/// What came of a command.
#[derive(Debug)]
pub enum Done {
    /// Of [`Deed::Join`].
    Joined(Result<Joined, Refused>),
    /// Of [`Deed::Say`].
    Said(Said),
    /// Of [`Deed::Leave`] and [`Deed::Expire`].
    Parted(Option<Parted>),
    /// Of [`Deed::Lose`].
    Lost(Loss),
}

impl Room {
    /// Does what is commanded, at the Lamport time that is the command's place;
    /// see [`at`](Self::at).
    pub fn obey(&mut self, time: i64, command: &Command) -> Done {
        let Command {
            session, wall_ms, ..
        } = *command;
        self.at(time, |room| match &command.deed {
            Deed::Join {
                id,
                name,
                secret,
                sent,
                fresh,
            } => {
                let ask = Ask {
                    id: *id,
                    name: name.clone(),
                    secret: *secret,
                    sent: *sent,
                    session,
                    fresh: *fresh,
                };
                Done::Joined(room.join(ask, wall_ms))
            }
            Deed::Say {
                key,
                text,
                too_long,
                to,
                sent,
            } => {
                // What is as long is refused in the same words.
                let text = match too_long {
                    Some(chars) => "x".repeat(*chars),
                    None => text.clone(),
                };
                Done::Said(room.say(*key, session, text, to, *sent, wall_ms))
            }
            Deed::Leave { key, sent, .. } => {
                Done::Parted(room.leave(*key, session, *sent, wall_ms))
            }
            Deed::Lose { key } => Done::Lost(room.lose(*key, session, wall_ms)),
            Deed::Expire { key } => Done::Parted(room.expire(*key, session, wall_ms)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, Hasher, RandomState};

    use super::*;
    use crate::chat::{Event, RoomId};

    /// A number below `end`, by a xorshift generator (Marsaglia 2003).
    fn below(state: &mut u64, end: u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % end
    }

    /// Some command; few names, sessions and secrets, so that they meet.
    fn some_command(random: &mut u64, time: i64, fresh: MemberKey) -> Command {
        let session = first_of(1 + below(random, 2) as u32) + below(random, 6);
        let key = MemberKey(fresh.0 - below(random, 8));
        // most of them what an honest client says, some of them absurd
        let sent = match below(random, 12) {
            0 => -1,
            1 => i64::MAX,
            _ => below(random, time as u64 + 3) as i64,
        };
        let deed = match below(random, 10) {
            0..3 => Deed::Join {
                id: below(random, 3) as i32,
                name: Name::parse(["Alex", "Aske", "Bob", "Åse"][below(random, 4) as usize])
                    .expect("a name"),
                secret: (below(random, 4) > 0).then(|| Secret([below(random, 5) as u8; 32])),
                sent,
                fresh,
            },
            3..7 => Deed::Say {
                key,
                text: ["hi", "", "ø漢🦀"][below(random, 3) as usize].to_owned(),
                too_long: (below(random, 6) == 0).then_some(129),
                to: ["", "", "Alex", "nobody"][below(random, 4) as usize].to_owned(),
                sent,
            },
            7 => Deed::Leave {
                key,
                sent,
                is_cut: false,
            },
            8 => Deed::Lose { key },
            _ => Deed::Expire { key },
        };
        Command {
            session,
            wall_ms: time,
            deed,
        }
    }

    fn event(done: &Done) -> Option<&Event> {
        match done {
            Done::Joined(Ok(joined)) => Some(&joined.event),
            Done::Said(Said::Stamped(e, _) | Said::Refused(e, _) | Said::Repeated(e)) => Some(e),
            Done::Parted(Some(parted)) | Done::Lost(Loss::Left(parted)) => Some(&parted.event),
            _ => None,
        }
    }

    #[test]
    fn rooms_that_obey_the_same_commands_stay_the_same() {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number above 0"),
            Err(_) => RandomState::new().build_hasher().finish() | 1,
        };
        println!("run this schedule again with SEED={seed}");
        let mut random: u64 = seed;
        let mut kinds = std::collections::HashSet::new();
        for _ in 0..30 {
            let id = RoomId {
                no: 1,
                name: Name::parse("ops").expect("a name"),
            };
            let (mut one, mut other) = (Room::new(id.clone()), Room::new(id));
            one.remember_at_most(2);
            other.remember_at_most(2);
            let mut time = 0;
            for fresh in 0..400 {
                let fresh = MemberKey(first_of(1) + fresh);
                let command = some_command(&mut random, time, fresh);
                let sane = (time..=time + 3).contains(&command.sent());
                time = if sane { command.sent() + 1 } else { time + 1 };
                // as one that goes on from what another left
                if below(&mut random, 20) == 0 {
                    other = Room::from(other.snapshot());
                }
                let (a, b) = (one.obey(time, &command), other.obey(time, &command));
                assert_eq!(format!("{a:?}"), format!("{b:?}"), "{command:?}");
                assert_eq!(one.snapshot(), other.snapshot(), "{command:?}");
                assert_eq!(one.clock(), time);
                if let Some(event) = event(&a) {
                    assert_eq!(event.time, time, "{command:?} {event:?}");
                }
                kinds.insert(std::mem::discriminant(&a));
            }
        }
        assert_eq!(kinds.len(), 4, "everything happened");
    }

    #[test]
    fn a_place_decides_what_a_hostile_time_is_worth() {
        let id = RoomId {
            no: 1,
            name: Name::parse("ops").expect("a name"),
        };
        let mut room = Room::new(id);
        let join = |sent| Command {
            session: 1,
            wall_ms: 0,
            deed: Deed::Join {
                id: 1,
                name: Name::parse("Alex").expect("a name"),
                secret: None,
                sent,
                fresh: MemberKey(1),
            },
        };
        let refused = room.obey(5, &join(5));
        assert!(matches!(refused, Done::Joined(Err(Refused::Time(5)))));
        assert_eq!(room.clock(), 5, "its place is taken all the same");
        let joined = room.obey(90, &join(88));
        assert!(matches!(joined, Done::Joined(Ok(j)) if j.event.time == 90 && j.seam == 89));
    }

    #[test]
    fn every_server_has_numbers_of_its_own() {
        assert_eq!(first_of(0), 1);
        assert_eq!(server_of(first_of(0)), 0);
        let last = first_of(8) - 2;
        assert_eq!((server_of(first_of(7)), server_of(last)), (7, 7));
        assert!(first_of(1 << 22) < i64::MAX as u64);
    }
}
