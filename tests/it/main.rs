//! Behaviour over real gRPC on loopback. One binary: each one would link
//! gRPC's core anew.

mod support;

mod attack;
mod conversation;
mod endings;
mod hostile;
mod identity;
mod limits;
mod metrics;
mod order;
mod participant;
mod passwords;
mod program;
mod standard;
mod stopping;
mod texts;
mod tls;
