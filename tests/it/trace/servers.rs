//! What several servers tell that share their rooms.

use super::verdict;
use chitchat::trace::before::{Relation, find, relation};
use chitchat::trace::diagram::{Choice, Format, draw};
use chitchat::trace::laws::Law;
use chitchat::trace::log::Log;
use chitchat::trace::order::Trace;

const SERVER: &str = "\
START log=a
JOIN L=2 seq=1 room=r who=Alex sent=1
MESSAGE L=4 seq=2 room=r who=Alex sent=3
REFUSED L=6 room=r who=Alex sent=5
MESSAGE L=8 seq=3 room=r who=Alex sent=7
MESSAGE L=10 room=r who=Alex to=Alex sent=9
MESSAGE L=12 seq=4 room=r who=Alex sent=11
LEAVE L=14 seq=5 room=r who=Alex sent=13
STOP";

const ALEX: &str = "\
START L=0
SEND L=1 kind=join room=r
DELIVER L=3 of=2 room=r seq=1 kind=join who=Alex sent=1 replayed=0
SEND L=5 kind=message room=r";

/// A file: its lines with their beginnings, as they come at that second.
fn file(name: &str, process: &str, second: usize, lines: &[&str]) -> (String, String) {
    let line = |line: &&str| format!("2026-01-02T03:04:{second:02}Z INFO  [{process}] {line}: x\n");
    (name.to_owned(), lines.iter().map(line).collect())
}

fn server(name: &str, second: usize, lines: &[&str]) -> (String, String) {
    file(name, "Server", second, lines)
}

#[test]
fn an_event_is_meant_by_the_line_of_whichever_server() {
    let lines: Vec<_> = SERVER.lines().collect();
    let alex: Vec<_> = ALEX.lines().collect();
    let trace = Trace::new(
        Log::from_texts(vec![
            server("a.log", 1, &lines),
            server("b.log", 2, &lines),
            file("alex.log", "Client Alex", 3, &alex),
        ])
        .unwrap(),
    );
    let event = |text: &str| find(&trace, text, None).unwrap();
    let (sent, came) = (event("Alex:2"), event("Alex:3"));
    for line in ["a.log:2", "b.log:2"] {
        let stamped = event(line);
        let forth = relation(&trace, sent, stamped);
        assert!(matches!(forth, Relation::Before(_)), "{line}: {forth:?}");
        let back = relation(&trace, came, stamped);
        assert!(matches!(back, Relation::After(_)), "{line}: {back:?}");
    }
    assert_eq!(event("a.log:4"), event("b.log:4"));
}

/// A log that was rotated is in parts, and only the first begins with a start.
#[test]
fn logs_of_several_servers_may_be_in_parts() {
    let lines: Vec<_> = SERVER.lines().collect();
    let rotated = |[a, b]: [usize; 2], [late_a, late_b]: [usize; 2]| {
        let (a, b) = (lines.split_at(a), lines.split_at(b));
        verdict(vec![
            server("a.log.1", 1, a.0),
            server("a.log", late_a, a.1),
            server("b.log.1", 2, b.0),
            server("b.log", late_b, b.1),
        ])
    };
    for cuts in [[3, 5], [5, 3], [4, 4], [6, 7], [7, 8], [8, 8]] {
        let (broken, words) = rotated(cuts, [3, 4]);
        assert!(broken.is_empty(), "{words}");
        assert!(words.contains("1 process in 2 runs"), "{words}");
        assert!(
            words.contains("7 events stamped in 1 history of a room"),
            "{words}"
        );
    }
    // Both are cut beside something that has no number.
    for cuts in [[3, 4], [4, 3], [5, 6], [6, 5]] {
        let (broken, words) = rotated(cuts, [4, 3]);
        assert!(broken.is_empty(), "{words}");
    }
    // A part that goes on in one room goes on in the other, too.
    let quiet = "START log=a\nJOIN L=2 seq=1 room=q who=Bob sent=1";
    let begins: Vec<_> = quiet.lines().chain(lines[1..3].iter().copied()).collect();
    let goes_on = [&lines[5..8], &["LEAVE L=4 seq=2 room=q who=Bob sent=3"]].concat();
    let whole = [&quiet.lines().collect::<Vec<_>>(), &lines[1..8]].concat();
    let logs = vec![
        server("a.log", 1, &begins),
        server("b.log", 3, &[&goes_on[3..], &goes_on[..3]].concat()),
        server("c.log", 2, &whole),
    ];
    let (broken, words) = verdict(logs);
    assert!(broken.is_empty(), "{words}");
    // The first part of one of them is not there.
    let logs = vec![
        server("a.log", 1, &lines[..8]),
        server("b.log", 2, &lines[4..]),
    ];
    let (broken, words) = verdict(logs);
    assert!(broken.is_empty(), "{words}");
}

#[test]
fn where_one_of_several_servers_stops_the_others_go_on() {
    let lines: Vec<_> = SERVER.lines().collect();
    let begins = [&lines[..3], &["STOP"]].concat();
    let logs = vec![server("a.log", 1, &begins), server("b.log", 2, &lines)];
    let trace = Trace::new(Log::from_texts(logs).unwrap());
    let text = draw(&trace, &Choice::default(), Format::Mermaid).text;
    assert!(text.contains("L=14"), "{text}");
    assert!(!text.contains("the server st"), "{text}");
}

#[test]
fn servers_that_tell_of_another_participant_contradict_each_other() {
    let lines = SERVER.replace("who=Alex", "who=Alex id=7");
    let other = lines.replacen(
        "seq=2 room=r who=Alex id=7",
        "seq=2 room=r who=Alex id=8",
        1,
    );
    let logs = |other: &str| {
        let [a, b] = [lines.as_str(), other].map(|text| text.lines().collect::<Vec<_>>());
        vec![server("a.log", 1, &a), server("b.log", 2, &b)]
    };
    assert!(verdict(logs(&lines)).0.is_empty());
    let (broken, words) = verdict(logs(&other));
    assert!(broken.contains(&Law::OwnTimes), "{words}");
}
