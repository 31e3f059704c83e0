//! `/join`: the way into another room.

use std::io::{self, Write};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::screen::{NextRoom, Show};
use super::{Done, LineEditor, Main, erase_row, modes, shown_room};
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
    pub(super) fn join(
        &mut self,
        room: &str,
        editor: &mut LineEditor,
        all: &mut Vec<Participant>,
    ) -> Done {
        let Err(why) = self.go(room, all) else {
            return Done::Well;
        };
        // Typed for the other room, it is neither said in this one nor part of
        // the command.
        let ahead = self.read_ahead(editor) + &modes::typed_ahead();
        self.tell(self.painter.wrong(&format!("/join {room}: {why}")));
        match ahead.trim() {
            "" => Done::Again(format!("/join {room}")),
            text => Done::Again(text.to_owned()),
        }
    }

    /// What the editor has read behind the line that it gave. It keeps that for
    /// the next one, so it is asked for one that ends where nothing is left.
    fn read_ahead(&self, editor: &mut LineEditor) -> String {
        let mut ahead = String::new();
        loop {
            let read = read_what_is_there(editor);
            self.stage.between();
            match read {
                // There was an Enter.
                Ok(line) => {
                    erase_row(editor);
                    ahead.push_str(&line);
                    ahead.push('\n');
                }
                Err(_) => {
                    erase_line(editor);
                    return ahead + &self.known.take_line();
                }
            }
        }
    }

    fn go(&mut self, room: &str, all: &mut Vec<Participant>) -> Result<(), String> {
        let name = Name::parse_room(room).map_err(|why| why.to_string())?;
        if Name::parse_room(&self.settings.room).is_ok_and(|here| here.folded() == name.folded()) {
            self.tell(self.painter.notice("you are there"));
            return Ok(());
        }
        let settings = Settings {
            room: name.to_string(),
            past: None,
            ..self.settings.clone()
        };
        // A program that has no participant left takes no lines.
        let Some((here, left)) = all.split_last() else {
            return Err("left".to_owned());
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
        let (participant, happenings, first) = entered.map_err(|(why, _)| why)?;
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
        Ok(())
    }
}

fn read_what_is_there(editor: &mut LineEditor) -> rustyline::Result<String> {
    let only = |editor: &mut LineEditor, only| {
        if let Some(typing) = editor.helper_mut() {
            typing.only_what_is_there = only;
        }
    };
    only(editor, true);
    let read = editor.readline("");
    only(editor, false);
    read
}

/// The rows of a line that the editor has left as it was, taken back.
fn erase_line(editor: &LineEditor) {
    let rows = editor
        .helper()
        .map_or(0, |typing| typing.reflow.rows_below())
        + 1;
    let mut out = io::stdout();
    // Without a terminal there is nothing to tidy.
    let _ = write!(out, "\x1b[{rows}A\r\x1b[J").and_then(|()| out.flush());
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
