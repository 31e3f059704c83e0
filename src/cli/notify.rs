//! Tells a service manager how far the server is (systemd's sd_notify(3)),
//! where one asks for it with NOTIFY_SOCKET.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;

/// The server serves.
pub(super) const READY: &str = "READY=1";

/// The server begins to stop.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Sends a state to the service manager, if there is one that waits for it.
pub(super) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(why) = send(&socket, state) {
        log::warn!("cannot tell the service manager {state}: {why}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::net::SocketAddr;
        // An address that has no file.
        if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
            let address = SocketAddr::from_abstract_name(name)?;
            return datagram
                .send_to_addr(state.as_bytes(), &address)
                .map(|_| ());
        }
    }
    datagram.send_to(state.as_bytes(), socket).map(|_| ())
}
