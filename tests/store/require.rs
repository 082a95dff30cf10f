//! Tests that need more than Rust and a C compiler say so loudly, or fail where it is promised.

/// Says that a test is skipped, unless `LEASEHOLD_REQUIRE` lists what it needs: then it fails.
#[allow(clippy::disallowed_methods, reason = "a setting of the test run")]
pub(crate) fn skip(test: &str, needs: &str) {
    let required = std::env::var("LEASEHOLD_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|required| required.trim() == needs), "{test} needs {needs}, which is required here");
    eprintln!("SKIPPED: {test} needs {needs}");
}
