//! How it is spelt.
mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated/mod.rs"));
}
pub use generated::chat;
