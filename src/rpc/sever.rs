//! Cuts off single connections, past gRPC's core, which offers no way to end
//! one. Whoever floods the server with calls that it takes back at once
//! (CVE-2023-44487) keeps a poll thread reading as long as anything is there to
//! be read, and nothing else bounds what those calls cost.
//!
//! A handler names the connection of a call that is one too many. Where every
//! poll thread is kept reading, or calls have no handler, none does; then those
//! connections are cut off from which more waits than is read at once.

use std::collections::HashSet;
use std::iter;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::args::READ_BYTES;
use super::pulse::Watch;
use super::sockets::{Sockets, canonical};

/// Connections that may wait to be cut off. One more is cut off at its next
/// call.
const WAITING: usize = 64;

/// How long nothing more is said of connections that no handler named, or that
/// could not be reset.
const QUIET: Duration = Duration::from_secs(10);

/// A way to have connections cut off by a thread of its own, which ends with
/// it.
pub(super) struct Severer(Sender<SocketAddr>);

impl Severer {
    /// Starts the thread, for connections to these ports: one to another server
    /// of this process may come from the same address. `severed` is told how
    /// many were cut off. Without a thread, or on a system that has no way to
    /// do it, nothing is.
    pub(super) fn start(
        ports: Arc<OnceLock<Vec<u16>>>,
        watch: Watch,
        severed: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let (send, peers) = bounded::<SocketAddr>(WAITING);
        let severs = std::thread::Builder::new()
            .name("severer".to_owned())
            .spawn(move || run(&peers, &ports, watch, &severed));
        if let Err(why) = severs {
            log::error!("cannot start a thread that cuts floods off: {why}");
        }
        Self(send)
    }

    /// Has the connection of this peer, as gRPC writes its address, reset.
    /// Waits for nothing.
    pub(super) fn sever(&self, peer: &str) {
        if let Some(peer) = address(peer) {
            let _ = self.0.try_send(peer); // its next call asks again
        }
    }
}

fn run(
    peers: &Receiver<SocketAddr>,
    ports: &OnceLock<Vec<u16>>,
    mut watch: Watch,
    severed: &dyn Fn(usize),
) {
    // At once, while there are descriptors to be had.
    let mut sockets = Sockets::open().ok();
    let (mut able, mut next_error) = (true, Instant::now());
    let mut reset = |is_meant: &dyn Fn(u64, SocketAddr) -> bool| {
        let ports = ports.get().map_or(&[][..], Vec::as_slice);
        let count = match sockets.as_mut() {
            Some(sockets) => sockets.reset(ports, is_meant),
            None => Sockets::open().and_then(|s| sockets.insert(s).reset(ports, is_meant)),
        };
        let worked = count.is_ok();
        let count = count.unwrap_or_else(|why| {
            // Said once, and again after it worked: a flood shall not fill the
            // log too.
            if able && next_error <= Instant::now() {
                log::error!("a connection with too many calls cannot be reset: {why}");
                next_error = Instant::now() + QUIET;
                able = false;
            }
            0
        });
        able |= worked;
        severed(count);
        count
    };
    let mut next_word = Instant::now();
    loop {
        match peers.recv_deadline(watch.next_look()) {
            // A flood names its connection with each call: all that wait are
            // looked for in one pass.
            Ok(peer) => {
                let named: HashSet<_> = iter::once(peer).chain(peers.try_iter()).collect();
                reset(&|_, other| named.contains(&other));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Also where handlers never cease to name some.
        if Instant::now() < watch.next_look() {
            continue;
        }
        if watch.is_one_kept()
            && reset(&|waiting, _| waiting >= READ_BYTES as u64) > 0
            && next_word <= Instant::now()
        {
            log::warn!("connections that kept a thread of gRPC from all others were reset");
            next_word = Instant::now() + QUIET;
        }
    }
}

/// The address in what gRPC writes of a peer, such as `ipv4:127.0.0.1:50052`
/// or `ipv6:%5B::1%5D:50052`.
fn address(peer: &str) -> Option<SocketAddr> {
    let (_, address) = peer.split_once(':')?;
    let address = address.replace("%5B", "[").replace("%5D", "]");
    address.parse().ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_as_grpc_writes_them_have_an_address() {
        for (peer, expected) in [
            ("ipv4:127.0.0.1:50052", Some("127.0.0.1:50052")),
            ("ipv6:%5B::1%5D:50052", Some("[::1]:50052")),
            ("ipv6:[::1]:50052", Some("[::1]:50052")),
            ("unix:/tmp/chat.sock", None),
            ("", None),
        ] {
            let expected = expected.map(|e| e.parse().unwrap());
            assert_eq!(address(peer), expected, "{peer}");
        }
    }
}
