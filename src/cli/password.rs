//! `chitchat password`

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use anyhow::Context;
use signal_hook::consts::SIGINT;

use super::exit::Exit;
use crate::chat::Name;
use crate::server::ReservedNames;

/// What may be typed after `chitchat password`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name to reserve
    name: String,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let name = Name::parse(&self.name)?;
        let password = match io::stdin().is_terminal() {
            true => asked(&name),
            false => first_line(),
        }
        .context("cannot read the password")?;
        let line = ReservedNames::reserve(&name, &password).map_err(anyhow::Error::msg)?;
        writeln!(io::stdout(), "{line}").context("cannot write")?;
        Ok(Exit::Well)
    }
}

fn asked(name: &Name) -> io::Result<String> {
    // Ctrl-C raises the signal before the terminal is given back: it must not
    // end the program then. It is an error afterwards.
    signal_hook::flag::register(SIGINT, Arc::default())?;
    rpassword::prompt_password(format!("Password of {name}: "))
}

fn first_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
