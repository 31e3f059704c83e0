//! Load and verdict: many clients against one server, what it cost, and
//! whether everything came to everybody, once and in one order.
//!
//! [`Plan`] says what a run is to do, [`run`] does it, [`Figures`] tell what
//! came of it. The clients live on the poll threads of gRPC and have none of
//! their own, so that the server is measured and not the generator. It
//! knows the server only from outside: any Chit Chat server will do.

mod case;
mod client;
mod disk;
mod figures;
mod folder;
mod mark;
mod own;
mod plan;
mod process;
mod run;
mod verdict;
mod witness;

use std::path::Path;

pub use case::{CASES, Case};
pub use disk::SyncTime;
pub use figures::Figures;
pub use folder::Folder;
pub use mark::MIN_TEXT_BYTES;
pub use own::{OwnServer, OwnServerError};
pub use plan::{Length, Pace, Plan};
pub use run::{BenchError, Progress, Target, prepare, run};
pub use verdict::Verdict;

/// Measures how long the disk under `folder` takes to keep 4 KiB, in a file that
/// is removed again.
///
/// # Errors
/// What the system says.
pub fn sync_time(folder: &Path) -> std::io::Result<SyncTime> {
    disk::sync_time(folder)
}
