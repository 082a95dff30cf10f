//! Secrets in documents: what is found, and that nothing else is.

mod finding;
mod hostile;
mod precision;
mod support;
