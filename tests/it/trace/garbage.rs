//! Logs that nobody wrote: nothing that stands in them ends a tool in a panic
//! or keeps it busy for long.

use std::time::{Duration, Instant};

use super::simulation::{Random, logs};
use chitchat::chat::is_deceptive;
use chitchat::trace::before;
use chitchat::trace::check::Verdict;
use chitchat::trace::diagram::{Choice, Format, draw};
use chitchat::trace::log::Log;
use chitchat::trace::order::Trace;

/// Does everything that can be done with logs.
fn try_everything(texts: Vec<(String, String)>) {
    let Ok(log) = Log::from_texts(texts) else {
        return;
    };
    let trace = Trace::new(log);
    let words = Verdict::of(&trace).words();
    assert!(
        words.lines().all(|line| !line.chars().any(is_deceptive)),
        "{words:?}"
    );
    for format in [Format::Svg, Format::Mermaid, Format::ShiViz] {
        let text = draw(&trace, &Choice::default(), format).text;
        let lines = text.split('\n');
        assert!(
            lines
                .clone()
                .all(|line| !line.chars().any(char::is_control)),
            "{text:?}"
        );
    }
    let events: Vec<u32> = (0..trace.told as u32)
        .filter(|n| trace.is_event(*n))
        .collect();
    if let (Some(first), Some(last)) = (events.first(), events.last()) {
        before::words(&trace, (*first, "first"), (*last, "last"));
    }
}

#[test]
fn logs_with_lines_changed_anyhow_never_panic() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut logs = logs(seed, 300);
        for _ in 0..1 + random.below(12) {
            let file = random.below(logs.len());
            let mut lines: Vec<String> = logs[file].1.lines().map(str::to_owned).collect();
            if lines.is_empty() {
                continue;
            }
            let (a, b) = (random.below(lines.len()), random.below(lines.len()));
            match random.below(5) {
                0 => lines.swap(a, b),
                1 => {
                    let moved = lines[a].clone();
                    lines.insert(b, moved);
                }
                2 => {
                    lines.remove(a);
                }
                3 => lines[a] = changed_number(&lines[a], &mut random),
                _ => lines[a] = changed_character(&lines[a], &mut random),
            }
            logs[file].1 = lines.join("\n");
        }
        try_everything(logs);
    }
}

fn changed_number(line: &str, random: &mut Random) -> String {
    const NUMBERS: [&str; 7] = [
        "-1",
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "7",
        "x",
    ];
    let fields: Vec<_> = line.match_indices('=').map(|(at, _)| at + 1).collect();
    if fields.is_empty() {
        return line.to_owned();
    }
    let at = fields[random.below(fields.len())];
    let end = line[at..]
        .find([' ', ':'])
        .map_or(line.len(), |end| at + end);
    format!(
        "{}{}{}",
        &line[..at],
        NUMBERS[random.below(NUMBERS.len())],
        &line[end..]
    )
}

fn changed_character(line: &str, random: &mut Random) -> String {
    const OTHERS: [char; 8] = ['"', '\\', '\u{202e}', '\0', ' ', ':', '\u{1b}', '<'];
    let at = random.below(line.chars().count().max(1));
    let other = OTHERS[random.below(OTHERS.len())];
    line.chars()
        .enumerate()
        .map(|(i, c)| if i == at { other } else { c })
        .collect()
}

#[test]
fn logs_that_lead_around_in_a_circle_never_hang() {
    let server = "t INFO [Server] START: x\n\
        t INFO [Server] JOIN L=1 seq=1 room=r who=A sent=9: x\n\
        t INFO [Server] MESSAGE L=10 seq=2 room=r who=A sent=4: x\n\
        t INFO [Server] MESSAGE L=11 seq=3 room=r who=A sent=3: x\n";
    let client = "t INFO [Client A] START L=0: x\n\
        t INFO [Client A] DELIVER of=1 room=r seq=1 kind=join who=A sent=9 replayed=0: x\n\
        t INFO [Client A] SEND L=9 kind=join room=r: x\n\
        t INFO [Client A] DELIVER of=1 room=r seq=1 kind=join who=A sent=9 replayed=0: x\n\
        t INFO [Client A] DELIVER of=11 room=r seq=3 kind=message who=A sent=3 replayed=0: x\n\
        t INFO [Client A] SEND L=3 kind=message room=r: x\n";
    let logs = [("a", server), ("b", client)];
    let logs: Vec<_> = logs.map(|(n, t)| (n.to_owned(), t.to_owned())).into();
    let (broken, words) = super::verdict(logs.clone());
    assert!(!broken.is_empty(), "{words}");
    try_everything(logs);
}

#[test]
fn hostile_logs_take_no_time_out_of_proportion() {
    const DEADLINE: Duration = Duration::from_secs(60);
    let begin = Instant::now();
    let repeated = |line: &dyn Fn(usize) -> String| -> String { (0..30_000).map(line).collect() };
    let hostile = [
        // numbers of characters that never end
        format!("t INFO [Server] STOP: {}", "\\u{".repeat(300_000)),
        // a process a line, a run a line, an epoch a line, a gap a line
        repeated(&|i| format!("t INFO [Client c{i}] START L=0: x\n")),
        repeated(&|_| "t INFO [Client c] START L=0: x\n".to_owned()),
        repeated(&|i| {
            format!(
                "t INFO [Server] START: x\nt INFO [Server] ROOM L={} room=r: x\n",
                30_000 - i
            )
        }),
        repeated(&|i| {
            format!(
                "t INFO [Server] START: x\nt INFO [Server] ROOM L={} room=r: x\n\
                 t INFO [Server] JOIN L={} seq=1 room=r who=A sent=1: x\n",
                i * 3 + 1,
                i * 3 + 2
            )
        }),
        repeated(&|i| {
            format!(
                "t INFO [Client A] SEND L={} kind=join room=r: x\n\
                 t INFO [Client A] DELIVER L={} of={} room=r seq={} kind=join who=A sent={} replayed=0: x\n",
                i * 3 + 1,
                i * 3 + 3,
                i * 3 + 2,
                i * 2,
                i * 3 + 1
            )
        }),
    ];
    let together = vec![
        ("a".to_owned(), hostile[4].clone()),
        ("b".to_owned(), hostile[5].clone()),
    ];
    for text in hostile {
        try_everything(vec![("log".to_owned(), text)]);
    }
    try_everything(together);
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
}
