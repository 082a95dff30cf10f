//! A token comes from one place.

use crate::fake::{FakeServer, TOKEN};
use crate::process::{end, leasehold};

#[test]
fn token_from_two_places_is_refused_and_not_printed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let both = end(leasehold(&["env", "list"]).env("LEASEHOLD_TOKEN", "lh_planted").env("LEASEHOLD_TOKEN_FILE", path));
    both.fails_with(2, "LEASEHOLD_TOKEN and LEASEHOLD_TOKEN_FILE", "one place only");
    let flag = end(leasehold(&["env", "list", "--token-file", path]).env("LEASEHOLD_TOKEN", "lh_planted"));
    flag.fails_with(2, "LEASEHOLD_TOKEN and --token-file", "one place only");
    assert!(!(both.err + &flag.err).contains("planted"));
}

#[test]
fn unknown_token_is_refused_with_3() {
    let server = FakeServer::start();
    let ended = end(server.leasehold(&["env", "list"]).env("LEASEHOLD_TOKEN", "lh_planted"));
    ended.fails_with(3, "[UNAUTHENTICATED]", "check the token");
    assert!(!ended.err.contains("planted"));
}

#[test]
fn token_is_not_logged_even_when_everything_is() {
    let server = FakeServer::start();
    let ended = end(server.leasehold(&["lease", "acquire", "dev/app"]).env("LEASEHOLD_LOG", "trace"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("TRACE"), "nothing was logged");
    for secret in [TOKEN, "ls_planted"] {
        assert!(!ended.err.contains(secret) && !ended.out.contains(secret), "{secret} was printed");
    }
}
