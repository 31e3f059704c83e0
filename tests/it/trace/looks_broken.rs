//! Logs of lawful runs that look as if a law were broken.

use chitchat::trace::laws::Law;

use super::verdict;

/// Asserts that logs, each a process and its lines without their beginnings,
/// break no law.
fn holds(logs: &[(&str, &str)]) {
    let text = |(at, (process, lines)): (usize, &(&str, &str))| {
        let line = |line: &str| format!("t INFO [{process}] {}: x\n", line.trim());
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        (format!("{at}.log"), lines.map(line).collect())
    };
    let (broken, words) = verdict(logs.iter().enumerate().map(text).collect());
    assert!(broken.is_empty(), "{words}");
    assert!(!words.contains("not judged"), "{words}");
}

/// Alex is lost and expires; somebody else has the name for a while and gets a
/// private message; Alex joins, does not hear of it, and resumes.
#[test]
fn what_was_for_somebody_else_of_the_same_name_is_not_missed() {
    let server = "\
        t INFO [Server] START: x
        t INFO [Server] JOIN L=2 seq=1 room=r who=Alex sent=1: x
        t INFO [Server] MESSAGE L=5 seq=2 room=r who=Alex sent=4: x
        t INFO [Server] LEAVE L=6 seq=3 room=r who=Alex sent=0 why=expired: x
        t INFO [Server] JOIN L=8 seq=4 room=r who=ALEX sent=1: x
        t INFO [Server] MESSAGE L=9 room=r who=ALEX sent=7 to=ALEX: x
        t INFO [Server] LEAVE L=10 seq=5 room=r who=ALEX sent=8 why=left: x
        t INFO [Server] JOIN L=11 seq=6 room=r who=Alex sent=7: x
        t INFO [Server] RESUME L=12 room=r who=Alex sent=8: x
        t INFO [Server] MESSAGE L=16 seq=7 room=r who=Alex sent=15: x
        t INFO [Server] STOP: x
";
    let client = "\
        t INFO [Client Alex] START L=0: x
        t INFO [Client Alex] SEND L=1 kind=join room=r: x
        t INFO [Client Alex] DELIVER L=3 of=2 room=r seq=1 kind=join who=Alex sent=1 replayed=0: x
        t INFO [Client Alex] SEND L=4 kind=message room=r: x
        t INFO [Client Alex] DELIVER L=6 of=5 room=r seq=2 kind=message who=Alex sent=4 replayed=0: x
        t INFO [Client Alex] LOST: x
        t INFO [Client Alex] SEND L=7 kind=join room=r: x
        t INFO [Client Alex] SEND L=8 kind=join room=r: x
        t INFO [Client Alex] DELIVER L=9 of=6 room=r seq=3 kind=leave who=Alex sent=0 replayed=1: x
        t INFO [Client Alex] DELIVER L=10 of=8 room=r seq=4 kind=join who=ALEX sent=1 replayed=1: x
        t INFO [Client Alex] DELIVER L=11 of=10 room=r seq=5 kind=leave who=ALEX sent=8 replayed=1: x
        t INFO [Client Alex] DELIVER L=12 of=11 room=r seq=6 kind=join who=Alex sent=7 replayed=1: x
        t INFO [Client Alex] DELIVER L=13 of=12 room=r seq=0 kind=join who=Alex sent=8 replayed=0: x
        t INFO [Client Alex] SEND L=15 kind=message room=r: x
        t INFO [Client Alex] DELIVER L=17 of=16 room=r seq=7 kind=message who=Alex sent=15 replayed=0: x
        t INFO [Client Alex] STOP: x
";
    let text = |lines: &str| lines.replace("        t INFO", "t INFO");
    let logs = [("server.log", server), ("alex.log", client)];
    let logs = logs.map(|(name, lines)| (name.to_owned(), text(lines)));
    let (broken, words) = verdict(logs.into());
    assert!(broken.is_empty(), "{words}");
}

/// A room may begin with the sign that is put before its name to show it.
#[test]
fn a_room_whose_name_begins_with_a_hash_is_another_room() {
    let server = r##"
        START
        JOIN L=2 seq=1 room="#ops" who=Alex sent=1
        JOIN L=2 seq=1 room=ops who=Alex sent=1
        STOP
    "##;
    holds(&[("Server", server)]);
}

/// Bob misses more than is kept, is told so, and begins with what there is.
#[test]
fn whoever_begins_anew_has_no_gap() {
    let server = "
        START
        JOIN L=2 seq=1 room=r who=Alex sent=1
        JOIN L=3 seq=2 room=r who=Bob sent=1
        LOST room=r who=Bob
        MESSAGE L=6 seq=3 room=r who=Alex sent=5
        MESSAGE L=8 room=r who=Alex sent=7 to=Bob
        MESSAGE L=10 seq=4 room=r who=Alex sent=9
        RESUME L=11 room=r who=Bob sent=6
        MESSAGE L=14 seq=5 room=r who=Bob sent=13
        STOP
    ";
    let bob = "
        START L=0
        SEND L=1 kind=join room=r
        DELIVER L=4 of=3 room=r seq=2 kind=join who=Bob sent=1 replayed=0
        LOST room=r
        SEND L=5 kind=join room=r
        SEND L=6 kind=join room=r last=4294967295
        DELIVER L=11 of=10 room=r seq=4 kind=message who=Alex sent=9 replayed=1
        DELIVER L=12 of=11 room=r seq=0 kind=join who=Bob sent=6 replayed=0
        SEND L=13 kind=message room=r
        DELIVER L=15 of=14 room=r seq=5 kind=message who=Bob sent=13 replayed=0
    ";
    holds(&[("Server", server), ("Client Bob", bob)]);
}

/// Bob was lost before the echo came, and what was said is not kept any more
/// when it is back; it says it again.
#[test]
fn who_repeats_something_is_told_that_it_was_received() {
    let server = "
        START
        JOIN L=2 seq=1 room=r who=Bob sent=1
        MESSAGE L=5 seq=2 room=r who=Bob sent=4
        MESSAGE L=8 seq=3 room=r who=Bob sent=7
        LOST room=r who=Bob
        RESUME L=9 room=r who=Bob sent=8
        REFUSED L=10 room=r who=Bob sent=7
        MESSAGE L=13 seq=4 room=r who=Bob sent=12
        STOP
    ";
    let bob = "
        START L=0
        SEND L=1 kind=join room=r
        DELIVER L=3 of=2 room=r seq=1 kind=join who=Bob sent=1 replayed=0
        SEND L=4 kind=message room=r
        DELIVER L=6 of=5 room=r seq=2 kind=message who=Bob sent=4 replayed=0
        SEND L=7 kind=message room=r
        LOST room=r
        SEND L=8 kind=join room=r last=4294967295
        DELIVER L=10 of=9 room=r seq=0 kind=join who=Bob sent=8 replayed=0
        REFUSED L=11 of=10 room=r sent=7
        SEND L=12 kind=message room=r
        DELIVER L=14 of=13 room=r seq=4 kind=message who=Bob sent=12 replayed=0
    ";
    holds(&[("Server", server), ("Client Bob", bob)]);
}

/// Bob leaves, comes back as Rob with the same secret, and repeats something;
/// what it never said it cannot repeat.
#[test]
fn who_comes_back_under_another_name_may_repeat_what_it_said_before() {
    let broken = |sent: i64| {
        let server = format!(
            "\
t INFO [Server] START: x
t INFO [Server] JOIN L=2 seq=1 room=r who=Bob sent=1: JOIN: Bob (ID=1) at L=2
t INFO [Server] MESSAGE L=8 seq=2 room=r who=Bob sent=7: Message from Bob: hi (L=8)
t INFO [Server] LEAVE L=9 seq=3 room=r who=Bob sent=8 why=left: REMOVED: Bob (ID=1)
t INFO [Server] JOIN L=11 seq=4 room=r who=Rob sent=10: JOIN: Rob (ID=1) at L=11
t INFO [Server] REFUSED L=12 room=r who=Rob sent={sent}: \
Refused Rob: Your message of L={sent} was received before. (L=12)
t INFO [Server] STOP: x
"
        );
        verdict(vec![("server.log".to_owned(), server)])
    };
    let (laws, words) = broken(7);
    assert!(laws.is_empty(), "{words}");
    assert_eq!(broken(6).0, [Law::NoGap]);
}

/// Redis was emptied between two runs of the servers, who say what they put
/// into whose outbox.
#[test]
fn outboxes_belong_to_the_history_of_their_run() {
    let first = "
        START log=a
        JOIN L=2 seq=1 room=r who=Alex sent=1
        DELIVER of=2 room=r seq=1 kind=join by=Alex
        JOIN L=3 seq=2 room=r who=Bob sent=1
        DELIVER of=3 room=r seq=2 kind=join by=Alex
        STOP
        START log=b
        JOIN L=2 seq=1 room=r who=Carol sent=1
        DELIVER of=2 room=r seq=1 kind=join by=Carol
        JOIN L=3 seq=2 room=r who=Dora sent=1
        DELIVER of=3 room=r seq=2 kind=join by=Carol
        STOP
    ";
    let second = "
        START log=a
        JOIN L=2 seq=1 room=r who=Alex sent=1
        JOIN L=3 seq=2 room=r who=Bob sent=1
        DELIVER of=3 room=r seq=2 kind=join by=Bob
        STOP
        START log=b
        JOIN L=2 seq=1 room=r who=Carol sent=1
        JOIN L=3 seq=2 room=r who=Dora sent=1
        DELIVER of=3 room=r seq=2 kind=join by=Dora
        STOP
    ";
    holds(&[("Server", first), ("Server", second)]);
}

/// Alex goes to another room and comes back before it has left this one: its
/// goodbye comes through another stream than its return, and is there first.
#[test]
fn whoever_comes_back_may_still_be_leaving() {
    let server = "
        START
        JOIN L=2 seq=1 room=r who=Alex sent=1
        JOIN L=5 seq=1 room=other who=Alex sent=4
        LEAVE L=9 seq=2 room=r who=Alex sent=8 why=left
        JOIN L=10 seq=3 room=r who=Alex sent=7
        MESSAGE L=13 seq=4 room=r who=Alex sent=12
        STOP
    ";
    let alex = "
        START L=0
        SEND L=1 kind=join room=r
        DELIVER L=3 of=2 room=r seq=1 kind=join who=Alex sent=1 replayed=0
        SEND L=4 kind=join room=other
        DELIVER L=6 of=5 room=other seq=1 kind=join who=Alex sent=4 replayed=0
        SEND L=7 kind=join room=r
        SEND L=8 kind=leave room=r
        DELIVER L=11 of=10 room=r seq=3 kind=join who=Alex sent=7 replayed=0
        SEND L=12 kind=message room=r
        DELIVER L=14 of=13 room=r seq=4 kind=message who=Alex sent=12 replayed=0
    ";
    holds(&[("Server", server), ("Client Alex", alex)]);
}
