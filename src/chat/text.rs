//! Texts: how long one may be, and which characters are kept from a terminal
//! or a log.

use std::borrow::Cow;

/// The longest text, in characters (Unicode scalar values) after trimming.
pub const MAX_TEXT_CHARS: usize = 128;

/// Why a text is not broadcast. The words are what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More than [`MAX_TEXT_CHARS`] characters; holds how many. The original
    /// server's own words.
    #[error("Message too long ({0} chars). Limit is {MAX_TEXT_CHARS}.")]
    TooLong(usize),
    /// Nothing is left after trimming.
    #[error("Message is empty.")]
    Empty,
}

/// Trims a text and checks its length.
///
/// # Errors
/// The rule that `raw` breaks.
pub fn check_text(raw: &str) -> Result<&str, TextError> {
    let text = raw.trim();
    match text.chars().count() {
        0 => Err(TextError::Empty),
        n if n > MAX_TEXT_CHARS => Err(TextError::TooLong(n)),
        _ => Ok(text),
    }
}

/// Whether a character is invisible or changes how its neighbours are shown:
/// control characters, line and paragraph separators, bidirectional controls
/// (Unicode Standard Annex 9), zero-width characters, the byte order mark,
/// interlinear annotation and tag characters.
pub fn is_deceptive(c: char) -> bool {
    // Most characters of most texts end here.
    if matches!(c, ' '..='~') {
        return false;
    }
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text as it may be shown on a terminal: white space becomes a space,
/// and what [`is_deceptive`] says is dropped, except a zero-width joiner
/// between two visible characters, which emoji need and which moves nothing.
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let visible = |c: &char| !is_deceptive(*c) && !c.is_whitespace();
        match c {
            '\n' | '\t' | '\r' | '\u{2028}' | '\u{2029}' => out.push(' '),
            '\u{200d}'
                if out
                    .chars()
                    .next_back()
                    .is_some_and(|c| visible(&c) && !c.is_ascii())
                    && rest.peek().is_some_and(|c| visible(c) && !c.is_ascii()) =>
            {
                out.push(c)
            }
            c if is_deceptive(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_128_characters_of_any_script_and_no_more() {
        for unit in ["a", "ø", "漢", "🦀", "e"] {
            assert!(check_text(&unit.repeat(128)).is_ok(), "{unit}");
            assert_eq!(
                check_text(&unit.repeat(129)),
                Err(TextError::TooLong(129)),
                "{unit}"
            );
        }
        // a combining mark is a character of its own
        assert_eq!(
            check_text(&"e\u{301}".repeat(64)).unwrap().chars().count(),
            128
        );
        assert_eq!(
            check_text(&"e\u{301}".repeat(65)),
            Err(TextError::TooLong(130))
        );
        assert_eq!(check_text("  hi \r\n"), Ok("hi"));
        assert_eq!(check_text(" \r\n"), Err(TextError::Empty));
    }

    #[test]
    fn what_acts_on_a_terminal_is_taken_out() {
        assert_eq!(sanitise("plain"), "plain");
        assert_eq!(sanitise("a\u{1b}[2Jb\u{7}"), "a[2Jb");
        assert_eq!(sanitise("a\nb\tc"), "a b c");
        assert_eq!(sanitise("\u{202e}evil\u{2069}"), "evil");
        assert_eq!(sanitise("a\u{200d}b"), "ab");
        assert_eq!(sanitise("👩\u{200d}🔬"), "👩\u{200d}🔬");
        assert_eq!(sanitise("\u{9b}31mred"), "31mred");
    }
}
