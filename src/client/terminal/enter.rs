//! The way into another room: whoever is not let in there stays here.

use std::io;

use crossbeam_channel::Receiver;

use crate::client::{Happening, Participant, Settings};
use crate::rpc::{CallError, Code};

/// A participant that is in its room, what it is told, and the first of it.
pub(super) type Entered = (Participant, Receiver<Happening>, Happening);

/// Waits until a participant is in its room, or the last of the servers has
/// said why not. Then it returns that, with the status if there is one.
pub(super) fn enter(
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
