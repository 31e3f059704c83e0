//! Listening: which calls there are, where they come in, and how it all ends.

use std::io::ErrorKind;
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
    DuplexSink, EnvBuilder, Environment, Method, RequestStream, RpcContext, Server, ServerBuilder,
    ServerCredentials, ServiceBuilder,
};

use super::ADDRESS;
use super::answers::Answers;
use super::args::{self, ConnectionLimits};
use super::caller::network;
use super::pulse::Pulse;
use super::question::Waiting;
use super::sever::Severer;
use super::shares::Shares;
use super::stream::{self, Connection};
use super::tls::Certificates;
use crate::wire::CHAT;

/// Calls that may be accepted at once on each poll thread before their
/// handlers have run. grpcio's 1,024 make `shutdown()` stall now and then
/// (tikv/grpc-rs issue 674); handlers here return at once, so few do.
const REQUEST_SLOTS: usize = 32;

/// Whether a call of this peer, as gRPC writes its address, is worth beginning.
type Admit = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A service being put together. The functions that it is given run on poll
/// threads: they must hand their call to a thread of its own and return.
pub struct Listener {
    // Dropped first: its tasks end on the poll threads.
    pulse: Option<Pulse>,
    env: Arc<Environment>,
    service: ServiceBuilder,
    limits: ConnectionLimits,
    admit: Admit,
    /// Where it listens, once it does.
    ports: Arc<OnceLock<Vec<u16>>>,
    certificates: Option<Certificates>,
    /// Dropped when the server begins to stop.
    stop: oneshot::Sender<()>,
    pub(super) waiting: Waiting,
    pub(super) answers: Answers,
    pub(super) shares: Shares,
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
            shares: Shares::default(),
            waiting: Waiting::new(stopped.shared(), limits.question),
            answers: Answers::at_most(limits.max_answers),
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
        self,
        outbox_events: usize,
        accept: impl Fn(Connection) + Clone + Send + 'static,
    ) -> Self {
        let most = self.limits.max_receive_bytes;
        self.begin(&CHAT, move |ctx, frames, sink| {
            accept(stream::open(ctx, frames, most, sink, outbox_events));
        })
    }

    /// Serves a call, from its headers on, with a function that runs on the poll
    /// thread. One that is not worth beginning is cancelled.
    pub(super) fn begin<Q: 'static, A: 'static>(
        mut self,
        method: &Method<Q, A>,
        begin: impl Fn(&RpcContext<'_>, RequestStream<Q>, DuplexSink<A>) + Clone + Send + 'static,
    ) -> Self {
        let admit = self.admit.clone();
        self.service =
            self.service
                .add_duplex_streaming_handler(method, move |ctx, queries, sink| {
                    if admit(&ctx.peer()) {
                        shielded(|| begin(&ctx, queries, sink));
                    }
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
        let ports = bound.iter().filter_map(|a| Some(parts(a)?.1)).collect();
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

/// A panic in a handler would silently end its poll thread.
fn shielded(handler: impl FnOnce()) {
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
    // The core decodes it, and would not listen where we look.
    let verbatim = address.replace('%', "%25");
    if let Some(path) = address.strip_prefix("unix:") {
        free_socket_path(path).map_err(fail)?;
        return match server.add_listening_port(verbatim, credentials) {
            Ok(_) => Ok(address.to_owned()),
            Err(_) => Err(fail("the socket cannot be made there".to_owned())),
        };
    }
    let (host, port) = parts(address).ok_or_else(|| fail(ADDRESS.to_owned()))?;
    check_free(bare(host), port).map_err(fail)?;
    match server.add_listening_port(verbatim, credentials) {
        Ok(port) => Ok(format!("{host}:{port}")),
        // The core keeps the reason to itself, so ask the system once more.
        Err(_) => Err(fail(match TcpListener::bind((bare(host), port)) {
            Err(why) => why.to_string(),
            Ok(_) => "gRPC could not bind it".to_owned(),
        })),
    }
}

/// Of a name with several addresses, such as localhost, gRPC's core is content
/// with one: at the others clients would find whoever has them.
fn check_free(host: &str, port: u16) -> Result<(), String> {
    // What is no address is told where it is to be bound.
    let all = (host, port).to_socket_addrs();
    let all: Vec<_> = all.map_or_else(|_| Vec::new(), Iterator::collect);
    if all.len() < 2 || port == 0 {
        return Ok(());
    }
    for address in all {
        // One that this machine does not have is nobody else's either.
        if let Err(why) = TcpListener::bind(address)
            && why.kind() == ErrorKind::AddrInUse
        {
            return Err(format!("{address}: {why}"));
        }
    }
    Ok(())
}

/// `HOST` and `PORT` of an address. gRPC's core takes any number for a port and
/// drops what is too much of it.
fn parts(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

/// A host without the brackets that an IPv6 address has before a port.
fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.filter(|h| h.contains(':')).unwrap_or(host)
}

/// Whether other machines can reach a server that listens there.
///
/// # Errors
/// It cannot be told, since it is no address that is known here.
pub fn is_exposed(address: &str) -> Result<bool, ListenError> {
    if address.starts_with("unix:") {
        return Ok(false);
    }
    let fail = |why: String| ListenError::Address {
        address: address.to_owned(),
        why,
    };
    let (host, port) = parts(address).ok_or_else(|| fail(ADDRESS.to_owned()))?;
    let all = (bare(host), port).to_socket_addrs();
    let mut all = all.map_err(|why| fail(why.to_string()))?;
    Ok(all.any(|a| !a.ip().to_canonical().is_loopback()))
}

/// gRPC's core takes a socket's path over from a living server without a word.
fn free_socket_path(path: &str) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if !meta.file_type().is_socket() => Err("something else has this path".to_owned()),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err("another server listens there".to_owned()),
            // Nobody has it any more: a killed server left it behind.
            Err(why) if why.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|why| why.to_string())
            }
            // Somebody does, who cannot be asked.
            Err(why) => Err(format!("another program may listen there: {why}")),
        },
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
