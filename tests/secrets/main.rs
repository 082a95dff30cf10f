//! Secrets in documents: what is found, and that nothing else is.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

mod finding;
mod hostile;
mod precision;
mod reader;
mod support;
mod vectors;
