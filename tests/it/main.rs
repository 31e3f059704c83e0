//! The integration tests: one binary, since each one links gRPC anew.

mod trace;
