//! A room at one place of its stream, as JSON: where it may begin.

use redis::{Connection, Script};
use serde_json::{Value, json};

use super::entry::{from_hex, hex};
use super::{SharedError, beginning, stream};
use crate::chat::{
    Member, MemberKey, Name, Presence, RememberedMember, Room, RoomId, RoomSnapshot,
};

/// Snapshots that a room keeps. With one more, the one between the others that
/// is missed least goes.
const MOST: usize = 12;

/// A room at one place of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The room; its clock is the place.
    pub room: RoomSnapshot,
    /// The number of the command at that place.
    pub number: u64,
    /// The group of that command.
    pub group: String,
    /// How many events the room has had, whoever could see them.
    pub events: u64,
    /// When, by the clock on the wall: milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Snapshot {
    /// A room in which nothing has happened.
    pub fn of_nothing(id: &RoomId, most_remembered: usize) -> Self {
        let mut room = Room::new(id.clone());
        room.remember_at_most(most_remembered);
        Self {
            room: room.snapshot(),
            number: 0,
            group: String::new(),
            events: 0,
            wall_ms: 0,
        }
    }

    fn to_json(&self) -> String {
        let room = &self.room;
        let member = |m: &Member| {
            let (presence, session) = match m.presence {
                Presence::Here(session) => ("here", session),
                Presence::Away(session) => ("away", session),
            };
            json!({
                "key": m.key.0, "id": m.id, "name": m.name.as_str(),
                "secret": m.secret.as_ref().map(hex), "joined": m.joined,
                "last_sent": m.last_sent, "settled": m.settled, presence: session,
            })
        };
        let remembered = room.remembered.iter().map(|(secret, member)| {
            json!({ "secret": hex(secret), "key": member.key.0, "last_sent": member.last_sent })
        });
        json!({
            "L": room.clock, "n": self.number, "group": self.group, "events": self.events, "wall_ms": self.wall_ms,
            "seq": room.seq,
            "members": room.members.iter().map(member).collect::<Vec<_>>(),
            "remembered": remembered.collect::<Vec<_>>(),
        })
        .to_string()
    }

    pub(super) fn parse(id: &RoomId, most_remembered: usize, text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let secret = |value: &Value| from_hex(value.as_str()?);
        let member = |json: &Value| {
            Some(Member {
                key: MemberKey(json["key"].as_u64()?),
                id: json["id"].as_i64()?.try_into().ok()?,
                name: Name::parse(json["name"].as_str()?).ok()?,
                secret: match &json["secret"] {
                    Value::Null => None,
                    digest => Some(secret(digest)?),
                },
                joined: json["joined"].as_i64()?,
                last_sent: json["last_sent"].as_i64()?,
                settled: json["settled"].as_i64()?,
                presence: match json["here"].as_u64() {
                    Some(session) => Presence::Here(session),
                    None => Presence::Away(json["away"].as_u64()?),
                },
            })
        };
        let remembered = |json: &Value| {
            let member = RememberedMember {
                key: MemberKey(json["key"].as_u64()?),
                last_sent: json["last_sent"].as_i64()?,
            };
            Some((secret(&json["secret"])?, member))
        };
        let list = |field: &str| json[field].as_array();
        Some(Self {
            room: RoomSnapshot {
                id: id.clone(),
                clock: json["L"].as_i64()?,
                seq: json["seq"].as_u64()?,
                members: list("members")?.iter().map(member).collect::<Option<_>>()?,
                remembered: list("remembered")?
                    .iter()
                    .map(remembered)
                    .collect::<Option<_>>()?,
                most_remembered,
            },
            number: json["n"].as_u64()?,
            group: json["group"].as_str()?.to_owned(),
            events: json["events"].as_u64()?,
            wall_ms: json["wall_ms"].as_i64()?,
        })
    }
}

/// Adds a snapshot to its room's list, and lets the room begin at the last one
/// that `may_begin` allows.
pub(super) fn keep(
    connection: &mut Connection,
    most_remembered: usize,
    snapshot: &Snapshot,
    may_begin: impl Fn(&Snapshot) -> bool,
) -> Result<(), SharedError> {
    let id = &snapshot.room.id;
    let key = beginning(id.no);
    let found: Vec<String> = redis::cmd("ZRANGE")
        .arg(&key)
        .arg(&[0, -1])
        .query(connection)?;
    let nothing = Snapshot::of_nothing(id, most_remembered);
    let mut list: Vec<Snapshot> = Vec::new();
    if found.is_empty() {
        // So far the room begins at its beginning.
        list.push(nothing.clone());
    }
    // One that cannot be read is no place to begin at, and goes with the others.
    let parse = |text: &String| Snapshot::parse(id, most_remembered, text);
    list.extend(found.iter().filter_map(parse));
    list.retain(|known| known.room.clock < snapshot.room.clock);
    list.push(snapshot.clone());
    let first = list.iter().rposition(may_begin);
    let times = list.iter().skip(first.unwrap_or(0)).map(|s| s.room.clock);
    let trim = Script::new(include_str!("trim.lua"));
    let mut call = trim.prepare_invoke();
    call.key(&key).key(stream(id.no));
    call.arg(snapshot.room.clock)
        .arg(snapshot.to_json())
        .arg(nothing.to_json())
        .arg(first.map_or(0, |at| list[at].room.clock));
    for time in superfluous(times.collect()) {
        call.arg(time);
    }
    call.invoke::<()>(connection)?;
    Ok(())
}

/// Which of these, between the first and the last, are missed least.
fn superfluous(mut times: Vec<i64>) -> Vec<i64> {
    let mut gone = Vec::new();
    while times.len() > MOST {
        let gap = |at: &usize| times[at + 1] - times[at - 1];
        let Some(at) = (1..times.len() - 1).min_by_key(gap) else {
            break;
        };
        gone.push(times.remove(at));
    }
    gone
}
