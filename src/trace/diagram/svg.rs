//! A picture: SVG that needs nothing beside itself, for a screen in the light
//! or in the dark, and for paper.
//!
//! The server's line stands at the left edge of the processes and what it
//! stamped is told left of it, so that no arrow crosses a text. The time of a
//! client's event stands below its dot, on the side from which no arrow comes.

use std::fmt::Write;

use super::Drawn;
use super::label::{is_private, is_refusal, label, line, process};
use super::picture::{Item, Picture};
use super::svg_parts::{
    BOLD_EM, HOW_TO_READ, LABEL_EM, SIGNS, STYLE, TIME_EM, escaped, shortened, width, wrapped,
};
use crate::trace::line::What;
use crate::trace::log::Process;

/// Lengths, in pixels.
const ROW: f64 = 17.0;
const EDGE: f64 = 16.0;
const TITLE: f64 = 46.0;
const HEADER: f64 = 40.0;
const MAX_LABEL: f64 = 196.0;
const MIN_COLUMN: f64 = 62.0;
const MAX_COLUMN: f64 = 128.0;
const GAP: f64 = 7.0;

/// After so many rows the names are written again.
const NAMES_EVERY: usize = 56;

/// Colours of the clients, which then come again.
const HUES: usize = 8;

/// Where everything is.
struct Layout {
    labels: f64,
    times: f64,
    column: f64,
    width: f64,
    rows: usize,
}

impl Layout {
    fn of(picture: &Picture<'_>) -> Self {
        let server = picture.columns[0]
            .items
            .iter()
            .map(|at| &picture.items[*at]);
        let (mut labels, mut times) = (60.0f64, 20.0f64);
        for item in server {
            labels = labels.max(width(&label(picture, item), LABEL_EM));
            if let Some(time) = picture.trace.time(item.node) {
                times = times.max(width(&format!("L={time}"), BOLD_EM));
            }
        }
        let clients = 1..picture.columns.len();
        let many = clients.len() > 8;
        let names = clients.map(|c| width(&process(picture, c), BOLD_EM) + 26.0);
        let own = picture.items.iter().filter(|item| item.column > 0);
        let own = own.filter_map(|item| picture.trace.time(item.node));
        let own = own.map(|time| width(&time.to_string(), TIME_EM) + 26.0);
        let least = if many { MIN_COLUMN } else { 92.0 };
        let column = names
            .fold(least, f64::max)
            .min(if many { 84.0 } else { MAX_COLUMN });
        let column = own.fold(column, f64::max);
        let labels = labels.min(MAX_LABEL);
        let server_x = EDGE + labels + GAP + times + 2.0 * GAP;
        let columns = picture.columns.len().saturating_sub(1) as f64;
        Self {
            labels,
            times,
            column,
            width: (server_x + column * (columns + 0.5) + EDGE).max(460.0),
            rows: picture.rows,
        }
    }

    fn x(&self, column: usize) -> f64 {
        let server = EDGE + self.labels + GAP + self.times + 2.0 * GAP;
        server + self.column * column as f64
    }

    /// Names stand above every so many rows; they need two rows.
    fn bands(&self) -> usize {
        self.rows.saturating_sub(NAMES_EVERY / 2) / NAMES_EVERY
    }

    fn y(&self, row: usize) -> f64 {
        let bands = (row / NAMES_EVERY).min(self.bands());
        TITLE + HEADER + ROW * (row as f64 + 0.5) + 2.0 * ROW * bands as f64
    }

    fn band_y(&self, band: usize) -> f64 {
        self.y(band * NAMES_EVERY) - 1.5 * ROW
    }

    fn end(&self) -> f64 {
        self.y(self.rows.saturating_sub(1)) + ROW
    }
}

pub(super) fn draw(picture: &Picture<'_>) -> Drawn {
    let layout = Layout::of(picture);
    let mut body = String::new();
    lifelines(picture, &layout, &mut body);
    for item in &picture.items {
        body.push_str(&drawn_item(picture, &layout, item));
    }
    let (legend, height) = legend(picture, &layout);
    let width = layout.width;
    let title = title(picture);
    // A wide picture is not squeezed into a narrow window: it scrolls.
    let fit = if width <= 760.0 {
        " style=\"max-width:100%;height:auto\""
    } else {
        ""
    };
    let text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\"{fit}>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"{EDGE}\" y=\"26\">{title}</text>\n{body}{legend}</svg>\n",
    );
    Drawn {
        text,
        left_out: picture.left_out.clone(),
    }
}

/// Which rooms it shows.
fn title(picture: &Picture<'_>) -> String {
    let names = &picture.trace.log.names;
    let mut rooms: Vec<&str> = Vec::new();
    for at in &picture.columns[0].items {
        let room = names.text(picture.entry(&picture.items[*at]).room);
        if !room.is_empty() && !rooms.contains(&room) && rooms.len() < 4 {
            rooms.push(room);
        }
    }
    let rooms = if rooms.is_empty() {
        "Chit Chat".to_owned()
    } else {
        rooms.join(", ")
    };
    escaped(&shortened(
        &format!("{rooms} in space and time"),
        420.0,
        8.6,
    ))
}

/// The processes' lines and names.
fn lifelines(picture: &Picture<'_>, layout: &Layout, out: &mut String) {
    let end = layout.end();
    for (at, column) in picture.columns.iter().enumerate() {
        let x = layout.x(at);
        let hue = hue(picture, at);
        let items = column.items.iter().map(|i| &picture.items[*i]);
        let first = items
            .clone()
            .next()
            .map_or(TITLE + HEADER, |i| layout.y(i.row));
        let last = items.clone().next_back().map_or(first, |i| layout.y(i.row));
        let top = TITLE + HEADER;
        let _ = writeln!(
            out,
            "<path class=\"absent\" d=\"M{x:.1} {top:.1}V{end:.1}\"/>"
        );
        let mut from = first;
        let mut is_here = true;
        // A lost connection is a broken line until something happens again.
        let mut pieces = String::new();
        for item in items {
            let y = layout.y(item.row);
            let what = picture.entry(item).what;
            if is_here && y > from {
                let _ = write!(pieces, "M{x:.1} {from:.1}V{y:.1}");
            }
            is_here = at == 0 || !matches!(what, What::Lost | What::Stop);
            from = y;
        }
        let is_stopped = !is_here;
        if !is_stopped {
            // Nobody says that it ended.
            let _ = write!(pieces, "M{x:.1} {last:.1}V{:.1}", (last + ROW).min(end));
        }
        let _ = writeln!(out, "<path class=\"life {hue}\" d=\"{pieces}\"/>");
        let name = process(picture, at);
        let shown = escaped(&shortened(&name, layout.column - 22.0, BOLD_EM));
        let name = escaped(&name);
        let box_width = (width(&name, BOLD_EM) + 16.0).clamp(44.0, layout.column - 6.0);
        for y in [TITLE + HEADER / 2.0 - 6.0, end + 14.0] {
            let left = x - box_width / 2.0;
            let top = y - 11.0;
            let _ = writeln!(
                out,
                "<g class=\"name {hue}\"><title>{name}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{box_width:.1}\" height=\"22\" rx=\"6\"/><text x=\"{x:.1}\" y=\"{:.1}\">{shown}</text></g>",
                y + 4.0
            );
        }
        for band in 1..=layout.bands() {
            let y = layout.band_y(band) + 4.0;
            let _ = writeln!(
                out,
                "<text class=\"again {hue}\" x=\"{x:.1}\" y=\"{y:.1}\">{shown}</text>"
            );
        }
    }
}

fn hue(picture: &Picture<'_>, column: usize) -> String {
    match picture.columns[column].process {
        Process::Server => "server".to_owned(),
        Process::Client(_) => format!("h{}", (column - 1) % HUES),
    }
}

/// The column of whoever an item is about.
fn author(picture: &Picture<'_>, item: &Item) -> String {
    let names = &picture.trace.log.names;
    let who = picture.entry(item).who;
    let is_author =
        |process: Process| matches!(process, Process::Client(name) if names.same(name, who));
    let mut columns = 1..picture.columns.len();
    let column = match picture.is_server(item) {
        true => columns.find(|c| is_author(picture.columns[*c].process)),
        false => Some(item.column),
    };
    column.map_or("server".to_owned(), |c| hue(picture, c))
}

/// An item with the arrow that ends in it.
fn drawn_item(picture: &Picture<'_>, layout: &Layout, item: &Item) -> String {
    let entry = picture.entry(item);
    let (x, y) = (layout.x(item.column), layout.y(item.row));
    let is_server = picture.is_server(item);
    let mut out = format!("<g><title>{}</title>", escaped(&line(picture, item)));
    // Writing to a String cannot fail.
    if let Some(cause) = picture.cause(item) {
        let class = match entry.what {
            What::Refused if !is_server => " refused",
            _ if is_private(entry) => " private",
            _ if entry.replayed => " replayed",
            _ => "",
        };
        let hue = author(picture, if is_server { item } else { cause });
        let (from_x, from_y) = (layout.x(cause.column), layout.y(cause.row));
        let side = if from_x < x { 4.5 } else { -4.5 };
        let _ = write!(
            out,
            "<path class=\"arrow {hue}{class}\" d=\"M{:.1} {from_y:.1}L{:.1} {y:.1}\"/>",
            from_x + side,
            x - side
        );
        let _ = write!(out, "{}", head(x - side, y, (from_x, from_y), &hue, class));
    }
    let hue = match is_server {
        true => author(picture, item),
        false => hue(picture, item.column),
    };
    match entry.what {
        What::Lost => cross(&mut out, x, y, "mark"),
        What::Cut => cross(&mut out, x, y, "mark"),
        What::Start | What::Stop => {
            let _ = write!(
                out,
                "<path class=\"bar\" d=\"M{:.1} {y:.1}H{:.1}\"/>",
                x - 6.0,
                x + 6.0
            );
        }
        What::Refused if is_server => {
            let _ = write!(
                out,
                "<circle class=\"dot no\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\"/>"
            );
        }
        _ => {
            let _ = write!(
                out,
                "<circle class=\"dot {hue}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>"
            );
        }
    }
    if picture.is_lost(item) {
        let (to_x, to_y) = (x - layout.column * 0.4, y + ROW * 0.45);
        let _ = write!(
            out,
            "<path class=\"arrow {hue} replayed\" d=\"M{:.1} {y:.1}L{to_x:.1} {to_y:.1}\"/>",
            x - 4.5
        );
        cross(&mut out, to_x, to_y, "mark");
    }
    if is_server {
        server_label(picture, layout, item, &mut out);
    } else if let Some(time) = picture
        .trace
        .time(item.node)
        .filter(|_| picture.trace.is_event(item.node))
    {
        let _ = write!(
            out,
            "<text class=\"own\" x=\"{:.1}\" y=\"{:.1}\">{time}</text>",
            x + 5.5,
            y + 11.0
        );
    }
    out.push_str("</g>\n");
    out
}

/// An arrow's head: drawn, since markers do not take an arrow's colour
/// everywhere.
fn head(x: f64, y: f64, from: (f64, f64), hue: &str, class: &str) -> String {
    let (dx, dy) = (x - from.0, y - from.1);
    let length = dx.hypot(dy).max(1.0);
    let (dx, dy) = (dx / length, dy / length);
    let (back_x, back_y) = (x - 7.0 * dx, y - 7.0 * dy);
    format!(
        "<path class=\"head {hue}{class}\" d=\"M{x:.1} {y:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>",
        back_x - 2.8 * dy,
        back_y + 2.8 * dx,
        back_x + 2.8 * dy,
        back_y - 2.8 * dx
    )
}

fn cross(out: &mut String, x: f64, y: f64, class: &str) {
    let (l, r, t, b) = (x - 3.8, x + 3.8, y - 3.8, y + 3.8);
    let _ = write!(
        out,
        "<path class=\"{class}\" d=\"M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}\"/>"
    );
}

/// What the server stamped, left of its line.
fn server_label(picture: &Picture<'_>, layout: &Layout, item: &Item, out: &mut String) {
    let entry = picture.entry(item);
    let (x, y) = (layout.x(0), layout.y(item.row) + 4.0);
    let right = x - 2.0 * GAP;
    let mut class = "what";
    if let Some(time) = entry.time.filter(|_| picture.trace.is_event(item.node)) {
        let _ = write!(
            out,
            "<text class=\"time\" x=\"{right:.1}\" y=\"{y:.1}\">L={time}</text>"
        );
    } else {
        class = "what aside";
    }
    if is_refusal(entry) {
        class = "what no";
    }
    let right = right - layout.times - GAP;
    let room = layout.labels;
    let text = label(picture, item);
    let next = picture.columns[0]
        .items
        .iter()
        .map(|at| picture.items[*at].row);
    let next = next.filter(|row| *row > item.row).min();
    let lines = match next {
        Some(next) if next - item.row < 2 => vec![shortened(&text, room, LABEL_EM)],
        _ => wrapped(&text, room, LABEL_EM),
    };
    for (at, words) in lines.iter().enumerate() {
        let y = y + 13.0 * at as f64;
        let _ = write!(
            out,
            "<text class=\"{class}\" x=\"{right:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(words)
        );
    }
}

/// What the signs mean, and what was left out. Returns the picture's height
/// too.
fn legend(picture: &Picture<'_>, layout: &Layout) -> (String, f64) {
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
            "mark" => cross(&mut signs, x + 13.0, middle, "mark"),
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
        say("legend no", EDGE, y, &text);
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
