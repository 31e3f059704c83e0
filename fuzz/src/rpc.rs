//! The certificates of both ends.

#[path = "../../src/rpc/tls.rs"]
pub mod tls;
