//! Names of participants and of rooms.

use std::fmt;
use std::sync::Arc;

use super::event::SERVER_NAME;
use super::text::is_deceptive;

/// The longest name, in characters (Unicode scalar values).
pub const MAX_NAME_CHARS: usize = 32;

/// The room of everybody who names none.
pub const DEFAULT_ROOM: &str = "Chit Chat";

/// A valid name of a participant or a room: 1 to [`MAX_NAME_CHARS`]
/// characters, trimmed, without control, bidirectional or zero-width
/// characters, and not «Server» in any case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

/// Why a name is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left after trimming.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters after trimming.
    #[error("a name may have at most {MAX_NAME_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// A character that is invisible or changes how others are shown.
    #[error("a name may not contain the character U+{0:04X}")]
    Character(u32),
    /// The name under which the server itself speaks.
    #[error("the name «{SERVER_NAME}» is reserved")]
    Reserved,
}

impl Name {
    /// Trims and checks a name.
    ///
    /// # Errors
    /// The rule that `raw` breaks.
    pub fn parse(raw: &str) -> Result<Self, NameError> {
        let name = raw.trim();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(c) = name.chars().find(|&c| is_deceptive(c)) {
            return Err(NameError::Character(c as u32));
        }
        match name.chars().count() {
            n if n > MAX_NAME_CHARS => Err(NameError::TooLong(n)),
            _ if name.to_lowercase() == SERVER_NAME.to_lowercase() => Err(NameError::Reserved),
            _ => Ok(Self(name.into())),
        }
    }

    /// The room's name that `raw` asks for; an empty one means
    /// [`DEFAULT_ROOM`], which is always spelt so, and every leading `#` is
    /// dropped: rooms are shown with one, and no room's name begins with any.
    ///
    /// # Errors
    /// The rule that `raw` breaks.
    pub fn parse_room(raw: &str) -> Result<Self, NameError> {
        let default = Self(DEFAULT_ROOM.into());
        let raw = raw.trim();
        if raw.is_empty() {
            return Ok(default);
        }
        let name = Self::parse(raw.trim_start_matches(|c: char| c == '#' || c.is_whitespace()))?;
        match name.folded() == default.folded() {
            true => Ok(default),
            false => Ok(name),
        }
    }

    /// Whom a message is for, as it was written; what is longer than any name
    /// is shortened, and is no name then either. White space alone is nobody's
    /// name, and stays apart from nothing, which is everybody.
    pub fn shortened(raw: &str) -> String {
        let name = raw.trim();
        match name.char_indices().nth(MAX_NAME_CHARS) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None if name.is_empty() => raw.chars().take(1).collect(),
            None => name.to_owned(),
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A second handle on the same text.
    pub fn to_shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// What two names have in common that count as the same: the name without
    /// regard to case.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_counted_in_characters() {
        assert_eq!(Name::parse("  Åse ").unwrap().as_str(), "Åse");
        assert!(Name::parse(&"ø".repeat(32)).is_ok());
        assert_eq!(Name::parse(&"ø".repeat(33)), Err(NameError::TooLong(33)));
        assert_eq!(Name::parse(" \t "), Err(NameError::Empty));
    }

    #[test]
    fn what_is_longer_than_any_name_is_shortened_to_no_name() {
        let longest = "ø".repeat(32);
        assert_eq!(Name::shortened(&longest), longest);
        assert_eq!(Name::shortened(" Bob\n"), "Bob");
        assert_eq!(Name::shortened(""), "");
        assert_eq!(Name::shortened(" \t"), " ");
        for long in [
            format!("{longest}i"),
            "z".repeat(65_000),
            format!("Bob{}x", " ".repeat(65_000)),
        ] {
            let short = Name::shortened(&long);
            assert_eq!(short.trim().chars().count(), 33, "{short}");
        }
    }

    #[test]
    fn names_that_deceive_are_refused() {
        for bad in [
            "a\u{1b}[31m",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{2066}x",
            "a\u{e0041}",
        ] {
            assert!(
                matches!(Name::parse(bad), Err(NameError::Character(_))),
                "{bad:?}"
            );
        }
        for bad in ["Server", "server", " SERVER "] {
            assert_eq!(Name::parse(bad), Err(NameError::Reserved), "{bad:?}");
        }
    }

    #[test]
    fn rooms_have_a_default_and_may_be_written_with_a_hash() {
        assert_eq!(Name::parse_room("").unwrap().as_str(), DEFAULT_ROOM);
        assert_eq!(Name::parse_room("#ops").unwrap().as_str(), "ops");
        assert_eq!(Name::parse_room("ops").unwrap().as_str(), "ops");
        for odd in ["##ops", "# ops", " # #ops "] {
            assert_eq!(Name::parse_room(odd).unwrap().as_str(), "ops", "{odd}");
        }
        for default in ["CHIT CHAT", "#chit chat"] {
            assert_eq!(Name::parse_room(default).unwrap().as_str(), DEFAULT_ROOM);
        }
        for bad in ["#", "##", "# #"] {
            assert_eq!(Name::parse_room(bad), Err(NameError::Empty), "{bad}");
        }
    }
}
