//! Sealing and opening documents, and the keys for it: the only place that names the age crate.
//!
//! A document passes through [`document::seal`] on its way into the store and through [`document::Opener`] on its way out: a skeleton
//! and the sealed values of its holes. Today no value is cut out and the skeleton is compressed, not encrypted; what the store keeps has
//! the shape that sealing needs. Digests are keyed from the start.

pub mod data_key;
pub mod document;
pub mod find;
pub mod hole;
pub mod keys;
pub mod master;
pub mod path;
