//! Nothing secret is said: not in logs of the lowest level, not in errors, not in what lists and watches tell.

use std::fmt::Write as _;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use leasehold::pb::v1 as pb;
use tonic::{Code, Status};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, filter};

use crate::support::{Api, Http, Running, StoreKind, acquire, id, open, terraform};

static LISTENING: AtomicBool = AtomicBool::new(false);
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was said to callers.
#[derive(Default)]
struct Said(String);

impl Said {
    fn hear<T>(&mut self, answer: Result<T, Status>) -> Status {
        let status = answer.err().expect("an error");
        let _ = writeln!(self.0, "{status:?}\n{status}\n{}", String::from_utf8_lossy(status.details()));
        status
    }
}

async fn provoke(api: &Api, token: &str, said: &mut Said) -> Vec<String> {
    let held = api.hold("dev/app", "s").await;
    let bearer = api.with(Some(&held.secret));
    api.write("dev/app", "s", held.token, &terraform("l", 5, "planted-value-1")).await;
    for document in [terraform("l", 5, "planted-value-2"), terraform("m", 9, "planted-value-3")] {
        said.hear(bearer.push(open("dev/app", "s", held.token, document.len()), &document).await);
    }
    for document in ["{\"planted-key\":\"planted-value-4\",", "{\"planted-key\":1,\"planted-key\":2}", "planted-value-5"] {
        said.hear(api.push(open("dev/app", "s", held.token, document.len()), document.as_bytes()).await);
    }
    for wrong in [format!("{token}x"), token[..30].to_owned(), format!("{}x", held.secret), held.secret[..40].to_owned()] {
        said.hear(api.with(Some(&wrong)).renew("dev/app", "s", held.token).await);
    }
    said.hear(bearer.renew("dev/app", "t", held.token).await);
    let diff = pb::DiffRequest { state: "dev/app".to_owned(), ..Default::default() };
    let draft = api.drafts("dev/app").await;
    let to_draft = pb::DiffRequest { to_draft: draft[0].draft.clone(), ..diff.clone() };
    let _ = write!(said.0, "{draft:?} {:?}", api.state().diff(diff).await.unwrap());
    let _ = write!(said.0, "{:?} {:?}", api.state().diff(to_draft).await.unwrap(), api.lock("dev/app").await);
    let mut watch = api.watch().watch(pb::WatchRequest::default()).await.unwrap().into_inner();
    api.release("dev/app", "s", held.token).await.unwrap();
    for _ in 0..2 {
        let _ = write!(said.0, "{:?}", watch.message().await.unwrap());
    }
    said.hear(bearer.push(open("dev/app", "s", held.token, 17), b"\"planted-value-6\"").await);
    said.hear(
        api.lease().acquire(pb::AcquireRequest { request_id: "planted-value-7".to_owned(), ..acquire("dev/b", "s") }).await,
    );
    let _ = api.pull("dev/app", 0).await.unwrap();
    let create = pb::CreateEnvironmentRequest {
        name: "dev".to_owned(),
        settings: None,
        request_id: id(),
        recovery: Vec::new(),
        no_recovery: true,
    };
    assert_eq!(said.hear(api.environment().create(create).await).code(), Code::AlreadyExists);
    vec![held.secret]
}

/// Every kind of refusal of the `http` backend's door; the codes that its log must tell.
async fn provoke_door(server: &Running, said: &mut Said) -> Vec<&'static str> {
    const AT: &str = "/terraform/v1/dev/logged";
    let http = server.http();
    let info =
        |id: &str| format!(r#"{{"ID":"{id}","Info":"planted-value-8","Who":"u@h","Version":"1.15.0","Operation":"apply"}}"#);
    let mut codes = Vec::new();
    let mut hear = |answer: crate::support::Answer, code| {
        assert!(answer.status >= 400, "{answer:?}");
        let _ = writeln!(said.0, "{answer:?} {}", answer.text());
        codes.push(code);
    };
    let held = format!("{AT}?ID=mine");
    for wrong in ["x", "planted-value-9"] {
        let stranger = Http::new(server.address, wrong);
        hear(stranger.call("POST", AT, &terraform("l", 1, "planted-value-10")).await, "UNAUTHENTICATED");
    }
    hear(http.call("GET", AT, b"").await, "STATE_NOT_FOUND");
    hear(http.call("POST", AT, &terraform("l", 1, "planted-value-11")).await, "LEASE_REQUIRED");
    hear(http.call("POST", &held, &terraform("l", 1, "planted-value-12")).await, "TOKEN_UNKNOWN");
    hear(http.call("LOCK", AT, b"planted-value-13").await, "ARGUMENT_INVALID");
    hear(http.call("UNLOCK", AT, info("other").as_bytes()).await, "SESSION_UNKNOWN");
    assert_eq!(http.call("LOCK", AT, info("mine").as_bytes()).await.status, 200);
    hear(http.call("LOCK", AT, info("other").as_bytes()).await, "LEASE_HELD");
    assert_eq!(http.call("POST", &held, &terraform("l", 2, "planted-value-14")).await.status, 200);
    hear(http.call("POST", &held, &terraform("l", 1, "planted-value-15")).await, "SERIAL_NOT_HIGHER");
    hear(http.call("POST", &held, &terraform("m", 3, "planted-value-16")).await, "LINEAGE_DIFFERS");
    hear(http.call("POST", &held, b"{\"planted-key\":\"planted-value-17\"").await, "DOCUMENT_INVALID");
    let size = [("content-length", "20"), ("content-md5", "planted-value-18")];
    hear(http.call_with("POST", &held, &size, b"\"planted-value-19\"  ").await, "ARGUMENT_INVALID");
    hear(http.call("GET", &format!("{AT}?view=planted-value-20"), b"").await, "ARGUMENT_INVALID");
    assert_eq!(http.call("UNLOCK", AT, b"").await.status, 200);
    hear(http.call("LOCK", AT, info("mine").as_bytes()).await, "SESSION_SPENT");
    hear(http.call("UNLOCK", AT, info("mine").as_bytes()).await, "LEASE_LOST");
    hear(http.call("PATCH", AT, b"").await, "ARGUMENT_INVALID");
    assert_eq!(http.call("GET", AT, b"").await.status, 200);
    codes
}

#[tokio::test]
async fn tokens_lease_secrets_and_documents_are_in_no_log_and_no_error() {
    let filter = filter::dynamic_filter_fn(|_, _| LISTENING.load(Ordering::Relaxed));
    let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Sink).with_filter(filter);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log)).expect("no other test listens");
    LISTENING.store(true, Ordering::Relaxed);
    let (mut said, mut secrets) = (Said::default(), vec!["planted-".to_owned()]);
    let mut codes = Vec::new();
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let server = Running::start(engine).await;
        let token = server.token();
        secrets.extend(provoke(&server.api, &token, &mut said).await);
        codes.extend(provoke_door(&server, &mut said).await);
        let metrics = server.http().call("GET", "/metrics", b"").await.is(200).text();
        for name in ["dev", "app", "logged", "admin", "127.0.0.1"] {
            assert!(!metrics.contains(name), "{name} is in the metrics: {metrics}");
        }
        said.0 += &metrics;
        secrets.push(token);
        server.stop().await;
    }
    LISTENING.store(false, Ordering::Relaxed);
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(log.contains("TRACE") && log.len() > 10_000, "the log was heard: {} bytes", log.len());
    // The clients print next to nothing: whoever wonders why looks there.
    for code in codes {
        let tells = |line: &&str| line.contains("refused") && line.contains("/terraform/v1/dev/logged") && line.contains(code);
        assert!(log.lines().any(|line| tells(&line)), "the log does not tell of {code}");
    }
    for secret in secrets {
        // A part is as bad as the whole: prefixes say nothing, so look for what follows them.
        let part = if secret.starts_with("lh") { &secret[4..24] } else { &secret };
        for (where_, text) in [("the log", &log), ("what was said", &said.0)] {
            let line = text.lines().find(|line| line.contains(part));
            assert!(line.is_none(), "{part:?} is in {where_}: {line:?}");
        }
    }
}
