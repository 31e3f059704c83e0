//! The past that a client asks for: found, read page by page, and sent ahead
//! of everything live.

use super::House;
use crate::chat::{MemberKey, RoomId};
use crate::history::{HistoryError, Span};
use crate::rpc::PastSender;
use crate::wire::{Ending, Group, PastAsk};

/// Events that are read at once.
const PAGE: usize = 256;

/// A walk through a room's past, for one viewer.
pub(super) struct Walk<'a> {
    house: &'a House,
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
    pub(super) fn begin(
        house: &'a House,
        room: &'a RoomId,
        viewer: Option<MemberKey>,
        batches: bool,
        ask: PastAsk,
        now: i64,
    ) -> Result<Self, Ending> {
        let position = match ask {
            PastAsk::After(after) if !(0..=now).contains(&after) => {
                return Err(Ending::OutOfRange(format!(
                    "L={after} is not in the past: the room is at L={now}"
                )));
            }
            PastAsk::After(after) => after,
            PastAsk::Last(count) => house
                .past
                .position_of_last(room.no, count as usize, now, viewer)
                .map_err(ending)?,
        };
        Ok(Self {
            house,
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
        let events = loop {
            let span = Span {
                after: self.position,
                up_to,
                limit: PAGE,
            };
            match self.house.past.read(self.room.no, span, self.viewer) {
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

fn ending(error: HistoryError) -> Ending {
    match error {
        HistoryError::Gone(_) => Ending::OutOfRange(error.to_string()),
        error => {
            log::error!("cannot read the history: {:#}", anyhow::Error::from(error));
            Ending::Internal
        }
    }
}
