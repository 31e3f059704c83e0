//! Whatever stands in a file of settings: it is read or refused, and what is
//! printed of it can be read and says the same.

#![no_main]

use std::sync::LazyLock;

use chitchat_fuzz::Scratch;
use chitchat_fuzz::cli::settings;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("client.toml"));

/// Without the comments on where each value comes from.
fn values(printed: &str) -> Vec<&str> {
    printed
        .lines()
        .map(|line| {
            line.rsplit_once(" # ")
                .map_or(line, |(value, _)| value.trim_end())
        })
        .collect()
}

fuzz_target!(|input: &[u8]| {
    if let Ok(printed) = settings(FILE.holding(input)) {
        let again = settings(FILE.holding(printed.as_bytes())).expect("what is printed is read");
        assert_eq!(values(&printed), values(&again));
    }
});
