//! A session: one stream of one client, on a thread of its own, in plain
//! blocking code. It may wait, for its client or for the journal; its client,
//! and nobody else, feels it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use sha2::{Digest, Sha256};

use super::departures::Departure;
use super::journal::{Change, Message, Seat, Step};
use super::pace::Pace;
use super::past::Walk;
use super::rooms::SharedRoom;
use super::{House, report, wall_ms};
use crate::chat::{Ask, Loss, MemberKey, Name, RoomId, Said, Secret, SessionNo};
use crate::rpc::{Connection, Inbound, Listener, StreamEnd};
use crate::wire::{Ending, Join, Request};

/// A session needs little: its deepest calls are SQLite's. Thousands of them
/// must fit.
const STACK_BYTES: usize = 256 * 1024;

/// How long a client may take to read the end of its stream.
const LAST_FRAMES: Duration = Duration::from_secs(5);

/// Serves `Chat`: a thread for each stream.
pub(super) fn serve(listener: Listener, house: &Arc<House>, outbox_events: usize) -> Listener {
    let house = house.clone();
    listener.chat(outbox_events, move |connection| {
        // So many refusals are on their way that one more is not worth a thread:
        // the connection is dropped, and with that cancelled.
        let Some(share) = house.threads.take() else {
            house.metrics.dropped();
            return;
        };
        let house = house.clone();
        let thread = std::thread::Builder::new()
            .name("session".to_owned())
            .stack_size(STACK_BYTES);
        // Without a thread the connection is dropped, and the call cancelled.
        if let Err(why) = thread.spawn(move || {
            run(&house, connection);
            drop(share);
        }) {
            log::warn!("cannot start a session: {why}");
        }
    })
}

fn run(house: &House, connection: Connection) {
    let no = house.next_session();
    let place = match house
        .sessions
        .enter(no, &connection.caller, connection.kick())
    {
        Ok(place) => place,
        Err(ending) => {
            house.metrics.ended(&ending);
            connection.finish(ending, LAST_FRAMES);
            return;
        }
    };
    let mut session = Session {
        house,
        connection: &connection,
        no,
        seat: None,
        pace: house.rate.map(|rate| Pace::new(rate, Instant::now())),
    };
    // A panic ends this session and nothing else; grpcio would answer it with
    // a bare CANCELLED.
    let end = catch_unwind(AssertUnwindSafe(|| session.converse()))
        .unwrap_or(End::Fault(Ending::Internal));
    let ending = session.part(end);
    // The first reason is the one that the client was told.
    let told = connection.outbox();
    house.metrics.ended(told.ending().unwrap_or(&ending));
    connection.finish(ending, LAST_FRAMES);
    drop(place);
}

struct Session<'a> {
    house: &'a House,
    connection: &'a Connection,
    no: SessionNo,
    seat: Option<Chair>,
    /// `None`: it may speak as fast as it likes.
    pace: Option<Pace>,
}

/// The session's participant.
struct Chair {
    room: SharedRoom,
    room_id: Arc<RoomId>,
    key: MemberKey,
    id: i32,
    name: Name,
}

/// How a conversation ends.
enum End {
    /// The participant said goodbye.
    Left { sent: i64 },
    /// The stream is gone, or the member was too slow for it.
    Lost(Ending),
    /// The session belongs to the past: its participant speaks through
    /// another, or the server stops.
    Superseded(Ending),
    /// The client, or this server, did something that ends the stream.
    Fault(Ending),
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        End::Fault(ending)
    }
}

impl Session<'_> {
    fn converse(&mut self) -> End {
        let first = match self.connection.recv_timeout(self.house.first_frame) {
            None => return End::Fault(Ending::TooLate),
            Some(Inbound::Requests(requests)) => requests,
            Some(Inbound::Ended(end)) => return self.ended(end),
        };
        let mut requests = first.into_iter();
        let Some(Request::Join(join)) = requests.next() else {
            return End::Fault(Ending::NotJoined);
        };
        if let Err(end) = self.join(*join) {
            return end;
        }
        let mut waiting: Vec<Request> = requests.collect();
        loop {
            for request in waiting {
                match request {
                    Request::Say { text, to, sent } => {
                        if !self.keep_pace() {
                            return self.ended(StreamEnd::Kicked);
                        }
                        self.say(&text, &to, sent);
                    }
                    Request::Leave { sent } => return End::Left { sent },
                    Request::Join(_) => return End::Fault(Ending::SecondJoin),
                }
            }
            waiting = match self.connection.recv() {
                Inbound::Requests(requests) => requests,
                Inbound::Ended(end) => return self.ended(end),
            };
        }
    }

    /// What the end of the stream means.
    fn ended(&self, end: StreamEnd) -> End {
        match end {
            StreamEnd::Malformed(why) => End::Fault(Ending::Malformed(why)),
            StreamEnd::Closed => End::Lost(Ending::Goodbye),
            StreamEnd::Lost => End::Lost(Ending::Goodbye),
            StreamEnd::Kicked => match self.connection.outbox().ending() {
                Some(Ending::TooSlow) => End::Lost(Ending::TooSlow),
                Some(ending) => End::Superseded(ending.clone()),
                None => End::Superseded(Ending::Stopping),
            },
        }
    }

    fn join(&mut self, join: Join) -> Result<(), End> {
        let house = self.house;
        let name = Name::parse(&join.name).map_err(Ending::from)?;
        let caller = &self.connection.caller;
        house.gate.admit(caller, &name, &join.password)?;
        let room_name = Name::parse_room(&join.room).map_err(Ending::from)?;
        let secret = match join.secret.len() {
            0 => None,
            16..=64 => Some(Secret(Sha256::digest(&join.secret).into())),
            _ => return Err(Ending::BadSecret.into()),
        };
        let shared = house.rooms.open(&room_name)?;
        let ask = Ask {
            id: join.id,
            name: name.clone(),
            secret,
            sent: join.sent,
            session: self.no,
            fresh: house.next_member(),
        };
        let outbox = self.connection.outbox();
        let room_id = shared.lock().id().clone();
        // A long past is sent before the client is in the room, so that little
        // waits in its outbox when it is.
        let mut walk = match join.past {
            None => None,
            Some(past) => {
                let (viewer, now) = {
                    let room = shared.lock();
                    room.admit(&ask).map_err(Ending::from)?;
                    (secret.and_then(|s| room.owner_of(&s)), room.clock())
                };
                let out = outbox.begin_past();
                let mut walk = Walk::begin(house, &room_id, viewer, join.batches, past, now)?;
                walk.catch_up(&out)?;
                Some((walk, out))
            }
        };
        let (ready, is_ready) = bounded(1);
        let (key, id, seam) = {
            let mut room = shared.lock();
            let joined = room.join(ask, wall_ms()).map_err(Ending::from)?;
            let (key, id, seam) = (joined.key, joined.id, joined.seam);
            let seat = Seat {
                key,
                name: name.to_shared(),
                outbox,
                batches: join.batches,
                ready: walk.is_some().then_some(ready),
            };
            let step = Step::joined(&room, joined, seat, room.member(key));
            self.hand_over(step);
            (key, id, seam)
        };
        self.seat = Some(Chair {
            room: shared,
            room_id: room_id.clone(),
            key,
            id,
            name,
        });
        if let Some((walk, out)) = walk.take() {
            // Without an answer the journal has ended the outbox, and said why.
            if is_ready.recv().is_err() {
                return Err(self.ended(StreamEnd::Kicked));
            }
            walk.finish(seam, &out).map_err(|ending| match ending {
                Ending::Internal | Ending::OutOfRange(_) => End::Fault(ending),
                // The stream ended while it was being filled.
                ending => End::Lost(ending),
            })?;
        }
        Ok(())
    }

    /// Waits until the member may speak. Returns false if the session is to
    /// end: what is still to be said has no echo, and will be said again.
    fn keep_pace(&mut self) -> bool {
        let Some(pace) = &mut self.pace else {
            return true;
        };
        loop {
            let wait = pace.wait(Instant::now());
            if wait.is_zero() {
                return true;
            }
            self.house.metrics.slowed(wait);
            if !self.connection.sleep(wait) {
                return false;
            }
        }
    }

    fn say(&mut self, text: &str, to: &str, sent: i64) {
        let Some(chair) = &self.seat else { return };
        let wall_ms = wall_ms();
        let mut room = chair.room.lock();
        let (event, audience) = match room.say(chair.key, self.no, text, to, sent, wall_ms) {
            Said::Stamped(event, audience) | Said::Refused(event, audience) => (event, audience),
            Said::Repeated => return,
        };
        if let Some(pace) = &mut self.pace {
            pace.spend();
        }
        self.hand_over(Step::said(
            &room,
            event,
            audience,
            chair.key,
            chair.name.to_shared(),
            chair.id,
        ));
    }

    /// Hands a step to the journal. To be called under the lock of the step's
    /// room, which must have stamped it: the order of the stamps is then the
    /// order of the queue. May wait for the journal, which waits for no room.
    fn hand_over(&self, step: Step) {
        // A journal that is gone has told everybody that the server stops.
        let _ = self.house.journal.send(Message::Step(Box::new(step)));
    }

    /// Takes the participant out of its room, and says how the stream ends.
    fn part(&mut self, end: End) -> Ending {
        let Some(chair) = self.seat.take() else {
            if let End::Fault(ending) = &end {
                report::cut(&self.connection.caller.peer, "", &ending.to_string());
            }
            return match end {
                End::Left { .. } => Ending::Goodbye,
                End::Lost(ending) | End::Superseded(ending) | End::Fault(ending) => ending,
            };
        };
        let mut room = chair.room.lock();
        let (parted, why, ending) = match end {
            End::Superseded(ending) => return ending,
            End::Left { sent } => (
                room.leave(chair.key, self.no, sent, wall_ms()),
                "left",
                Ending::Goodbye,
            ),
            End::Fault(ending) => (room.leave(chair.key, self.no, 0, wall_ms()), "cut", ending),
            End::Lost(ending) => match room.lose(chair.key, self.no, wall_ms()) {
                Loss::None => return ending,
                Loss::Left(parted) => (Some(parted), "lost", ending),
                Loss::Away => {
                    self.hand_over(Step::detached(&room, chair.key, ending.clone()));
                    drop(room);
                    report::lost(
                        &chair.room_id,
                        chair.name.as_str(),
                        chair.id,
                        &ending.to_string(),
                    );
                    let departure = Departure::now(chair.room, chair.key, self.no);
                    // However many come and vanish, so many are awaited.
                    if self.house.departures.len() >= self.house.most_away {
                        departure.announce(&mut departure.room().lock(), "lost", self.house);
                    } else {
                        let _ = self.house.departures.send(departure);
                    }
                    return ending;
                }
            },
        };
        if let Some(parted) = parted {
            let change = Change::Detach(chair.key, ending.clone());
            self.hand_over(Step::parted(&room, parted, why, change));
        }
        drop(room);
        if why == "cut" {
            report::cut(
                &self.connection.caller.peer,
                chair.name.as_str(),
                &ending.to_string(),
            );
        }
        ending
    }
}
