//! What one client is shown, checked as it comes: nothing lost, nothing twice,
//! everything in order. Knows neither time nor gRPC, and its memory does not
//! grow with the run.

use crate::chat::Kind;
use crate::wire::Sighting;

/// A client's record of what it has been shown.
pub(super) struct Witness {
    /// By the sender's place in the room.
    senders: Vec<Heard>,
    /// The highest Lamport time so far.
    time: i64,
    /// The room-wide number that the next event must have.
    next_seq: Option<u64>,
    order: OrderHash,
    faults: Faults,
}

/// What was heard of one sender.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// The number after the highest one that came.
    next: u32,
    /// How many different ones came.
    count: u32,
    /// Which of the last numbers before `next` came: bit 0 is `next - 1`.
    recent: u64,
}

/// What was wrong, in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Came a second time.
    pub repeated: u64,
    /// Came after an event that should follow it: by its Lamport time or by
    /// its sender's numbers.
    pub out_of_order: u64,
    /// Has not the room-wide number that follows the last one.
    pub numbering: u64,
    /// Has a Lamport time that is not above that of its send.
    pub clock: u64,
    /// Was refused by the server.
    pub refused: u64,
    /// Is a message of the load from another room.
    pub strayed: u64,
}

impl Faults {
    pub fn add(&mut self, other: &Faults) {
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.numbering += other.numbering;
        self.clock += other.clock;
        self.refused += other.refused;
        self.strayed += other.strayed;
    }
}

impl Witness {
    /// A witness in a room with so many senders.
    pub fn new(senders: usize) -> Self {
        Self {
            senders: vec![Heard::default(); senders],
            time: 0,
            next_seq: None,
            order: OrderHash::default(),
            faults: Faults::default(),
        }
    }

    /// Takes an event. `message` is the sender's place in the room and the
    /// message's number, if it is one of the load. Returns whether it is one
    /// that had not come before.
    pub fn take(&mut self, seen: &Sighting, message: Option<(usize, u32)>) -> bool {
        if seen.seq != 0 {
            let expected = self.next_seq.unwrap_or(seen.seq);
            self.faults.numbering += u64::from(seen.seq != expected);
            self.next_seq = Some(expected.max(seen.seq + 1));
        }
        self.faults.refused += u64::from(seen.kind == Kind::Refusal);
        self.faults.clock += u64::from(seen.time <= seen.sent);
        let arrival = message.map(|(sender, number)| self.senders[sender].arrives(number));
        if arrival == Some(Arrival::Repeated) {
            self.faults.repeated += 1;
            return false;
        }
        if seen.time <= self.time || arrival == Some(Arrival::Late) {
            self.faults.out_of_order += 1;
        }
        self.time = self.time.max(seen.time);
        if let Some((sender, number)) = message {
            self.order.push(sender, number);
        }
        message.is_some()
    }

    /// Takes note of a message that belongs to another room.
    pub fn strayed(&mut self) {
        self.faults.strayed += 1;
    }

    /// What was wrong so far.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// How many different messages came from each sender.
    pub fn counts(&self) -> impl Iterator<Item = u32> {
        self.senders.iter().map(|heard| heard.count)
    }

    /// A number that is the same for two clients only if they were shown the
    /// same messages in the same order.
    pub fn order(&self) -> u64 {
        self.order.0
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    New,
    Late,
    Repeated,
}

impl Heard {
    fn arrives(&mut self, number: u32) -> Arrival {
        if number >= self.next {
            let ahead = number - self.next;
            self.recent = match ahead {
                0..63 => self.recent << (ahead + 1) | 1,
                _ => 1,
            };
            self.next = number.saturating_add(1);
            self.count += 1;
            return Arrival::New;
        }
        let back = self.next - 1 - number;
        let is_missing = match back {
            0..64 => self.recent >> back & 1 == 0,
            // Too long ago to remember. If nothing is missing it came before.
            _ => self.count < self.next,
        };
        if !is_missing {
            return Arrival::Repeated;
        }
        if back < 64 {
            self.recent |= 1 << back;
        }
        self.count += 1;
        Arrival::Late
    }
}

/// Of every message, in order. Not cryptographic: nobody here wants to deceive.
#[derive(Debug, Default)]
struct OrderHash(u64);

impl OrderHash {
    fn push(&mut self, sender: usize, number: u32) {
        /// 2⁶⁴ divided by the golden ratio, as in Fibonacci hashing.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let message = (sender as u64) << 32 | u64::from(number);
        self.0 = (self.0.rotate_left(5) ^ message).wrapping_mul(SPREAD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(time: i64) -> Sighting {
        Sighting {
            kind: Kind::Message,
            sender_id: 1,
            time,
            seq: time as u64,
            sent: time - 1,
            head: [0; 9],
        }
    }

    /// A witness who was shown messages of one sender: (number, Lamport time).
    fn shown(messages: &[(u32, i64)]) -> Witness {
        let mut witness = Witness::new(1);
        for &(number, time) in messages {
            witness.take(&seen(time), Some((0, number)));
        }
        witness
    }

    #[test]
    fn what_comes_once_and_in_order_is_right() {
        let witness = shown(&[(0, 1), (1, 2), (2, 3)]);
        assert_eq!(witness.faults(), Faults::default());
        assert_eq!(witness.counts().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_is_lost_is_not_counted_and_breaks_the_numbering() {
        let witness = shown(&[(0, 1), (2, 3), (3, 4)]);
        assert_eq!(witness.counts().collect::<Vec<_>>(), [3]);
        let expected = Faults {
            numbering: 1,
            ..Faults::default()
        };
        assert_eq!(witness.faults(), expected);
    }

    #[test]
    fn what_comes_twice_is_found_however_late() {
        for later in [1, 2, 62, 63, 64, 65, 1000] {
            let mut messages: Vec<_> = (0..=later).map(|n| (n, i64::from(n) + 1)).collect();
            messages.push((0, 1));
            let witness = shown(&messages);
            assert_eq!(witness.faults().repeated, 1, "{later}");
            assert_eq!(witness.faults().out_of_order, 0, "{later}");
            assert_eq!(witness.counts().next(), Some(later + 1), "{later}");
        }
    }

    #[test]
    fn what_comes_late_is_found_and_is_not_lost() {
        for later in [1, 2, 62, 63, 64, 65, 1000] {
            let mut messages: Vec<_> = (1..=later).map(|n| (n, i64::from(n) + 1)).collect();
            messages.push((0, 1));
            let witness = shown(&messages);
            assert_eq!(witness.faults().repeated, 0, "{later}");
            assert_eq!(witness.faults().out_of_order, 1, "{later}");
            assert_eq!(witness.counts().next(), Some(later + 1), "{later}");
        }
    }

    #[test]
    fn another_order_is_another_hash() {
        let one = shown(&[(0, 1), (1, 2), (2, 3)]).order();
        assert_eq!(shown(&[(0, 1), (1, 2), (1, 2), (2, 3)]).order(), one);
        assert_ne!(shown(&[(1, 1), (0, 2), (2, 3)]).order(), one);
        assert_ne!(shown(&[(0, 1), (1, 2)]).order(), one);
    }

    #[test]
    fn a_time_that_does_not_pass_its_send_and_a_refusal_are_faults() {
        let mut witness = Witness::new(1);
        let early = Sighting { sent: 5, ..seen(5) };
        witness.take(&early, Some((0, 0)));
        let refusal = Sighting {
            kind: Kind::Refusal,
            seq: 0,
            ..seen(6)
        };
        assert!(!witness.take(&refusal, None));
        let expected = Faults {
            clock: 1,
            refused: 1,
            ..Faults::default()
        };
        assert_eq!(witness.faults(), expected);
    }
}
