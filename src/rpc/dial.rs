//! The client's end, blocking: a channel, and the two halves of a stream.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::sink::SinkExt;
use futures_util::stream::StreamExt;
use grpcio::{
    CallOption, Channel, Client, ClientDuplexReceiver, ClientDuplexSender, ClientSStreamReceiver,
    ConnectivityState, EnvBuilder, Environment, RpcStatusCode, WriteFlags,
};

use super::ADDRESS;
use super::args::{self, Keepalive};
use super::caller;
use super::tls::ClientTls;
use crate::wire::{
    CHAT_CALL, ClientFrame, HISTORY_CALL, HistoryQuery, ROOMS_CALL, Received, RoomList, RoomsQuery,
    Roster, WHO_CALL, WhoQuery,
};

/// How long an answer to a question may take.
const QUERY_PATIENCE: Duration = Duration::from_secs(10);

/// Makes connections. Has one poll thread, whatever the number of connections,
/// unless it is told to have more.
#[derive(Clone)]
pub struct Dialler {
    env: Arc<Environment>,
    keepalive: Keepalive,
    access: Access,
}

/// How a client gets in.
#[derive(Clone, Default)]
pub struct Access {
    /// Encrypts, and knows the server by its certificate.
    pub tls: Option<ClientTls>,
    /// The server's password; empty for none.
    pub password: String,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// A connection to a server.
pub struct Dialled {
    client: Client,
    password: String,
}

/// Why a call failed or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// As it was given.
        address: String,
        /// What gRPC says.
        why: String,
    },
    /// The server, or gRPC in its name, ended the call with this status.
    #[error("{message}")]
    Status {
        /// gRPC's number of it.
        code: Code,
        /// Its words, or the code's name where there are none.
        message: String,
    },
    /// The call is gone without a status.
    #[error("the connection was lost")]
    Lost,
}

/// A gRPC status code, without grpcio's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub i32);

impl Code {
    /// The names that callers branch on.
    pub const CANCELLED: Code = Code(1);
    /// See gRPC's list of status codes.
    pub const INVALID_ARGUMENT: Code = Code(3);
    /// See gRPC's list of status codes.
    pub const OUT_OF_RANGE: Code = Code(11);
    /// See gRPC's list of status codes.
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    /// See gRPC's list of status codes.
    pub const ABORTED: Code = Code(10);
    /// See gRPC's list of status codes.
    pub const ALREADY_EXISTS: Code = Code(6);
    /// See gRPC's list of status codes.
    pub const UNAVAILABLE: Code = Code(14);
    /// See gRPC's list of status codes.
    pub const INTERNAL: Code = Code(13);
    /// See gRPC's list of status codes.
    pub const UNKNOWN: Code = Code(2);
    /// See gRPC's list of status codes.
    pub const DEADLINE_EXCEEDED: Code = Code(4);
}

impl From<grpcio::Error> for CallError {
    fn from(error: grpcio::Error) -> Self {
        match error {
            grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => {
                let message = match status.message() {
                    "" => status.code().to_string(),
                    words => words.to_owned(),
                };
                CallError::Status {
                    code: Code(status.code().into()),
                    message,
                }
            }
            grpcio::Error::Codec(why) => CallError::Status {
                code: Code::INTERNAL,
                message: format!("the server sent something that is not Chit Chat: {why}"),
            },
            _ => CallError::Lost,
        }
    }
}

impl Dialler {
    /// A dialler whose connections are watched with this keepalive, and which
    /// brings nothing to get in with.
    pub fn new(keepalive: Keepalive) -> Self {
        Self::build(1, keepalive, Access::default())
    }

    /// As [`new`](Self::new), with this many poll threads, to which the
    /// connections are dealt in turn.
    pub fn with_poll_threads(poll_threads: usize, keepalive: Keepalive, access: Access) -> Self {
        Self::build(poll_threads, keepalive, access)
    }

    /// As [`new`](Self::new), with what it takes to get in.
    pub fn with_access(keepalive: Keepalive, access: Access) -> Self {
        Self::build(1, keepalive, access)
    }

    fn build(poll_threads: usize, keepalive: Keepalive, access: Access) -> Self {
        let env = EnvBuilder::new()
            .cq_count(poll_threads.max(1))
            .name_prefix("poll")
            .build();
        Self {
            env: Arc::new(env),
            keepalive,
            access,
        }
    }

    /// Connects to the first of several servers that answers.
    ///
    /// # Errors
    /// What the last one said.
    pub fn dial_any(&self, addresses: &[String], patience: Duration) -> Result<Dialled, CallError> {
        let mut last = CallError::Lost;
        for address in addresses {
            match self.dial(address, patience) {
                Ok(dialled) => return Ok(dialled),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Connects to `HOST:PORT` or `unix:PATH`, within `patience`.
    ///
    /// # Errors
    /// [`CallError::Unreachable`].
    pub fn dial(&self, address: &str, patience: Duration) -> Result<Dialled, CallError> {
        let fail = |why: &str| CallError::Unreachable {
            address: address.to_owned(),
            why: why.to_owned(),
        };
        if address.is_empty() || address.contains('\0') {
            return Err(fail("not an address"));
        }
        if let Some(why) = port_fault(address) {
            return Err(fail(&why));
        }
        let tls = self.access.tls.as_ref();
        if tls
            .and_then(ClientTls::server_name)
            .is_some_and(|name| name.contains('\0'))
        {
            return Err(fail("the server's name is not one"));
        }
        let mut args = args::client(&self.env, self.keepalive);
        if let Some(tls) = tls {
            if let Some(name) = tls.server_name() {
                args = args.override_ssl_target(name);
            }
            args = args.set_credentials(tls.credentials());
        }
        let channel = args.connect(address);
        let client = Client::new(channel.clone());
        match block_on(connected(&channel, Instant::now() + patience)) {
            Connected::Yes => Ok(Dialled {
                client,
                password: self.access.password.clone(),
            }),
            Connected::TooLate => Err(fail("no answer")),
            // The channel does not say why; a call on it does.
            Connected::Refused => {
                let option = CallOption::default().timeout(Duration::from_secs(1));
                match client.unary_call(&ROOMS_CALL, &RoomsQuery, option) {
                    Err(grpcio::Error::RpcFailure(status))
                        if status.code() == RpcStatusCode::UNAVAILABLE =>
                    {
                        Err(fail(status.message()))
                    }
                    _ => Err(fail("no connection")),
                }
            }
        }
    }
}

/// What is wrong with the port of an address. gRPC would take 443 for one that is
/// missing, and what is left after a division by 65536 for one that there is not,
/// and reach somebody else.
fn port_fault(address: &str) -> Option<String> {
    if address.starts_with("unix:") || address.starts_with("unix-abstract:") {
        return None;
    }
    let port = match address.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => port,
        _ => return Some(ADDRESS.to_owned()),
    };
    (port.parse::<u16>().is_err()).then(|| format!("there is no port {port}"))
}

enum Connected {
    Yes,
    Refused,
    TooLate,
}

async fn connected(channel: &Channel, deadline: Instant) -> Connected {
    loop {
        let state = channel.check_connectivity_state(true);
        match state {
            ConnectivityState::GRPC_CHANNEL_READY => return Connected::Yes,
            ConnectivityState::GRPC_CHANNEL_TRANSIENT_FAILURE
            | ConnectivityState::GRPC_CHANNEL_SHUTDOWN => return Connected::Refused,
            _ => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !channel.wait_for_state_change(state, left).await {
            return Connected::TooLate;
        }
    }
}

impl Dialled {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    fn option(&self) -> CallOption {
        match caller::bring(&self.password) {
            Some(headers) => CallOption::default().headers(headers),
            None => CallOption::default(),
        }
    }

    /// Opens a `Chat` stream.
    ///
    /// # Errors
    /// Why there is none.
    pub fn chat(&self) -> Result<(FrameWriter, EventReader), CallError> {
        let (sink, stream) = self
            .client
            .duplex_streaming(&CHAT_CALL, CallOption::default())?;
        let channel = self.client.channel();
        Ok((
            FrameWriter {
                sink: Some(sink),
                failed: false,
                _channel: channel.clone(),
            },
            EventReader {
                events: Events::Chat(stream),
                _channel: channel.clone(),
            },
        ))
    }

    /// Asks for a room's past.
    ///
    /// # Errors
    /// Why there is none.
    pub fn history(&self, query: &HistoryQuery) -> Result<EventReader, CallError> {
        let stream = self
            .client
            .server_streaming(&HISTORY_CALL, query, self.option())?;
        let channel = self.client.channel().clone();
        Ok(EventReader {
            events: Events::History(stream),
            _channel: channel,
        })
    }

    /// Asks who is in a room.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn who(&self, query: &WhoQuery) -> Result<Roster, CallError> {
        let option = self.option().timeout(QUERY_PATIENCE);
        Ok(self.client.unary_call(&WHO_CALL, query, option)?)
    }

    /// Asks which rooms there are.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn rooms(&self) -> Result<RoomList, CallError> {
        let option = self.option().timeout(QUERY_PATIENCE);
        Ok(self.client.unary_call(&ROOMS_CALL, &RoomsQuery, option)?)
    }
}

/// The client's half of a stream. Dropping it unclosed cancels the call.
pub struct FrameWriter {
    sink: Option<ClientDuplexSender<ClientFrame>>,
    /// A send has failed: the sink must not be used again. Nor must it be
    /// dropped yet, which would cancel the call before its status is read.
    failed: bool,
    // Dropped last: without a channel its poll thread is gone, and a call can
    // not even be cancelled any more.
    _channel: Channel,
}

impl FrameWriter {
    /// Sends a frame, waiting for the server to read.
    ///
    /// # Errors
    /// The stream has ended; the reader knows why. No later send gets through.
    pub fn send(&mut self, frame: ClientFrame) -> Result<(), CallError> {
        let Some(sink) = self.sink.as_mut().filter(|_| !self.failed) else {
            return Err(CallError::Lost);
        };
        let sent = block_on(sink.send((frame, WriteFlags::default())));
        self.failed = sent.is_err();
        Ok(sent?)
    }

    /// Says that nothing more comes. The server answers by ending its half.
    pub fn close(&mut self) {
        if let Some(sink) = self.sink.as_mut().filter(|_| !self.failed) {
            // An error means that the server was faster.
            let _ = block_on(sink.close());
        }
    }

    /// Ends the call at once, in both directions.
    pub fn cancel(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            sink.cancel();
        }
    }
}

/// The server's half of a stream. Dropping it early cancels the call.
pub struct EventReader {
    events: Events,
    _channel: Channel, // as with FrameWriter
}

enum Events {
    Chat(ClientDuplexReceiver<Vec<Received>>),
    History(ClientSStreamReceiver<Vec<Received>>),
}

impl EventReader {
    /// Waits for the next events. `None`: the server has ended the call well.
    ///
    /// # Errors
    /// The call ended otherwise.
    pub fn recv(&mut self) -> Result<Option<Vec<Received>>, CallError> {
        let next = match &mut self.events {
            Events::Chat(stream) => block_on(stream.next()),
            Events::History(stream) => block_on(stream.next()),
        };
        Ok(next.transpose()?)
    }
}
