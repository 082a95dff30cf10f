//! Leasehold keeps the state of infrastructure as code: versions of state documents, leases that die with their holder, and the secrets
//! inside, sealed.
//!
//! # The map
//!
//! Arrows point down only; `tests/it/architecture.rs` walks `src/` and fails on an upward one.
//!
//! ```text
//! cli ──► client          serve ──► service ──► { store, secrets } ──► domain
//! ```
//!
//! | module | what it is | where to add things |
//! |---|---|---|
//! | [`backend`] | the `http` backend's wire as real Terraform and OpenTofu speak it: lock info, ids, MD5; pure; known to `serve`, `client` and `cli` | what a stock client sends |
//! | [`domain`] | the rules, pure: no I/O, clock or randomness | a rule, an invariant, a format |
//! | [`secrets`] | finding, sealing, opening and showing secrets; the only place that names the age crate | a rule of finding, an algorithm, a key source |
//! | [`store`] | one narrow trait, `submit(Command) → Reply`, and its engines | an engine, a migration |
//! | [`service`] | one use case per file: build a command, submit it, shape the reply | a use case |
//! | [`serve`] | front doors without rules: the accept loop, gRPC | a protocol |
//! | [`client`] | the library that programs and the CLI use; a lease that renews itself | a call |
//! | [`cli`] | parse, call the client, print | a command |
//! | [`counts`] | numbers without locks that are shown as metrics; known to `store`, `service` and `serve` | something to count in the engine |
//! | [`pb`] | the wire types generated from `proto/`; known to `serve`, `client` and `cli` only | a message |

pub mod backend;
pub mod cli;
pub mod client;
pub mod counts;
pub mod domain;
pub mod pb;
pub mod secrets;
pub mod serve;
pub mod service;
pub mod store;
