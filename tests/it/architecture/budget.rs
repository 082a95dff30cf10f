//! How long files may be. Lines of tests do not count.

use std::collections::BTreeSet;

use syn::Item;

use super::paths::is_for_tests;

const MEDIAN: usize = 150;
const NINETIETH_PERCENTILE: usize = 350;
const CEILING: usize = 600;
const MAIN: usize = 60;
const BUILD: usize = 39;

/// The names of the files that hold nothing but tests: what a `#[cfg(test)] mod name;` declares, with all below it.
pub(super) fn test_files(files: &[(String, String)]) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for (name, text) in files {
        let folder = match name.trim_end_matches(".rs") {
            "lib" | "main" => "",
            module => module.trim_end_matches("/mod"),
        };
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for item in &file.items {
            if let Item::Mod(module) = item
                && module.content.is_none()
                && module.attrs.iter().any(is_for_tests)
            {
                let module = format!("{folder}/{}", module.ident);
                let module = module.trim_start_matches('/');
                let belongs = |name: &&String| **name == format!("{module}.rs") || name.starts_with(&format!("{module}/"));
                tests.extend(files.iter().map(|(name, _)| name).filter(belongs).cloned());
            }
        }
    }
    tests
}

/// What is too long, one line each.
pub(super) fn violations(files: &[(String, String)], build: &str) -> Vec<String> {
    let tests = test_files(files);
    let production = files.iter().filter(|(name, _)| !tests.contains(name));
    let mut lengths: Vec<(usize, &str)> = production.map(|(name, text)| (production_lines(text), name.as_str())).collect();
    lengths.sort_unstable();
    let mut lines = Vec::new();
    for (length, name) in &lengths {
        let limit = if *name == "main.rs" { MAIN } else { CEILING };
        if *length > limit {
            lines.push(format!("src/{name} has {length} lines outside tests, more than {limit}: split it"));
        }
    }
    for (percent, limit) in [(50, MEDIAN), (90, NINETIETH_PERCENTILE)] {
        let (length, name) = percentile(&lengths, percent);
        if length > limit {
            lines.push(format!(
                "{percent} % of the files should have at most {limit} lines; src/{name} stands there with {length}"
            ));
        }
    }
    if build.lines().count() > BUILD {
        lines.push(format!("build.rs has more than {BUILD} lines"));
    }
    lines
}

/// The smallest element that at least `percent` of the sorted elements do not exceed.
fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// Lines outside `#[cfg(test)] mod … { }`. Goes by rustfmt's layout: such a block ends with a brace as far in as it began.
fn production_lines(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = |next: &&str| next.trim_start().contains("mod ") && next.ends_with('{');
        if line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(opens) {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            lines.by_ref().find(|line| *line == end);
        } else {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, lines: usize) -> (String, String) {
        (name.to_owned(), "// x\n".repeat(lines))
    }

    /// Nine short files and the given one.
    fn among_short(name: &str, lines: usize) -> Vec<String> {
        let mut files: Vec<_> = (0..9).map(|n| file(&format!("{n}.rs"), 10)).collect();
        files.push(file(name, lines));
        violations(&files, "")
    }

    #[test]
    fn file_over_the_ceiling_is_a_violation() {
        assert_eq!(among_short("store/mod.rs", 600), [""; 0]);
        assert_eq!(among_short("store/mod.rs", 601).len(), 1);
    }

    #[test]
    fn long_main_is_a_violation() {
        assert_eq!(among_short("main.rs", 60), [""; 0]);
        assert_eq!(among_short("main.rs", 61).len(), 1);
    }

    #[test]
    fn long_build_script_is_a_violation() {
        assert_eq!(violations(&[file("a.rs", 1)], &"x\n".repeat(39)), [""; 0]);
        assert_eq!(violations(&[file("a.rs", 1)], &"x\n".repeat(40)).len(), 1);
    }

    #[test]
    fn median_and_ninetieth_percentile_are_bound() {
        let files = |short, long, lines| -> Vec<_> {
            let short = (0..short).map(|n| file(&format!("s{n}.rs"), 150));
            short.chain((0..long).map(|n| file(&format!("l{n}.rs"), lines))).collect()
        };
        assert_eq!(violations(&files(5, 5, 350), ""), [""; 0]);
        assert_eq!(violations(&files(4, 6, 151), "").len(), 1, "median");
        assert_eq!(violations(&files(9, 1, 600), ""), [""; 0]);
        assert_eq!(violations(&files(8, 2, 351), "").len(), 1, "ninetieth percentile");
    }

    #[test]
    fn tests_do_not_count() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n";
        assert_eq!(production_lines(text), 3);
        let mut files =
            vec![file("store/sqlite/tests.rs", 900), file("store/sqlite/tests/more.rs", 900), file("store/tests.rs", 9)];
        assert_eq!(violations(&files, "").len(), 4, "not declared as tests yet");
        files.push(("store/sqlite/mod.rs".to_owned(), "#[cfg(test)]\nmod tests;\n".to_owned()));
        assert_eq!(violations(&files, ""), [""; 0]);
    }
}
