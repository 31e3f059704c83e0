//! Events kept in this process, as many as [`Keep`] says, gone when it
//! ends. Knows of no file and no roster: nothing is ever restored from it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::{HistoryError, Journal, Keep, Opened, Past, Record, Span};
use crate::chat::{Audience, Event, MemberKey};

/// Events in a block.
const BLOCK: usize = 64;

/// All rooms. Under the lock blocks are filled, found and shared; the events
/// themselves are cloned after it is released, so that a long page does not
/// hold up the one thread that appends.
struct Memory {
    keep: Keep,
    rooms: RwLock<HashMap<u32, RoomPast>>,
}

/// What is kept of one room, in blocks: an event is let go long after it was
/// last touched, and to free each by itself would cost more than to keep it.
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
}

#[derive(Clone)]
struct Kept {
    /// Without its text.
    event: Event,
    /// Where in its block that is.
    text: Range<u32>,
    audience: Audience,
}

pub(super) fn open(keep: Keep) -> Opened {
    let memory = Arc::new(Memory {
        keep,
        rooms: RwLock::default(),
    });
    Opened {
        rooms: Vec::new(),
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

impl Cache {
    /// Begins a room anew: of what happened up to the Lamport time `floor`
    /// nothing is kept.
    pub fn begin(&self, room: u32, floor: i64) {
        let begun = RoomPast {
            floor,
            ..RoomPast::default()
        };
        let mut rooms = self.0.rooms.write().unwrap_or_else(PoisonError::into_inner);
        rooms.insert(room, begun);
    }

    /// Keeps what the journal would.
    pub fn append(&self, group: &[Record]) {
        self.0.keep(group);
    }
}

impl Memory {
    fn keep(&self, group: &[Record]) {
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        for record in group {
            if let Some((event, audience)) = &record.event {
                let past = rooms.entry(record.room.no).or_default();
                past.push(event, *audience, self.keep);
            }
        }
    }
}

impl Journal for Arc<Memory> {
    fn append(&mut self, group: &[Record]) -> Result<(), HistoryError> {
        self.keep(group);
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
            let age = event.wall_ms.saturating_sub(oldest.event.wall_ms);
            if !keep.lets_go(self.len() as u64 - 1, age) {
                break;
            }
            self.floor = oldest.event.time;
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
            .map_or(self.floor, |first| first.event.time - 1)
    }
}

impl Block {
    fn push(&mut self, event: &Event, audience: Audience) {
        let begin = self.texts.len() as u32;
        self.texts.push_str(&event.text);
        self.events.push(Kept {
            event: Event {
                text: String::new(),
                sender: event.sender.clone(),
                to: event.to.clone(),
                ..*event
            },
            text: begin..self.texts.len() as u32,
            audience,
        });
    }

    /// The Lamport time of its first event.
    fn begins(&self) -> i64 {
        self.events.first().map_or(0, |first| first.event.time)
    }

    /// The Lamport time of its last event.
    fn ends(&self) -> i64 {
        self.events.last().map_or(0, |last| last.event.time)
    }

    /// What `viewer` may see of its events between the times of this stretch.
    fn within(
        &self,
        span: Span,
        viewer: Option<MemberKey>,
    ) -> impl DoubleEndedIterator<Item = &Kept> {
        let up_to = |time| self.events.partition_point(|k| k.event.time <= time);
        let first = up_to(span.after);
        let events = &self.events[first..up_to(span.up_to).max(first)];
        events.iter().filter(move |kept| kept.is_for(viewer))
    }

    fn event(&self, kept: &Kept) -> Event {
        let text = kept.text.start as usize..kept.text.end as usize;
        Event {
            text: self.texts[text].to_owned(),
            ..kept.event.clone()
        }
    }
}

impl Kept {
    fn is_for(&self, viewer: Option<MemberKey>) -> bool {
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
