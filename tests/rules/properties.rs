//! Random scripts on every engine, judged by the checker.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::checker::{Violation, check, explain, same_without_wall_steps};
use crate::driver::{play, play_without_wall_steps};
use crate::engine::{Start, engines};
use crate::script::{Step, scripts};

engines!(random_scripts_keep_the_invariants, |start| {
    let first = setting("LEASEHOLD_SEED", 0);
    for seed in first..first + setting("LEASEHOLD_CASES", 2_000) {
        run(start, seed);
    }
});

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
    if violations.is_empty() && script.iter().any(|step| matches!(step, Step::WallStep(_))) {
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
