//! gRPC made blocking.
//!
//! grpcio's streams and sinks are futures that gRPC's own poll threads drive.
//! Two small pumps a stream bridge them to an inbox and an outbox, so everything
//! above this module is plain, blocking code on threads of its own. Only this
//! module sees a future. It knows frames, and nothing of rooms.
//!
//! A pump never blocks and never panics: it runs on a thread that serves a
//! good part of all clients. What it may wait for, it waits for as a future.

mod answers;
mod args;
mod caller;
mod dial;
mod inbox;
mod lane;
mod listen;
mod many;
mod outbox;
mod patience;
mod pulse;
mod pump;
mod question;
mod sever;
mod shares;
mod sockets;
mod standard;
mod stream;
mod tls;

pub use args::{ConnectionLimits, Keepalive, MAX_RECEIVE_BYTES, log_through_log};
pub use caller::Caller;
pub use dial::{Access, CallError, Code, Dialled, Dialler, EventReader, FrameWriter};
pub use inbox::StreamEnd;
pub use listen::{ListenError, Listener, Listening, Stopping, is_exposed};
pub use many::{Outgoing, OutgoingQueue, outgoing};
pub use outbox::{Call, Outbox, Overflow, PastSender};
pub use question::{Question, Reply, Streamed};
pub use stream::{Connection, Kick};
pub use tls::{Certificates, ClientTls, ServerFiles, TlsError};

/// How an address is written.
const ADDRESS: &str = "it must be HOST:PORT, [HOST]:PORT or unix:PATH";
