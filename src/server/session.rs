//! A session: one stream of one client, on a thread of its own, in plain
//! blocking code. It may wait, for its client or for the journal; its client,
//! and nobody else, feels it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use sha2::{Digest, Sha256};

use super::order::{Seated, Words};
use super::pace::Pace;
use super::past::Walk;
use super::rooms::SharedRoom;
use super::step::Claim;
use super::tempo::BUSY;
use super::{House, report, wall_ms};
use crate::chat::{Ask, MemberKey, Name, RoomId, Secret, SessionNo};
use crate::rpc::{Connection, Listener, StreamEnd};
use crate::wire::{Ending, Join, Request};

/// A session needs little: its deepest calls are SQLite's. Thousands of them
/// must fit.
const STACK_BYTES: usize = 256 * 1024;

/// What a session sleeps between two looks into its inbox, which holds what
/// comes meanwhile, while its client sends without a pause: to be woken for each
/// frame costs several times what the frame does.
const LULL: Duration = Duration::from_micros(20);

/// Requests for which a session that waits keeps the space. One frame can hold
/// many more.
const SPACE_KEPT: usize = 256;

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
        is_detached: false,
        pace: house.rate.map(|rate| Pace::new(rate, Instant::now())),
    };
    // A panic ends this session and nothing else; grpcio would answer it with
    // a bare CANCELLED.
    let end = catch_unwind(AssertUnwindSafe(|| session.converse()))
        .unwrap_or(End::Fault(Ending::Internal));
    if let End::Lost(Ending::Goodbye) = end {
        house.metrics.lost();
    }
    let ending = session.part(end);
    // The first reason is the one that the client was told.
    let told = connection.outbox();
    house.metrics.ended(told.ending().unwrap_or(&ending));
    // The journal closes the outbox of whoever it lets go, at the place in the
    // order at which it left: what was said before that still goes out.
    match session.is_detached {
        true => connection.finished(LAST_FRAMES),
        false => connection.finish(ending, LAST_FRAMES),
    };
    drop(place);
}

struct Session<'a> {
    house: &'a House,
    connection: &'a Connection,
    no: SessionNo,
    seat: Option<Chair>,
    /// Whether the journal was told to let its participant go.
    is_detached: bool,
    /// `None`: it may speak as fast as it likes.
    pace: Option<Pace>,
}

/// The session's participant.
pub(super) struct Chair {
    pub room: SharedRoom,
    pub room_id: Arc<RoomId>,
    pub key: MemberKey,
    pub id: i32,
    pub name: Name,
}

/// How a conversation ends.
pub(super) enum End {
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
        let connection = self.connection;
        if !connection.wait_for(self.house.first_frame) {
            return End::Fault(Ending::TooLate);
        }
        let mut first = Vec::new();
        let mut end = connection.take(&mut first);
        let mut first = first.into_iter();
        let join = match (first.next(), &end) {
            (Some(Request::Join(join)), _) => join,
            (None, Some(end)) => return self.ended(end.clone()),
            _ => return End::Fault(Ending::NotJoined),
        };
        if let Err(end) = self.join(*join) {
            return end;
        }
        let mut waiting = first.collect();
        loop {
            if let Some(end) = self.take(&mut waiting) {
                return end;
            }
            if let Some(end) = end {
                return self.ended(end);
            }
            waiting.shrink_to(SPACE_KEPT);
            let done = Instant::now();
            connection.wait();
            if done.elapsed() < BUSY {
                std::thread::sleep(LULL);
            }
            end = connection.take(&mut waiting);
        }
    }

    /// Takes what the client sent, as much as its pace allows in one go: under
    /// one lock of its room.
    fn take(&mut self, waiting: &mut Vec<Request>) -> Option<End> {
        let mut requests = waiting.drain(..).peekable();
        while requests.peek().is_some() {
            if let Err(end) = self.keep_pace() {
                return Some(self.ended(end));
            }
            let chair = self.seat.as_ref()?;
            let member = chair.key;
            let wall_ms = wall_ms();
            let mut turn = self.house.order.turn(chair);
            for request in requests.by_ref() {
                match request {
                    Request::Say { text, to, sent } => {
                        #[cfg(test)]
                        assert_ne!(text, tests::PANIC, "a fault of ours, for a test");
                        let words = Words {
                            text,
                            to,
                            sent,
                            wall_ms,
                        };
                        turn.say(self.house, self.no, words);
                        if self.pace.as_mut().is_some_and(Pace::spend) {
                            break;
                        }
                    }
                    Request::Leave { sent } => return Some(End::Left { sent }),
                    Request::Join(_) => return Some(End::Fault(Ending::SecondJoin)),
                }
            }
            drop(turn);
            self.house.journal.settle(Some(member));
        }
        None
    }

    /// What the end of the stream means.
    fn ended(&self, end: StreamEnd) -> End {
        match end {
            StreamEnd::Unreadable(ending) => End::Fault(ending),
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
        let shared = house.order.open(house, &room_name)?;
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
                house.order.catch_up(&shared, past)?;
                let (viewer, now) = {
                    let mut room = shared.lock();
                    house.order.admit(house, &mut room, &ask)?;
                    (secret.and_then(|s| room.owner_of(&s)), room.clock())
                };
                let out = outbox.begin_past();
                let is_over = || self.connection.is_over();
                let batches = join.batches;
                let history = &*house.past;
                let mut walk = Walk::begin(history, is_over, &room_id, viewer, batches, past, now)?;
                walk.catch_up(&out)?;
                Some((walk, out))
            }
        };
        let (ready, is_ready) = bounded(1);
        let claim = Claim {
            name: name.to_shared(),
            outbox,
            batches: join.batches,
            ready: walk.is_some().then_some(ready),
        };
        let Seated { key, id, seam } = house.order.join(house, &shared, ask, claim)?;
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
                Ending::Internal | Ending::OutOfRange(_) => {
                    // While `out` holds it back: what is live would come behind a gap.
                    self.connection.outbox().cut(ending.clone());
                    End::Fault(ending)
                }
                // The stream ended while it was being filled.
                ending => End::Lost(ending),
            })?;
        }
        Ok(())
    }

    /// Waits until the member may speak.
    ///
    /// # Errors
    /// Why the session is to end. What is still to be said has no echo: whoever
    /// resumes says it again, and whoever is gone takes it along.
    fn keep_pace(&mut self) -> Result<(), StreamEnd> {
        let Some(pace) = &mut self.pace else {
            return Ok(());
        };
        loop {
            let wait = pace.wait(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            let begun = Instant::now();
            let slept = self.connection.sleep(wait);
            self.house.metrics.slowed(begun.elapsed());
            slept?;
        }
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
        if let End::Fault(ending) = &end {
            let peer = &self.connection.caller.peer;
            report::cut(peer, chair.name.as_str(), &ending.to_string());
        }
        let parting = self.house.order.part(self.house, chair, self.no, end);
        self.is_detached = parting.is_detached;
        parting.ending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::rpc::{CallError, Code, Dialler, EventReader, FrameWriter, Keepalive};
    use crate::server::{Server, Settings};
    use crate::wire::{ClientFrame, Join, Request};

    /// The text at which a session panics.
    pub(super) const PANIC: &str = "panic, please";

    fn join(server: &Server, name: &str) -> (FrameWriter, EventReader) {
        let dialled = Dialler::new(Keepalive::default())
            .dial(&server.addresses()[0], Duration::from_secs(60))
            .unwrap();
        let (mut writer, mut reader) = dialled.chat().unwrap();
        let join = Join {
            name: name.to_owned(),
            ..Join::default()
        };
        send(&mut writer, Request::Join(Box::new(join)));
        reader.recv().unwrap();
        (writer, reader)
    }

    /// An error says that the stream has ended: whoever reads is told why.
    fn send(writer: &mut FrameWriter, request: Request) {
        let _ = writer.send(ClientFrame {
            id: 0,
            name: "".into(),
            requests: vec![request],
        });
    }

    fn text(reader: &mut EventReader) -> String {
        reader.recv().unwrap().unwrap().remove(0).event.text
    }

    #[test]
    fn a_panic_ends_its_own_session_with_internal_and_nothing_else() {
        let server = Server::start(Settings {
            listen: vec!["127.0.0.1:0".to_owned()],
            poll_threads: 1, // the one poll thread that all depend on
            ..Settings::default()
        })
        .unwrap();
        let (mut alex, mut at_alex) = join(&server, "Alex");
        let (mut faulty, mut at_faulty) = join(&server, "Faulty");
        assert!(text(&mut at_alex).contains("Faulty joined"));
        let say = |text: &str| Request::Say {
            text: text.to_owned(),
            to: String::new(),
            sent: 1,
        };
        send(&mut faulty, say(PANIC));
        let end = loop {
            match at_faulty.recv() {
                Ok(events) => assert!(events.is_some(), "a fault is not a good end"),
                Err(end) => break end,
            }
        };
        let internal = CallError::Status {
            code: Code::INTERNAL,
            message: "internal error".to_owned(),
        };
        assert_eq!(end, internal);
        assert!(text(&mut at_alex).starts_with("Participant Faulty left"));
        send(&mut alex, say("all is well"));
        assert_eq!(text(&mut at_alex), "all is well");
        server.stop(Duration::from_secs(5));
    }
}
