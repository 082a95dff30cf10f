//! What a user waits for: the real `terraform plan` and `terraform apply`, 100 resources of the builtin provider, against
//!
//! - `local`: Terraform's own file,
//! - `pg`: Terraform's own `pg` backend, on a PostgreSQL that is started for it with its durable defaults,
//! - `http`: a server of this build at the stock `http` backend,
//! - `run`: the same server through `leasehold run -- terraform …`.
//!
//! In every round all of them plan, then all of them apply, a change of every resource; who comes first and who follows whom changes from
//! round to round. A ratio is the median of the rounds' own ratios, so what slows the machine for a while slows both sides of it.
//!
//! `cargo bench --bench stock` takes Terraform, or OpenTofu where that is missing; `-- tofu` or `-- terraform` one of them.
//! `LEASEHOLD_BENCH_ROUNDS` sets the rounds (10), `LEASEHOLD_BENCH_DIR` the disk (`/var/tmp`).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops where it fails, and prints")]
#![allow(clippy::disallowed_methods, reason = "it measures time and reads its own settings")]

#[path = "stock/postgres.rs"]
mod postgres;
#[path = "stock/project.rs"]
mod project;
#[path = "load/server.rs"]
#[allow(dead_code, reason = "shared with the benchmark of the load")]
mod server;

use std::time::Duration;

use postgres::Postgres;
use project::{Backend, Project, Tool, Verb};
use server::Server;

/// How much longer than with `pg` a command may take with us.
const MOST: f64 = 1.15;

fn main() {
    let rounds = std::env::var("LEASEHOLD_BENCH_ROUNDS").ok().map_or(10, |text| text.parse().expect("a number"));
    let tools = tools();
    if tools.is_empty() {
        return;
    }
    if cfg!(debug_assertions) {
        println!("leasehold stock: this is a debug build, and slower than what people use");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(None));
    let (p50, p99) = server.fdatasync();
    println!("fdatasync overwrite=4096 p50_us={p50} p99_us={p99}");
    let postgres = Postgres::start();
    if postgres.is_none() {
        println!("leasehold stock backend=pg: SKIPPED, PostgreSQL is missing; nothing below is compared with it");
    }
    for tool in &tools {
        println!("leasehold stock tool={} version={} rounds={rounds}", tool.name, tool.version());
        measure(tool, &server, postgres.as_ref(), rounds);
    }
}

/// Those that the command line names, or the first that is there.
fn tools() -> Vec<Tool> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let names = ["terraform", "tofu"];
    if wanted.is_empty() {
        let first = names.into_iter().find_map(Tool::find);
        if first.is_none() {
            println!("leasehold stock: SKIPPED, there is neither terraform nor tofu");
        }
        return first.into_iter().collect();
    }
    let named = names.into_iter().filter(|name| wanted.iter().any(|one| one == name));
    named
        .filter_map(|name| {
            let tool = Tool::find(name);
            if tool.is_none() {
                println!("leasehold stock tool={name}: SKIPPED, it is missing");
            }
            tool
        })
        .collect()
}

fn measure(tool: &Tool, server: &Server, postgres: Option<&Postgres>, rounds: usize) {
    let pg = postgres.map(|postgres| Backend::Pg { connection: postgres.database(tool.name) });
    let (address, token) = (&server.address, &server.token);
    let ours = [Backend::Http { address, token }, Backend::Run { address, token }];
    let projects: Vec<Project> =
        [Some(Backend::Local), pg].into_iter().flatten().chain(ours).map(|backend| Project::new(tool, backend)).collect();
    // Makes the resources, warms the caches, and is not counted.
    for project in &projects {
        project.create();
    }
    let mut took = [Verb::Plan, Verb::Apply].map(|verb| (verb, vec![Vec::with_capacity(rounds); projects.len()]));
    for round in 0..rounds {
        for (verb, took) in &mut took {
            for one in order(round, projects.len()) {
                took[one].push(projects[one].timed(*verb, round));
            }
        }
    }
    for project in &projects {
        project.must_be_of(rounds - 1);
    }
    for (verb, took) in &took {
        print(*verb, &projects, took);
    }
}

/// A rotation in which, with four, each follows each other equally often.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    let steps: &[usize] = if count == 4 { &[0, 1, 3, 2] } else { &[0, 1, 2] };
    steps.iter().map(move |step| (round + step) % count)
}

fn print(verb: Verb, projects: &[Project], took: &[Vec<Duration>]) {
    let pg = projects.iter().position(|project| matches!(project.backend, Backend::Pg { .. })).map(|at| &took[at]);
    let mut claims = Vec::new();
    for (project, took) in projects.iter().zip(took) {
        let ms = sorted(took.iter().map(|took| took.as_secs_f64() * 1e3));
        let ratios = pg.map(|pg| sorted(took.iter().zip(pg).map(|(one, pg)| one.as_secs_f64() / pg.as_secs_f64())));
        let command = format!("command={} backend={}", verb.name(), project.backend.name());
        println!(
            "leasehold stock {command} median_ms={:.1} min_ms={:.1} max_ms={:.1}{}",
            quantile(&ms, 0.5),
            quantile(&ms, 0.0),
            quantile(&ms, 1.0),
            ratios.as_ref().map_or_else(String::new, |ratios| format!(" ratio_to_pg={:.3}", quantile(ratios, 0.5))),
        );
        if let (Backend::Http { .. } | Backend::Run { .. }, Some(ratios)) = (&project.backend, ratios) {
            claims.push((command, ratios));
        }
    }
    for (command, ratios) in claims {
        let [low, ratio, high] = [0.25, 0.5, 0.75].map(|part| quantile(&ratios, part));
        let met = if ratio <= MOST { "met" } else { "NOT MET" };
        println!("leasehold stock claim {command} ratio_to_pg={ratio:.3} quartiles={low:.3}..{high:.3} most={MOST}: {met}");
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Between two of them in proportion, so that the median of an even number is the mean of the two in the middle.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}
