//! The log checker and the diagrams.

mod crowd;
mod diagrams;
mod garbage;
mod hand_made;
mod looks_broken;
mod program;
mod random_runs;
mod servers;
mod simulation;
mod speed;

use std::path::{Path, PathBuf};

use chitchat::trace::check::Verdict;
use chitchat::trace::laws::Law;
use chitchat::trace::log::Log;
use chitchat::trace::order::Trace;

/// The laws that logs break, and the verdict in words.
fn verdict(logs: Vec<(String, String)>) -> (Vec<Law>, String) {
    let trace = Trace::new(Log::from_texts(logs).unwrap());
    let verdict = Verdict::of(&trace);
    let laws = verdict.violations().map(|v| v.law).collect();
    (laws, verdict.words())
}

/// The logs in a folder of `tests/logs`, by name.
fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/logs").join(name);
    let files = std::fs::read_dir(&folder).unwrap();
    let mut logs: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    logs.sort();
    assert!(!logs.is_empty(), "{}", folder.display());
    logs
}

/// The same, read.
fn trace(name: &str) -> Trace {
    Trace::read(&folder(name)).unwrap()
}
