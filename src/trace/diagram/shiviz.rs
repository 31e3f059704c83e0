//! A log for ShiViz, with vector clocks.
//!
//! ShiViz asks of each host that its own entry begins with 1 and rises by 1
//! from event to event. What is not drawn does not count, but what it carries
//! on does: a vector clock here is the number of drawn events of each host
//! that happened before, the event itself among them.

use std::collections::HashSet;
use std::fmt::Write;

use super::Drawn;
use super::label::label;
use super::picture::{Item, Picture};
use crate::trace::chain::{Successors, predecessors, sorted};
use crate::trace::line::What;
use crate::trace::log::Process;

/// The regular expression with which ShiViz reads what is written here.
pub const PARSER: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

/// Names that mean something to the language in which ShiViz is written.
const TAKEN: [&str; 12] = [
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// For each event the hosts that it knows of, with how many of their events.
type Clock = Vec<(u32, u32)>;

pub(super) fn draw(picture: &Picture<'_>) -> Drawn {
    let mut hosts = Hosts::default();
    let mut items: Vec<&Item> = picture.items.iter().collect();
    items.retain(|item| picture.trace.is_event(item.node));
    items.sort_by_key(|item| (item.row, item.column, item.node));
    let mut host_of = vec![None; picture.trace.log.entries.len()];
    for item in &items {
        host_of[item.node as usize] = Some(hosts.of(picture, item));
    }
    let clocks = clocks(picture, &host_of, items.len());
    let mut out = String::new();
    for item in items {
        let node = item.node as usize;
        let (Some(host), Some(clock)) = (host_of[node], &clocks[node]) else {
            continue;
        };
        let fields: serde_json::Map<_, _> = clock
            .iter()
            .map(|(host, count)| (hosts.names[*host as usize].clone(), (*count).into()))
            .collect();
        let clock = serde_json::Value::Object(fields);
        let name = &hosts.names[host as usize];
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name} {clock}\n{}", event(picture, item));
    }
    Drawn {
        text: out,
        left_out: picture.left_out.clone(),
    }
}

/// What is told of an event, on one line.
fn event(picture: &Picture<'_>, item: &Item) -> String {
    let entry = picture.entry(item);
    let time = picture.trace.time(item.node);
    let time = time.map_or_else(String::new, |time| format!("L={time} "));
    let what = match entry.what {
        _ if picture.is_server(item) => label(picture, item),
        What::Refused => format!("was refused, of L={}", entry.of),
        What::Deliver => format!("got L={}: {}", entry.of, label(picture, item)),
        _ => label(picture, item),
    };
    format!("{time}{what}")
}

/// The vector clocks of the drawn events, of which there are `drawn`.
fn clocks(picture: &Picture<'_>, host_of: &[Option<u32>], drawn: usize) -> Vec<Option<Clock>> {
    let trace = picture.trace;
    let mut clocks: Vec<Option<Clock>> = vec![None; host_of.len()];
    let mut done = 0;
    let (order, _) = sorted(trace, &Successors::of(trace));
    for node in order {
        if done == drawn {
            break;
        }
        let known = predecessors(trace, node).filter_map(|p| clocks[p as usize].as_ref());
        let mut clock = known.fold(Clock::new(), |a, b| joined(&a, b));
        if let Some(host) = host_of[node as usize] {
            done += 1;
            match clock.binary_search_by_key(&host, |(h, _)| *h) {
                Ok(at) => clock[at].1 += 1,
                Err(at) => clock.insert(at, (host, 1)),
            }
        }
        // What knows of nothing drawn carries nothing on.
        clocks[node as usize] = (!clock.is_empty()).then_some(clock);
    }
    clocks
}

/// The higher count of each host.
fn joined(a: &Clock, b: &Clock) -> Clock {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut out = Clock::with_capacity(a.len().max(b.len()));
    loop {
        match (a.peek(), b.peek()) {
            (Some((host_a, count_a)), Some((host_b, count_b))) if host_a == host_b => {
                out.push((*host_a, *count_a.max(count_b)));
                a.next();
                b.next();
            }
            (Some((host_a, _)), Some((host_b, _))) => {
                let lower = if host_a < host_b { &mut a } else { &mut b };
                out.extend(lower.next());
            }
            (Some(_), None) => out.extend(a.next()),
            (None, Some(_)) => out.extend(b.next()),
            (None, None) => return out,
        }
    }
}

/// The hosts: each room of the server, epoch by epoch, and each run of a
/// client.
#[derive(Default)]
struct Hosts {
    keys: Vec<(Process, u32)>,
    names: Vec<String>,
    taken: HashSet<String>,
}

impl Hosts {
    fn of(&mut self, picture: &Picture<'_>, item: &Item) -> u32 {
        let entry = picture.entry(item);
        let process = picture.columns[item.column].process;
        let part = match process {
            Process::Server => picture.epoch_of(item),
            Process::Client(_) => entry.run,
        };
        let key = (process, part);
        if let Some(at) = self.keys.iter().position(|known| *known == key) {
            return at as u32;
        }
        let name = &picture.columns[item.column].name;
        let plain = |c: char| {
            if c.is_alphanumeric() || "-.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).collect();
        let mut unique = name.clone();
        let mut number = 1;
        while TAKEN.contains(&unique.as_str()) || !self.taken.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
        self.keys.push(key);
        self.names.push(unique);
        self.keys.len() as u32 - 1
    }
}
