//! A picture: SVG that needs nothing beside itself, for a screen in the light
//! or in the dark, and for paper.
//!
//! Where everything stands is decided in `layout`, how texts are cut and
//! written in `text`, what is said below the picture in `legend`.
//!
//! The server's line stands at the left edge of the processes and what it
//! stamped is told left of it, so that no arrow crosses a text. The time of a
//! client's event stands below its dot, on the side from which no arrow comes.

mod layout;
mod legend;
mod text;

use std::fmt::Write;

use super::Drawn;
use super::label::{is_private, is_refusal, label, line, process};
use super::picture::{Item, Picture};
use crate::chat::sanitise;
use crate::trace::line::What;
use crate::trace::log::Process;
use layout::{CROWD, EDGE, GAP, HEADER, Layout, TITLE};
use text::{BOLD_EM, LABEL_EM, STYLE, TITLE_EM, escaped, shortened, width, wrapped};

/// A picture that is no wider fits into a window, one that is no higher onto a
/// sheet of paper.
const WINDOW: f64 = 760.0;
const SHEET: f64 = 1_500.0;
const FIT_WINDOW: &str = "svg{max-width:100%;height:auto}\n";
const FIT_SHEET: &str = "@media print{svg{width:auto;max-width:100%;height:98vh}}\n";

/// In a larger picture an arrow does not repeat the line of what it leads to.
const MAX_TOLD_ARROWS: usize = 2_500;

/// Colours of the clients, which then come again.
const HUES: usize = 8;

pub(super) fn draw(picture: &Picture<'_>) -> Drawn {
    let layout = Layout::of(picture);
    let mut body = String::new();
    lifelines(picture, &layout, &mut body);
    // All arrows below all texts.
    let crowd = if picture.columns.len() - 1 > CROWD {
        " class=\"crowd\""
    } else {
        ""
    };
    let _ = writeln!(body, "<g{crowd}>");
    for item in &picture.items {
        arrow(picture, &layout, item, &mut body);
    }
    body.push_str("</g>\n");
    for item in &picture.items {
        dot(picture, &layout, item, &mut body);
    }
    let (legend, height) = legend::legend(picture, &layout);
    let width = layout.width;
    let title = title(picture);
    // A wide picture is not squeezed into a narrow window: it scrolls; a long
    // one is not squeezed onto one sheet.
    let mut fit = String::new();
    if width <= WINDOW {
        fit.push_str(FIT_WINDOW);
    }
    if height <= SHEET {
        fit.push_str(FIT_SHEET);
    }
    let text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}{fit}</style>\n\
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
    let title = format!("{} in space and time", sanitise(&rooms));
    escaped(&shortened(&title, 420.0, TITLE_EM))
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
            let _ = write!(
                pieces,
                "M{x:.1} {last:.1}V{:.1}",
                (last + layout.row).min(end)
            );
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

/// The arrow that ends in an item, or that leads nowhere.
fn arrow(picture: &Picture<'_>, layout: &Layout, item: &Item, out: &mut String) {
    let entry = picture.entry(item);
    let is_server = picture.is_server(item);
    let (x, y) = (layout.x(item.column), layout.y(item.row));
    let (from, hue, class) = if let Some(cause) = picture.cause(item) {
        let class = match entry.what {
            What::Refused if !is_server => " refused",
            _ if is_private(entry) => " private",
            _ if entry.replayed => " replayed",
            _ => "",
        };
        let hue = author(picture, if is_server { item } else { cause });
        ((layout.x(cause.column), layout.y(cause.row)), hue, class)
    } else if picture.is_lost(item) {
        let hue = author(picture, item);
        let to = (x - layout.column * 0.4, y + layout.row * 0.45);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<path class=\"arrow {hue}\" d=\"M{:.1} {y:.1}L{:.1} {:.1}\"/>",
            x - 4.5,
            to.0,
            to.1
        );
        return cross(out, to.0, to.1);
    } else {
        return;
    };
    let side = if from.0 < x { 4.5 } else { -4.5 };
    let told = match picture.items.len() {
        0..=MAX_TOLD_ARROWS => format!("<title>{}</title>", escaped(&line(picture, item))),
        _ => String::new(),
    };
    let head = head((x - side, y), from);
    let _ = writeln!(
        out,
        "<g class=\"{hue}\">{told}<path class=\"arrow{class}\" d=\"M{:.1} {:.1}L{:.1} {y:.1}\"/><path class=\"head{class}\" d=\"{head}\"/></g>",
        from.0 + side,
        from.1,
        x - side
    );
}

/// An item, and what is written beside it.
fn dot(picture: &Picture<'_>, layout: &Layout, item: &Item, out: &mut String) {
    let entry = picture.entry(item);
    let (x, y) = (layout.x(item.column), layout.y(item.row));
    let is_server = picture.is_server(item);
    let hue = author(picture, item);
    let _ = write!(
        out,
        "<g class=\"{hue}\"><title>{}</title>",
        escaped(&line(picture, item))
    );
    match entry.what {
        What::Lost | What::Cut => cross(out, x, y),
        What::Start | What::Stop => {
            let (left, right) = (x - 6.0, x + 6.0);
            let _ = write!(
                out,
                "<path class=\"bar\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"
            );
        }
        What::Refused if is_server => {
            let _ = write!(
                out,
                "<circle class=\"no\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\"/>"
            );
        }
        _ => {
            let _ = write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>");
        }
    }
    let is_event = picture.trace.is_event(item.node);
    let time = picture.trace.time(item.node).filter(|_| is_event);
    if is_server {
        server_label(picture, layout, item, time, out);
    } else if let Some(time) = time {
        let (x, y) = (x + 5.5, y + 11.0);
        let _ = write!(
            out,
            "<text class=\"own\" x=\"{x:.1}\" y=\"{y:.1}\">{time}</text>"
        );
    }
    out.push_str("</g>\n");
}

/// An arrow's head, its point at `to`: drawn, since markers do not take an
/// arrow's colour everywhere.
fn head(to: (f64, f64), from: (f64, f64)) -> String {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let (dx, dy) = (dx / length, dy / length);
    let (back_x, back_y) = (to.0 - 7.0 * dx, to.1 - 7.0 * dy);
    format!(
        "M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z",
        to.0,
        to.1,
        back_x - 2.8 * dy,
        back_y + 2.8 * dx,
        back_x + 2.8 * dy,
        back_y - 2.8 * dx
    )
}

fn cross(out: &mut String, x: f64, y: f64) {
    let (l, r, t, b) = (x - 3.8, x + 3.8, y - 3.8, y + 3.8);
    let _ = writeln!(
        out,
        "<path class=\"mark\" d=\"M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}\"/>"
    );
}

/// What the server stamped, left of its line.
fn server_label(
    picture: &Picture<'_>,
    layout: &Layout,
    item: &Item,
    time: Option<i64>,
    out: &mut String,
) {
    let entry = picture.entry(item);
    let (x, y) = (layout.x(0), layout.y(item.row) + 4.0);
    let right = x - 2.0 * GAP;
    let mut class = "what aside";
    if let Some(time) = time {
        class = "what";
        let _ = write!(
            out,
            "<text class=\"time\" x=\"{right:.1}\" y=\"{y:.1}\">L={time}</text>"
        );
    }
    if is_refusal(entry) {
        class = "what refusal";
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
