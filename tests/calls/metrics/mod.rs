//! What the server counts, as it is read from outside.

mod text;

use std::path::Path;
use std::time::Duration;

use leasehold::pb::v1 as pb;
use leasehold::serve::start::{Options, Server};
use tonic::Code;

use crate::access::wire::{bearer, scope};
use crate::support::{Http, Running, StoreKind, acquire, granted_in_turn, id, lost, on_each_engine, open, refused, terraform};
use text::Page;

/// What has not moved after this is not moving.
const PATIENCE: Duration = Duration::from_secs(20);

async fn page(server: &Running) -> Page {
    let answer = server.http().call("GET", "/metrics", b"").await.is(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Page::parse(&answer.text(), false)
}

/// The first page on which this holds: events are counted just after they are told.
async fn page_where(server: &Running, what: &str, holds: impl Fn(&Page) -> bool) -> Page {
    let look = async {
        loop {
            let page = page(server).await;
            if holds(&page) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

fn happened(page: &Page, kind: &str) -> f64 {
    page.value("leasehold_events_total", &[&format!("kind=\"{kind}\"")])
}

fn holdings(page: &Page) -> (f64, f64) {
    (page.value("leasehold_leases", &[]), page.value("leasehold_tickets", &[]))
}

fn answered(page: &Page, method: &str, code: &str) -> f64 {
    page.value("leasehold_calls_total", &[&format!("method=\"{method}\""), &format!("code=\"{code}\"")])
}

#[tokio::test]
async fn leases_tickets_and_drafts_are_counted_as_they_come_and_go() {
    on_each_engine(async |server| {
        let api = &server.api;
        let fresh = page(server).await;
        assert_eq!((holdings(&fresh), happened(&fresh, "lease_granted")), ((0.0, 0.0), 0.0));
        let held = api.hold("dev/app", "a").await;
        api.write("dev/app", "a", held.token, b"1").await;
        refused(api.lease().acquire(acquire("dev/app", "late")).await, Code::FailedPrecondition, "LEASE_HELD");
        let (_, mut waiting) = api.queue(pb::AcquireRequest { wait_ms: 60_000, ..acquire("dev/app", "w") }).await;
        let now = page_where(server, "a lease and a ticket", |page| holdings(page) == (1.0, 1.0)).await;
        assert_eq!((happened(&now, "lease_granted"), happened(&now, "version_written")), (1.0, 1.0));
        assert_eq!(now.value("leasehold_contention_total", &[]), 2.0, "one was refused, one waits");
        assert_eq!(
            now.value("leasehold_calls_running", &["method=\"Lease.Acquire\""]),
            2.0,
            "the holder's stream, and the waiter's"
        );
        assert_eq!(answered(&now, "Lease.Acquire", "FAILED_PRECONDITION"), 1.0);

        let request = pb::BreakRequest {
            state: "dev/app".to_owned(),
            token: held.token,
            reason: "counted".to_owned(),
            now: true,
            request_id: id(),
            ..pb::BreakRequest::default()
        };
        api.lease().r#break(request).await.expect("broken");
        let served = granted_in_turn(&mut waiting).await.1;
        // What the broken one still writes is kept, not applied.
        let late = api.push(open("dev/app", "a", held.token, 1), b"2").await.expect_err("fenced");
        assert_eq!(late.code(), Code::FailedPrecondition);
        let now = page_where(server, "a draft", |page| happened(page, "draft_kept") == 1.0).await;
        assert_eq!((holdings(&now), happened(&now, "lease_broken")), ((1.0, 0.0), 1.0));
        assert_eq!((happened(&now, "version_written"), answered(&now, "State.Push", "FAILED_PRECONDITION")), (1.0, 1.0));

        api.renew("dev/app", "w", served.token).await.expect("claimed");
        api.release("dev/app", "w", served.token).await.expect("released");
        let mut dying = api.hold_by(pb::AcquireRequest { ttl_ms: 300, ..acquire("dev/dying", "d") }).await;
        lost(&mut dying.stream).await;
        let now = page_where(server, "the end of a lease", |page| happened(page, "lease_expired") == 1.0).await;
        assert_eq!((holdings(&now), happened(&now, "lease_released")), ((0.0, 0.0), 1.0));
        assert_eq!(now.value("leasehold_renewals_total", &[]), 1.0);
    })
    .await;
}

#[tokio::test]
async fn leases_are_still_counted_after_a_restart_and_after_an_environment_was_deleted() {
    let server = Running::start(StoreKind::Sqlite).await;
    for n in 0..3 {
        server.api.hold(&format!("dev/app-{n}"), "s").await;
    }
    let (_, waiting) = server.api.queue(pb::AcquireRequest { wait_ms: 60_000, polls: true, ..acquire("dev/app-0", "w") }).await;
    page_where(&server, "leases", |page| holdings(page) == (3.0, 1.0)).await;
    drop(waiting);
    let server = server.stop().await.restart().await;
    let now = page_where(&server, "leases of before", |page| page.has("leasehold_leases", &[])).await;
    assert_eq!((holdings(&now), happened(&now, "lease_granted")), ((3.0, 1.0), 0.0), "they were granted before");
    server.make_environment("other").await.expect("made");
    let delete = pb::DeleteEnvironmentRequest { name: "other".to_owned(), request_id: id(), ..Default::default() };
    server.api.environment().delete(delete).await.expect("deleted");
    server.api.hold("dev/app-3", "s").await;
    let now = page_where(&server, "one more", |page| holdings(page) == (4.0, 1.0)).await;
    assert_eq!(happened(&now, "environment_deleted"), 1.0);
}

#[tokio::test]
async fn strangers_and_who_has_no_right_are_counted() {
    let server = Running::start(StoreKind::Memory).await;
    let before = page(&server).await;
    let reader = bearer(&server.api, "reader", &[scope("reader", "dev/own/**")]).await;
    refused(reader.pull("dev/app", 0).await, Code::PermissionDenied, "NOT_ALLOWED");
    for wrong in [None, Some("lh_wrong"), Some("not a token")] {
        refused(server.caller(wrong).renew("dev/app", "s", 1).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
    Http::with(server.address, None).call("GET", "/terraform/v1/dev/app", b"").await.refused(401, "UNAUTHENTICATED");
    let now = page(&server).await;
    let more = |name| now.value(name, &[]) - before.value(name, &[]);
    assert_eq!((more("leasehold_authentication_failures_total"), more("leasehold_refusals_total")), (4.0, 1.0));
    assert_eq!((answered(&now, "Lease.Renew", "UNAUTHENTICATED"), answered(&now, "Terraform.Read", "401")), (3.0, 1.0));
    assert_eq!(answered(&now, "State.Pull", "PERMISSION_DENIED"), 1.0);
    assert_eq!(answered(&now, "Metrics", "200"), 1.0, "the one before");
}

#[tokio::test]
async fn connections_are_counted_and_so_are_refused_ones() {
    let server = Running::start_with(StoreKind::Memory, "max_connections = 100\nmax_connections_per_peer = 8").await;
    let connect = async || tokio::net::TcpStream::connect(server.address).await.expect("the system takes it");
    // With that of the caller, which has made the environment, there are eight.
    let mut idle = Vec::new();
    for _ in 0..7 {
        idle.push(connect().await);
    }
    let refused = connect().await;
    tokio::time::timeout(PATIENCE, refused.readable()).await.expect("it is closed at once").expect("it is a socket");
    assert!(matches!(refused.try_read(&mut [0]), Ok(0) | Err(_)), "it is closed");
    drop(idle);
    let read = async {
        loop {
            // Those that went may not have been noticed yet, and then there is no room for this one.
            let answer = server.http().send("GET", "/metrics", b"").await.answer_if_any().await;
            let page = answer.map(|answer| Page::parse(&answer.text(), false));
            // That of the caller, and that of the reader.
            if let Some(page) = page.filter(|page| page.value("leasehold_connections_open", &[]) == 2.0) {
                return page;
            }
        }
    };
    let now = tokio::time::timeout(PATIENCE, read).await.expect("there is room again");
    let refused = |reason: &str| now.value("leasehold_connections_refused_total", &[&format!("reason=\"{reason}\"")]);
    assert!(refused("peer") >= 1.0);
    assert_eq!((refused("total"), refused("descriptors")), (0.0, 0.0));
    assert!(now.value("leasehold_connections_accepted_total", &[]) >= 9.0);
}

#[tokio::test]
async fn lock_and_engine_are_told() {
    let server = Running::start(StoreKind::Sqlite).await;
    for n in 0..20 {
        server.api.write_once(&format!("dev/app-{n}"), &terraform("l", 1, "planted")).await;
    }
    let now = page(&server).await;
    let commits = now.value("leasehold_store_commit_duration_seconds_count", &[]);
    assert!(commits >= 60.0, "three for each state: {commits}");
    // What commits store time alone is a batch of none. One may come while the page is written.
    assert!((now.value("leasehold_store_batch_requests_count", &[]) - commits).abs() <= 1.0);
    assert!(now.value("leasehold_store_batch_requests_sum", &[]) >= 60.0);
    assert!(now.value("leasehold_store_commit_duration_seconds_sum", &[]) > 0.0);
    assert_eq!((now.value("leasehold_store_full", &[]), now.value("leasehold_store_commits_failed_total", &[])), (0.0, 0.0));
    assert_eq!((now.value("leasehold_locked", &[]), now.value("leasehold_store_open", &[])), (0.0, 1.0));
    let most = now.value("leasehold_documents_in_flight_limit_bytes", &[]);
    assert_eq!((now.value("leasehold_documents_in_flight_bytes", &[]), most), (0.0, f64::from(512 << 20)));
    assert!(now.has("leasehold_build_info", &[concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")]));
    page_where(&server, "a log", |page| page.value("leasehold_store_log_bytes", &[]) > 0.0).await;
    page_where(&server, "a signature on everything", |page| page.value("leasehold_audit_rows_unsigned", &[]) == 0.0).await;

    // Half of a document keeps the memory for all of it.
    let held = server.api.hold("dev/app", "s").await;
    let (send, parts) = tokio::sync::mpsc::channel(1);
    let head = pb::push_request::Part::Open(open("dev/app", "s", held.token, 10 << 20));
    send.send(pb::PushRequest { part: Some(head) }).await.unwrap();
    let mut state = server.api.state();
    let pushing = tokio::spawn(async move { state.push(tokio_stream::wrappers::ReceiverStream::new(parts)).await });
    let flying = |page: &Page| page.value("leasehold_documents_in_flight_bytes", &[]);
    let now = page_where(&server, "a document in flight", |page| flying(page) > 0.0).await;
    assert!(flying(&now) >= f64::from(10 << 20), "{}", flying(&now));
    drop(send);
    pushing.await.unwrap().expect_err("half a document");
    page_where(&server, "none in flight", |page| flying(page) == 0.0).await;

    server.api.server().lock(pb::LockRequest {}).await.expect("locked");
    assert_eq!(page(&server).await.value("leasehold_locked", &[]), 1.0);
}

#[tokio::test]
async fn page_has_no_more_series_whatever_callers_send() {
    let server = Running::start(StoreKind::Memory).await;
    let http = server.http();
    // Every kind of call and answer that is in the loop below, once.
    let provoke = async |n: usize| {
        let word = format!("chosen-{n}");
        let api = bearer(&server.api, &word, &[scope("reader", &format!("dev/{word}/**"))]).await;
        let held = server.api.hold(&format!("dev/{word}"), &word).await;
        server.api.write(&format!("dev/{word}"), &word, held.token, &terraform(&word, 1, &word)).await;
        refused(api.pull(&format!("dev/{word}"), 0).await, Code::PermissionDenied, "NOT_ALLOWED");
        refused(server.caller(Some(&word)).renew("dev/app", &word, 1).await, Code::Unauthenticated, "UNAUTHENTICATED");
        server.make_environment(&word).await.expect("made");
        for (method, target) in [
            ("GET", format!("/{word}")),
            (&word, format!("/terraform/v1/dev/{word}")),
            ("GET", format!("/terraform/v1/dev/{word}?view={word}")),
            ("POST", format!("/leasehold.v1.StateService/{word}")),
            ("GET", format!("/metrics?{word}={word}")),
            ("POST", format!("/metrics?{word}={word}")),
        ] {
            http.call(method, &target, b"").await;
        }
    };
    provoke(0).await;
    page_where(&server, "the end of a stream that was dropped", |page| answered(page, "Lease.Acquire", "left") == 1.0).await;
    let before = server.http().call("GET", "/metrics", b"").await.is(200).text();
    for n in 1..40 {
        provoke(n).await;
    }
    let now = server.http().call("GET", "/metrics", b"").await.is(200).text();
    let series = |text: &str| Page::parse(text, false).series();
    let more: Vec<_> = series(&now).difference(&series(&before)).cloned().collect();
    assert_eq!(more, [""; 0]);
    assert!(!now.contains("chosen") && !now.contains("dev"), "{now}");
    assert!(now.len() < 64 << 10, "{} bytes", now.len());
}

#[tokio::test]
async fn both_formats_say_the_same() {
    let server = Running::start(StoreKind::Memory).await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let answer = server.http().call_with("GET", "/metrics", &[("accept", accept)], b"").await.is(200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let (modern, old) = (Page::parse(&answer.text(), true), page(&server).await);
    assert_eq!(modern.types, old.types);
    let head = server.http().call_with("HEAD", "/metrics", &[], b"").await.is(200);
    assert!(head.body.is_empty());
    let refused = server.http().call("POST", "/metrics", b"").await.refused(405, "ARGUMENT_INVALID");
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn trial_server_shows_them_to_who_has_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        dev: true,
        data_dir: Some(folder.path().join("data")),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        store: Some(StoreKind::Memory),
        ..Options::default()
    };
    let server = Server::open(options).await.expect("it opens");
    let address = server.address;
    let lines = std::fs::read_to_string(folder.path().join("data/dev.env")).expect("the lines to paste");
    let token = lines.lines().find_map(|line| line.strip_prefix("export LEASEHOLD_TOKEN=")).expect("a token");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async move { drop(stopped.await) }));
    Http::with(address, None).call("GET", "/metrics", b"").await.refused(401, "UNAUTHENTICATED");
    let shown = Http::new(address, token).call("GET", "/metrics", b"").await.is(200).text();
    assert_eq!(happened(&Page::parse(&shown, false), "lease_granted"), 0.0);
    drop(stop);
    served.await.unwrap().expect("it ends well");
}

/// docs/operations.md has a row for each metric, and for nothing else.
#[tokio::test]
async fn page_of_the_documentation_names_every_metric() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let docs = std::fs::read_to_string(docs).expect("the page is there");
    let (_, table) = docs.split_once("<!-- metrics:begin -->\n").expect("a table");
    let (table, _) = table.split_once("<!-- metrics:end -->").expect("and its end");
    let rows = table.lines().skip(2).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    });
    let told: std::collections::BTreeMap<_, _> = rows.collect();
    let server = Running::start(StoreKind::Memory).await;
    assert_eq!(told, page(&server).await.types);
}
