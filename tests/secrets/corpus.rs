//! The inputs that the fuzzer found worth keeping, without the fuzzer. How they came about is in `tests/fuzz/README.md`.

use std::path::Path;

use super::fuzz;

#[test]
fn corpora_pass_their_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, run) in fuzz::ALL {
        let mut inputs: Vec<_> = std::fs::read_dir(folder.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "the corpus of {name} is gone");
        for input in inputs {
            let data = std::fs::read(&input).unwrap();
            // What panics says what is wrong; this says where.
            let outcome = std::panic::catch_unwind(|| run(&data));
            assert!(outcome.is_ok(), "{}", input.display());
        }
    }
}
