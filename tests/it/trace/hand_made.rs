//! Logs that were made by hand: a lawful conversation, and one for each way to
//! break a law.

use super::{folder, trace};
use chitchat::trace::check::Verdict;
use chitchat::trace::laws::Law;

/// What is broken in each folder of `tests/logs/broken`, and where it shows.
const BROKEN: [(&str, Law, &[&str]); 36] = [
    (
        "a-clock-stands-still",
        Law::OwnTimes,
        &["alex.log:4", "alex.log:5"],
    ),
    (
        "a-room-goes-back",
        Law::OwnTimes,
        &["server.log:11", "server.log:13"],
    ),
    (
        "received-before-it-was-sent",
        Law::ClockCondition,
        &["server.log:5", "bob.log:5"],
    ),
    ("two-orders", Law::OneOrder, &["carol.log:4", "carol.log:5"]),
    (
        "a-number-is-missing",
        Law::NoGap,
        &["carol.log:4", "server.log:6", "carol.log:6"],
    ),
    (
        "a-number-is-left-out",
        Law::NoGap,
        &["server.log:6", "server.log:9"],
    ),
    (
        "delivered-twice",
        Law::NoGap,
        &["carol.log:5", "carol.log:6"],
    ),
    (
        "stamped-twice",
        Law::NoGap,
        &["server.log:11", "server.log:12"],
    ),
    (
        "an-outbox-has-another-order",
        Law::OneOrder,
        &["server.log:7", "server.log:8"],
    ),
    (
        "an-outbox-lacks-a-number",
        Law::NoGap,
        &["server.log:7", "server.log:12"],
    ),
    (
        "put-into-the-outbox-of-one-who-left",
        Law::JoinedAndLeft,
        &["server.log:10", "server.log:12"],
    ),
    ("from-nowhere", Law::NothingFromNowhere, &["carol.log:6"]),
    (
        "altered-on-its-way",
        Law::NothingFromNowhere,
        &["server.log:6", "carol.log:5"],
    ),
    ("never-sent", Law::NothingFromNowhere, &["server.log:6"]),
    (
        "joined-twice",
        Law::JoinedAndLeft,
        &["server.log:3", "server.log:12"],
    ),
    (
        "left-twice",
        Law::JoinedAndLeft,
        &["server.log:10", "server.log:12"],
    ),
    (
        "told-before-joining",
        Law::JoinedAndLeft,
        &["bob.log:2", "bob.log:3"],
    ),
    (
        "told-of-its-own-leaving",
        Law::JoinedAndLeft,
        &["server.log:10", "alex.log:15"],
    ),
    (
        "a-refusal-reaches-another",
        Law::ForWhom,
        &["server.log:7", "bob.log:8"],
    ),
    (
        "a-refusal-is-lost",
        Law::ForWhom,
        &["server.log:7", "alex.log:11"],
    ),
    (
        "a-refusal-goes-into-the-wrong-outbox",
        Law::ForWhom,
        &["server.log:7", "server.log:9"],
    ),
    (
        "a-private-message-reaches-a-third",
        Law::ForWhom,
        &["server.log:8", "carol.log:6"],
    ),
    (
        "a-private-message-is-published",
        Law::ForWhom,
        &["alex.log:11", "server.log:8"],
    ),
    (
        "an-outbox-lacks-a-private-message",
        Law::ForWhom,
        &["server.log:9", "server.log:11"],
    ),
    (
        "put-and-never-stamped",
        Law::NothingFromNowhere,
        &["server.log:10"],
    ),
    (
        "told-under-another-id",
        Law::NothingFromNowhere,
        &["server.log:5", "carol.log:4"],
    ),
    (
        "words-are-altered-on-their-way",
        Law::NothingFromNowhere,
        &["server.log:6", "carol.log:5"],
    ),
    (
        "words-are-altered-by-the-server",
        Law::NothingFromNowhere,
        &["bob.log:11", "server.log:11"],
    ),
    (
        "sent-and-never-stamped",
        Law::NoGap,
        &["alex.log:8", "server.log:7"],
    ),
    (
        "stamped-in-another-order-than-sent",
        Law::OneOrder,
        &["server.log:12", "server.log:11"],
    ),
    (
        "the-last-number-is-missing",
        Law::NoGap,
        &["alex.log:8", "server.log:10"],
    ),
    (
        "the-last-private-message-is-lost",
        Law::ForWhom,
        &["server.log:8", "server.log:9"],
    ),
    (
        "received-before-and-never-stamped",
        Law::NoGap,
        &["server.log:7"],
    ),
    (
        "a-server-skips-an-event",
        Law::NoGap,
        &["server.log:8", "other.log:8"],
    ),
    (
        "a-server-tells-twice",
        Law::OwnTimes,
        &["server.log:8", "server.log:9"],
    ),
    (
        "let-in-by-another-event",
        Law::NothingFromNowhere,
        &["server.log:4", "carol.log:3"],
    ),
];

#[test]
fn each_broken_law_is_called_by_its_name_with_the_lines_that_show_it() {
    for (name, law, lines) in BROKEN {
        let trace = trace(&format!("broken/{name}"));
        let verdict = Verdict::of(&trace);
        let words = verdict.words();
        let violation = verdict.violations().find(|v| v.law == law);
        let violation = violation.unwrap_or_else(|| panic!("{name}: {law:?}\n{words}"));
        let entries = violation
            .lines
            .iter()
            .map(|i| &trace.log.entries[*i as usize]);
        let places: Vec<_> = entries.map(|e| trace.log.place(e)).collect();
        let prefix = format!("tests/logs/broken/{name}/");
        let places: Vec<_> = places
            .iter()
            .filter_map(|p| p.strip_prefix(&prefix))
            .collect();
        assert_eq!(places, lines, "{name}\n{words}");
        assert!(
            words.contains(&format!("violated: {}\n", law.name())),
            "{words}"
        );
    }
}

#[test]
fn every_law_has_logs_that_break_it_and_every_such_log_is_named_here() {
    for law in Law::ALL {
        assert!(
            BROKEN.iter().any(|(_, broken, _)| *broken == law),
            "{law:?}"
        );
    }
    let folders = folder("broken");
    let named = |path: &&std::path::PathBuf| BROKEN.iter().any(|(name, ..)| path.ends_with(name));
    assert_eq!(folders.iter().filter(named).count(), folders.len());
    assert_eq!(folders.len(), BROKEN.len());
}

#[test]
fn a_lawful_conversation_breaks_none() {
    for name in ["lawful", "lamport"] {
        let trace = trace(name);
        let verdict = Verdict::of(&trace);
        assert!(verdict.holds(), "{}", verdict.words());
        assert!(
            !verdict.words().contains("not judged"),
            "{}",
            verdict.words()
        );
        assert!(!verdict.words().contains("missing"), "{}", verdict.words());
    }
}

#[test]
fn the_original_s_clients_break_the_clock_condition_as_their_authors_say() {
    let trace = trace("report");
    let verdict = Verdict::of(&trace);
    let laws: Vec<_> = verdict.violations().map(|v| v.law).collect();
    assert_eq!(laws, [Law::ClockCondition], "{}", verdict.words());
    // The server's JOIN at L=1 reached Alex, who then sent with L=1 again.
    let words = verdict.words();
    assert!(words.contains("L=1 happened before L=1"), "{words}");
    let lines = ["server.log:2", "alex.log:3", "alex.log:4"];
    let mut rest = words.as_str();
    for line in lines {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line}\n{words}"));
        rest = &rest[at..];
    }
}

#[test]
fn what_is_missing_is_said() {
    let mut logs = folder("lawful");
    logs.retain(|path| path.ends_with("bob.log"));
    let trace = chitchat::trace::order::Trace::read(&logs).unwrap();
    let words = Verdict::of(&trace).words();
    assert!(words.contains("missing: the server's log"), "{words}");
    assert!(
        words.contains("missing: the logs of Alex, Carol"),
        "{words}"
    );
}
