//! Documents with secrets go through everything that a server does. Afterwards none of them is anywhere in what the server keeps or says: files as
//! they lie on the disk, its log, its errors, events, metadata and views; nor in the skeletons, once those are opened.
//!
//! | file | what it is |
//! |---|---|
//! | `search` | what is looked for, in which forms, and where |
//! | `course` | everything that a server does with the documents that it is given |
//! | `own` | documents of our own |
//! | `generated` | states of `make-state.py` |
//!
//! States that Terraform and OpenTofu made go the same way in `stock/everywhere.rs`.

mod course;
mod generated;
mod own;
mod search;

pub(crate) use course::Course;
pub(crate) use search::{Planted, files, opened};
