//! Signals as messages. The second one ends the program at once.

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A channel that gets the number of the first SIGINT or SIGTERM, or SIGHUP:
/// the terminal is gone.
pub(super) fn first() -> std::io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (tell, told) = bounded(1);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut arriving = signals.forever();
            if let Some(first) = arriving.next() {
                let _ = tell.send(first); // whoever was to be told has ended
            }
            if let Some(second) = arriving.next() {
                std::process::exit(128 + second);
            }
        })?;
    Ok(told)
}
