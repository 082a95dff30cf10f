//! Who reads what of a document: views, drafts, differences, and documents sealed to a reader's own key.

use leasehold::pb::v1 as pb;
use tonic::{Code, Status};

use super::wire::{bearer, grant, make_token, scope};
use crate::support::{Api, Running, StoreKind, id, on_each_engine, open, refused, terraform};

async fn pull(api: &Api, state: &str, view: pb::View) -> Result<Vec<u8>, Status> {
    let request = pb::PullRequest { state: state.to_owned(), view: view.into(), ..Default::default() };
    Ok(api.pull_by(request).await?.1)
}

#[tokio::test]
async fn full_reads_include_the_others_and_no_other_read_does() {
    let server = Running::start(StoreKind::Memory).await;
    server.api.write_once("dev/app", &terraform("l", 1, "planted")).await;
    let views = [pb::View::Full, pb::View::Redacted, pb::View::Outputs];
    for (verb, may) in [
        ("read.full", [true; 3]),
        ("read.redacted", [false, true, false]),
        ("read.outputs", [false, false, true]),
        ("write", [false; 3]),
        ("lease.shared", [false; 3]),
    ] {
        let reader = bearer(&server.api, &verb.replace('.', "-"), &[scope(verb, "dev/**")]).await;
        for (view, may) in views.into_iter().zip(may) {
            let answer = pull(&reader, "dev/app", view).await;
            match may {
                true => assert!(!answer.expect("allowed").is_empty()),
                false => {
                    let reason = if verb == "lease.shared" { "NOT_ALLOWED" } else { "PERMISSION_DENIED" };
                    refused(answer, Code::PermissionDenied, reason);
                }
            }
        }
    }
}

#[tokio::test]
async fn draft_opens_to_its_writer_and_to_who_may_read_the_state() {
    on_each_engine(async |server| {
        let own = [scope("lease.exclusive write", "dev/**")];
        let writer = bearer(&server.api, "writer", &own).await;
        let other = bearer(&server.api, "other", &own).await;
        let reader = bearer(&server.api, "reader", &[scope("reader", "dev/**")]).await;
        let full = bearer(&server.api, "full", &[scope("read.full", "dev/**")]).await;
        let stranger = bearer(&server.api, "stranger", &[scope("pipeline", "dev2/**")]).await;
        server.api.write_once("dev/app", &terraform("l", 5, "current")).await;
        let held = writer.hold("dev/app", "s").await;
        let document = terraform("l", 1, "planted");
        let kept = writer.push(open("dev/app", "s", held.token, document.len()), &document).await;
        let draft = refused(kept, Code::FailedPrecondition, "SERIAL_NOT_HIGHER").metadata["draft"].clone();
        let of = |view: pb::View| pb::PullRequest {
            state: "dev/app".to_owned(),
            draft: draft.clone(),
            view: view.into(),
            ..Default::default()
        };
        assert_eq!(writer.pull_by(of(pb::View::Full)).await.unwrap().1, document, "its own");
        assert_eq!(full.pull_by(of(pb::View::Full)).await.unwrap().1, document);
        // Its writer reads nothing else of the state.
        refused(pull(&writer, "dev/app", pb::View::Full).await, Code::PermissionDenied, "PERMISSION_DENIED");
        refused(other.pull_by(of(pb::View::Full)).await, Code::PermissionDenied, "PERMISSION_DENIED");
        refused(reader.pull_by(of(pb::View::Full)).await, Code::PermissionDenied, "PERMISSION_DENIED");
        assert!(!String::from_utf8_lossy(&reader.pull_by(of(pb::View::Redacted)).await.unwrap().1).is_empty());
        // A stranger is told the same of one that is there and of one that is not.
        let there = stranger.pull_by(of(pb::View::Full)).await.unwrap_err();
        let nowhere = pb::PullRequest { draft: "0".repeat(32), ..of(pb::View::Full) };
        let nowhere = stranger.pull_by(nowhere).await.unwrap_err();
        assert_eq!((there.message(), there.details()), (nowhere.message(), nowhere.details()));
        refused(Err::<(), _>(there), Code::PermissionDenied, "NOT_ALLOWED");
    })
    .await;
}

#[tokio::test]
async fn who_may_write_and_not_read_all_gets_no_difference() {
    let server = Running::start(StoreKind::Memory).await;
    for (serial, value) in [(1, "one"), (2, "two")] {
        server.api.write_once("dev/app", &terraform("l", serial, value)).await;
    }
    let diff = async |api: &Api| {
        let request = pb::DiffRequest { state: "dev/app".to_owned(), ..Default::default() };
        api.state().diff(request).await
    };
    let reader = bearer(&server.api, "reader", &[scope("reader", "dev/**")]).await;
    let guesser = bearer(&server.api, "guesser", &[scope("reader write", "dev/**")]).await;
    let pipeline = bearer(&server.api, "pipeline", &[scope("pipeline", "dev/**")]).await;
    let blind = bearer(&server.api, "blind", &[scope("write read.outputs", "dev/**"), scope("reader", "dev2/**")]).await;
    assert_eq!(diff(&reader).await.unwrap().into_inner().changes.len(), 1);
    assert_eq!(diff(&pipeline).await.unwrap().into_inner().changes.len(), 1);
    let told = refused(diff(&guesser).await, Code::PermissionDenied, "PERMISSION_DENIED");
    assert!(told.message.contains("`read.full`"), "{}", told.message);
    refused(diff(&blind).await, Code::PermissionDenied, "PERMISSION_DENIED");
}

#[tokio::test]
async fn documents_are_sealed_to_registered_recipients_only() {
    let server = Running::start(StoreKind::Memory).await;
    server.api.write_once("dev/app", &terraform("l", 1, "planted")).await;
    let key = age::x25519::Identity::generate().to_public().to_string();
    let other = age::x25519::Identity::generate().to_public().to_string();
    let with = |verbs: &str, on: &str| pb::Scope { recipients: vec![key.clone()], ..scope(verbs, on) };
    let sealed = async |api: &Api, to: &str| {
        let request = pb::PullRequest {
            state: "dev/app".to_owned(),
            view: pb::View::Sealed.into(),
            recipient: to.to_owned(),
            ..Default::default()
        };
        api.pull_by(request).await.map(|(info, _, _)| info.signer)
    };
    let reader = bearer(&server.api, "reader", &[with("read.full", "dev/**")]).await;
    assert!(sealed(&reader, &key).await.unwrap().starts_with("lhs1"));
    refused(sealed(&reader, &other).await, Code::PermissionDenied, "RECIPIENT_FOREIGN");
    refused(sealed(&reader, "age1nonsense").await, Code::PermissionDenied, "RECIPIENT_FOREIGN");
    // Registered with a right that does not reach here, or that is no full read.
    let elsewhere = bearer(&server.api, "elsewhere", &[with("read.full", "dev/net/**"), scope("read.full", "dev/**")]).await;
    refused(sealed(&elsewhere, &key).await, Code::PermissionDenied, "RECIPIENT_FOREIGN");
    let redacted = bearer(&server.api, "redacted", &[with("reader", "dev/**")]).await;
    refused(sealed(&redacted, &key).await, Code::PermissionDenied, "PERMISSION_DENIED");
    // With a grant, it is as good as with the token; and with `admin` on the state anybody can be named.
    let secret = make_token(&server.api, "granted", &[scope("read.full", "dev/**")]).await;
    let granted = server.api.with(Some(&secret));
    refused(sealed(&granted, &key).await, Code::PermissionDenied, "RECIPIENT_FOREIGN");
    grant(&server.api, "token:granted", with("read.full", "dev/app")).await.unwrap();
    sealed(&granted, &key).await.expect("registered");
    sealed(&server.api, &other).await.expect("named by an admin");
}

#[tokio::test]
async fn reasons_of_what_is_sealed_are_for_who_may_read_all() {
    let server = Running::start(StoreKind::Memory).await;
    server.api.write_once("dev/app", br#"{"password":"correct horse battery staple"}"#).await;
    let why = pb::ShowRequest { state: "dev/app".to_owned(), why: true, ..Default::default() };
    let reader = bearer(&server.api, "reader", &[scope("reader", "dev/**")]).await;
    let shown = reader.state().show(why.clone()).await.unwrap().into_inner();
    assert!(shown.sealed_count == 1 && shown.sealed[0].reason.is_empty(), "{shown:?}");
    let shown = server.api.state().show(why).await.unwrap().into_inner();
    assert!(!shown.sealed[0].reason.is_empty(), "{shown:?}");
    let create =
        pb::CreateEnvironmentRequest { name: "own".to_owned(), request_id: id(), no_recovery: true, ..Default::default() };
    refused(reader.environment().create(create).await, Code::PermissionDenied, "NOT_ALLOWED");
}
