//! The whole thing as its users run it: real servers, real processes and real kills. One behaviour per file.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, reason = "helpers of tests are tests")]
#![allow(clippy::await_holding_lock, reason = "what was seen is judged when nobody writes to it any more")]

mod access;
mod apart;
mod audit;
mod canaries;
mod core_dump;
mod damage;
mod dead_holder;
mod durable;
mod floods;
mod full_disk;
mod keys;
mod killed_server;
mod large_string;
mod locked;
mod memory;
mod oidc;
#[allow(dead_code, reason = "shared with the tests of the command line, which use more of it")]
#[path = "../cli/process.rs"]
mod process;
mod proxy;
mod put_back;
mod recover;
mod require;
mod rig;
mod rotation;
#[allow(dead_code, reason = "shared with the tests of the store, which use more of it")]
#[path = "../shim/mod.rs"]
mod shim;
mod siege;
mod start_refused;
mod stock;
mod stopped_holder;
mod terraform;
mod terraform_views;
mod tls;
mod transfer;
mod unclear_commit;
mod waiters;
mod watching;
