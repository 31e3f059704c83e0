//! Chit Chat: a chat in which every event has a place in logical time.
pub mod chat;
pub mod history;
pub mod rpc;
pub mod server;
pub mod trace;
pub mod wire;
