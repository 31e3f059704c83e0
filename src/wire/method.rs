//! The service's methods. Each end of a call has its own value types, so a
//! method has one constant for the server and one for the client.

use grpcio::{Marshaller, MessageReader, Method, MethodType};

use super::frame::{self, Frame, Received};
use super::query::{self, Asked, HistoryQuery, RoomList, RoomsQuery, Roster, Spelt, WhoQuery};
use super::request::{self, ClientFrame};
use super::sighting::{self, Sighting};

/// The full name of the service.
pub const SERVICE: &str = "itu.chitchat.ChatService";

/// `Chat` as the server serves it: frames in, for
/// [`read_requests`](super::read_requests), and encoded frames out.
pub const CHAT: Method<MessageReader, Frame> = Method {
    ty: MethodType::Duplex,
    name: "/itu.chitchat.ChatService/Chat",
    req_mar: Marshaller {
        ser: frame::write_nothing,
        de: Ok,
    },
    resp_mar: Marshaller {
        ser: frame::write_frame,
        de: frame::read_frame,
    },
};

/// `Chat` as a client calls it: requests out, events in.
pub const CHAT_CALL: Method<ClientFrame, Vec<Received>> = Method {
    ty: MethodType::Duplex,
    name: CHAT.name,
    req_mar: Marshaller {
        ser: request::write_requests,
        de: request::read_no_requests,
    },
    resp_mar: Marshaller {
        ser: frame::write_nothing,
        de: frame::read_events,
    },
};

/// `Chat` as a client calls it that only checks what it is shown.
pub const CHAT_SIGHTINGS: Method<ClientFrame, Vec<Sighting>> = Method {
    ty: MethodType::Duplex,
    name: CHAT.name,
    req_mar: Marshaller {
        ser: request::write_requests,
        de: request::read_no_requests,
    },
    resp_mar: Marshaller {
        ser: frame::write_nothing,
        de: sighting::read_sightings,
    },
};

/// `History` as the server serves it.
pub const HISTORY: Method<Asked<HistoryQuery>, Frame> = Method {
    ty: MethodType::ServerStreaming,
    name: "/itu.chitchat.ChatService/History",
    req_mar: asked(),
    resp_mar: Marshaller {
        ser: frame::write_frame,
        de: frame::read_frame,
    },
};

/// `History` as a client calls it.
pub const HISTORY_CALL: Method<HistoryQuery, Vec<Received>> = Method {
    ty: MethodType::ServerStreaming,
    name: HISTORY.name,
    req_mar: by_message(),
    resp_mar: Marshaller {
        ser: frame::write_nothing,
        de: frame::read_events,
    },
};

/// `Who` as the server serves it.
pub const WHO: Method<Asked<WhoQuery>, Roster> = Method {
    ty: MethodType::Unary,
    name: "/itu.chitchat.ChatService/Who",
    req_mar: asked(),
    resp_mar: by_message(),
};

/// `Who` as a client calls it.
pub const WHO_CALL: Method<WhoQuery, Roster> = Method {
    ty: MethodType::Unary,
    name: WHO.name,
    req_mar: by_message(),
    resp_mar: by_message(),
};

/// `Rooms` as the server serves it.
pub const ROOMS: Method<Asked<RoomsQuery>, RoomList> = Method {
    ty: MethodType::Unary,
    name: "/itu.chitchat.ChatService/Rooms",
    req_mar: asked(),
    resp_mar: by_message(),
};

/// `Rooms` as a client calls it.
pub const ROOMS_CALL: Method<RoomsQuery, RoomList> = Method {
    ty: MethodType::Unary,
    name: ROOMS.name,
    req_mar: by_message(),
    resp_mar: by_message(),
};

/// A question as the server reads it.
pub(super) const fn asked<T: Spelt>() -> Marshaller<Asked<T>> {
    Marshaller {
        ser: frame::write_nothing,
        de: query::read_asked,
    }
}

pub(super) const fn by_message<T: Spelt>() -> Marshaller<T> {
    Marshaller {
        ser: query::write,
        de: query::read,
    }
}
