//! `chitchat completions` and `chitchat man`

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::CommandLine;
use super::exit::Exit;

/// What may be typed after `chitchat completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut CommandLine::command(),
            "chitchat",
            &mut script,
        );
        print(&script)
    }
}

/// Prints the manual page of the program, then those of its commands.
pub(super) fn man() -> anyhow::Result<Exit> {
    let mut pages = Vec::new();
    let mut program = CommandLine::command().disable_help_subcommand(true);
    program.build();
    clap_mangen::Man::new(program.clone()).render(&mut pages)?;
    for command in program.get_subcommands() {
        let name = format!("chitchat-{}", command.get_name());
        clap_mangen::Man::new(command.clone())
            .title(name)
            .render(&mut pages)?;
    }
    print(&pages)
}

fn print(text: &[u8]) -> anyhow::Result<Exit> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(Exit::Well),
    }
}
