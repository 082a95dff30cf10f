//! Loads a server of this build with the unit of work that its peers are measured on, and prints one line per run:
//! `leasehold op clients=… size_bytes=… ops_per_s=… p50_us=… p99_us=… max_us=… server_cpu_us=… fdatasync_per_call=…`.
//!
//! One operation is
//! - `noop`: the cheapest call that the server answers (its health), the ceiling for everything else;
//! - `lock`: take an uncontended lease and release it again, both durable before the reply (two calls);
//! - `handoff`: all clients want the same lock; one operation is one grant and its release;
//! - `put`: write one Terraform state as a new version under a lease.
//!
//! `cargo bench` runs all; `cargo bench -- lock handoff` some; `LEASEHOLD_BENCH_SECONDS` sets the length of a run (3).
//! `cargo bench -- guarded` compares lock cycles over TLS with those of another build without it, `LEASEHOLD_BENCH_BEFORE`, in pairs: what
//! TLS costs, and if that is a build from before access and audit, what they cost as well. Without one it is this build on both sides.
//! `cargo bench -- slow` adds 5 ms to every fsync (a preloaded shim; needs gcc) and prints how far group commit carries.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops where it fails, and prints")]
#![allow(clippy::disallowed_methods, reason = "it measures time and reads its own settings")]

#[path = "load/server.rs"]
#[allow(dead_code, reason = "shared with the benchmark of sealing")]
mod server;
#[path = "load/work.rs"]
mod work;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use server::Server;
use work::Client;

#[derive(Clone, Copy, PartialEq)]
enum Op {
    Noop,
    Lock,
    Handoff,
    Put(usize),
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Lock => "lock",
            Self::Handoff => "handoff",
            Self::Put(_) => "put",
        }
    }

    /// Acknowledged durable calls in one operation.
    fn calls(self) -> f64 {
        match self {
            Self::Noop => 0.0,
            // A hand-off is acquire, claim and release.
            Self::Handoff => 3.0,
            Self::Lock => 2.0,
            Self::Put(_) => 1.0,
        }
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let seconds = std::env::var("LEASEHOLD_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let length = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start(None).await;
        let (p50, p99) = server.fdatasync();
        println!("fdatasync overwrite=4096 p50_us={p50} p99_us={p99}");
        for (op, clients) in [
            (Op::Noop, 1),
            (Op::Noop, 64),
            (Op::Lock, 1),
            (Op::Lock, 16),
            (Op::Lock, 64),
            (Op::Handoff, 16),
            (Op::Put(4096), 16),
            (Op::Put(65536), 16),
            (Op::Put(1_000_000), 16),
            (Op::Put(4096), 256),
        ] {
            if wants(op.name()) {
                run(&server, op, clients, length).await;
            }
        }
        drop(server);
        if wants("guarded") {
            guarded(length).await;
        }
        if wants("slow") {
            slow(length).await;
        }
    });
}

/// Lock cycles over TLS against those of another build without it: pairs in turn, and the median of their ratios.
async fn guarded(length: Duration) {
    /// Pairs.
    const ROUNDS: usize = 7;
    let before = std::env::var_os("LEASEHOLD_BENCH_BEFORE").map(std::path::PathBuf::from);
    let plain = match &before {
        Some(program) => Server::of_another_build(program).await,
        None => Server::start(None).await,
    };
    let guarded = Server::with_tls().await;
    let (p50, p99) = guarded.fdatasync();
    println!("fdatasync overwrite=4096 p50_us={p50} p99_us={p99}");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let without = run(&plain, Op::Lock, 64, length).await;
        ratios.push(run(&guarded, Op::Lock, 64, length).await / without);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let what = before.map_or("this build without TLS", |_| "the other build without TLS");
    let (lowest, median, highest) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    println!("guarded lock clients=64: {median:.2} of {what} (median of {ROUNDS} pairs, {lowest:.2} to {highest:.2})");
}

/// With 5 ms more in every fsync, one client against 64: what group commit gives.
async fn slow(length: Duration) {
    let Some(shim) = server::slow_sync_shim() else {
        println!("slow: skipped, gcc is missing");
        return;
    };
    let server = Server::start(Some(&shim)).await;
    let one = run(&server, Op::Lock, 1, length).await;
    let many = run(&server, Op::Lock, 64, length).await;
    println!("slow lock: 64 clients do {:.1} times what 1 client does, with 5 ms added to every fsync", many / one);
}

async fn run(server: &Server, op: Op, clients: usize, length: Duration) -> f64 {
    let mut all = Vec::new();
    for n in 0..clients {
        all.push(Client::new(server, n, op).await);
    }
    let (syncs, cpu) = (server.syncs(), server.cpu());
    let start = Instant::now();
    let end = start + length;
    let tasks: Vec<_> = all
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                let mut latency = Histogram::<u64>::new(3).unwrap();
                while Instant::now() < end {
                    let began = Instant::now();
                    client.one().await;
                    latency.record(began.elapsed().as_micros().try_into().unwrap()).unwrap();
                }
                client.end().await;
                latency
            })
        })
        .collect();
    let mut latency = Histogram::<u64>::new(3).unwrap();
    for task in tasks {
        latency.add(task.await.unwrap()).unwrap();
    }
    let rate = latency.len() as f64 / start.elapsed().as_secs_f64();
    let size = if let Op::Put(size) = op { size } else { 0 };
    let per_call = match (syncs, server.syncs()) {
        (Some(before), Some(after)) => {
            format!(" fdatasync_per_call={:.3}", (after - before) as f64 / (latency.len() as f64 * op.calls()))
        }
        _ => String::new(),
    };
    let cpu = cpu.zip(server.cpu()).map_or_else(String::new, |(before, after)| {
        format!(" server_cpu_us={:.0}", (after - before).as_micros() as f64 / latency.len() as f64)
    });
    println!(
        "leasehold {} clients={clients} size_bytes={size} ops_per_s={rate:.0} p50_us={} p99_us={} max_us={}{cpu}{per_call}",
        op.name(),
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99),
        latency.max(),
    );
    rate
}
