//! Secrets in documents: what is found, and that nothing else is.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

mod corpus;
mod finding;
#[path = "../fuzz/targets/mod.rs"]
mod fuzz;
mod hostile;
mod precision;
mod reader;
mod round_trips;
mod support;
mod vectors;
mod worst;
