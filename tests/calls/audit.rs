//! The audit over the wire: what is recorded, sealed within a second, exported and proven; and who may see it.

use std::time::Duration;

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::access_service_client::AccessServiceClient;
use leasehold::secrets::audit::{AuditKey, Fault, Flaw, Head, Report, Statement, Verifier};
use leasehold::store::clock::{Source, SystemSource};
use serde_json::Value;
use tonic::{Code, Request, Status, Streaming};

use crate::support::{Api, Running, StoreKind, acquire, id, on_each_engine, open, refused, terraform};

impl Api {
    async fn audit_head(&self) -> pb::HeadResponse {
        self.audit().head(pb::HeadRequest {}).await.unwrap().into_inner()
    }

    async fn tail(&self, from: pb::tail_request::From) -> Vec<Value> {
        let request = pb::TailRequest { from: Some(from), follow: false };
        let lines = drained(self.audit().tail(request).await).await.unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn rows(&self) -> Vec<Value> {
        self.tail(pb::tail_request::From::After(0)).await
    }

    async fn export(&self, request: pb::ExportAuditRequest) -> Result<Vec<String>, Status> {
        drained(self.audit().export(request).await).await
    }

    /// Until rows that nobody waits for are there.
    async fn rows_until(&self, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let seen = async {
            loop {
                let rows = self.rows().await;
                if done(&rows) {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the rows come")
    }
}

async fn drained(begun: Result<tonic::Response<Streaming<pb::AuditLines>>, Status>) -> Result<Vec<String>, Status> {
    let (mut stream, mut all) = (begun?.into_inner(), Vec::new());
    while let Some(message) = stream.message().await? {
        all.extend(message.lines);
    }
    Ok(all)
}

fn proven(lines: &[String], key: &str, expect: Option<Head>) -> Result<Report, Fault> {
    let all: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    Verifier::new(vec![key.parse::<AuditKey>().unwrap()], expect).all(all.as_bytes())
}

fn acts(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {}", row["act"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect()
}

/// What a principal may who has nothing but a role.
async fn with_role(server: &Running, role: &str, on: &str) -> Api {
    server.caller(Some(&token_with_role(server, role, on).await))
}

async fn token_with_role(server: &Running, role: &str, on: &str) -> String {
    let scopes = vec![pb::Scope { verbs: vec![role.to_owned()], on: on.to_owned(), recipients: Vec::new() }];
    let mut request = Request::new(pb::CreateTokenRequest { name: String::new(), scopes, life_ms: 0, request_id: id() });
    request.metadata_mut().insert("authorization", format!("Bearer {}", server.token()).parse().unwrap());
    let mut service = AccessServiceClient::new(server.api.channel.clone());
    service.create_token(request).await.unwrap().into_inner().secret
}

#[tokio::test]
async fn every_act_over_the_wire_is_recorded_sealed_within_a_second_and_proven() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform("l", 5, "planted-value")).await;
        let stale = terraform("m", 9, "planted-value-2");
        let _ = api.push(open("dev/app", "s", held.token, stale.len()), &stale).await.unwrap_err();
        assert_eq!(api.pull("dev/app", 0).await.unwrap(), terraform("l", 5, "planted-value"));
        let diff = pb::DiffRequest { state: "dev/app".to_owned(), ..Default::default() };
        api.state().diff(diff).await.unwrap();
        api.release("dev/app", "s", held.token).await.unwrap();
        let (rows, clock) = (api.rows().await, SystemSource::default());
        let committed = clock.wall().0;
        assert_eq!(
            acts(&rows)[acts(&rows).len() - 6..],
            [
                "lease.acquire done",
                "state.write done",
                "state.write refused: LINEAGE_DIFFERS",
                "read done",
                "diff done",
                "lease.release done",
            ]
        );
        let read = &rows[rows.len() - 3];
        assert_eq!(
            (read["verb"].as_str(), read["on"].as_str(), read["version"].as_u64()),
            (Some("read.full"), Some("dev/app"), Some(1))
        );
        assert_eq!(read["from"].as_str(), Some("127.0.0.1"));
        let last = rows.len() as u64;
        // Nobody asks for it: an export would seal by itself.
        let sealed = async {
            loop {
                let head = api.audit_head().await;
                let statement = Statement::read(&head.checkpoint).expect("as it was signed");
                if statement.checkpoint >= last {
                    return (head, statement);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (head, statement) = tokio::time::timeout(Duration::from_secs(10), sealed).await.expect("it is sealed");
        assert!(statement.at - committed < 1000, "signed {} ms after the last commit", statement.at - committed);
        assert_eq!((head.last, statement.key.to_string()), (last, head.key.clone()));
        let lines = api.export(pb::ExportAuditRequest::default()).await.unwrap();
        let report = proven(&lines, &head.key, Some(statement.head())).unwrap();
        assert_eq!((report.after, report.head, report.unproven), (0, statement.head(), 0));
        // Where nothing is new, nothing is signed.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(api.audit_head().await.checkpoint, head.checkpoint);
        // No secret, and none of a document.
        assert!(!lines.concat().contains("planted-value"));
        let mut forged = lines.clone();
        let at = forged.iter().position(|line| line.contains("state.write")).unwrap();
        forged[at] = forged[at].replace("done", "dona");
        assert_eq!(
            proven(&forged, &head.key, None).unwrap_err().flaw,
            Flaw::Entry(serde_json::from_str::<Value>(&lines[at]).unwrap()["n"].as_u64().unwrap())
        );
    })
    .await;
}

#[tokio::test]
async fn redacted_reads_renewals_and_waiting_are_counted_and_leave_no_rows() {
    on_each_engine(async |server| {
        let api = &server.api;
        let held = api.hold("dev/app", "s").await;
        api.write("dev/app", "s", held.token, &terraform("l", 5, "planted-value")).await;
        let (before, counted) = (api.rows().await.len(), api.audit_head().await);
        for _ in 0..3 {
            api.renew("dev/app", "s", held.token).await.unwrap();
            let view = pb::PullRequest { state: "dev/app".to_owned(), view: pb::View::Redacted.into(), ..Default::default() };
            api.pull_by(view).await.unwrap();
            refused(api.lease().acquire(acquire("dev/app", "t")).await, Code::FailedPrecondition, "LEASE_HELD");
        }
        // What is current already is not read again.
        let unchanged = api.pull_by(pb::PullRequest { state: "dev/app".to_owned(), ..Default::default() }).await.unwrap();
        let etag = unchanged.0.version.unwrap().etag;
        let again = pb::PullRequest { state: "dev/app".to_owned(), unless_etag: etag, ..Default::default() };
        api.pull_by(again).await.unwrap();
        let (rows, after) = (api.rows().await, api.audit_head().await);
        assert_eq!(acts(&rows[before..]), ["read done"]);
        let counts = |head: &pb::HeadResponse| (head.renewals, head.contention, head.redacted_reads);
        let (was, is) = (counts(&counted), counts(&after));
        assert_eq!((is.0 - was.0, is.1 - was.1, is.2 - was.2), (3, 3, 3));
    })
    .await;
}

#[tokio::test]
async fn reads_through_the_door_of_the_http_backend_are_recorded_as_what_they_open() {
    on_each_engine(async |server| {
        let held = server.api.hold("dev/app", "s").await;
        server.api.write("dev/app", "s", held.token, &terraform("l", 5, "planted-value")).await;
        let before = server.api.rows().await.len();
        let http = server.http();
        let get = async |query: &str| http.call("GET", &format!("/terraform/v1/dev/app{query}"), b"").await.is(200);
        assert!(get("").await.text().contains("planted-value"));
        get("?view=outputs").await;
        get("?view=redacted").await;
        let rows = server.api.rows().await;
        let read: Vec<_> =
            rows[before..].iter().map(|row| (row["act"].as_str(), row["verb"].as_str(), row["version"].as_u64())).collect();
        assert_eq!(read, [(Some("read"), Some("read.full"), Some(1)), (Some("read"), Some("read.outputs"), Some(1))]);
    })
    .await;
}

#[tokio::test]
async fn force_unlock_needs_the_right_to_break_and_is_recorded_with_who_and_why() {
    on_each_engine(async |server| {
        server.api.hold("dev/app", "s").await;
        let forced = "/terraform/v1/dev/app";
        let pipeline = server.http_as(&token_with_role(server, "pipeline", "dev/**").await);
        pipeline.call("UNLOCK", forced, b"").await.is(403);
        assert_eq!(server.api.lock("dev/app").await.holders.len(), 1, "a pipeline breaks nobody");
        let operator = server.http_as(&token_with_role(server, "operator", "dev/**").await);
        operator.call("UNLOCK", forced, b"").await.is(200);
        let rows = server.api.rows_until(|rows| acts(rows).contains(&"denied refused: PERMISSION_DENIED".to_owned())).await;
        let broken = rows.iter().find(|row| row["act"] == "lease.break").expect("a row about the break");
        assert_eq!((broken["verb"].as_str(), broken["on"].as_str()), (Some("break"), Some("dev/app")));
        assert_eq!((broken["session"].as_str(), broken["from"].as_str()), (Some("s"), Some("127.0.0.1")), "{broken}");
        assert!(broken["reason"].as_str().unwrap().contains("force-unlock"), "{broken}");
        assert!(broken["who"].as_str().unwrap().starts_with("token:x-"), "{broken}");
        let denied = rows.iter().find(|row| row["act"] == "denied").unwrap();
        assert_eq!((denied["verb"].as_str(), denied["on"].as_str()), (Some("break"), Some("dev/app")), "{denied}");
    })
    .await;
}

#[tokio::test]
async fn refusals_of_permission_are_rows_few_of_their_own_and_a_count() {
    on_each_engine(async |server| {
        let reader = with_role(server, "reader", "dev/**").await;
        let held = server.api.hold("dev/app", "s").await;
        server.api.write("dev/app", "s", held.token, &terraform("l", 5, "planted-value")).await;
        for _ in 0..50 {
            reader.pull("dev/app", 0).await.unwrap_err();
        }
        let denied = |rows: &[Value]| rows.iter().filter(|row| row["act"] == "denied").count();
        let rows = server.api.rows_until(|rows| denied(rows) >= 10).await;
        assert_eq!(denied(&rows), 10, "the others come as one row at the end of the minute");
        let row = rows.iter().find(|row| row["act"] == "denied").unwrap();
        assert_eq!((row["verb"].as_str(), row["on"].as_str()), (Some("read.full"), Some("dev/app")));
        assert_eq!(row["outcome"].as_str(), Some("refused: PERMISSION_DENIED"));
        // Refusals of writes that change nothing are bounded in the same way.
        for n in 0..50 {
            let document = format!("{{\"planted\": {n}}}");
            let asked = pb::PushOpen { format: pb::Format::Json.into(), ..open("dev/app", "s", held.token, document.len()) };
            let refusal = server.api.push(asked, document.as_bytes()).await;
            refused(refusal, Code::FailedPrecondition, "FORMAT_DIFFERS");
        }
        let refusals = |rows: &[Value]| rows.iter().filter(|row| row["outcome"] == "refused: FORMAT_DIFFERS").count();
        let rows = server.api.rows_until(|rows| refusals(rows) >= 10).await;
        assert_eq!(refusals(&rows), 10);
    })
    .await;
}

#[tokio::test]
async fn refused_writes_are_rows_also_of_documents_that_are_none_and_refused_locks_are_not() {
    on_each_engine(async |server| {
        let http = server.http();
        let info = br#"{"ID":"x","Operation":"OperationTypeApply","Info":"","Who":"u@h","Version":"1.15.0","Path":""}"#;
        http.call("LOCK", "/terraform/v1/dev/app", info).await.is(200);
        http.call("POST", "/terraform/v1/dev/app?ID=x", b"{").await.refused(400, "DOCUMENT_INVALID");
        http.call("UNLOCK", "/terraform/v1/dev/app", info).await.is(200);
        let spent = http.call("LOCK", "/terraform/v1/dev/app", info).await;
        assert_ne!(spent.status, 200, "{}", spent.text());
        let held = server.api.hold("dev/net", "s").await;
        refused(server.api.lease().acquire(acquire("dev/net", "t")).await, Code::FailedPrecondition, "LEASE_HELD");
        let freeze = pb::FreezeRequest { target: "dev/net".to_owned(), reason: "moving".to_owned(), request_id: id() };
        server.api.environment().freeze(freeze).await.unwrap();
        refused(server.api.lease().acquire(acquire("dev/net", "t")).await, Code::FailedPrecondition, "FROZEN");
        let nothing = pb::PushOpen { format: pb::Format::Terraform.into(), ..open("dev/net", "s", held.token, 1) };
        refused(server.api.push(nothing, b"{").await, Code::InvalidArgument, "DOCUMENT_INVALID");
        let is_refused = |row: &&Value| row["outcome"].as_str().unwrap().starts_with("refused");
        let rows = server.api.rows_until(|rows| rows.iter().filter(is_refused).any(|row| row["on"] == "dev/net")).await;
        let told: Vec<_> = rows.iter().filter(is_refused).map(|row| (&row["act"], &row["on"], &row["outcome"])).collect();
        let write = |on: &str| ("state.write".into(), on.into(), "refused: DOCUMENT_INVALID".into());
        let due: [(Value, Value, Value); 2] = [write("dev/app"), write("dev/net")];
        assert_eq!(told, due.iter().map(|(act, on, outcome)| (act, on, outcome)).collect::<Vec<_>>());
        let row = rows.iter().rfind(is_refused).unwrap();
        assert_eq!((&row["session"], &row["who"]), (&"s".into(), &"token:admin".into()));
        assert_eq!(row["token"], held.token.to_string());
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_is_written_when_the_server_stops_and_strangers_are_counted_by_address() {
    let server = Running::start(StoreKind::Sqlite).await;
    for _ in 0..5 {
        server.caller(Some("lh_wrong")).pull("dev/app", 0).await.unwrap_err();
        server.caller(None).pull("dev/app", 0).await.unwrap_err();
    }
    let reader = with_role(&server, "reader", "dev/**").await;
    for _ in 0..25 {
        reader.pull("dev/app", 0).await.unwrap_err();
    }
    let server = server.stop().await.restart().await;
    let rows = server.api.rows().await;
    let strangers: Vec<&Value> = rows.iter().filter(|row| row["act"] == "unauthenticated").collect();
    assert_eq!(strangers.len(), 1);
    assert_eq!((strangers[0]["count"].as_u64(), strangers[0]["from"].as_str()), (Some(10), Some("127.0.0.1")));
    let denied: Vec<&Value> = rows.iter().filter(|row| row["act"] == "denied").collect();
    let count: u64 = denied.iter().map(|row| row["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!((denied.len(), count), (11, 25), "ten of their own, and one for the other fifteen");
    let head = server.api.audit_head().await;
    let lines = server.api.export(pb::ExportAuditRequest::default()).await.unwrap();
    assert_eq!(proven(&lines, &head.key, None).unwrap().histories.len(), 1, "the same history goes on");
}

#[tokio::test]
async fn audit_needs_the_right_to_it() {
    let server = Running::start(StoreKind::Memory).await;
    for (role, on) in [("reader", "dev/**"), ("pipeline", "dev/**"), ("keyholder", "/")] {
        let caller = with_role(&server, role, on).await;
        assert!(caller.audit().head(pb::HeadRequest {}).await.is_err(), "{role}");
        assert!(caller.export(pb::ExportAuditRequest::default()).await.is_err(), "{role}");
        assert!(drained(caller.audit().tail(pb::TailRequest::default()).await).await.is_err(), "{role}");
    }
    let auditor = with_role(&server, "auditor", "/").await;
    assert!(!auditor.rows().await.is_empty());
    assert!(auditor.pull("dev/app", 0).await.is_err(), "and nothing else comes with it");
}

#[tokio::test]
async fn tail_follows_and_ends_when_the_server_stops() {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let mut server = Running::start(engine).await;
        let last = server.api.audit_head().await.last;
        let request = pb::TailRequest { from: Some(pb::tail_request::From::After(last)), follow: true };
        let mut stream = server.api.audit().tail(request).await.unwrap().into_inner();
        for n in 0..3_u64 {
            server.api.hold(&format!("dev/app-{n}"), "s").await;
            let lines = stream.message().await.unwrap().expect("a line").lines;
            let row: Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!((row["n"].as_u64(), row["on"].as_str()), (Some(last + n + 1), Some(&*format!("dev/app-{n}"))));
        }
        assert_eq!(server.api.tail(pb::tail_request::From::Last(2)).await.len(), 2);
        let rows = server.api.rows().await;
        let at = rows[1]["at"].as_i64().unwrap();
        let since = server.api.tail(pb::tail_request::From::SinceUnixMs(at)).await;
        assert_eq!(since.len(), rows.iter().filter(|row| row["at"].as_i64().unwrap() >= at).count());
        assert!(server.api.tail(pb::tail_request::From::SinceUnixMs(i64::MAX)).await.is_empty());
        server.begin_stop();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.message()).await.expect("at once");
        refused(ended, Code::Unavailable, "STORE_UNAVAILABLE");
        tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("nothing holds it up");
    }
}

#[tokio::test]
async fn export_begins_and_ends_with_checkpoints_around_what_was_asked_for() {
    on_each_engine(async |server| {
        let api = &server.api;
        let mut heads = Vec::new();
        for n in 0..3 {
            api.hold(&format!("dev/app-{n}"), "s").await;
            let lines = api.export(pb::ExportAuditRequest::default()).await.unwrap();
            heads.push(Statement::read(lines.last().unwrap()).unwrap().head());
        }
        let key = api.audit_head().await.key;
        let export = async |from: u64, to: u64| api.export(pb::ExportAuditRequest { from, to, unproven: false }).await;
        let report = proven(&export(heads[1].n, 0).await.unwrap(), &key, Some(heads[2])).unwrap();
        assert_eq!((report.after, report.head), (heads[0].n, heads[2]));
        let report = proven(&export(0, heads[1].n).await.unwrap(), &key, Some(heads[0])).unwrap();
        assert_eq!((report.after, report.head), (0, heads[1]));
        let report = proven(&export(heads[1].n, heads[1].n).await.unwrap(), &key, None).unwrap();
        assert_eq!((report.after, report.head), (heads[0].n, heads[1]));
        for (from, to) in [(heads[2].n + 1, 0), (u64::MAX, 0), (heads[2].n, 1)] {
            refused(export(from, to).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        assert_eq!(proven(&export(0, u64::MAX).await.unwrap(), &key, None).unwrap().head, heads[2], "there is no more");
        // Three exports, one after another, are one log.
        let other = Running::start(StoreKind::Memory).await;
        let theirs = other.api.export(pb::ExportAuditRequest::default()).await.unwrap();
        assert!(matches!(proven(&theirs, &key, None).unwrap_err().flaw, Flaw::Stranger(_)), "another server has another key");
    })
    .await;
}

#[tokio::test]
async fn log_that_was_changed_in_the_database_is_exported_as_it_is_and_found_out() {
    let server = Running::start(StoreKind::Sqlite).await;
    for n in 0..5 {
        server.api.hold(&format!("dev/app-{n}"), "s").await;
    }
    let lines = server.api.export(pb::ExportAuditRequest::default()).await.unwrap();
    let head = Statement::read(lines.last().unwrap()).unwrap().head();
    let stopped = server.stop().await;
    let change = |sql: &str| {
        let connection = rusqlite::Connection::open(stopped.database()).unwrap();
        connection.execute(sql, []).unwrap();
    };
    change("UPDATE audit SET line = replace(line, 'dev/app-3', 'dev/app-9')");
    let server = stopped.restart().await;
    let key = server.api.audit_head().await.key;
    let export = server.api.export(pb::ExportAuditRequest::default()).await.unwrap();
    let fault = proven(&export, &key, None).unwrap_err();
    assert!(matches!(fault.flaw, Flaw::Checkpoint(_)), "{fault}");
    let stopped = server.stop().await;
    // Rows cut off at the end are not given again to others.
    let connection = rusqlite::Connection::open(stopped.database()).unwrap();
    connection.execute("DELETE FROM audit WHERE n > 3", []).unwrap();
    drop(connection);
    let server = stopped.restart().await;
    server.api.hold("dev/new", "s").await;
    let rows = server.api.rows().await;
    assert!(rows.last().unwrap()["n"].as_u64().unwrap() > head.n, "the numbers that were signed for are spent");
    let export = server.api.export(pb::ExportAuditRequest::default()).await.unwrap();
    assert!(proven(&export, &key, None).is_err());
}

#[tokio::test]
async fn another_server_key_is_said_in_the_audit_and_both_keys_are_needed_to_prove_it() {
    let server = Running::start(StoreKind::Sqlite).await;
    server.api.hold("dev/app", "s").await;
    let old = server.api.audit_head().await.key;
    let stopped = server.stop().await;
    std::fs::remove_file(stopped.data().join("server.key")).unwrap();
    let server = stopped.restart().await;
    let new = server.api.audit_head().await.key;
    assert_ne!(old, new);
    let row = server.api.rows().await.pop().unwrap();
    assert_eq!((row["act"].as_str(), row["detail"].as_str()), (Some("audit.key"), Some(&*format!("from {old} to {new}"))));
    let lines = server.api.export(pb::ExportAuditRequest::default()).await.unwrap();
    assert!(proven(&lines, &new, None).is_err());
    let all: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let report = Verifier::new(vec![new.parse().unwrap(), old.parse().unwrap()], None).all(all.as_bytes()).unwrap();
    assert_eq!(report.keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [new, old]);
}
