//! What a typed line asks for. Knows the commands, and nothing of a terminal
//! or of a server.

/// The commands: how each is written, and what it does.
pub(super) const COMMANDS: [(&str, &str); 8] = [
    ("/help", "this list"),
    ("/who", "who is in the room"),
    ("/rooms", "which rooms there are"),
    ("/join ROOM", "leave this room for another"),
    ("/history [N]", "the last N events of the room (20)"),
    ("/msg NAME TEXT", "say something to one participant alone"),
    ("/me TEXT", "say what you do"),
    ("/quit", "leave; so do Ctrl-D and Ctrl-C"),
];

/// How many events `/history` shows if it is not told.
const HISTORY: u32 = 20;

/// What is sent with `/me`: the words stay readable where nobody knows them.
const ACTION: &str = "/me ";

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// To be said, to the room or to one participant.
    Say { to: String, text: String },
    /// Show the commands.
    Help,
    /// Show who is here.
    Who,
    /// Show the rooms.
    Rooms,
    /// Go to another room.
    Join(String),
    /// Show the last so many events.
    History(u32),
    /// Leave.
    Quit,
    /// Nothing was typed.
    Nothing,
}

/// Understands a line; `names` are those that `/msg` may mean.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn parse(line: &str, names: &[String]) -> Result<Typed, String> {
    let line = line.trim();
    let say = |text: &str| Typed::Say {
        to: String::new(),
        text: text.to_owned(),
    };
    let Some(command) = line.strip_prefix('/') else {
        return Ok(match line {
            "" => Typed::Nothing,
            "exit" => Typed::Quit,
            text => say(text),
        });
    };
    if command.starts_with('/') {
        return Ok(say(command));
    }
    let (word, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim();
    let alone = |typed| match rest {
        "" => Ok(typed),
        _ => Err(format!("/{word} takes nothing after it")),
    };
    match word {
        "help" => alone(Typed::Help),
        "who" => alone(Typed::Who),
        "rooms" => alone(Typed::Rooms),
        "quit" => alone(Typed::Quit),
        "join" if rest.is_empty() => Err("/join ROOM: which room?".to_owned()),
        "join" => Ok(Typed::Join(rest.to_owned())),
        "history" if rest.is_empty() => Ok(Typed::History(HISTORY)),
        "history" => match rest.parse() {
            Ok(events) if events > 0 => Ok(Typed::History(events)),
            _ => Err(format!("/history [N]: «{rest}» is not a number of events")),
        },
        "me" if rest.is_empty() => Err("/me TEXT: what do you do?".to_owned()),
        "me" => Ok(say(&format!("{ACTION}{rest}"))),
        "msg" => match recipient(rest, names) {
            // To nobody would be to everybody.
            Some((to, text)) if !to.is_empty() && !text.is_empty() => Ok(Typed::Say {
                to: to.to_owned(),
                text: text.to_owned(),
            }),
            _ => Err("/msg NAME TEXT: say what to whom?".to_owned()),
        },
        _ => Err(format!(
            "there is no /{word}: /help lists the commands, //{word} sends /{word}"
        )),
    }
}

/// The deed in a text that was sent with `/me`.
pub(super) fn action(text: &str) -> Option<&str> {
    text.strip_prefix(ACTION)
        .map(str::trim)
        .filter(|deed| !deed.is_empty())
}

/// Divides what follows `/msg`. A name may contain spaces: it is the longest
/// known one that fits, or what stands in double quotes, or else one word.
fn recipient<'a>(rest: &'a str, names: &[String]) -> Option<(&'a str, &'a str)> {
    let known = names.iter().filter_map(|name| {
        let end = rest.char_indices().nth(name.chars().count())?.0;
        let (head, tail) = rest.split_at(end);
        let fits =
            head.to_lowercase() == name.to_lowercase() && tail.starts_with(char::is_whitespace);
        fits.then(|| (head, tail.trim()))
    });
    if let Some(found) = known.max_by_key(|(name, _)| name.len()) {
        return Some(found);
    }
    let (name, text) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_once(char::is_whitespace)?,
    };
    Some((name.trim(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(to: &str, text: &str) -> Result<Typed, String> {
        Ok(Typed::Say {
            to: to.into(),
            text: text.into(),
        })
    }

    #[test]
    fn what_begins_with_no_slash_is_said() {
        assert_eq!(parse("  hello ", &[]), said("", "hello"));
        assert_eq!(parse("a /who", &[]), said("", "a /who"));
        assert_eq!(parse("//who is it", &[]), said("", "/who is it"));
        assert_eq!(parse("  ", &[]), Ok(Typed::Nothing));
    }

    #[test]
    fn commands_are_understood_and_unknown_ones_are_errors() {
        assert_eq!(parse("/join  #ops ", &[]), Ok(Typed::Join("#ops".into())));
        assert_eq!(parse("/history", &[]), Ok(Typed::History(20)));
        assert_eq!(parse("/history 5", &[]), Ok(Typed::History(5)));
        assert_eq!(parse("/me waves", &[]), said("", "/me waves"));
        assert_eq!(action("/me waves"), Some("waves"));
        assert_eq!(parse("exit", &[]), Ok(Typed::Quit));
        for bad in [
            "/nick x",
            "/",
            "/history x",
            "/history 0",
            "/join",
            "/who me",
            "/msg",
            "/msg Ann",
            "/msg \"\" hi",
            "/msg \" \" hi",
            "/me",
        ] {
            assert!(parse(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_recipient_with_spaces_in_its_name_is_found() {
        let names = ["Ann".to_owned(), "Ann Lee".to_owned(), "Åse".to_owned()];
        assert_eq!(
            parse("/msg ann lee hi there", &names),
            said("ann lee", "hi there")
        );
        assert_eq!(
            parse("/msg Ann let us go", &names),
            said("Ann", "let us go")
        );
        assert_eq!(parse("/msg åse hi", &names), said("åse", "hi"));
        assert_eq!(parse("/msg \"Bo Ek\" hi", &names), said("Bo Ek", "hi"));
        assert_eq!(parse("/msg \" Bo \" hi", &names), said("Bo", "hi"));
        assert_eq!(parse("/msg Bo hi", &names), said("Bo", "hi"));
        for nobody in ["/msg \"\" hi", "/msg \"  \" hi", "/msg \"Bo hi"] {
            assert!(parse(nobody, &names).is_err(), "{nobody}");
        }
    }
}
