//! Whatever calls itself the logs of a run, up to three files of them: they are
//! read, checked, drawn and asked, or refused.

#![no_main]

use chitchat_fuzz::trace::before;
use chitchat_fuzz::trace::check::Verdict;
use chitchat_fuzz::trace::diagram::{Choice, Format, draw};
use chitchat_fuzz::trace::line::Line;
use chitchat_fuzz::trace::log::Log;
use chitchat_fuzz::trace::order::Trace;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    for line in text.lines() {
        let _ = Line::parse(line);
    }
    let files = text
        .splitn(3, '\u{c}')
        .zip(["server.log", "alex.log", "aske.log"]);
    let Ok(log) = Log::from_texts(files.map(|(t, n)| (n.to_owned(), t.to_owned())).collect())
    else {
        return;
    };
    let trace = Trace::new(log);
    let verdict = Verdict::of(&trace);
    let _ = (verdict.words(), verdict.holds());
    for format in [Format::Svg, Format::Mermaid, Format::ShiViz] {
        let _ = draw(&trace, &Choice::default(), format);
    }
    let found = ["1", "Server:1", "Alex:2", "alex.log:1"].map(|e| before::find(&trace, e, None));
    for (a, b) in found.iter().zip(found.iter().skip(1)) {
        if let (Ok(a), Ok(b)) = (a, b) {
            let _ = before::words(&trace, (*a, "a"), (*b, "b"));
        }
    }
});
