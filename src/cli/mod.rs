//! What may be typed, what it means, and the exit code that comes of it.

mod client;
mod completions;
mod config;
mod exit;
mod history;
mod logging;
mod server;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;

/// A chat in which every event has a place in logical time.
#[derive(Debug, Parser)]
#[command(name = "chitchat", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve rooms
    Server(server::Args),
    /// Take part in a room
    Client(client::Args),
    /// Print a room's past
    History(history::Args),
    /// Print what a shell needs to complete this program's arguments
    Completions(completions::Args),
    /// Print the manual page, as troff
    Man,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Server(args) => args.run(),
        Command::Client(args) => args.run(),
        Command::History(args) => args.run(),
        Command::Completions(args) => args.run(),
        Command::Man => completions::man(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("chitchat: {}", crate::chat::sanitise(&format!("{error:#}")));
            Exit::Failed.into()
        }
    }
}
