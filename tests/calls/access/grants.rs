//! Grants: who may give what to whom, on what, and which of them decides.

use leasehold::pb::v1 as pb;
use tonic::Code;

use super::wire::{bearer, explain, grant, make_token, revoke_grant, scope};
use crate::support::{Api, Running, StoreKind, acquire, id, on_each_engine, refused};

async fn grants(api: &Api) -> Vec<pb::AccessGrant> {
    api.access().list_grants(pb::ListGrantsRequest {}).await.expect("a list").into_inner().grants
}

#[tokio::test]
async fn rights_over_secrets_are_handed_on_only_by_who_has_them_and_admin() {
    on_each_engine(async |server| {
        let to = "oidc:test:ci";
        let admin = bearer(&server.api, "admin-only", &[scope("verb:admin", "dev/**")]).await;
        let reader =
            bearer(&server.api, "reader", &[scope("verb:admin read.full", "dev/net/**"), scope("verb:admin", "dev/**")]).await;
        let plain = bearer(&server.api, "plain", &[scope("pipeline keys", "dev/**")]).await;
        for verb in ["write", "break", "lease.exclusive", "read.redacted", "read.outputs", "approve"] {
            grant(&admin, to, scope(verb, "dev/net/*")).await.unwrap_or_else(|error| panic!("{verb}: {error}"));
            refused(grant(&plain, to, scope(verb, "dev/net/*")).await, Code::PermissionDenied, "NOT_ALLOWED");
        }
        for verb in ["read.full", "keys"] {
            refused(grant(&admin, to, scope(verb, "dev/net/*")).await, Code::PermissionDenied, "BEYOND_RIGHTS");
            let mixed = scope(&format!("write {verb}"), "dev/net/*");
            let told = refused(grant(&admin, to, mixed).await, Code::PermissionDenied, "BEYOND_RIGHTS");
            assert!(told.message.contains(verb) && told.message.contains("admin"), "{}", told.message);
        }
        for role in ["planner", "pipeline", "admin", "keyholder"] {
            refused(grant(&admin, to, scope(role, "dev/net/*")).await, Code::PermissionDenied, "BEYOND_RIGHTS");
        }
        grant(&admin, to, scope("verb:admin", "dev/net/*")).await.expect("it has `admin` there");
        grant(&reader, to, scope("planner", "dev/net/*")).await.expect("it has both there");
        refused(grant(&reader, to, scope("planner", "dev/*")).await, Code::PermissionDenied, "BEYOND_RIGHTS");
        refused(grant(&reader, to, scope("keys", "dev/net/*")).await, Code::PermissionDenied, "BEYOND_RIGHTS");
        for on in ["**", "*", "dev", "*/net", "dev2/**", "/"] {
            refused(grant(&admin, to, scope("write", on)).await, Code::PermissionDenied, "BEYOND_RIGHTS");
        }
    })
    .await;
}

#[tokio::test]
async fn grant_that_was_taken_back_does_not_come_back_with_its_request() {
    on_each_engine(async |server| {
        let ci = bearer(&server.api, "ci", &[scope("reader", "dev/**")]).await;
        let request = pb::GrantRequest { to: "token:ci".to_owned(), scope: Some(scope("pipeline", "dev/**")), request_id: id() };
        let granted = server.api.access().grant(request.clone()).await.unwrap().into_inner();
        let again = server.api.access().grant(request.clone()).await.unwrap().into_inner();
        assert_eq!(again, granted, "one effect");
        assert_eq!(grants(&server.api).await.len(), 1);
        ci.write_once("dev/app", b"1").await;
        let back = pb::RevokeGrantRequest { id: granted.id.clone(), request_id: id() };
        assert_eq!(server.api.access().revoke_grant(back.clone()).await.unwrap().into_inner(), granted);
        assert_eq!(server.api.access().revoke_grant(back).await.unwrap().into_inner(), granted, "a retry");
        // The answer was lost, and the client asks for it long after.
        assert_eq!(server.api.access().grant(request).await.unwrap().into_inner(), granted);
        assert_eq!(grants(&server.api).await, []);
        refused(ci.lease().acquire(acquire("dev/app", "s")).await, Code::PermissionDenied, "NOT_ALLOWED");
        refused(revoke_grant(&server.api, &granted.id).await, Code::NotFound, "GRANT_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn grants_outlive_the_server() {
    let server = Running::start(StoreKind::Sqlite).await;
    let secret = make_token(&server.api, "ci", &[scope("reader", "dev/**")]).await;
    let kept = grant(&server.api, "token:ci", scope("pipeline", "dev/net/**")).await.unwrap();
    let gone = grant(&server.api, "token:ci", scope("pipeline", "dev/app")).await.unwrap();
    revoke_grant(&server.api, &gone.id).await.unwrap();
    let server = server.stop().await.restart().await;
    assert_eq!(grants(&server.api).await, [kept]);
    let ci = server.api.with(Some(&secret));
    ci.write_once("dev/net/eu", b"1").await;
    refused(ci.lease().acquire(acquire("dev/app", "s")).await, Code::PermissionDenied, "PERMISSION_DENIED");
}

#[tokio::test]
async fn explanation_names_the_grant_that_decides() {
    let server = Running::start(StoreKind::Memory).await;
    let ci = bearer(&server.api, "ci", &[scope("reader", "dev/**")]).await;
    let granted = grant(&server.api, "token:ci", scope("pipeline", "dev/net/**")).await.unwrap();
    let yes = explain(&server.api, "token:ci", "write", "dev/net/eu").await.unwrap();
    assert!(yes.allowed && yes.because[0].contains(&granted.id), "{yes:?}");
    assert!(yes.because.last().unwrap().contains("token admin has"), "to where it comes from: {yes:?}");
    let no = explain(&server.api, "token:ci", "write", "dev/app").await.unwrap();
    assert!(!no.allowed && no.because[0].contains("write on dev/app"), "{no:?}");
    // Of oneself, without a name, too.
    assert_eq!(explain(&ci, "", "write", "dev/net/eu").await.unwrap(), yes);
    assert_eq!(explain(&ci, "token:ci", "write", "dev/app").await.unwrap(), no);
    // What is explained is what happens.
    ci.write_once("dev/net/eu", b"1").await;
    refused(ci.lease().acquire(acquire("dev/app", "s")).await, Code::PermissionDenied, "PERMISSION_DENIED");
    // Of others it tells nothing, whether they are there or not.
    for other in ["token:admin", "token:nobody", "oidc:test:x"] {
        for object in ["dev/app", "dev/net/eu"] {
            refused(explain(&ci, other, "write", object).await, Code::PermissionDenied, "PERMISSION_DENIED");
        }
        for object in ["dev", "void/app", "/"] {
            refused(explain(&ci, other, "write", object).await, Code::PermissionDenied, "NOT_ALLOWED");
        }
    }
    let nobody = explain(&server.api, "token:nobody", "write", "dev/app").await.unwrap();
    assert!(!nobody.allowed && nobody.because.concat().contains("no such token"), "{nobody:?}");
    for (verb, object, reason) in
        [("root", "dev/app", "ACCESS_INVALID"), ("write", "dev/../app", "NAME_INVALID"), ("write", "", "NAME_INVALID")]
    {
        refused(explain(&server.api, "token:ci", verb, object).await, Code::InvalidArgument, reason);
    }
    assert!(explain(&server.api, "", "write", "dev/app").await.unwrap().allowed);
}

#[tokio::test]
async fn globs_that_are_none_are_refused_and_mean_nothing() {
    let server = Running::start(StoreKind::Memory).await;
    let wrong = [
        "",
        "//",
        "/dev",
        "dev/",
        "dev//app",
        "dev/..",
        "dev/../prod",
        "../dev",
        "..",
        "dev/.",
        "dev/./app",
        "dev/***",
        "dev/**app",
        "dev/app**",
        "dev/a*",
        "***",
        "dev/**/**",
        "**/**",
        "Dev/app",
        "dev/＊",
        "dev/＊＊",
        "dev/∗",
        "dеv/app",
        "dev/аpp",
        "dev\u{2215}app",
        "dev\u{ff0f}app",
        "dev/app\u{200b}",
        "dev/app\u{301}",
        "dev\u{202e}/app",
        "dev/app\0",
        "dev/app\n",
        " dev/app",
        "dev/app ",
        "dev\\app",
        "dev/[a]",
        "dev/{a,b}",
        "dev/a?",
        "dev/%2e%2e",
        "!dev/app",
    ];
    for on in wrong {
        let granted = grant(&server.api, "oidc:test:ci", scope("reader", on)).await;
        refused(granted, Code::InvalidArgument, "ACCESS_INVALID");
        let made = server.api.access().create_token(super::wire::new_token("", &[scope("reader", on)])).await;
        refused(made, Code::InvalidArgument, "ACCESS_INVALID");
    }
    let deep = vec!["a"; 18].join("/");
    refused(grant(&server.api, "oidc:test:ci", scope("reader", &deep)).await, Code::InvalidArgument, "ACCESS_INVALID");
    for to in ["", "*", "ci", "token:*", "oidc:*", "cert:*", "oidc:te*", "oidc:a:*:b", "Token:ci", "token:ci\n"] {
        refused(grant(&server.api, to, scope("reader", "dev/**")).await, Code::InvalidArgument, "ACCESS_INVALID");
    }
    for to in [
        "oidc:test:ci\u{200b}",
        "oidc:test:\u{202e}ic",
        "oidc:test:c\u{456}",
        "oidc:test:ci\0",
        "cert:dns:\u{430}.example",
        "oidc:test:ci ",
    ] {
        let told = refused(grant(&server.api, to, scope("reader", "dev/**")).await, Code::InvalidArgument, "ACCESS_INVALID");
        assert!(told.message.contains("visible characters of ASCII"), "{}", told.message);
        refused(explain(&server.api, to, "write", "dev/app").await, Code::InvalidArgument, "NAME_INVALID");
    }
    refused(grant(&server.api, "token:nobody", scope("reader", "dev/**")).await, Code::NotFound, "API_TOKEN_NOT_FOUND");
    refused(grant(&server.api, "token:TYPO", scope("reader", "dev/**")).await, Code::NotFound, "API_TOKEN_NOT_FOUND");
    assert_eq!(grants(&server.api).await, []);
}

#[tokio::test]
async fn stars_stand_for_whole_segments() {
    let server = Running::start(StoreKind::Memory).await;
    server.make_environment("prod").await.unwrap();
    for (n, (on, may, may_not)) in [
        ("dev/*", &["dev/a"][..], &["dev/a/b", "prod/a"][..]),
        ("dev/**", &["dev/a", "dev/a/b/c"], &["prod/a", "de/a"]),
        ("*/net", &["dev/net", "prod/net"], &["dev/a/net", "dev/nets"]),
        ("**/net", &["dev/net", "dev/a/net", "prod/a/b/net"], &["dev/net/a", "prod/anet"]),
        ("dev/**/eu/*", &["dev/eu/a", "dev/x/y/eu/a"], &["dev/eu", "dev/eu/a/b"]),
        ("dev", &[], &["dev/a"]),
        ("/", &[], &["dev/a"]),
    ]
    .into_iter()
    .enumerate()
    {
        let ci = bearer(&server.api, &format!("ci-{n}"), &[scope("pipeline", on)]).await;
        for state in may {
            let held = ci.hold(state, "s").await;
            ci.release(state, "s", held.token).await.unwrap();
        }
        for state in may_not {
            refused(ci.lease().acquire(acquire(state, "s")).await, Code::PermissionDenied, "NOT_ALLOWED");
        }
    }
}
