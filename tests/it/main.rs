//! Behaviour over real gRPC on loopback. One binary: each one would link
//! gRPC's core anew.

mod support;

mod conversation;
mod endings;
mod identity;
mod order;
mod participant;
mod program;
mod settings;
mod terminal;
mod texts;
