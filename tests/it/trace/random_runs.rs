//! Lawful runs pass, whatever happens in them and whatever of their logs is
//! lost; and what is done to one of their logs is found.

use super::simulation::{Random, logs};
use super::verdict;
use chitchat::trace::laws::Law;
use chitchat::trace::log::Log;

const SEEDS: u64 = 1_200;
const STEPS: usize = 1500;

type Logs = Vec<(String, String)>;

#[test]
fn lawful_runs_pass() {
    for seed in 0..SEEDS {
        let (broken, words) = verdict(logs(seed, STEPS));
        assert!(broken.is_empty(), "seed {seed}\n{words}");
    }
}

#[test]
fn lawful_runs_pass_though_logs_are_missing_begin_late_or_break_off() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut logs = logs(seed, STEPS);
        logs.retain(|_| random.below(4) > 0);
        for (_, text) in &mut logs {
            if random.below(4) == 0 {
                let lines = text.lines().count();
                let skipped = text.split_inclusive('\n').skip(random.below(lines + 1));
                *text = skipped.collect();
            }
            if random.below(2) == 0 {
                let end = random.below(text.len() + 1);
                *text = text.chars().take(end).collect();
            }
        }
        logs.retain(|log| Log::from_texts(vec![log.clone()]).is_ok());
        let (broken, words) = verdict(logs);
        assert!(broken.is_empty(), "seed {seed}\n{words}");
    }
}

/// A run's logs, one of which something was done to.
struct Spoilt {
    logs: Logs,
    law: Law,
}

/// The lines of one client's log, and pairs of deliveries that all see, one
/// after the other and between two more of the same visit, so that the
/// neighbours show what happened to them.
struct Picked {
    file: usize,
    lines: Vec<String>,
    pairs: Vec<(usize, usize)>,
}

fn pick(logs: &Logs, random: &mut Random) -> Option<Picked> {
    let file = (0..logs.len()).find(|_| random.below(logs.len()) == 0)?;
    let lines: Vec<String> = logs[file]
        .1
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    let is_numbered = |l: &str| l.contains("] DELIVER L=") && !l.contains(" seq=0 ");
    let ends = |l: &str| l.contains(" LOST ") || l.contains(" START ") || l.contains("kind=join ");
    let mut pairs = Vec::new();
    let mut run: Vec<usize> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if is_numbered(line) {
            run.push(at);
        } else if ends(line) {
            let inner = run.get(1..run.len().saturating_sub(1)).unwrap_or_default();
            pairs.extend(inner.windows(2).map(|pair| (pair[0], pair[1])));
            run.clear();
        }
    }
    (pairs.len() > 20).then_some(Picked { file, lines, pairs })
}

/// The Lamport time of a line.
fn time(line: &str) -> i64 {
    let (_, rest) = line.split_once(" L=").unwrap();
    rest.split([' ', ':']).next().unwrap().parse().unwrap()
}

fn with_time(line: &str, time: i64) -> String {
    let (head, rest) = line.split_once(" L=").unwrap();
    let end = rest.find([' ', ':']).unwrap();
    format!("{head} L={time}{}", &rest[end..])
}

fn spoil(seed: u64, how: fn(&mut Picked, usize) -> Law) -> Option<Spoilt> {
    let mut random = Random(seed ^ 0xabcd);
    let mut logs = logs(seed, STEPS);
    let mut picked = pick(&logs, &mut random)?;
    let at = random.below(picked.pairs.len());
    let law = how(&mut picked, at);
    logs[picked.file].1 = picked.lines.concat();
    Some(Spoilt { logs, law })
}

fn every_spoilt_run_fails(how: fn(&mut Picked, usize) -> Law) {
    let mut tried = 0;
    for seed in 0..SEEDS {
        let Some(Spoilt { logs, law }) = spoil(seed, how) else {
            continue;
        };
        let (broken, words) = verdict(logs);
        assert!(
            broken.contains(&law),
            "seed {seed}: {law:?} is not among {broken:?}\n{words}"
        );
        tried += 1;
    }
    assert!(
        tried > SEEDS / 5,
        "only {tried} runs had something to spoil"
    );
}

#[test]
fn two_deliveries_that_change_places_are_found() {
    every_spoilt_run_fails(|picked, at| {
        let (a, b) = picked.pairs[at];
        // The own times stay where they were: only the order tells.
        let (first, second) = (time(&picked.lines[a]), time(&picked.lines[b]));
        picked.lines.swap(a, b);
        picked.lines[a] = with_time(&picked.lines[a], first);
        picked.lines[b] = with_time(&picked.lines[b], second);
        Law::OneOrder
    });
}

#[test]
fn a_delivery_that_is_dropped_is_found() {
    every_spoilt_run_fails(|picked, at| {
        picked.lines.remove(picked.pairs[at].0);
        Law::NoGap
    });
}

#[test]
fn a_delivery_that_is_repeated_is_found() {
    every_spoilt_run_fails(|picked, at| {
        let line = picked.pairs[at].0;
        let again = with_time(&picked.lines[line], i64::MAX);
        picked.lines.insert(line + 1, again);
        Law::NoGap
    });
}

#[test]
fn a_time_that_is_lowered_is_found() {
    every_spoilt_run_fails(|picked, at| {
        let line = picked.pairs[at].0;
        let has_time = |l: &&String| l.contains(" L=");
        let before = picked.lines[..line].iter().rev().find(has_time).unwrap();
        picked.lines[line] = with_time(&picked.lines[line], time(before));
        Law::OwnTimes
    });
}
