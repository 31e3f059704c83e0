//! The client's settings.

#[path = "../../src/cli/config.rs"]
mod config;

use std::path::Path;

/// What holds with this file alone, as it is printed.
pub fn settings(path: &Path) -> anyhow::Result<String> {
    config::Config::find(&[], |_| None, Some(path)).map(|config| config.to_string())
}
