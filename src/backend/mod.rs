//! The wire of the `http` backend, as real Terraform and OpenTofu speak it: what a request asks for, lock info, and MD5 in headers.
//!
//! Nothing here decides; both who serves the protocol to the world and who serves it to one child process build on it.
//!
//! What the clients do is not what their documentation says everywhere. They treat a status outside a short list for each call as
//! an error (see [`Call`]), never show a response's body except the lock info of a conflict, retry every call with identical bytes
//! after a lost answer, and send a forced unlock with an empty body.

mod lock_info;
mod md5;
mod request;

pub use lock_info::{Body, Extra, Kind, LockInfo, LockInfoError, MAX_LOCK_INFO, MAX_TOLD_ID};
pub use md5::{BadMd5, ContentMd5, Running};
pub use request::{Call, MAX_WAIT, RequestError, classify};
