//! Every call of `backend "http"` on loopback, with exactly the answers that its clients take.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leasehold::pb::v1::BreakRequest;

use super::{Held, STATE, document, info};
use crate::rig::{Server, TIGHT};

const PLAN: &str = "OperationTypePlan";
const APPLY: &str = "OperationTypeApply";

#[test]
fn state_is_written_and_read_back_to_the_byte_with_its_md5() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    assert_eq!(held.ask("GET", "", "").status, 404);
    assert_eq!(held.ask("LOCK", "/lock", &info("a", APPLY)).status, 200);
    let odd = format!("\n{} \t\n", document(1, "first \u{e9}"));
    assert_eq!(held.ask("POST", "?ID=a", &odd).status, 200);
    let read = held.ask("GET", "?x=1", "");
    assert_eq!((read.status, read.body.as_str()), (200, odd.as_str()));
    assert_eq!(read.headers["content-md5"], leasehold::backend::ContentMd5::of(odd.as_bytes()).to_string());
    assert_eq!(held.ask("POST", "?ID=a", &odd).status, 200, "the same again");
    assert_eq!(held.ask("PUT", "?ID=a", &document(2, "second")).status, 200);
    assert_eq!(held.ask("UNLOCK", "/lock", &info("a", APPLY)).status, 200);
    assert_eq!(held.end().code, 0);
    assert_eq!(server.ok(&["state", "pull", STATE]).out, document(2, "second"));
    let history = server.ok(&["state", "history", STATE, "--output", "json"]).json();
    assert_eq!(history.as_array().unwrap().len(), 1, "the snapshots of one lock are one entry: {history}");
}

#[test]
fn body_that_is_not_what_its_md5_says_is_refused() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    let key = format!("Bearer {}", held.environment["TF_HTTP_PASSWORD"]);
    let write = |md5: &str| held.ask_with("POST", "", &document(1, "x"), &[("Authorization", &key), ("Content-MD5", md5)]).status;
    for md5 in ["1B2M2Y8AsgTpgAmY7PhCfg==", "nonsense", ""] {
        assert_eq!(write(md5), 400, "{md5}");
    }
    assert_eq!(held.ask("GET", "", "").status, 404, "nothing was written");
    assert_eq!(write(&leasehold::backend::ContentMd5::of(document(1, "x").as_bytes()).to_string()), 200);
}

#[test]
fn inner_lock_keeps_children_apart_and_repeats_are_fine() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    let lock = |id: &str, operation: &str| held.ask("LOCK", "/lock", &info(id, operation));
    let unlock = |id: &str| held.ask("UNLOCK", "/lock", &info(id, APPLY)).status;
    assert_eq!((lock("a", APPLY).status, lock("a", APPLY).status), (200, 200));
    for operation in [APPLY, PLAN, "state-push"] {
        let refused = lock("b", operation);
        assert_eq!(refused.status, 423);
        let holder = refused.json();
        assert_eq!((&holder["ID"], &holder["Who"], &holder["Operation"]), (&"a".into(), &"me@here".into(), &APPLY.into()));
        assert_eq!(holder["Created"], "2026-11-23T15:14:58.199318715Z");
        assert!(holder["Info"].as_str().unwrap().contains("same `leasehold run`"), "{holder}");
        assert_eq!(holder["fencing_token"], held.environment["LEASEHOLD_FENCE"].as_str());
    }
    assert_eq!(unlock("b"), 409);
    assert_eq!((unlock("a"), unlock("a")), (200, 200));
    assert_eq!((lock("p", PLAN).status, lock("q", PLAN).status), (200, 200));
    assert_eq!(lock("b", APPLY).status, 423);
    assert_eq!((unlock("p"), unlock("q")), (200, 200));
    // As GitLab's users have it configured.
    assert_eq!(held.ask("POST", "/lock", &info("g", APPLY)).status, 200);
    assert_eq!(held.ask("DELETE", "/lock?ID=g", "").status, 200);
    assert_eq!(lock("b", APPLY).status, 200);
}

#[test]
fn writer_must_show_the_inner_lock_that_is_held() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    assert_eq!(held.ask("POST", "", &document(1, "no lock")).status, 200, "as with -lock=false");
    assert_eq!(held.ask("LOCK", "/lock", &info("a", APPLY)).status, 200);
    for id in ["", "?ID=b", "?id=a"] {
        let refused = held.ask("POST", id, &document(2, "other"));
        assert_eq!((refused.status, refused.json()["ID"].as_str()), (423, Some("a")), "{id}");
    }
    assert_eq!(held.ask("POST", "?ID=", &document(2, "other")).status, 400);
    assert_eq!(held.ask("POST", "?ID=a", &document(2, "mine")).status, 200);
    // A forced unlock takes the lock from whoever has it: what that one still writes is refused.
    assert_eq!(held.ask("UNLOCK", "/lock", "").status, 200);
    assert_eq!(held.ask("POST", "?ID=a", &document(3, "zombie")).status, 409);
    assert_eq!(held.ask("UNLOCK", "/lock", &info("a", APPLY)).status, 200);
    let ended = held.end();
    assert_eq!(ended.code, 0, "the lease was never touched: {}", ended.err);
    for told in [
        "another command of this run has the lock, with the id a",
        "forced unlock; the lease of this run stays",
        "taken away by a forced unlock",
    ] {
        assert!(ended.err.contains(told), "{told}: {}", ended.err);
    }
    assert_eq!(server.ok(&["state", "pull", STATE]).out, document(2, "mine"));
}

#[test]
fn plan_under_a_shared_lease_works_and_apply_does_not() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &["--mode", "shared"]);
    assert_eq!(held.ask("LOCK", "/lock", &info("p", PLAN)).status, 200);
    assert_eq!(held.ask("POST", "?ID=p", &document(1, "begun")).status, 200, "a plan may begin a state");
    assert_eq!(held.ask("POST", "?ID=p", &document(2, "more")).status, 409, "and not go on with it");
    assert_eq!(held.ask("GET", "", "").body, document(1, "begun"));
    assert_eq!(held.ask("UNLOCK", "/lock", &info("p", PLAN)).status, 200);
    let refused = held.ask("LOCK", "/lock", &info("a", APPLY));
    assert_eq!(refused.status, 423);
    assert!(refused.json()["Info"].as_str().unwrap().contains("--mode exclusive"), "{refused:?}");
    assert_eq!(refused.json()["ID"], held.environment["LEASEHOLD_SESSION"].as_str());
    let ended = held.end();
    assert!(ended.err.contains("OperationTypeApply may not lock dev/app: this run has a shared lease"), "{}", ended.err);
}

#[test]
fn plan_of_an_exclusive_lease_may_begin_a_state_and_no_more() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    assert_eq!(held.ask("LOCK", "/lock", &info("p", PLAN)).status, 200);
    assert_eq!(held.ask("POST", "?ID=p", &document(1, "begun")).status, 200);
    assert_eq!(held.ask("POST", "?ID=p", &document(2, "more")).status, 409);
    assert_eq!(held.ask("DELETE", "?ID=p", "").status, 409);
}

#[test]
fn nobody_without_the_key_gets_anything() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    let key = held.environment["TF_HTTP_PASSWORD"].as_str();
    let basic = |credentials: &str| format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let wrong = [
        String::new(),
        "Basic".to_owned(),
        "Basic !".to_owned(),
        format!("Token {key}"),
        format!("Bearer {}", &key[..key.len() - 1]),
        format!("Bearer {key}x"),
        "Bearer ".to_owned(),
        basic("leasehold:"),
        basic(key),
        basic(&format!("other:{key}")),
        basic(&format!("leasehold:{key}x")),
    ];
    for credentials in &wrong {
        for (method, rest) in [("GET", ""), ("LOCK", "/lock"), ("POST", ""), ("UNLOCK", "/lock"), ("DELETE", ""), ("GET", "/x")] {
            let answer = held.ask_with(method, rest, &info("a", APPLY), &[("Authorization", credentials)]);
            assert_eq!(answer.status, 401, "{method} {rest} with {credentials}");
        }
    }
    assert_eq!(held.ask_with("GET", "", "", &[]).status, 401);
    assert_eq!(held.ask_with("GET", "", "", &[("Authorization", &format!("bearer {key}"))]).status, 404);
    assert_eq!(held.ask_with("GET", "", "", &[("Authorization", &basic(&format!("leasehold:{key}")))]).status, 404);
}

#[test]
fn what_is_no_call_is_refused_with_a_number_that_stops_the_client() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    for (method, rest, body, status) in [
        ("PATCH", "", "", 405),
        ("GET", "/lock", "", 405),
        ("GET", "/other", "", 404),
        ("GET", "x", "", 404),
        ("LOCK", "/lock", "", 400),
        ("LOCK", "/lock", "{}", 400),
        ("LOCK", "/lock", "no JSON", 400),
        ("LOCK", "/lock?wait=1h", "", 400),
        ("UNLOCK", "/lock", "no JSON", 400),
        ("UNLOCK", "/lock", r#"{"ID":"never"}"#, 409),
        ("DELETE", "/lock?ID=", "", 400),
        ("POST", "", "", 400),
        ("POST", "", "no JSON at all", 400),
        ("POST", "?ID=never", "{}", 409),
    ] {
        assert_eq!(held.ask(method, rest, body).status, status, "{method} {rest} {body}");
    }
    assert_eq!(held.ask("LOCK", "/lock", &format!(r#"{{"ID":"a","Info":"{}"}}"#, "x".repeat(70_000))).status, 400);
}

/// Also a serial that is not higher: the client keeps its state in a file, and so does the server.
#[test]
fn refused_document_is_kept_and_named() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    assert_eq!(held.ask("POST", "", &document(5, "five")).status, 200);
    assert_eq!(held.ask("POST", "", &document(4, "four")).status, 409);
    let ended = held.end();
    assert_eq!(ended.code, 0);
    assert!(ended.err.contains("[SERIAL_NOT_HIGHER]"), "{}", ended.err);
    let drafts = server.ok(&["state", "drafts", "list", STATE, "--output", "json"]).json();
    let draft = drafts[0]["draft"].as_str().unwrap();
    assert!(ended.err.contains(&format!("leasehold state drafts promote {STATE} {draft}")), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_loss_writes_become_drafts_and_nothing_is_locked() {
    let server = Server::start(TIGHT);
    let mut held = Held::start(&server, &["--on-loss", "interrupt"]);
    assert_eq!(held.ask("LOCK", "/lock", &info("a", APPLY)).status, 200);
    assert_eq!(held.ask("POST", "?ID=a", &document(1, "before")).status, 200);
    let ask = BreakRequest { state: STATE.into(), all: true, reason: "stuck".into(), ..BreakRequest::default() };
    server.client().break_lease(ask).await.unwrap();
    assert_eq!(held.next_line(), "interrupted", "the loss is known");
    let late = document(2, "after");
    assert_eq!((held.ask("POST", "?ID=a", &late).status, held.ask("POST", "?ID=a", &late).status), (409, 409));
    assert_eq!(held.ask("GET", "", "").body, document(1, "before"));
    assert_eq!(held.ask("UNLOCK", "/lock", &info("a", APPLY)).status, 200);
    let refused = held.ask("LOCK", "/lock", &info("b", PLAN));
    assert_eq!(refused.status, 423);
    assert!(refused.json()["Info"].as_str().unwrap().contains("is lost: it was broken"), "{refused:?}");
    let ended = held.end();
    assert_eq!(ended.code, 6, "{}", ended.err);
    let drafts = server.ok(&["state", "drafts", "list", STATE, "--all", "--output", "json"]).json();
    let [draft] = drafts.as_array().unwrap().as_slice() else { panic!("one draft, however often it is sent: {drafts}") };
    let draft = draft["draft"].as_str().unwrap();
    assert_eq!(server.ok(&["state", "pull", STATE, "--draft", draft]).out, late);
    for told in ["lease lost: it was broken", &format!("drafts promote {STATE} {draft}")] {
        assert!(ended.err.contains(told), "{told}: {}", ended.err);
    }
}

/// Terraform reads again before its first write, and would take the other's state for its own and say that all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_after_somebody_else_wrote_shows_what_was_current_under_the_lease() {
    let server = Server::start(TIGHT);
    let file = server.file("other.json");
    for (serial, known) in [(1, None), (2, Some(document(1, "other")))] {
        let held = Held::start(&server, &["--on-loss", "continue"]);
        let before = held.ask("GET", "", "");
        let ask = BreakRequest { state: STATE.into(), all: true, reason: "stuck".into(), now: true, ..BreakRequest::default() };
        server.client().break_lease(ask).await.unwrap();
        std::fs::write(&file, document(serial, "other")).unwrap();
        server.ok(&["state", "push", STATE, file.to_str().unwrap()]);
        let after = held.ask("GET", "", "");
        assert_eq!(after.status, if known.is_some() { 200 } else { 404 });
        assert_eq!((after.status, known.as_ref().map(|_| &after.body)), (before.status, known.as_ref()), "round {serial}");
        assert_eq!(held.ask("POST", "", &document(serial, "mine")).status, 409);
        let ended = held.end();
        assert_eq!(ended.code, 6);
        assert!(ended.err.contains("of somebody else") && ended.err.contains("drafts promote"), "{}", ended.err);
    }
}

#[test]
fn state_of_fifty_megabytes_goes_through() {
    let server = Server::start(TIGHT);
    let held = Held::start(&server, &[]);
    let large = document(1, &"0123456789abcde ".repeat(50 << 16));
    assert!(large.len() > 50_000_000);
    assert_eq!(held.ask("POST", "", &large).status, 200);
    assert!(held.ask("GET", "", "").body == large);
    assert_eq!(held.end().code, 0);
}
