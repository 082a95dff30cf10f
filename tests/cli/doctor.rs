//! Checks of this machine and its way to the server.

use crate::fake::FakeServer;
use crate::process::{end, leasehold};

#[test]
fn doctor_says_what_works() {
    let server = FakeServer::start();
    let checks = end(&mut server.leasehold(&["doctor", "--output", "json"])).json();
    assert!(checks.as_array().unwrap().iter().all(|check| check["ok"] == true), "{checks}");
    assert_eq!(checks.as_array().unwrap().len(), 4);
}

#[test]
fn doctor_fails_with_1_and_says_what_to_do() {
    let server = FakeServer::start();
    let ended = end(server.leasehold(&["doctor"]).env("LEASEHOLD_TOKEN", "lh_wrong"));
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("FAILED") && ended.out.contains("check the token"), "{}", ended.out);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ended = end(leasehold(&["doctor"]).env("LEASEHOLD_SERVER", nobody));
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("cannot be reached"), "{}", ended.out);
}

#[test]
fn doctor_says_that_the_server_is_locked_and_what_ends_it() {
    let server = FakeServer::start();
    assert_eq!(end(&mut server.leasehold(&["lock"])).code, 0);
    let ended = end(&mut server.leasehold(&["doctor", "--output", "json"]));
    assert_eq!(ended.code, 1);
    let checks: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let bad: Vec<_> = checks.as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(bad.len(), 1, "{checks}");
    assert!(
        bad[0]["detail"].as_str().unwrap().contains("locked") && bad[0]["next"].as_str().unwrap().contains("unlock"),
        "{checks}"
    );
}
