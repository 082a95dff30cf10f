//! Names that break their rule, and environments that are not there.

use leasehold::pb::v1 as pb;
use tonic::Code;

use crate::support::{Api, acquire, id, on_each_engine, open, refused};

const BAD_STATES: [&str; 16] = [
    "",
    "dev",
    "dev/",
    "/app",
    "dev//app",
    "dev/.",
    "dev/..",
    "dev/a/../b",
    "Dev/app",
    "-dev/app",
    "dev/a b",
    "dev/é",
    "dev/a\u{0}",
    "dev/1/2/3/4/5/6/7/8/9",
    "dev/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "dev/%2e%2e",
];

#[tokio::test]
async fn bad_state_name_is_refused_by_every_call_that_takes_one() {
    on_each_engine(async |server| {
        let cursor = server.api.cursor().await;
        for name in BAD_STATES {
            for (call, answer) in on_state(&server.api, name).await {
                println!("{call} {name:?}");
                refused(answer, Code::InvalidArgument, "NAME_INVALID");
            }
        }
        assert_eq!(server.api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn unknown_environment_is_named_by_every_call() {
    on_each_engine(async |server| {
        let cursor = server.api.cursor().await;
        let mut answers = on_state(&server.api, "nowhere/app").await;
        answers.extend(on_environment(&server.api, "nowhere").await);
        for (call, answer) in answers {
            println!("{call}");
            let refused = refused(answer, Code::NotFound, "ENVIRONMENT_NOT_FOUND");
            assert!(refused.message.contains("nowhere"), "{}", refused.message);
        }
        assert_eq!(server.api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn bad_environment_name_is_refused_by_every_call_that_takes_one() {
    on_each_engine(async |server| {
        let cursor = server.api.cursor().await;
        let long = "x".repeat(64);
        for name in ["-a", "A", "a_b", "a.b", "é", "a b", "a\n", &long] {
            let create = pb::CreateEnvironmentRequest {
                name: name.to_owned(),
                settings: None,
                request_id: id(),
                recovery: Vec::new(),
                no_recovery: true,
            };
            refused(server.api.environment().create(create).await, Code::InvalidArgument, "NAME_INVALID");
            for (call, answer) in on_environment(&server.api, name).await {
                println!("{call} {name:?}");
                refused(answer, Code::InvalidArgument, "NAME_INVALID");
            }
        }
        assert_eq!(server.api.cursor().await, cursor);
    })
    .await;
}

#[tokio::test]
async fn bad_session_and_labels_are_refused() {
    on_each_engine(async |server| {
        let cursor = server.api.cursor().await;
        let long = "s".repeat(129);
        for session in ["", "a b", "é", "a/b", "a\n", &long] {
            let answer = server.api.lease().acquire(acquire("dev/app", session)).await;
            refused(answer, Code::InvalidArgument, "SESSION_INVALID");
            refused(server.api.renew("dev/app", session, 1).await, Code::InvalidArgument, "SESSION_INVALID");
            refused(server.api.push(open("dev/app", session, 1, 2), b"{}").await, Code::InvalidArgument, "SESSION_INVALID");
        }
        for bad in ["a\nb", "a\u{7}", "\u{1b}[31m", "\u{85}", &"x".repeat(257)] {
            for field in 0..7 {
                let mut fields = [const { String::new() }; 7];
                fields[field] = bad.to_owned();
                let [who, host, pid, run_url, commit, operation, tool_version] = fields;
                let labels = Some(pb::Labels { who, host, pid, run_url, commit, operation, tool_version });
                let request = pb::AcquireRequest { labels, ..acquire("dev/app", "s") };
                refused(server.api.lease().acquire(request).await, Code::InvalidArgument, "LABEL_INVALID");
            }
        }
        for reason in ["", "a\nb", &"x".repeat(513)] {
            let request = pb::FreezeRequest { target: "dev".to_owned(), reason: reason.to_owned(), request_id: id() };
            refused(server.api.environment().freeze(request).await, Code::InvalidArgument, "ARGUMENT_INVALID");
        }
        let lock = pb::PushOpen { inner_lock_id: "x".repeat(129), ..open("dev/app", "s", 1, 2) };
        refused(server.api.push(lock, b"{}").await, Code::InvalidArgument, "ARGUMENT_INVALID");
        assert_eq!(server.api.cursor().await, cursor);
    })
    .await;
}

type Answers = Vec<(&'static str, Result<(), tonic::Status>)>;

/// The answers of all calls about one state.
async fn on_state(api: &Api, name: &str) -> Answers {
    let (mut lease, mut state) = (api.lease(), api.state());
    let (session, request_id, draft) = ("s".to_owned(), id(), "0".repeat(32));
    let name = name.to_owned();
    let reason = "r".to_owned();
    vec![
        ("acquire", lease.acquire(acquire(&name, "s")).await.map(drop)),
        ("renew", api.renew(&name, "s", 1).await.map(drop)),
        ("release", api.release(&name, "s", 1).await.map(drop)),
        ("cancel", {
            let request =
                pb::CancelRequest { state: name.clone(), ticket: 1, session: session.clone(), request_id: request_id.clone() };
            lease.cancel(request).await.map(drop)
        }),
        ("reacquire", {
            let request = pb::ReacquireRequest { state: name.clone(), session: session.clone(), old_token: 1, request_id: id() };
            lease.reacquire(request).await.map(drop)
        }),
        ("break", {
            let request = pb::BreakRequest {
                state: name.clone(),
                token: 1,
                reason: reason.clone(),
                request_id: id(),
                ..Default::default()
            };
            lease.r#break(request).await.map(drop)
        }),
        ("get", lease.get(pb::GetLockRequest { state: name.clone() }).await.map(drop)),
        ("list_tickets", lease.list_tickets(pb::ListTicketsRequest { state: name.clone() }).await.map(drop)),
        ("push", api.push(open(&name, "s", 1, 2), b"{}").await.map(drop)),
        ("pull", api.pull(&name, 0).await.map(drop)),
        ("pull a version", api.pull(&name, 1).await.map(drop)),
        ("pull a draft", {
            let request = pb::PullRequest { state: name.clone(), draft: draft.clone(), ..Default::default() };
            api.pull_by(request).await.map(drop)
        }),
        ("history", state.history(pb::HistoryRequest { state: name.clone(), ..Default::default() }).await.map(drop)),
        ("show", state.show(pb::ShowRequest { state: name.clone(), version: 1, ..Default::default() }).await.map(drop)),
        ("diff", state.diff(pb::DiffRequest { state: name.clone(), ..Default::default() }).await.map(drop)),
        ("rollback", {
            let request = pb::RollbackRequest {
                state: name.clone(),
                session: session.clone(),
                token: 1,
                request_id: id(),
                to_version: 1,
                expect: None,
            };
            state.rollback(request).await.map(drop)
        }),
        ("delete", {
            let request = pb::DeleteStateRequest {
                state: name.clone(),
                session: session.clone(),
                token: 1,
                request_id: id(),
                expect: None,
            };
            state.delete(request).await.map(drop)
        }),
        ("purge", state.purge(pb::PurgeRequest { state: name.clone(), version: 0, request_id: id() }).await.map(drop)),
        ("list_drafts", state.list_drafts(pb::ListDraftsRequest { state: name.clone(), all: false }).await.map(drop)),
        ("promote", {
            let request = pb::PromoteDraftRequest {
                state: name.clone(),
                draft: draft.clone(),
                session,
                token: 1,
                request_id: id(),
                ..Default::default()
            };
            state.promote_draft(request).await.map(drop)
        }),
        ("discard", {
            let request = pb::DiscardDraftRequest { state: name.clone(), draft, request_id: id() };
            state.discard_draft(request).await.map(drop)
        }),
        ("freeze", {
            let request = pb::FreezeRequest { target: freezable(&name), reason, request_id: id() };
            api.environment().freeze(request).await.map(drop)
        }),
        ("unfreeze", {
            let request = pb::UnfreezeRequest { target: freezable(&name), request_id: id() };
            api.environment().unfreeze(request).await.map(drop)
        }),
    ]
}

/// `dev` alone is a good target of a freeze: the environment.
fn freezable(name: &str) -> String {
    if name == "dev" { "dev/".to_owned() } else { name.to_owned() }
}

/// The answers of all calls about an environment that should be there.
async fn on_environment(api: &Api, name: &str) -> Answers {
    let mut environment = api.environment();
    let name = name.to_owned();
    vec![
        ("get", environment.get(pb::GetEnvironmentRequest { name: name.clone() }).await.map(drop)),
        ("set", {
            let request = pb::SetEnvironmentRequest { name: name.clone(), settings: None, request_id: id() };
            environment.set(request).await.map(drop)
        }),
        ("freeze", {
            let request = pb::FreezeRequest { target: name.clone(), reason: "r".to_owned(), request_id: id() };
            environment.freeze(request).await.map(drop)
        }),
        ("unfreeze", environment.unfreeze(pb::UnfreezeRequest { target: name.clone(), request_id: id() }).await.map(drop)),
        ("delete", {
            let request = pb::DeleteEnvironmentRequest { name: name.clone(), force: true, request_id: id() };
            environment.delete(request).await.map(drop)
        }),
        ("list states", {
            let request = pb::ListStatesRequest { prefix: name.clone(), ..Default::default() };
            api.state().list(request).await.map(drop)
        }),
        ("list locks", {
            let request = pb::ListLocksRequest { prefix: name.clone(), ..Default::default() };
            api.lease().list(request).await.map(drop)
        }),
    ]
}
