//! The connections of this process as the system knows them, past gRPC's core:
//! found among all descriptors, and reset.

use std::io;
use std::net::SocketAddr;

#[cfg(target_os = "linux")]
pub(super) use linux::Sockets;

/// A way to reset connections. Elsewhere there is none.
#[cfg(not(target_os = "linux"))]
pub(super) struct Sockets(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl Sockets {
    pub(super) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn reset(
        &mut self,
        _: &[u16],
        _: &dyn Fn(u64, SocketAddr) -> bool,
    ) -> io::Result<usize> {
        match self.0 {}
    }
}

/// As two ends of a connection write the same address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::os::fd::{OwnedFd, RawFd};

    use rustix::fs::Dir;
    use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionread};
    use rustix::net::sockopt::socket_type;
    use rustix::net::{connect_unspec, getpeername, getsockname};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    use super::{SocketAddr, canonical, io};

    /// A way to reset connections, which is there when no more descriptors are
    /// to be had too.
    pub(in crate::rpc) struct Sockets {
        this: OwnedFd,
        numbers: Dir,
        /// Closed for a pass, which needs one.
        spare: Option<OwnedFd>,
    }

    impl Sockets {
        pub(in crate::rpc) fn open() -> io::Result<Self> {
            let this = pidfd_open(getpid(), PidfdFlags::empty())?;
            Ok(Self {
                numbers: Dir::new(File::open("/proc/self/fd")?)?,
                spare: Some(fcntl_dupfd_cloexec(&this, 0)?),
                this,
            })
        }

        /// Resets the connections to these ports that are meant, as is told from
        /// how many bytes wait to be read and whose they are, by its canonical
        /// address. Returns how many there are.
        ///
        /// # Errors
        /// None could be reset, and why the last one could not.
        pub(in crate::rpc) fn reset(
            &mut self,
            ports: &[u16],
            is_meant: &dyn Fn(u64, SocketAddr) -> bool,
        ) -> io::Result<usize> {
            self.numbers.rewind();
            self.spare = None;
            let (mut count, mut failed) = (0, None);
            while let Some(entry) = self.numbers.read() {
                let number = entry.map(|e| e.file_name().to_str().ok()?.parse().ok());
                let reset = number.and_then(|number| match number {
                    Some(number) => self.reset_one(number, ports, is_meant),
                    None => Ok(false), // the folder itself
                });
                match reset {
                    Ok(was) => count += usize::from(was),
                    Err(why) => failed = Some(why),
                }
            }
            self.spare = fcntl_dupfd_cloexec(&self.this, 0).ok();
            match failed {
                Some(why) if count == 0 => Err(why.into()),
                _ => Ok(count),
            }
        }

        fn reset_one(
            &self,
            number: RawFd,
            ports: &[u16],
            is_meant: &dyn Fn(u64, SocketAddr) -> bool,
        ) -> Result<bool, Errno> {
            if !is_socket(number) {
                return Ok(false);
            }
            let Some(socket) = self.duplicate(number)? else {
                return Ok(false);
            };
            let Ok(Some(other)) = getpeername(&socket) else {
                return Ok(false); // no connection
            };
            let (Ok(other), Ok(own)) = (
                SocketAddr::try_from(other),
                getsockname(&socket).map_or(Err(Errno::AFNOSUPPORT), SocketAddr::try_from),
            ) else {
                return Ok(false); // not over a network
            };
            let waiting = ioctl_fionread(&socket).unwrap_or(0);
            if !ports.contains(&own.port()) || !is_meant(waiting, canonical(other)) {
                return Ok(false);
            }
            // Not a shutdown: what was received would still be read, megabytes.
            connect_unspec(&socket)?;
            Ok(true)
        }

        /// A second descriptor of the socket that has this number, which may be
        /// another's by the time it is looked at.
        ///
        /// Whoever closes any descriptor of a file gives up all locks that this
        /// process has on the file (`fcntl`, POSIX): those of the history are of
        /// that kind. So what has become a file meanwhile is never closed.
        pub(super) fn duplicate(&self, number: RawFd) -> Result<Option<OwnedFd>, Errno> {
            let socket = match pidfd_getfd(&self.this, number, PidfdGetfdFlags::empty()) {
                Err(Errno::BADF) => return Ok(None), // closed meanwhile
                socket => socket?,
            };
            if socket_type(&socket).is_err() {
                std::mem::forget(socket);
                return Ok(None);
            }
            Ok(Some(socket))
        }
    }

    /// Whether this number is a socket's, without a descriptor of what it is.
    fn is_socket(number: RawFd) -> bool {
        std::fs::read_link(format!("/proc/self/fd/{number}"))
            .is_ok_and(|what| what.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use rustix::fs::{FlockOperation, fcntl_lock};

    use super::*;

    #[test]
    fn one_connection_is_reset_and_no_other() {
        let mut sockets = Sockets::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pairs: Vec<_> = (0..3)
            .map(|_| {
                let out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (out, listener.accept().unwrap().0)
            })
            .collect();
        let peer = pairs[1].0.local_addr().unwrap();
        let port = listener.local_addr().unwrap().port();
        let of_peer = &|_, other| other == peer;
        let another = sockets.reset(&[port ^ 1], of_peer).unwrap();
        assert_eq!(another, 0, "another server's");
        assert_eq!(sockets.reset(&[port], of_peer).unwrap(), 1);
        assert_eq!(sockets.reset(&[port], of_peer).unwrap(), 0, "it is gone");
        let ended = pairs[1].0.read(&mut [0]);
        assert!(ended.as_ref().map_or(true, |n| *n == 0), "{ended:?}");
        for at in [0, 2] {
            let (out, into) = &mut pairs[at];
            into.write_all(b"x").unwrap();
            out.read_exact(&mut [0]).unwrap();
        }
        pairs[2].0.write_all(b"not read").unwrap();
        let much = |least| sockets.reset(&[port], &|waiting, _| waiting >= least);
        assert_eq!([9, 8].map(much).map(Result::unwrap), [0, 1]);
        assert!(matches!(pairs[2].0.read(&mut [0]), Ok(0) | Err(_)));
    }

    /// How many descriptors of this process are of this file.
    fn descriptors(path: &Path) -> usize {
        let numbers = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = numbers.filter_map(|n| std::fs::read_link(n.unwrap().path()).ok());
        links.filter(|link| link == path).count()
    }

    #[test]
    fn a_files_locks_stay_with_their_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locked");
        let file = File::create(&path).unwrap();
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let owned = format!(" {} ", std::process::id());
        let inode = format!(":{} ", file.metadata().unwrap().ino());
        let is_locked = || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks
                .lines()
                .any(|l| l.contains(&owned) && l.contains(&inode))
        };
        assert!(is_locked());
        let mut sockets = Sockets::open().unwrap();
        sockets.reset(&[], &|_, _| true).unwrap();
        assert!(is_locked(), "a pass let it go");
        assert_eq!(descriptors(&path), 1);
        // A number that was a socket's when it was looked at.
        assert!(sockets.duplicate(file.as_raw_fd()).unwrap().is_none());
        assert!(is_locked(), "a number that has become a file's let it go");
    }
}
