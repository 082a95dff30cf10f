//! What is sealed, against what others say about it.

mod reader;
mod vectors;
