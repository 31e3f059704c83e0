//! Chit Chat: a chat in which every event has a place in logical time.
pub mod chat;
pub mod cli;
pub mod history;
pub mod trace;
pub mod wire;
