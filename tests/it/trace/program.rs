//! `chitchat check`, `chitchat diagram` and `chitchat before`, as they are
//! called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::folder;

fn chitchat(arguments: &[&str], logs: &[PathBuf]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chitchat"));
    command.args(arguments).args(logs).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_tells_by_its_exit_code() {
    let holds = chitchat(&["check"], &folder("lawful"));
    assert_eq!(holds.status.code(), Some(0), "{}", out(&holds));
    let violated = chitchat(&["check"], &folder("broken/two-orders"));
    assert_eq!(violated.status.code(), Some(1));
    assert!(
        out(&violated).starts_with("violated: one order\n"),
        "{}",
        out(&violated)
    );
    for file in ["no/such.log", "Cargo.toml"] {
        let unreadable = chitchat(&["check"], &[file.into()]);
        assert_eq!(unreadable.status.code(), Some(2), "{file}");
        assert!(err(&unreadable).contains(file), "{}", err(&unreadable));
    }
}

#[test]
fn a_log_that_is_named_twice_is_read_once() {
    let mut logs = folder("lawful");
    logs.extend(folder("lawful"));
    logs.push("tests/logs/../logs/lawful/bob.log".into());
    let output = chitchat(&["check"], &logs);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("in 4 files"), "{}", out(&output));
}

#[test]
fn before_shows_the_chain() {
    let logs = folder("lawful");
    let answer = chitchat(&["before", "7", "Bob:6"], &logs);
    assert_eq!(answer.status.code(), Some(0));
    let words = out(&answer);
    assert!(words.starts_with("7 happened before Bob:6:\n"), "{words}");
    for line in ["server.log:5", "bob.log:5", "bob.log:6"] {
        assert!(words.contains(line), "{line}\n{words}");
    }
    let words = out(&chitchat(&["before", "alex:9", "2"], &logs));
    assert!(words.starts_with("alex:9 happened after 2:\n"), "{words}");
    let words = out(&chitchat(&["before", "Alex:9", "Bob:7"], &logs));
    assert!(words.contains("are concurrent"), "{words}");
    let words = out(&chitchat(
        &["before", "7", "tests/logs/lawful/server.log:5"],
        &logs,
    ));
    assert!(words.contains("are one event"), "{words}");
}

#[test]
fn before_says_why_an_event_is_not_found() {
    for (event, why) in [
        ("99", "no event of the server has L=99"),
        ("Zoe:3", "neither a process"),
        ("Bob:1", "no event that has a place"),
        ("Bob:99", "no event that has a place"),
        ("nonsense", "is no event"),
    ] {
        let answer = chitchat(&["before", event, "7"], &folder("lawful"));
        assert_eq!(answer.status.code(), Some(2), "{event}");
        assert!(err(&answer).contains(why), "{event}: {}", err(&answer));
    }
}

#[test]
fn diagram_writes_what_the_name_asks_for() {
    let folder_of = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let logs = folder("lawful");
    for (name, begin) in [
        ("drawn.svg", "<svg "),
        ("drawn.mmd", "sequenceDiagram\n"),
        ("drawn.shiviz", "Alex {\"Alex\":1}\n"),
    ] {
        let path = folder_of.join(name);
        let output = chitchat(&["diagram", "-o", path.to_str().unwrap()], &logs);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(begin), "{}", &text[..60]);
        assert_eq!(err(&output).contains("(?<host>"), name.ends_with("shiviz"));
    }
    let output = chitchat(&["diagram", "-o", "drawn.png"], &logs);
    assert_eq!(output.status.code(), Some(2));
    let output = chitchat(&["diagram", "--format", "mermaid"], &logs);
    assert!(out(&output).starts_with("sequenceDiagram\n"));
    let output = chitchat(&["diagram", "--only", "Zoe"], &logs);
    assert_eq!(output.status.code(), Some(2));
}
