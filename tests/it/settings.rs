//! The client's settings and how it looks with them.

use std::os::unix::fs::PermissionsExt;

use chitchat::wire::Request;
use serde_json::Value;

use crate::support::{Peer, Program, TestServer, Tmux, join};

/// The sequences that colour what is shown, without those that end a colour.
fn sequences(coloured: &str) -> Vec<&str> {
    let sequences = coloured.split("\u{1b}[").skip(1);
    sequences
        .filter_map(|s| s.split_once('m'))
        .map(|(codes, _)| codes.trim_start_matches("0;"))
        .filter(|codes| !["", "0", "39", "49"].contains(codes))
        .collect()
}

#[test]
fn colours_can_be_read_on_any_background_and_can_be_switched_off() {
    let server = TestServer::start();
    let mut aske = Peer::join(&server.address, "Aske", 1);
    // (arguments, environment, whether there are colours, and if so 256)
    for (args, environment, many) in [
        ("", "", Some(true)),
        ("", "TERM=screen ", Some(false)),
        ("", "TERM=screen COLORTERM=truecolor ", Some(true)),
        ("", "NO_COLOR=1 ", None),
        ("--color never", "", None),
        ("--color always", "NO_COLOR=1 ", Some(true)),
    ] {
        let alex = Tmux::start(80, 24);
        alex.run(&format!(
            "clear; {environment}$C client Alex --server {} {args}",
            server.address
        ));
        alex.wait_for("Alex joined");
        aske.say("hi Alex", 1);
        alex.wait_for("Aske: hi Alex");
        alex.wait_for_line("Alex>");
        let screen = alex.coloured();
        let sequences = sequences(&screen);
        let case = format!("{args} {environment}: {sequences:?}");
        let is_name = |codes: &&&str| !["1", "2", "7"].contains(codes);
        let names: Vec<_> = sequences.iter().filter(is_name).collect();
        match many {
            None => assert_eq!(sequences, [""; 0], "{case}"),
            Some(many) => {
                // Only a name is coloured, and nothing has a background.
                let [name] = names[..] else { panic!("{case}") };
                assert_eq!(name.starts_with("38;5;"), many, "{case}");
                assert!(many || ["35", "91", "94", "95"].contains(name), "{case}");
            }
        }
        alex.keys(&["C-d"]);
        assert_eq!(alex.ended(), 0);
    }
}

#[test]
fn many_joins_of_the_past_are_one_line_and_the_past_is_marked() {
    let server = TestServer::start();
    let peers: Vec<_> = (1..=6)
        .map(|n| Peer::join(&server.address, &format!("Peer {n}"), n))
        .collect();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "--last 100 --clock --time");
    alex.wait_for("~L=1…6");
    let screen = alex.screen();
    let crowd = screen
        .lines()
        .find(|l| l.contains('…'))
        .expect("a line for all");
    assert!(
        crowd.ends_with("Peer 1, Peer 2 and 4 more joined"),
        "{screen}"
    );
    assert!(
        crowd.as_bytes()[2] == b':' && crowd.contains(" me="),
        "{crowd}"
    );
    assert!(
        screen.contains("-- earlier:") && screen.contains("-- now:"),
        "{screen}"
    );
    drop(peers);
}

#[test]
fn the_bell_rings_for_what_concerns_one_and_only_if_that_is_wanted() {
    let server = TestServer::start();
    let mut aske = Peer::join(&server.address, "Aske", 1);
    aske.say("Alex, are you there?", 1);
    aske.next();
    for (args, rings) in [("--last 9 --bell", 2), ("--last 9", 0)] {
        let alex = Tmux::start(80, 24);
        let bytes = alex.record();
        alex.run(&format!(
            "clear; $C client Alex --server {} {args}",
            server.address
        ));
        alex.wait_for("Alex joined");
        alex.line("Alex is my own name");
        alex.wait_for("Alex: Alex is my own name");
        aske.say("Alexander is somebody else", 2);
        aske.say("hello ALEX", 3);
        aske.send(vec![Request::Say {
            text: "psst".to_owned(),
            to: "Alex".to_owned(),
            sent: 4,
        }]);
        let last = format!("the last one of {rings}");
        aske.say(&last, 5);
        let shown = bytes.until(&last);
        assert_eq!(shown.matches('\u{7}').count(), rings, "{args}: {shown:?}");
        alex.keys(&["C-d"]);
        assert_eq!(alex.ended(), 0);
    }
}

#[test]
fn the_time_of_day_is_that_of_the_zone_and_its_summer_time() {
    let server = TestServer::start();
    let mut aske = Peer::join(&server.address, "Aske", 1);
    // (zone, minutes east of Greenwich now): one whose summer never ends.
    for (zone, east) in [("UTC", 0), ("'AAA-1BBB-5:30,J1/0,J365/25'", 330)] {
        let alex = Tmux::start(80, 24);
        alex.run(&format!(
            "clear; TZ={zone} $C client Alex --server {} --time",
            server.address
        ));
        alex.wait_for("Alex joined");
        aske.say("what time is it?", 1);
        let said = aske.until("the question", |e| e.text == "what time is it?");
        let minutes = said.last().unwrap().wall_ms / 60_000 + east;
        let time = format!("{:02}:{:02} ", minutes / 60 % 24, minutes % 60);
        let shown = alex.wait_until("the question", |s| s.contains("what time is it?"));
        let line = shown.lines().find(|l| l.contains("what time")).unwrap();
        assert!(line.starts_with(&time), "{time} in {zone}: {line}");
        alex.keys(&["C-d"]);
        assert_eq!(alex.ended(), 0);
    }
}

#[test]
fn typed_lines_are_kept_for_later_runs_where_only_their_writer_reads_them() {
    let server = TestServer::start();
    let alex = Tmux::client(80, 24, "Alex", &server.address, "--history=false");
    alex.line("not kept");
    alex.wait_for("Alex: not kept");
    alex.keys(&["C-d"]);
    alex.ended();
    let file = alex.home().join(".local/state/chitchat/typed");
    assert!(!file.exists());
    for run in ["one", "two"] {
        alex.run(&format!(
            "clear; $C client Alex --server {}",
            server.address
        ));
        alex.wait_for_line("Alex>");
        if run == "two" {
            alex.keys(&["Up"]);
            alex.wait_for_line("Alex> kept one");
            alex.keys(&["C-c"]);
        }
        alex.line(&format!("kept {run}"));
        alex.wait_for(&format!("Alex: kept {run}"));
        alex.keys(&["C-d"]);
        assert_eq!(alex.ended(), 0);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept.contains("kept one\nkept two\n") && !kept.contains("not kept"),
        "{kept}"
    );
}

#[test]
fn settings_come_from_a_file_and_a_bad_one_is_told_with_its_line() {
    let server = TestServer::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my settings.toml");
    let text = format!(
        "# mine\nserver = \"{}\"\nname = \"Ann\"\nroom = \"ops\"\n",
        server.address
    );
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let mut ann = Program::start(&["client", "--config", path]);
    ann.wait_for("Participant Ann joined #ops at logical time L=2");
    let (status, out, _) =
        Program::start(&["client", "Bo", "--config", path, "--print-config"]).end();
    assert!(status.success());
    assert!(out[0].ends_with("my settings.toml, line 2"), "{out:#?}");
    assert_eq!(out[1], format!("{:<34} # command line", "name = \"Bo\""));
    std::fs::write(path, "server = \"x:1\"\nbell = loud\n").unwrap();
    let (status, _, err) = Program::start(&["client", "--config", path]).end();
    assert_eq!(status.code(), Some(1));
    let end = "my settings.toml, line 2: bell must be true or false, not «loud»";
    assert!(err.last().unwrap().ends_with(end), "{err:#?}");
    let (status, _, err) = Program::start(&["client", "--config", "nowhere.toml"]).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        err.last().unwrap().contains("cannot read nowhere.toml"),
        "{err:#?}"
    );
}

#[test]
fn for_programs_every_happening_is_an_object() {
    let (server, address) = Program::server(&[]);
    let mut early = Peer::join(&address, "Early", 1);
    early.say("before\u{1b}", 1);
    early.next();
    let mut bot = Program::client(
        "Bot",
        &address,
        &["--json", "--last", "1", "--reconnect", "0"],
    );
    let parsed =
        |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let past = parsed(&bot.wait_for("before"));
    for (key, value) in [
        ("kind", Value::from("message")),
        ("room", "Chit Chat".into()),
        ("sender", "Early".into()),
        ("text", "before\u{1b}".into()),
        ("L", 2.into()),
        ("seq", 2.into()),
        ("sent", 1.into()),
        ("own", 3.into()),
        ("to", Value::Null),
        ("replayed", true.into()),
    ] {
        assert_eq!(past[key], value, "{key} of {past}");
    }
    assert!(past["wall_ms"].as_i64().unwrap() > 1_600_000_000_000);
    let joined = parsed(&bot.wait_for("\"join\""));
    assert_eq!(
        (&joined["sender"], &joined["replayed"]),
        (&"Bot".into(), &false.into())
    );
    bot.type_line("/who is sent as it is");
    assert_eq!(parsed(&bot.wait_for("/who"))["kind"], "message");
    server.signal("-TERM");
    let ended = parsed(&bot.wait_for("ended"));
    assert_eq!(
        (&ended["why"], &ended["unsent"]),
        (&"the server is stopping".into(), &0.into())
    );
    let (status, out, _) = bot.end();
    assert_eq!(status.code(), Some(5));
    assert!(out.iter().all(|l| parsed(l)["kind"].is_string()));
}

#[test]
fn in_a_pipe_lines_are_plain_unless_colours_are_asked_for() {
    let server = TestServer::start();
    let mut ask = join("Talker", 1);
    ask.room = "ops".to_owned();
    let mut talker = Peer::ask(&server.address, ask);
    let mut plain = Program::client("Plain", &server.address, &["--room", "ops"]);
    let mut always = Program::client(
        "Always",
        &server.address,
        &["--room", "ops", "--color", "always"],
    );
    plain.wait_for("Plain joined");
    always.wait_for("Always joined");
    talker.say("x: y", 1);
    assert!(plain.wait_for("x: y").ends_with("] Talker: x: y"));
    assert!(
        always
            .wait_for("x: y")
            .ends_with("]\u{1b}[0m \u{1b}[1mTalker\u{1b}[0m: x: y")
    );
}

#[test]
fn shells_and_readers_of_manuals_are_served() {
    for shell in ["bash", "zsh", "fish"] {
        let (status, out, _) = Program::start(&["completions", shell]).end();
        assert!(status.success());
        assert!(out.iter().any(|l| l.contains("print-config")), "{shell}");
    }
    let (status, out, _) = Program::start(&["man"]).end();
    assert!(status.success());
    assert!(
        out.iter().any(|l| l.starts_with(".TH chitchat-client ")),
        "{out:#?}"
    );
    // Which variables of the environment count, too.
    let variable = |l: &String| l.contains("CHITCHAT_STORE");
    assert!(out.iter().any(variable), "{out:#?}");
}
