//! The lock of a dead apply is given back by force, each tool in its way.

use std::time::Duration;

use leasehold::pb::v1::EventKind;

use super::seen::{Events, current, holders};
use super::work::{HELD, Tool, Work};
use crate::rig::{Server, TIGHT};

with_each_tool!(lock_of_a_killed_apply_is_taken_back_by_force, lock_that_nobody_holds_is_forced_without_harm);

const STATE: &str = "dev/app";
const NEXT: &[&str] = &["apply", "-auto-approve", "-lock-timeout=2m"];

/// Without `leasehold run` nobody can tell that it is dead: the lock stays until somebody says so.
fn lock_of_a_killed_apply_is_taken_back_by_force(tool: &Tool) {
    let server = Server::start(TIGHT);
    server.lock_delay(Duration::from_secs(1));
    let dead = Work::new(tool, &server, STATE, &format!("resource \"terraform_data\" \"app\" {{{HELD}}}\n"));
    let next = Work::new(tool, &server, STATE, "resource \"terraform_data\" \"app\" {}\n");
    drop(dead.start_held(&["apply", "-auto-approve"]));
    dead.let_go();
    let refused = next.fails(&["apply", "-auto-approve"]);
    let holder = holders(&server, STATE)[0]["session"].as_str().unwrap().to_owned();
    // As it is printed, with the words that are behind it.
    let printed =
        refused.split_once("ID=").or_else(|| refused.split_once("ID: ")).expect(&refused).1.split_once(')').unwrap().0.to_owned()
            + ")";
    assert!(
        printed.starts_with(&format!("{holder} (apply by ")) && printed.contains("; unattended, last sign of life "),
        "{printed}"
    );

    let mut events = Events::of(&server, STATE);
    if tool.is_opentofu() {
        for wrong in ["junk", "00000000-0000-4000-8000-000000000000"] {
            assert!(next.fails(&["force-unlock", "-force", wrong]).contains("409"));
        }
        assert_eq!(holders(&server, STATE).len(), 1);
        next.ok(&["force-unlock", "-force", &printed]);
    } else {
        // It prints its own id below, and users paste that one. It sends neither.
        next.ok(&["force-unlock", "-force", "junk"]);
    }
    assert_eq!(holders(&server, STATE).len(), 0);
    next.ok(NEXT);
    let events = events.until(EventKind::LeaseGranted, 1);
    let (broken, granted) = (&events[0], events.last().unwrap());
    assert_eq!((broken.kind(), &broken.session), (EventKind::LeaseBroken, &holder));
    assert!(broken.message.contains("force-unlock"), "{}", broken.message);
    let between = granted.at_unix_ms - broken.at_unix_ms;
    assert!(between >= 1000, "the lock delay was {between} ms");
    let written = current(&server, STATE);
    assert_eq!((written.number, written.token), (1, granted.token));
    assert!(granted.token > broken.token);
}

fn lock_that_nobody_holds_is_forced_without_harm(tool: &Tool) {
    let server = Server::start(TIGHT);
    let work = Work::new(tool, &server, STATE, "resource \"terraform_data\" \"app\" {}\n");
    let forced = work.run(&["force-unlock", "-force", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!(forced.code == 0, !tool.is_opentofu(), "OpenTofu sends the id, and there is none: {}{}", forced.out, forced.err);
    work.ok(&["apply", "-auto-approve"]);
    assert_eq!(current(&server, STATE).number, 1);
}
