//! The client at a terminal, and keys that are out of the ordinary.

use std::process::Command;
use std::time::Instant;

use chitchat::chat::Kind;
use chitchat::wire::{Join, Request};

use crate::support::{DEADLINE, Peer, Program, TestServer, Tmux, join};

/// A terminal with a client in it that is called Alex, and its process.
fn client_and_process(columns: u16, rows: u16, address: &str) -> (Tmux, String) {
    let alex = Tmux::start(columns, rows);
    let client = format!("exec $C client Alex --server {address}");
    alex.run(&format!("clear; sh -c 'echo process=$$; {client}'"));
    alex.wait_for("Alex joined");
    alex.wait_for_line("Alex>");
    let screen = alex.screen();
    let (_, process) = screen.split_once("process=").expect("it is shown");
    let process = process.lines().next().expect("a line").to_owned();
    (alex, process)
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args([name, process]).status();
    assert!(sent.expect("kill").success());
}

#[test]
fn what_is_not_utf_8_ends_nothing_and_takes_no_line_away() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.text("half a line");
    alex.wait_for_line("Alex> half a line");
    // What a terminal sends for «é» that is set to Latin-1.
    alex.keys(&["-H", "e9"]);
    alex.keys(&["-H", "20"]);
    alex.wait_for("what is typed must be UTF-8; the rest of this was left out");
    alex.wait_for_line("Alex> half a line");
    alex.line(" and its end");
    aske.until("the line", |e| e.text == "half a line and its end");
}

#[test]
fn a_resize_ends_nothing_whatever_key_is_awaited() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.text("half a line");
    alex.wait_for_line("Alex> half a line");
    alex.keys(&["C-v"]); // the next key is to be taken as it is
    alex.resize(100, 30);
    alex.line(" and its end");
    aske.until("the line", |e| e.text == "half a line and its end");
}

#[test]
fn after_escape_messages_are_shown_and_the_next_key_is_a_letter() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    alex.text("ab");
    alex.wait_for_line("Alex> ab");
    alex.keys(&["Escape"]);
    aske.say("hello", 1);
    alex.wait_for("Aske: hello");
    alex.text("d");
    alex.wait_for_line("Alex> abd");
}

#[test]
fn whatever_ends_the_client_the_line_being_typed_is_told() {
    let server = TestServer::start();
    for end in ["-INT", "C-\\"] {
        let (alex, process) = client_and_process(80, 24, &server.address);
        alex.text("half a line");
        alex.wait_for_line("Alex> half a line");
        match end.strip_prefix('-') {
            Some(_) => signal(end, &process),
            None => alex.keys(&[end]),
        }
        alex.wait_for("-- not sent: half a line");
        assert_eq!(alex.ended(), 0, "{end}");
    }
}

#[test]
fn what_a_search_has_found_is_not_what_was_typed() {
    let server = TestServer::start();
    let (alex, process) = client_and_process(80, 24, &server.address);
    alex.line("sent long ago");
    alex.wait_for("Alex: sent long ago");
    alex.text("half a line");
    alex.wait_for_line("Alex> half a line");
    alex.keys(&["C-r"]);
    alex.text("long");
    alex.wait_for_line("(reverse-i-search)`long': sent long ago");
    signal("-TERM", &process);
    alex.wait_for("-- not sent: half a line");
    assert_eq!(alex.ended(), 0);
}

#[test]
fn a_list_of_possibilities_is_no_longer_than_the_screen() {
    let server = TestServer::start();
    let (alex, process) = client_and_process(80, 10, &server.address);
    let enter = |n: i32| Join {
        room: "full".to_owned(),
        ..join(&format!("Somebody {n:03} with a long name"), n)
    };
    let _crowd: Vec<_> = (1..=120)
        .map(|n| Peer::ask(&server.address, enter(n)))
        .collect();
    alex.line("/join full");
    alex.wait_for_line("#full Alex>");
    alex.line("/who");
    alex.wait_for("Somebody 120");
    alex.text("@so");
    alex.keys(&["Tab"]);
    // What all of them have in common, and as many as there is room for.
    alex.wait_for_line("#full Alex> @Somebody");
    alex.wait_for("@Somebody 002 with a long name");
    alex.wait_for("… 103 more");
    alex.text("119");
    alex.keys(&["Tab"]);
    alex.wait_for_line("#full Alex> @Somebody 119 with a long name");
    alex.keys(&["C-c"]);
    alex.text("/");
    alex.keys(&["Tab"]);
    alex.wait_for_line("#full Alex> /");
    signal("-TERM", &process);
    alex.wait_for("-- not sent: /");
    assert_eq!(alex.ended(), 0);
}

#[test]
fn a_list_of_possibilities_is_whole_below_a_line_of_several_rows() {
    let server = TestServer::start();
    let alex = Tmux::client(30, 14, "Alex", &server.address, "");
    let names: Vec<String> = (1..=5).map(|n| format!("Anna {n} Lee")).collect();
    let _crowd: Vec<_> = (1..)
        .zip(&names)
        .map(|(n, name)| Peer::join(&server.address, name, n))
        .collect();
    alex.line("/who");
    alex.wait_for("Anna 5 Lee  since");
    alex.text("words that need more than one row and @an");
    alex.keys(&["Tab"]);
    let together = |text: &str| text.replace(['\n', ' '], "");
    let line = together("Alex> words that need more than one row and @Anna");
    alex.wait_until("the list and the line", |screen| {
        let is_shown = |name: &String| screen.contains(&format!("@{name}"));
        names.iter().all(is_shown) && together(screen).ends_with(&line)
    });
}

#[test]
fn a_second_signal_gives_the_terminal_back_too() {
    let (server, address) = Program::server(&[]);
    let (alex, process) = client_and_process(80, 24, &address);
    // A server that does not answer keeps the client busy with the command.
    server.signal("-STOP");
    alex.line("/join ops");
    alex.wait_until("no line to type on", |screen| {
        !screen.lines().last().unwrap_or_default().contains("Alex>")
    });
    // Two of a kind at once could be one.
    signal("-TERM", &process);
    signal("-HUP", &process);
    let code = alex.ended();
    assert!([128 + 1, 128 + 15].contains(&code), "{code}");
    server.signal("-CONT");
}

#[test]
fn a_message_to_nobody_is_for_nobody() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.line("/msg \"\" a secret");
    alex.wait_for("/msg NAME TEXT: say what to whom?");
    alex.keys(&["C-c"]);
    alex.line("hello");
    let heard = aske.until("the line", |e| e.text == "hello");
    assert!(heard.iter().all(|e| e.text != "a secret"), "{heard:#?}");
}

#[test]
fn nothing_that_is_pasted_acts_on_the_terminal() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    alex.paste("ab\u{8}\u{8}\u{8}\u{7}cd\u{b}ef\u{c}gh\u{9b}2Jij");
    alex.wait_for_line("Alex> abcdefgh2Jij");
    alex.wait_for("Alex joined");
    alex.keys(&["Enter"]);
    alex.wait_for("Alex: abcdefgh2Jij");
    alex.wait_for_line("Alex>");
    aske.until("the line", |e| {
        e.sender.as_ref() == "Alex" && e.kind == Kind::Message
    });
}

#[test]
fn a_message_leaves_no_row_empty_wherever_the_line_stands() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 6, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    alex.wait_for("Aske joined");
    let shown = |rows: &[&str]| {
        alex.wait_until(&format!("{rows:?}"), |screen| {
            let screen: Vec<_> = screen.lines().collect();
            let is_as = |(row, end): (&&str, &&str)| row.ends_with(*end);
            screen.len() == rows.len() && screen.iter().zip(rows).all(is_as)
        });
    };
    alex.keys(&["C-l"]); // now it is the screen's first row
    alex.text("half a line");
    shown(&["Alex> half a line"]);
    let mut rows: Vec<String> = Vec::new();
    let with_line = |rows: &[String]| {
        let last = rows[rows.len().saturating_sub(5)..].iter();
        let last: Vec<_> = last.map(String::as_str).collect();
        shown(&[&last[..], &["Alex> half a line"]].concat());
    };
    for n in 1..=8 {
        aske.say(&format!("message {n}"), n);
        rows.push(format!("Aske: message {n}"));
        with_line(&rows);
        if n == 4 {
            alex.keys(&["C-a", "C-k"]);
            alex.text("@as");
            alex.keys(&["Tab", "C-a", "C-k"]);
            alex.text("/h");
            alex.keys(&["Tab", "C-a", "C-k"]);
            alex.text("half a line");
            rows.push("Alex> /h".to_owned());
            rows.push("/help  this list".to_owned());
            rows.push("/history [N]  the last N events of the room (20)".to_owned());
            // A message that comes between two keys is drawn with the second.
            with_line(&rows);
        }
    }
}

#[test]
fn a_message_between_two_keys_leaves_the_last_row_to_the_line() {
    let server = TestServer::start();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("alex.log");
    let args = format!("--log-file {}", log.display());
    let alex = Tmux::client(80, 6, "Alex", &server.address, &args);
    let mut aske = Peer::join(&server.address, "Aske", 1);
    let mut line = "Alex> ".to_owned();
    for n in 1..=12 {
        let message = format!("Aske: message {n}.");
        alex.keys(&["C-v"]); // until the next key nothing is drawn
        aske.say(&format!("message {n}."), n);
        let begun = Instant::now();
        while !std::fs::read_to_string(&log).unwrap().contains(&message) {
            assert!(begun.elapsed() < DEADLINE, "{message} does not arrive");
        }
        for key in ["x", "y"] {
            alex.text(key);
            line.push_str(key);
            alex.wait_until(&line, |screen| screen.contains(&line));
        }
        alex.wait_for(&message);
        if n > 6 {
            alex.wait_until("the line in the last row", |screen| {
                screen.lines().nth(5) == Some(&line)
            });
        }
    }
}

#[test]
fn a_pasted_tab_at_the_edge_takes_no_message_away() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    for n in 1..=3 {
        aske.say(&format!("message {n}."), n);
    }
    alex.wait_for("message 3.");
    let first_row = "x".repeat(70);
    alex.paste(&format!("{first_row}\ta"));
    for end in ["a", "ab", "abc", "abcd"] {
        alex.wait_until(end, |screen| {
            let row = format!("Alex> {first_row}");
            let mut rows = screen.lines().rev();
            rows.next() == Some(end) && rows.next() == Some(&row)
        });
        let screen = alex.screen();
        assert!(screen.contains("message 3."), "{screen}");
        alex.text(match end {
            "a" => "b",
            "ab" => "c",
            _ => "d",
        });
    }
    alex.keys(&["BSpace", "Enter"]);
    let said = format!("{first_row}\tabcd");
    aske.until("the line", |e| e.text == said);
}

#[test]
fn a_message_after_the_cursor_has_moved_leaves_nothing_of_the_line_over() {
    let server = TestServer::start();
    let alex = Tmux::client(40, 12, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    // The counter behind it begins in the third row and ends in the fourth.
    let typed = "x".repeat(110);
    alex.text(&typed);
    alex.wait_for_line("8]");
    alex.keys(&["Left"]); // then there is no counter
    let rows = |typed: &str| {
        let line = format!("Alex> {typed}");
        let together = |screen: &str| screen.replace('\n', "");
        alex.wait_until(&line, |screen| together(screen).ends_with(&line))
    };
    rows(&typed);
    aske.say("hello", 1);
    alex.wait_for("Aske: hello");
    alex.keys(&["Left"]);
    aske.say("and goodbye", 2);
    alex.wait_for("Aske: and goodbye");
    let screen = rows(&typed);
    assert_eq!(screen.matches("Alex> ").count(), 1, "{screen}");
    assert!(screen.contains("Alex joined"), "{screen}");
}

#[test]
fn whoever_leaves_a_terminal_is_shown_all_that_came_before() {
    let server = TestServer::with(|s| s.rate = None);
    for run in 1..=3 {
        let alex = Tmux::client(80, 24, "Alex", &server.address, "");
        let lines: String = (1..=50).map(|n| format!("line {run}.{n}\r")).collect();
        // The last lines and the goodbye are typed while the first are shown.
        alex.text(&format!("{lines}\u{4}"));
        alex.wait_for_line("shell$");
        let all = alex.all();
        let shown: Vec<_> = all.lines().filter(|l| l.contains(" Alex: line ")).collect();
        assert_eq!(shown.len(), 50, "{all}");
        for (n, line) in (1..).zip(&shown) {
            assert!(line.ends_with(&format!(" Alex: line {run}.{n}")), "{all}");
        }
    }
    // A batch at once, from somebody else, just before the goodbye.
    let mut aske = Peer::join(&server.address, "Aske", 1);
    let say = |n: i64| Request::Say {
        text: format!("said at the end {n}."),
        to: String::new(),
        sent: n,
    };
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    aske.send((1..=200).map(say).collect());
    aske.until("the last", |e| e.text.ends_with(" 200."));
    alex.keys(&["C-d"]);
    alex.wait_for_line("shell$");
    let all = alex.all();
    for n in 1..=200 {
        let line = format!("Aske: said at the end {n}.");
        assert_eq!(all.matches(&line).count(), 1, "{line} in {all}");
    }
}
