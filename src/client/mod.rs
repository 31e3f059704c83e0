//! The other end: one participant of one room.
//!
//! A [`Participant`] dials, joins, sends, and resumes after a loss, on a
//! reader thread of its own and one writer thread a connection. Whoever owns
//! it says things through it and is told what happens through a channel.

mod conversation;
pub mod json;
mod lines;
mod link;
mod process;
mod report;
pub mod terminal;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::chat::Name;
use crate::rpc::{Access, CallError, Dialled, Dialler, Keepalive};
use crate::wire::{PastAsk, Received};

use link::Link;
use process::Process;

pub use conversation::SayError;
pub use lines::{Format, Plain, say_lines, shown};

/// Messages that may wait for their echo. [`Voice::say`] waits while it is so
/// many.
pub const MOST_WAITING: usize = conversation::WINDOW;

/// Things that may wait for whoever is told of them. When they are this many,
/// the reader thread waits, and the server with it.
const HAPPENINGS: usize = 1024;

/// Who joins what, where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Servers of the same rooms, in the order in which they are tried.
    pub servers: Vec<String>,
    /// The name to join with.
    pub name: Name,
    /// The id to join with; 0 lets the server choose, which the original
    /// server does not.
    pub id: i32,
    /// The room; empty for the default one.
    pub room: String,
    /// Which part of the past to begin with.
    pub past: Option<PastAsk>,
    /// How it gets in.
    pub access: Access,
    /// How a vanished server is found.
    pub keepalive: Keepalive,
    /// How long a connection may take to be made.
    pub dial_patience: Duration,
    /// How long to go on trying after a loss before giving up.
    pub reconnect: Duration,
}

/// What a participant is told.
#[derive(Debug)]
pub enum Happening {
    /// An event arrived. `own_time` is the participant's Lamport time of the
    /// receipt.
    Event {
        /// The event.
        received: Received,
        /// This participant's Lamport time of the receipt.
        own_time: i64,
    },
    /// Events are missing before the one that comes next: their numbers.
    Gap {
        /// The first one missing.
        from: u64,
        /// The last one missing.
        to: u64,
    },
    /// It is back in the room after a loss.
    Resumed {
        /// Events that it missed meanwhile and has been told of by now.
        missed: u64,
    },
    /// The past before the loss is no longer kept; it joined anew.
    PastGone,
    /// The connection is lost.
    Lost {
        /// Why.
        why: CallError,
        /// When the next try begins.
        retry_in: Duration,
    },
    /// The last thing that it is told.
    Ended(End),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It left.
    Left,
    /// No server could be reached.
    Unreachable {
        /// Why the last one could not.
        why: CallError,
        /// Messages that were not sent.
        unsent: usize,
    },
    /// The server does not let it in, or let it go for good.
    Refused {
        /// What the server says.
        why: CallError,
        /// Messages without an echo: whether they were heard is not known.
        unsent: usize,
    },
    /// The connection was lost and could not be made again in time.
    Gone {
        /// Why the last try failed.
        why: CallError,
        /// Messages without an echo: whether they were heard is not known.
        unsent: usize,
    },
}

impl End {
    /// Why, unless it left.
    pub fn why(&self) -> Option<&CallError> {
        match self {
            End::Left => None,
            End::Unreachable { why, .. } | End::Refused { why, .. } | End::Gone { why, .. } => {
                Some(why)
            }
        }
    }

    /// Messages that have no echo.
    pub fn unsent(&self) -> usize {
        match self {
            End::Left => 0,
            End::Unreachable { unsent, .. }
            | End::Refused { unsent, .. }
            | End::Gone { unsent, .. } => *unsent,
        }
    }
}

/// A participant of a room.
pub struct Participant {
    link: Arc<Link>,
    reader: JoinHandle<()>,
}

impl Participant {
    /// Starts to join. What happens is told through the channel; its last
    /// message is [`Happening::Ended`].
    ///
    /// # Errors
    /// The system gives no thread or no random bytes.
    pub fn start(settings: Settings) -> std::io::Result<(Self, Receiver<Happening>)> {
        let dialler = Dialler::with_access(settings.keepalive, settings.access.clone());
        let process = Arc::new(Process::new(dialler));
        Self::begin(settings, process, true)
    }

    /// Starts to join another room too, with another participant of the same
    /// process: they share one Lamport clock. Servers are dialled with the
    /// access and the keepalive of this one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_another(
        &self,
        settings: Settings,
    ) -> std::io::Result<(Self, Receiver<Happening>)> {
        Self::begin(settings, self.link.process(), false)
    }

    fn begin(
        settings: Settings,
        process: Arc<Process>,
        is_first: bool,
    ) -> std::io::Result<(Self, Receiver<Happening>)> {
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
        let (tell, told) = bounded(HAPPENINGS);
        let link = Arc::new(Link::new(settings, secret, process));
        let reading = link.clone();
        let reader = std::thread::Builder::new().name("reader".to_owned());
        link.begin(is_first);
        let reader = match reader.spawn(move || reading.run(&tell)) {
            Ok(reader) => reader,
            Err(why) => {
                link.end();
                return Err(why);
            }
        };
        Ok((Self { link, reader }, told))
    }

    /// A handle that says things, for other threads.
    pub fn voice(&self) -> Voice {
        Voice(self.link.clone())
    }

    /// Waits for the end, which comes after [`Voice::leave`] or by itself.
    pub fn join(self) {
        if self.reader.join().is_err() {
            log::error!("the reader thread panicked");
        }
    }
}

/// Says things for a participant.
#[derive(Clone)]
pub struct Voice(Arc<Link>);

impl Voice {
    /// Says something to the room or, with `to`, to one participant. It is
    /// kept until its echo has come, and sent again after a loss; the server
    /// recognises what it has. Waits while too much is without an echo.
    /// Returns this participant's Lamport time of the send.
    ///
    /// # Errors
    /// Why it is not sent, and never will be.
    pub fn say(&self, text: &str, to: &str) -> Result<i64, SayError> {
        self.0.say(text, to)
    }

    /// How many messages have no echo yet.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// Whether the participant has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// Waits until the participant has ended, for so long at most.
    pub fn wait_for_end(&self, patience: Duration) {
        self.0.wait_for_end(patience);
    }

    /// A connection of its own, for questions.
    ///
    /// # Errors
    /// Why none of the servers could be reached; what the last one said.
    pub fn dial(&self) -> Result<Dialled, CallError> {
        self.0.dial()
    }

    /// Leaves: once everything said has its echo, says so and reads to the end.
    pub fn leave(&self) {
        self.0.leave();
    }
}
