//! What a resize does to the line being typed.
//!
//! Most terminals break their rows anew when they become narrower or wider. The
//! editor does not know: it erases as many rows as it drew, counted from where
//! the cursor now is. So rows of the line would be left over, or messages above
//! it erased. Just before it draws, this makes the screen what the editor takes
//! it for.

use std::cell::RefCell;
use std::io::{self, Write};

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

/// Columns from one tab stop to the next.
const TAB: usize = 8;

/// What the editor drew last.
#[derive(Debug, Default)]
struct Drawn {
    /// How wide the editor takes the terminal to be: as it was when the line
    /// began, or when the editor last took notice of a resize.
    columns: usize,
    prompt: String,
    /// The line up to the cursor, without tabs.
    before: String,
    /// Its rest, without tabs.
    after: String,
    hint: String,
}

/// Rows below the first one.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    to_cursor: usize,
    to_end: usize,
}

impl Drawn {
    /// The rows that the editor believes it to take.
    fn believed(&self) -> Rows {
        let columns = self.columns;
        let place = |from, text: &str| wrapped(advance(from, text, columns), columns);
        let cursor = place(place((0, 0), &self.prompt), &self.before);
        let end = place(place(cursor, &self.after), &self.hint);
        Rows {
            to_cursor: cursor.0,
            to_end: end.0,
        }
    }

    /// The rows that it takes on a terminal that now has so many columns.
    fn there(&self, columns: usize) -> Rows {
        let before = format!("{}{}", self.prompt, self.before);
        let after = format!("{}{}", self.after, self.hint);
        let cursor = |columns| advance((0, 0), &before, columns);
        let end = |columns| advance(cursor(columns), &after, columns);
        // Where the line filled its last row the editor broke it itself, and
        // such a break stays.
        let to_end = match end(self.columns).1 == self.columns {
            true => end(columns).0 + 1,
            false => wrapped(end(columns), columns).0,
        };
        let to_cursor = match after.is_empty() {
            true => to_end,
            false => wrapped(cursor(columns), columns).0,
        };
        Rows { to_cursor, to_end }
    }

    /// The two parts of a line, with the spaces for which the editor takes a
    /// tab: one that does not fit into a row stands in the next.
    fn untabbed(&self, line: &str, cursor: usize) -> (String, String) {
        let columns = self.columns;
        let (before, after) = line.split_at(cursor);
        if columns == 0 || !line.contains('\t') {
            return (before.to_owned(), after.to_owned());
        }
        let mut at = wrapped(advance((0, 0), &self.prompt, columns), columns);
        let [before, after] = [before, after].map(|text| {
            let mut out = String::new();
            for (n, part) in text.split('\t').enumerate() {
                let (width, left) = (TAB - at.1 % TAB, columns.saturating_sub(at.1));
                let spaces = match n {
                    0 => 0,
                    _ if width > left => left + width,
                    _ => width,
                };
                let piece = format!("{:spaces$}{part}", "");
                at = advance(at, &piece, columns);
                out.push_str(&piece);
            }
            at = wrapped(at, columns);
            out
        });
        (before, after)
    }

    /// Whether the editor, about to draw this line, takes the terminal to have
    /// so many columns now. If it takes notice of a resize it draws a line again
    /// that has not changed, or leaves it alone if it is a single row; keys can
    /// come before that.
    fn is_noticed(&self, line: &str, cursor: usize, columns: usize) -> bool {
        let (before, after) = self.untabbed(line, cursor);
        let is_unchanged = (&self.before, &self.after) == (&before, &after);
        let is_a_row = self.believed().to_end == 0 && self.there(columns).to_end == 0;
        is_unchanged || is_a_row
    }

    /// What moves the cursor and the rows to where the editor takes them to be,
    /// now that there are so many columns.
    fn mending(&self, columns: usize) -> Option<String> {
        if self.columns == 0 || columns == 0 || self.columns == columns {
            return None;
        }
        let (believed, there) = (self.believed(), self.there(columns));
        (believed != there).then(|| {
            let up = |rows| match rows {
                0 => String::new(),
                rows => format!("\x1b[{rows}A"),
            };
            format!(
                "\r{}\x1b[J{}{}",
                up(there.to_cursor),
                "\n".repeat(believed.to_end),
                up(believed.to_end - believed.to_cursor)
            )
        })
    }
}

/// Where the cursor stands after a text, as row and column, from where it stood.
/// After the last column it waits there for what comes next.
fn advance(from: (usize, usize), text: &str, columns: usize) -> (usize, usize) {
    let (mut row, mut column) = from;
    for grapheme in text.graphemes(true) {
        if grapheme == "\n" {
            (row, column) = (row + 1, 0);
            continue;
        }
        let width: usize = grapheme.chars().filter_map(UnicodeWidthChar::width).sum();
        column += width;
        if column > columns {
            (row, column) = (row + 1, width);
        }
    }
    (row, column)
}

/// The editor never lets the cursor wait there.
fn wrapped((row, column): (usize, usize), columns: usize) -> (usize, usize) {
    match column == columns {
        true => (row + 1, 0),
        false => (row, column),
    }
}

/// Follows what the editor draws.
#[derive(Debug)]
pub(super) struct Reflow {
    /// Whether the terminal breaks its rows anew.
    is_on: bool,
    drawn: RefCell<Drawn>,
}

impl Reflow {
    /// For the terminal that the environment tells of.
    pub(super) fn new() -> Self {
        let says = |name: &str| std::env::var(name).unwrap_or_default();
        Self {
            is_on: reflows(&says("TERM"), &says("TMUX"), &says("XTERM_VERSION")),
            drawn: RefCell::default(),
        }
    }

    /// The editor begins a line: nothing of it is on the screen.
    pub(super) fn begin(&self) {
        *self.drawn.borrow_mut() = Drawn {
            columns: columns(),
            ..Drawn::default()
        };
    }

    /// The editor draws its prompt.
    pub(super) fn prompt(&self, prompt: &str) {
        let mut drawn = self.drawn.borrow_mut();
        *drawn = Drawn {
            columns: drawn.columns,
            prompt: prompt.to_owned(),
            ..Drawn::default()
        };
    }

    /// And then the line, with the cursor before the byte `cursor`. Returns it
    /// without tabs: to a terminal one is a movement, which begins no row.
    pub(super) fn line(&self, line: &str, cursor: usize) -> String {
        let mut drawn = self.drawn.borrow_mut();
        let (before, after) = drawn.untabbed(line, cursor);
        let whole = format!("{before}{after}");
        (drawn.before, drawn.after) = (before, after);
        whole
    }

    /// And then a hint.
    pub(super) fn hint(&self, hint: &str) {
        hint.clone_into(&mut self.drawn.borrow_mut().hint);
    }

    /// How many rows the line takes below its first one.
    pub(super) fn rows_below(&self) -> usize {
        self.drawn.borrow().believed().to_end
    }

    /// The editor is about to draw again, this line.
    pub(super) fn mend(&self, line: &str, cursor: usize) {
        let columns = columns();
        let mut drawn = self.drawn.borrow_mut();
        if let Some(mending) = drawn.mending(columns).filter(|_| self.is_on) {
            let mut out = io::stdout();
            // Without a terminal there is nothing to mend.
            let _ = out.write_all(mending.as_bytes()).and_then(|()| out.flush());
        }
        if drawn.is_noticed(line, cursor, columns) {
            drawn.columns = columns;
        }
    }
}

fn columns() -> usize {
    terminal_size::terminal_size().map_or(0, |(w, _)| usize::from(w.0))
}

/// Whether a terminal breaks its rows anew. xterm, st and GNU screen cut them
/// off instead; all others that are in use do.
fn reflows(term: &str, tmux: &str, xterm: &str) -> bool {
    let cuts = ["linux", "st-", "screen"]
        .iter()
        .any(|t| term.starts_with(t));
    !tmux.is_empty() || (xterm.is_empty() && !cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(columns: usize, before: &str, after: &str) -> Drawn {
        Drawn {
            columns,
            before: before.to_owned(),
            after: after.to_owned(),
            ..Drawn::default()
        }
    }

    #[test]
    fn a_line_that_fits_before_and_after_is_left_alone() {
        assert_eq!(drawn(80, "Alex> hello", "").mending(40), None);
        assert_eq!(drawn(80, &"x".repeat(100), "").mending(80), None);
        assert_eq!(drawn(80, &"x".repeat(100), "").mending(70), None);
        assert_eq!(Drawn::default().mending(80), None);
    }

    #[test]
    fn the_rows_that_are_there_are_erased_and_those_believed_made() {
        let line = "x".repeat(100);
        assert_eq!(
            drawn(200, &line, "").mending(40).as_deref(),
            Some("\r\x1b[2A\x1b[J")
        );
        assert_eq!(
            drawn(40, &line, "").mending(200).as_deref(),
            Some("\r\x1b[J\n\n")
        );
        assert_eq!(
            drawn(40, &line[..50], &line[50..]).mending(80).as_deref(),
            Some("\r\x1b[J\n\n\x1b[1A")
        );
    }

    #[test]
    fn the_break_after_a_row_that_is_full_stays() {
        let full = "x".repeat(100);
        assert_eq!(
            drawn(100, &full, "").mending(90).as_deref(),
            Some("\r\x1b[2A\x1b[J\n")
        );
        assert_eq!(drawn(100, &full, "").mending(120), None);
    }

    #[test]
    fn a_key_before_the_editor_takes_notice_is_drawn_for_the_old_width() {
        let long = "x".repeat(100);
        assert!(drawn(80, &long, "").is_noticed(&long, 100, 40));
        assert!(!drawn(80, &long, "").is_noticed(&format!("{long}y"), 101, 40));
        assert!(drawn(80, "hello", "").is_noticed("hello!", 6, 40));
    }

    #[test]
    fn wide_characters_and_line_breaks_are_counted_as_the_editor_does() {
        assert_eq!(advance((0, 0), "漢漢", 5), (0, 4));
        assert_eq!(advance((0, 0), "漢漢漢", 5), (1, 2));
        assert_eq!(wrapped(advance((0, 3), "ab", 5), 5), (1, 0));
        assert_eq!(advance((0, 0), "a\nbc", 5), (1, 2));
        assert_eq!(advance((0, 0), "e\u{301}", 5), (0, 1));
    }

    #[test]
    fn a_tab_is_as_many_spaces_as_the_editor_takes_it_for() {
        let mut drawn = drawn(20, "", "");
        drawn.prompt = "Al> ".to_owned();
        let whole = |line: &str, cursor| {
            let (before, after) = drawn.untabbed(line, cursor);
            format!("{before}{after}")
        };
        assert_eq!(whole("a\tb", 3), "a   b");
        assert_eq!(whole("a\tb\tc", 2), "a   b       c");
        // The third would end behind the last column.
        let spaces = " ".repeat(3 + 7);
        assert_eq!(whole("a\tb\tc\td", 6), format!("a   b       c{spaces}d"));
        assert_eq!(whole("a\nb\tc", 5), "a\nb       c");
    }

    #[test]
    fn a_terminal_that_cuts_rows_off_is_left_alone() {
        assert!(reflows("xterm-256color", "", ""));
        assert!(reflows("screen-256color", "/tmp/tmux-0/default,1,0", ""));
        assert!(reflows(
            "xterm-256color",
            "/tmp/tmux-0/default,1,0",
            "XTerm(379)"
        ));
        assert!(!reflows("xterm-256color", "", "XTerm(379)"));
        assert!(!reflows("screen", "", ""));
        assert!(!reflows("st-256color", "", ""));
    }
}
