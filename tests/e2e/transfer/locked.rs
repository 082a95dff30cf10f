//! The lock of the source while its state is copied, and who it hears.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::source::{Answer, Asked, Source};
use super::{LINEAGE, all, document, import, pulled, told};
use crate::process::{end, finish};
use crate::rig::{Server, TIGHT, signal};

/// A backend with a lock, which tells of a holder as GitLab does. It gives its state to whoever asks.
fn locking() -> Source {
    let holder: Mutex<Option<String>> = Mutex::default();
    Source::start(move |asked| {
        let mut holder = holder.lock().unwrap();
        match (asked.method.as_str(), holder.as_ref()) {
            ("GET", _) => Answer::with(document(LINEAGE, 6)),
            ("LOCK" | "POST", None) => {
                *holder = Some(asked.body.clone());
                Answer::of(200)
            }
            ("LOCK" | "POST", Some(holder)) => Answer(423, Vec::new(), holder.clone().into()),
            ("UNLOCK" | "DELETE", Some(held)) if *held == asked.body => {
                *holder = None;
                Answer::of(200)
            }
            _ => Answer::of(409),
        }
    })
}

fn id(asked: &Asked) -> String {
    let info: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(info["Operation"], "leasehold state import");
    assert!(info["Created"].as_str().unwrap().ends_with('Z') && !info["Who"].as_str().unwrap().is_empty());
    info["ID"].as_str().unwrap().to_owned()
}

#[test]
fn source_is_locked_from_before_it_is_read_until_after_the_last_byte_was_compared() {
    let server = Server::start(TIGHT);
    let source = locking();
    let url = source.url("/state?x=planted");
    let mut command = server.leasehold(&["state", "import", "dev/app", &url, "--output", "json"]);
    command.env("TF_HTTP_USERNAME", "ann").env("TF_HTTP_PASSWORD", "p: wörd ");
    assert_eq!(told(&end(&mut command), &["version", "serial", "what"]), ["1 6 written"]);
    let asked = source.asked();
    assert_eq!(source.methods(), ["LOCK", "GET", "UNLOCK"]);
    assert_eq!(id(&asked[0]), id(&asked[2]));
    assert!(asked.iter().all(|asked| asked.path == "/state?x=planted"));
    let credentials = format!("Basic {}", STANDARD.encode("ann:p: wörd "));
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some(&credentials)));
    assert!(asked[0].header("content-md5").is_some() && asked[0].header("content-type") == Some("application/json"));

    // As GitLab has it; and again, since the lock was given back.
    let lock = source.url("/state/lock");
    let args = ["dev/app", &url, "--lock-address", &lock, "--lock-method", "POST", "--unlock-method", "DELETE"];
    assert_eq!(told(&import(&server, &args), &["what"]), ["there"]);
    let asked: Vec<_> = source.asked().split_off(3).into_iter().map(|asked| (asked.method, asked.path)).collect();
    let seen: Vec<_> = asked.iter().map(|(method, path)| (method.as_str(), path.as_str())).collect();
    assert_eq!(seen, [("POST", "/state/lock"), ("GET", "/state?x=planted"), ("DELETE", "/state/lock")]);

    // A dry run writes nothing there, either, and nobody is asked who is trusted to be idle.
    for last in ["--dry-run", "--lock=never"] {
        import(&server, &["dev/app", &url, last]).json();
        assert_eq!(source.methods().last().unwrap(), "GET");
    }
    assert_eq!(source.methods().len(), 8);
}

#[test]
fn lock_is_given_back_when_the_import_is_refused_or_interrupted() {
    let server = Server::start(TIGHT);
    let source = locking();
    let url = source.url("/state");
    import(&server, &["dev/app", &url]).json();
    let other = Source::start(|asked| match asked.method.as_str() {
        "GET" => Answer::with(document("another", 1)),
        _ => Answer::of(200),
    });
    import(&server, &["dev/app", &other.url("/")]).fails_with(5, "the state there has another lineage", "another path");
    assert_eq!(other.methods(), ["LOCK", "GET", "UNLOCK"]);

    // It waits for a lease that somebody has when it is interrupted.
    server.ok(&["lease", "acquire", "dev/new", "--ttl", "1h"]);
    let mut waiting = server.leasehold(&["state", "import", "dev/new", &url, "--wait", "1h"]).spawn().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(waiting.stderr.take().unwrap()), &mut String::new()).unwrap();
    signal(waiting.id(), rustix::process::Signal::INT);
    assert_eq!(finish(waiting).code, 130);
    assert_eq!(source.methods(), ["LOCK", "GET", "UNLOCK", "LOCK", "GET", "UNLOCK"]);

    // It is interrupted while it reads.
    let (arrived, arrives) = mpsc::channel();
    let slow = Source::start(move |asked| match asked.method.as_str() {
        "GET" => {
            arrived.send(()).unwrap();
            loop {
                std::thread::park();
            }
        }
        _ => Answer::of(200),
    });
    let reading = server.leasehold(&["state", "import", "dev/slow", &slow.url("/")]).spawn().unwrap();
    arrives.recv().unwrap();
    signal(reading.id(), rustix::process::Signal::TERM);
    assert_eq!(finish(reading).code, 143);
    assert_eq!(slow.methods(), ["LOCK", "GET", "UNLOCK"]);
}

#[test]
fn interrupted_wish_to_lock_says_that_it_may_have_been_granted() {
    let server = Server::start(TIGHT);
    let (arrived, arrives) = mpsc::channel();
    let source = Source::start(move |_| {
        arrived.send(()).unwrap();
        loop {
            std::thread::park();
        }
    });
    let url = source.url("/state");
    let locking = server.leasehold(&["state", "import", "dev/app", &url]).spawn().unwrap();
    arrives.recv().unwrap();
    signal(locking.id(), rustix::process::Signal::INT);
    let ended = finish(locking);
    let warning = format!("warning: {url} may be locked now, with the id {}", id(&source.asked()[0]));
    assert!(ended.code == 130 && ended.err.contains(&warning), "{} {}", ended.code, ended.err);
    assert_eq!(source.methods(), ["LOCK"]);
}

#[test]
fn source_without_a_lock_is_copied_with_a_warning_unless_it_must_have_one() {
    let server = Server::start(TIGHT);
    for status in [400, 403, 404, 405, 501] {
        let source = Source::start(move |asked| match asked.method.as_str() {
            "GET" => Answer::with(document(LINEAGE, 6)),
            _ => Answer::of(status),
        });
        let url = source.url("/state");
        let done = import(&server, &[&format!("dev/s{status}"), &url]);
        assert_eq!(told(&done, &["what"]), ["written"]);
        assert!(done.err.contains("warning: the state is not locked while it is copied"), "{}", done.err);
        assert_eq!(source.methods(), ["LOCK", "GET"], "what was not locked is not unlocked");
        let before = all(&server);
        for must in [&["--lock", "always"][..], &["--lock-address", &url]] {
            let refused = import(&server, &[&["dev/must", &url], must].concat());
            assert!(
                refused.code != 0 && refused.err.contains("\nnext: ") || refused.err.starts_with("error: "),
                "{}",
                refused.err
            );
            assert!(refused.err.contains("LOCK"), "{}", refused.err);
        }
        assert_eq!((all(&server), source.methods().len()), (before, 4));
    }
}

#[test]
fn lock_of_somebody_else_is_respected_and_a_lost_answer_survived() {
    let server = Server::start(TIGHT);
    let body = Arc::new(Mutex::new(r#"{"ID":"7","Who":"ann@host\u001b[2J","Operation":"OperationTypeApply"}"#.to_owned()));
    let answer = Arc::clone(&body);
    let source = Source::start(move |asked| match asked.method.as_str() {
        "GET" => Answer::with(document(LINEAGE, 6)),
        "LOCK" => Answer(409, Vec::new(), answer.lock().unwrap().clone().into()),
        _ => Answer::of(200),
    });
    let url = source.url("/state?planted");
    let what = format!("{} is locked by ann@host [2J (OperationTypeApply)", source.url("/state"));
    import(&server, &["dev/app", &url]).fails_with(5, &what, "--lock never");
    *body.lock().unwrap() = "no JSON".to_owned();
    import(&server, &["dev/app", &url]).fails_with(5, "is locked", "wait until it is free");
    assert_eq!(source.methods(), ["LOCK", "LOCK"]);

    // The server took the lock, and its answer was lost: asked again, it tells of a holder with our own id.
    let first = AtomicBool::new(true);
    let lossy = Source::start(move |asked| match asked.method.as_str() {
        "GET" => Answer::with(document(LINEAGE, 6)),
        "LOCK" if first.swap(false, Ordering::Relaxed) => Answer(200, vec![("content-length", "9".into())], b"cut".to_vec()),
        "LOCK" => Answer(423, Vec::new(), asked.body.clone().into()),
        _ => Answer::of(200),
    });
    assert_eq!(told(&import(&server, &["dev/app", &lossy.url("/")]), &["what"]), ["written"]);
    assert_eq!(lossy.methods(), ["LOCK", "LOCK", "GET", "UNLOCK"]);
    assert!(pulled(&server, "dev/app", 0) == document(LINEAGE, 6));
}

#[test]
fn lock_that_cannot_be_given_back_is_told_with_its_id() {
    let server = Server::start(TIGHT);
    let source = Source::start(|asked| match asked.method.as_str() {
        "GET" => Answer::with(document(LINEAGE, 6)),
        "LOCK" => Answer::of(200),
        _ => Answer::of(500),
    });
    let done = import(&server, &["dev/app", &source.url("/state"), "--retry-for", "0s"]);
    assert_eq!(told(&done, &["what"]), ["written"], "the copy is whole all the same");
    let warning = format!("warning: {} stays locked, with the id {}", source.url("/state"), id(&source.asked()[0]));
    assert!(done.err.contains(&warning), "{}", done.err);
}
