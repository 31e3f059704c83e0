//! Folders that a load needs while it runs.

use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

/// A folder among others of this user that are only needed for a while. It goes
/// when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one, for `what`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(what: &str) -> io::Result<Self> {
        let path = env::temp_dir().join(format!("chitchat-bench-{what}-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {why}", self.0.display());
        }
    }
}
