//! How it is spelt: what crosses the network, as bytes and as values.
//!
//! Only this module sees the generated types of `proto/`. Above it there are
//! [`Request`]s from clients, [`Event`](crate::chat::Event)s and already
//! encoded [`Frame`]s from the server, and [`Ending`]s of streams.

mod ending;
mod field;
mod frame;
mod method;
mod query;
mod request;
mod sighting;
mod standard;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated/mod.rs"));
}

/// The former reflection service's types; only its descriptor is used.
mod generated_v1alpha {
    include!(concat!(env!("OUT_DIR"), "/generated-v1alpha/mod.rs"));
}

pub use ending::Ending;
pub use frame::{Frame, Group, Received};
pub use method::{
    CHAT, CHAT_CALL, CHAT_SIGHTINGS, HISTORY, HISTORY_CALL, ROOMS, ROOMS_CALL, SERVICE, WHO,
    WHO_CALL,
};
pub use query::{
    Asked, HistoryQuery, Participant, RoomInfo, RoomList, RoomsQuery, Roster, WhoQuery,
};
pub use request::{ClientFrame, Join, MAX_REQUESTS, PastAsk, Request, read_requests};
pub use sighting::{HEAD_BYTES, Sighting};
pub use standard::{
    Described, HEALTH_CHECK, HEALTH_WATCH, Health, HealthQuery, REFLECT, REFLECT_V1ALPHA,
    ReflectAnswer, ReflectAsk, ReflectQuery, ReflectReply, described,
};
