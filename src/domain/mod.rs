//! The rules.

pub mod format;
