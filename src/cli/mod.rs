//! What may be typed, what it means, and the exit code that comes of it.

mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A chat in which every event has a place in logical time.
#[derive(Debug, Parser)]
#[command(name = "chitchat", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the logs of a run against the laws of the chat
    Check(check::Check),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Check(check) => check.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("chitchat: {}", crate::chat::sanitise(&format!("{error:#}")));
        ExitCode::FAILURE
    })
}
