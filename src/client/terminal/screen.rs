//! The thread that prints: takes what happens, says how it looks, and prints
//! it above the line being typed.
//!
//! It alone waits when nothing may be printed (during a search with Ctrl-R the
//! editor draws for keys alone). Then the reader thread soon waits for it, and the
//! server with that: nothing is dropped. Of a room that was left for another
//! the rest comes first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select};
use rustyline::ExternalPrinter;

use super::ask::{Asker, Question};
use super::known::Known;
use super::paint::Painter;
use super::stage::Stage;
use crate::chat::{Event, Kind, sanitise};
use crate::client::{End, Happening, Voice};
use crate::rpc::CallError;

/// How long a join or leave waits for more of them, to be shown as one line.
const FOLD_WAIT: Duration = Duration::from_millis(250);

/// Joins and leaves up to so many have a line each.
const FEW: usize = 3;

/// Happenings that are printed at once, at most.
const MOST_AT_ONCE: usize = 512;

/// Printed, this is only a reason for the editor to draw. It must end a row: it
/// ends the one above, which does not scroll the screen, and [`BACK`] leads back
/// to where the line begins.
const DRAW: &str = "\x1b7\x1b[A\n";

/// Where the cursor stood when the editor printed [`DRAW`].
pub(super) const BACK: &str = "\x1b8";

/// A shorter wait for the next try is not worth a line, after the first.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// What the other threads want to be shown.
pub(super) enum Show {
    /// Finished lines.
    Text(String),
    /// This room, once there is nothing more of the one before.
    Room(NextRoom),
}

/// A room that was joined after another.
pub(super) struct NextRoom {
    pub(super) happenings: Receiver<Happening>,
    pub(super) voice: Voice,
    pub(super) room: String,
    pub(super) first: Happening,
    /// The words that it begins with.
    pub(super) words: String,
}

pub(super) struct Screen<P> {
    pub(super) printer: P,
    pub(super) painter: Painter,
    pub(super) stage: Arc<Stage>,
    pub(super) known: Arc<Known>,
    pub(super) happenings: Receiver<Happening>,
    pub(super) voice: Voice,
    pub(super) room: String,
    pub(super) shown: Receiver<Show>,
    pub(super) show: Sender<Show>,
    /// Rooms that are shown when the ones before have ended.
    pub(super) next_rooms: VecDeque<NextRoom>,
    /// Joins and leaves that have no line yet.
    pub(super) crowd: Vec<(Event, Option<i64>, bool)>,
    /// When they get one.
    pub(super) crowd_until: Instant,
    /// Whether the last event was from the past.
    pub(super) in_the_past: bool,
}

impl<P: ExternalPrinter> Screen<P> {
    /// Prints until the end, which it returns when no line is typed any more.
    pub(super) fn run(mut self) -> End {
        let end = loop {
            let mut lines = String::new();
            let end = self.wait(&mut lines);
            self.print(&lines);
            if let Some(end) = end {
                break end;
            }
        };
        // The printer does not wait until the editor has drawn, but it takes a
        // text only when that is done for the one before.
        self.draw();
        self.stage.end();
        self.print_rest();
        end
    }

    /// Waits for something to print.
    fn wait(&mut self, lines: &mut String) -> Option<End> {
        let fold = match self.crowd.is_empty() {
            true => never(),
            false => at(self.crowd_until),
        };
        select! {
            recv(self.shown) -> show => {
                if let Ok(show) = show {
                    self.show(show, lines);
                }
            }
            recv(self.happenings) -> happening => {
                let mut next = happening.ok();
                for _ in 0..MOST_AT_ONCE {
                    match next {
                        Some(Happening::Ended(end)) => return self.ended(end, lines),
                        Some(happening) => self.happens(happening, lines),
                        None => break,
                    }
                    next = self.happenings.try_recv().ok();
                }
                if let Some(happening) = next {
                    self.happens(happening, lines);
                }
            }
            recv(fold) -> _ => self.flush_crowd(lines),
        }
        None
    }

    /// A room has ended: the next one is shown, if there is one.
    fn ended(&mut self, end: End, lines: &mut String) -> Option<End> {
        self.flush_crowd(lines);
        // It was told of before the one before it was left.
        while let Ok(show) = self.shown.try_recv() {
            self.show(show, lines);
        }
        let Some(next) = self.next_rooms.pop_front() else {
            return Some(end);
        };
        if end.unsent() > 0 {
            let (room, unsent) = (sanitise(&self.room), end.unsent());
            lines.push_str(
                &(self.painter).wrong(&format!("{room}: messages without an echo: {unsent}")),
            );
        }
        lines.push_str(&next.words);
        self.known.forget_names();
        self.happenings = next.happenings;
        self.voice = next.voice;
        self.room = next.room;
        self.in_the_past = false;
        self.known.set_online(false);
        self.happens(next.first, lines);
        None
    }

    fn print(&mut self, lines: &str) {
        if !lines.is_empty() {
            self.stage.put(lines);
            self.draw();
        }
    }

    /// Makes the editor draw, or prints what it would have drawn.
    fn draw(&mut self) {
        self.stage.wait_to_print();
        if !self.stage.is_over() {
            let _ = self.printer.print(DRAW.to_owned()); // it may be gone by now
        }
        self.print_rest();
    }

    /// Where there is no editor any more, prints what it has not drawn.
    fn print_rest(&mut self) {
        if self.stage.is_over() {
            let _ = self.printer.print(self.stage.take()); // nor is there a terminal
        }
    }

    fn show(&mut self, show: Show, lines: &mut String) {
        match show {
            Show::Text(text) => {
                self.flush_crowd(lines);
                lines.push_str(&text);
            }
            Show::Room(next) => self.next_rooms.push_back(next),
        }
    }

    fn happens(&mut self, happening: Happening, lines: &mut String) {
        match happening {
            Happening::Event { received, own_time } => {
                self.is_online();
                self.event(received.event, own_time, received.replayed, lines);
                return;
            }
            Happening::Ended(_) => return, // who calls looks for it first
            _ => self.flush_crowd(lines),
        }
        match happening {
            Happening::Gap { from, to } => {
                lines.push_str(
                    &self
                        .painter
                        .wrong(&format!("events {from} to {to} of the room are missing")),
                );
            }
            Happening::Resumed { missed } => {
                self.is_online();
                self.mark_the_present(lines);
                lines.push_str(&self.painter.notice(&match missed {
                    0 => "back in the room; nothing was missed".to_owned(),
                    1 => "back in the room; 1 event came meanwhile".to_owned(),
                    n => format!("back in the room; {n} events came meanwhile"),
                }));
            }
            Happening::PastGone => lines.push_str(
                &self
                    .painter
                    .wrong("what came meanwhile is no longer kept; joining anew"),
            ),
            Happening::Lost { why, retry_in } => {
                let first = self.known.set_online(false);
                if first || retry_in >= SHORT_WAIT {
                    lines.push_str(&self.painter.wrong(&lost(&why, retry_in)));
                }
            }
            Happening::Event { .. } | Happening::Ended(_) => {}
        }
    }

    fn event(&mut self, event: Event, own_time: i64, replayed: bool, lines: &mut String) {
        if replayed != self.in_the_past {
            self.flush_crowd(lines);
            match replayed {
                true => lines.push_str(&self.painter.notice("earlier:")),
                false => lines.push_str(&self.painter.notice("now:")),
            }
            self.in_the_past = replayed;
        }
        match event.kind {
            Kind::Leave => self.known.went(&event.sender),
            Kind::Join => self.known.came(&event.sender),
            Kind::Message | Kind::Refusal => {
                self.flush_crowd(lines);
                lines.push_str(&self.painter.event(&event, Some(own_time), replayed));
                return;
            }
        }
        if self.crowd.is_empty() {
            self.crowd_until = Instant::now() + FOLD_WAIT;
        }
        self.crowd.push((event, Some(own_time), replayed));
    }

    fn flush_crowd(&mut self, lines: &mut String) {
        let crowd = std::mem::take(&mut self.crowd);
        match crowd.len() > FEW {
            true => lines.push_str(&self.painter.crowd(&crowd)),
            false => lines.extend(
                crowd
                    .iter()
                    .map(|(e, own, past)| self.painter.event(e, *own, *past)),
            ),
        }
    }

    /// The words that follow say themselves that the past is over.
    fn mark_the_present(&mut self, lines: &mut String) {
        self.flush_crowd(lines);
        self.in_the_past = false;
    }

    /// Something came from the server. After a connection was made, asks who
    /// is there.
    fn is_online(&mut self) {
        if !self.known.set_online(true) {
            Asker {
                voice: self.voice.clone(),
                room: self.room.clone(),
                known: self.known.clone(),
                painter: self.painter.clone(),
                show: self.show.clone(),
            }
            .ask(Question::Names);
        }
    }
}

fn lost(why: &CallError, retry_in: Duration) -> String {
    let why = match why {
        // The end of gRPC's words is the system's own; before it there is a
        // chain of who told whom.
        CallError::Unreachable { address, why } => {
            let reason = why.rsplit(": ").next().unwrap_or(why);
            format!("cannot reach {address}: {reason}")
        }
        other => other.to_string(),
    };
    format!("{why}; trying again in {:.1} s", retry_in.as_secs_f64())
}
