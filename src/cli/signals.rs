//! Signals as messages. The second one ends the program at once.

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A channel that gets the number of the first SIGINT or SIGTERM, or SIGHUP:
/// the terminal is gone.
pub(super) fn first() -> std::io::Result<Receiver<i32>> {
    watch(None)
}

/// As [`first`], but SIGHUP goes to the second channel, however often it comes.
pub(super) fn first_and_hangups() -> std::io::Result<(Receiver<i32>, Receiver<()>)> {
    let (tell, hangups) = bounded(1);
    Ok((watch(Some(tell))?, hangups))
}

fn watch(hangups: Option<Sender<()>>) -> std::io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (tell, told) = bounded(1);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut is_told = false;
            for signal in signals.forever() {
                if let Some(hangups) = hangups.as_ref().filter(|_| signal == SIGHUP) {
                    // One that waits already stands for this one too.
                    let _ = hangups.try_send(());
                    continue;
                }
                if is_told {
                    std::process::exit(128 + signal);
                }
                is_told = true;
                let _ = tell.send(signal); // whoever waited for it has ended
            }
        })?;
    Ok(told)
}
