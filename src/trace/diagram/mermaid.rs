//! A sequence diagram in Mermaid's language.
//!
//! The forges give up on long ones, so it ends after so many bytes and says so.

use std::fmt::Write;

use super::Drawn;
use super::label::{is_private, is_refusal, label, process};
use super::picture::{Item, Picture};
use crate::trace::line::What;

/// Mermaid reads at most 50 000 characters unless it is told otherwise.
const MAX_BYTES: usize = 47_000;

/// The longest text beside an arrow, in characters.
const MAX_TEXT: usize = 60;

pub(super) fn draw(picture: &Picture<'_>) -> Drawn {
    let mut out = String::from("sequenceDiagram\n");
    for column in 0..picture.columns.len() {
        let name = escaped(&process(picture, column));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "    participant p{column} as {name}");
    }
    let mut items: Vec<&Item> = picture.items.iter().collect();
    items.sort_by_key(|item| (item.row, item.column, item.node));
    let mut left_out = picture.left_out.clone();
    let mut told = 0;
    let stamped = |item: &&&Item| picture.is_server(item) && picture.trace.is_event(item.node);
    let all = items.iter().filter(stamped).count();
    for item in items {
        let line = line(picture, item);
        if out.len() + line.len() > MAX_BYTES {
            left_out = Some(format!(
                "only the first {told} of {all} events fit into a diagram that the forges draw"
            ));
            break;
        }
        told += usize::from(stamped(&&item));
        out.push_str(&line);
    }
    if let Some(left_out) = &left_out {
        let _ = writeln!(out, "    Note over p0: {}", escaped(left_out));
    }
    Drawn {
        text: out,
        left_out,
    }
}

fn line(picture: &Picture<'_>, item: &Item) -> String {
    let entry = picture.entry(item);
    let (to, text) = (item.column, label(picture, item));
    let time = |item: &Item| {
        let time = picture.trace.time(item.node);
        time.map_or_else(|| "–".to_owned(), |time| time.to_string())
    };
    match (picture.cause(item), entry.what) {
        (Some(cause), _) => {
            let arrow = match entry.what {
                _ if picture.is_server(item) => "->>",
                What::Refused => "--x",
                _ => "-->>",
            };
            let times = format!("L={} → L={}", time(cause), time(item));
            let text = match () {
                () if picture.is_server(item) => format!("{times} {text}"),
                () if is_refusal(entry) => format!("{times} refused"),
                () if is_private(entry) => format!("{times} private"),
                () if entry.replayed => format!("{times} from the past"),
                () => times,
            };
            format!("    p{}{arrow}p{to}: {}\n", cause.column, escaped(&text))
        }
        (None, What::Send) if picture.is_lost(item) => {
            let text = format!("L={} did not arrive: {text}", time(item));
            format!("    p{to}-xp0: {}\n", escaped(&text))
        }
        (None, What::Send) => String::new(), // the arrow is drawn where it ends
        (None, What::Start | What::Stop) if !picture.is_server(item) => String::new(),
        (None, _) => {
            let text = match picture.trace.is_event(item.node) {
                true => format!("L={} {text}", time(item)),
                false => text,
            };
            format!("    Note over p{to}: {}\n", escaped(&text))
        }
    }
}

/// Text as Mermaid takes it: shortened, and everything that could mean
/// something to it, or to what it writes, as a numbered character.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(MAX_TEXT) {
        let is_plain = c.is_alphanumeric() || matches!(c, ' ' | '.' | ',' | '=' | '→' | '–' | '…');
        if is_plain {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", c as u32);
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    // A text must not be empty, and `end` alone ends a block.
    match out.trim() {
        "" => "#160;".to_owned(),
        word if word.eq_ignore_ascii_case("end") => format!("{word}#8203;"),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_means_something_to_mermaid_is_written_as_a_number() {
        assert_eq!(escaped("Hello World"), "Hello World");
        assert_eq!(escaped("a;b#c:d<e>"), "a#59;b#35;c#58;d#60;e#62;");
        assert_eq!(escaped("%%{init}%%"), "#37;#37;#123;init#125;#37;#37;");
        assert_eq!(escaped(" end"), "end#8203;");
        assert_eq!(escaped(""), "#160;");
        assert_eq!(escaped(&"å".repeat(61)), format!("{}…", "å".repeat(60)));
    }
}
