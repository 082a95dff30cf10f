//! Secrets in documents: what is found, and that nothing else is.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and tell like the tests themselves")]

mod finding;
mod hostile;
mod precision;
mod support;
