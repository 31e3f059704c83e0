//! Questions to the server: each on a thread of its own, so that nobody waits
//! for an answer but the one who asked.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::known::Known;
use super::paint::{Painter, padded};
use super::screen::Show;
use crate::chat::sanitise;
use crate::client::Voice;
use crate::rpc::CallError;
use crate::wire::{HistoryQuery, PastAsk, WhoQuery};
use unicode_width::UnicodeWidthStr;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// Who is here, and nothing is shown: for completion.
    Names,
    Who,
    Rooms,
    History(u32),
}

/// Who asks, and where the answer goes.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) voice: Voice,
    pub(super) room: String,
    pub(super) known: Arc<Known>,
    pub(super) painter: Painter,
    pub(super) show: Sender<Show>,
}

impl Asker {
    /// Asks; the answer is shown when it comes.
    pub(super) fn ask(self, question: Question) {
        let show = self.show.clone();
        let painter = self.painter.clone();
        let asked = std::thread::Builder::new()
            .name("question".to_owned())
            .spawn(move || {
                let answer = match (self.answer(question), question) {
                    (Ok(lines), _) => lines,
                    (Err(_), Question::Names) => String::new(),
                    (Err(why), _) => self.painter.wrong(&format!("no answer: {why}")),
                };
                let _ = self.show.send(Show::Text(answer)); // it is leaving
            });
        if let Err(why) = asked {
            let _ = show.send(Show::Text(painter.wrong(&format!("cannot ask: {why}"))));
        }
    }

    fn answer(&self, question: Question) -> Result<String, CallError> {
        let server = self.voice.dial()?;
        match question {
            Question::Names | Question::Who => {
                let roster = server.who(&WhoQuery {
                    room: self.room.clone(),
                })?;
                for participant in &roster.participants {
                    self.known.came(&participant.name);
                }
                if question == Question::Names {
                    let rooms = server.rooms()?.0.into_iter();
                    self.known.set_rooms(
                        rooms
                            .map(|room| sanitise(&room.name).into_owned())
                            .collect(),
                    );
                    return Ok(String::new());
                }
                let title = format!("in {} at L={}:", roster.room, roster.clock);
                let rows = roster.participants.iter().map(|p| {
                    let away = if p.away { ", away" } else { "" };
                    (p.name.as_str(), format!("since L={}{away}", p.joined))
                });
                Ok(self.table(&title, rows.collect()))
            }
            Question::Rooms => {
                let rooms = server.rooms()?.0;
                let rows = rooms.iter().map(|r| {
                    let people = if r.participants == 1 {
                        "participant"
                    } else {
                        "participants"
                    };
                    (
                        r.name.as_str(),
                        format!("{} {people}, L={}", r.participants, r.clock),
                    )
                });
                let table = self.table("rooms:", rows.collect());
                self.known.set_rooms(
                    rooms
                        .iter()
                        .map(|r| sanitise(&r.name).into_owned())
                        .collect(),
                );
                Ok(table)
            }
            Question::History(events) => {
                let query = HistoryQuery {
                    room: self.room.clone(),
                    past: Some(PastAsk::Last(events)),
                };
                let mut reader = server.history(&query)?;
                let mut lines = self.painter.notice(&format!("the last {events} events:"));
                while let Some(page) = reader.recv()? {
                    lines.extend(
                        page.iter()
                            .map(|r| self.painter.event(&r.event, None, true)),
                    );
                }
                lines.push_str(&self.painter.notice("now"));
                Ok(lines)
            }
        }
    }

    /// A title and rows of two columns.
    fn table(&self, title: &str, rows: Vec<(&str, String)>) -> String {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(name, rest)| (sanitise(name), rest))
            .collect();
        let widest = rows
            .iter()
            .map(|(name, _)| name.width())
            .max()
            .unwrap_or_default();
        let mut lines = self.painter.notice(title);
        for (name, rest) in rows {
            lines.push_str(
                &self
                    .painter
                    .below(&format!("{}  {rest}", padded(&name, widest))),
            );
        }
        lines
    }
}
