//! How a command stands in a room's stream: as fields and values that a person
//! can read with `XRANGE`.

use std::collections::HashMap;

use crate::chat::{Command, Deed, MemberKey, Name, Secret, ServerNo};

/// A command at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its Lamport time: the first half of the stream's id.
    pub time: i64,
    /// Its number among the room's commands: 1, 2, 3 … without a gap.
    pub number: u64,
    /// Which group of which server it came with. With `time` and `number` it
    /// tells one history from another that was written over it.
    pub group: String,
    /// The command.
    pub command: Command,
}

impl Entry {
    /// Which server it came from.
    pub fn server(&self) -> Option<ServerNo> {
        self.group.split_once('/')?.0.parse().ok()
    }
}

/// The tag of a server's group.
pub(super) fn tag(server: ServerNo, group: u64) -> String {
    format!("{server}/{group}")
}

/// A command's fields and values, in turn.
pub(super) fn fields(command: &Command) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("session", command.session.to_string()),
        ("wall_ms", command.wall_ms.to_string()),
    ];
    match &command.deed {
        Deed::Join {
            id,
            name,
            secret,
            sent,
            fresh,
        } => fields.extend([
            ("do", "join".to_owned()),
            ("id", id.to_string()),
            ("name", name.to_string()),
            ("secret", secret.as_ref().map_or(String::new(), hex)),
            ("sent", sent.to_string()),
            ("fresh", fresh.0.to_string()),
        ]),
        Deed::Say {
            key,
            text,
            too_long,
            to,
            sent,
        } => {
            fields.extend([
                ("do", "say".to_owned()),
                ("key", key.0.to_string()),
                ("text", text.clone()),
                ("to", to.clone()),
                ("sent", sent.to_string()),
            ]);
            // A server that does not know this field refuses the empty text.
            fields.extend(too_long.map(|chars| ("chars", chars.to_string())));
        }
        Deed::Leave { key, sent, is_cut } => fields.extend([
            ("do", if *is_cut { "cut" } else { "leave" }.to_owned()),
            ("key", key.0.to_string()),
            ("sent", sent.to_string()),
        ]),
        Deed::Lose { key } => {
            fields.extend([("do", "lose".to_owned()), ("key", key.0.to_string())])
        }
        Deed::Expire { key } => {
            fields.extend([("do", "expire".to_owned()), ("key", key.0.to_string())]);
        }
    }
    fields
}

/// An entry out of what stands in the stream. `None`: it is not one of ours.
pub(super) fn read(id: &str, values: &[String]) -> Option<Entry> {
    let mut fields: HashMap<&str, &str> = HashMap::new();
    for pair in values.chunks_exact(2) {
        fields.insert(&pair[0], &pair[1]);
    }
    let text = |field: &str| fields.get(field).map(|value| (*value).to_owned());
    let number = |field: &str| fields.get(field)?.parse::<i64>().ok();
    let large = |field: &str| fields.get(field)?.parse::<u64>().ok();
    let key = || large("key").map(MemberKey);
    let deed = match *fields.get("do")? {
        "join" => Deed::Join {
            id: number("id")?.try_into().ok()?,
            name: Name::parse(fields.get("name")?).ok()?,
            secret: match *fields.get("secret")? {
                "" => None,
                digest => Some(from_hex(digest)?),
            },
            sent: number("sent")?,
            fresh: MemberKey(large("fresh")?),
        },
        "say" => Deed::Say {
            key: key()?,
            text: text("text")?,
            too_long: match fields.get("chars") {
                Some(chars) => Some(chars.parse().ok()?),
                None => None,
            },
            to: text("to")?,
            sent: number("sent")?,
        },
        word @ ("leave" | "cut") => Deed::Leave {
            key: key()?,
            sent: number("sent")?,
            is_cut: word == "cut",
        },
        "lose" => Deed::Lose { key: key()? },
        "expire" => Deed::Expire { key: key()? },
        _ => return None,
    };
    Some(Entry {
        time: id.strip_suffix("-0")?.parse().ok()?,
        number: large("n")?,
        group: text("group")?,
        command: Command {
            session: large("session")?,
            wall_ms: number("wall_ms")?,
            deed,
        },
    })
}

pub(super) fn hex(secret: &Secret) -> String {
    secret.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Secret> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(Secret(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deeds() -> Vec<Deed> {
        let key = MemberKey(u64::MAX);
        let name = Name::parse("Åse 🦀").expect("a name");
        let join = |secret| Deed::Join {
            id: -3,
            name: name.clone(),
            secret,
            sent: i64::MAX,
            fresh: key,
        };
        let say = |text: &str, to: &str, too_long| Deed::Say {
            key,
            text: text.to_owned(),
            too_long,
            to: to.to_owned(),
            sent: -1,
        };
        let leave = |is_cut| Deed::Leave {
            key,
            sent: 7,
            is_cut,
        };
        vec![
            join(None),
            join(Some(Secret([0xa5; 32]))),
            say("", "", None),
            say("ø漢🦀\r\n\0 'x'", "Bob", None),
            say("", "", Some(65_000)),
            leave(false),
            leave(true),
            Deed::Lose { key },
            Deed::Expire { key },
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for deed in deeds() {
            let command = Command {
                session: u64::MAX,
                wall_ms: 1_767_323_045_678,
                deed,
            };
            let mut values = vec!["n", "5", "group", "3/8"]
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>();
            for (field, value) in fields(&command) {
                values.extend([field.to_owned(), value]);
            }
            let entry = read("41-0", &values).expect("it is one");
            assert_eq!((entry.time, entry.number), (41, 5));
            assert_eq!(entry.server(), Some(3));
            assert_eq!(entry.command, command);
            for missing in (0..values.len()).step_by(2) {
                let mut less = values.clone();
                let field = less.drain(missing..missing + 2).next().expect("a field");
                let is_read = read("41-0", &less).is_some();
                assert_eq!(is_read, field == "chars", "without {field}");
            }
        }
    }
}
