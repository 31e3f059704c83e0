//! Events kept in this process, as many as [`Keep`] says, gone when it
//! ends. Knows of no file and no roster: nothing is ever restored from it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use super::{HistoryError, Journal, Keep, Opened, Past, Record, Span};
use crate::chat::{Audience, Event, MemberKey};

/// All rooms. Under the lock only pointers are pushed, found and copied; the
/// events themselves are cloned after it is released, so that a long page does
/// not hold up the one thread that appends.
struct Memory {
    keep: Keep,
    rooms: RwLock<HashMap<u32, RoomPast>>,
}

/// What is kept of one room.
#[derive(Default)]
struct RoomPast {
    /// By rising Lamport time.
    events: VecDeque<Kept>,
    /// The Lamport time of the last event that was let go, or 0.
    floor: i64,
}

#[derive(Clone)]
struct Kept {
    event: Arc<Event>,
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
            if let Some((event, audience)) = record.event.clone() {
                let past = rooms.entry(record.room.no).or_default();
                past.push(Kept { event, audience }, self.keep);
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
        let page = {
            let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
            match rooms.get(&room) {
                Some(past) => past.page(span, viewer)?,
                None => Vec::new(),
            }
        };
        Ok(page.iter().map(|kept| Event::clone(&kept.event)).collect())
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
    fn push(&mut self, kept: Kept, keep: Keep) {
        let now = kept.event.wall_ms;
        self.events.push_back(kept);
        while let Some(oldest) = self.events.front() {
            let later = self.events.len() as u64 - 1;
            if !keep.lets_go(later, now.saturating_sub(oldest.event.wall_ms)) {
                break;
            }
            self.floor = oldest.event.time;
            self.events.pop_front();
        }
    }

    /// How many of the events have a time of at most `time`.
    fn up_to(&self, time: i64) -> usize {
        self.events.partition_point(|k| k.event.time <= time)
    }

    fn page(&self, span: Span, viewer: Option<MemberKey>) -> Result<Vec<Kept>, HistoryError> {
        span.above(self.floor)?;
        let first = self.up_to(span.after);
        let end = self.up_to(span.up_to).max(first);
        Ok(self
            .events
            .range(first..end)
            .filter(|kept| kept.is_for(viewer))
            .take(span.limit)
            .cloned()
            .collect())
    }

    fn position_of_last(&self, count: usize, up_to: i64, viewer: Option<MemberKey>) -> i64 {
        let Some(before_first) = count.checked_sub(1) else {
            return up_to.max(self.floor);
        };
        self.events
            .range(..self.up_to(up_to))
            .rev()
            .filter(|kept| kept.is_for(viewer))
            .nth(before_first)
            .map_or(self.floor, |first| first.event.time - 1)
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
