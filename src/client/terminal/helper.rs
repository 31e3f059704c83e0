//! What the editor asks while a line is typed: how the prompt looks, how much
//! room is left, what Tab may mean.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Context, Event, EventContext, Helper, Movement,
    RepeatCount,
};
use terminal_size::{Height, Width};
use unicode_width::UnicodeWidthChar;

use super::colour::Style;
use super::command::{self, COMMANDS, Typed};
use super::known::Known;
use super::paint::Painter;
use super::reflow::Reflow;
use super::screen::BACK;
use super::stage::{self, Stage};
use crate::chat::MAX_TEXT_CHARS;

/// The counter is shown when fewer characters than this are left.
const FEW_LEFT: usize = 28;

pub(super) struct Typing {
    pub(super) painter: Painter,
    pub(super) stage: Arc<Stage>,
    pub(super) known: Arc<Known>,
    /// A question is asked; its answer is not a message.
    pub(super) asking: bool,
    /// The line ends where the editor has no more keys that it has read.
    pub(super) only_what_is_there: bool,
    /// The line is complete and at this very draw disappears: its echo will
    /// stand in its place.
    pub(super) vanishes: Cell<bool>,
    /// The line that is shown is one that a search has found.
    pub(super) searching: Cell<bool>,
    /// The editor has said that it is about to draw, as it does for any reason
    /// but two: for its printer, and after a list of possibilities.
    pub(super) announced: Cell<bool>,
    /// The editor draws for its printer.
    pub(super) for_printer: Cell<bool>,
    /// What the editor last drew for another reason had a hint: only then does it
    /// leave room for one when it draws for its printer.
    pub(super) hinted: Cell<bool>,
    /// How many possibilities of a list have not been shown, if there is a list
    /// after which nothing has been drawn.
    pub(super) listing: Cell<Option<usize>>,
    pub(super) reflow: Reflow,
}

impl Helper for Typing {}

/// What is said behind the line being typed.
pub(super) struct Counter(String);

impl Hint for Counter {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Typing {
    type Hint = Counter;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Counter> {
        // The first thing that the editor asks once the terminal is its own.
        match self.stage.editing() {
            true => {
                self.reflow.begin();
                if self.only_what_is_there {
                    stage::interrupt();
                }
            }
            false => self.reflow.mend(line, pos),
        }
        if self.asking {
            return None;
        }
        let longest = longest_text(line, &self.known.names())?;
        match MAX_TEXT_CHARS.checked_sub(longest) {
            Some(left) if left >= FEW_LEFT => None,
            Some(left) => Some(Counter(format!("  [{left}]"))),
            None => Some(Counter(format!(
                "  [{} too many]",
                longest - MAX_TEXT_CHARS
            ))),
        }
    }
}

/// Characters of the longest text that a line would send, if it sends any.
fn longest_text(line: &str, names: &[String]) -> Option<usize> {
    let lines = line.lines().map(str::trim).filter(|l| !l.is_empty());
    let texts: Vec<&str> = lines.collect();
    match texts.as_slice() {
        // Several are messages, whatever they begin with.
        [one] => match command::parse(one, names) {
            Ok(Typed::Say { text, .. }) => Some(text.chars().count()),
            _ => None,
        },
        several => several.iter().map(|text| text.chars().count()).max(),
    }
}

impl Validator for Typing {
    fn validate(&self, _: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.stage.between();
        Ok(ValidationResult::Valid(None))
    }
}

impl Highlighter for Typing {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        let drawn = self.reflow.line(line, pos);
        if !self.asking && !self.searching.get() {
            self.known.typing(line);
        }
        match self.vanishes.get() {
            true => Cow::Borrowed(""),
            false => Cow::Owned(harmless(&drawn)),
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        default: bool,
    ) -> Cow<'b, str> {
        self.reflow.prompt(prompt);
        self.searching.set(!default);
        // The cursor is where the line begins, but for the printer.
        let for_printer = !self.announced.take() && self.listing.take().is_none();
        self.for_printer.set(for_printer);
        self.hinted.set(for_printer && self.hinted.get());
        let mut above = if for_printer { BACK } else { "" }.to_owned();
        above.push_str(&self.stage.take());
        if self.vanishes.get() {
            return Cow::Owned(above);
        }
        let style = match self.known.is_online() {
            _ if !default || self.asking => Style::Normal,
            true => Style::Bold,
            false => Style::Wrong,
        };
        Cow::Owned(above + &self.painter.styled(style, prompt))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.for_printer.get() && !self.hinted.get() {
            return Cow::Borrowed("");
        }
        self.hinted.set(true);
        self.reflow.hint(hint);
        let style = if hint.contains("too many") {
            Style::Wrong
        } else {
            Style::Dim
        };
        Cow::Owned(self.painter.styled(style, hint))
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        let left = self.listing.get().unwrap_or_default().saturating_sub(1);
        self.listing.set(Some(left));
        match left {
            // Behind the list the editor erases as many rows as the line takes.
            0 => Cow::Owned(candidate.to_owned() + &"\n".repeat(self.reflow.rows_below())),
            _ => Cow::Borrowed(candidate),
        }
    }

    fn highlight_char(&self, line: &str, pos: usize, kind: CmdKind) -> bool {
        // Only the last draw may leave the line out: the editor erases as many
        // rows as it believes to have drawn.
        self.vanishes
            .set(kind == CmdKind::ForcedRefresh && pos == line.len());
        self.announced.set(true);
        true
    }
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if self.asking {
            return Ok((pos, Vec::new()));
        }
        let (start, pairs) = complete(&line[..pos], &self.known.names(), &self.known.rooms());
        let pairs = that_fit(pairs, terminal_size::terminal_size());
        self.listing.set((pairs.len() > 1).then_some(pairs.len()));
        Ok((start, pairs))
    }
}

/// A line as it may be drawn. The editor takes a control character to have no
/// width, and a pasted line may have some.
fn harmless(line: &str) -> String {
    line.replace(|c: char| c.is_control() && c != '\n', "")
}

/// The possibilities that a terminal has room for. In the middle of a longer list
/// the editor waits for a key, and meanwhile takes no message and no signal.
fn that_fit(mut pairs: Vec<Pair>, size: Option<(Width, Height)>) -> Vec<Pair> {
    let Some((Width(columns @ 1..), Height(rows @ 1..))) = size else {
        return pairs;
    };
    let width = |pair: &Pair| {
        pair.display
            .chars()
            .filter_map(UnicodeWidthChar::width)
            .sum()
    };
    let widest: usize = pairs.iter().map(width).max().unwrap_or_default();
    let in_a_row = usize::from(columns) / (widest + 2).min(columns.into());
    let most = in_a_row * usize::from(rows - 1);
    if pairs.len() <= most.max(1) {
        return pairs;
    }
    // What all have in common, the first one has in common with the one that is
    // least like it: so the editor still finds it.
    let common = |other: &Pair| {
        let pairs = pairs[0].replacement.chars().zip(other.replacement.chars());
        pairs.take_while(|(a, b)| a == b).count()
    };
    let least = (1..pairs.len()).min_by_key(|n| common(&pairs[*n]));
    let least = least.unwrap_or_default();
    let alike = common(&pairs[least]);
    let other = pairs.remove(least);
    if most < 2 {
        let replacement: String = other.replacement.chars().take(alike).collect();
        return vec![Pair {
            display: replacement.clone(),
            replacement,
        }];
    }
    let display = format!("… {} more", pairs.len() + 2 - most);
    pairs.truncate(most - 1);
    pairs.push(Pair { display, ..other });
    pairs
}

/// What the end of `typed` may become: from where on, and the possibilities.
fn complete(typed: &str, names: &[String], rooms: &[String]) -> (usize, Vec<Pair>) {
    let fitting = |all: &[String], start: usize, before: &str, after: &str| {
        let begun = typed[start..].trim_start_matches('@').to_lowercase();
        let found = all.iter().filter(|n| n.to_lowercase().starts_with(&begun));
        let pairs = found.map(|name| Pair {
            display: format!("{before}{name}"),
            replacement: format!("{before}{name}{after}"),
        });
        (start, pairs.collect())
    };
    if let Some(begun) = typed.strip_prefix("/msg ") {
        return fitting(names, typed.len() - begun.len(), "", " ");
    }
    if let Some(begun) = typed.strip_prefix("/join ") {
        let begun = begun.trim_start_matches('#');
        return fitting(rooms, typed.len() - begun.len(), "", "");
    }
    if typed.starts_with('/') && !typed.contains(' ') {
        let found = COMMANDS
            .iter()
            .filter(|(usage, _)| usage.starts_with(typed));
        let pairs = found.map(|(usage, what)| {
            let (word, more) = usage
                .split_once(' ')
                .map_or((*usage, ""), |(w, _)| (w, " "));
            Pair {
                display: format!("{usage}  {what}"),
                replacement: format!("{word}{more}"),
            }
        });
        return (0, pairs.collect());
    }
    // A name may contain spaces, so the `@` alone says where it begins.
    match typed.rfind('@') {
        Some(start) if !typed[..start].ends_with(char::is_alphanumeric) => {
            fitting(names, start, "@", " ")
        }
        _ => (typed.len(), Vec::new()),
    }
}

/// Ctrl-C: takes the line away if there is one (Ctrl-Y brings it back), and
/// leaves if there is none.
pub(super) struct ClearOrLeave;

impl ConditionalEventHandler for ClearOrLeave {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, now: &EventContext<'_>) -> Option<Cmd> {
        (!now.line().is_empty()).then_some(Cmd::Kill(Movement::WholeBuffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(typed: &str) -> (usize, Vec<String>) {
        let names = ["Ann".to_owned(), "Ann Lee".to_owned(), "Åse".to_owned()];
        let rooms = ["Chit Chat".to_owned(), "ops".to_owned()];
        let (start, pairs) = complete(typed, &names, &rooms);
        (start, pairs.into_iter().map(|p| p.replacement).collect())
    }

    #[test]
    fn names_commands_and_rooms_are_completed() {
        let (start, found) = completed("hello @an");
        assert_eq!(
            (start, found),
            (6, vec!["@Ann ".into(), "@Ann Lee ".into()])
        );
        assert_eq!(completed("@ann l").1, ["@Ann Lee "]);
        assert_eq!(completed("/msg å"), (5, vec!["Åse ".into()]));
        assert_eq!(completed("/join o"), (6, vec!["ops".into()]));
        assert_eq!(completed("/join #o"), (7, vec!["ops".into()]));
        assert_eq!(completed("/h").1, ["/help", "/history "]);
        assert_eq!(completed("a@b").1, Vec::<String>::new());
        assert_eq!(completed("plain").1, Vec::<String>::new());
    }

    #[test]
    fn a_list_of_possibilities_fits_the_terminal_and_says_how_many_it_lacks() {
        let names = ["@Ann", "@Anna", "@Anne", "@Anouk", "@Annika"];
        let fitting = |columns: u16, rows: u16| {
            let pairs = names.map(|name| Pair {
                display: name.to_owned(),
                replacement: name.to_owned(),
            });
            that_fit(pairs.into(), Some((Width(columns), Height(rows))))
        };
        let shown = |pairs: &[Pair]| -> Vec<String> {
            pairs.iter().map(|pair| pair.display.clone()).collect()
        };
        assert_eq!(shown(&fitting(80, 24)), names);
        assert_eq!(shown(&fitting(20, 4)), names);
        let few = fitting(20, 3);
        assert_eq!(shown(&few), ["@Ann", "@Anna", "@Anne", "… 2 more"]);
        let least = few.last().map(|pair| pair.replacement.as_str());
        assert_eq!(
            least,
            Some("@Anouk"),
            "which has «@An» in common with the others"
        );
        assert_eq!(shown(&fitting(9, 2)), ["@An"]);
        assert_eq!(shown(&fitting(9, 1)), ["@An"]);
    }

    #[test]
    fn control_characters_are_not_drawn() {
        assert_eq!(harmless("plain and\nmore"), "plain and\nmore");
        assert_eq!(harmless("a\u{8}b\u{1b}c\u{9b}d"), "abcd");
    }
}
