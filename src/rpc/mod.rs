//! gRPC made blocking.
//!
//! grpcio's streams and sinks are futures that gRPC's own poll threads drive.
//! Two small pumps a stream bridge them to crossbeam channels, so everything
//! above this module is plain, blocking code on threads of its own. Only this
//! module sees a future. It knows frames, and nothing of rooms.
//!
//! A pump never blocks and never panics: it runs on a thread that serves a
//! good part of all clients. What it may wait for, it waits for as a future.

mod args;
mod dial;
mod listen;
mod many;
mod outbox;
mod stream;

pub use args::{Keepalive, MAX_RECEIVE_BYTES, log_through_log};
pub use dial::{CallError, Code, Dialled, Dialler, EventReader, FrameWriter};
pub use listen::{ListenError, Listener, Listening, Reply, Stopping, Streamed};
pub use many::{Outgoing, OutgoingQueue, outgoing};
pub use outbox::{Outbox, Overflow, PastSender};
pub use stream::{Connection, Inbound, Kick, StreamEnd};
