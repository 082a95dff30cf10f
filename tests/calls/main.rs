//! The server over real gRPC, called by clients that may send anything: one behaviour per file.

mod authorization;
mod documents;
mod lease_secret;
mod malformed;
mod names;
mod stale;
mod streams;
mod support;
