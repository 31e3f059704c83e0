//! Channel arguments of both ends, side by side because they must agree: a
//! server throws out a client that pings more often than it allows.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{ChannelBuilder, Environment};

/// The largest frame that a server reads at least, in bytes. A line of 128 characters
/// takes up to 600; the client keeps its batches below this.
pub const MAX_RECEIVE_BYTES: usize = 64 * 1024;

/// How a dead peer is found: a ping every so often, an answer within so long.
/// The sum bounds how long a vanished peer goes unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Time without traffic after which a ping is sent.
    pub every: Duration,
    /// Time within which it must be answered.
    pub patience: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            patience: Duration::from_secs(5),
        }
    }
}

/// What is read from one connection before others get their turn, in bytes.
/// gRPC's core would read up to 4 MiB, and go through all that is in it: with
/// calls that are taken back at once, seconds of work.
pub(super) const READ_BYTES: i32 = 16 * 1024;

/// The set of compressions that has only none in it.
const UNCOMPRESSED: i32 = 1;

/// The shortest interval between pings that a server puts up with. Clients may
/// have a shorter keepalive than this server, but not one that floods it.
const LEAST_PING_INTERVAL: Duration = Duration::from_millis(500);

/// What connections may cost the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How a dead client is found.
    pub keepalive: Keepalive,
    /// The largest frame that is read, in bytes.
    pub max_receive_bytes: usize,
    /// Calls on one connection at once; more wait in the client.
    pub max_streams: u32,
    /// How long the handshakes of a new connection may take, TLS and HTTP/2
    /// together.
    pub handshake: Duration,
    /// How long a call other than `Chat` may take to say what it asks.
    pub question: Duration,
    /// How long a connection may be without a call.
    pub idle: Duration,
    /// Answers of all connections that may wait for clients that do not take
    /// them.
    pub max_answers: usize,
}

pub(super) fn server(env: &Arc<Environment>, limits: ConnectionLimits) -> ChannelBuilder {
    let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    common(env, limits.keepalive)
        .raw_cfg_int(
            c"grpc.server_handshake_timeout_ms".to_owned(),
            ms(limits.handshake),
        )
        .raw_cfg_int(c"grpc.max_connection_idle_ms".to_owned(), ms(limits.idle))
        .raw_cfg_int(
            c"grpc.experimental.tcp_max_read_chunk_size".to_owned(),
            READ_BYTES,
        )
        .max_concurrent_stream(int(limits.max_streams as usize))
        // A second server on the same port must fail, not steal connections.
        .reuse_port(false)
        // A little that unpacks to much would pass every limit on its way.
        .raw_cfg_int(
            c"grpc.compression_enabled_algorithms_bitset".to_owned(),
            UNCOMPRESSED,
        )
        // What a stream sends faster than it is read waits in the core, as much as
        // its window lets through: 64 KiB, if the core does not widen that to up to
        // 32 MiB for each stream of a fast client.
        .http2_bdp_probe(false)
        // Ours is looked at where a frame is read. The core's own, at every
        // message in both directions, would take a fifth of the processor time.
        .max_receive_message_len(-1)
        .http2_min_recv_ping_interval_without_data(LEAST_PING_INTERVAL)
}

pub(super) fn client(env: &Arc<Environment>, keepalive: Keepalive) -> ChannelBuilder {
    // Channels to the same address would share one connection, and with it
    // the fate of that connection and its place on one poll thread.
    common(env, keepalive)
        .use_local_subchannel_pool(true)
        .enable_retry(false)
}

fn common(env: &Arc<Environment>, keepalive: Keepalive) -> ChannelBuilder {
    ChannelBuilder::new(env.clone())
        .keepalive_time(keepalive.every)
        .keepalive_timeout(keepalive.patience)
        .keepalive_permit_without_calls(true)
        .http2_max_pings_without_data(0)
        .raw_cfg_int(no_http_proxy(), 0)
        // Nobody can ask for its figures here; it would look at the clock for
        // every message.
        .raw_cfg_int(c"grpc.enable_channelz".to_owned(), 0)
}

/// `grpc.enable_http_proxy`: a chat server is dialled as it is named, whatever
/// the environment's proxy settings say of web pages.
fn no_http_proxy() -> CString {
    c"grpc.enable_http_proxy".to_owned()
}

/// Sends what gRPC's core logs through the `log` crate, once a logger is set.
pub fn log_through_log() {
    grpcio::redirect_log();
}
