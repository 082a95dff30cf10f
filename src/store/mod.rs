//! One narrow trait and its engines.
