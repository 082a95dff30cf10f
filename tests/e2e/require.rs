//! Tests that need more than Rust say so loudly, or fail where it is promised.

#[path = "../it/support/require.rs"]
mod programs;

pub(crate) use programs::program;

/// Says that a test is skipped, unless `LEASEHOLD_REQUIRE` lists what it needs: then it fails.
pub(crate) fn skip(test: &str, needs: &str) {
    assert!(program(needs).is_none(), "{test}: `{needs}` is there, and did not run");
}
