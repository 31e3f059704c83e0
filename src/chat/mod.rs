//! What is true: Lamport time, names, texts, events and who is in a room.
//!
//! Nothing here does I/O, starts a thread, reads a clock on the wall or knows
//! that gRPC exists; what a rule depends on comes in as a parameter. So every
//! rule of the chat can be tested with plain values.

mod answer;
mod clock;
mod command;
mod event;
mod member;
mod name;
mod room;
mod text;

pub use answer::{Ask, Joined, Loss, Parted, Refused, Said};
pub use clock::{LamportClock, MAX_AHEAD};
pub use command::{Command, Deed, Done, ServerNo, first_of, server_of};
pub use event::{Audience, Event, Kind, MemberKey, RoomId, SERVER_ID, SERVER_NAME};
pub use member::{Member, Presence, RememberedMember, Secret, SessionNo, StoredMember};
pub use name::{DEFAULT_ROOM, MAX_NAME_CHARS, Name, NameError};
pub use room::{MAX_REMEMBERED, Room, RoomSnapshot, StoredRoom};
pub use text::{MAX_TEXT_CHARS, TextError, check_text, is_deceptive, sanitise};
