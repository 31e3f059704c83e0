//! A participant at a terminal: lines are edited, and what arrives is printed
//! above the line being typed.
//!
//! The main thread owns the editor (rustyline) and does what a line asks for.
//! The screen thread prints (see [`screen`]); [`stage`] says when it may.
//! Questions to the server have threads of their own (see [`ask`]).
//!
//! Knows how to say and how to ask, and nothing of the protocol.

mod ask;
mod colour;
mod command;
mod helper;
mod join;
mod known;
mod modes;
mod paint;
mod reflow;
mod screen;
mod stage;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use jiff::tz::TimeZone;
use rustyline::error::{ReadlineError, Signal};
use rustyline::history::FileHistory;
use rustyline::{ColorMode, CompletionType, Config, Editor, EventHandler, KeyEvent};

use super::{End, MOST_WAITING, Participant, SayError, Settings, Voice};
use crate::chat::{DEFAULT_ROOM, MAX_TEXT_CHARS, Name};
use ask::{Asker, Question};
use command::{COMMANDS, Typed};
use helper::{ClearOrLeave, Typing};
use known::Known;
use modes::KeyByKey;
use paint::Painter;
use reflow::Reflow;
use screen::{Screen, Show};
use stage::Stage;

pub use colour::Colours;
pub use modes::giver_back;
pub use paint::Look;

/// A paste of more lines than this is sent only if that is meant.
const MANY_LINES: usize = 3;

/// What does not follow an Escape within so many milliseconds is a key of its
/// own. Until then nothing is printed.
const SEQUENCE_MS: u16 = 500;

/// Lines kept between runs.
const HISTORY_LINES: usize = 1000;

/// Takes part until the end, and returns it. A message of `signals` lets the
/// participant leave. `history` is where typed lines are kept between runs.
///
/// # Errors
/// The terminal cannot be used, or the system gives no thread.
pub fn run(
    settings: Settings,
    look: Look,
    history: Option<PathBuf>,
    signals: Receiver<i32>,
) -> io::Result<End> {
    let painter = Painter {
        look,
        me: settings.name.clone(),
        zone: TimeZone::system(),
    };
    let (stage, known) = (Arc::new(Stage::default()), Arc::new(Known::default()));
    let mut editor = editor(Typing {
        painter: painter.clone(),
        stage: stage.clone(),
        known: known.clone(),
        asking: false,
        only_what_is_there: false,
        vanishes: Cell::new(false),
        searching: Cell::new(false),
        announced: Cell::new(false),
        for_printer: Cell::new(false),
        hinted: Cell::new(false),
        listing: Cell::new(None),
        reflow: Reflow::new(),
    })?;
    if let Some(path) = &history
        && path.exists()
        && let Err(why) = editor.load_history(path)
    {
        print!(
            "{}",
            painter.wrong(&format!("cannot read {}: {why}", path.display()))
        );
    }
    let key_by_key = KeyByKey::begin()?;
    editor.bind_sequence(
        KeyEvent::ctrl('Z'),
        EventHandler::Conditional(Box::new(key_by_key.stopper())),
    );
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    print!(
        "{}",
        painter.notice(&format!(
            "joining {} as {} at {}; /help lists the commands",
            shown_room(&settings.room),
            settings.name,
            settings.servers.join(", ")
        ))
    );
    let (participant, happenings) = Participant::start(settings.clone())?;
    let (show, shown) = unbounded();
    let screen = Screen {
        printer,
        painter: painter.clone(),
        stage: stage.clone(),
        known: known.clone(),
        happenings,
        voice: participant.voice(),
        room: settings.room.clone(),
        shown,
        show: show.clone(),
        next_rooms: VecDeque::new(),
        crowd: Vec::new(),
        crowd_until: Instant::now(),
        in_the_past: false,
    };
    let screen = std::thread::Builder::new()
        .name("screen".to_owned())
        .spawn(move || screen.run())?;
    let ending = stage.clone();
    let (typing, typed) = bounded::<()>(0);
    std::thread::Builder::new()
        .name("signal".to_owned())
        .spawn(move || {
            // With the end of this thread, and so of `signals`, the next signal
            // ends the program.
            select! {
                recv(signals) -> _ => ending.end(),
                recv(typed) -> _ => {}
            }
        })?;

    let mut main = Main {
        voice: participant.voice(),
        settings,
        painter,
        stage: stage.clone(),
        known: known.clone(),
        show,
        history,
    };
    let mut participants = vec![participant];
    let unsent = main.read_lines(&mut editor, &mut participants);
    drop(typing);
    drop(editor); // whoever waits to print then prints directly
    drop(key_by_key);
    stage.over();
    main.voice.leave();
    let waiting = main.voice.waiting();
    if waiting > 0 && !main.known.is_online() && !main.voice.is_over() {
        print!(
            "{}",
            main.painter.notice(&format!(
                "without an echo: {waiting}; Ctrl-C leaves without them"
            ))
        );
    }
    let end = screen
        .join()
        .map_err(|_| io::Error::other("the screen thread panicked"))?;
    for participant in participants {
        participant.join();
    }
    if !unsent.trim().is_empty() {
        print!(
            "{}",
            main.painter.notice(&format!("not sent: {}", unsent.trim()))
        );
    }
    io::stdout().flush()?;
    Ok(end)
}

type LineEditor = Editor<Typing, FileHistory>;

fn editor(typing: Typing) -> io::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES)
        .and_then(|c| c.history_ignore_dups(true))
        .map_err(io::Error::other)?
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .completion_prompt_limit(usize::MAX) // the helper makes lists short
        .keyseq_timeout(Some(SEQUENCE_MS))
        // The helper draws, and uses colours or not.
        .color_mode(ColorMode::Forced)
        .build();
    let mut editor = LineEditor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(typing));
    editor.bind_sequence(
        KeyEvent::ctrl('C'),
        EventHandler::Conditional(Box::new(ClearOrLeave)),
    );
    Ok(editor)
}

/// A room as people know it.
fn shown_room(room: &str) -> String {
    match Name::parse_room(room) {
        Ok(name) if name.as_str() != DEFAULT_ROOM => format!("#{name}"),
        _ => DEFAULT_ROOM.to_owned(),
    }
}

/// The main thread's part.
struct Main {
    settings: Settings,
    voice: Voice,
    painter: Painter,
    stage: Arc<Stage>,
    known: Arc<Known>,
    show: Sender<Show>,
    history: Option<PathBuf>,
}

/// What becomes of a line.
enum Done {
    Well,
    /// It is to be mended.
    Again(String),
    Leave,
}

impl Main {
    /// Reads lines and does what they say, until one leaves or the end has
    /// come. Returns what was being typed then.
    fn read_lines(&mut self, editor: &mut LineEditor, all: &mut Vec<Participant>) -> String {
        let mut kept = String::new();
        while !self.stage.is_ending() {
            let prompt = self.prompt();
            let read = editor.readline_with_initial(&prompt, (&kept, ""));
            self.stage.between();
            let line = match read {
                Ok(line) => line,
                Err(
                    ReadlineError::Interrupted
                    | ReadlineError::Signal(Signal::Interrupt)
                    | ReadlineError::Eof,
                ) => return self.known.take_line(),
                // While the editor waited for the second of two keys.
                Err(ReadlineError::Signal(Signal::Resize)) => {
                    kept = self.known.take_line();
                    continue;
                }
                Err(ReadlineError::Io(why)) if why.kind() == io::ErrorKind::InvalidData => {
                    // The rest of a paste would be taken for lines that are typed.
                    modes::forget_keys();
                    let left_out = "what is typed must be UTF-8; the rest of this was left out";
                    self.tell(self.painter.wrong(left_out));
                    kept = self.known.take_line();
                    continue;
                }
                Err(why) => {
                    self.tell(
                        self.painter
                            .wrong(&format!("cannot read the terminal: {why}")),
                    );
                    break;
                }
            };
            self.known.typing("");
            erase_row(editor);
            kept = match self.line(&line, editor, all) {
                Done::Well => String::new(),
                Done::Again(line) => line,
                Done::Leave => return String::new(),
            };
        }
        kept
    }

    fn prompt(&self) -> String {
        match shown_room(&self.settings.room) {
            room if room == DEFAULT_ROOM => format!("{}> ", self.settings.name),
            room => format!("{room} {}> ", self.settings.name),
        }
    }

    fn tell(&self, text: String) {
        let _ = self.show.send(Show::Text(text)); // there is no screen any more
    }

    fn line(&mut self, line: &str, editor: &mut LineEditor, all: &mut Vec<Participant>) -> Done {
        let texts: Vec<&str> = line
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        if let [_, _, ..] = texts.as_slice() {
            return self.paste(&texts, line, editor);
        }
        if !line.trim().is_empty() {
            self.remember(line.trim(), editor);
        }
        match command::parse(line, &self.known.names()) {
            Ok(Typed::Nothing) => Done::Well,
            Ok(Typed::Quit) => Done::Leave,
            Ok(Typed::Say { to, text }) => self.say(&text, &to, line),
            Ok(Typed::Join(room)) => self.join(&room, editor, all),
            Ok(Typed::Help) => {
                self.help();
                Done::Well
            }
            Ok(Typed::Who) => self.ask(Question::Who),
            Ok(Typed::Rooms) => self.ask(Question::Rooms),
            Ok(Typed::History(events)) => self.ask(Question::History(events)),
            Err(why) => {
                self.tell(self.painter.wrong(&why));
                Done::Again(line.to_owned())
            }
        }
    }

    /// Several lines at once: each is a message, whatever it begins with.
    fn paste(&mut self, texts: &[&str], line: &str, editor: &mut LineEditor) -> Done {
        if texts.len() > MANY_LINES && !self.is_sure(texts.len(), editor) {
            return Done::Again(line.to_owned());
        }
        if let Some(long) = texts.iter().find(|t| t.chars().count() > MAX_TEXT_CHARS) {
            let chars = long.chars().count();
            self.tell(self.painter.wrong(&format!(
                "a line has {chars} characters; {MAX_TEXT_CHARS} is the limit; nothing was sent"
            )));
            return Done::Again(line.to_owned());
        }
        for (n, text) in texts.iter().enumerate() {
            if let Done::Again(_) = self.say(text, "", text) {
                return Done::Again(texts[n..].join("\n"));
            }
        }
        Done::Well
    }

    fn is_sure(&self, lines: usize, editor: &mut LineEditor) -> bool {
        let asking = |editor: &mut LineEditor, asking| {
            if let Some(typing) = editor.helper_mut() {
                typing.asking = asking;
            }
        };
        asking(editor, true);
        let prompt = format!("Send {lines} lines as {lines} messages? (y/n) ");
        let answer = editor.readline(&prompt);
        self.stage.between();
        if answer.is_ok() {
            erase_row(editor);
        }
        asking(editor, false);
        answer.is_ok_and(|a| matches!(a.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    fn say(&self, text: &str, to: &str, line: &str) -> Done {
        let chars = text.chars().count();
        let waiting = self.voice.waiting();
        let wrong = match chars > MAX_TEXT_CHARS {
            true => format!("{chars} characters; {MAX_TEXT_CHARS} is the limit"),
            false if waiting >= MOST_WAITING => {
                format!("{waiting} messages wait to be sent already")
            }
            false => match self.voice.say(text, to) {
                Ok(_) if self.known.is_online() => return Done::Well,
                Ok(_) => {
                    let n = waiting + 1;
                    self.tell(self.painter.notice(&format!(
                        "will be sent when the server is there ({n} of {MOST_WAITING}): {text}"
                    )));
                    return Done::Well;
                }
                Err(SayError::Over) => return Done::Again(line.to_owned()),
                Err(why) => why.to_string(),
            },
        };
        self.tell(self.painter.wrong(&format!("not sent: {wrong}")));
        Done::Again(line.to_owned())
    }

    fn ask(&self, question: Question) -> Done {
        Asker {
            voice: self.voice.clone(),
            room: self.settings.room.clone(),
            known: self.known.clone(),
            painter: self.painter.clone(),
            show: self.show.clone(),
        }
        .ask(question);
        Done::Well
    }

    fn help(&self) {
        let mut lines = self.painter.notice("commands:");
        for (usage, what) in COMMANDS {
            lines.push_str(&self.painter.below(&format!("{usage:<16} {what}")));
        }
        for more in [
            "//x sends /x; Tab completes commands and @names; Ctrl-R searches what you typed",
            "a name cannot be changed: leave, and come back with another",
            "L is the room's Lamport time; ~L marks what happened earlier",
        ] {
            lines.push_str(&self.painter.notice(more));
        }
        self.tell(lines);
    }

    /// Keeps a typed line for later runs, if that is wanted.
    fn remember(&self, line: &str, editor: &mut LineEditor) {
        let added = editor.add_history_entry(line);
        if let (Ok(true), Some(path)) = (added, &self.history)
            && let Err(why) = editor.append_history(path)
        {
            log::warn!("cannot keep a typed line in {}: {why}", path.display());
        }
    }
}

/// The row of a line that the editor has wiped, taken back.
fn erase_row(editor: &LineEditor) {
    if editor.helper().is_some_and(|typing| typing.vanishes.get()) {
        let mut out = io::stdout();
        // Without a terminal there is nothing to tidy.
        let _ = out.write_all(b"\x1b[A\r").and_then(|()| out.flush());
    }
}
