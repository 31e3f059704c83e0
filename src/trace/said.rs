//! What was said, as the words of a line tell it: the fields say who, when and
//! to whom.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::line::{Line, What};
use super::log::Entry;
use crate::chat::{Kind, SERVER_NAME};

/// A digest of what was said, the same for each line that tells of it; 0 where
/// the line does not tell it in the words in which our programs do.
pub(super) fn digest(line: &Line<'_>, what: What, kind: Option<Kind>) -> u64 {
    text(line, what, kind).map_or(0, digest_of)
}

/// The digest of what a line says if it says this.
pub(super) fn digest_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    // The server trims what a client sends.
    text.trim().hash(&mut hasher);
    hasher.finish().max(1)
}

fn text<'a>(line: &'a Line<'_>, what: What, kind: Option<Kind>) -> Option<&'a str> {
    let field = |key| line.text(key).unwrap_or_default();
    let arrived = |sender: &str| format!("[Server @ L={}] {sender}: ", field("of"));
    let before = match (what, kind) {
        (What::Message, _) if field("to").is_empty() => format!("Message from {}: ", field("who")),
        (What::Message, _) => format!("Message from {} to {}: ", field("who"), field("to")),
        (What::Refused, _) if field("of").is_empty() => format!("Refused {}: ", field("who")),
        (What::Refused, _) => arrived(SERVER_NAME),
        (What::Deliver, Some(Kind::Message)) => arrived(field("who")),
        (What::Send, Some(Kind::Message)) => "Sent ".to_owned(),
        _ => return None,
    };
    let text = line.words.strip_prefix(&before)?;
    match what {
        _ if line.text("of").is_some() => Some(text),
        _ => Some(text.rsplit_once(" (L=")?.0),
    }
}

/// Whether two lines may tell of the same words.
pub(super) fn agree(one: &Entry, other: &Entry) -> bool {
    one.said == other.said || one.said == 0 || other.said == 0
}
