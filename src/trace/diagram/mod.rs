//! The space-time diagram: a line for each process, an arrow for each send and
//! each delivery, time by order and not by the clock on the wall.
//!
//! What is drawn is decided in `picture`, on which row in `rows`, and what is
//! written beside it in `label`; each format is a file of its own and knows
//! nothing of the others.

mod label;
mod mermaid;
mod picture;
mod rows;
mod shiviz;
mod svg;

use std::path::Path;

use super::names::NameId;
use super::order::Trace;
use picture::Picture;

/// How a diagram is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A picture.
    Svg,
    /// A sequence diagram in Mermaid's language.
    Mermaid,
    /// A log for ShiViz, with vector clocks.
    ShiViz,
}

impl Format {
    /// The format that a file's name asks for: `.svg`; `.mmd` or `.mermaid`;
    /// `.shiviz`, `.log` or `.txt`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "svg" => Some(Format::Svg),
            "mmd" | "mermaid" => Some(Format::Mermaid),
            "shiviz" | "log" | "txt" => Some(Format::ShiViz),
            _ => None,
        }
    }
}

/// What of the logs is drawn.
#[derive(Debug, Default, Clone)]
pub struct Choice {
    /// From this Lamport time of the server.
    pub from: Option<i64>,
    /// Up to this Lamport time of the server.
    pub until: Option<i64>,
    /// Only this room, folded.
    pub room: Option<NameId>,
    /// Only these participants, folded; none: all.
    pub only: Vec<NameId>,
}

impl Choice {
    fn has_name(&self, name: NameId) -> bool {
        self.only.is_empty() || self.only.contains(&name)
    }

    fn has_time(&self, time: i64) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time <= until)
    }
}

/// A diagram, and what it leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The text of the file.
    pub text: String,
    /// What was left out because it is too much, in words.
    pub left_out: Option<String>,
}

/// Draws a diagram: the same logs give the same text, byte for byte.
pub fn draw(trace: &Trace, choice: &Choice, format: Format) -> Drawn {
    let picture = Picture::new(trace, choice);
    match format {
        Format::Svg => svg::draw(&picture),
        Format::Mermaid => mermaid::draw(&picture),
        Format::ShiViz => shiviz::draw(&picture),
    }
}

/// The regular expression with which ShiViz reads its format.
pub use shiviz::PARSER as SHIVIZ_PARSER;
