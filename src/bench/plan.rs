//! What a run is to do: how many clients, how fast, for how long.

use std::time::Duration;

/// A run. Counts are over all rooms; clients are dealt to the rooms in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Clients that send. Each of them also receives.
    pub senders: usize,
    /// Clients that only receive.
    pub receivers: usize,
    /// Rooms that they are in; not more than there are senders.
    pub rooms: usize,
    /// Clients that only stay, in rooms of their own.
    pub idle: usize,
    /// How many of them share a room.
    pub idle_room: usize,
    /// How fast the senders send.
    pub pace: Pace,
    /// For how long.
    pub length: Length,
    /// Bytes of each text, [`MIN_TEXT_BYTES`](super::MIN_TEXT_BYTES) to 128.
    pub text_bytes: usize,
    /// Messages that a sender puts into one frame where several are ready.
    pub bundle: usize,
    /// Messages that each sender sends before anything is measured.
    pub warmup: u32,
    /// Whether clients take several events in a frame.
    pub batches: bool,
    /// Poll threads of the generator.
    pub threads: usize,
    /// Stop waiting for what does not come after so long without anything.
    pub patience: Duration,
}

/// How fast the senders send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: messages a second over all senders, whatever the server
    /// does. A message is late from the moment at which it should have been
    /// sent, so a server that stalls is not spared the ones that queue up.
    Rate(f64),
    /// Closed loop: each sender keeps so many messages on their way.
    Window(u32),
}

/// How long the senders send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many messages each.
    Messages(u32),
    /// So long.
    Time(Duration),
}

/// Messages of a sender that are on their way while it warms up.
const WARMUP_WINDOW: u32 = 64;

impl Plan {
    /// Clients that take part in what is measured.
    pub fn active(&self) -> usize {
        self.senders + self.receivers
    }

    /// All clients.
    pub fn clients(&self) -> usize {
        self.active() + self.idle
    }

    /// The room of a client that takes part, by its number: senders first.
    pub(super) fn room_of(&self, client: usize) -> usize {
        match client < self.senders {
            true => client % self.rooms,
            false => (client - self.senders) % self.rooms,
        }
    }

    /// How many senders are in a room.
    pub(super) fn senders_in(&self, room: usize) -> usize {
        (self.senders + self.rooms - 1 - room) / self.rooms
    }

    /// A sender's place among the senders of its room.
    pub(super) fn place_in_room(&self, sender: usize) -> usize {
        sender / self.rooms
    }

    /// The messages that a sender keeps on their way when it begins.
    pub(super) fn window(&self) -> u32 {
        match self.pace {
            Pace::Window(window) => window,
            Pace::Rate(_) => WARMUP_WINDOW,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            senders: 8,
            receivers: 56,
            rooms: 1,
            idle: 0,
            idle_room: 100,
            pace: Pace::Window(64),
            length: Length::Time(Duration::from_secs(5)),
            text_bytes: 32,
            bundle: 1,
            warmup: 200,
            batches: true,
            // The server needs the other half.
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2),
            patience: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sender_has_one_place_in_one_room() {
        for (senders, rooms) in [(1, 1), (8, 3), (7, 7), (100, 9)] {
            let plan = Plan {
                senders,
                rooms,
                ..Plan::default()
            };
            let mut places = vec![Vec::new(); rooms];
            for sender in 0..senders {
                let room = &mut places[plan.room_of(sender)];
                assert_eq!(plan.place_in_room(sender), room.len());
                room.push(sender);
            }
            for (room, senders) in places.iter().enumerate() {
                assert_eq!(plan.senders_in(room), senders.len(), "{room} of {rooms}");
            }
        }
    }
}
