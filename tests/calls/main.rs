//! The server over real gRPC, called by clients that may send anything: one behaviour per file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and tell like the tests themselves")]

mod access;
mod audit;
mod backend;
mod deadlines;
mod documents;
mod drafts;
mod dynamic;
mod environments;
mod keys;
mod lease_secret;
mod listing;
mod locked;
mod loss;
mod malformed;
mod metrics;
mod modes;
mod names;
mod page;
mod queue;
mod races;
mod secrecy;
mod sharing;
mod shutdown;
mod stale;
mod standard;
mod streams;
mod support;
mod unread;
mod versions;
mod views;
mod watch;
