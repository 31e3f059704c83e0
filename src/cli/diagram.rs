//! `chitchat diagram`

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::check::{print, read, unreadable};
use crate::trace::diagram::{Choice, Drawn, Format, SHIVIZ_PARSER, draw};

const FORMATS: &str = "\
The format is that of the file's name: .svg is a picture; .mmd and .mermaid are
Mermaid's sequence diagram; .shiviz, .log and .txt are a log for ShiViz, with
vector clocks. Without a file and a format it is SVG on standard output.

Exit codes: 0 drawn; 2 the logs cannot be read or the diagram not be written.";

/// What may be typed after `chitchat diagram`.
#[derive(Debug, clap::Args)]
#[command(after_help = FORMATS)]
pub struct Diagram {
    /// The logs: the server's and any number of clients', in any order
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The file to write; without one it goes to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format, whatever the file's name says
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Only from this Lamport time of the server
    #[arg(long, value_name = "L")]
    from: Option<i64>,
    /// Only up to this Lamport time of the server
    #[arg(long, value_name = "L")]
    until: Option<i64>,
    /// Only this room
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Only this participant, beside the server; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FormatName {
    Svg,
    Mermaid,
    Shiviz,
}

impl Diagram {
    /// Draws the diagram.
    ///
    /// # Errors
    /// None: what is wrong is exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (drawn, format) = match self.draw() {
            Ok(drawn) => drawn,
            Err(error) => return Ok(unreadable(error)),
        };
        let written = match &self.output {
            None => print(drawn.text.as_bytes()),
            Some(path) => fs::write(path, &drawn.text)
                .with_context(|| format!("cannot write {}", path.display())),
        };
        if let Err(error) = written {
            return Ok(unreadable(error));
        }
        if let Some(left_out) = &drawn.left_out {
            super::tell(left_out);
        }
        if format == Format::ShiViz {
            super::tell(&format!(
                "ShiViz reads this with the parser {SHIVIZ_PARSER}"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn draw(&self) -> anyhow::Result<(Drawn, Format)> {
        let format = self.format()?;
        let (trace, room) = read(&self.logs, self.room.as_deref())?;
        let mut only = Vec::new();
        for name in &self.only {
            let id = trace.log.names.find(name);
            let id = id.with_context(|| format!("no log tells of a participant «{name}»"))?;
            only.push(trace.log.names.folded(id));
        }
        let choice = Choice {
            from: self.from,
            until: self.until,
            room,
            only,
        };
        Ok((draw(&trace, &choice, format), format))
    }

    fn format(&self) -> anyhow::Result<Format> {
        match (self.format, &self.output) {
            (Some(FormatName::Svg), _) | (None, None) => Ok(Format::Svg),
            (Some(FormatName::Mermaid), _) => Ok(Format::Mermaid),
            (Some(FormatName::Shiviz), _) => Ok(Format::ShiViz),
            (None, Some(path)) => Format::of_path(path).with_context(|| {
                format!(
                    "the name {} asks for no format that is known: give a --format",
                    path.display()
                )
            }),
        }
    }
}
