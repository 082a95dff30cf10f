//! Answers that are lost, servers that are busy, and servers that are killed.

use super::relay::{Fate, Relay};
use super::seen::{current, document, drafts, holders, versions};
use super::work::{HELD, Tool, Work, address, until};
use crate::rig::{Server, TIGHT, now};

with_each_tool!(
    lock_whose_answer_was_lost_is_the_same_lock,
    write_whose_answer_was_lost_is_one_version,
    unlock_whose_answer_was_lost_has_unlocked,
    busy_server_is_asked_again_when_it_says,
    write_that_never_got_through_is_pushed_later,
    apply_outlives_a_kill_of_the_server,
);

const STATE: &str = "dev/app";
const APPLY: &[&str] = &["apply", "-auto-approve"];
const CONFIGURATION: &str = "resource \"terraform_data\" \"app\" {}\n";

fn slow() -> String {
    format!("resource \"terraform_data\" \"slow\" {{{HELD}}}\n")
}

/// A tool that reaches the server through a relay, and of its own accord tries again at once.
fn through(tool: &Tool, server: &Server, relay: &Relay) -> Work {
    Work::at(tool, &relay.address(STATE), &server.door().1, CONFIGURATION).set("TF_HTTP_RETRY_WAIT_MIN", "0")
}

/// What one apply asked for.
fn calls(relay: &Relay, method: &str) -> Vec<super::relay::Asked> {
    relay.asked().into_iter().filter(|asked| asked.method == method).collect()
}

#[track_caller]
fn sent_twice_and_taken_twice(relay: &Relay, method: &str) {
    let calls = calls(relay, method);
    let [first, second] = calls.as_slice() else { panic!("{method}: {:?}", relay.calls()) };
    assert_eq!((first.status, second.status), (Some(200), Some(200)), "{method}");
    assert!(first.body == second.body && first.target == second.target, "the tool sends the same again");
}

/// One version, under one lease, and nothing left behind.
#[track_caller]
fn applied_once(server: &Server) {
    let versions = versions(server, STATE);
    assert_eq!(versions.len(), 1, "{versions:?}");
    let lock = server.ok(&["lease", "show", STATE, "--output", "json"]).json();
    assert_eq!(super::seen::number(&lock["last_token"]), versions[0].token, "no other lease was granted");
    assert!(holders(server, STATE).is_empty() && drafts(server, STATE).is_empty());
}

fn lock_whose_answer_was_lost_is_the_same_lock(tool: &Tool) {
    let server = Server::start(TIGHT);
    let relay =
        Relay::to(&server.door().0, |method, before| if (method, before) == ("LOCK", 0) { Fate::Deaf } else { Fate::Pass });
    through(tool, &server, &relay).ok(APPLY);
    sent_twice_and_taken_twice(&relay, "LOCK");
    applied_once(&server);
}

fn write_whose_answer_was_lost_is_one_version(tool: &Tool) {
    let server = Server::start(TIGHT);
    let relay =
        Relay::to(&server.door().0, |method, before| if (method, before) == ("POST", 0) { Fate::Deaf } else { Fate::Pass });
    let work = through(tool, &server, &relay);
    work.ok(APPLY);
    sent_twice_and_taken_twice(&relay, "POST");
    applied_once(&server);
    assert_eq!(work.ok(&["state", "pull"]), document(&server, STATE) + "\n");
}

fn unlock_whose_answer_was_lost_has_unlocked(tool: &Tool) {
    let server = Server::start(TIGHT);
    let relay =
        Relay::to(&server.door().0, |method, before| if (method, before) == ("UNLOCK", 0) { Fate::Deaf } else { Fate::Pass });
    through(tool, &server, &relay).ok(APPLY);
    sent_twice_and_taken_twice(&relay, "UNLOCK");
    applied_once(&server);
}

/// It is locked when the apply wants to write. Of its own accord the tool would try again at once, and then give up.
fn busy_server_is_asked_again_when_it_says(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, &slow()).set("TF_HTTP_RETRY_WAIT_MIN", "0");
    let applying = work.start_held(APPLY);
    server.ok(&["lock"]);
    let begun = now();
    work.let_go();
    until("it was refused", || server.logged().contains("\"LOCKED\""));
    server.ok(&["unlock"]);
    applying.ok();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    applied_once(&server);
}

fn write_that_never_got_through_is_pushed_later(tool: &Tool) {
    let server = Server::start(TIGHT);
    let relay = Relay::to(&server.door().0, |method, _| if method == "POST" { Fate::Busy(0) } else { Fate::Pass });
    let work = through(tool, &server, &relay);
    let failed = work.fails(APPLY);
    assert!(failed.contains("giving up after 3 attempt(s)") && failed.contains("errored.tfstate"), "{failed}");
    assert!(holders(&server, STATE).is_empty(), "it unlocks all the same");
    let work = work.with_backend(&address(&server, STATE), &server.door().1);
    work.ok(&["init", "-reconfigure"]);
    work.ok(&["state", "push", "errored.tfstate"]);
    assert_eq!(current(&server, STATE).number, 1);
    assert!(work.ok(&["plan"]).contains("No changes"));
}

fn apply_outlives_a_kill_of_the_server(tool: &Tool) {
    let mut server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, &slow());
    let applying = work.start_held(APPLY);
    let before = holders(&server, STATE);
    server.kill();
    server.restart();
    let after = holders(&server, STATE);
    assert_eq!((&after[0]["session"], &after[0]["token"]), (&before[0]["session"], &before[0]["token"]));
    work.let_go();
    applying.ok();
    applied_once(&server);
}
