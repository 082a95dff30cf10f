//! Output for programs.

use serde_json::json;

use crate::fake::{FENCE, FakeServer};
use crate::process::end;

#[test]
fn numbers_that_json_cannot_carry_are_strings() {
    let server = FakeServer::start();
    let locks = end(&mut server.leasehold(&["lease", "list", "--output", "json"])).json();
    assert_eq!(locks[0]["holders"][0]["token"], json!(FENCE.to_string()));
    assert_eq!(locks[0]["holders"][0]["mode"], json!("exclusive"));
    assert_eq!(locks[0]["last_token"], json!(FENCE.to_string()));
    assert_eq!(locks[0]["waiting"], json!(2));
    let states = end(&mut server.leasehold(&["--output", "json", "state", "list", "dev"])).json();
    assert_eq!(states[0]["version"], json!("4"));
    assert_eq!(states[0]["format"], json!("terraform"));
    assert_eq!(states[0]["written_unix_ms"], json!("1700000000000"));
}

#[test]
fn lease_for_a_program_has_what_later_calls_need_and_no_secret() {
    let server = FakeServer::start();
    let lease = end(&mut server.leasehold(&["lease", "acquire", "dev/app", "--output", "json"])).json();
    let (session, token) = (lease["session"].as_str().unwrap(), lease["token"].as_str().unwrap());
    assert!(!lease.to_string().contains("planted"));
    let renewed = end(&mut server.leasehold(&["lease", "renew", "dev/app", "--session", session, "--token", token]));
    assert_eq!(renewed.code, 0, "{}", renewed.err);
}

#[test]
fn tables_are_for_people() {
    let server = FakeServer::start();
    let ended = end(&mut server.leasehold(&["lease", "list"]));
    let lines: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["STATE", "MODE", "TOKEN", "HOLDER", "LEFT", "WAITING", "NOTE"]);
    assert_eq!(lines[1], ["dev/app", "exclusive", FENCE.to_string().as_str(), "ci@runner-3", "42s", "2"]);
}
