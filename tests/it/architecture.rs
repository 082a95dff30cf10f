//! The house rules that a compiler does not check: arrows between layers, what the domain may not touch, where drivers are
//! named, and how long files may be. Each rule is shown to fail on a planted violation.

mod budget;
mod paths;
mod rules;

use std::path::{Path, PathBuf};

use paths::Source;

/// The files of `src/`, by their path below it.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let name = |file: &Path| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), std::fs::read_to_string(file).unwrap())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn source_keeps_the_arrows_and_bans() {
    let files = sources();
    assert!(files.iter().any(|(name, _)| name == "domain/mod.rs"), "the walk has missed the sources");
    let tests = budget::test_files(&files);
    let violations: Vec<String> = files
        .iter()
        .filter(|(name, _)| !tests.contains(name))
        .flat_map(|(name, text)| rules::violations(&Source::parse(name, text)))
        .collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn source_files_keep_their_budget() {
    let build = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs")).unwrap();
    let violations = budget::violations(&sources(), &build);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
