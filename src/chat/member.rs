//! Who is in a room, and what is remembered of those who were.

use super::event::MemberKey;
use super::name::Name;

/// A digest of the secret that a client chose when it joined. Whoever knows
/// the secret is the same participant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    /// Shows nothing of it: a log is no place for a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Which stream a participant speaks through; unique in one server's life, and
/// among servers that share their rooms (see [`first_of`](super::first_of)).
pub type SessionNo = u64;

/// Where a participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It speaks through this session.
    Here(SessionNo),
    /// It lost this session and may yet resume.
    Away(SessionNo),
}

/// A participant of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub key: MemberKey,
    /// The id that it chose, or was given.
    pub id: i32,
    /// Its name.
    pub name: Name,
    /// How it proves that it is the same one, if it can.
    pub secret: Option<Secret>,
    /// The room's Lamport time at which it joined.
    pub joined: i64,
    /// Its own Lamport time of the last thing that it sent and that was
    /// stamped or refused.
    pub last_sent: i64,
    /// `last_sent` as it was when the present session began: what bears no
    /// later time was sent, and stamped, in an earlier one.
    pub settled: i64,
    /// Where it is.
    pub presence: Presence,
}

impl Member {
    /// Whether it is connected, and not merely expected back.
    pub fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here(_))
    }
}

/// What a store remembers of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMember {
    /// See [`Member::key`].
    pub key: MemberKey,
    /// See [`Member::id`].
    pub id: i32,
    /// See [`Member::name`].
    pub name: Name,
    /// See [`Member::secret`].
    pub secret: Option<Secret>,
    /// See [`Member::joined`].
    pub joined: i64,
    /// See [`Member::last_sent`].
    pub last_sent: i64,
    /// Whether it was in the room when the server stopped.
    pub present: bool,
}

/// A participant that left and would be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedMember {
    /// See [`Member::key`].
    pub key: MemberKey,
    /// See [`Member::last_sent`].
    pub last_sent: i64,
}
