//! What sealing costs, in MiB/s: in the library, and end to end over gRPC on a server of this build.
//!
//! - `library`: finding, sealing, opening and redacting, one thread, on
//!   - `secrets`: a Terraform state of 10 MiB with 1,000 marked secrets, which stand unmarked elsewhere too,
//!   - `keys`: a state with 1,000 different PEM keys of 3 KB;
//! - `wire`: the first of these written, read and read again, and the most memory that the server ever had;
//! - `rotation`: new keys over the command line, `LEASEHOLD_BENCH_ROTATIONS` (5) times, for `LEASEHOLD_BENCH_STATES` (5,000) states of
//!   `LEASEHOLD_BENCH_SECRETS` (1) secrets each, and how long a lock takes meanwhile. Design 10 asks for 100,000 and 1, and for 1,000,000 secrets.
//!
//! `cargo bench --bench seal` runs all; `cargo bench --bench seal -- wire` some. Every rate is the median of `LEASEHOLD_BENCH_ROUNDS` (9).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops where it fails, and prints")]
#![allow(clippy::disallowed_methods, reason = "it measures time and reads its own settings")]

#[path = "seal/documents.rs"]
mod documents;
#[path = "seal/library.rs"]
mod library;
#[path = "seal/rotation.rs"]
mod rotation;
#[path = "load/server.rs"]
#[allow(dead_code, reason = "shared with the benchmark of the load")]
mod server;
#[path = "seal/wire.rs"]
mod wire;

use std::time::Duration;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let rounds = number("LEASEHOLD_BENCH_ROUNDS", 9);
    if wants("library") {
        library::run(rounds);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if wants("wire") {
        runtime.block_on(wire::run(rounds));
    }
    if wants("rotation") {
        let (states, secrets) = (number("LEASEHOLD_BENCH_STATES", 5_000), number("LEASEHOLD_BENCH_SECRETS", 1));
        runtime.block_on(rotation::run(states, secrets, number("LEASEHOLD_BENCH_ROTATIONS", 5)));
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The median and the best of what was measured, and what they make of so many bytes. The best tells more while others use the machine.
fn print(what: &str, bytes: usize, took: &mut [Duration]) {
    took.sort_unstable();
    let (median, best) = (took[took.len() / 2], took[0]);
    let rate = |took: Duration| bytes as f64 / (1 << 20) as f64 / took.as_secs_f64();
    let (median_us, best_us, most) = (median.as_micros(), best.as_micros(), rate(best));
    println!(
        "leasehold {what} bytes={bytes} median_us={median_us} best_us={best_us} MiB_per_s={:.0} best={most:.0}",
        rate(median)
    );
}
