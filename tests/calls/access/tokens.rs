//! Tokens: made once, shown once, kept as hashes; and what ends them.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use leasehold::domain::access::{Access, Credential, Maker, Scope, TokenRecord};
use leasehold::domain::ids::TokenHash;
use leasehold::domain::time::WallTime;
use leasehold::pb::v1 as pb;
use leasehold::service::access::hash_of;
use leasehold::service::{Known, Service};
use tonic::Code;

use super::turned::Turned;
use super::wire::{bearer, explain, grant, make_token, new_token, revoke, revoke_grant, scope};
use crate::support::{Http, Running, StoreKind, acquire, id, on_each_engine, open, refused, terraform};

async fn tokens(api: &crate::support::Api) -> Vec<pb::ApiToken> {
    api.access().list_tokens(pb::ListTokensRequest {}).await.expect("a list").into_inner().tokens
}

#[tokio::test]
async fn token_is_shown_once_and_again_only_to_the_very_request_while_the_server_lives() {
    let server = Running::start(StoreKind::Sqlite).await;
    let request = new_token("ci", &[scope("pipeline", "dev/**")]);
    let made = server.api.access().create_token(request.clone()).await.unwrap().into_inner();
    let (record, secret) = (made.token.unwrap(), made.secret);
    assert!(secret.starts_with("lh_") && secret.len() == 46, "`lh_` and 256 bits");
    assert_eq!((record.name.as_str(), record.principal.as_str(), record.maker.as_str()), ("ci", "token:ci", "token:admin"));
    let again = server.api.access().create_token(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.token.unwrap(), again.secret), (record.clone(), secret.clone()), "the answer was lost");
    // The same id from another caller is another request.
    let other = bearer(&server.api, "other", &[scope("admin", "**")]).await;
    refused(other.access().create_token(request.clone()).await, Code::AlreadyExists, "TOKEN_NAME_TAKEN");
    let more = pb::CreateTokenRequest { scopes: vec![scope("admin", "dev/**")], ..request.clone() };
    refused(server.api.access().create_token(more).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let taken = pb::CreateTokenRequest { request_id: id(), ..request.clone() };
    refused(server.api.access().create_token(taken).await, Code::AlreadyExists, "TOKEN_NAME_TAKEN");
    let listed = format!("{:?}", tokens(&server.api).await);
    assert!(listed.contains("\"ci\"") && !listed.contains(&secret), "{listed}");
    let server = server.stop().await.restart().await;
    let gone = server.api.access().create_token(request.clone()).await;
    refused(gone, Code::FailedPrecondition, "TOKEN_GONE");
    server.api.with(Some(&secret)).hold("dev/app", "s").await;
    let unnamed = new_token("", &[scope("reader", "dev/**")]);
    let drawn = server.api.access().create_token(unnamed).await.unwrap().into_inner().token.unwrap();
    assert!(drawn.name.starts_with("x-"), "{}", drawn.name);
}

/// The first needle that is in a file of the folder.
fn found(folder: &Path, needles: &[(&str, Vec<u8>)]) -> Option<String> {
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        for (what, needle) in needles {
            if memchr::memmem::find(&bytes, needle).is_some() {
                return Some(format!("{what} is in {}", file.display()));
            }
        }
    }
    None
}

#[tokio::test]
async fn no_token_is_in_any_file_of_the_data_folder() {
    let server = Running::start(StoreKind::Sqlite).await;
    let secret = make_token(&server.api, "findable-name", &[scope("pipeline", "dev/**")]).await;
    server.api.with(Some(&secret)).write_once("dev/app", &terraform("l", 1, "a")).await;
    let lease = server.api.with(Some(&secret)).hold("dev/app", "s").await.secret;
    let mut needles = Vec::new();
    for token in [&secret, &server.token()] {
        let text = token.strip_prefix("lh_").unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        needles.extend([
            ("a token", text.as_bytes().to_vec()),
            ("a token in base64", BASE64_STANDARD_NO_PAD.encode(&bytes).into_bytes()),
            ("a token in hex", hex.to_uppercase().into_bytes()),
            ("a token in hex", hex.into_bytes()),
            ("a token's bytes", bytes),
        ]);
    }
    needles.push(("a lease secret", lease.into_bytes()));
    let name = [("the name", b"findable-name".to_vec())];
    assert!(found(&server.data(), &name).is_some(), "what is stored is found, also before a checkpoint");
    assert_eq!(found(&server.data(), &needles), None, "while it runs");
    let stopped = server.stop().await;
    assert!(found(&stopped.data(), &name).is_some());
    assert_eq!(found(&stopped.data(), &needles), None, "when it is stopped");
}

#[tokio::test]
async fn token_that_is_revoked_cut_or_guessed_opens_neither_door() {
    on_each_engine(async |server| {
        let secret = make_token(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
        server.api.with(Some(&secret)).write_once("dev/app", &terraform("l", 1, "a")).await;
        let guess = format!("lh_{}", BASE64_URL_SAFE_NO_PAD.encode([7; 32]));
        let mut bent = secret.clone().into_bytes();
        bent[20] = if bent[20] == b'A' { b'B' } else { b'A' };
        let wrong = [
            secret[..secret.len() - 1].to_owned(),
            secret["lh_".len()..].to_owned(),
            format!("{secret}="),
            String::from_utf8(bent).unwrap(),
            guess,
        ];
        for token in &wrong {
            refused(server.api.with(Some(token)).pull("dev/app", 0).await, Code::Unauthenticated, "UNAUTHENTICATED");
            let http = Http::new(server.address, token);
            http.call("GET", "/terraform/v1/dev/app", b"").await.refused(401, "UNAUTHENTICATED");
        }
        let http = Http::new(server.address, &secret);
        http.call("GET", "/terraform/v1/dev/app", b"").await.is(200);
        let revoked = revoke(&server.api, "ci").await.unwrap();
        assert_ne!(revoked.revoked_unix_ms, 0);
        refused(server.api.with(Some(&secret)).pull("dev/app", 0).await, Code::Unauthenticated, "UNAUTHENTICATED");
        http.call("GET", "/terraform/v1/dev/app", b"").await.refused(401, "UNAUTHENTICATED");
        assert_eq!(revoke(&server.api, "ci").await.unwrap(), revoked, "once");
        refused(revoke(&server.api, "ic").await, Code::NotFound, "API_TOKEN_NOT_FOUND");
    })
    .await;
}

#[tokio::test]
async fn token_ends_at_its_time_with_those_made_by_it_and_its_leases_go_on() {
    let server = Turned::start().await;
    let life = |name: &str, scopes: &[pb::Scope], ms| pb::CreateTokenRequest { life_ms: ms, ..new_token(name, scopes) };
    let own = [scope("pipeline", "dev/**")];
    let quarter = 15 * 60_000;
    let made = server.api.access().create_token(life("ci", &own, quarter)).await.unwrap().into_inner();
    let (record, secret) = (made.token.unwrap(), made.secret);
    assert_eq!(record.expires_unix_ms - record.made_unix_ms, i64::try_from(quarter).unwrap());
    let ci = server.api.with(Some(&secret));
    // Asked for without end, and for longer than its maker has.
    for (name, ms) in [("endless", 0), ("longer", 60 * 60_000)] {
        let child = ci.access().create_token(life(name, &own, ms)).await.unwrap().into_inner();
        assert_eq!(child.token.unwrap().expires_unix_ms, record.expires_unix_ms, "{name}: no later than its maker");
    }
    let child = bearer(&ci, "child", &own).await;
    let held = ci.hold_by(pb::AcquireRequest { ttl_ms: 40 * 60_000, ..acquire("dev/app", "s") }).await;
    server.pass(Duration::from_millis(quarter - 1));
    ci.renew("dev/app", "s", held.token).await.expect("to the last millisecond");
    child.access().list_tokens(pb::ListTokensRequest {}).await.expect("its child, too");
    server.pass(Duration::from_millis(1));
    for token in [&ci, &child] {
        refused(token.renew("dev/app", "s", held.token).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
    let http = Http::new(server.address, &secret);
    http.call("GET", "/terraform/v1/dev/app", b"").await.refused(401, "UNAUTHENTICATED");
    // What it was granted in time is its own: a job that takes longer than its token ends well.
    let lease = server.api.with(Some(&held.secret));
    lease.renew("dev/app", "s", held.token).await.expect("renewed");
    let document = terraform("l", 1, "a");
    lease.push(open("dev/app", "s", held.token, document.len()), &document).await.expect("written");
    assert!(lease.release("dev/app", "s", held.token).await.expect("given back").was_live);
    let why = explain(&server.api, "token:ci", "write", "dev/app").await.unwrap();
    assert!(!why.allowed && why.because[0].contains("token ci has expired"), "{why:?}");
    let taken = server.api.access().create_token(life("ci", &own, 0)).await;
    refused(taken, Code::AlreadyExists, "TOKEN_NAME_TAKEN");
}

#[tokio::test]
async fn token_has_never_more_than_its_maker_has_now() {
    on_each_engine(async |server| {
        let lead = bearer(&server.api, "lead", &[scope("reader", "dev/**")]).await;
        for (verbs, on) in [
            ("write", "dev/app"),
            ("reader", "**"),
            ("reader", "dev"),
            ("reader", "*/app"),
            ("read.outputs", "dev/**"),
            ("admin", "/"),
            ("pipeline", "dev/**"),
        ] {
            let more = lead.access().create_token(new_token("", &[scope("reader", "dev/**"), scope(verbs, on)])).await;
            refused(more, Code::PermissionDenied, "BEYOND_RIGHTS");
        }
        let granted = grant(&server.api, "token:lead", scope("pipeline", "dev/net/**")).await.unwrap();
        let ci = bearer(&lead, "ci", &[scope("pipeline", "dev/net/**")]).await;
        let deploy = bearer(&ci, "deploy", &[scope("write lease.exclusive", "dev/net/eu")]).await;
        deploy.write_once("dev/net/eu", b"1").await;
        refused(deploy.lease().acquire(acquire("dev/net/us", "s")).await, Code::PermissionDenied, "NOT_ALLOWED");
        revoke_grant(&server.api, &granted.id).await.unwrap();
        for token in [&ci, &deploy] {
            let answer = token.lease().acquire(acquire("dev/net/eu", "s")).await;
            refused(answer, Code::PermissionDenied, "NOT_ALLOWED");
        }
        // As soon as its maker has it again, it does.
        grant(&server.api, "token:lead", scope("pipeline", "dev/net/eu")).await.unwrap();
        deploy.write_once("dev/net/eu", b"2").await;
        revoke(&server.api, "ci").await.unwrap();
        let gone = deploy.lease().acquire(acquire("dev/net/eu", "s")).await;
        refused(gone, Code::PermissionDenied, "NOT_ALLOWED");
    })
    .await;
}

#[tokio::test]
async fn name_of_a_token_never_means_another() {
    let server = Running::start(StoreKind::Sqlite).await;
    let secret = make_token(&server.api, "ci", &[scope("pipeline", "dev/**")]).await;
    let granted = grant(&server.api, "token:ci", scope("keys", "dev")).await.unwrap();
    revoke(&server.api, "ci").await.unwrap();
    let again = || new_token("ci", &[scope("pipeline", "dev/**")]);
    refused(server.api.access().create_token(again()).await, Code::AlreadyExists, "TOKEN_NAME_TAKEN");
    let to_nobody = grant(&server.api, "token:ci", scope("keys", "dev")).await;
    refused(to_nobody, Code::NotFound, "API_TOKEN_NOT_FOUND");
    let server = server.stop().await.restart().await;
    refused(server.api.access().create_token(again()).await, Code::AlreadyExists, "TOKEN_NAME_TAKEN");
    refused(server.api.with(Some(&secret)).pull("dev/app", 0).await, Code::Unauthenticated, "UNAUTHENTICATED");
    let left = server.api.access().list_grants(pb::ListGrantsRequest {}).await.unwrap().into_inner().grants;
    assert!(left.iter().all(|grant| grant.id != granted.id), "what was granted to it went with it: {left:?}");
}

#[tokio::test]
async fn when_a_token_was_last_used_is_kept() {
    let server = Turned::start().await;
    let ci = bearer(&server.api, "ci", &[scope("reader", "dev/**")]).await;
    let used = async || tokens(&server.api).await.into_iter().find(|token| token.name == "ci").unwrap().used_unix_ms;
    assert_eq!(used().await, 0, "never yet");
    server.pass(Duration::from_secs(10));
    ci.access().list_tokens(pb::ListTokensRequest {}).await.unwrap();
    let first = used().await;
    assert_eq!(first, server.service.now().0);
    server.pass(Duration::from_secs(3600));
    assert_eq!(used().await, first);
    ci.access().list_tokens(pb::ListTokensRequest {}).await.unwrap();
    assert_eq!(used().await, first + 3_600_000);
}

#[tokio::test]
async fn tokens_of_one_maker_are_bounded_and_others_get_theirs() {
    let server = Turned::start().await;
    let own = [scope("reader", "dev/**")];
    let lead = bearer(&server.api, "lead", &own).await;
    let hour = |name: &str| pb::CreateTokenRequest { life_ms: 3_600_000, ..new_token(name, &own) };
    for _ in 0..998 {
        lead.access().create_token(hour("")).await.unwrap();
    }
    let child = lead.with(Some(&lead.access().create_token(hour("child")).await.unwrap().into_inner().secret));
    let last = hour("last");
    let made = child.access().create_token(last.clone()).await.unwrap().into_inner();
    for maker in [&lead, &child] {
        let full = refused(maker.access().create_token(hour("")).await, Code::ResourceExhausted, "TOO_MANY_TOKENS");
        assert!(full.message.contains("token:lead has made") && full.metadata["next"].contains("revoke"), "{}", full.message);
    }
    let again = child.access().create_token(last).await.unwrap().into_inner();
    assert_eq!(again.secret, made.secret, "its answer was lost, and there is no room for another");
    bearer(&bearer(&server.api, "other", &own).await, "others", &own).await;
    revoke(&lead, "last").await.unwrap_err();
    revoke(&child, "last").await.unwrap();
    lead.access().create_token(hour("")).await.expect("there is room again");
    refused(lead.access().create_token(hour("")).await, Code::ResourceExhausted, "TOO_MANY_TOKENS");
    server.pass(Duration::from_secs(3600));
    lead.access().create_token(hour("")).await.expect("they have expired");
    let drawn = new_token("x-0123456789abcdef", &own);
    refused(server.api.access().create_token(drawn).await, Code::InvalidArgument, "ARGUMENT_INVALID");
}

#[tokio::test]
async fn scopes_and_lives_that_make_no_sense_are_refused() {
    let server = Running::start(StoreKind::Memory).await;
    let create = async |request| server.api.access().create_token(request).await;
    refused(create(new_token("ci", &[])).await, Code::InvalidArgument, "ARGUMENT_INVALID");
    let many = vec![scope("reader", "dev/**"); 65];
    refused(create(new_token("ci", &many)).await, Code::InvalidArgument, "ARGUMENT_INVALID");
    for name in ["CI", "-ci", "c i", "ci/", "сi", &"c".repeat(64)] {
        refused(create(new_token(name, &[scope("reader", "dev/**")])).await, Code::InvalidArgument, "ACCESS_INVALID");
    }
    for verbs in ["", "Admin", "root", "read.*", "write,admin", "аdmin"] {
        refused(create(new_token("ci", &[scope(verbs, "dev/**")])).await, Code::InvalidArgument, "ACCESS_INVALID");
    }
    let recipients = vec!["age1nonsense".to_owned()];
    let sealed = pb::Scope { recipients, ..scope("reader", "dev/**") };
    refused(create(new_token("ci", &[sealed])).await, Code::InvalidArgument, "RECIPIENT_INVALID");
    let endless = pb::CreateTokenRequest { life_ms: u64::MAX, ..new_token("ci", &[scope("reader", "dev/**")]) };
    let made = create(endless).await.expect("longer than time is for ever").into_inner();
    server.api.with(Some(&made.secret)).access().list_tokens(pb::ListTokensRequest {}).await.expect("it lives");
}

/// The construction by which the time of a look-up tells nothing of a token: the text is hashed before anything is compared, what is kept has
/// no text to compare with, and only the whole hash finds it.
#[test]
fn token_is_looked_up_by_the_hash_of_all_of_it() {
    // What recognises a token takes its hash; there is no other way in.
    let _: fn(&Service, &TokenHash) -> Option<Known> = Service::recognise;
    let sha256 = serde_json::to_string(&hash_of("lh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    assert_eq!(sha256, "\"9cb7d4bd140b15e52833f50ac8490fdf73bd203f9ec350c670a054320b1cbd0f\"", "as sha256sum has it");
    let record = TokenRecord {
        name: "ci".parse().unwrap(),
        hash: hash_of("lh_secret"),
        principal: "token:ci".parse().unwrap(),
        maker: Maker::Init,
        scopes: vec![Scope::new("reader".parse().unwrap(), "**".parse().unwrap())],
        made: WallTime(1),
        expires: Some(WallTime(2)),
        revoked: None,
        used: Some(WallTime(1)),
        exchanged: Some(TokenHash([9; 32])),
    };
    let kept = serde_json::to_value(&record).unwrap();
    let names: Vec<&str> = kept.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = ["exchanged", "expires", "hash", "made", "maker", "name", "principal", "scopes", "used"];
    known.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, known, "nothing else is kept of a token");
    assert!(!kept.to_string().contains("lh_secret"));
    let access = Access::new(vec![], vec![record.clone()]);
    assert!(access.recognise(&record.hash, WallTime(1)).is_some());
    for bit in 0..256 {
        let mut other = record.hash;
        other.0[bit / 8] ^= 1 << (bit % 8);
        assert!(access.recognise(&other, WallTime(1)).is_none(), "bit {bit} does not count");
    }
    let by_name = Credential::Token("ci".parse().unwrap());
    assert!(access.recognise(&TokenHash([0; 32]), WallTime(1)).is_none() && access.depth(&by_name) == 1);
}
