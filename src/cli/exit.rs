//! Exit codes.

use std::process::ExitCode;

/// How the program ends. clap itself ends it with 2 for what it does not
/// understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// As it was meant to.
    Well = 0,
    /// With an error.
    Failed = 1,
    /// Client: no server could be reached.
    Unreachable = 3,
    /// Client: the server refused.
    Refused = 4,
    /// Client: the server is gone and did not come back in time.
    Gone = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
