//! The page of metrics over HTTP, for Prometheus. One thread answers one
//! question after the other; nobody waits for it.
//!
//! Whoever asks has a moment for it, and of what it sends nothing is read but the
//! head of its first request: so nobody keeps others from the page for long, and
//! nobody the server from its stop.

use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::journal::Message;
use super::metrics::{Now, Outboxes};
use super::{House, StartError, thread};

/// How long the journal thread may take to measure the outboxes. It answers
/// after the group that it keeps.
const MEASURE: Duration = Duration::from_secs(5);

/// How long a client may take to ask, and to take what it is answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest head of a request that is read, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// How long nobody is accepted where nobody can be: descriptors may be free
/// again.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// The server of the page.
pub(super) struct Scrape {
    address: SocketAddr,
    /// Closed to end it.
    quit: PipeWriter,
    /// Disconnected when it has ended.
    ended: Receiver<()>,
}

impl Scrape {
    /// Serves `/metrics` at this address.
    pub(super) fn start(address: &str, house: &Arc<House>) -> Result<Self, StartError> {
        let fail = |why: io::Error| StartError::Metrics {
            address: address.to_owned(),
            why: why.to_string(),
        };
        let listener = TcpListener::bind(address).map_err(fail)?;
        // Who was there when somebody was to be accepted may have gone.
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let (quits, quit) = pipe().map_err(fail)?;
        let (end, ended) = bounded(0);
        let house = house.clone();
        thread("metrics", move || {
            let _end: Sender<()> = end;
            if let Err(why) = run(&house, &listener, &quits) {
                log::error!("the metrics are served no more: {why}");
            }
        })?;
        Ok(Self {
            address,
            quit,
            ended,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it. Whoever is asking at that moment is not waited for for longer
    /// than `patience`.
    pub(super) fn stop(self, patience: Duration) {
        drop(self.quit);
        let _ = self.ended.recv_timeout(patience); // it ends by itself
    }
}

/// Answers until `quits` is closed at its other end.
fn run(house: &House, listener: &TcpListener, quits: &PipeReader) -> io::Result<()> {
    let mut is_said = false;
    loop {
        let quit = PollFd::new(quits, PollFlags::IN);
        let mut events = [quit.clone(), PollFd::new(listener, PollFlags::IN)];
        retry_on_intr(|| poll(&mut events, None))?;
        if !events[0].revents().is_empty() {
            return Ok(());
        }
        match listener.accept() {
            // An error means that nobody waits for the answer any more.
            Ok((client, _)) => {
                let _ = answer(house, client);
                is_said = false;
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => {
                if !std::mem::replace(&mut is_said, true) {
                    log::warn!("nobody can ask for the metrics now: {why}");
                }
                retry_on_intr(|| poll(&mut [quit.clone()], Some(&PAUSE)))?;
            }
        }
    }
}

fn answer(house: &House, mut client: TcpStream) -> io::Result<()> {
    client.set_nonblocking(false)?; // some systems hand down the listener's way
    client.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut client)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split('?').next();
    let (status, text) = match (method, path) {
        (Some("GET"), Some("/metrics")) => match page(house) {
            Some(page) => ("200 OK", page),
            None => (
                "503 Service Unavailable",
                "the journal does not answer: its disk or its log takes nothing\n".to_owned(),
            ),
        },
        (Some("GET"), _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = text.len();
    let response = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    );
    client.write_all(response.as_bytes())
}

/// The head of a request, however many pieces it comes in.
fn head(client: &mut TcpStream) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        // None left is an error.
        client.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now())))?;
        let read = client.read(&mut chunk)?;
        if read == 0 || head.len() + read > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn page(house: &House) -> Option<String> {
    let (streams, addresses) = house.sessions.count();
    let log = house.order.log_now();
    Some(house.metrics.write(&Now {
        streams,
        addresses,
        rooms: house.rooms.count(),
        away: log.as_ref().map_or(house.away.used(), |log| log.away),
        questions: house.questions.used(),
        outboxes: measure(house)?,
        log,
    }))
}

/// Asks the journal, to which the outboxes belong.
fn measure(house: &House) -> Option<Outboxes> {
    let (tell, told) = bounded(1);
    house.journal.hand_over(Message::Measure(tell));
    house.journal.ring();
    told.recv_timeout(MEASURE).ok()
}
