//! Texts in the picture: how wide they are, where they are cut, how they are
//! written; and the style of everything.

/// The width of an average character, in pixels: of the wide fonts that some
/// systems have, so that nothing is cut or touches where they are used.
pub(super) const LABEL_EM: f64 = 6.9;
/// The same for what is bold.
pub(super) const BOLD_EM: f64 = 7.7;
/// The same for the title.
pub(super) const TITLE_EM: f64 = 9.6;
/// The same for the small text.
pub(super) const TIME_EM: f64 = 6.0;

/// Colours for light and dark, and everything else that all pictures share.
pub(super) const STYLE: &str = "
svg{--paper:#fff;--ink:#1c2330;--dim:#6a7383;--faint:#d5dae2;--no:#c22f2f;--h0:#1f67b1;--h1:#b0521b;--h2:#2a7a3f;--h3:#86479f;--h4:#8a6a00;--h5:#00767f;--h6:#b03068;--h7:#5552c8;font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Noto Sans',sans-serif}
@media screen and (prefers-color-scheme:dark){svg{--paper:#12161d;--ink:#e6eaf1;--dim:#98a2b3;--faint:#333c4a;--no:#ff8a80;--h0:#7db7f0;--h1:#f2a06d;--h2:#7dcf92;--h3:#d0a3e6;--h4:#e0b84f;--h5:#5fc9d3;--h6:#f08db8;--h7:#aaa8ff}}
.paper{fill:var(--paper)}
.server{--c:var(--ink)}.h0{--c:var(--h0)}.h1{--c:var(--h1)}.h2{--c:var(--h2)}.h3{--c:var(--h3)}.h4{--c:var(--h4)}.h5{--c:var(--h5)}.h6{--c:var(--h6)}.h7{--c:var(--h7)}
text{fill:var(--ink);font-size:12px}
.title{font-size:16px;font-weight:600}
.absent{stroke:var(--faint);stroke-width:1;stroke-dasharray:1 4;fill:none}
.life{stroke:var(--c);stroke-width:1.6;fill:none;opacity:.75}
.name rect{fill:var(--paper);stroke:var(--c);stroke-width:1.4}
.name text{fill:var(--c);font-weight:600;text-anchor:middle}
.again{fill:var(--c);font-weight:600;text-anchor:middle;paint-order:stroke;stroke:var(--paper);stroke-width:4px}
.arrow{stroke:var(--c);stroke-width:1.1;fill:none;opacity:.85}
.head{fill:var(--c)}
.crowd .arrow{stroke-width:.7;opacity:.5}
.crowd .head{opacity:.8}
circle{fill:var(--c);stroke:var(--paper);stroke-width:1}
.private{stroke-dasharray:1.5 2.5;stroke-width:1.5}
.replayed{stroke-dasharray:7 3;stroke-width:.8}
.refused{stroke:var(--no);stroke-dasharray:4 2.5}
.head.refused{fill:var(--no);stroke:none}
.head.private,.head.replayed{stroke:none}
circle.no{fill:var(--paper);stroke:var(--no);stroke-width:2}
.mark{stroke:var(--no);stroke-width:1.9;fill:none}
.bar{stroke:var(--dim);stroke-width:2;fill:none}
.time{font-weight:600;text-anchor:end}
.what{text-anchor:end}
.aside{fill:var(--dim);font-style:italic}
text.refusal{fill:var(--no)}
.own{font-size:10px;fill:var(--dim);paint-order:stroke;stroke:var(--paper);stroke-width:2.5px}
.legend{font-size:10.5px;fill:var(--dim)}
";

/// How wide a text is at most, in pixels, if an average character has `em`.
pub(super) fn width(text: &str, em: f64) -> f64 {
    text.chars().map(|c| char_width(c) * em).sum()
}

fn char_width(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '!' | '|' | 'I' => 0.5,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '-' | '/' | '"' => 0.65,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.6,
        '0'..='9' | 'a'..='z' => 1.05,
        'A'..='Z' | '=' | '+' | '<' | '>' | '~' | '&' => 1.25,
        '\u{300}'..='\u{36f}' => 0.0,
        '\0'..='\u{2ff}' => 1.15,
        '\u{370}'..='\u{10ff}' => 1.3,
        // Ligatures of whole phrases, and letters of unknown width.
        '\u{fb50}'..='\u{fdff}' => 8.0,
        _ => 2.2,
    }
}

/// A text that fits, cut if it must be.
pub(super) fn shortened(text: &str, room: f64, em: f64) -> String {
    if width(text, em) <= room {
        return text.to_owned();
    }
    let mut used = 1.2 * em;
    let fits = |c: &char| {
        used += char_width(*c) * em;
        used <= room
    };
    let cut: String = text.chars().take_while(fits).collect();
    format!("{}…", cut.trim_end())
}

/// A text on one line or two, the second one cut if it must be.
pub(super) fn wrapped(text: &str, room: f64, em: f64) -> Vec<String> {
    if width(text, em) <= room {
        return vec![text.to_owned()];
    }
    let mut used = 0.0;
    let mut at_space = None;
    for (at, c) in text.char_indices() {
        used += char_width(c) * em;
        if used > room {
            break;
        }
        if c == ' ' {
            at_space = Some(at);
        }
    }
    match at_space {
        Some(at) if at > 0 => vec![
            text[..at].to_owned(),
            shortened(text[at..].trim_start(), room, em),
        ],
        _ => vec![shortened(text, room, em)],
    }
}

/// Text as XML takes it. What XML has no way to write is replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_text_is_escaped() {
        let text = "</title><script>alert('x' && \"y\")</script>\u{1}\u{ffff}";
        let escaped = escaped(text);
        assert!(
            !escaped.contains(['<', '>', '"', '\'', '\u{1}', '\u{ffff}']),
            "{escaped}"
        );
        assert_eq!(escaped.matches("&amp;").count(), 2);
    }

    #[test]
    fn long_texts_are_cut_or_go_on_below() {
        assert_eq!(shortened("short", 100.0, 6.0), "short");
        let cut = shortened(&"long ".repeat(50), 100.0, 6.0);
        assert!(cut.ends_with('…') && width(&cut, 6.0) <= 108.0, "{cut}");
        let lines = wrapped("one two three four five six", 80.0, 6.0);
        assert_eq!(lines.len(), 2);
        assert!(
            lines.iter().all(|line| width(line, 6.0) <= 88.0),
            "{lines:?}"
        );
        assert_eq!(wrapped(&"漢".repeat(40), 80.0, 6.0).len(), 1);
    }
}
