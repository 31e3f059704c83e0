//! The service's methods. Each end of a call has its own value types, so a
//! streaming method has one constant for the server and one for the client.

use grpcio::{Marshaller, Method, MethodType};

use super::frame::{self, Frame, Received};
use super::query::{self, HistoryQuery, RoomList, RoomsQuery, Roster, Spelt, WhoQuery};
use super::request::{self, ClientFrame, Request};
use super::sighting::{self, Sighting};

/// The full name of the service.
pub const SERVICE: &str = "itu.chitchat.ChatService";

/// `Chat` as the server serves it: requests in, encoded frames out.
pub const CHAT: Method<Vec<Request>, Frame> = Method {
    ty: MethodType::Duplex,
    name: "/itu.chitchat.ChatService/Chat",
    req_mar: Marshaller {
        ser: frame::write_nothing,
        de: request::read_requests,
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
pub const HISTORY: Method<HistoryQuery, Frame> = Method {
    ty: MethodType::ServerStreaming,
    name: "/itu.chitchat.ChatService/History",
    req_mar: by_message(),
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

/// `Who`.
pub const WHO: Method<WhoQuery, Roster> = Method {
    ty: MethodType::Unary,
    name: "/itu.chitchat.ChatService/Who",
    req_mar: by_message(),
    resp_mar: by_message(),
};

/// `Rooms`.
pub const ROOMS: Method<RoomsQuery, RoomList> = Method {
    ty: MethodType::Unary,
    name: "/itu.chitchat.ChatService/Rooms",
    req_mar: by_message(),
    resp_mar: by_message(),
};

pub(super) const fn by_message<T: Spelt>() -> Marshaller<T> {
    Marshaller {
        ser: query::write,
        de: query::read,
    }
}
