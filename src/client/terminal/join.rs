//! `/join`: the way into another room.

use std::io;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::screen::{NextRoom, Show};
use super::{Done, Main, modes, shown_room};
use crate::chat::Name;
use crate::client::{Happening, Participant, Settings};
use crate::rpc::{CallError, Code};

/// How long to wait for the end in a room that was left: nothing is shown
/// meanwhile, and the end may wait for that.
const LEAVING: Duration = Duration::from_secs(5);

/// A participant that is in its room, what it is told, and the first of it.
type Entered = (Participant, Receiver<Happening>, Happening);

impl Main {
    /// Joins the other room first and then leaves this one: whoever is not let
    /// in there stays here.
    pub(super) fn join(&mut self, room: &str, all: &mut Vec<Participant>) -> Done {
        let again = || Done::Again(format!("/join {room}"));
        let name = match Name::parse_room(room) {
            Ok(name) => name,
            Err(why) => {
                self.tell(self.painter.wrong(&format!("/join: {why}")));
                return again();
            }
        };
        if Name::parse_room(&self.settings.room).is_ok_and(|here| here.folded() == name.folded()) {
            self.tell(self.painter.notice("you are there"));
            return Done::Well;
        }
        let settings = Settings {
            room: name.to_string(),
            past: None,
            ..self.settings.clone()
        };
        // A program that has no participant left takes no lines.
        let Some((here, left)) = all.split_last() else {
            return again();
        };
        let another = || enter(here.start_another(settings.clone()), &settings);
        let entered = match another() {
            // Perhaps by this very client, which was there a moment ago.
            Err((_, Some(Code::ALREADY_EXISTS))) if !left.is_empty() => {
                for participant in left {
                    participant.voice().wait_for_end(LEAVING);
                }
                another()
            }
            entered => entered,
        };
        let entered = match entered {
            // There the room's clock is too far behind this one: it takes
            // somebody who has seen nothing yet.
            Err((_, Some(Code::INVALID_ARGUMENT))) => {
                enter(Participant::start(settings.clone()), &settings)
            }
            entered => entered,
        };
        let (participant, happenings, first) = match entered {
            Ok(entered) => entered,
            Err((why, _)) => {
                self.tell(self.painter.wrong(&format!("/join {room}: {why}")));
                // Typed for the other room, it is neither said in this one nor
                // part of the command.
                let ahead = modes::typed_ahead();
                return match ahead.trim() {
                    "" => again(),
                    text => Done::Again(text.to_owned()),
                };
            }
        };
        let before = std::mem::replace(&mut self.voice, participant.voice());
        self.settings = settings;
        all.retain(|p| !p.voice().is_over());
        all.push(participant);
        let shown = shown_room(&self.settings.room);
        // Before the other room can end: then the screen knows what follows.
        let _ = self.show.send(Show::Room(NextRoom {
            happenings,
            voice: self.voice.clone(),
            room: self.settings.room.clone(),
            first,
            words: self.painter.notice(&format!("from here on {shown}")),
        }));
        before.leave();
        Done::Well
    }
}

/// Waits until a participant is in its room, or the last of the servers has
/// said why not. Then it returns that, with the status if there is one.
fn enter(
    started: io::Result<(Participant, Receiver<Happening>)>,
    settings: &Settings,
) -> Result<Entered, (String, Option<Code>)> {
    let (participant, happenings) = started.map_err(|why| (why.to_string(), None))?;
    let mut asked = 0;
    let why = loop {
        match happenings.recv() {
            Ok(first @ Happening::Event { .. }) => return Ok((participant, happenings, first)),
            Ok(Happening::Ended(end)) => break end.why().cloned(),
            // It would go on trying, while nobody reads what is typed.
            Ok(Happening::Lost { why, .. }) => {
                asked += 1;
                if asked >= settings.servers.len() {
                    participant.voice().leave();
                    break Some(why);
                }
            }
            Ok(_) => {}
            Err(_) => break None,
        }
    };
    participant.join();
    let code = match &why {
        Some(CallError::Status { code, .. }) => Some(*code),
        _ => None,
    };
    Err((why.map_or("left".to_owned(), |why| why.to_string()), code))
}
