//! The server's side: each room's history, in epochs.
//!
//! An epoch is a stretch of a room's life in which its clock never begins
//! anew. A run of the server that finds the room in its store says so with a
//! `ROOM` line and goes on with the epoch; one that does not (a store in
//! memory, a new file) begins another. Where a log may lack events that the
//! server kept, because the server was killed or because its log begins late,
//! the epoch has a hole.
//!
//! Servers that share their rooms each tell of every event. What they tell of
//! one room is put together by the room's clock (see [`replicas`]): where
//! nobody tells there is a hole, and where they contradict each other both
//! lines stand, for the laws to find.

use std::collections::HashMap;

use super::line::What;
use super::log::{Log, Process, Run};
use super::names::{NO_NAME, NameId};

mod replicas;

/// How many epochs of a room are looked at to see with which one a run goes
/// on.
const LOOKED_AT: usize = 64;

/// A room's history from one beginning of its clock.
#[derive(Debug)]
pub struct Epoch {
    /// The room, folded.
    pub room: NameId,
    /// The room as it was first written.
    pub name: NameId,
    /// The room's lines, `ROOM` lines among them, as they stand in the log.
    pub lines: Vec<u32>,
    /// Where lines may lack: stretches apart from each other, in order.
    pub holes: Vec<Hole>,
    /// Whether the server's log tells of it at all.
    pub is_logged: bool,
    /// Of several servers: what one of them does not tell, though it tells of
    /// what comes later, and that.
    pub skipped: Vec<[u32; 2]>,
    /// Of several servers: what one of them tells twice.
    pub repeated: Vec<[u32; 2]>,
    /// Of several servers: what one of them tells like another, whose line is
    /// among `lines`, and that.
    pub alike: HashMap<u32, u32>,
    /// The stamped lines by their Lamport time.
    by_time: Vec<(i64, u32)>,
}

/// A stretch of a room's Lamport time of which the log may lack events:
/// `after < L <= up_to`.
#[derive(Debug, Clone, Copy)]
pub struct Hole {
    /// It lies before this one of the epoch's lines.
    pub before: usize,
    /// Lamport time of the last line before it.
    pub after: i64,
    /// Lamport time up to which something may lack.
    pub up_to: i64,
}

impl Hole {
    /// Whether it lies before or behind all of the epoch's lines.
    pub fn is_edge(&self) -> bool {
        self.before == 0 || self.up_to == i64::MAX
    }

    /// Whether an event of Lamport time `time` may be in it.
    pub fn covers(&self, time: i64) -> bool {
        self.after < time && time <= self.up_to
    }
}

impl Epoch {
    /// An epoch of which only clients tell.
    pub fn untold(room: NameId, name: NameId) -> Self {
        let everything = Hole {
            before: 0,
            after: i64::MIN,
            up_to: i64::MAX,
        };
        Self {
            room,
            name,
            lines: Vec::new(),
            holes: vec![everything],
            is_logged: false,
            skipped: Vec::new(),
            repeated: Vec::new(),
            alike: HashMap::new(),
            by_time: Vec::new(),
        }
    }

    /// The lines that the server stamped with this Lamport time: one, if it
    /// did what it should.
    pub fn stamped_at(&self, time: i64) -> impl Iterator<Item = u32> + '_ {
        let from = self.by_time.partition_point(|(t, _)| *t < time);
        self.by_time[from..]
            .iter()
            .take_while(move |(t, _)| *t == time)
            .map(|(_, line)| *line)
    }

    /// Whether an event of this Lamport time may lack.
    pub fn may_lack(&self, time: i64) -> bool {
        let at = self.holes.partition_point(|hole| hole.up_to < time);
        self.holes.get(at).is_some_and(|hole| hole.covers(time))
    }

    /// Whether an event of this Lamport time may lack before or behind all
    /// lines. There the room may have had other histories, and nobody could
    /// tell.
    pub fn is_edge_at(&self, time: i64) -> bool {
        let ends = [self.holes.first(), self.holes.last()];
        let mut edges = ends.into_iter().flatten().filter(|hole| hole.is_edge());
        edges.any(|hole| hole.covers(time))
    }
}

/// Whether the server stamps what this line tells with its room's clock.
pub fn is_stamped(what: What) -> bool {
    use What::*;
    matches!(what, Join | Resume | Message | Refused | Leave)
}

/// What is known of a room while the log is read on.
#[derive(Default)]
struct Known {
    epochs: Vec<Open>,
    /// The run that was seen last, and its epoch.
    now: Option<(u32, usize)>,
}

/// What is known of an epoch while the log is read on.
struct Open {
    epoch: usize,
    last: i64,
}

/// A line in which a server tells where a room's clock is.
struct Told {
    /// Its place in the log's entries.
    index: usize,
    /// Folded.
    room: NameId,
    time: i64,
    /// It tells of a room that was found, and of no event.
    is_room: bool,
}

/// The lines of a server's run that tell where a room's clock is.
fn told<'a>(log: &'a Log, run: &Run) -> impl Iterator<Item = Told> + use<'a> {
    run.entries().filter_map(move |index| {
        let entry = &log.entries[index];
        let is_room = entry.what == What::Room;
        let time = entry.time.filter(|_| is_room || is_stamped(entry.what))?;
        let room = log.names.folded(entry.room);
        Some(Told {
            index,
            room,
            time,
            is_room,
        })
    })
}

/// Reads every room's epochs off the server's log, by the place of their first
/// line.
pub fn epochs(log: &Log) -> Vec<Epoch> {
    let mut epochs: Vec<Epoch> = Vec::new();
    let mut rooms: HashMap<NameId, Known> = HashMap::new();
    let server = |run: &&Run| run.process == Process::Server;
    for (run_no, run) in (0u32..).zip(log.runs.iter().take_while(server)) {
        if run.log != NO_NAME {
            continue; // one of several that tell of the same
        }
        for Told {
            index,
            room,
            time,
            is_room,
        } in told(log, run)
        {
            let entry = &log.entries[index];
            let known = rooms.entry(room).or_default();
            let at = match known.now {
                Some((run, at)) if run == run_no => at,
                _ => {
                    let at = if is_room {
                        goes_on(&known.epochs, time)
                    } else {
                        None
                    };
                    at.unwrap_or_else(|| {
                        known.epochs.push(Open {
                            epoch: epochs.len(),
                            // What was before a log that begins late, or
                            // before a room that was found, is not told.
                            last: if run.whole && !is_room { 0 } else { i64::MIN },
                        });
                        epochs.push(Epoch {
                            is_logged: true,
                            holes: Vec::new(),
                            ..Epoch::untold(room, entry.room)
                        });
                        known.epochs.len() - 1
                    })
                }
            };
            known.now = Some((run_no, at));
            let open = &mut known.epochs[at];
            let epoch = &mut epochs[open.epoch];
            let up_to = if is_room {
                time
            } else {
                time.saturating_sub(1)
            };
            let untold = is_room || open.last == i64::MIN;
            if untold && open.last < up_to && up_to > 0 {
                epoch.holes.push(Hole {
                    before: epoch.lines.len(),
                    after: open.last.max(0),
                    up_to,
                });
            }
            epoch.lines.push(index as u32);
            if !is_room {
                epoch.by_time.push((time, index as u32));
            }
            open.last = open.last.max(time).max(0);
        }
    }
    for open in rooms.into_values().flat_map(|known| known.epochs) {
        let epoch = &mut epochs[open.epoch];
        epoch.by_time.sort_unstable();
        // Even a server that stopped may have been started again, with a log
        // that is not there.
        epoch.holes.push(Hole {
            before: epoch.lines.len(),
            after: open.last,
            up_to: i64::MAX,
        });
    }
    epochs.extend(replicas::epochs(log));
    epochs
}

/// With which of a room's epochs a run goes on that found the room at `time`:
/// the last one, unless the room was further then and one of those before it
/// was not.
fn goes_on(known: &[Open], time: i64) -> Option<usize> {
    let last = known.len().checked_sub(1)?;
    let looked_at = known.iter().enumerate().rev().take(LOOKED_AT);
    let fits = looked_at.into_iter().find(|(_, open)| open.last <= time);
    Some(fits.map_or(last, |(at, _)| at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Vec<Epoch> {
        let lines: String = lines
            .lines()
            .map(|l| format!("t INFO [Server] {l}: x\n"))
            .collect();
        epochs(&Log::from_texts(vec![("server.log".to_owned(), lines)]).unwrap())
    }

    /// The holes of an epoch, as stretches of Lamport time.
    fn holes(epoch: &Epoch) -> Vec<(i64, i64)> {
        epoch.holes.iter().map(|h| (h.after, h.up_to)).collect()
    }

    #[test]
    fn a_run_that_finds_the_room_goes_on_with_it() {
        let epochs = read(
            "START\nJOIN L=2 seq=1 room=r who=A\nSTOP\nSTART\nROOM L=2 room=r\n\
             LEAVE L=3 seq=2 room=r who=A\nSTOP",
        );
        assert_eq!(epochs.len(), 1);
        assert_eq!(epochs[0].lines.len(), 3);
        assert_eq!(holes(&epochs[0]), [(3, i64::MAX)]);
    }

    #[test]
    fn a_run_that_does_not_find_the_room_begins_it_anew() {
        let epochs = read(
            "START\nJOIN L=2 seq=1 room=r who=A\nSTOP\nSTART\nJOIN L=2 seq=1 room=R who=B\nSTOP",
        );
        assert_eq!(epochs.len(), 2);
        assert!(epochs.iter().all(|e| e.room == epochs[0].room));
        assert_eq!(holes(&epochs[0]), [(2, i64::MAX)]);
    }

    #[test]
    fn what_a_killed_server_did_not_log_is_a_hole() {
        let epochs = read("START\nJOIN L=2 seq=1 room=r who=A\nSTART\nROOM L=5 room=r\nSTOP");
        assert_eq!(holes(&epochs[0]), [(2, 5), (5, i64::MAX)]);
        assert!(epochs[0].may_lack(3) && epochs[0].may_lack(5) && !epochs[0].may_lack(2));
        assert!(!epochs[0].is_edge_at(4));
    }

    #[test]
    fn a_log_that_begins_late_or_does_not_end_may_lack_what_lies_beyond() {
        let epochs = read("JOIN L=7 seq=3 room=r who=A");
        assert_eq!(holes(&epochs[0]), [(0, 6), (7, i64::MAX)]);
        assert!(epochs[0].is_edge_at(6) && epochs[0].is_edge_at(8) && !epochs[0].is_edge_at(7));
    }

    #[test]
    fn a_room_that_goes_back_is_the_same_room_unless_an_earlier_history_fits() {
        let back = read("START\nJOIN L=9 seq=1 room=r who=A\nSTART\nROOM L=5 room=r");
        assert_eq!(back.len(), 1);
        let earlier = read(
            "START\nJOIN L=5 seq=1 room=r who=A\nSTOP\nSTART\nJOIN L=9 seq=1 room=r who=A\nSTOP\n\
             START\nROOM L=5 room=r\nSTOP",
        );
        assert_eq!(earlier.len(), 2);
        assert_eq!((earlier[0].lines.len(), earlier[1].lines.len()), (2, 1));
    }
}
