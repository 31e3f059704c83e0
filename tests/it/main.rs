//! Behaviour over real gRPC on loopback. One binary: each one would link
//! gRPC's core anew.

mod support;

mod bench;
mod conversation;
mod durable;
mod endings;
mod house;
mod identity;
mod order;
mod participant;
mod past;
mod program;
mod resume;
mod rooms;
mod texts;
mod trace;
