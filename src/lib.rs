//! Chit Chat: a chat service in which every event has a place in logical time.
//!
//! The modules, in reading order; each uses only those above it:
//!
//! - [`chat`]: what is true. Lamport clock, names, texts, events, rooms.
//! - [`history`]: where events are kept.
//! - [`trace`]: looking back. The log's grammar, and what reads it.
//! - [`wire`]: how it is spelt on the network.
//! - [`rpc`]: gRPC made blocking.
//! - [`standard`]: gRPC's health and reflection services.
//! - [`server`]: the way of a line of text.
//! - [`client`]: the other end.
//! - [`bench`]: load and verdict.
//! - [`cli`]: what may be typed, and what it means.

pub mod bench;
pub mod chat;
pub mod cli;
pub mod client;
pub mod history;
pub mod rpc;
pub mod server;
pub mod standard;
pub mod trace;
pub mod wire;
