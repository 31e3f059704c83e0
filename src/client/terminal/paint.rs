//! How things look: colours, columns, lines that fit. Text in, text with
//! escape sequences out; whatever comes from others is sanitised here.

use jiff::{Timestamp, tz::TimeZone};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::colour::{Colours, Style};
use super::command::action;
use crate::chat::{Event, Kind, Name, sanitise};

/// What somebody wants to see, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Colours.
    pub colours: Colours,
    /// Ring the terminal's bell when one's name is said.
    pub bell: bool,
    /// Show one's own Lamport clock beside the room's.
    pub clock: bool,
    /// Show the local time of day.
    pub time: bool,
}

/// Below this many columns nothing is wrapped: the terminal does it.
const NARROWEST: usize = 24;

type Spans = Vec<(Style, String)>;

/// Paints for one person.
#[derive(Debug, Clone)]
pub(super) struct Painter {
    pub(super) look: Look,
    pub(super) me: Name,
    /// The time zone of the wall clock.
    pub(super) zone: TimeZone,
}

impl Painter {
    /// A stretch of text in a style.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        match self.look.colours.code(style) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }

    /// Something that the client itself has to say.
    pub(super) fn notice(&self, text: &str) -> String {
        self.spans(vec![(Style::Dim, sanitise(text).into_owned())], "-- ")
    }

    /// What belongs below a notice: an answer, which somebody wants to read.
    pub(super) fn below(&self, text: &str) -> String {
        self.spans(vec![(Style::Normal, sanitise(text).into_owned())], "     ")
    }

    /// Something that is wrong.
    pub(super) fn wrong(&self, text: &str) -> String {
        self.spans(vec![(Style::Wrong, sanitise(text).into_owned())], "-- ")
    }

    /// An event; `own_time` is one's own Lamport time of its receipt, if that
    /// is to be known.
    pub(super) fn event(&self, event: &Event, own_time: Option<i64>, replayed: bool) -> String {
        let head = self.head(event, &format!("L={}", event.time), own_time, replayed);
        let text = sanitise(&event.text);
        let body = match event.kind {
            Kind::Join => vec![(Style::Dim, format!("{} joined", sanitise(&event.sender)))],
            Kind::Leave => vec![(Style::Dim, format!("{} left", sanitise(&event.sender)))],
            Kind::Refusal => vec![(Style::Wrong, format!("{}: {text}", sanitise(&event.sender)))],
            Kind::Message => self.message(event, &text),
        };
        let bell = if self.look.bell && !replayed && self.concerns_me(event) {
            "\x07"
        } else {
            ""
        };
        format!("{bell}{}", self.spans(body, &head))
    }

    /// Many who joined or left, as one line.
    pub(super) fn crowd(&self, events: &[(Event, Option<i64>, bool)]) -> String {
        let [(first, ..), .., (last, own_time, replayed)] = events else {
            return events
                .iter()
                .map(|(e, own, r)| self.event(e, *own, *r))
                .collect();
        };
        let mut parts = Vec::new();
        for (kind, word) in [(Kind::Join, "joined"), (Kind::Leave, "left")] {
            let names: Vec<_> = events
                .iter()
                .filter(|(e, ..)| e.kind == kind)
                .map(|(e, ..)| sanitise(&e.sender))
                .collect();
            match names.as_slice() {
                [] => {}
                [one] => parts.push(format!("{one} {word}")),
                [a, b] => parts.push(format!("{a} and {b} {word}")),
                [a, b, rest @ ..] => parts.push(format!("{a}, {b} and {} more {word}", rest.len())),
            }
        }
        let head = self.head(
            last,
            &format!("L={}…{}", first.time, last.time),
            *own_time,
            *replayed,
        );
        self.spans(vec![(Style::Dim, parts.join("; "))], &head)
    }

    fn message(&self, event: &Event, text: &str) -> Spans {
        let mine = self.is_me(&event.sender);
        let name = |name: &str| (self.name_style(name), sanitise(name).into_owned());
        let mut body = match (&event.to, action(text)) {
            (Some(to), _) if mine => vec![
                (Style::Bold, "you to ".to_owned()),
                name(to),
                (Style::Bold, " (private)".to_owned()),
                (Style::Normal, ": ".to_owned()),
            ],
            (Some(_), _) => vec![
                name(&event.sender),
                (Style::Bold, " to you (private)".to_owned()),
                (Style::Normal, ": ".to_owned()),
            ],
            (None, Some(deed)) => {
                let mut body = vec![(Style::Dim, "* ".to_owned()), name(&event.sender)];
                body.push((Style::Normal, " ".to_owned()));
                body.extend(self.mentions(deed, mine));
                return body;
            }
            (None, None) => vec![name(&event.sender), (Style::Normal, ": ".to_owned())],
        };
        body.extend(self.mentions(text, mine));
        body
    }

    /// A text with one's own name made visible in what others say.
    fn mentions(&self, text: &str, mine: bool) -> Spans {
        let mut spans = Vec::new();
        let mut rest = text;
        while let Some((start, end)) = find_name(rest, self.me.as_str()).filter(|_| !mine) {
            spans.push((Style::Normal, rest[..start].to_owned()));
            spans.push((Style::Reverse, rest[start..end].to_owned()));
            rest = &rest[end..];
        }
        spans.push((Style::Normal, rest.to_owned()));
        spans
    }

    fn concerns_me(&self, event: &Event) -> bool {
        event.kind == Kind::Message
            && !self.is_me(&event.sender)
            && (event.to.is_some() || find_name(&event.text, self.me.as_str()).is_some())
    }

    fn is_me(&self, name: &str) -> bool {
        name == self.me.as_str()
    }

    /// A name's style, always the same for the same name.
    fn name_style(&self, name: &str) -> Style {
        if self.is_me(name) {
            return Style::Bold;
        }
        Style::of_name(name)
    }

    /// The columns before an event. What is from the past bears a `~`.
    fn head(&self, event: &Event, times: &str, own_time: Option<i64>, replayed: bool) -> String {
        let mut head = String::new();
        if self.look.time {
            head.push_str(&self.time_of_day(event.wall_ms));
        }
        let mark = if replayed { "~" } else { "" };
        head.push_str(&format!("{:>7} ", format!("{mark}{times}")));
        if self.look.clock {
            let own = own_time.map(|own| format!("me={own}")).unwrap_or_default();
            head.push_str(&format!("{own:>7} "));
        }
        head.push(' ');
        head
    }

    fn time_of_day(&self, wall_ms: i64) -> String {
        match Timestamp::from_millisecond(wall_ms) {
            Ok(time) if wall_ms > 0 => time
                .to_zoned(self.zone.clone())
                .strftime("%H:%M ")
                .to_string(),
            _ => "      ".to_owned(),
        }
    }

    /// A line that begins with a dim head and whose later rows stand below the
    /// text and not below the head. Ends with a line break.
    fn spans(&self, spans: Spans, head: &str) -> String {
        let columns = terminal_size::terminal_size().map_or(usize::MAX, |(w, _)| usize::from(w.0));
        self.wrapped(spans, head, columns)
    }

    fn wrapped(&self, spans: Spans, head: &str, columns: usize) -> String {
        let indent = head.width();
        let fits = columns > NARROWEST + indent;
        let mut out = self.styled(Style::Dim, head);
        let mut at = indent;
        for (style, text) in spans {
            let mut stretch = String::new();
            for word in text.split_inclusive(' ') {
                let pieces: Vec<&str> =
                    match word.trim_end().width() > columns.saturating_sub(indent) && fits {
                        true => word.graphemes(true).collect(),
                        false => vec![word],
                    };
                for piece in pieces {
                    if fits && at > indent && at + piece.trim_end().width() > columns {
                        let row = std::mem::take(&mut stretch);
                        out.push_str(&self.styled(style, row.trim_end()));
                        out.push('\n');
                        out.push_str(&" ".repeat(indent));
                        at = indent;
                    }
                    stretch.push_str(piece);
                    at += piece.width();
                }
            }
            // A space behind the last column would begin a row of its own.
            let shown = match fits && at > columns {
                true => stretch.trim_end(),
                false => &stretch,
            };
            if !shown.is_empty() {
                out.push_str(&self.styled(style, shown));
            }
        }
        out.push('\n');
        out
    }
}

/// A text filled up with spaces to so many columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// Where a name stands in a text as a word of its own, in whatever case.
fn find_name(text: &str, name: &str) -> Option<(usize, usize)> {
    let (chars, name) = (name.chars().count(), name.to_lowercase());
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.char_indices()
        .map(|(start, _)| start)
        .find_map(|start| {
            let rest = &text[start..];
            let length = rest
                .char_indices()
                .nth(chars)
                .map_or(rest.len(), |(at, _)| at);
            let whole = !is_word(text[..start].chars().next_back())
                && !is_word(rest[length..].chars().next());
            (whole && rest[..length].to_lowercase() == name).then_some((start, start + length))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painter(is_coloured: bool) -> Painter {
        let colours = match is_coloured {
            true => Colours::Many,
            false => Colours::None,
        };
        Painter {
            look: Look {
                colours,
                bell: true,
                ..Look::default()
            },
            me: Name::parse("Alex").unwrap(),
            zone: TimeZone::UTC,
        }
    }

    fn event(kind: Kind, sender: &str, text: &str) -> Event {
        Event {
            time: 5,
            seq: 1,
            kind,
            sender_id: 1,
            sender: sender.into(),
            text: text.into(),
            sent: 1,
            wall_ms: 3_600_000 * 14 + 60_000 * 5,
            to: None,
        }
    }

    #[test]
    fn an_event_has_its_lamport_time_in_a_column() {
        let p = painter(false);
        assert_eq!(
            p.event(&event(Kind::Message, "Aske", "hi"), None, false),
            "    L=5  Aske: hi\n"
        );
        assert_eq!(
            p.event(&event(Kind::Message, "Aske", "hi"), None, true),
            "   ~L=5  Aske: hi\n"
        );
        assert_eq!(
            p.event(&event(Kind::Message, "Aske", "/me waves"), None, false),
            "    L=5  * Aske waves\n"
        );
        assert_eq!(
            p.event(&event(Kind::Join, "Aske", "Participant …"), None, false),
            "    L=5  Aske joined\n"
        );
        let mut both = painter(false);
        both.look.clock = true;
        both.look.time = true;
        assert_eq!(
            both.event(&event(Kind::Message, "Aske", "hi"), Some(9), false),
            "14:05     L=5    me=9  Aske: hi\n"
        );
    }

    #[test]
    fn the_time_of_day_follows_summer_time() {
        let mut p = painter(false);
        p.zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // 2026-03-29: at 01:00 UTC two o'clock becomes three.
        let one_utc = 1_774_746_000_000;
        assert_eq!(p.time_of_day(one_utc - 1), "01:59 ");
        assert_eq!(p.time_of_day(one_utc), "03:00 ");
        assert_eq!(
            p.time_of_day(0),
            "      ",
            "from a server that tells no time"
        );
    }

    #[test]
    fn a_private_message_says_that_it_is_one() {
        let mut secret = event(Kind::Message, "Aske", "psst");
        secret.to = Some("Alex".into());
        assert_eq!(
            painter(false).event(&secret, None, false),
            "\x07    L=5  Aske to you (private): psst\n"
        );
        secret.sender = "Alex".into();
        secret.to = Some("Aske".into());
        assert_eq!(
            painter(false).event(&secret, None, false),
            "    L=5  you to Aske (private): psst\n"
        );
    }

    #[test]
    fn ones_own_name_rings_and_stands_out_as_a_word_of_its_own() {
        let painted =
            |text: &str| painter(true).event(&event(Kind::Message, "Aske", text), None, false);
        assert!(
            painted("hi ALEX!").contains("hi \x1b[0m\x1b[7mALEX")
                || painted("hi ALEX!").contains("hi \x1b[7mALEX\x1b[0m!")
        );
        assert!(painted("hi ALEX!").starts_with('\x07'));
        for other in ["Alexandra", "complexalex", "ale x", ""] {
            let line = painted(other);
            assert!(
                !line.contains("\x1b[7m") && !line.contains('\x07'),
                "{line:?}"
            );
        }
        let earlier = painter(true).event(&event(Kind::Message, "Aske", "Alex"), None, true);
        assert!(!earlier.contains('\x07'), "what is past does not ring");
    }

    #[test]
    fn nothing_of_others_acts_on_the_terminal() {
        for kind in [Kind::Message, Kind::Join, Kind::Leave, Kind::Refusal] {
            let evil = event(
                kind,
                "E\u{1b}[2Jv\u{202e}e",
                "\u{1b}]0;x\u{7} \u{9b}2J\r\nx\u{200b}",
            );
            let line = painter(false).event(&evil, None, true);
            assert!(
                !line
                    .trim_end_matches('\n')
                    .chars()
                    .any(crate::chat::is_deceptive),
                "{line:?}"
            );
        }
    }

    #[test]
    fn long_lines_break_between_words_and_hang_below_the_text() {
        let p = painter(false);
        let head = "    L=5  ";
        let body = vec![(
            Style::Normal,
            "one two three four five six seven".to_owned(),
        )];
        let out = p.wrapped(body, head, 34);
        assert_eq!(
            out,
            "    L=5  one two three four five\n         six seven\n"
        );
        let spans = ["one two three four fivexy ", "Alex", " six"];
        let spans = spans.map(|text| (Style::Normal, text.to_owned()));
        let out = p.wrapped(spans.into(), head, 34);
        assert_eq!(
            out, "    L=5  one two three four fivexy\n         Alex six\n",
            "the space in column 35 begins no row"
        );
        let wide = vec![(Style::Normal, "漢".repeat(20))];
        let out = p.wrapped(wide, head, 34);
        assert!(out.lines().all(|l| l.width() <= 34), "{out}");
        let family = "👨‍👩‍👧e\u{301}";
        let out = p.wrapped(vec![(Style::Normal, family.repeat(20))], head, 34);
        assert!(
            out.lines()
                .skip(1)
                .all(|l| l.trim_start().starts_with('👨') || l.trim_start().starts_with('e')),
            "{out}"
        );
        assert_eq!(padded("漢e\u{301}", 5), "漢e\u{301}  ");
    }

    #[test]
    fn a_crowd_is_one_line() {
        let all: Vec<_> = ["Ann", "Ben", "Cay", "Dag"]
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let mut e = event(Kind::Join, name, "");
                e.time += n as i64;
                (e, None, false)
            })
            .collect();
        assert_eq!(
            painter(false).crowd(&all),
            "L=5…8  Ann, Ben and 2 more joined\n".replace("L=5…8 ", "  L=5…8 ")
        );
    }
}
