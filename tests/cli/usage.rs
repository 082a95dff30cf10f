//! What is written wrongly ends with 2 before anything is asked of a server.

use crate::fake::FakeServer;
use crate::process::{end, leasehold};

#[test]
fn wrong_command_line_ends_with_2_and_prints_no_data() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["state", "push"],
        &["run", "--state", "dev/app"],
        &["run", "--state", "dev/app", "--wait", "soon", "--", "true"],
        &["state", "pull", "dev/app", "--version", "0"],
        &["state", "pull", "dev/app", "--version", "1", "--draft", "d"],
        &["state", "push", "dev/app", "--expect-version", "1"],
        &["lease", "renew", "dev/app", "--session", "s"],
        &["lease", "break", "dev/app"],
        &["lease", "break", "dev/app", "--reason", "x", "--token", "1", "--all"],
        &["serve", "--tls-cert", "x"],
        &["env", "list", "--token", "lh_on_the_command_line"],
    ] {
        let ended = end(&mut leasehold(args));
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{args:?}");
        assert!(!ended.err.is_empty(), "{args:?}");
    }
}

#[test]
fn address_that_cannot_be_used_says_which_can() {
    end(&mut leasehold(&["env", "list", "--server", "ftp://x"])).fails_with(2, "ftp://x", "http://HOST:PORT");
}

#[test]
fn lease_that_is_not_named_says_how_to_name_it() {
    end(&mut leasehold(&["lease", "renew", "dev/app"])).fails_with(2, "which lease on dev/app", "--session and --token");
}

#[test]
fn help_goes_to_stdout_and_documents_the_exit_codes() {
    let ended = end(&mut leasehold(&["--help"]));
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("\n  6 lease lost   7 unavailable   128 + n ") && !ended.out.contains("__guard"), "{}", ended.out);
}

#[test]
fn endless_patience_is_fine() {
    let server = FakeServer::start();
    let ages = "500000000000y";
    let ended = end(&mut server.leasehold(&["lease", "acquire", "dev/queue", "--retry-for", ages, "--wait", ages]));
    assert_eq!(ended.code, 0, "{}", ended.err);
}
