//! What is said below the picture.

use std::fmt::Write;

use super::cross;
use super::layout::{EDGE, Layout};
use super::text::{TIME_EM, escaped, width};
use crate::trace::diagram::label::{is_private, is_refusal};
use crate::trace::diagram::picture::{Item, Picture};
use crate::trace::line::What;

/// What the signs mean: refusals, private messages, what comes from the past,
/// losses.
const SIGNS: [(&str, &str); 4] = [
    ("refused", "refused; its sender alone is told"),
    ("private", "private; the two alone are told"),
    ("replayed", "from the past"),
    ("mark", "lost; a dotted line: not connected"),
];

/// How to read the picture.
const HOW_TO_READ: &str = "Time runs downwards: what happened before something else stands above it. \
The numbers are Lamport times, L the server's, and below each dot its process's own.";

/// What the signs mean, and what was left out. Returns the picture's height
/// too.
pub(super) fn legend(picture: &Picture<'_>, layout: &Layout) -> (String, f64) {
    let mut out = String::new();
    let mut y = layout.end() + 46.0;
    let room = layout.width - 2.0 * EDGE;
    let mut say = |class: &str, x: f64, y: f64, text: &str| {
        let text = escaped(text);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    };
    for text in paragraph(HOW_TO_READ, room) {
        say("legend", EDGE, y, &text);
        y += 14.0;
    }
    let any = |test: &dyn Fn(&Item) -> bool| picture.items.iter().any(test);
    let shown = [
        any(&|i| is_refusal(picture.entry(i))),
        any(&|i| is_private(picture.entry(i)) && picture.is_server(i)),
        any(&|i| picture.entry(i).replayed),
        any(&|i| matches!(picture.entry(i).what, What::Lost | What::Cut) || picture.is_lost(i)),
    ];
    let mut x = EDGE;
    let mut signs = String::new();
    y += 4.0;
    for ((class, text), _) in SIGNS.iter().zip(shown).filter(|(_, shown)| *shown) {
        let needed = 34.0 + width(text, TIME_EM) + 16.0;
        if x > EDGE && x + needed > layout.width {
            (x, y) = (EDGE, y + 14.0);
        }
        let middle = y - 3.5;
        match *class {
            "mark" => cross(&mut signs, x + 13.0, middle),
            class => {
                let _ = write!(
                    signs,
                    "<path class=\"arrow server {class}\" d=\"M{x:.1} {middle:.1}h26\"/>"
                );
            }
        }
        say("legend", x + 34.0, y, text);
        x += needed;
    }
    if x > EDGE {
        y += 16.0;
    }
    for text in picture
        .left_out
        .iter()
        .flat_map(|text| paragraph(text, room))
    {
        say("legend refusal", EDGE, y, &text);
        y += 14.0;
    }
    (out + &signs + "\n", y)
}

/// A text on as many lines as it needs.
fn paragraph(text: &str, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or("", String::as_str);
        let longer = format!("{line} {word}");
        if line.is_empty() || width(&longer, TIME_EM) > room {
            lines.push(word.to_owned());
        } else if let Some(line) = lines.last_mut() {
            *line = longer;
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}
