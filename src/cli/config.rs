//! What the client's settings are and where each comes from: the command line,
//! the environment, a file, or nowhere.
//!
//! The file is a small part of TOML: `key = "text"` or `key = true`, one a
//! line, and comments behind `#`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, anyhow, bail};

/// What may be set.
struct Key {
    name: &'static str,
    env: &'static str,
    default: &'static str,
    kind: Kind,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Servers,
    Switch,
    When,
}

const KEYS: [Key; 8] = [
    Key::new(
        "server",
        "CHITCHAT_SERVER",
        "127.0.0.1:50052",
        Kind::Servers,
    ),
    Key::new("name", "CHITCHAT_NAME", "", Kind::Text),
    Key::new("room", "CHITCHAT_ROOM", "", Kind::Text),
    Key::new("color", "CHITCHAT_COLOR", "auto", Kind::When),
    Key::new("bell", "CHITCHAT_BELL", "false", Kind::Switch),
    Key::new("clock", "CHITCHAT_CLOCK", "false", Kind::Switch),
    Key::new("time", "CHITCHAT_TIME", "false", Kind::Switch),
    Key::new("history", "CHITCHAT_HISTORY", "true", Kind::Switch),
];

impl Key {
    const fn new(name: &'static str, env: &'static str, default: &'static str, kind: Kind) -> Self {
        Self {
            name,
            env,
            default,
            kind,
        }
    }

    fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    fn check(&self, value: &str) -> anyhow::Result<()> {
        let allowed: &[&str] = match self.kind {
            Kind::Text => return Ok(()),
            Kind::Servers => {
                let servers = super::servers(value).map(drop).map_err(Error::msg);
                return servers.with_context(|| format!("{} is «{value}»", self.name));
            }
            Kind::Switch => &["true", "false"],
            Kind::When => &["auto", "always", "never"],
        };
        match allowed.contains(&value) {
            true => Ok(()),
            false => bail!(
                "{} must be {}, not «{value}»",
                self.name,
                allowed.join(" or ")
            ),
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    CommandLine,
    Environment(&'static str),
    File(PathBuf, usize),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::CommandLine => f.write_str("command line"),
            Source::Environment(name) => f.write_str(name),
            Source::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A line of a file: which key, which value, and its number.
struct Entry {
    key: &'static Key,
    value: String,
    line: usize,
}

/// The settings that hold.
#[derive(Debug)]
pub(super) struct Config {
    held: Vec<(&'static str, String, Source)>,
}

impl Config {
    /// Finds what holds. `typed` is what stands on the command line, by key;
    /// `file` is the file that was named, or else the one in the platform's
    /// place is read if it is there.
    ///
    /// # Errors
    /// A file that is not one, with its line; a value that is none.
    pub(super) fn find(
        typed: &[(&str, Option<&str>)],
        env: impl Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let path = file.map(Path::to_owned).or_else(default_file);
        let entries = match &path {
            Some(path) if file.is_some() || path.exists() => read(path)?,
            _ => Vec::new(),
        };
        let held = KEYS.iter().map(|key| {
            let typed = typed.iter().find(|(name, _)| *name == key.name);
            let entry = entries.iter().find(|entry| entry.key.name == key.name);
            let (value, source) = if let Some((_, Some(value))) = typed {
                ((*value).to_owned(), Source::CommandLine)
            } else if let Some(value) = env(key.env).filter(|v| !v.is_empty()) {
                (value, Source::Environment(key.env))
            } else if let (Some(entry), Some(path)) = (entry, &path) {
                (entry.value.clone(), Source::File(path.clone(), entry.line))
            } else {
                (key.default.to_owned(), Source::Default)
            };
            key.check(&value).with_context(|| source.to_string())?;
            Ok((key.name, value, source))
        });
        Ok(Self {
            held: held.collect::<anyhow::Result<_>>()?,
        })
    }

    /// The value of a key, empty for one that there is not.
    pub(super) fn text(&self, name: &str) -> &str {
        self.held
            .iter()
            .find(|(key, ..)| *key == name)
            .map_or("", |(_, value, _)| value)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }
}

/// A file that says the same, with a comment on where each value comes from.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value, source) in &self.held {
            let is_switch = Key::named(name).is_some_and(|key| key.kind == Kind::Switch);
            let value = match is_switch {
                true => value.clone(),
                false => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            };
            writeln!(f, "{:<34} # {source}", format!("{name} = {value}"))?;
        }
        Ok(())
    }
}

/// Where the file lies if none is named.
pub(super) fn default_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "chitchat")?;
    Some(dirs.config_dir().join("client.toml"))
}

/// Where typed lines are kept between runs.
pub(super) fn history_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "chitchat")?;
    let folder = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
    Some(folder.join("typed"))
}

fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).map_err(|(line, why)| anyhow!("{}, line {line}: {why}", path.display()))
}

/// Reads a file's text. The error holds the line's number.
fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries: Vec<Entry> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let fail = |why: String| (line, why);
        let (name, value) = content
            .split_once('=')
            .ok_or_else(|| fail(format!("«{content}» is not key = value")))?;
        let name = name.trim();
        let key = Key::named(name).ok_or_else(|| {
            let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
            fail(format!(
                "there is no key «{name}»; there are {}",
                known.join(", ")
            ))
        })?;
        if let Some(before) = entries.iter().find(|entry| entry.key.name == name) {
            return Err(fail(format!(
                "{name} stands on line {} already",
                before.line
            )));
        }
        let value = value_of(value.trim(), key.kind).map_err(fail)?;
        key.check(&value).map_err(|why| fail(format!("{why:#}")))?;
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}

/// A value: a text in double quotes, or a bare `true` or `false`.
fn value_of(written: &str, kind: Kind) -> Result<String, String> {
    let (value, rest) = match written.strip_prefix('"') {
        None if kind != Kind::Switch => {
            return Err("the value must stand in double quotes".to_owned());
        }
        None => {
            let end = written
                .find(|c: char| c.is_whitespace() || c == '#')
                .unwrap_or(written.len());
            (written[..end].to_owned(), &written[end..])
        }
        Some(_) if kind == Kind::Switch => {
            return Err("the value must be true or false, without quotes".to_owned());
        }
        Some(quoted) => {
            let mut value = String::new();
            let mut chars = quoted.char_indices();
            loop {
                match chars.next() {
                    Some((at, '"')) => break (value, &quoted[at + 1..]),
                    Some((_, '\\')) => match chars.next() {
                        Some((_, c @ ('"' | '\\'))) => value.push(c),
                        _ => return Err("a \\ may only stand before \" or \\".to_owned()),
                    },
                    Some((_, c)) => value.push(c),
                    None => return Err("the closing quote is missing".to_owned()),
                }
            }
        }
    };
    match rest.trim() {
        rest if rest.is_empty() || rest.starts_with('#') => Ok(value),
        rest => Err(format!("«{rest}» is too much")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(
        typed: &[(&str, Option<&str>)],
        env: &[(&str, &str)],
        text: &str,
    ) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.toml");
        std::fs::write(&path, text).unwrap();
        let env = |name: &str| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        Config::find(typed, env, Some(&path))
    }

    #[test]
    fn the_command_line_goes_before_the_environment_before_the_file() {
        let text = "# mine\nserver = \"a:1\"\nname = \"Ann \\\"Lee\\\"\" # me\nroom = \"x\"\nbell = true\n";
        let typed = [("server", Some("c:3")), ("name", None)];
        let config = found(
            &typed,
            &[("CHITCHAT_SERVER", "b:2"), ("CHITCHAT_ROOM", "y")],
            text,
        )
        .unwrap();
        assert_eq!(config.text("server"), "c:3");
        assert_eq!(config.text("room"), "y");
        assert_eq!(config.text("name"), "Ann \"Lee\"");
        assert!(config.is_on("bell") && !config.is_on("clock"));
        let shown = config.to_string();
        assert!(
            shown.contains("# command line") && shown.contains("# CHITCHAT_ROOM"),
            "{shown}"
        );
        assert!(
            shown.contains("client.toml, line 5") && shown.contains("# default"),
            "{shown}"
        );
        let again = found(&[], &[], &shown).unwrap();
        assert_eq!(
            again.text("name"),
            "Ann \"Lee\"",
            "what is printed can be read"
        );
    }

    #[test]
    fn a_bad_file_is_told_with_its_line() {
        for (text, why) in [
            ("\nserver", "line 2: «server» is not key = value"),
            ("colour = \"x\"", "line 1: there is no key «colour»"),
            ("bell = \"true\"", "line 1: the value must be true or false"),
            (
                "bell = yes",
                "line 1: bell must be true or false, not «yes»",
            ),
            (
                "name = Ann",
                "line 1: the value must stand in double quotes",
            ),
            ("name = \"Ann", "line 1: the closing quote is missing"),
            (
                "server = \"a:1,\"",
                "line 1: server is «a:1,»: each server needs an address",
            ),
            ("name = \"Ann\" x", "line 1: «x» is too much"),
            (
                "color = \"red\"",
                "line 1: color must be auto or always or never",
            ),
            (
                "room = \"a\"\n#\nroom = \"b\"",
                "line 3: room stands on line 1 already",
            ),
        ] {
            let error = format!("{:#}", found(&[], &[], text).unwrap_err());
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let error = found(&[], &[("CHITCHAT_BELL", "loud")], "").unwrap_err();
        assert!(
            format!("{error:#}").starts_with("CHITCHAT_BELL: bell must be"),
            "{error:#}"
        );
    }
}
