//! The log checker and the diagrams.

mod crowd;
mod random_runs;
mod simulation;
mod speed;

use chitchat::trace::check::Verdict;
use chitchat::trace::laws::Law;
use chitchat::trace::log::Log;
use chitchat::trace::order::Trace;

/// The laws that logs break, and the verdict in words.
fn verdict(logs: Vec<(String, String)>) -> (Vec<Law>, String) {
    let trace = Trace::new(Log::from_texts(logs).unwrap());
    let verdict = Verdict::of(&trace);
    (
        verdict.violations().map(|v| v.law).collect(),
        verdict.words(),
    )
}
