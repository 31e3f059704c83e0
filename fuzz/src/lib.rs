//! The program's parsers, for the fuzz targets: its own sources, built with a
//! stand-in for grpcio (`grpcio/`), since the C core would take minutes to
//! build and is not what is fuzzed.

#![allow(dead_code, unused_imports)] // most of what comes along is not reached

#[path = "../../src/chat/mod.rs"]
pub mod chat;
pub mod cli;
pub mod rpc;
#[path = "../../src/trace/mod.rs"]
pub mod trace;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that is written anew for every input: the parsers read files.
pub struct Scratch(PathBuf);

impl Scratch {
    /// One of this name, of this process alone.
    ///
    /// # Panics
    /// There is no folder for it.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        Self(folder.join(name))
    }

    /// The file, with these bytes and no others in it.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn holding(&self, bytes: &[u8]) -> &Path {
        let file = std::fs::File::create(&self.0);
        file.and_then(|mut file| file.write_all(bytes))
            .expect("a file that can be written");
        &self.0
    }
}
