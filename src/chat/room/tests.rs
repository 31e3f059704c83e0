use super::*;
use crate::chat::MAX_AHEAD;

const SECRET: Secret = Secret([1; 32]);

fn room() -> Room {
    Room::new(RoomId {
        no: 1,
        name: Name::parse_room("").unwrap(),
    })
}

fn ask(name: &str, id: i32, session: SessionNo) -> Ask {
    let name = Name::parse(name).unwrap();
    Ask {
        id,
        name,
        secret: None,
        sent: 0,
        session,
        fresh: MemberKey(100 + session),
    }
}

fn with_secret(name: &str, id: i32, session: SessionNo) -> Ask {
    Ask {
        secret: Some(SECRET),
        ..ask(name, id, session)
    }
}

fn stamped(said: Said) -> Event {
    match said {
        Said::Stamped(event, _) => event,
        other => panic!("{other:?}"),
    }
}

fn refused(said: Said) -> (String, i64, Audience) {
    match said {
        Said::Refused(event, audience) => (event.text, event.time, audience),
        other => panic!("{other:?}"),
    }
}

fn left(loss: Loss) -> Parted {
    match loss {
        Loss::Left(parted) => parted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn times_rise_and_numbers_have_no_gap_though_refusals_tick_the_clock() {
    let mut room = room();
    let alex = room.join(ask("Alex", 1, 1), 0).unwrap();
    assert_eq!((alex.event.time, alex.event.seq, alex.seam), (1, 1, 0));
    let hi = stamped(room.say(alex.key, 1, "hi", "", 1, 0));
    assert_eq!((hi.time, hi.seq), (2, 2));
    let (text, time, audience) = refused(room.say(alex.key, 1, " ", "", 2, 0));
    assert_eq!(
        (text.as_str(), time, audience),
        ("Message is empty.", 3, Audience::One(alex.key))
    );
    let ho = stamped(room.say(alex.key, 1, "ho", "", 3, 0));
    assert_eq!((ho.time, ho.seq), (4, 3));
    let ahead = stamped(room.say(alex.key, 1, "ahead", "", 90, 0));
    assert_eq!((ahead.time, ahead.seq), (91, 4));
    assert_eq!(room.clock(), 91);
}

#[test]
fn an_impossible_time_is_refused_and_raises_nothing() {
    let mut room = room();
    let alex = room.join(ask("Alex", 1, 1), 0).unwrap();
    for sent in [-1, i64::MAX, MAX_AHEAD + 10] {
        let before = room.clock();
        let (_, time, _) = refused(room.say(alex.key, 1, "x", "", sent, 0));
        assert_eq!(time, before + 1, "{sent}");
    }
    let late = Ask {
        sent: -5,
        ..ask("Late", 2, 2)
    };
    assert_eq!(room.join(late, 0).unwrap_err(), Refused::Time(-5));
    let parted = room.leave(alex.key, 1, i64::MAX, 0).unwrap();
    assert_eq!(parted.event.time, 5);
}

#[test]
fn a_refused_join_changes_nothing() {
    let mut room = room();
    room.join(with_secret("Alex", 1, 1), 0).unwrap();
    let clock = room.clock();
    for (ask, why) in [
        (ask("aLEX", 2, 2), "the name «aLEX» is taken in Chit Chat"),
        (ask("Aske", 1, 2), "the id 1 is taken in Chit Chat"),
        (
            with_secret("Aske", 2, 2),
            "this secret belongs to «Alex», who is in Chit Chat",
        ),
    ] {
        assert_eq!(room.join(ask, 0).unwrap_err().to_string(), why);
    }
    assert_eq!((room.clock(), room.members().count()), (clock, 1));
}

#[test]
fn without_a_secret_a_loss_is_the_end_and_with_one_it_is_not() {
    let mut room = room();
    let alex = room.join(ask("Alex", 1, 1), 0).unwrap();
    let aske = room.join(with_secret("Aske", 2, 2), 0).unwrap();
    let parted = left(room.lose(alex.key, 1, 0));
    assert_eq!(
        parted.event.text,
        "Participant Alex left Chit Chat at logical time L=3"
    );
    assert!(matches!(room.lose(alex.key, 1, 0), Loss::None), "only once");
    assert!(matches!(room.lose(aske.key, 2, 0), Loss::Away));
    assert!(!room.member(aske.key).unwrap().is_here());
    let parted = room.expire(aske.key, 2, 0).unwrap();
    assert!(parted.remembered);
    assert!(room.expire(aske.key, 2, 0).is_none(), "only once");
}

#[test]
fn a_resume_takes_the_seat_over_and_the_old_session_says_nothing_any_more() {
    let mut room = room();
    let first = room.join(with_secret("Alex", 1, 1), 0).unwrap();
    stamped(room.say(first.key, 1, "one", "", 5, 0));
    let again = room.join(with_secret("Alex", 77, 2), 0).unwrap();
    assert!(again.resumed);
    assert_eq!((again.key, again.id, again.seam), (first.key, 1, 6));
    assert_eq!(
        (again.event.time, again.event.seq, again.audience),
        (7, 0, Audience::One(first.key))
    );
    assert!(matches!(
        room.say(first.key, 1, "from the old stream", "", 6, 0),
        Said::Superseded
    ));
    assert!(room.leave(first.key, 1, 9, 0).is_none());
    assert!(matches!(room.lose(first.key, 1, 0), Loss::None));
    assert!(room.expire(first.key, 1, 0).is_none());
    stamped(room.say(first.key, 2, "from the new one", "", 6, 0));
}

#[test]
fn what_is_sent_again_is_recognised_and_what_does_not_rise_is_refused() {
    let mut room = room();
    let alex = room.join(with_secret("Alex", 1, 1), 0).unwrap();
    stamped(room.say(alex.key, 1, "one", "", 5, 0));
    refused(room.say(alex.key, 1, "", "", 6, 0));
    room.lose(alex.key, 1, 0);
    room.join(
        Ask {
            sent: 9,
            ..with_secret("Alex", 1, 2)
        },
        0,
    )
    .unwrap();
    for sent in [5, 6] {
        assert!(
            matches!(
                room.say(alex.key, 2, "again", "", sent, 0),
                Said::Repeated(_)
            ),
            "{sent}"
        );
    }
    stamped(room.say(alex.key, 2, "sent before the loss, not heard", "", 7, 0));
    let (text, ..) = refused(room.say(alex.key, 2, "no later", "", 7, 0));
    assert_eq!(text, "Timestamp 7 does not rise above 7.");
}

#[test]
fn who_left_is_recognised_when_it_comes_back() {
    let mut room = room();
    let alex = room.join(with_secret("Alex", 1, 1), 0).unwrap();
    stamped(room.say(alex.key, 1, "one", "", 5, 0));
    room.leave(alex.key, 1, 6, 0).unwrap();
    assert_eq!(room.owner_of(&SECRET), Some(alex.key));
    let back = room.join(with_secret("Alexander", 1, 2), 0).unwrap();
    assert_eq!((back.key, back.resumed), (alex.key, false));
    assert!(matches!(
        room.say(back.key, 2, "one", "", 5, 0),
        Said::Repeated(_)
    ));
}

#[test]
fn those_who_are_remembered_are_bounded() {
    let mut room = room();
    let mut forgotten = 0;
    for n in 0..=MAX_REMEMBERED as u64 {
        let ask = Ask {
            secret: Some(secret(n)),
            ..ask("Alex", 1, n)
        };
        let key = room.join(ask, 0).unwrap().key;
        let parted = room.leave(key, n, 0, 0).unwrap();
        forgotten += parted.forgotten.len();
    }
    assert_eq!(forgotten, 1);
    assert_eq!(room.remembered.len(), MAX_REMEMBERED);
    assert_eq!(room.remembered_order.len(), MAX_REMEMBERED);
}

#[test]
fn a_private_message_is_for_two_and_has_no_number() {
    let mut room = room();
    let alex = room.join(ask("Alex", 1, 1), 0).unwrap();
    let aske = room.join(ask("Åse", 2, 2), 0).unwrap();
    match room.say(alex.key, 1, "psst", " åSE ", 3, 0) {
        Said::Stamped(event, audience) => {
            assert_eq!((event.seq, event.to.as_deref()), (0, Some("Åse")));
            assert_eq!(audience, Audience::Two(alex.key, aske.key));
        }
        other => panic!("{other:?}"),
    }
    let (text, ..) = refused(room.say(alex.key, 1, "psst", "Nobody\u{1b}[2J", 4, 0));
    assert_eq!(text, "There is no participant «Nobody[2J» here.");
    let longest = "ø".repeat(32);
    let (text, ..) = refused(room.say(alex.key, 1, "psst", &longest, 4, 0));
    assert_eq!(text, format!("There is no participant «{longest}» here."));
    for too_long in [33, 65_000] {
        let to = format!(" {} ", "ø".repeat(too_long));
        let (text, ..) = refused(room.say(alex.key, 1, "psst", &to, 4, 0));
        assert_eq!(text, "A name has at most 32 characters.");
    }
    assert_eq!(stamped(room.say(alex.key, 1, "hi", "", 5, 0)).seq, 3);
}

fn stored_member(
    key: u64,
    name: &str,
    secret: Option<Secret>,
    present: bool,
    last_sent: i64,
) -> StoredMember {
    StoredMember {
        key: MemberKey(key),
        id: key as i32,
        name: Name::parse(name).unwrap(),
        secret,
        joined: 1,
        last_sent,
        present,
    }
}

/// The secret that only this number has.
fn secret(n: u64) -> Secret {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&n.to_le_bytes());
    Secret(secret)
}

/// A room that is to remember so many, as it was left by participants with
/// these keys and secrets: the first has been gone for longest.
fn left_by(gone: impl IntoIterator<Item = (u64, Secret)>, most_remembered: usize) -> Room {
    let members = gone.into_iter();
    let stored = StoredRoom {
        id: room().id().as_ref().clone(),
        clock: 40,
        seq: 20,
        members: members
            .map(|(key, secret)| stored_member(key, "Gone", Some(secret), false, 9))
            .collect(),
    };
    Room::restore(stored, most_remembered)
}

#[test]
fn a_restored_room_remembers_as_many_as_it_is_to() {
    let many = MAX_REMEMBERED as u64 + 1;
    let room = left_by((0..many).map(|n| (n, secret(n))), many as usize);
    for n in 0..many {
        assert_eq!(room.owner_of(&secret(n)), Some(MemberKey(n)));
    }
}

#[test]
fn those_who_are_too_many_are_forgotten_with_the_next_that_leaves() {
    let mut room = left_by((1..=5).map(|n| (n, secret(n))), 2);
    let alex = room.join(with_secret("Alex", 7, 1), 0).unwrap().key;
    let parted = room.leave(alex, 1, 0, 0).unwrap();
    assert_eq!(parted.forgotten, [1, 2, 3, 4].map(MemberKey));
    let known = [4, 5].map(|n| room.owner_of(&secret(n)));
    assert_eq!(known, [None, Some(MemberKey(5))]);
    assert_eq!(room.owner_of(&SECRET), Some(alex));
}

#[test]
fn of_two_with_one_secret_the_later_is_remembered() {
    let gone = [(1, SECRET), (2, secret(2)), (3, SECRET)];
    let mut room = left_by(gone, 2);
    // Without a secret it takes no place itself.
    let aske = room.join(ask("Aske", 7, 1), 0).unwrap().key;
    let parted = room.leave(aske, 1, 0, 0).unwrap();
    assert_eq!(parted.forgotten, [MemberKey(1)]);
    assert_eq!(room.owner_of(&SECRET), Some(MemberKey(3)));
    assert_eq!(room.owner_of(&secret(2)), Some(MemberKey(2)));
}

#[test]
fn a_restored_room_goes_on_where_it_was() {
    let stored = StoredRoom {
        id: RoomId {
            no: 3,
            name: Name::parse("ops").unwrap(),
        },
        clock: 40,
        seq: 20,
        members: vec![
            stored_member(1, "Alex", Some(SECRET), true, 9),
            stored_member(2, "Aske", None, true, 0),
            stored_member(3, "Gone", Some(Secret([2; 32])), false, 30),
        ],
    };
    let mut room = Room::restore(stored, MAX_REMEMBERED);
    let back = room.join(with_secret("Alex", 5, 1), 0).unwrap();
    assert_eq!(
        (back.key, back.resumed, back.event.time),
        (MemberKey(1), true, 41)
    );
    assert!(matches!(
        room.say(back.key, 1, "old", "", 9, 0),
        Said::Repeated(_)
    ));
    let parted = room.expire(MemberKey(2), 0, 0).unwrap();
    assert_eq!((parted.event.time, parted.event.seq), (43, 21));
    assert_eq!(
        parted.event.text,
        "Participant Aske left #ops at logical time L=43"
    );
    let gone = Ask {
        secret: Some(Secret([2; 32])),
        ..ask("Gone", 7, 2)
    };
    assert_eq!(room.join(gone, 0).unwrap().key, MemberKey(3));
    assert!(matches!(
        room.say(MemberKey(3), 2, "old", "", 30, 0),
        Said::Repeated(_)
    ));
}

#[test]
fn an_id_of_zero_is_replaced_by_a_free_one() {
    let mut room = room();
    let first = room.join(ask("A", 0, 1), 0).unwrap().id;
    let second = room
        .join(
            Ask {
                fresh: MemberKey(101),
                ..ask("B", 0, 2)
            },
            0,
        )
        .unwrap()
        .id;
    assert!(first > 0 && second > 0 && first != second);
}
