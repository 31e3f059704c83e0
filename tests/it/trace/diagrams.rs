//! The diagrams, in every format.

use std::collections::HashMap;
use std::fs;

use super::{crowd, folder, simulation, trace};
use chitchat::trace::diagram::{Choice, Drawn, Format, draw};
use chitchat::trace::log::Log;
use chitchat::trace::order::Trace;

fn drawn(logs: Vec<(String, String)>, format: Format) -> Drawn {
    draw(
        &Trace::new(Log::from_texts(logs).unwrap()),
        &Choice::default(),
        format,
    )
}

#[test]
fn the_pictures_in_the_documentation_are_fresh() {
    for name in ["report", "lamport"] {
        let path = format!("docs/{name}.svg");
        let drawn = draw(&trace(name), &Choice::default(), Format::Svg).text;
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            drawn == kept,
            "draw it anew: chitchat diagram tests/logs/{name}/*.log -o {path}"
        );
    }
}

#[test]
fn the_same_logs_in_another_order_give_the_same_bytes() {
    for seed in 0..5 {
        let mut logs = simulation::logs(seed, 400);
        // Two files of one process, whose clocks on the wall say nothing.
        let (name, text) = logs[1].clone();
        let parts = text.split_inclusive('\n').count() / 2;
        let begin: String = text.split_inclusive('\n').take(parts).collect();
        logs[1] = (format!("{name}.1"), begin.clone());
        logs.push((format!("{name}.2"), text[begin.len()..].to_owned()));
        let mut turned = logs.clone();
        turned.rotate_left(2);
        turned.swap(0, 3);
        for format in [Format::Svg, Format::Mermaid, Format::ShiViz] {
            assert!(
                drawn(logs.clone(), format) == drawn(turned.clone(), format),
                "seed {seed}"
            );
        }
    }
    let mut paths = folder("lawful");
    let there = Trace::read(&paths).unwrap();
    paths.reverse();
    let back = Trace::read(&paths).unwrap();
    let svg = |trace| draw(trace, &Choice::default(), Format::Svg).text;
    assert_eq!(svg(&there), svg(&back));
}

#[test]
fn every_send_and_every_delivery_has_its_arrow_and_both_its_times() {
    let svg = draw(&trace("lawful"), &Choice::default(), Format::Svg).text;
    // ten sends and twenty-two deliveries, and a sign in the legend each for
    // refusals and private messages
    assert_eq!(svg.matches("<path class=\"arrow").count(), 10 + 22 + 2);
    assert_eq!(svg.matches("<path class=\"head").count(), 10 + 22);
    for time in [2, 3, 4, 7, 10, 13, 16, 18, 21, 24] {
        assert!(svg.contains(&format!(">L={time}</text>")), "L={time}");
    }
    assert_eq!(svg.matches("class=\"own\"").count(), 10 + 22);
    assert!(svg.contains(">refused Alex: Message is"));
    assert!(svg.contains("Alex to Bob, privately: psst"));
}

#[test]
fn what_was_not_chosen_is_not_drawn() {
    let trace = trace("lawful");
    let name = |name| trace.log.names.folded(trace.log.names.find(name).unwrap());
    let choice = Choice {
        from: Some(7),
        until: Some(10),
        room: trace.room("Chit Chat"),
        only: vec![name("Bob")],
    };
    let svg = draw(&trace, &choice, Format::Svg).text;
    assert!(svg.contains(">L=7</text>") && svg.contains(">L=10</text>"));
    assert!(!svg.contains(">L=4</text>") && !svg.contains(">L=13</text>"));
    assert!(svg.contains(">Bob</text>") && !svg.contains(">Carol</text>"));
    // Bob got both and sent one
    assert_eq!(svg.matches("<path class=\"arrow").count(), 3);
}

#[test]
fn a_long_run_is_cut_and_the_picture_says_so() {
    let long = drawn(crowd::logs(3, 2_000, 7), Format::Svg);
    let left_out = long.left_out.unwrap();
    assert!(left_out.contains("500 of 2003 events"), "{left_out}");
    assert!(long.text.contains("500 of 2003 events"));
    let long = drawn(crowd::logs(3, 2_000, 7), Format::Mermaid);
    assert!(long.text.len() < 50_000 && long.left_out.is_some());
    let whole = drawn(crowd::logs(20, 180, 7), Format::Svg);
    assert_eq!(whole.left_out, None);
}

/// The numbers of a line of coordinates.
fn number(text: &str, key: &str) -> f64 {
    let (_, rest) = text.split_once(&format!(" {key}=\"")).unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

#[test]
fn no_two_texts_stand_on_one_another_in_a_crowd() {
    let svg = drawn(crowd::logs(20, 180, 3), Format::Svg).text;
    let mut rows: HashMap<String, Vec<(f64, f64)>> = HashMap::new();
    for text in svg.split("<text ").skip(1) {
        let text = &format!(" {text}");
        let words = text.split('>').nth(1).unwrap().split('<').next().unwrap();
        let is_end = text.contains("class=\"time\"") || text.contains("class=\"what");
        let (x, y) = (number(text, "x"), number(text, "y"));
        let width = words.chars().count() as f64 * 4.2;
        let span = match text.contains("class=\"own\"") {
            true => (x, x + width),
            false if is_end => (x - width, x),
            false => continue,
        };
        rows.entry(format!("{y:.0}")).or_default().push(span);
    }
    assert!(rows.len() > 200);
    for (y, mut spans) in rows {
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in spans.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "at {y}: {pair:?}");
        }
    }
}

#[test]
fn shiviz_gets_vector_clocks_that_keep_its_rules() {
    for seed in 0..10 {
        let text = drawn(simulation::logs(seed, 400), Format::ShiViz).text;
        let mut clocks: HashMap<(String, u64), HashMap<String, u64>> = HashMap::new();
        let mut own: HashMap<String, u64> = HashMap::new();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() > 100 && lines.len() % 2 == 0);
        for pair in lines.chunks(2) {
            let (host, clock) = pair[0].split_once(' ').unwrap();
            let clock: HashMap<String, u64> = serde_json::from_str(clock).unwrap();
            // its own entry begins with 1 and rises by 1
            let count = own.entry(host.to_owned()).or_default();
            *count += 1;
            assert_eq!(clock[host], *count, "seed {seed}: {}", pair[0]);
            // what it knows of is an event, and it knows all that that one knew
            for (other, known) in &clock {
                let event = (other.clone(), *known - u64::from(other == host));
                if event.1 == 0 {
                    continue;
                }
                let earlier = clocks.get(&event).unwrap_or_else(|| panic!("{event:?}"));
                assert!(earlier.iter().all(|(h, n)| clock[h] >= *n), "seed {seed}");
            }
            clocks.insert((host.to_owned(), *count), clock);
            assert!(!pair[1].is_empty());
        }
    }
}

#[test]
fn a_file_s_name_asks_for_its_format() {
    let of = |name: &str| Format::of_path(name.as_ref());
    assert_eq!(of("a.svg"), Some(Format::Svg));
    assert_eq!(of("a.mmd"), Some(Format::Mermaid));
    assert_eq!(of("a/b.shiviz"), Some(Format::ShiViz));
    assert_eq!(of("a.txt"), Some(Format::ShiViz));
    assert_eq!((of("a.png"), of("svg")), (None, None));
}

/// What a server tells that was started anew stands in its log before what
/// another one alone tells of the time between.
#[test]
fn what_several_servers_tell_is_drawn_in_the_room_s_order() {
    let line = |line: &str| format!("t INFO [Server] {line}: x\n");
    let said = |time: i64| format!("MESSAGE L={time} seq={time} room=r who=Alex");
    let whole = (1..=9).map(|time| line(&said(time)));
    let whole: String = std::iter::once(line("START log=a")).chain(whole).collect();
    let begins = [
        line("START log=a"),
        line(&said(1)),
        line(&said(2)),
        line("STOP"),
    ];
    let goes_on = ["START log=a", "ROOM L=6 room=r", &said(7), &said(8), "STOP"].map(line);
    let logs = vec![
        (
            "a.log".to_owned(),
            [begins.concat(), goes_on.concat()].concat(),
        ),
        ("b.log".to_owned(), whole),
    ];
    let text = drawn(logs, Format::Mermaid).text;
    let times = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("p0: L=")?;
        rest.split(' ').next()?.parse::<i64>().ok()
    });
    assert!(times.eq(1..=9), "{text}");
}
