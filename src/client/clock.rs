//! The one place where the client reads a clock.

use tokio::time::Instant;

/// The monotonic time of this process, which counts how long ago a renewal was sent; a paused runtime makes it virtual.
///
/// Wall-clock steps do not move it. It may stand still while the machine sleeps: the fenced commit is what keeps writes safe then.
#[allow(clippy::disallowed_methods, reason = "a holder counts from the sending of its renewals, which only its own clock knows")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall-clock time, in the form in which lock info has it, for people who look at a lock.
#[allow(clippy::disallowed_methods, reason = "it decides nothing; other servers ask for it")]
pub(crate) fn stamp() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
