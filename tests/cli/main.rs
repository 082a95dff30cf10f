//! The command line as its users see it: real processes, one behaviour per file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod completions;
mod doctor;
mod fake;
mod import;
mod json;
mod lease_break;
mod locking;
mod process;
mod progress;
mod pull;
mod push;
mod run;
mod stdin_confirm;
mod terminal;
mod tls;
mod token_file;
mod token_sources;
mod unreachable;
mod unseal;
mod usage;
mod views;
mod wait;
mod watch;
