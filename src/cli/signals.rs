//! Signals as messages. The second one ends the program at once, and so does
//! the first where the program is ending already.

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A channel that gets the number of the first SIGINT or SIGTERM, or SIGHUP:
/// the terminal is gone. One that was ignored at the start stays so.
pub(super) fn first() -> std::io::Result<Receiver<i32>> {
    watch(None, || {})
}

/// As [`first`]; `tidy` is called before a second one ends the program.
pub(super) fn first_then(tidy: impl Fn() + Send + 'static) -> std::io::Result<Receiver<i32>> {
    watch(None, tidy)
}

/// As [`first`], but SIGHUP goes to the second channel, however often it comes.
pub(super) fn first_and_hangups() -> std::io::Result<(Receiver<i32>, Receiver<()>)> {
    let (tell, hangups) = bounded(1);
    Ok((watch(Some(tell), || {})?, hangups))
}

fn watch(
    hangups: Option<Sender<()>>,
    tidy: impl Fn() + Send + 'static,
) -> std::io::Result<Receiver<i32>> {
    // Under nohup(1) a program outlives its terminal.
    let hangup = (hangups.is_some() || !is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
    let (tell, told) = bounded(1);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut told_of_one = false;
            for signal in signals.forever() {
                if let Some(hangups) = hangups.as_ref().filter(|_| signal == SIGHUP) {
                    // One that waits already stands for this one too.
                    let _ = hangups.try_send(());
                } else if told_of_one || tell.send(signal).is_err() {
                    // Where nobody is to be told any more, the end is under way.
                    tidy();
                    std::process::exit(128 + signal);
                } else {
                    told_of_one = true;
                }
            }
        })?;
    Ok(told)
}

/// Whether this process was started with this signal ignored, as far as the
/// system tells (Linux).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    ignored.is_some_and(|set| set >> (signal - 1) & 1 == 1)
}
