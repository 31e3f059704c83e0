//! Where everything in the picture stands, in pixels.

use super::text::{BOLD_EM, LABEL_EM, TIME_EM, width};
use crate::trace::diagram::label::{label, process};
use crate::trace::diagram::picture::Picture;

/// The height of a row, and of one in a crowd.
const ROW: f64 = 17.0;
const CROWDED_ROW: f64 = 21.0;
/// What is left free around the picture.
pub(super) const EDGE: f64 = 16.0;
/// The height of the title, and of the names below it.
pub(super) const TITLE: f64 = 46.0;
pub(super) const HEADER: f64 = 40.0;
/// The widest label, the narrowest and the widest column.
const MAX_LABEL: f64 = 196.0;
const MIN_COLUMN: f64 = 62.0;
const MAX_COLUMN: f64 = 128.0;
/// What is left free between two texts.
pub(super) const GAP: f64 = 7.0;

/// After so many rows the names are written again.
const NAMES_EVERY: usize = 56;

/// With more clients than this the picture is drawn more lightly.
pub(super) const CROWD: usize = 8;

/// Where everything is.
pub(super) struct Layout {
    /// The width of the labels, and of the times beside them.
    pub(super) labels: f64,
    pub(super) times: f64,
    /// From one process to the next.
    pub(super) column: f64,
    /// Of the whole picture.
    pub(super) width: f64,
    /// From one row to the next.
    pub(super) row: f64,
    rows: usize,
}

impl Layout {
    pub(super) fn of(picture: &Picture<'_>) -> Self {
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
        let many = clients.len() > CROWD;
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
            row: if many { CROWDED_ROW } else { ROW },
            rows: picture.rows,
        }
    }

    pub(super) fn x(&self, column: usize) -> f64 {
        let server = EDGE + self.labels + GAP + self.times + 2.0 * GAP;
        server + self.column * column as f64
    }

    /// Names stand above every so many rows; they need two rows.
    pub(super) fn bands(&self) -> usize {
        self.rows.saturating_sub(NAMES_EVERY / 2) / NAMES_EVERY
    }

    pub(super) fn y(&self, row: usize) -> f64 {
        let bands = (row / NAMES_EVERY).min(self.bands());
        TITLE + HEADER + self.row * (row as f64 + 0.5 + 2.0 * bands as f64)
    }

    pub(super) fn band_y(&self, band: usize) -> f64 {
        self.y(band * NAMES_EVERY) - 1.5 * self.row
    }

    pub(super) fn end(&self) -> f64 {
        self.y(self.rows.saturating_sub(1)) + self.row
    }
}
