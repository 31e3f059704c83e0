//! What a room is asked to do, and what it answers.

use super::event::{Audience, Event, MemberKey};
use super::member::{Secret, SessionNo};
use super::name::Name;

/// What a client asks for when it joins.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The id that it wants; 0 lets the room choose.
    pub id: i32,
    /// The name that it wants.
    pub name: Name,
    /// What it will prove itself with later.
    pub secret: Option<Secret>,
    /// Its own Lamport time of this send.
    pub sent: i64,
    /// The stream that it will speak through.
    pub session: SessionNo,
    /// Who it becomes if it is not known already.
    pub fresh: MemberKey,
}

/// A client is in the room.
#[derive(Debug)]
pub struct Joined {
    /// Who it is.
    pub key: MemberKey,
    /// The id that it has.
    pub id: i32,
    /// The Lamport time up to which everything lies before this join.
    pub seam: i64,
    /// The announcement, or for a resumed participant the receipt that it
    /// alone gets.
    pub event: Event,
    /// Who sees `event`.
    pub audience: Audience,
    /// Whether it was in the room already: then nobody is told.
    pub resumed: bool,
}

/// Why a client cannot join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody in the room has the name.
    #[error("the name «{0}» is taken in {1}")]
    NameTaken(Name, String),
    /// Somebody in the room has the id.
    #[error("the id {0} is taken in {1}")]
    IdTaken(i32, String),
    /// The secret belongs to a participant with another name.
    #[error("this secret belongs to «{0}», who is in {1}")]
    OtherName(Name, String),
    /// The client's Lamport time is negative or absurdly far ahead.
    #[error("the timestamp {0} is not one that a Lamport clock can have here")]
    Time(i64),
}

/// What became of something said.
#[derive(Debug)]
pub enum Said {
    /// It has its place in the order.
    Stamped(Event, Audience),
    /// It was refused; its sender alone is told. This is an event too: it
    /// ticks the clock, as the original's L=6 did.
    Refused(Event, Audience),
    /// It was stamped or refused before, in an earlier session of its sender.
    /// A sender that had heard so would not have said it again, so it alone is
    /// told: its echo may be no longer kept.
    Repeated(Event),
    /// Its sender speaks through another session by now, or left.
    Superseded,
}

impl Said {
    /// The words of [`Said::Repeated`], for what was sent at this Lamport time.
    pub fn words_of_repeated(sent: i64) -> String {
        format!("Your message of L={sent} was received before.")
    }
}

/// What a lost session means for the room.
#[derive(Debug)]
pub enum Loss {
    /// Nothing: the participant speaks through another session, or left.
    None,
    /// Its participant may resume; nobody is told yet.
    Away,
    /// Its participant is gone.
    Left(Parted),
}

/// A participant has left.
#[derive(Debug)]
pub struct Parted {
    /// Who.
    pub key: MemberKey,
    /// What those who remain are told.
    pub event: Event,
    /// Whether it would be recognised if it came back.
    pub remembered: bool,
    /// Who was forgotten, since too many were remembered.
    pub forgotten: Vec<MemberKey>,
}
