//! What is wrong with an address or a token is told by a number and the server's log; nothing begins a new state by mistake.

use super::seen::versions;
use super::work::{HELD, Tool, Work, address, until};
use crate::rig::{Server, TIGHT};

with_each_tool!(
    address_that_names_no_state_is_refused_at_init,
    token_that_is_none_is_refused_at_init,
    document_that_the_environment_does_not_take_is_refused,
    locked_server_is_busy_and_nothing_is_lost,
);

const STATE: &str = "dev/app";
const CONFIGURATION: &str = "terraform {\n  backend \"http\" {}\n}\nresource \"terraform_data\" \"app\" {}\n";

/// The number that is printed, and what the server's log says.
fn address_that_names_no_state_is_refused_at_init(tool: &Tool) {
    let server = Server::start(TIGHT);
    for (path, number, told) in [
        ("nope/app", 400, "there is no environment nope"),
        ("Dev/app", 400, "environment"),
        ("dev", 400, "ENV/PATH"),
        ("dev/", 400, "segment"),
        ("dev/a%20b", 400, "segment"),
        ("dev/a/b/c/d/e/f/g/h/i", 400, "segments"),
        ("dev/app/lock", 405, "the /lock of a state"),
        ("dev/app?view=everything", 400, "`view` is"),
        ("dev/app?rewrite=perhaps", 400, "`rewrite` is"),
        ("", 400, "/terraform/v1/ENV/PATH"),
    ] {
        let work = Work::bare(tool, CONFIGURATION).with_backend(&address(&server, path), &server.door().1);
        let before = server.logged().len();
        let printed = work.fails(&["init"]) + &work.fails(&["apply", "-auto-approve"]);
        assert!(printed.contains(&format!("Unexpected HTTP response code {number}")), "{path}: {printed}");
        until("the log says why", || server.logged()[before..].contains(told));
        assert!(!work.path("errored.tfstate").exists(), "{path}: it did not even begin");
    }
    assert_eq!(server.ok(&["state", "list", "dev", "--output", "json"]).json().as_array().unwrap().len(), 0);
    // What is for reading only is found out at the first command that locks.
    let view = Work::bare(tool, CONFIGURATION).with_backend(&address(&server, "dev/app?view=redacted"), &server.door().1);
    view.ok(&["init"]);
    assert!(view.fails(&["apply", "-auto-approve"]).contains("Unexpected HTTP response code 400"));
    assert!(server.logged().contains("`view` is for reading only"));
    // Beside the door there is nothing, not even a state that has not begun.
    let (root, token) = server.door();
    let beside = Work::bare(tool, CONFIGURATION).with_backend(&format!("{root}/dev/app"), &token);
    beside.run(&["init"]);
    beside.fails(&["apply", "-auto-approve"]);
    assert!(!beside.path("errored.tfstate").exists());
}

fn token_that_is_none_is_refused_at_init(tool: &Tool) {
    let server = Server::start(TIGHT);
    let good = server.door().1;
    let cut = &good[..good.len() - 1];
    for (token, username) in [(cut, "ci"), ("lh_", "ci"), (" ", "ci"), (&good, "")] {
        let work =
            Work::bare(tool, CONFIGURATION).with_backend(&address(&server, STATE), token).set("TF_HTTP_USERNAME", username);
        let printed = work.fails(&["init"]);
        assert!(printed.contains("HTTP remote state endpoint requires auth"), "{username}: {printed}");
    }
    assert!(server.logged().contains("TF_HTTP_PASSWORD"), "the log says what to set");
    assert!(!server.logged().contains(cut), "and not what was set");
}

fn document_that_the_environment_does_not_take_is_refused(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.ok(&["env", "set", "dev", "--allow-plaintext", "false"]);
    let work = Work::bare(tool, CONFIGURATION).with_backend(&address(&server, STATE), &server.door().1);
    work.ok(&["init"]);
    let printed = work.fails(&["apply", "-auto-approve"]);
    assert!(printed.contains("HTTP error: 422"), "{printed}");
    assert!(server.logged().contains("PLAINTEXT_REFUSED"));
    assert_eq!(versions(&server, STATE), []);
    server.ok(&["env", "set", "dev", "--allow-plaintext", "true"]);
    work.ok(&["state", "push", "errored.tfstate"]);
    assert!(work.ok(&["plan"]).contains("No changes"));
}

/// It is locked while an apply is under way.
fn locked_server_is_busy_and_nothing_is_lost(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, &format!("resource \"terraform_data\" \"slow\" {{{HELD}}}\n"));
    let work = work.set("TF_HTTP_RETRY_MAX", "0");
    let applying = work.start_held(&["apply", "-auto-approve"]);
    server.ok(&["lock"]);
    work.let_go();
    let printed = applying.fails();
    assert!(printed.contains("giving up after 1 attempt(s)") && printed.contains("errored.tfstate"), "{printed}");
    server.ok(&["unlock"]);
    work.ok(&["state", "push", "errored.tfstate"]);
    assert!(work.ok(&["plan"]).contains("No changes"));
}
