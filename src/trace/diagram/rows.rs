//! On which row everything stands. Whatever happened before something else
//! stands higher, and apart from that as high as it can; only a send waits and
//! stands just above what came of it.

use std::collections::VecDeque;

use super::picture::Picture;
use crate::trace::line::What;

/// Gives every item its row and returns how many rows there are.
pub(super) fn assign(picture: &mut Picture<'_>) -> usize {
    let links = links(picture);
    let order = sorted(&links);
    let mut rows = vec![0usize; picture.items.len()];
    for &at in &order {
        for &after in &links.after[at] {
            rows[after] = rows[after].max(rows[at] + 1);
        }
    }
    for &at in order.iter().rev() {
        let what = picture.entry(&picture.items[at]).what;
        let waits = matches!(what, What::Send | What::Start);
        let latest = links.after[at].iter().map(|after| rows[*after]).min();
        if let Some(latest) = latest.filter(|_| waits) {
            rows[at] = rows[at].max(latest.saturating_sub(1));
        }
    }
    for (item, row) in picture.items.iter_mut().zip(&rows) {
        item.row = *row;
    }
    rows.iter().max().map_or(0, |last| last + 1)
}

/// What stands below what.
struct Links {
    after: Vec<Vec<usize>>,
    waits_for: Vec<usize>,
}

fn links(picture: &Picture<'_>) -> Links {
    let mut links = Links {
        after: vec![Vec::new(); picture.items.len()],
        waits_for: vec![0; picture.items.len()],
    };
    let mut add = |before: usize, after: usize| {
        links.after[before].push(after);
        links.waits_for[after] += 1;
    };
    for column in &picture.columns {
        for pair in column.items.windows(2) {
            add(pair[0], pair[1]);
        }
    }
    for (at, item) in picture.items.iter().enumerate() {
        if let Some(cause) = picture.cause_at(item) {
            add(cause, at);
        }
    }
    links
}

/// The items in an order that agrees with the links. Where logs contradict
/// themselves and links go around a circle, the first item there goes first
/// and the links that come back to it are dropped by whoever uses the order.
fn sorted(links: &Links) -> Vec<usize> {
    let mut waits_for = links.waits_for.clone();
    let mut is_placed = vec![false; waits_for.len()];
    let mut free: VecDeque<usize> = (0..waits_for.len())
        .filter(|i| waits_for[*i] == 0)
        .collect();
    let mut order = Vec::with_capacity(waits_for.len());
    let mut next_stuck = 0;
    loop {
        let Some(at) = free.pop_front() else {
            while next_stuck < is_placed.len() && is_placed[next_stuck] {
                next_stuck += 1;
            }
            if next_stuck == is_placed.len() {
                return order;
            }
            free.push_back(next_stuck);
            continue;
        };
        if std::mem::replace(&mut is_placed[at], true) {
            continue;
        }
        order.push(at);
        for &after in &links.after[at] {
            waits_for[after] = waits_for[after].saturating_sub(1);
            if waits_for[after] == 0 && !is_placed[after] {
                free.push_back(after);
            }
        }
    }
}
