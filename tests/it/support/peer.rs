use std::time::{Duration, Instant};

use chitchat::chat::{Event, Kind};
use chitchat::rpc::{Access, CallError, Dialler, FrameWriter, Keepalive};
use chitchat::wire::{ClientFrame, Join, Received, Request};
use crossbeam_channel::{Receiver, unbounded};

use super::DEADLINE;

/// A client that sends exactly what a test says, and keeps what it gets.
pub struct Peer {
    pub name: String,
    writer: FrameWriter,
    told: Receiver<Told>,
}

enum Told {
    Events(Vec<Received>),
    End(Result<(), CallError>),
}

/// A JOIN as the original's clients sent it, at Lamport time 0.
pub fn join(name: &str, id: i32) -> Join {
    Join {
        id,
        name: name.to_owned(),
        ..Join::default()
    }
}

/// The same for one that can prove later who it is.
pub fn with_secret(name: &str, id: i32) -> Join {
    Join {
        secret: vec![id as u8; 16],
        ..join(name, id)
    }
}

impl Peer {
    /// Opens a stream and sends nothing.
    pub fn dial(address: &str) -> Self {
        Self::dial_with(address, Access::default())
    }

    /// Opens a stream with what it takes to get in, and sends nothing.
    pub fn dial_with(address: &str, access: Access) -> Self {
        let dialled = Dialler::with_access(Keepalive::default(), access)
            .dial(address, DEADLINE)
            .expect("a connection");
        let (writer, mut reader) = dialled.chat().expect("a stream");
        let (tell, told) = unbounded();
        std::thread::spawn(move || {
            let _connection = dialled;
            loop {
                let news = match reader.recv() {
                    Ok(Some(events)) => Told::Events(events),
                    Ok(None) => Told::End(Ok(())),
                    Err(why) => Told::End(Err(why)),
                };
                let over = matches!(news, Told::End(_));
                if tell.send(news).is_err() || over {
                    return;
                }
            }
        });
        Self {
            name: String::new(),
            writer,
            told,
        }
    }

    /// Opens a stream and sends a JOIN.
    pub fn ask(address: &str, join: Join) -> Self {
        Self::ask_with(address, Access::default(), join)
    }

    /// Opens a stream with what it takes to get in, and sends a JOIN.
    pub fn ask_with(address: &str, access: Access, join: Join) -> Self {
        let mut peer = Self::dial_with(address, access);
        peer.name = join.name.clone();
        peer.send(vec![Request::Join(Box::new(join))]);
        peer
    }

    /// Joins the default room and takes its own announcement.
    pub fn join(address: &str, name: &str, id: i32) -> Self {
        let peer = Self::ask(address, join(name, id));
        let event = peer.next();
        assert_eq!((event.kind, event.sender.as_ref()), (Kind::Join, name));
        peer
    }

    /// Sends a frame. An error says that the stream has ended; what it ended
    /// with is told to whoever reads.
    pub fn send(&mut self, requests: Vec<Request>) {
        let _ = self.writer.send(ClientFrame {
            id: 0,
            name: "".into(),
            requests,
        });
    }

    pub fn say(&mut self, text: &str, sent: i64) {
        self.send(vec![Request::Say {
            text: text.to_owned(),
            to: String::new(),
            sent,
        }]);
    }

    pub fn leave(&mut self, sent: i64) {
        self.send(vec![Request::Leave { sent }]);
    }

    /// The next frame's events.
    pub fn next_frame(&self) -> Vec<Received> {
        match self.told.recv_timeout(DEADLINE) {
            Ok(Told::Events(events)) => events,
            Ok(Told::End(end)) => panic!(
                "{} waits for an event and its stream ends: {end:?}",
                self.name
            ),
            Err(_) => panic!("{} waits for an event in vain", self.name),
        }
    }

    /// The next event, where each has a frame of its own.
    pub fn next(&self) -> Event {
        let mut frame = self.next_frame();
        assert_eq!(frame.len(), 1, "no batch was asked for");
        frame.remove(0).event
    }

    /// The events up to and including the first that `last` holds for.
    pub fn until(&self, what: &str, mut last: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let received = self.hear_until(what, |r| last(&r.event));
        received.into_iter().map(|r| r.event).collect()
    }

    /// As [`until`](Self::until), with what is not the event's own.
    pub fn hear_until(&self, what: &str, mut last: impl FnMut(&Received) -> bool) -> Vec<Received> {
        let mut events = Vec::new();
        loop {
            match self.told.recv_timeout(DEADLINE) {
                Ok(Told::Events(frame)) => {
                    for received in frame {
                        let done = last(&received);
                        events.push(received);
                        if done {
                            return events;
                        }
                    }
                }
                Ok(Told::End(end)) => panic!(
                    "{} waits for {what} and its stream ends: {end:?}",
                    self.name
                ),
                Err(_) => panic!("{} waits for {what} in vain; it got {events:#?}", self.name),
            }
        }
    }

    /// The first frame's event, or nothing if the stream ends before.
    pub fn next_or_end(&self) -> Option<Event> {
        match self.told.recv_timeout(DEADLINE) {
            Ok(Told::Events(mut frame)) => Some(frame.remove(0).event),
            Ok(Told::End(_)) => None,
            Err(_) => panic!("{} waits for an event or the end in vain", self.name),
        }
    }

    /// The events that come within this time.
    pub fn listen(&self, time: Duration) -> Vec<Event> {
        let until = Instant::now() + time;
        let mut events = Vec::new();
        loop {
            match self.told.recv_deadline(until) {
                Ok(Told::Events(frame)) => events.extend(frame.into_iter().map(|r| r.event)),
                Ok(Told::End(end)) => panic!("{} listens and its stream ends: {end:?}", self.name),
                Err(_) => return events,
            }
        }
    }

    /// How the stream ends, passing over events.
    pub fn end(&self) -> Result<(), CallError> {
        self.rest().1
    }

    /// The events that still come, and how the stream ends.
    pub fn rest(&self) -> (Vec<Event>, Result<(), CallError>) {
        let mut events = Vec::new();
        loop {
            match self.told.recv_timeout(DEADLINE) {
                Ok(Told::Events(frame)) => events.extend(frame.into_iter().map(|r| r.event)),
                Ok(Told::End(end)) => return (events, end),
                Err(_) => panic!("{} waits for the end of its stream in vain", self.name),
            }
        }
    }

    /// The status with which the stream ends.
    pub fn status(&self) -> (i32, String) {
        match self.end() {
            Ok(()) => (0, String::new()),
            Err(CallError::Status { code, message }) => (code.0, message),
            Err(other) => panic!("{} gets no status but {other:?}", self.name),
        }
    }
}
