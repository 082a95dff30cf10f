//! Random scripts on every engine, judged by the checker.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::checker::{Violation, check, explain, same_without_wall_steps};
use crate::driver::{play, play_without_wall_steps};
use crate::engine::{Start, engines};
use crate::script::{Step, scripts};

engines!(random_scripts_keep_the_invariants, |start, cases| {
    let first = setting("LEASEHOLD_SEED", 0);
    let next = AtomicU64::new(first);
    let end = first + setting("LEASEHOLD_CASES", cases);
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end) {
            run(start, seed);
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        for other in others {
            other.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        }
    });
});

/// How many scripts are played at a time, mostly waiting for an engine's threads.
const WORKERS: usize = 4;

/// Plays the script of a seed, and fails with the smallest script that fails.
fn run(start: Start, seed: u64) {
    let mut runner = runner(seed);
    let judged = runner.run(&scripts(), |script| match judge(start, &script) {
        violations if violations.is_empty() => Ok(()),
        violations => Err(TestCaseError::fail(explain(&play(start, &script), &violations))),
    });
    match judged {
        Ok(()) => {}
        Err(TestError::Fail(why, script)) => {
            let steps: String = script.iter().map(|step| format!("    {step:?},\n")).collect();
            panic!("seed {seed} fails with\n{steps}{why}")
        }
        Err(TestError::Abort(why)) => panic!("seed {seed} was given up: {why}"),
    }
}

/// All that is wrong with the runs of a script.
pub(crate) fn judge(start: Start, script: &[Step]) -> Vec<Violation> {
    let history = play(start, script);
    let violations = check(&history);
    // A second run of every fourth script is enough for the one invariant that compares two.
    let twice = script.len().is_multiple_of(4) && script.iter().any(|step| matches!(step, Step::WallStep(_)));
    if violations.is_empty() && twice {
        return same_without_wall_steps(&history, &play_without_wall_steps(start, script));
    }
    violations
}

/// The script of a seed.
pub(crate) fn script_of(seed: u64) -> Vec<Step> {
    scripts().new_tree(&mut runner(seed)).expect("scripts reject nothing").current()
}

/// One case from one seed: nothing else decides what is drawn.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[expect(clippy::disallowed_methods, reason = "how long and from which seed to search is for the one who runs the tests")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
