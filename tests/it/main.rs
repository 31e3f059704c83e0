//! Behaviour over real gRPC on loopback. One binary: each one would link
//! gRPC's core anew.

mod support;

mod attack;
mod bench;
mod chaos;
mod cluster;
mod cluster_failover;
mod cluster_faults;
mod cluster_races;
mod conversation;
mod core_build;
mod durable;
mod endings;
mod hostile;
mod house;
mod identity;
mod limits;
mod listening;
mod metrics;
mod order;
mod participant;
mod passwords;
mod past;
mod past_questions;
mod pipes;
mod program;
mod questions;
mod real_runs;
mod resume;
mod rooms;
mod settings;
mod shared_log;
mod shared_log_snapshots;
mod standard;
mod stopping;
mod terminal;
mod terminal_keys;
mod terminal_losses;
mod terminal_rooms;
mod texts;
mod tls;
mod trace;
