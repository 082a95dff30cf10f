//! States of about 1 MB with 200 secrets, as the generator prints them that our peers are measured with. Every marked secret is the password of its
//! resource; some stand a second time in a connection URL or in a script, where nothing marks them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::course::Course;
use super::search::Planted;

const STATE: &str = "dev/made";

/// What the generator prints.
fn state(size: usize, secrets: usize, serial: usize, changed: usize, pem: bool) -> Vec<u8> {
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/canaries/make-state.py");
    let mut command = Command::new("python3");
    command.arg(generator).args([size, secrets, 1, serial, changed].map(|number| number.to_string()));
    if pem {
        command.env("LEASEHOLD_PEM", "1");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Which resources have a secret, and which one it is.
fn passwords(state: &[u8]) -> Vec<(usize, String)> {
    let state: Value = serde_json::from_slice(state).unwrap();
    let resources = state["resources"].as_array().unwrap().iter().enumerate();
    let password = |(n, resource): (usize, &Value)| {
        let instance = &resource["instances"][0];
        let marks = instance["sensitive_attributes"].as_array().unwrap();
        let marked = !marks.is_empty();
        assert!(!marked || marks[0][0]["value"] == "password", "{marks:?}");
        marked.then(|| (n, instance["attributes"]["password"].as_str().unwrap().to_owned()))
    };
    resources.filter_map(password).collect()
}

/// Three serials, each with another secret where it changed a resource, through everything.
fn course(size: usize, secrets: usize, pem: bool) {
    let first = state(size, secrets, 1, 0, pem);
    let marked: Vec<usize> = passwords(&first).into_iter().map(|(n, _)| n).collect();
    assert!(first.len() >= size && marked.len() == secrets, "{} bytes, {} secrets", first.len(), marked.len());
    // The second one stands in a script, too.
    let states = [first, state(size, secrets, 2, marked[5], pem), state(size, secrets, 3, marked[1], pem)];
    let mut planted = Vec::new();
    for (serial, state) in states.iter().enumerate() {
        for (n, password) in passwords(state) {
            // Of a key of many lines, some: what stands on one line stands there in every form.
            let lines: Vec<&str> = password.lines().filter(|line| !line.contains("PRIVATE KEY")).collect();
            for line in [0, lines.len() / 2, lines.len() - 1] {
                let core = lines[line].to_owned();
                if !planted.iter().any(|one: &Planted| one.core == core) {
                    let name = format!("line {line} of the password of resource {n}, serial {}", serial + 1);
                    planted.push(Planted { name, core, is_output: false });
                }
            }
        }
    }
    let lines = if pem { 3 } else { 1 };
    // The third is as the first was where the second was changed, and so is the first's resource.
    assert_eq!(planted.len(), (secrets + 3) * lines, "each change made a new secret, and another was taken back");

    let mut course = Course::start();
    for state in &states {
        course.push(STATE, state);
    }
    course.provoke(STATE, &states[2], &planted[planted.len() - 1].core);
    course.ask(STATE);
    course.copy("live");
    course.rotate();
    course.kill(&states[2]);
    course.ask(STATE);
    course.judge(&planted);
}

#[test]
fn no_secret_of_a_generated_state_is_kept_or_told() {
    course(1_000_000, 200, false);
}

#[test]
fn no_key_of_many_lines_of_a_generated_state_is_kept_or_told() {
    course(400_000, 30, true);
}
