//! The server over real gRPC, called by clients that may send anything: one behaviour per file.

mod authorization;
mod support;
