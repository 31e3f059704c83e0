//! Cuts off single connections, past gRPC's core, which offers no way to end
//! one. Whoever floods the server with calls that it takes back at once
//! (CVE-2023-44487) keeps a poll thread reading as long as anything is there to
//! be read, and nothing else bounds what those calls cost.
//!
//! A handler names the connection of a call that is one too many. Where every
//! poll thread is kept reading, no handler runs; then those connections are cut
//! off from which more waits than is read at once.

use std::collections::HashSet;
use std::iter;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::args::READ_BYTES;
use super::pulse::Watch;

/// Connections that may wait to be cut off. One more is cut off at its next
/// call.
const WAITING: usize = 64;

/// How long nothing more is said of connections that no handler named.
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
    let mut able = true;
    let mut reset = |is_meant: &dyn Fn(u64, SocketAddr) -> bool| {
        let ports = ports.get().map_or(&[][..], Vec::as_slice);
        let count = sever(ports, is_meant).unwrap_or_else(|why| {
            // Said once: a flood shall not fill the log too.
            if std::mem::take(&mut able) {
                log::error!("a connection with too many calls cannot be reset: {why}");
            }
            0
        });
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
            log::warn!("connections that kept a poll thread from all others were reset");
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

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Resets the connections to these ports of this process that are meant, as is
/// told from how many bytes wait to be read and whose they are, by its canonical
/// address. Returns how many there are.
///
/// The socket's number may be another's by the time it is looked at, so a
/// duplicate is made first, and asked who is at its other end.
#[cfg(target_os = "linux")]
fn sever(ports: &[u16], is_meant: impl Fn(u64, SocketAddr) -> bool) -> std::io::Result<usize> {
    use rustix::io::{Errno, ioctl_fionread};
    use rustix::net::{connect_unspec, getpeername, getsockname};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let mut severed = 0;
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let socket = match pidfd_getfd(&this, number, PidfdGetfdFlags::empty()) {
            Err(Errno::BADF) => continue, // closed meanwhile
            socket => socket?,
        };
        let Ok(Some(other)) = getpeername(&socket) else {
            continue; // no connection
        };
        let (Ok(other), Ok(own)) = (
            SocketAddr::try_from(other),
            getsockname(&socket).map_or(Err(Errno::AFNOSUPPORT), SocketAddr::try_from),
        ) else {
            continue; // not over a network
        };
        if !ports.contains(&own.port()) {
            continue;
        }
        let waiting = ioctl_fionread(&socket).unwrap_or(0);
        if is_meant(waiting, canonical(other)) {
            // Not a shutdown: what was received would still be read, megabytes.
            connect_unspec(&socket)?;
            severed += 1;
        }
    }
    Ok(severed)
}

#[cfg(not(target_os = "linux"))]
fn sever(_: &[u16], _: impl Fn(u64, SocketAddr) -> bool) -> std::io::Result<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

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

    #[test]
    #[cfg(target_os = "linux")]
    fn one_connection_is_reset_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pairs: Vec<_> = (0..3)
            .map(|_| {
                let out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (out, listener.accept().unwrap().0)
            })
            .collect();
        let peer = pairs[1].0.local_addr().unwrap();
        let port = listener.local_addr().unwrap().port();
        let of_peer = |_, other| other == peer;
        assert_eq!(sever(&[port ^ 1], of_peer).unwrap(), 0, "another server's");
        assert_eq!(sever(&[port], of_peer).unwrap(), 1);
        assert_eq!(sever(&[port], of_peer).unwrap(), 0, "it is gone");
        let ended = pairs[1].0.read(&mut [0]);
        assert!(ended.as_ref().map_or(true, |n| *n == 0), "{ended:?}");
        for at in [0, 2] {
            let (out, into) = &mut pairs[at];
            into.write_all(b"x").unwrap();
            out.read_exact(&mut [0]).unwrap();
        }
        pairs[2].0.write_all(b"not read").unwrap();
        assert_eq!(sever(&[port], |waiting, _| waiting > 8).unwrap(), 0);
        assert_eq!(sever(&[port], |waiting, _| waiting == 8).unwrap(), 1);
        assert!(matches!(pairs[2].0.read(&mut [0]), Ok(0) | Err(_)));
    }
}
