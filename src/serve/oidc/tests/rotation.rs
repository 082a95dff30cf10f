//! Keys that change, and keys that cannot be had for a while.

use std::pin::pin;
use std::sync::Arc;

use super::*;
use crate::serve::oidc::problem::KeysProblem;

const MINUTE: u64 = 60;

struct Rig {
    old: Issuer,
    new: Issuer,
    server: JwksServer,
    issuers: Arc<Issuers>,
}

impl Rig {
    /// The old key is published and was used.
    async fn start() -> Self {
        let (old, new) = (Issuer::new("old", KeyKind::P256), Issuer::new("new", KeyKind::P256));
        let server = JwksServer::start(&jwks(&[old.jwk()])).await;
        let rig = Self { old, new, issuers: Arc::new(issuers(&server.settings())), server };
        rig.verify(&rig.old, NOW).await.unwrap();
        rig
    }

    async fn verify(&self, by: &Issuer, now: u64) -> Result<Verified, TokenProblem> {
        self.issuers.verify(&by.token(&claims_with(json!({"exp": NOW + 1_000_000}))), now).await
    }
}

#[tokio::test]
async fn new_key_is_fetched_when_a_token_needs_it() {
    let rig = Rig::start().await;
    rig.server.say(&jwks(&[rig.old.jwk(), rig.new.jwk()]));
    assert!(rig.verify(&rig.new, NOW + 30).await.is_ok());
    assert!(rig.verify(&rig.old, NOW + 31).await.is_ok());
    assert_eq!(rig.server.asked(), 2);
}

#[tokio::test]
async fn unknown_keys_make_one_fetch_in_thirty_seconds() {
    let rig = Rig::start().await;
    for second in 0..300 {
        for n in 0..3 {
            let unknown = Issuer::new(&format!("unknown {second} {n}"), KeyKind::P256);
            let refused = rig.verify(&unknown, NOW + second).await;
            assert!(matches!(refused, Err(TokenProblem::UnknownKey(_))), "{refused:?}");
        }
        assert_eq!(rig.server.asked() as u64, 1 + second / 30, "at second {second}");
    }
    assert!(rig.verify(&rig.old, NOW + 300).await.is_ok(), "who is known is not disturbed");
}

#[tokio::test]
async fn storm_of_unknown_keys_waits_for_one_fetch() {
    let rig = Rig::start().await;
    rig.server.hold();
    rig.server.say(&jwks(&[rig.new.jwk()]));
    let (issuers, token) = (Arc::clone(&rig.issuers), rig.new.token(&claims()));
    let storm: Vec<_> = (0..100)
        .map(|_| {
            let (issuers, token) = (Arc::clone(&issuers), token.clone());
            tokio::spawn(async move { issuers.verify(&token, NOW + 40).await })
        })
        .collect();
    rig.server.was_asked(2).await;
    rig.server.let_go();
    for one in storm {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(rig.server.asked(), 2);
}

#[tokio::test]
async fn fetch_goes_on_when_who_asked_for_it_hangs_up() {
    let rig = Rig::start().await;
    rig.server.say(&jwks(&[rig.new.jwk()]));
    rig.server.hold();
    {
        let mut impatient = pin!(rig.verify(&rig.new, NOW + 40));
        assert!(futures_util::poll!(impatient.as_mut()).is_pending());
    }
    rig.server.was_asked(2).await;
    rig.server.let_go();
    assert!(rig.verify(&rig.new, NOW + 41).await.is_ok(), "the fetch of the one who left serves the next");
    assert_eq!(rig.server.asked(), 2);
}

#[tokio::test]
async fn known_key_does_not_wait_for_a_fetch() {
    let rig = Rig::start().await;
    rig.server.hold();
    let later = NOW + 11 * MINUTE;
    assert!(rig.verify(&rig.old, later).await.is_ok(), "the keys are refreshed in the background");
    rig.server.was_asked(2).await;
    assert!(rig.verify(&rig.old, later + 1).await.is_ok());
    rig.server.say(&jwks(&[rig.new.jwk()]));
    rig.server.let_go();
    assert!(rig.verify(&rig.new, later + 2).await.is_ok());
    assert_eq!(rig.verify(&rig.old, later + 3).await, Err(TokenProblem::UnknownKey("old".into())), "what was withdrawn is gone");
}

#[tokio::test]
async fn background_refresh_happens_again_and_again() {
    let rig = Rig::start().await;
    for times in 1..5 {
        let now = NOW + times * 10 * MINUTE;
        let asked_again = async {
            // Nobody waits for the fetch: the one before may still have to end.
            while rig.server.asked() as u64 <= times {
                assert!(rig.verify(&rig.old, now).await.is_ok());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), asked_again).await.expect("it is asked again");
    }
    assert_eq!(rig.server.asked(), 5);
}

#[tokio::test]
async fn withdrawn_key_is_not_used_after_a_quiet_hour() {
    let rig = Rig::start().await;
    rig.server.say(&jwks(&[rig.new.jwk()]));
    let refused = rig.verify(&rig.old, NOW + 60 * MINUTE).await;
    assert_eq!(refused, Err(TokenProblem::UnknownKey("old".into())));
}

#[tokio::test]
async fn keys_stay_for_a_day_when_new_ones_cannot_be_had() {
    let mut rig = Rig::start().await;
    rig.server.answer("500 Oh", "", b"");
    let day = 24 * 60 * MINUTE;
    for later in [5 * MINUTE, 20 * MINUTE, 3 * 60 * MINUTE, day - 1] {
        assert!(rig.verify(&rig.old, NOW + later).await.is_ok(), "after {later} s");
    }
    let unknown = rig.verify(&rig.new, NOW + day - 1).await;
    assert_eq!(unknown, Err(TokenProblem::Keys(KeysProblem::Status(500))), "it may be among those that could not be fetched");
    rig.server.stop().await;
    assert!(matches!(rig.verify(&rig.old, NOW + day).await, Err(TokenProblem::Keys(_))), "nobody knows any more");
}

#[tokio::test]
async fn empty_set_does_not_take_the_keys_away() {
    let rig = Rig::start().await;
    rig.server.say(&jwks(&[]));
    assert!(rig.verify(&rig.old, NOW + 2 * 60 * MINUTE).await.is_ok());
    assert_eq!(rig.server.asked(), 2);
}

#[tokio::test]
async fn failed_fetch_is_tried_again_after_thirty_seconds() {
    let issuer = Issuer::new("k", KeyKind::P256);
    let server = JwksServer::start(&jwks(&[issuer.jwk()])).await;
    server.answer("503 Later", "", b"");
    let issuers = issuers(&server.settings());
    let at = async |now| issuers.verify(&issuer.token(&claims()), now).await.map(drop);
    for second in 0..30 {
        assert_eq!(at(NOW + second).await, Err(TokenProblem::Keys(KeysProblem::Status(503))));
    }
    assert_eq!(server.asked(), 1);
    server.say(&jwks(&[issuer.jwk()]));
    assert_eq!(at(NOW + 30).await, Ok(()));
}

#[tokio::test]
async fn clock_that_is_put_back_does_not_freeze_the_keys() {
    let rig = Rig::start().await;
    rig.server.say(&jwks(&[rig.new.jwk()]));
    let token = rig.new.token(&claims_with(json!({"nbf": 0, "iat": 0})));
    assert!(rig.issuers.verify(&token, NOW - 3_600).await.is_ok());
}

#[tokio::test]
async fn file_is_read_again_when_its_keys_change() {
    let (old, new) = (Issuer::new("old", KeyKind::Ed25519), Issuer::new("new", KeyKind::Ed25519));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jwks(&[old.jwk()]).to_string()).unwrap();
    let issuers = issuers(&format!("jwks_file = '{}'", file.path().display()));
    assert!(issuers.verify(&old.token(&claims()), NOW).await.is_ok());
    std::fs::write(file.path(), jwks(&[new.jwk()]).to_string()).unwrap();
    assert!(issuers.verify(&new.token(&claims()), NOW + 30).await.is_ok());
}
