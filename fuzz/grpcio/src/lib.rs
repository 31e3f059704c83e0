//! What the parsers use of grpcio, without gRPC's C core: it takes minutes to
//! build, and nothing of it is fuzzed here. Names and shapes are grpcio's.

use std::collections::VecDeque;
use std::error;
use std::fmt;
use std::io::{self, BufRead, Read};

/// Why a message is none.
#[derive(Debug)]
pub enum Error {
    Codec(Box<dyn error::Error + Send + Sync>),
}

pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error::Codec(why) = self;
        why.fmt(f)
    }
}

impl error::Error for Error {}

impl From<protobuf::Error> for Error {
    fn from(why: protobuf::Error) -> Self {
        Error::Codec(Box::new(why))
    }
}

/// The bytes of a message to send.
#[derive(Debug, Clone, Default)]
pub struct GrpcSlice(Vec<u8>);

impl GrpcSlice {
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for GrpcSlice {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for GrpcSlice {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The bytes of a message that was received: as the network brought them, in
/// several pieces.
#[derive(Debug)]
pub struct MessageReader(VecDeque<Vec<u8>>);

impl MessageReader {
    pub fn new(pieces: impl Iterator<Item = Vec<u8>>) -> Self {
        Self(pieces.filter(|piece| !piece.is_empty()).collect())
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Read for MessageReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let taken = piece.len().min(into.len());
        into[..taken].copy_from_slice(&piece[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for MessageReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.0.front().map_or(&[], Vec::as_slice))
    }

    fn consume(&mut self, taken: usize) {
        if let Some(piece) = self.0.front_mut() {
            piece.drain(..taken);
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

pub struct Marshaller<T> {
    pub ser: fn(&T, &mut GrpcSlice) -> Result<()>,
    pub de: fn(MessageReader) -> Result<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodType {
    Unary,
    ClientStreaming,
    ServerStreaming,
    Duplex,
}

pub struct Method<Req, Resp> {
    pub ty: MethodType,
    pub name: &'static str,
    pub req_mar: Marshaller<Req>,
    pub resp_mar: Marshaller<Resp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcStatusCode(i32);

impl RpcStatusCode {
    pub const OK: Self = Self(0);
    pub const CANCELLED: Self = Self(1);
    pub const INVALID_ARGUMENT: Self = Self(3);
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    pub const NOT_FOUND: Self = Self(5);
    pub const ALREADY_EXISTS: Self = Self(6);
    pub const PERMISSION_DENIED: Self = Self(7);
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    pub const FAILED_PRECONDITION: Self = Self(9);
    pub const ABORTED: Self = Self(10);
    pub const OUT_OF_RANGE: Self = Self(11);
    pub const UNIMPLEMENTED: Self = Self(12);
    pub const INTERNAL: Self = Self(13);
    pub const UNAVAILABLE: Self = Self(14);
    pub const UNAUTHENTICATED: Self = Self(16);
}

impl From<RpcStatusCode> for i32 {
    fn from(code: RpcStatusCode) -> Self {
        code.0
    }
}

#[derive(Debug, Clone)]
pub struct RpcStatus;

impl RpcStatus {
    pub fn with_message(_: RpcStatusCode, _: String) -> Self {
        Self
    }
}

/// Credentials, which are only built.
pub struct ChannelCredentials;

#[derive(Default)]
pub struct ChannelCredentialsBuilder;

impl ChannelCredentialsBuilder {
    pub fn new() -> Self {
        Self
    }

    pub fn root_cert(self, _: Vec<u8>) -> Self {
        self
    }

    pub fn cert(self, _: Vec<u8>, _: Vec<u8>) -> Self {
        self
    }

    pub fn build(self) -> ChannelCredentials {
        ChannelCredentials
    }
}

#[derive(Debug, Clone, Copy)]
pub enum CertificateRequestType {
    DontRequestClientCertificate,
    RequestAndRequireClientCertificateAndVerify,
}

#[derive(Default)]
pub struct ServerCredentialsBuilder;

impl ServerCredentialsBuilder {
    pub fn new() -> Self {
        Self
    }

    pub fn root_cert(self, _: Vec<u8>, _: CertificateRequestType) -> Self {
        self
    }

    pub fn add_cert(self, _: Vec<u8>, _: Vec<u8>) -> Self {
        self
    }
}

pub trait ServerCredentialsFetcher {
    fn fetch(&self)
    -> std::result::Result<Option<ServerCredentialsBuilder>, Box<dyn error::Error>>;
}

pub struct ServerCredentials;

impl ServerCredentials {
    pub fn with_fetcher(
        _: Box<dyn ServerCredentialsFetcher + Send + Sync>,
        _: CertificateRequestType,
    ) -> Self {
        Self
    }
}
