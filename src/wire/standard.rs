//! gRPC's standard services, health and reflection, and the descriptors that
//! the latter hands out.

use grpcio::{Marshaller, Method, MethodType, RpcStatusCode};
use protobuf::descriptor::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use protobuf::{EnumOrUnknown, Message, MessageField};

use super::frame::{self, Frame};
use super::generated::health::health_check_response::ServingStatus;
use super::generated::health::{HealthCheckRequest, HealthCheckResponse};
use super::generated::reflection as pb;
use super::generated::reflection::server_reflection_request::Message_request as Ask;
use super::generated::reflection::server_reflection_response::Message_response as Answer;
use super::generated::{chat, health};
use super::generated_v1alpha;
use super::method::{asked, by_message};
use super::query::{Asked, Spelt};

/// `Check` of the health service.
pub const HEALTH_CHECK: Method<Asked<HealthQuery>, Health> = Method {
    ty: MethodType::Unary,
    name: "/grpc.health.v1.Health/Check",
    req_mar: asked(),
    resp_mar: by_message(),
};

/// `Watch` of the health service, as the server serves it.
pub const HEALTH_WATCH: Method<Asked<HealthQuery>, Frame> = Method {
    ty: MethodType::ServerStreaming,
    name: "/grpc.health.v1.Health/Watch",
    req_mar: asked(),
    resp_mar: Marshaller {
        ser: frame::write_frame,
        de: frame::read_frame,
    },
};

/// The reflection service's one call.
pub const REFLECT: Method<Asked<ReflectQuery>, ReflectReply> = Method {
    ty: MethodType::Duplex,
    name: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    req_mar: asked(),
    resp_mar: by_message(),
};

/// The same under the name that it had before; its messages are the same.
pub const REFLECT_V1ALPHA: Method<Asked<ReflectQuery>, ReflectReply> = Method {
    name: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ..REFLECT
};

/// Asks for the health of a service; of the whole server with an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthQuery(pub String);

/// Whether a service serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serving,
    /// It does not, now.
    NotServing,
    /// There is no service of this name.
    Unknown,
}

impl Health {
    /// As a message of a stream.
    pub fn to_frame(self) -> grpcio::Result<Frame> {
        Ok(Frame::of_bytes(&self.to_message().write_to_bytes()?))
    }
}

impl Spelt for HealthQuery {
    type Message = HealthCheckRequest;

    fn to_message(&self) -> Self::Message {
        HealthCheckRequest {
            service: self.0.clone(),
            ..Default::default()
        }
    }

    fn from_message(message: Self::Message) -> Self {
        Self(message.service)
    }
}

impl Spelt for Health {
    type Message = HealthCheckResponse;

    fn to_message(&self) -> Self::Message {
        let status = match self {
            Health::Serving => ServingStatus::SERVING,
            Health::NotServing => ServingStatus::NOT_SERVING,
            Health::Unknown => ServingStatus::SERVICE_UNKNOWN,
        };
        HealthCheckResponse {
            status: EnumOrUnknown::new(status),
            ..Default::default()
        }
    }

    fn from_message(message: Self::Message) -> Self {
        match message.status.enum_value() {
            Ok(ServingStatus::SERVING) => Health::Serving,
            Ok(ServingStatus::NOT_SERVING) => Health::NotServing,
            _ => Health::Unknown,
        }
    }
}

/// A question about services and messages. The default one asks for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReflectQuery(pb::ServerReflectionRequest);

/// What such a question asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReflectAsk<'a> {
    /// The file of this name.
    File(&'a str),
    /// The file that declares this symbol.
    Symbol(&'a str),
    /// The file that extends this type.
    Extension(&'a str),
    /// The numbers of this type's extensions.
    ExtensionNumbers(&'a str),
    /// The services.
    Services,
    /// Nothing that is known here.
    Nothing,
}

/// What such a question is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReflectAnswer {
    /// Encoded descriptors of files.
    Files(Vec<Vec<u8>>),
    /// A type without extensions.
    NoExtensions(String),
    /// Names of services.
    Services(Vec<String>),
    /// There is no such thing.
    NotFound(String),
    /// The question cannot be answered here.
    Unimplemented,
}

/// An answer, together with its question.
#[derive(Debug, Clone, PartialEq)]
pub struct ReflectReply(pb::ServerReflectionResponse);

impl ReflectQuery {
    /// What it asks for.
    pub fn ask(&self) -> ReflectAsk<'_> {
        match &self.0.message_request {
            Some(Ask::FileByFilename(name)) => ReflectAsk::File(name),
            Some(Ask::FileContainingSymbol(symbol)) => ReflectAsk::Symbol(symbol),
            Some(Ask::FileContainingExtension(e)) => ReflectAsk::Extension(&e.containing_type),
            Some(Ask::AllExtensionNumbersOfType(name)) => ReflectAsk::ExtensionNumbers(name),
            Some(Ask::ListServices(_)) => ReflectAsk::Services,
            None => ReflectAsk::Nothing,
        }
    }

    /// Puts the answer to it.
    pub fn reply(self, answer: ReflectAnswer) -> ReflectReply {
        let error = |code: RpcStatusCode, words: &str| {
            Answer::ErrorResponse(pb::ErrorResponse {
                error_code: code.into(),
                error_message: words.to_owned(),
                ..Default::default()
            })
        };
        let answer = match answer {
            ReflectAnswer::Files(files) => {
                Answer::FileDescriptorResponse(pb::FileDescriptorResponse {
                    file_descriptor_proto: files,
                    ..Default::default()
                })
            }
            ReflectAnswer::NoExtensions(base_type_name) => {
                Answer::AllExtensionNumbersResponse(pb::ExtensionNumberResponse {
                    base_type_name,
                    ..Default::default()
                })
            }
            ReflectAnswer::Services(names) => {
                let service = names.into_iter().map(|name| pb::ServiceResponse {
                    name,
                    ..Default::default()
                });
                Answer::ListServicesResponse(pb::ListServiceResponse {
                    service: service.collect(),
                    ..Default::default()
                })
            }
            ReflectAnswer::NotFound(what) => {
                error(RpcStatusCode::NOT_FOUND, &format!("there is no {what}"))
            }
            ReflectAnswer::Unimplemented => {
                error(RpcStatusCode::UNIMPLEMENTED, "not a question known here")
            }
        };
        ReflectReply(pb::ServerReflectionResponse {
            valid_host: self.0.host.clone(),
            original_request: MessageField::some(self.0),
            message_response: Some(answer),
            ..Default::default()
        })
    }
}

impl Spelt for ReflectQuery {
    type Message = pb::ServerReflectionRequest;

    fn to_message(&self) -> Self::Message {
        self.0.clone()
    }

    fn from_message(message: Self::Message) -> Self {
        Self(message)
    }
}

impl Spelt for ReflectReply {
    type Message = pb::ServerReflectionResponse;

    fn to_message(&self) -> Self::Message {
        self.0.clone()
    }

    fn from_message(message: Self::Message) -> Self {
        Self(message)
    }
}

/// A file of the wire contract or of a standard service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name, such as `chat.proto`.
    pub name: String,
    /// The names of the files that it imports.
    pub imports: Vec<String>,
    /// The full names of its services.
    pub services: Vec<String>,
    /// The full names of all that it declares, services and fields too.
    pub symbols: Vec<String>,
    /// Its encoded descriptor.
    pub bytes: Vec<u8>,
}

/// All files that this server knows.
pub fn described() -> Vec<Described> {
    [
        chat::file_descriptor(),
        health::file_descriptor(),
        pb::file_descriptor(),
        generated_v1alpha::reflection::file_descriptor(),
    ]
    .into_iter()
    .map(|file| describe(file.proto()))
    .collect()
}

fn describe(file: &FileDescriptorProto) -> Described {
    let full = |name: &str| format!("{}.{name}", file.package());
    let services: Vec<_> = file.service.iter().map(|s| full(s.name())).collect();
    let mut symbols = services.clone();
    for service in &file.service {
        let of_service = |name: &str| full(&format!("{}.{name}", service.name()));
        symbols.extend(service.method.iter().map(|m| of_service(m.name())));
    }
    for message in &file.message_type {
        add_message(file.package(), message, &mut symbols);
    }
    for kind in &file.enum_type {
        add_enum(file.package(), kind, &mut symbols);
    }
    Described {
        name: file.name().to_owned(),
        imports: file.dependency.clone(),
        services,
        symbols,
        bytes: file
            .write_to_bytes()
            .expect("a parsed descriptor has all that it needs"),
    }
}

fn add_message(scope: &str, message: &DescriptorProto, symbols: &mut Vec<String>) {
    let own = format!("{scope}.{}", message.name());
    symbols.extend(message.field.iter().map(|f| format!("{own}.{}", f.name())));
    for inner in &message.nested_type {
        add_message(&own, inner, symbols);
    }
    for kind in &message.enum_type {
        add_enum(&own, kind, symbols);
    }
    symbols.push(own);
}

/// The values of an enum are its siblings.
fn add_enum(scope: &str, kind: &EnumDescriptorProto, symbols: &mut Vec<String>) {
    symbols.push(format!("{scope}.{}", kind.name()));
    symbols.extend(kind.value.iter().map(|v| format!("{scope}.{}", v.name())));
}
