//! The store: one contract suite that runs on every engine, and what only SQLite can be asked.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test helpers fail loudly, and say what they skip")]

mod commands;
mod contract;
mod engines;
mod namespace;
mod require;
mod rig;
#[path = "../shim/mod.rs"]
mod shim;
mod sqlite;
