//! The integration tests, in one binary: one link, and tests that share what they start.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

mod architecture;
mod door;
mod readme;
mod stock_age;
mod supervise;
mod support;
mod unit;
