//! The tree of keys and how each is wrapped for the store.
//!
//! ```text
//! master identity                                                       a file, a command, a passphrase; never in the database
//!  ├ environment secret   → digests of requests and documents, lease secrets
//!  ├ signing key          → sealed views                                Ed25519, one for each environment
//!  └ environment identity v1…vn                                         age X25519
//!     └ data key          → everything stored of one state              32 bytes
//! ```
//!
//! | kind | ids, in this order | key material | wrapped to |
//! |---|---|---|---|
//! | `leasehold/v1/environment-secret` | environment (16 bytes) | 32 bytes | master |
//! | `leasehold/v1/environment-identity` | environment, version (u64 big-endian), recipient (`age1…`) | `AGE-SECRET-KEY-1…` | master |
//! | `leasehold/v1/signing-key` | environment, public key (32 bytes) | seed, 32 bytes | master |
//! | `leasehold/v1/data-key` | environment, state (16), data key (16) | 32 bytes | environment identity |
//!
//! And each to the environment's recovery recipients. The envelope itself is in `wrap.rs`.

pub mod data_key;
mod environment;
mod identity;
pub mod recovery;
mod signing;

pub use super::wrap::{MOST_RECIPIENTS, UnwrapError, WrapError};
pub use environment::EnvironmentSecret;
pub use identity::EnvironmentIdentity;
pub use signing::{PublicKeyError, SigningKey, VerifyingKey};

#[cfg(test)]
mod tests;
