//! How a stream ends: one table between reasons and gRPC statuses.

use grpcio::{RpcStatus, RpcStatusCode};

use crate::chat::{NameError, Refused};

/// Why the server ends a stream. The words reach the client as the status
/// message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The participant left, or the client closed its half: status OK.
    #[error("goodbye")]
    Goodbye,
    /// The first frame was something else.
    #[error("the first frame must be a JOIN")]
    NotJoined,
    /// Nothing came within the time for the first frame.
    #[error("no JOIN came in time")]
    TooLate,
    /// A call that asks something did not do so within that time.
    #[error("no question came in time")]
    Unasked,
    /// Such a call has no question at all.
    #[error("no question came")]
    NoQuestion,
    /// A JOIN on a stream that has joined.
    #[error("this stream has joined already")]
    SecondJoin,
    /// A frame that is no frame of ours.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// A frame of more bytes than are taken.
    #[error("a frame of {bytes} bytes is larger than {most}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// A frame of more messages than are taken.
    #[error("a frame of more than {most} messages")]
    TooMany {
        /// How many it may have.
        most: usize,
    },
    /// The name of a participant or a room is not one.
    #[error("{0}")]
    BadName(NameError),
    /// The secret is too short or too long.
    #[error("a secret must have 16 to 64 bytes")]
    BadSecret,
    /// The room does not let this client in.
    #[error("{0}")]
    Refused(Refused),
    /// The past that was asked for is not kept, or lies in the future.
    #[error("{0}")]
    OutOfRange(String),
    /// Its outbox was full.
    #[error(
        "too slow: the outbox was full; join again and resume after the last event that you saw"
    )]
    TooSlow,
    /// The same participant speaks through another stream now.
    #[error("resumed on another connection")]
    Replaced,
    /// The password is missing or wrong.
    #[error("{0}")]
    Unauthenticated(String),
    /// The certificate is for another name.
    #[error("{0}")]
    PermissionDenied(String),
    /// A service that this server does not have. Of its name no more is said
    /// than every client takes of a status.
    #[error("there is no service {0:.128}")]
    NoService(String),
    /// A limit of the server.
    #[error("{0}")]
    Limit(String),
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
    /// The store failed, so nothing can be promised any more.
    #[error("the server cannot keep events any more and stops")]
    StoreFailed,
    /// The log that the servers share does not answer.
    #[error("the log that the servers share does not answer; try again, or another server")]
    Unreachable,
    /// The other servers took this one for dead, and its member for lost.
    #[error("this server was silent for too long; join again and resume")]
    TakenForLost,
    /// The log that the servers share is not what this server had read of it.
    #[error("this server must read the room anew; join again and resume")]
    ReadAnew,
    /// A fault of ours.
    #[error("internal error")]
    Internal,
}

impl Ending {
    /// One word for it, for whoever counts endings.
    pub fn word(&self) -> &'static str {
        match self {
            Ending::Goodbye => "goodbye",
            Ending::NotJoined => "not_joined",
            Ending::TooLate | Ending::Unasked => "too_late",
            Ending::NoQuestion => "no_question",
            Ending::SecondJoin => "second_join",
            Ending::Malformed(_) => "malformed",
            Ending::TooLarge { .. } | Ending::TooMany { .. } => "too_large",
            Ending::BadName(_) => "bad_name",
            Ending::BadSecret => "bad_secret",
            Ending::Refused(_) => "refused",
            Ending::OutOfRange(_) => "out_of_range",
            Ending::TooSlow => "too_slow",
            Ending::Replaced => "replaced",
            Ending::Unauthenticated(_) => "unauthenticated",
            Ending::PermissionDenied(_) => "permission_denied",
            Ending::NoService(_) => "no_service",
            Ending::Limit(_) => "limit",
            Ending::Stopping => "stopping",
            Ending::StoreFailed => "store_failed",
            Ending::Unreachable => "unreachable",
            Ending::TakenForLost => "taken_for_lost",
            Ending::ReadAnew => "read_anew",
            Ending::Internal => "internal",
        }
    }

    /// The gRPC status code.
    pub fn code(&self) -> RpcStatusCode {
        match self {
            Ending::Goodbye => RpcStatusCode::OK,
            Ending::NotJoined
            | Ending::Malformed(_)
            | Ending::BadName(_)
            | Ending::BadSecret
            | Ending::Refused(Refused::Time(_)) => RpcStatusCode::INVALID_ARGUMENT,
            Ending::SecondJoin => RpcStatusCode::FAILED_PRECONDITION,
            Ending::TooLate | Ending::Unasked => RpcStatusCode::DEADLINE_EXCEEDED,
            Ending::Refused(_) => RpcStatusCode::ALREADY_EXISTS,
            Ending::OutOfRange(_) => RpcStatusCode::OUT_OF_RANGE,
            Ending::NoService(_) => RpcStatusCode::NOT_FOUND,
            Ending::TooSlow
            | Ending::TooLarge { .. }
            | Ending::TooMany { .. }
            | Ending::Limit(_) => RpcStatusCode::RESOURCE_EXHAUSTED,
            Ending::Unauthenticated(_) => RpcStatusCode::UNAUTHENTICATED,
            Ending::PermissionDenied(_) => RpcStatusCode::PERMISSION_DENIED,
            Ending::Replaced => RpcStatusCode::ABORTED,
            Ending::Stopping
            | Ending::StoreFailed
            | Ending::Unreachable
            | Ending::TakenForLost
            | Ending::ReadAnew => RpcStatusCode::UNAVAILABLE,
            Ending::NoQuestion | Ending::Internal => RpcStatusCode::INTERNAL,
        }
    }

    /// The gRPC status.
    pub fn to_status(&self) -> RpcStatus {
        RpcStatus::with_message(self.code(), self.to_string())
    }
}

impl From<NameError> for Ending {
    fn from(error: NameError) -> Self {
        Ending::BadName(error)
    }
}

impl From<Refused> for Ending {
    fn from(refused: Refused) -> Self {
        Ending::Refused(refused)
    }
}
