//! Looking back: what the logs say.
//!
//! [`line`] is the one grammar of every log line, its writer and its reader
//! side by side. Everything else here reads logs of past runs and knows
//! nothing of sessions or of gRPC.

pub mod line;
mod sink;

pub use sink::{Held, LogSink};
