//! The rules of leases, versions and drafts as pure functions: no I/O, no clock, no randomness.
//!
//! [`decide()`] takes a bounded [`decision::Snapshot`] of the store, a [`command::Command`] and a [`time::Context`], and gives back
//! a reply and the changes that the engine makes in the same transaction. Whatever enters a decision is an argument, so the same
//! core runs on every engine and under seeded schedules.

pub mod access;
pub mod audit;
pub mod command;
mod content;
mod decide;
pub mod decision;
pub mod document;
pub mod environment;
pub mod event;
pub mod format;
pub mod ids;
mod keys;
mod lease;
pub mod lock;
pub mod names;
pub mod policy;
pub mod refusal;
pub mod rules;
pub mod sealing;
pub mod settings;
mod takeover;
pub mod time;

pub use decide::{Decide, decide};
