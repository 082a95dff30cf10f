//! Front doors: decode, call the service, encode. No rules in them.

pub mod certificate;
pub mod config;
pub mod door;
pub mod grpc;
pub mod identity;
pub mod init;
pub mod metrics;
pub mod oidc;
pub mod start;
pub mod terraform;
pub mod verbs;
