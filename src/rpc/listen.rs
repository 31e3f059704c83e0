//! Listening: which calls there are, where they come in, and how it all ends.

use std::net::{IpAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use futures_channel::oneshot;
use futures_executor::block_on;
use futures_util::FutureExt;
use grpcio::{
    EnvBuilder, Environment, Method, RpcContext, Server, ServerBuilder, ServerCredentials,
    ServiceBuilder, UnarySink,
};

use super::args::{self, ConnectionLimits};
use super::caller::{Caller, network, password_of};
use super::pulse::Pulse;
use super::sever::Severer;
use super::standard::Stopped;
use super::stream::{self, Connection};
use super::tls::Certificates;
use crate::wire::{
    Asked, CHAT, Ending, HISTORY, HistoryQuery, ROOMS, RoomList, RoomsQuery, Roster, WHO, WhoQuery,
};

/// Calls that may be accepted at once on each poll thread before their
/// handlers have run. grpcio's 1,024 make `shutdown()` stall now and then
/// (tikv/grpc-rs issue 674); handlers here return at once, so few do.
const REQUEST_SLOTS: usize = 32;

/// Messages that may wait in the outbox of a call that only answers. Events of
/// history go through the past's own small queue, so none of them ever does;
/// a server's health changes twice in its life.
pub(super) const REPLY_OUTBOX: usize = 4;

/// Whether a call of this peer, as gRPC writes its address, is worth beginning.
type Admit = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A service being put together. The functions that it is given run on poll
/// threads: they must hand their call to a thread of its own and return.
pub struct Listener {
    // Dropped first: its tasks end on the poll threads.
    pulse: Option<Pulse>,
    env: Arc<Environment>,
    pub(super) service: ServiceBuilder,
    limits: ConnectionLimits,
    admit: Admit,
    /// Where it listens, once it does.
    ports: Arc<OnceLock<Vec<u16>>>,
    certificates: Option<Certificates>,
    /// Dropped when the server begins to stop.
    stop: oneshot::Sender<()>,
    pub(super) stopped: Stopped,
}

/// A question, and who asks it.
pub struct Question<T> {
    /// What is asked.
    pub query: T,
    /// Who asks.
    pub caller: Caller,
    /// The password that the call brings; empty if it brings none.
    pub password: String,
}

impl<T> Question<T> {
    fn new(ctx: &RpcContext<'_>, query: T) -> Self {
        Self {
            query,
            caller: Caller::of(ctx),
            password: password_of(ctx),
        }
    }
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or no address.
    #[error("cannot listen on {address}: {why}")]
    Address {
        /// As it was given.
        address: String,
        /// What the system says.
        why: String,
    },
    /// gRPC's core does not start.
    #[error("cannot start gRPC")]
    Grpc(#[from] grpcio::Error),
}

impl Listener {
    /// A service without calls, on this many poll threads.
    pub fn new(poll_threads: usize, limits: ConnectionLimits) -> Self {
        let env = EnvBuilder::new()
            .cq_count(poll_threads.max(1))
            .name_prefix("poll")
            .build();
        let (stop, stopped) = oneshot::channel();
        Self {
            pulse: None,
            env: Arc::new(env),
            service: ServiceBuilder::new(),
            limits,
            admit: Arc::new(|_| true),
            ports: Arc::default(),
            certificates: None,
            stop,
            stopped: stopped.shared(),
        }
    }

    /// Asks, for calls that are added after this, whether one of that network is
    /// worth beginning. One that is not is cancelled, at the least cost, and its
    /// connection is cut off. `severed` is told how many were, on a thread of
    /// its own.
    pub fn admit(
        mut self,
        admit: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        severed: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let pulse = Pulse::of(&self.env);
        let severer = Severer::start(self.ports.clone(), pulse.watch(), severed);
        self.pulse = Some(pulse);
        self.admit = Arc::new(move |peer| {
            let admitted = network(peer).is_none_or(&admit);
            if !admitted {
                severer.sever(peer);
            }
            admitted
        });
        self
    }

    /// Encrypts every connection, with these certificates.
    pub fn encrypted(mut self, certificates: Certificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Serves `Chat`. A stream's outbox holds at most `outbox_events`.
    pub fn chat(
        mut self,
        outbox_events: usize,
        accept: impl Fn(Connection) + Clone + Send + 'static,
    ) -> Self {
        let admit = self.admit.clone();
        let most = self.limits.max_receive_bytes;
        self.service =
            self.service
                .add_duplex_streaming_handler(&CHAT, move |ctx, frames, sink| {
                    if !admits(&admit, &ctx) {
                        return;
                    }
                    shielded(|| accept(stream::open(&ctx, frames, most, sink, outbox_events)));
                });
        self
    }

    /// Serves `History`.
    pub fn history(
        mut self,
        answer: impl Fn(Question<HistoryQuery>, Streamed) + Clone + Send + 'static,
    ) -> Self {
        let admit = self.admit.clone();
        self.service =
            self.service
                .add_server_streaming_handler(&HISTORY, move |ctx, query, sink| {
                    if !admits(&admit, &ctx) {
                        return;
                    }
                    shielded(|| {
                        let connection = stream::open_reply(&ctx, sink, REPLY_OUTBOX);
                        match query {
                            Ok(query) => {
                                answer(Question::new(&ctx, query), Streamed::new(connection));
                            }
                            Err(ending) => connection.refuse(ending),
                        }
                    });
                });
        self
    }

    /// Serves `Who`.
    pub fn who(
        self,
        answer: impl Fn(Question<WhoQuery>, Reply<Roster>) + Clone + Send + 'static,
    ) -> Self {
        self.unary(&WHO, answer)
    }

    /// Serves `Rooms`.
    pub fn rooms(
        self,
        answer: impl Fn(Question<RoomsQuery>, Reply<RoomList>) + Clone + Send + 'static,
    ) -> Self {
        self.unary(&ROOMS, answer)
    }

    fn unary<Q: 'static, A: Send + 'static>(
        mut self,
        method: &Method<Asked<Q>, A>,
        answer: impl Fn(Question<Q>, Reply<A>) + Clone + Send + 'static,
    ) -> Self {
        let admit = self.admit.clone();
        self.service = self
            .service
            .add_unary_handler(method, move |ctx, query, sink| {
                if !admits(&admit, &ctx) {
                    return;
                }
                shielded(|| {
                    let reply = Reply::pumped(&ctx, sink);
                    match query {
                        Ok(query) => answer(Question::new(&ctx, query), reply),
                        Err(ending) => reply.send(Err(ending)),
                    }
                });
            });
        self
    }

    /// Binds every address (`HOST:PORT`, `[HOST]:PORT` or `unix:PATH`). Port 0
    /// lets the system choose. Whoever connects waits until
    /// [`serve`](Listening::serve).
    ///
    /// # Errors
    /// The first address that cannot be bound, and why.
    pub fn listen(self, addresses: &[String]) -> Result<Listening, ListenError> {
        let mut server = ServerBuilder::new(self.env.clone())
            .requests_slot_per_cq(REQUEST_SLOTS)
            .channel_args(args::server(&self.env, self.limits).build_args())
            .register_service(self.service.build())
            .build()?;
        let mut bound = Vec::with_capacity(addresses.len());
        for address in addresses {
            let credentials = match &self.certificates {
                Some(certificates) => certificates.credentials(),
                None => ServerCredentials::insecure(),
            };
            bound.push(bind(&mut server, address, credentials)?);
        }
        let ports = bound.iter().filter_map(|address| port(address)).collect();
        let _ = self.ports.set(ports); // it is set nowhere else
        Ok(Listening {
            _pulse: self.pulse,
            server,
            addresses: bound,
            stop: Some(self.stop),
            _env: self.env,
        })
    }
}

/// The port in `HOST:PORT`.
fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

fn admits(admit: &Admit, ctx: &RpcContext<'_>) -> bool {
    admit(&ctx.peer())
}

/// A panic in a handler would silently end its poll thread.
pub(super) fn shielded(handler: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(handler)).is_err() {
        log::error!("accepting a call panicked; the call has ended");
    }
}

fn bind(
    server: &mut Server,
    address: &str,
    credentials: ServerCredentials,
) -> Result<String, ListenError> {
    let fail = |why: String| ListenError::Address {
        address: address.to_owned(),
        why,
    };
    if address.contains('\0') {
        return Err(fail("not an address".to_owned()));
    }
    if let Some(path) = address.strip_prefix("unix:") {
        free_socket_path(path).map_err(fail)?;
        return match server.add_listening_port(address, credentials) {
            Ok(_) => Ok(address.to_owned()),
            Err(_) => Err(fail("the socket cannot be made there".to_owned())),
        };
    }
    // gRPC's core takes any number for a port and drops what is too much of it.
    let Some((host, _)) = address
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
    else {
        return Err(fail(
            "it must be HOST:PORT, [HOST]:PORT or unix:PATH".to_owned(),
        ));
    };
    match server.add_listening_port(address, credentials) {
        Ok(port) => Ok(format!("{host}:{port}")),
        // The core keeps the reason to itself, so ask the system once more.
        Err(_) => Err(fail(match TcpListener::bind(address) {
            Err(why) => why.to_string(),
            Ok(_) => "gRPC could not bind it".to_owned(),
        })),
    }
}

/// Whether other machines can reach a server that listens there. An address
/// that is none cannot be bound either, so that it is not exposed.
pub fn is_exposed(address: &str) -> bool {
    !address.starts_with("unix:")
        && address
            .to_socket_addrs()
            .is_ok_and(|mut all| all.any(|a| !a.ip().to_canonical().is_loopback()))
}

/// gRPC's core takes a socket's path over from a living server without a word.
fn free_socket_path(path: &str) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if !meta.file_type().is_socket() => Err("something else has this path".to_owned()),
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err("another server listens there".to_owned())
        }
        Ok(_) => std::fs::remove_file(path).map_err(|why| why.to_string()),
    }
}

/// A server with its addresses.
pub struct Listening {
    // Dropped first: its tasks end on the poll threads.
    _pulse: Option<Pulse>,
    server: Server,
    addresses: Vec<String>,
    stop: Option<oneshot::Sender<()>>,
    // Dropped after the server: its threads finish what the server's end needs.
    _env: Arc<Environment>,
}

/// Says when a stop that has begun is complete.
pub struct Stopping(Receiver<()>);

impl Listening {
    /// Where it listens, with the ports that it got.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Begins to accept calls.
    pub fn serve(&mut self) {
        self.server.start();
    }

    /// Accepts no more calls. Those that are there go on; when the last has
    /// ended, the stop is complete.
    pub fn begin_stop(&mut self) -> Stopping {
        self.stop = None;
        let complete = self.server.shutdown();
        let (stopped, stopping) = bounded(1);
        // A thread of its own, so that the wait for it can have a limit.
        let waits = std::thread::Builder::new()
            .name("stop".to_owned())
            .spawn(move || {
                let _ = block_on(complete);
                let _ = stopped.send(());
            });
        if let Err(why) = waits {
            log::error!("cannot wait for the calls to end: {why}");
        }
        Stopping(stopping)
    }

    /// Waits, for half of `patience`, until the calls have ended and their
    /// connections are closed; then cancels what is left and waits for the
    /// rest of it. Cancelling at once would cut off statuses that are still on
    /// their way. Not to be called on a poll thread.
    pub fn end(mut self, stopping: Stopping, patience: Duration) {
        if stopping.0.recv_timeout(patience / 2).is_ok() {
            return;
        }
        self.server.cancel_all_calls();
        if stopping.0.recv_timeout(patience / 2).is_err() {
            log::warn!("gRPC did not end its calls in time");
        }
    }
}

/// The answer to a unary call. Dropping it says that there are too many.
pub struct Reply<T>(oneshot::Sender<Result<T, Ending>>);

impl<T: Send + 'static> Reply<T> {
    /// A poll thread hands the answer over, so that no other thread waits for
    /// a client that does not read.
    fn pumped(ctx: &RpcContext<'_>, sink: UnarySink<T>) -> Self {
        let (tell, told) = oneshot::channel::<Result<T, Ending>>();
        ctx.spawn(stream::guarded("reply", async move {
            let handed_over = match told.await {
                Ok(Ok(value)) => sink.success(value),
                Ok(Err(ending)) => sink.fail(ending.to_status()),
                Err(_) => {
                    sink.fail(Ending::Limit("too many questions at once".to_owned()).to_status())
                }
            };
            // An error means that the client has not waited.
            drop(handed_over.await);
        }));
        Self(tell)
    }

    /// Answers. Waits for nothing.
    pub fn send(self, answer: Result<T, Ending>) {
        let _ = self.0.send(answer); // the call may be over
    }
}

/// The answer to a call that streams.
pub struct Streamed(Connection);

impl Streamed {
    pub(super) fn new(connection: Connection) -> Self {
        Self(connection)
    }

    /// The stream that the answer goes out on; nothing comes in on it.
    pub fn into_connection(self) -> Connection {
        self.0
    }
}
