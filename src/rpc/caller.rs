//! Who calls, as far as the connection tells.

use grpcio::{Metadata, MetadataBuilder, RpcContext};

/// The header with which calls other than `Chat` bring the server's password;
/// a JOIN has a field for it.
const PASSWORD_HEADER: &str = "chitchat-password-bin";

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its address, as gRPC writes addresses.
    pub peer: String,
    /// The names of its certificate, where the server asks for one: those of
    /// its subject alternative name or, without any, its common name.
    pub names: Option<Vec<String>>,
}

impl Caller {
    pub(super) fn of(ctx: &RpcContext<'_>) -> Self {
        // Unencrypted connections have a context too.
        let proven = ctx.auth_context().filter(|c| c.peer_is_authenticated());
        Self {
            peer: ctx.peer(),
            names: proven.map(|context| {
                let names = context.peer_identity();
                names
                    .filter_map(|name| name.value_str().ok().map(str::to_owned))
                    .collect()
            }),
        }
    }

    /// The address without its port: what the limits for one peer go by.
    /// Empty for a socket in the file system.
    pub fn address(&self) -> &str {
        let peer = &self.peer;
        match peer.strip_prefix("ipv4:").or(peer.strip_prefix("ipv6:")) {
            Some(rest) => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
            None => "",
        }
    }
}

/// The password that a call brings; empty if it brings none.
pub(super) fn password_of(ctx: &RpcContext<'_>) -> String {
    let found = ctx
        .request_headers()
        .iter()
        .find(|h| h.0 == PASSWORD_HEADER);
    found.map_or_else(String::new, |(_, value)| {
        String::from_utf8_lossy(value).into_owned()
    })
}

/// Headers that bring a password, if there is one.
pub(super) fn bring(password: &str) -> Option<Metadata> {
    let mut headers = MetadataBuilder::new();
    // The header's name is a valid one, and takes any bytes.
    (!password.is_empty()
        && headers
            .add_bytes(PASSWORD_HEADER, password.as_bytes())
            .is_ok())
    .then(|| headers.build())
}
