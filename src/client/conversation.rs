//! What a participant knows: what it said that has no echo yet, and up to
//! where it has heard the room. No threads, no network. The clock is the
//! process's, which may be in another room too.

use std::collections::VecDeque;

use crate::chat::{Event, Kind, LamportClock, MAX_AHEAD, MAX_NAME_CHARS, MAX_TEXT_CHARS};
use crate::wire::{PastAsk, Received, Request};

/// Messages without an echo at most. Whoever says more waits.
pub(super) const WINDOW: usize = 1024;

/// Messages in one frame at most, and their bytes of text at most: a frame
/// must stay below what a server reads.
const BATCH_MESSAGES: usize = 256;
const BATCH_BYTES: usize = 32 * 1024;

/// A text longer than this, in characters, is not even sent to be refused: the
/// frame could be more than a server reads.
const SENDABLE_CHARS: usize = 4096;

/// Why something is not said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// Far too long to be sent.
    #[error("Message too long ({0} chars). Limit is {MAX_TEXT_CHARS}.")]
    TooLong(usize),
    /// Nobody can be called that.
    #[error("nobody is there whose name has {0} characters; {MAX_NAME_CHARS} is the limit")]
    NameTooLong(usize),
    /// The participant is leaving, or has left.
    #[error("not in the room any more")]
    Over,
}

/// What the participant said and has not heard back.
#[derive(Debug)]
struct Pending {
    sent: i64,
    text: String,
    to: String,
}

#[derive(Debug, Default)]
pub(super) struct Conversation {
    pending: VecDeque<Pending>,
    /// How many of `pending` went out on the present connection.
    out: usize,
    /// The room's Lamport time of the last event heard.
    position: i64,
    /// The number of the last event heard that all see; 0 from a server that
    /// does not number them.
    seq: u64,
    /// Whether the server is one of ours: it numbers events.
    numbered: bool,
    /// Whether it was ever in the room.
    joined: bool,
    /// Whether some of what it missed is no longer kept.
    past_gone: bool,
    /// Whether something live was heard on the present connection: then the
    /// past is over, and what still has no echo has none there.
    live: bool,
    /// Replayed events heard on the present connection.
    replayed: u64,
    leaving: bool,
    /// Whether the goodbye was sent.
    left: bool,
}

/// What a received event is to the participant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// News; `gap` are the numbers missing before it.
    New {
        own_time: i64,
        gap: Option<(u64, u64)>,
    },
    /// Heard before.
    Repeat,
    /// Its time is not one that a room can have.
    Impossible,
}

impl Conversation {
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined
    }

    /// Whether the server is one of ours.
    pub(super) fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Whether it is to leave, and has nothing left to say.
    pub(super) fn is_done(&self) -> bool {
        self.leaving && self.pending.is_empty()
    }

    /// Whether it was never in the room.
    pub(super) fn is_new(&self) -> bool {
        !self.joined && !self.past_gone
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing more may be said for now.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= WINDOW
    }

    /// Takes something to be said. This is the send event: its time travels
    /// with the message however often it is sent.
    pub(super) fn say(
        &mut self,
        text: &str,
        to: &str,
        clock: &mut LamportClock,
    ) -> Result<i64, SayError> {
        let chars = text.chars().count();
        if chars > SENDABLE_CHARS {
            return Err(SayError::TooLong(chars));
        }
        let name_chars = to.chars().count();
        if name_chars > MAX_NAME_CHARS {
            return Err(SayError::NameTooLong(name_chars));
        }
        if self.leaving {
            return Err(SayError::Over);
        }
        let sent = clock.tick();
        self.pending.push_back(Pending {
            sent,
            text: text.to_owned(),
            to: to.to_owned(),
        });
        Ok(sent)
    }

    /// A new connection begins: returns the Lamport time of its JOIN, and
    /// which part of the past it asks for.
    pub(super) fn begin(
        &mut self,
        first_ask: Option<PastAsk>,
        clock: &mut LamportClock,
    ) -> (i64, Option<PastAsk>) {
        self.out = 0;
        self.live = false;
        self.replayed = 0;
        let past = match self.joined {
            true if self.numbered => Some(PastAsk::After(self.position)),
            true => None,
            false if self.past_gone => Some(PastAsk::Last(u32::MAX)),
            false => first_ask,
        };
        (clock.tick(), past)
    }

    /// The room's past is not what it was: whatever is still kept is news.
    pub(super) fn forget_position(&mut self) {
        self.joined = false;
        self.past_gone = true;
        self.position = 0;
    }

    /// The next messages to send, now that the server has answered the JOIN
    /// and the past is over.
    pub(super) fn next_out(&mut self) -> Vec<Request> {
        let most = if self.numbered { BATCH_MESSAGES } else { 1 };
        let mut bytes = 0;
        let fits = |p: &&Pending| {
            bytes += p.text.len() + p.to.len();
            bytes <= BATCH_BYTES
        };
        let batch: Vec<_> = self
            .pending
            .iter()
            .skip(self.out)
            .take(most)
            .take_while(fits)
            .collect();
        let requests: Vec<_> = batch
            .into_iter()
            .map(|p| Request::Say {
                text: p.text.clone(),
                to: p.to.clone(),
                sent: p.sent,
            })
            .collect();
        self.out += requests.len();
        requests
    }

    /// Whether there is something to send and it may be sent.
    pub(super) fn may_send(&self) -> bool {
        self.live && self.out < self.pending.len()
    }

    /// Whether all that was said has come back and the goodbye may be sent.
    pub(super) fn may_leave(&self) -> bool {
        self.live && self.is_done()
    }

    /// The Lamport time of the goodbye.
    pub(super) fn goodbye(&mut self, clock: &mut LamportClock) -> i64 {
        self.left = true;
        clock.tick()
    }

    /// Takes an event. `mine` says whether this participant sent it.
    pub(super) fn hear(
        &mut self,
        received: &Received,
        mine: bool,
        clock: &mut LamportClock,
    ) -> Heard {
        let event = &received.event;
        if !(0..i64::MAX - MAX_AHEAD).contains(&event.time) {
            return Heard::Impossible;
        }
        let own_time = clock.witness(event.time);
        self.live |= !received.replayed;
        // The receipt of a resume has no number, but the time on the wall.
        self.numbered |= event.seq > 0 || event.wall_ms > 0;
        if mine || event.kind == Kind::Refusal {
            self.acknowledge(event);
        }
        let repeat = self.numbered && self.joined && event.time <= self.position;
        let gap = (event.seq > self.seq + 1 && self.seq > 0).then(|| (self.seq + 1, event.seq - 1));
        self.joined = true;
        self.position = self.position.max(event.time);
        self.seq = self.seq.max(event.seq);
        self.replayed += u64::from(received.replayed);
        match repeat {
            true => Heard::Repeat,
            false => Heard::New { own_time, gap },
        }
    }

    /// How many events the present connection brought from the past.
    pub(super) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Something said has come back, stamped or refused. The original server
    /// does not say which; there it is the oldest.
    fn acknowledge(&mut self, event: &Event) {
        if event.kind != Kind::Message && event.kind != Kind::Refusal {
            return;
        }
        let known = event.sent > 0;
        let answered = |p: &Pending| !known || p.sent == event.sent;
        if self.pending.front().is_some_and(answered) {
            self.pending.pop_front();
            self.out = self.out.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(time: i64, seq: u64, kind: Kind, sent: i64) -> Received {
        let event = Event {
            time,
            seq,
            kind,
            sender_id: 7,
            sender: "Alex".into(),
            text: String::new(),
            sent,
            wall_ms: 0,
            to: None,
        };
        Received {
            event,
            replayed: false,
        }
    }

    /// Somebody who joined and sent «a» and «b», and when.
    fn after_two_messages(clock: &mut LamportClock) -> (Conversation, i64, i64) {
        let mut me = Conversation::default();
        me.begin(None, clock);
        me.hear(&heard(2, 1, Kind::Join, 1), true, clock);
        let [a, b] = ["a", "b"].map(|text| me.say(text, "", clock).unwrap());
        assert_eq!(me.next_out().len(), 2);
        (me, a, b)
    }

    #[test]
    fn every_send_is_later_than_all_that_was_heard() {
        let (mut me, clock) = (Conversation::default(), &mut LamportClock::default());
        assert_eq!(me.begin(None, clock), (1, None));
        assert_eq!(
            me.hear(&heard(41, 9, Kind::Join, 1), true, clock),
            Heard::New {
                own_time: 42,
                gap: None
            }
        );
        assert_eq!(me.say("hi", "", clock), Ok(43));
        me.hear(&heard(45, 10, Kind::Message, 0), false, clock);
        assert_eq!(me.say("ho", "", clock), Ok(47));
    }

    #[test]
    fn what_has_no_echo_goes_out_again_after_a_loss() {
        let clock = &mut LamportClock::default();
        let (mut me, a, b) = after_two_messages(clock);
        assert!(!me.may_send());
        me.hear(&heard(5, 2, Kind::Message, a), true, clock);
        assert_eq!(me.begin(None, clock).1, Some(PastAsk::After(5)));
        me.hear(&heard(9, 0, Kind::Join, 6), true, clock);
        assert_eq!(
            me.next_out(),
            [Request::Say {
                text: "b".into(),
                to: String::new(),
                sent: b
            }]
        );
        me.leave();
        assert!(!me.may_leave());
        me.hear(&heard(10, 3, Kind::Message, b), true, clock);
        assert!(me.may_leave());
    }

    #[test]
    fn nothing_goes_out_again_before_the_past_has_been_heard() {
        let clock = &mut LamportClock::default();
        let (mut me, a, b) = after_two_messages(clock);
        assert_eq!(me.begin(None, clock).1, Some(PastAsk::After(2)));
        let mut echo = heard(5, 2, Kind::Message, a);
        echo.replayed = true;
        me.hear(&echo, true, clock);
        assert!(!me.may_send(), "the other echo may follow");
        me.hear(&heard(9, 0, Kind::Join, 6), true, clock);
        assert!(me.may_send());
        me.hear(&heard(10, 0, Kind::Refusal, b), false, clock);
        assert_eq!(me.pending(), 0, "received before, says the server");
    }

    #[test]
    fn a_receipt_alone_says_that_the_server_knows_the_past() {
        let (mut me, clock) = (Conversation::default(), &mut LamportClock::default());
        me.begin(None, clock); // its answer was lost
        me.begin(None, clock);
        let mut receipt = heard(7, 0, Kind::Join, 1);
        receipt.event.wall_ms = 1;
        me.hear(&receipt, true, clock);
        assert_eq!(me.begin(None, clock).1, Some(PastAsk::After(7)));
    }

    #[test]
    fn where_the_past_is_gone_all_that_is_left_is_asked_for_and_the_gap_told() {
        let (mut me, clock) = (Conversation::default(), &mut LamportClock::default());
        me.begin(Some(PastAsk::Last(3)), clock);
        me.hear(&heard(2, 5, Kind::Join, 1), true, clock);
        assert_eq!(me.begin(None, clock).1, Some(PastAsk::After(2)));
        me.forget_position();
        assert_eq!(me.begin(None, clock).1, Some(PastAsk::Last(u32::MAX)));
        let first_kept = me.hear(&heard(90, 50, Kind::Message, 3), false, clock);
        let gap = Some((6, 49));
        assert!(matches!(first_kept, Heard::New { gap: g, .. } if g == gap));
    }

    #[test]
    fn gaps_repeats_and_impossible_times_are_found() {
        let (mut me, clock) = (Conversation::default(), &mut LamportClock::default());
        me.begin(None, clock);
        me.hear(&heard(2, 5, Kind::Join, 1), true, clock);
        assert!(matches!(
            me.hear(&heard(9, 8, Kind::Message, 3), false, clock),
            Heard::New {
                gap: Some((6, 7)),
                ..
            }
        ));
        assert_eq!(
            me.hear(&heard(9, 8, Kind::Message, 3), false, clock),
            Heard::Repeat
        );
        for time in [-1, i64::MIN, i64::MAX] {
            assert_eq!(
                me.hear(&heard(time, 9, Kind::Message, 3), false, clock),
                Heard::Impossible
            );
        }
    }

    #[test]
    fn a_server_that_numbers_nothing_gets_one_message_a_frame_and_answers_in_order() {
        let (mut me, clock) = (Conversation::default(), &mut LamportClock::default());
        me.begin(None, clock);
        me.hear(&heard(1, 0, Kind::Join, 0), true, clock);
        me.say("a", "", clock).unwrap();
        me.say("b", "", clock).unwrap();
        assert_eq!(me.next_out().len(), 1);
        me.hear(&heard(2, 0, Kind::Message, 0), true, clock);
        assert_eq!(me.pending(), 1);
        me.hear(&heard(3, 0, Kind::Refusal, 0), false, clock);
        assert_eq!(me.pending(), 0);
    }
}
