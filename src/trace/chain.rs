//! Walks through happened-before: an order of all events that agrees with it,
//! and the shortest chain from one event to another.

use std::collections::{HashMap, VecDeque};

use super::order::{NONE, Trace};

/// The direct successors of every event.
pub struct Successors {
    from: Vec<u32>,
    to: Vec<u32>,
}

impl Successors {
    /// Turns the links to predecessors around.
    pub fn of(trace: &Trace) -> Self {
        let nodes = trace.log.entries.len();
        let mut from = vec![0u32; nodes + 1];
        let links = || {
            let own = |node: usize| predecessors(trace, node as u32).map(move |p| (p, node as u32));
            (0..nodes).flat_map(own)
        };
        for (before, _) in links() {
            from[before as usize + 1] += 1;
        }
        for node in 0..nodes {
            from[node + 1] += from[node];
        }
        let mut next = from.clone();
        let mut to = vec![NONE; from[nodes] as usize];
        for (before, after) in links() {
            let at = &mut next[before as usize];
            to[*at as usize] = after;
            *at += 1;
        }
        Self { from, to }
    }

    /// The direct successors of an event.
    pub fn after(&self, node: u32) -> &[u32] {
        let at = node as usize;
        &self.to[self.from[at] as usize..self.from[at + 1] as usize]
    }
}

/// The direct predecessors of an event: none, one or two.
pub fn predecessors(trace: &Trace, node: u32) -> impl Iterator<Item = u32> + use<> {
    let (previous, cause) = (trace.previous[node as usize], trace.cause[node as usize]);
    [previous, cause].into_iter().filter(|p| *p != NONE)
}

/// All events in an order that agrees with happened-before. What is left over
/// lies on a circle, or behind one: no lawful logs have any.
pub fn sorted(trace: &Trace, successors: &Successors) -> (Vec<u32>, Vec<u32>) {
    let nodes = trace.log.entries.len() as u32;
    let mut waits_for: Vec<u8> = (0..nodes)
        .map(|node| predecessors(trace, node).count() as u8)
        .collect();
    let is_free = |node: &u32| waits_for[*node as usize] == 0 && trace.is_event(*node);
    let mut order: Vec<u32> = (0..nodes).filter(is_free).collect();
    let mut at = 0;
    while let Some(&node) = order.get(at) {
        at += 1;
        for &after in successors.after(node) {
            waits_for[after as usize] -= 1;
            if waits_for[after as usize] == 0 {
                order.push(after);
            }
        }
    }
    let left_over = (0..nodes).filter(|n| waits_for[*n as usize] > 0).collect();
    (order, left_over)
}

/// The shortest chain of direct successions from one event to another, both
/// among it; `None`: there is none, or it is not found among the `most` events
/// that are nearest. From an event to itself it goes around a circle.
pub fn shortest(trace: &Trace, from: u32, to: u32, most: usize) -> Option<Vec<u32>> {
    let mut next: HashMap<u32, u32> = HashMap::new();
    let mut waiting = VecDeque::from([to]);
    while let Some(node) = waiting.pop_front().filter(|_| next.len() <= most) {
        for before in predecessors(trace, node) {
            if before != from && before == to {
                continue;
            }
            if next.contains_key(&before) {
                continue;
            }
            next.insert(before, node);
            if before == from {
                let mut chain = vec![from];
                let mut at = node;
                while at != to {
                    chain.push(at);
                    at = next[&at];
                }
                chain.push(to);
                return Some(chain);
            }
            waiting.push_back(before);
        }
    }
    None
}
