//! Who calls, as far as the connection tells.

use std::net::IpAddr;

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

    /// What the limits for one peer go by: its IPv4 address, or the /64 network
    /// of its IPv6 address, since whoever has one has all of it. `None` for a
    /// socket in the file system.
    pub fn network(&self) -> Option<IpAddr> {
        network(&self.peer)
    }
}

pub(super) fn network(peer: &str) -> Option<IpAddr> {
    let (_, rest) = peer.split_once(':')?;
    let (host, _) = rest.rsplit_once(':')?;
    let host = host.replace("%5B", "").replace("%5D", "");
    let host = host.trim_matches(['[', ']']);
    let host = host.split_once('%').map_or(host, |(host, _zone)| host);
    Some(match host.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_network_is_its_address_or_its_half_of_it() {
        for (peer, network) in [
            ("ipv4:127.0.0.1:5000", Some("127.0.0.1")),
            (
                "ipv6:%5B2001:db8:1:2:3:4:5:6%5D:5000",
                Some("2001:db8:1:2::"),
            ),
            ("ipv6:[2001:db8:1:2::1]:5000", Some("2001:db8:1:2::")),
            ("ipv6:%5Bfe80::1%25eth0%5D:5000", Some("fe80::")),
            ("ipv6:%5B::ffff:10.0.0.1%5D:5000", Some("10.0.0.1")),
            ("unix:/tmp/socket", None),
            ("unix:", None),
            ("", None),
        ] {
            let caller = Caller {
                peer: peer.to_owned(),
                names: None,
            };
            let expected = network.map(|n| n.parse().unwrap());
            assert_eq!(caller.network(), expected, "{peer}");
        }
    }
}
