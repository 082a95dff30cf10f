//! `leasehold` inside `run`: it reaches the server without the token, for this state and under this lease.

use super::STATE;
use crate::process::end;
use crate::rig::{Server, TIGHT};

const LEASEHOLD: &str = env!("CARGO_BIN_EXE_leasehold");

fn script(server: &Server, flags: &[&str], script: &str) -> crate::process::Ended {
    let mut command = server.leasehold(&[&["run", "--state", STATE], flags, &["--", "sh", "-c", script]].concat());
    end(command.env("L", LEASEHOLD))
}

#[test]
fn nested_commands_work_on_the_state_of_the_lease() {
    let server = Server::start(TIGHT);
    let file = server.file("first.json");
    std::fs::write(&file, super::document(1, "first")).unwrap();
    let file = file.display();
    let all = format!(
        "set -e; $L state push {STATE} '{file}'; $L state pull {STATE}; $L state show {STATE}; $L state history {STATE}; \
         $L lease show {STATE}; $L state drafts list {STATE}; sed 's/: 1,/: 2,/;s/first/second/' '{file}' | $L state push {STATE} -; \
         $L state diff {STATE}; $L state rollback {STATE} --to 1; $L lease renew {STATE}"
    );
    let ended = script(&server, &[], &all);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let history = server.ok(&["state", "history", STATE, "--all", "--output", "json"]).json();
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
}

#[test]
fn nested_commands_reach_nothing_else() {
    let server = Server::start(TIGHT);
    let file = server.file("first.json");
    std::fs::write(&file, super::document(1, "first")).unwrap();
    let file = file.display().to_string();
    server.ok(&["state", "push", "dev/other", &file]);
    for command in [
        "state pull dev/other",
        "state history dev/other",
        &format!("state push dev/other '{file}'"),
        "state list dev",
        "state delete dev/other --yes",
        "lease show dev/other",
        "lease break dev/app --all --reason mine",
        "env list",
        "env create mine --no-recovery",
        "keys list dev",
        "lock",
    ] {
        let ended = script(&server, &[], &format!("$L {command}"));
        assert_eq!(ended.code, 3, "{command}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains("inside this `run`") && ended.err.contains("--pass-token"), "{command}: {}", ended.err);
    }
    let ended = script(&server, &[], "LEASEHOLD_TOKEN=lr_wrong $L state pull dev/app");
    assert_eq!(ended.code, 3, "{}", ended.err);
}

#[test]
fn token_is_handed_on_when_told_so() {
    let server = Server::start(TIGHT);
    let list = "$L env list && $L state list dev; echo $LEASEHOLD_SERVER $LEASEHOLD_TOKEN; test -n \"$TF_HTTP_ADDRESS\"";
    let (door, token) = server.door();
    let ended = script(&server, &["--pass-token"], list);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains(&format!("{} {token}", door.trim_start_matches("http://"))), "{}", ended.out);

    let file = server.file("token");
    std::fs::write(&file, &token).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let whole = format!("test -z \"$LEASEHOLD_TOKEN\"; echo $LEASEHOLD_TOKEN_FILE; {list}");
    let flags = ["--pass-token", "--token-file", file.to_str().unwrap()];
    let mut command = server.leasehold(&[&["run", "--state", STATE], &flags[..], &["--", "sh", "-c", &whole]].concat());
    let ended = end(command.env("L", LEASEHOLD).env_remove("LEASEHOLD_TOKEN"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with(file.to_str().unwrap()), "{}", ended.out);
}

#[test]
fn variables_of_another_http_backend_stay_when_told_so() {
    let server = Server::start(TIGHT);
    let mut command = server.leasehold(&["run", "--state", STATE, "--no-http", "--", "sh", "-c", "env | grep TF_HTTP"]);
    let ended = end(command.env("TF_HTTP_ADDRESS", "https://other.example"));
    assert_eq!(ended.out, "TF_HTTP_ADDRESS=https://other.example\n");
}
