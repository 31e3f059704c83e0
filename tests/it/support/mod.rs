//! What the tests share: servers, clients and programs, all of them real.

mod http2;
mod peer;
mod program;
mod server;
mod tmux;

use std::time::Duration;

pub use http2::Http2;
pub use peer::{Peer, join};
pub use program::Program;
pub use server::TestServer;
pub use tmux::Tmux;

/// How long a test waits for something that must come. Long, because machines
/// are slow at times; whatever does not come at all fails by it.
pub const DEADLINE: Duration = Duration::from_secs(60);
