//! Who goes beside whom, who waits, and in which order.

use leasehold::pb::v1::EventKind;
use serde_json::Value;

use super::gate::Gate;
use super::seen::{Events, current, holders, versions, waiting};
use super::work::{HELD, Tool, Work, address, until};
use crate::rig::{Server, TIGHT};

with_each_tool!(
    plans_go_beside_each_other_and_not_beside_an_apply,
    plan_during_an_apply_names_the_holder_or_waits,
    ten_applies_that_come_together_pass_in_the_order_of_their_places,
    apply_waits_at_the_server_when_its_address_says_so,
    plans_take_what_the_environment_says,
);

const STATE: &str = "dev/app";
const APPLY: &[&str] = &["apply", "-auto-approve"];

fn held() -> String {
    format!("resource \"terraform_data\" \"slow\" {{{HELD}}}\n")
}

fn plain(name: &str) -> String {
    format!("resource \"terraform_data\" \"{name}\" {{}}\n")
}

/// The mode and the operation of each holder.
fn held_by(server: &Server) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    holders(server, STATE).iter().map(|holder| (text(&holder["mode"]), text(&holder["labels"]["operation"]))).collect()
}

fn plans_go_beside_each_other_and_not_beside_an_apply(tool: &Tool) {
    let server = Server::start(TIGHT);
    let gate = Gate::closed();
    let works = [(); 2].map(|()| Work::new(tool, &server, STATE, &gate.configuration()));
    let plans = works.each_ref().map(|work| work.start(&["plan"]));
    gate.arrived(2);
    let shared = ("shared".to_owned(), "OperationTypePlan".to_owned());
    assert_eq!(held_by(&server), [shared.clone(), shared]);
    let apply = Work::new(tool, &server, STATE, &plain("app"));
    let refused = apply.fails(APPLY);
    assert!(refused.contains("plan by") || refused.contains("OperationTypePlan"), "{refused}");
    assert!(refused.contains("and 1 more hold it"), "{refused}");
    let waiter = apply.start(&[APPLY, &["-lock-timeout=2m"]].concat());
    until("it waits", || waiting(&server, STATE) == 1);
    gate.open();
    for under_way in plans {
        under_way.ok();
    }
    waiter.ok();
    assert_eq!(versions(&server, STATE).len(), 1, "plans write nothing");
}

fn plan_during_an_apply_names_the_holder_or_waits(tool: &Tool) {
    let server = Server::start(TIGHT);
    let (apply, plan) = (Work::new(tool, &server, STATE, &held()), Work::new(tool, &server, STATE, &held()));
    let applying = apply.start_held(APPLY);
    let holder = &holders(&server, STATE)[0];
    let refused = plan.fails(&["plan"]);
    let label = |name: &str| holder["labels"][name].as_str().unwrap();
    let who = format!("{}@{}", label("who"), label("host"));
    for told in ["Error acquiring the state lock", holder["session"].as_str().unwrap(), &who, "unattended, last sign of life"] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
    assert!(plan.ok(&["plan", "-lock=false"]).contains("1 to add"), "reading without a lock is fine");
    let waiter = plan.start(&["plan", "-lock-timeout=2m", "-detailed-exitcode"]);
    until("it waits", || waiting(&server, STATE) == 1);
    apply.let_go();
    applying.ok();
    assert!(waiter.ok().contains("No changes"), "it saw what the apply wrote");
}

/// The first one holds until all others have their places.
fn ten_applies_that_come_together_pass_in_the_order_of_their_places(tool: &Tool) {
    const OTHERS: usize = 9;
    let server = Server::start(TIGHT);
    let first = Work::new(tool, &server, STATE, &held());
    let others = [(); OTHERS].map(|()| Work::new(tool, &server, STATE, ""));
    for (n, work) in others.iter().enumerate() {
        work.configure(&plain(&format!("number-{n}")));
    }
    let mut events = Events::of(&server, STATE);
    let holding = first.start_held(APPLY);
    let waiters = others.each_ref().map(|work| work.start(&["apply", "-auto-approve", "-lock-timeout=5m"]));
    let mut seen = events.until(EventKind::TicketQueued, OTHERS);
    first.let_go();
    holding.ok();
    for under_way in waiters {
        under_way.ok();
    }
    seen.extend(events.until(EventKind::LeaseReleased, OTHERS + 1));

    let sessions = |kind: EventKind| {
        let of_kind = seen.iter().filter(|event| event.kind() == kind);
        of_kind.map(|event| event.session.clone()).collect::<Vec<_>>()
    };
    let granted = sessions(EventKind::LeaseGranted);
    assert_eq!(granted[1..], sessions(EventKind::TicketQueued), "in the order of their places");
    let versions = versions(&server, STATE);
    assert_eq!(
        versions.iter().map(|version| version.session.clone()).collect::<Vec<_>>(),
        granted,
        "each wrote under its own lease"
    );
    assert_eq!(
        versions.iter().map(|version| (version.number, version.serial)).collect::<Vec<_>>(),
        (1..=10).map(|n| (n, n)).collect::<Vec<_>>()
    );
    assert!(versions.is_sorted_by(|one, next| one.token < next.token && one.lineage == next.lineage), "{versions:?}");
    assert_eq!(super::seen::entries(&server, STATE).len(), 10, "each is an entry of its own");
    assert!(holders(&server, STATE).is_empty() && waiting(&server, STATE) == 0);
}

fn apply_waits_at_the_server_when_its_address_says_so(tool: &Tool) {
    let server = Server::start(TIGHT);
    let apply = Work::new(tool, &server, STATE, &held());
    let patient = Work::new(tool, &server, STATE, &plain("app"));
    let patient = patient.set("TF_HTTP_LOCK_ADDRESS", &format!("{}?wait=2m", address(&server, STATE)));
    let applying = apply.start_held(APPLY);
    let waiter = patient.start(APPLY);
    until("it waits", || waiting(&server, STATE) == 1);
    apply.let_go();
    applying.ok();
    waiter.ok();
    assert_eq!(current(&server, STATE).serial, 2);
}

fn plans_take_what_the_environment_says(tool: &Tool) {
    let server = Server::start(TIGHT);
    let gate = Gate::closed();
    let reader = Work::new(tool, &server, STATE, &gate.configuration());
    server.ok(&["env", "set", "dev", "--plans", "exclusive"]);
    let planning = reader.start(&["plan"]);
    gate.arrived(1);
    assert_eq!(held_by(&server), [("exclusive".to_owned(), "OperationTypePlan".to_owned())]);
    gate.open();
    planning.ok();

    server.ok(&["env", "set", "dev", "--plans", "snapshot"]);
    let apply = Work::new(tool, &server, STATE, &plain("app"));
    apply.ok(APPLY);
    apply.configure(&format!("{}{}", plain("app"), held()));
    let applying = apply.start_held(APPLY);
    reader.configure(&plain("app"));
    assert!(reader.ok(&["plan"]).contains("No changes"), "what is current, beside an apply");
    assert_eq!(held_by(&server), [("exclusive".to_owned(), "OperationTypeApply".to_owned())]);
    apply.let_go();
    applying.ok();
    assert!(reader.ok(&["plan"]).contains("1 to destroy"));
}
