//! The client at a terminal, used as a person would use it.

use std::process::Command;

use chitchat::chat::Kind;

use crate::support::{Peer, Program, TestServer, Tmux, join};

/// The sizes of a small terminal and of a large one.
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

#[test]
fn a_line_being_typed_survives_hundreds_of_messages() {
    for (columns, rows) in SIZES {
        let server = TestServer::start();
        let alex = Tmux::client(columns, rows, "Alex", &server.address, "");
        let mut aske = Peer::join(&server.address, "Aske", 1);
        alex.text("half a line and ");
        for n in 1..=400 {
            aske.say(&format!("message {n} of four hundred"), n);
            if n % 40 == 0 {
                alex.text("x");
            }
        }
        alex.wait_for("message 400 of four hundred");
        alex.wait_for_line(&format!("Alex> half a line and {}", "x".repeat(10)));
        let all = alex.all();
        let shown: Vec<_> = all.lines().filter(|l| l.contains("message ")).collect();
        assert_eq!(shown.len(), 400);
        for (n, line) in (1..).zip(&shown) {
            let end = format!(" Aske: message {n} of four hundred");
            assert!(
                line.trim_start().starts_with("L=") && line.ends_with(&end),
                "{line:?}"
            );
        }
        assert_eq!(all.matches("half a line").count(), 1, "{all}");
        alex.line(" its end");
        aske.until("the line", |e| {
            e.text == format!("half a line and {} its end", "x".repeat(10))
        });
        alex.wait_for_line("Alex>");
    }
}

#[test]
fn a_resize_while_a_line_is_being_typed_leaves_nothing_over_and_takes_nothing_away() {
    let server = TestServer::start();
    let alex = Tmux::client(200, 50, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    let line =
        "a line that is longer than eighty columns, so that it needs two rows of a small terminal";
    alex.text(line);
    for n in 1..=30 {
        aske.say(&format!("message {n}."), n);
    }
    alex.wait_for("message 30.");
    alex.wait_for_line(&format!("Alex> {line}"));
    let mut dots = String::new();
    for (columns, rows) in [
        (80, 24),
        (40, 10),
        (130, 30),
        (200, 50),
        (150, 40),
        (100, 24),
        (90, 24),
        (70, 24),
        (50, 24),
        (60, 24),
        (94, 24),
        (110, 24),
    ] {
        alex.resize(columns, rows);
        // On rows that the terminal itself has broken, drawn anew by the editor.
        alex.text(".");
        dots.push('.');
        alex.wait_until("the dot", |screen| {
            // A row that ends with a space is captured without it.
            let together = |text: &str| text.replace(['\n', ' '], "");
            together(screen).ends_with(&together(&format!("Alex> {line}{dots}")))
        });
        let all = alex.all();
        assert_eq!(all.matches("Alex> ").count(), 1, "{columns}: {all}");
        for n in 1..=30 {
            let message = format!("message {n}.");
            assert_eq!(all.matches(&message).count(), 1, "{columns}: {all}");
        }
    }
    alex.line(" done");
    aske.until("the line", |e| e.text == format!("{line}{dots} done"));
}

#[test]
fn ctrl_c_takes_a_line_away_then_leaves() {
    let server = TestServer::start();
    let witness = Peer::join(&server.address, "Witness", 1);
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    alex.text("not this");
    alex.wait_for_line("Alex> not this");
    alex.keys(&["C-c"]);
    alex.wait_for_line("Alex>");
    alex.keys(&["C-y"]);
    alex.wait_for_line("Alex> not this");
    alex.keys(&["C-c", "C-c"]);
    assert_eq!(alex.ended(), 0);
    witness.until("the departure", |e| e.kind == Kind::Leave);
}

#[test]
fn ctrl_d_and_the_word_for_it_leave() {
    let server = TestServer::start();
    for (keys, text) in [
        (&["C-d"][..], ""),
        (&["Enter"], "/quit"),
        (&["Enter"], "exit"),
    ] {
        let alex = Tmux::client(80, 24, "Alex", &server.address, "");
        alex.text(text);
        alex.keys(keys);
        assert_eq!(alex.ended(), 0, "{text}");
    }
}

#[test]
fn keys_pressed_ahead_are_not_lost() {
    let server = TestServer::start();
    let aske = Peer::join(&server.address, "Aske", 1);
    for _ in 0..5 {
        let alex = Tmux::client(80, 24, "Alex", &server.address, "");
        let lines: String = (1..=50).map(|n| format!("line {n}\r")).collect();
        alex.text(&format!("{lines}\u{4}"));
        let said = aske.until("the departure", |e| e.kind == Kind::Leave);
        let said: Vec<_> = said
            .iter()
            .filter(|e| e.kind == Kind::Message)
            .map(|e| &e.text)
            .collect();
        assert!(
            said.iter()
                .zip(1..)
                .all(|(text, n)| **text == format!("line {n}")),
            "{said:?}"
        );
        assert_eq!(said.len(), 50);
        assert_eq!(alex.ended(), 0);
    }
}

#[test]
fn keys_pressed_between_two_lines_wait_for_the_next_one() {
    let (server, address) = Program::server(&[]);
    let alex = Tmux::client(80, 24, "Alex", &address, "");
    // A server that does not answer keeps the client busy with the command.
    let begin_to_join = |room: &str| {
        server.signal("-STOP");
        alex.line(&format!("/join {room}"));
        alex.wait_until("no line to type on", |screen| {
            !screen.lines().last().unwrap_or_default().contains("Alex>")
        });
    };
    begin_to_join("ops");
    alex.text("typed meanwhile");
    server.signal("-CONT");
    alex.wait_for_line("#ops Alex> typed meanwhile");
    assert_eq!(
        alex.all().matches("typed meanwhile").count(),
        1,
        "{}",
        alex.all()
    );
    alex.keys(&["C-c"]);
    alex.wait_for_line("#ops Alex>");
    begin_to_join("more");
    alex.keys(&["C-d"]);
    server.signal("-CONT");
    assert_eq!(alex.ended(), 0);
}

#[test]
fn a_name_that_is_taken_ends_the_client_with_its_reason() {
    let server = TestServer::start();
    let _other = Peer::join(&server.address, "Alex", 1);
    let alex = Tmux::start(80, 24);
    alex.run(&format!(
        "clear; $C client Alex --server {}",
        server.address
    ));
    alex.wait_for("chitchat: the server refused: the name «Alex» is taken in Chit Chat");
    assert_eq!(alex.ended(), 4);
}

#[test]
fn the_name_is_asked_for() {
    let server = TestServer::start();
    let alex = Tmux::start(80, 24);
    alex.run(&format!("clear; $C client --server {}", server.address));
    alex.wait_for_line("Enter your name:");
    alex.line("Alex");
    alex.wait_for("Alex joined");
    alex.wait_for_line("Alex>");
}

#[test]
fn during_a_search_nothing_is_lost_and_a_signal_ends_it() {
    let server = TestServer::start();
    let alex = Tmux::start(80, 24);
    let client = format!("exec $C client Alex --server {}", server.address);
    alex.run(&format!("clear; sh -c 'echo process=$$; {client}'"));
    alex.wait_for("Alex joined");
    let screen = alex.screen();
    let (_, process) = screen
        .split_once("\nprocess=")
        .or(screen.split_once("process="))
        .unwrap();
    let process = process.lines().next().unwrap().to_owned();
    let mut aske = Peer::join(&server.address, "Aske", 1);
    alex.line("find me");
    alex.wait_for("Alex: find me");
    alex.keys(&["C-r"]);
    alex.text("find");
    alex.wait_for_line("(reverse-i-search)`find': find me");
    for n in 1..=50 {
        aske.say(&format!("during the search {n}."), n);
    }
    aske.until("the last", |e| e.text.ends_with(" 50."));
    alex.keys(&["C-e"]);
    alex.wait_for("Aske: during the search 50.");
    alex.wait_for_line("Alex> find me");
    let all = alex.all();
    assert!(
        (1..=50).all(|n| all.contains(&format!("during the search {n}."))),
        "{all}"
    );
    alex.keys(&["C-r"]);
    alex.wait_for("(reverse-i-search)");
    aske.say("one", 60);
    aske.say("two", 61);
    aske.say("three", 62);
    aske.until("the last", |e| e.text == "three");
    let killed = Command::new("kill").args(["-TERM", &process]).status();
    assert!(killed.unwrap().success());
    aske.until("the departure", |e| e.kind == Kind::Leave);
    assert_eq!(alex.ended(), 0);
}

#[test]
fn nothing_that_others_send_acts_on_the_terminal() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let before = alex.asked("#{pane_title} #{alternate_on} #{mouse_any_flag} #{cursor_flag}");
    let mut mallory = Peer::join(&server.address, "Mallory", 1);
    alex.text("safe");
    let texts = [
        "\u{1b}]0;owned\u{7}title",
        "\u{1b}[2J\u{1b}[Hcleared",
        "\u{9b}2J\u{1b}[?1049hscreen",
        "\u{1b}[?25l\u{1b}[?1000hhidden",
        "a\u{202e}b\u{200b}c\u{2066}d",
        "\r\u{8}\u{8}over\nwritten\u{1b}[A",
        "last",
    ];
    for (n, text) in (1..).zip(texts) {
        mallory.say(text, n);
    }
    alex.wait_for("Mallory: last");
    alex.wait_for_line("Alex> safe");
    let screen = alex.screen();
    for shown in [
        "Mallory: ]0;ownedtitle",
        "Mallory: [2J[Hcleared",
        "Mallory: 2J[?1049hscreen",
        "Mallory: [?25l[?1000hhidden",
        "Mallory: abcd",
        "Mallory: over written[A",
        "Alex joined",
    ] {
        assert!(screen.contains(shown), "{shown:?} in\n{screen}");
    }
    let after = alex.asked("#{pane_title} #{alternate_on} #{mouse_any_flag} #{cursor_flag}");
    assert_eq!(before, after);
}

#[test]
fn tab_completes_names_and_commands() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let _aske = Peer::ask(&server.address, join("Aske Ø", 1));
    alex.wait_for("Aske Ø joined");
    alex.text("hi @as");
    alex.keys(&["Tab"]);
    alex.text("!");
    alex.wait_for_line("Alex> hi @Aske Ø !");
    alex.keys(&["C-c"]);
    alex.text("/h");
    alex.keys(&["Tab"]);
    alex.wait_for("/history [N]");
    alex.text("is");
    alex.keys(&["Tab"]);
    alex.text("1");
    alex.wait_for_line("Alex> /history 1");
    alex.keys(&["Enter"]);
    alex.wait_for("the last 1 events:");
    alex.wait_for("~L=3  Aske Ø joined");
}

#[test]
fn a_counter_tells_how_much_room_is_left_and_too_much_is_not_sent() {
    let server = TestServer::start();
    let alex = Tmux::client(200, 50, "Alex", &server.address, "");
    let typed = "ø".repeat(110);
    alex.text(&typed);
    alex.wait_for_line(&format!("Alex> {typed}  [18]"));
    alex.text(&"x".repeat(20));
    alex.wait_for("x  [2 too many]");
    alex.keys(&["Enter"]);
    alex.wait_for("not sent: 130 characters; 128 is the limit");
    alex.wait_for_line(&format!("Alex> {typed}{}  [2 too many]", "x".repeat(20)));
    alex.keys(&["BSpace", "BSpace", "Enter"]);
    alex.wait_for(&format!("Alex: {typed}{}", "x".repeat(18)));
    alex.wait_for_line("Alex>");
}

#[test]
fn many_pasted_lines_are_sent_after_a_question_and_kept_if_not() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let mut aske = Peer::join(&server.address, "Aske", 1);
    let lines = ["one", "/two", "three", "four", "five"];
    alex.paste(&lines.join("\n"));
    alex.wait_for_line("five");
    alex.keys(&["Enter"]);
    alex.wait_for_line("Send 5 lines as 5 messages? (y/n)");
    aske.say("an interruption", 1);
    alex.wait_for("Aske: an interruption");
    alex.wait_for_line("Send 5 lines as 5 messages? (y/n)");
    alex.line("n");
    alex.wait_for_line("five");
    alex.keys(&["Enter"]);
    alex.wait_for_line("Send 5 lines as 5 messages? (y/n)");
    alex.line("y");
    alex.wait_for_line("Alex>");
    let said = aske.until("the last", |e| e.text == "five");
    let said: Vec<_> = said
        .iter()
        .filter(|e| e.sender.as_ref() == "Alex")
        .map(|e| e.text.as_str())
        .collect();
    assert_eq!(said, lines);
}

#[test]
fn commands_do_what_they_say() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let aske = Peer::join(&server.address, "Aske", 1);
    let other = Peer::join(&server.address, "Åse 漢", 2);
    alex.line("/who");
    alex.wait_for("     Alex    since L=2");
    alex.wait_for("     Åse 漢  since L=4");
    alex.line("/rooms");
    alex.wait_for("     Chit Chat  3 participants, L=4");
    alex.line("/msg aske a secret");
    let secret = aske
        .until("the secret", |e| e.text == "a secret")
        .pop()
        .unwrap();
    assert_eq!((secret.to.as_deref(), secret.seq), (Some("Aske"), 0));
    alex.wait_for("you to Aske (private): a secret");
    alex.line("/me waves");
    alex.wait_for("* Alex waves");
    alex.line("//quit");
    other.until("the slash", |e| e.text == "/quit");
    alex.line("/history 2");
    alex.wait_for("the last 2 events:");
    alex.wait_until("both", |s| {
        s.matches("* Alex waves").count() == 2 && s.matches("Alex: /quit").count() == 2
    });
    alex.line("/nick Bo");
    alex.wait_for("there is no /nick: /help lists the commands, //nick sends /nick");
    alex.wait_for_line("Alex> /nick Bo");
    alex.keys(&["C-c"]);
    alex.line("/help");
    alex.wait_for("/msg NAME TEXT   say something to one participant alone");
    alex.wait_for("a name cannot be changed");
}

#[test]
fn another_room_is_joined_before_this_one_is_left() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "");
    let here = Peer::join(&server.address, "Here", 1);
    let in_room = |name: &str, room: &str| {
        let mut ask = join(name, 7);
        ask.room = room.to_owned();
        Peer::ask(&server.address, ask)
    };
    let _taken = in_room("Alex", "full");
    alex.line("/join full");
    alex.wait_for("/join full: the name «Alex» is taken in #full");
    alex.keys(&["C-c"]);
    alex.line("still here");
    here.until("the line", |e| e.text == "still here");
    let mut there = in_room("There", "ops");
    alex.line("/join #ops");
    alex.wait_for_line("#ops Alex>");
    here.until("the departure", |e| e.kind == Kind::Leave);
    there.say("hello", 1);
    alex.wait_for("There: hello");
    alex.line("hello too");
    there.until("the answer", |e| e.text == "hello too");
    alex.keys(&["C-d"]);
    assert_eq!(alex.ended(), 0);
    there.until("the departure", |e| e.kind == Kind::Leave);
}
