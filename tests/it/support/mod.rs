//! What the tests share: servers, clients and programs, all of them real.

mod http2;
mod peer;
mod program;
mod proxy;
mod random;
mod raw;
mod redis;
mod server;
pub mod talk;
mod tmux;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use http2::Http2;
pub use peer::{Peer, join, with_secret};
pub use program::{Program, code};
pub use proxy::Proxy;
pub use random::Random;
pub use raw::raw;
pub use redis::{Redis, Sentinel};
pub use server::TestServer;
pub use tmux::Tmux;

/// How long a test waits for something that must come. Long, because machines
/// are slow at times; whatever does not come at all fails by it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until it holds.
pub fn sooner_or_later(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
    }
}

/// A port for a server that comes back to it: below those that the system
/// gives away by itself, and apart from those of other tests and processes.
pub fn fixed_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
