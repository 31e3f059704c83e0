//! The past that a client asks for: found, read page by page, and sent ahead
//! of everything live.

use crate::chat::{MemberKey, RoomId};
use crate::history::{HistoryError, Past, Span};
use crate::rpc::PastSender;
use crate::wire::{Ending, Group, PastAsk};

/// Events that are read at once.
const PAGE: usize = 256;

/// Whoever asks for the last so many events gets no more than this: to find the
/// first of them costs a step each.
const MOST_LAST: u32 = 100_000;

/// So many of them are found at once, in a few milliseconds: then others have
/// their turn at the history.
const STRIDE: u32 = 4096;

/// Whoever asks for the last so many asks for all that are kept: for that
/// nothing need be found.
pub(super) const EVERYTHING: PastAsk = PastAsk::Last(u32::MAX);

/// A walk through a room's past, for one viewer.
pub(super) struct Walk<'a> {
    past: &'a dyn Past,
    room: &'a RoomId,
    viewer: Option<MemberKey>,
    batches: bool,
    /// The Lamport time up to which everything has been sent.
    position: i64,
    /// Whether it may begin later than at `position`: whoever asks for the last
    /// so many events gets those that are kept, and every new one may take the
    /// place of an old one.
    may_begin_later: bool,
}

impl<'a> Walk<'a> {
    /// Begins where `ask` says; `now` is the room's Lamport time.
    ///
    /// # Errors
    /// There is no such place, or `is_over` says that nobody waits any more:
    /// then nothing is looked for. Later on whoever takes the pages says so.
    pub(super) fn begin(
        past: &'a dyn Past,
        is_over: impl Fn() -> bool,
        room: &'a RoomId,
        viewer: Option<MemberKey>,
        batches: bool,
        ask: PastAsk,
        now: i64,
    ) -> Result<Self, Ending> {
        if is_over() {
            return Err(Ending::Goodbye);
        }
        check(ask, now)?;
        let position = match ask {
            PastAsk::After(after) => after,
            EVERYTHING => 0,
            PastAsk::Last(count) => find_last(past, is_over, room, viewer, count, now)?,
        };
        Ok(Self {
            past,
            room,
            viewer,
            batches,
            position,
            may_begin_later: matches!(ask, PastAsk::Last(_)),
        })
    }

    /// Sends whole pages as long as there are any: what is left is less than
    /// one, however fast others write.
    pub(super) fn catch_up(&mut self, out: &PastSender) -> Result<(), Ending> {
        while self.page(i64::MAX, PAGE, out)? {}
        Ok(())
    }

    /// Sends everything up to Lamport time `up_to`, which must be kept by now.
    pub(super) fn finish(mut self, up_to: i64, out: &PastSender) -> Result<(), Ending> {
        while self.page(up_to, 1, out)? {}
        Ok(())
    }

    /// Sends one page, unless fewer than `least` events are left. Returns
    /// whether there was one.
    fn page(&mut self, up_to: i64, least: usize, out: &PastSender) -> Result<bool, Ending> {
        // What was sent may be gone by now, and then so is its place.
        if self.position >= up_to {
            return Ok(false);
        }
        let events = loop {
            let span = Span {
                after: self.position,
                up_to,
                limit: PAGE,
            };
            match self.past.read(self.room.no, span, self.viewer) {
                Err(HistoryError::Gone(first)) if self.may_begin_later => {
                    self.position = first - 1;
                }
                read => break read.map_err(ending)?,
            }
        };
        let Some(last) = events.last().filter(|_| events.len() >= least) else {
            return Ok(false);
        };
        self.position = last.time;
        self.may_begin_later = false;
        let mut group = Group::default();
        events.iter().for_each(|event| group.push(event, true));
        out.send(match self.batches {
            true => vec![group.batch()],
            false => group.singles().collect(),
        })?;
        Ok(true)
    }
}

/// Whether what is asked for is in the past of a room that is at `now`, or why
/// not.
pub(super) fn check(ask: PastAsk, now: i64) -> Result<(), Ending> {
    match ask {
        PastAsk::After(after) if !(0..=now).contains(&after) => Err(Ending::OutOfRange(format!(
            "L={after} is not in the past: the room is at L={now}"
        ))),
        _ => Ok(()),
    }
}

/// The Lamport time of the last event up to `now` that is kept and that all may
/// see; where there is none, no later one than that.
pub(super) fn last_kept(past: &dyn Past, room: &RoomId, now: i64) -> Result<i64, Ending> {
    let before = past.position_of_last(room.no, 1, now, None);
    Ok(before.map_err(ending)?.saturating_add(1).min(now))
}

/// The Lamport time after which the last `count` events up to `now` lie, or as
/// many of them as are sent.
fn find_last(
    past: &dyn Past,
    is_over: impl Fn() -> bool,
    room: &RoomId,
    viewer: Option<MemberKey>,
    count: u32,
    now: i64,
) -> Result<i64, Ending> {
    let mut position = now;
    let mut wanted = count.min(MOST_LAST);
    while wanted > 0 {
        if is_over() {
            return Err(Ending::Goodbye);
        }
        let stride = wanted.min(STRIDE);
        let before = past
            .position_of_last(room.no, stride as usize, position, viewer)
            .map_err(ending)?;
        if before >= position {
            return Ok(before); // nothing before it is kept
        }
        position = before;
        wanted -= stride;
    }
    Ok(position)
}

fn ending(error: HistoryError) -> Ending {
    match error {
        HistoryError::Gone(_) => Ending::OutOfRange(error.to_string()),
        error => {
            log::error!("cannot read the history: {:#}", anyhow::Error::from(error));
            Ending::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use super::*;
    use crate::chat::{Event, Name};

    /// A room with an event at each Lamport time after `floor`; notes how many
    /// are looked for at once.
    struct Dense {
        floor: i64,
        searches: Mutex<Vec<usize>>,
    }

    impl Past for Dense {
        fn read(&self, _: u32, _: Span, _: Option<MemberKey>) -> Result<Vec<Event>, HistoryError> {
            Ok(Vec::new())
        }

        fn position_of_last(
            &self,
            _: u32,
            count: usize,
            up_to: i64,
            _: Option<MemberKey>,
        ) -> Result<i64, HistoryError> {
            self.searches.lock().unwrap().push(count);
            Ok((up_to - count as i64).max(self.floor))
        }
    }

    const NOW: i64 = 3 * MOST_LAST as i64;

    /// Where a walk begins in a room that is at [`NOW`], if its client is gone
    /// after so many looks at it, and what is searched for that.
    fn begun(ask: PastAsk, floor: i64, looks: usize) -> (Result<i64, Ending>, Vec<usize>) {
        let name = Name::parse("ops").unwrap();
        let room = RoomId { no: 1, name };
        let searches = Mutex::default();
        let past = Dense { floor, searches };
        let looked = Cell::new(0);
        let is_over = || looked.replace(looked.get() + 1) >= looks;
        let walk = Walk::begin(&past, is_over, &room, None, true, ask, NOW);
        let position = walk.map(|walk| walk.position);
        (position, past.searches.into_inner().unwrap())
    }

    #[test]
    fn the_last_events_are_found_a_stride_at_a_time_and_only_so_many() {
        let most = i64::from(MOST_LAST);
        for (count, found) in [
            (1, 1),
            (STRIDE, STRIDE.into()),
            (STRIDE + 1, i64::from(STRIDE) + 1),
            (MOST_LAST, most),
            (MOST_LAST + 1, most),
            (u32::MAX - 1, most),
        ] {
            let (begins, searches) = begun(PastAsk::Last(count), 0, usize::MAX);
            assert_eq!(begins, Ok(NOW - found), "{count}");
            assert_eq!(searches.iter().sum::<usize>() as i64, found, "{count}");
            assert!(searches.iter().all(|&n| n <= STRIDE as usize), "{count}");
        }
        // fewer are kept
        for kept in [0, 1, i64::from(STRIDE), i64::from(STRIDE) + 1] {
            let (begins, _) = begun(PastAsk::Last(MOST_LAST), NOW - kept, usize::MAX);
            assert_eq!(begins, Ok(NOW - kept));
        }
    }

    #[test]
    fn for_everything_nothing_is_searched_nor_for_whoever_is_gone() {
        assert_eq!(begun(EVERYTHING, 0, usize::MAX), (Ok(0), vec![]));
        for ask in [PastAsk::Last(5), EVERYTHING, PastAsk::After(3)] {
            assert_eq!(begun(ask, 0, 0), (Err(Ending::Goodbye), vec![]));
        }
        let (begins, searches) = begun(PastAsk::Last(MOST_LAST), 0, 4);
        assert_eq!((begins, searches.len()), (Err(Ending::Goodbye), 3));
    }
}
