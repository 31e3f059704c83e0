//! What several servers tell of rooms that they share, put together.

use std::collections::{BTreeMap, HashMap};

use super::{Epoch, Hole, Told, told};
use crate::trace::log::{Log, Process};
use crate::trace::names::{NO_NAME, NameId};
use crate::trace::said::agree;

/// What one server tells of a room without a break.
struct Piece {
    /// Nothing lacks from this Lamport time on (exclusive).
    after: i64,
    /// Up to this one.
    up_to: i64,
    /// The stamped lines, as they stand.
    lines: Vec<u32>,
}

/// The epoch of each room of each shared log.
pub(super) fn epochs(log: &Log) -> Vec<Epoch> {
    let mut rooms: BTreeMap<(NameId, NameId), Vec<Piece>> = BTreeMap::new();
    for run in &log.runs {
        if run.process != Process::Server || run.log == NO_NAME {
            continue;
        }
        // The room's piece that goes on, in this run.
        let mut begun: BTreeMap<NameId, usize> = BTreeMap::new();
        for Told {
            index,
            room,
            time,
            is_room,
        } in told(log, run)
        {
            let pieces = rooms.entry((run.log, room)).or_default();
            let at = match begun.get(&room) {
                Some(at) if !is_room => *at,
                _ => {
                    // A room that was not found was opened in this run.
                    let after = if is_room { time } else { 0 };
                    pieces.push(Piece {
                        after,
                        up_to: after,
                        lines: Vec::new(),
                    });
                    begun.insert(room, pieces.len() - 1);
                    pieces.len() - 1
                }
            };
            if !is_room {
                pieces[at].lines.push(index as u32);
                pieces[at].up_to = pieces[at].up_to.max(time);
            }
        }
    }
    let room = |((_, room), pieces)| epoch(log, room, pieces);
    rooms.into_iter().map(room).collect()
}

fn epoch(log: &Log, room: NameId, mut pieces: Vec<Piece>) -> Epoch {
    let time = |line: &u32| log.entries[*line as usize].time.unwrap_or(0);
    let is_in_order = |piece: &Piece| piece.lines.is_sorted_by_key(time);
    let mut lines: Vec<u32> = pieces.iter().flat_map(|p| p.lines.clone()).collect();
    let name = lines
        .first()
        .map_or(room, |line| log.entries[*line as usize].room);
    let (mut skipped, mut repeated) = (Vec::new(), Vec::new());
    let mut alike = HashMap::new();
    // What a server tells out of order is not put in order here.
    if pieces.iter().all(is_in_order) {
        lines.sort_by_key(|line| (time(line), *line));
        lines.dedup_by(|later, first| {
            let is_same = is_same(log, *first, *later);
            if is_same {
                alike.insert(*later, *first);
            }
            is_same
        });
        for piece in &pieces {
            let pairs = piece.lines.windows(2).map(|pair| [pair[0], pair[1]]);
            repeated.extend(pairs.filter(|[a, b]| time(a) == time(b)));
            skipped.extend(skipped_by(piece, &lines, time));
        }
    }
    let mut by_time: Vec<(i64, u32)> = lines.iter().map(|line| (time(line), *line)).collect();
    by_time.sort_unstable();
    pieces.sort_by_key(|piece| piece.after);
    let mut holes = Vec::new();
    let mut told = 0;
    for piece in &pieces {
        if piece.after > told {
            holes.push(Hole {
                before: lines.partition_point(|line| time(line) <= told),
                after: told,
                up_to: piece.after,
            });
        }
        told = told.max(piece.up_to);
    }
    holes.push(Hole {
        before: lines.len(),
        after: told,
        up_to: i64::MAX,
    });
    Epoch {
        is_logged: true,
        lines,
        holes,
        skipped,
        repeated,
        alike,
        by_time,
        ..Epoch::untold(room, name)
    }
}

/// The lines of others that lack in a piece, each with the piece's next one.
fn skipped_by(piece: &Piece, lines: &[u32], time: impl Fn(&u32) -> i64) -> Vec<[u32; 2]> {
    let from = lines.partition_point(|line| time(line) <= piece.after);
    let mut own = piece.lines.iter().peekable();
    let mut skipped = Vec::new();
    for line in &lines[from..] {
        while own.next_if(|own| time(own) < time(line)).is_some() {}
        match own.peek() {
            None => break,
            Some(&&next) if time(&next) > time(line) => skipped.push([*line, next]),
            Some(_) => {}
        }
    }
    skipped
}

/// Whether two servers' lines tell of the same event in the same way.
fn is_same(log: &Log, first: u32, other: u32) -> bool {
    let (a, b) = (&log.entries[first as usize], &log.entries[other as usize]);
    a.run != b.run
        && (a.time, a.what, a.seq, a.sent) == (b.time, b.what, b.seq, b.sent)
        && log.names.same(a.who, b.who)
        && a.may_share_id(b)
        && log.names.same(a.to, b.to)
        && agree(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(servers: &[&str]) -> Vec<Epoch> {
        let text = |(n, lines): (usize, &&str)| {
            let line = |l: &str| format!("t INFO [Server] {l}: x\n");
            (format!("{n}.log"), lines.lines().map(line).collect())
        };
        let texts = servers.iter().enumerate().map(text).collect();
        epochs(&Log::from_texts(texts).unwrap())
    }

    fn holes(epoch: &Epoch) -> Vec<(i64, i64)> {
        epoch.holes.iter().map(|h| (h.after, h.up_to)).collect()
    }

    const FIRST: &str = "START log=a\nJOIN L=2 seq=1 room=r who=A\nMESSAGE L=3 seq=2 room=r who=A\n\
                         LEAVE L=5 seq=3 room=r who=A";

    #[test]
    fn what_several_servers_tell_alike_is_told_once() {
        let late = "START log=a\nROOM L=2 room=r\nMESSAGE L=3 seq=2 room=R who=A\n\
                    LEAVE L=5 seq=3 room=r who=A\nJOIN L=6 seq=4 room=r who=B";
        let epochs = read(&[FIRST, late]);
        assert_eq!(epochs.len(), 1);
        assert_eq!(epochs[0].lines.len(), 4);
        assert_eq!(holes(&epochs[0]), [(6, i64::MAX)]);
    }

    #[test]
    fn what_no_server_tells_is_a_hole_and_other_logs_are_other_histories() {
        let later = "START log=a\nROOM L=9 room=r\nJOIN L=11 seq=7 room=r who=B";
        let other = "START log=b\nJOIN L=2 seq=1 room=r who=C";
        let epochs = read(&[FIRST, later, other]);
        assert_eq!(epochs.len(), 2);
        assert_eq!(holes(&epochs[0]), [(5, 9), (11, i64::MAX)]);
        assert!(epochs[0].may_lack(8) && !epochs[0].may_lack(4));
        assert_eq!(epochs[1].lines.len(), 1);
    }

    #[test]
    fn servers_that_contradict_each_other_are_both_heard() {
        let other = "START log=a\nJOIN L=2 seq=1 room=r who=A\nMESSAGE L=3 seq=2 room=r who=B";
        let epochs = read(&[FIRST, other]);
        assert_eq!(epochs[0].lines.len(), 4);
        assert_eq!(epochs[0].stamped_at(3).count(), 2);
    }
}
