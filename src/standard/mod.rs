//! The services that every gRPC server may have: whether it serves
//! ([`HealthBoard`]) and what it serves ([`reflection`]). They know nothing of
//! the chat.

mod health;
mod reflection;

pub use health::HealthBoard;
pub use reflection::reflection;
