//! Events kept in this process, as many as [`Keep`] says, gone when it
//! ends. Knows of no file and no roster: nothing is ever restored from it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use super::{HistoryError, Journal, Keep, Opened, Past, Record, Span};
use crate::chat::{Audience, Event, Kind, MemberKey};

/// Events in a block.
const BLOCK: usize = 512;

/// How far back an event looks for one of the same party. Few speak at a time;
/// if many do, each of their events names its party anew.
const PARTIES_LOOKED_AT: usize = 8;

/// All rooms. Under the lock blocks are filled, found and shared; the events
/// themselves are cloned after it is released, so that a long page does not
/// hold up the one thread that appends.
struct Memory {
    keep: Keep,
    rooms: RwLock<HashMap<u32, RoomPast>>,
}

/// What is kept of one room, in blocks: an event is let go long after it was
/// last touched, and to free each by itself would cost more than to keep it.
/// The larger they are, the fewer system calls are made for more memory.
#[derive(Default)]
struct RoomPast {
    /// By rising Lamport time; all but the last are full.
    blocks: VecDeque<Arc<Block>>,
    /// How many events of the first block are let go.
    gone: usize,
    /// The Lamport time of the last event that was let go, or 0.
    floor: i64,
}

/// Events in a row. One that somebody reads is not changed but copied.
#[derive(Clone, Default)]
struct Block {
    events: Vec<Kept>,
    /// Their texts, one after the other.
    texts: String,
    /// What many of them have in common.
    parties: Vec<Party>,
}

/// What an event has for itself alone.
#[derive(Clone)]
struct Kept {
    time: i64,
    seq: u64,
    sent: i64,
    wall_ms: i64,
    /// Where in the block's texts its own ends; it begins where the last ended.
    text_ends: u32,
    /// Which of the block's parties.
    party: u16,
    kind: Kind,
}

/// Who said something to whom.
#[derive(Clone)]
struct Party {
    sender_id: i32,
    sender: Arc<str>,
    to: Option<Arc<str>>,
    audience: Audience,
}

pub(super) fn open(keep: Keep) -> Opened {
    let memory = Arc::new(Memory {
        keep,
        rooms: RwLock::default(),
    });
    Opened {
        rooms: Vec::new(),
        last_key: MemberKey(0),
        journal: Box::new(memory.clone()),
        cache: Some(Cache(memory.clone())),
        past: memory,
    }
}

/// Fills a history in memory beside its journal, with what is kept elsewhere.
/// Whoever does so sees to it that nothing of the same room is on its way
/// through the journal.
#[derive(Clone)]
pub struct Cache(Arc<Memory>);

/// A room's past that nobody reads yet.
pub struct Filling {
    past: RoomPast,
    keep: Keep,
}

impl Cache {
    /// The past of a room, of which nothing up to the Lamport time `floor` is
    /// kept. It is to be filled, and [`put`](Self::put).
    pub fn fill(&self, floor: i64) -> Filling {
        Filling {
            past: RoomPast {
                floor,
                ..RoomPast::default()
            },
            keep: self.0.keep,
        }
    }

    /// From now on this is a room's past.
    pub fn put(&self, room: u32, filling: Filling) {
        let mut rooms = self.0.rooms.write().unwrap_or_else(PoisonError::into_inner);
        let before = rooms.insert(room, filling.past);
        drop(rooms);
        drop(before); // it may be large, and nobody waits for it
    }
}

impl Filling {
    /// Keeps what the journal would.
    pub fn add(&mut self, record: &Record) {
        if let Some((event, audience)) = &record.event {
            self.past.push(event, *audience, self.keep);
        }
    }
}

impl Journal for Arc<Memory> {
    fn append(&mut self, group: &[Record]) -> Result<(), HistoryError> {
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        for record in group {
            if let Some((event, audience)) = &record.event {
                let past = rooms.entry(record.room.no).or_default();
                past.push(event, *audience, self.keep);
            }
        }
        Ok(())
    }
}

impl Past for Memory {
    fn read(
        &self,
        room: u32,
        span: Span,
        viewer: Option<MemberKey>,
    ) -> Result<Vec<Event>, HistoryError> {
        let blocks = {
            let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
            match rooms.get(&room) {
                Some(past) => past.blocks_of(span, viewer)?,
                None => Vec::new(),
            }
        };
        let events = blocks.iter().flat_map(|block| {
            let found = block.within(span, viewer);
            found.map(|kept| block.event(kept))
        });
        Ok(events.take(span.limit).collect())
    }

    fn position_of_last(
        &self,
        room: u32,
        count: usize,
        up_to: i64,
        viewer: Option<MemberKey>,
    ) -> Result<i64, HistoryError> {
        let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        Ok(rooms
            .get(&room)
            .map_or(0, |past| past.position_of_last(count, up_to, viewer)))
    }
}

impl RoomPast {
    fn push(&mut self, event: &Event, audience: Audience, keep: Keep) {
        match self.blocks.back() {
            Some(last) if last.events.len() < BLOCK => {}
            // A room that has filled one fills the next.
            Some(full) => {
                let next = Block {
                    events: Vec::with_capacity(BLOCK),
                    texts: String::with_capacity(full.texts.len()),
                    parties: Vec::with_capacity(full.parties.len()),
                };
                self.blocks.push_back(Arc::new(next));
            }
            None => self.blocks.push_back(Arc::default()),
        }
        if let Some(last) = self.blocks.back_mut() {
            Arc::make_mut(last).push(event, audience);
        }
        while let Some(first) = self.blocks.front()
            && let Some(oldest) = first.events.get(self.gone)
        {
            let age = event.wall_ms.saturating_sub(oldest.wall_ms);
            if !keep.lets_go(self.len() as u64 - 1, age) {
                break;
            }
            self.floor = oldest.time;
            self.gone += 1;
            if self.gone == BLOCK {
                self.gone = 0;
                self.blocks.pop_front();
            }
        }
    }

    fn len(&self) -> usize {
        let last = self.blocks.back().map_or(0, |last| last.events.len());
        self.blocks.len().saturating_sub(1) * BLOCK + last - self.gone
    }

    /// The blocks that hold the first events of the stretch, as many as it asks
    /// for.
    fn blocks_of(
        &self,
        span: Span,
        viewer: Option<MemberKey>,
    ) -> Result<Vec<Arc<Block>>, HistoryError> {
        span.above(self.floor)?;
        let first = self.blocks.partition_point(|b| b.ends() <= span.after);
        let mut wanted = span.limit;
        let blocks = self.blocks.range(first..).take_while(|block| {
            let is_wanted = wanted > 0 && block.begins() <= span.up_to;
            wanted = wanted.saturating_sub(block.within(span, viewer).count());
            is_wanted
        });
        Ok(blocks.cloned().collect())
    }

    fn position_of_last(&self, count: usize, up_to: i64, viewer: Option<MemberKey>) -> i64 {
        let Some(before_first) = count.checked_sub(1) else {
            return up_to.max(self.floor);
        };
        let span = Span {
            after: self.floor,
            up_to,
            limit: count,
        };
        let within = |block| Block::within(block, span, viewer).rev();
        (self.blocks.iter().rev().map(Arc::as_ref).flat_map(within))
            .nth(before_first)
            .map_or(self.floor, |(_, first)| first.time - 1)
    }
}

impl Block {
    fn push(&mut self, event: &Event, audience: Audience) {
        let party = self.party_of(event, audience);
        self.texts.push_str(&event.text);
        self.events.push(Kept {
            time: event.time,
            seq: event.seq,
            sent: event.sent,
            wall_ms: event.wall_ms,
            text_ends: self.texts.len() as u32,
            party,
            kind: event.kind,
        });
    }

    fn party_of(&mut self, event: &Event, audience: Audience) -> u16 {
        let last = self.parties.iter().enumerate().rev();
        let known = last.take(PARTIES_LOOKED_AT).find(|(_, party)| {
            party.sender_id == event.sender_id
                && party.audience == audience
                && party.sender == event.sender
                && party.to == event.to
        });
        if let Some((party, _)) = known {
            return party as u16;
        }
        self.parties.push(Party {
            sender_id: event.sender_id,
            sender: event.sender.clone(),
            to: event.to.clone(),
            audience,
        });
        (self.parties.len() - 1) as u16
    }

    /// The Lamport time of its first event.
    fn begins(&self) -> i64 {
        self.events.first().map_or(0, |first| first.time)
    }

    /// The Lamport time of its last event.
    fn ends(&self) -> i64 {
        self.events.last().map_or(0, |last| last.time)
    }

    /// What `viewer` may see of its events between the times of this stretch,
    /// each with its place in the block.
    fn within(
        &self,
        span: Span,
        viewer: Option<MemberKey>,
    ) -> impl DoubleEndedIterator<Item = (usize, &Kept)> {
        let up_to = |time| self.events.partition_point(|kept| kept.time <= time);
        let first = up_to(span.after);
        let last = up_to(span.up_to).max(first);
        let events = self.events[first..last].iter().enumerate();
        let placed = events.map(move |(i, kept)| (first + i, kept));
        placed.filter(move |(_, kept)| self.party(kept).may_be_seen_by(viewer))
    }

    fn party(&self, kept: &Kept) -> &Party {
        &self.parties[usize::from(kept.party)]
    }

    fn event(&self, (place, kept): (usize, &Kept)) -> Event {
        let before = place.checked_sub(1).and_then(|i| self.events.get(i));
        let text = before.map_or(0, |last| last.text_ends as usize)..kept.text_ends as usize;
        let party = self.party(kept);
        Event {
            time: kept.time,
            seq: kept.seq,
            kind: kept.kind,
            sender_id: party.sender_id,
            sender: party.sender.clone(),
            text: self.texts[text].to_owned(),
            sent: kept.sent,
            wall_ms: kept.wall_ms,
            to: party.to.clone(),
        }
    }
}

impl Party {
    fn may_be_seen_by(&self, viewer: Option<MemberKey>) -> bool {
        match viewer {
            Some(key) => self.audience.includes(key),
            None => self.audience == Audience::Room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{message, room};

    const KEEP: usize = 1000;

    #[test]
    fn the_oldest_events_go_and_whoever_asks_for_them_is_told() {
        let Opened {
            mut journal, past, ..
        } = open(Keep::Events(KEEP as u64));
        let room = room(1, "Chit Chat");
        let span = |after| Span {
            after,
            up_to: i64::MAX,
            limit: 3,
        };
        let group = |times: std::ops::RangeInclusive<i64>| -> Vec<Record> {
            times
                .map(|time| message(&room, time, time as u64))
                .collect()
        };

        journal.append(&group(1..=KEEP as i64)).unwrap();
        assert_eq!(past.read(1, span(0), None).unwrap()[0].time, 1);
        assert_eq!(
            past.position_of_last(1, usize::MAX, i64::MAX, None)
                .unwrap(),
            0
        );

        journal
            .append(&group(KEEP as i64 + 1..=KEEP as i64 + 10))
            .unwrap();
        for after in [-1, 0, 9] {
            let read = past.read(1, span(after), None);
            assert!(matches!(read, Err(HistoryError::Gone(11))), "{read:?}");
        }
        assert_eq!(past.read(1, span(10), None).unwrap()[0].time, 11);
        for count in [KEEP, KEEP + 1, usize::MAX] {
            assert_eq!(past.position_of_last(1, count, i64::MAX, None).unwrap(), 10);
        }
        assert_eq!(past.position_of_last(1, 5, 3, None).unwrap(), 10);
        assert_eq!(past.position_of_last(1, 0, 3, None).unwrap(), 10);
    }
}
