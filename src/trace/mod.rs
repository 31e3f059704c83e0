//! Looking back: what the logs say.
//!
//! [`mod@line`] is the one grammar of every log line, its writer and its reader
//! side by side. Everything else here reads logs of past runs and knows
//! nothing of sessions or of gRPC:
//!
//! - [`log`] reads files into a compact model, with [`names`] kept once;
//! - `epochs` tells each room's histories apart, `visits` what a client saw
//!   through one connection, and `streams` what it got as one participant;
//! - [`order`] connects the events: happened-before; `sends` finds which send
//!   became which event, `said` tells whether both say the same, [`chain`] walks
//!   from one event to another;
//! - [`laws`] tries every law, and [`check`] pronounces the verdict;
//! - [`before`] says of two events which happened before the other;
//! - [`diagram`] draws the space-time diagram.

pub mod before;
pub mod chain;
pub mod check;
pub mod diagram;
mod epochs;
pub mod laws;
pub mod line;
pub mod log;
pub mod names;
pub mod order;
mod said;
mod sends;
mod sink;
mod streams;
mod visits;

pub use sink::{Held, LogSink};
