//! What may be typed, what it means, and the exit code that comes of it.

mod access;
mod before;
mod bench;
mod certs;
mod check;
mod client;
mod completions;
mod config;
mod diagram;
mod exit;
mod history;
mod logging;
mod notify;
mod password;
mod server;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::chat::sanitise;
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
    /// Check the logs of a run against the laws of the chat
    Check(check::Check),
    /// Draw the space-time diagram of a run from its logs
    Diagram(diagram::Diagram),
    /// Say which of two events happened before the other
    Before(before::Before),
    /// Put a load on a server: how fast it is, and whether all comes in order
    Bench(bench::Args),
    /// Make a CA and certificates, for trying TLS out
    Certs(certs::Args),
    /// Print the line that reserves a name, for a server's --names-file
    Password(password::Args),
    /// Print what a shell needs to complete this program's arguments
    Completions(completions::Args),
    /// Print the manual page, as troff
    Man,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command = CommandLine::command().mut_subcommands(|c| c.mut_args(without_empty_variable));
    let matches = command.get_matches();
    let typed = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match typed.command {
        Command::Server(args) => args.run().map(ExitCode::from),
        Command::Client(args) => args.run().map(ExitCode::from),
        Command::History(args) => args.run().map(ExitCode::from),
        Command::Check(check) => check.run(),
        Command::Diagram(diagram) => diagram.run(),
        Command::Before(before) => before.run(),
        Command::Bench(args) => args.run().map(ExitCode::from),
        Command::Certs(args) => args.run().map(ExitCode::from),
        Command::Password(args) => args.run().map(ExitCode::from),
        Command::Completions(args) => args.run().map(ExitCode::from),
        Command::Man => completions::man().map(ExitCode::from),
    };
    result.unwrap_or_else(|error| {
        tell(&format!("{error:#}"));
        Exit::Failed.into()
    })
}

/// An empty variable is none, as a shell's `${NAME:-}` means it.
fn without_empty_variable(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    match value.is_some_and(|value| value.is_empty()) {
        true => arg.env(Resettable::Reset),
        false => arg,
    }
}

/// The addresses in a list of servers that share their rooms.
fn servers(list: &str) -> Result<Vec<String>, String> {
    list.split(',').map(parse_server).collect()
}

/// One of those addresses. An empty one would be no server's, and be tried like
/// the others.
fn parse_server(address: &str) -> Result<String, String> {
    match address.trim() {
        "" => Err("each server needs an address: HOST:PORT or unix:PATH".to_owned()),
        address => Ok(address.to_owned()),
    }
}

/// Tells people something on standard error. Without anybody to read it, it is
/// lost, and nothing else.
fn tell(what: &str) {
    let _ = writeln!(io::stderr(), "chitchat: {}", sanitise(what));
}
