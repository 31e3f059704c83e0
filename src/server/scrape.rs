//! The page of metrics over HTTP, for Prometheus. One thread answers one
//! question after the other; nobody waits for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::bounded;
use tiny_http::{Header, Method, Request, Response};

use super::journal::Message;
use super::metrics::{Now, Outboxes};
use super::{House, StartError, thread};

/// How long the journal thread may take to measure the outboxes. It answers
/// after the group that it keeps.
const MEASURE: Duration = Duration::from_secs(5);

/// The server of the page.
pub(super) struct Scrape {
    http: Arc<tiny_http::Server>,
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Scrape {
    /// Serves `/metrics` at this address.
    pub(super) fn start(address: &str, house: &Arc<House>) -> Result<Self, StartError> {
        let fail = |why: String| StartError::Metrics {
            address: address.to_owned(),
            why,
        };
        let http = tiny_http::Server::http(address).map_err(|why| fail(why.to_string()))?;
        let bound = http.server_addr().to_ip();
        let bound = bound.ok_or_else(|| fail("not an address".to_owned()))?;
        let http = Arc::new(http);
        let (answering, house) = (http.clone(), house.clone());
        let thread = thread("metrics", move || {
            for request in answering.incoming_requests() {
                answer(&house, request);
            }
        })?;
        Ok(Self {
            http,
            address: bound,
            thread,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub(super) fn stop(self) {
        self.http.unblock();
        if self.thread.join().is_err() {
            log::error!("the metrics thread panicked");
        }
    }
}

fn answer(house: &House, request: Request) {
    let respond = |code: u16, text: String| {
        let kind = Header::from_bytes("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
        let response = Response::from_string(text).with_status_code(code);
        match kind {
            Ok(kind) => response.with_header(kind),
            Err(()) => response,
        }
    };
    let path = request.url().split('?').next().unwrap_or_default();
    let response = match (request.method(), path) {
        (Method::Get, "/metrics") => match page(house) {
            Some(page) => respond(200, page),
            None => respond(503, "the server is stopping\n".to_owned()),
        },
        (Method::Get, _) => respond(404, "see /metrics\n".to_owned()),
        _ => respond(405, "only GET\n".to_owned()),
    };
    // An error means that nobody waits for it any more.
    let _ = request.respond(response);
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
