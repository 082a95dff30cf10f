//! LOCK and UNLOCK: every form of them, their exact answers, and what a retry of each is told.

use super::{apply, at, holders, lock, unlock, write};
use crate::support::{on_each_engine, terraform};

const ID: &str = "3fd5aba4-5f5c-c4a5-6d2a-6d27f6f6bd3c";

#[tokio::test]
async fn lock_and_unlock_in_every_form_are_answered_with_exactly_200() {
    on_each_engine(async |server| {
        let http = server.http();
        let body = apply(ID);
        let forms = [
            ("LOCK", "", "UNLOCK", "", &body[..]),
            ("LOCK", "/lock", "UNLOCK", "/lock", &body),
            ("LOCK", "?x=1", "UNLOCK", "?ID=$&x=1", ""),
            // As GitLab has it: its clients name the id in the query, and send a body with DELETE or none.
            ("POST", "/lock", "DELETE", "/lock", &body),
            ("POST", "/lock?ID=$", "DELETE", "/lock?ID=$", ""),
            ("PUT", "/lock", "DELETE", "/lock?ID=$", ""),
        ];
        for (n, (method, target, unlock_method, unlock_target, sent)) in forms.into_iter().enumerate() {
            // One id has one lease for a while, so each form has a state of its own.
            let state = format!("dev/a/b/c/d/e/f/{n}");
            let target = at(&state) + &target.replace('$', ID);
            let answer = http.call(method, &target, body.as_bytes()).await.is(200);
            assert!(answer.said("fencing_token").parse::<u64>().is_ok());
            assert_eq!(holders(server, &state).await, [ID], "{method} {target}");
            let target = at(&state) + &unlock_target.replace('$', ID);
            http.call(unlock_method, &target, sent.as_bytes()).await.is(200);
            assert!(holders(server, &state).await.is_empty(), "{unlock_method} {target}");
            // Given back, not broken.
            assert_eq!(server.api.lock(&state).await.cooldown_ms, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn lock_that_is_sent_again_is_the_same_lease() {
    on_each_engine(async |server| {
        let http = server.http();
        let first = lock(&http, "dev/app", ID).await.is(200).said("fencing_token");
        assert_eq!(lock(&http, "dev/app", ID).await.is(200).said("fencing_token"), first);
        write(&http, "dev/app", ID, &terraform("l", 1, "a")).await.is(200);
        assert_eq!(lock(&http, "dev/app", ID).await.is(200).said("fencing_token"), first);
        lock(&http, "dev/app", "another").await.is(423);
        assert_eq!(holders(server, "dev/app").await, [ID]);
        let lock = server.api.lock("dev/app").await;
        assert_eq!((lock.last_token.to_string(), lock.holders[0].token.to_string()), (first.clone(), first));
    })
    .await;
}

#[tokio::test]
async fn lock_with_an_id_that_was_released_is_refused_and_grants_nothing() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", ID).await.is(200);
        unlock(&http, "dev/app", ID).await.is(200);
        let spent = lock(&http, "dev/app", ID).await.is(409);
        // What a client prints must name the lock, and every client must be able to read it.
        assert!(spent.said("ID").starts_with(ID) && spent.said("Info").contains("was released"), "{}", spent.text());
        assert_eq!(spent.said("Created"), "2026-11-23T15:14:58.199318715Z");
        assert!(holders(server, "dev/app").await.is_empty());
        lock(&http, "dev/app", "another").await.is(200);
        lock(&http, "dev/app", ID).await.is(409);
    })
    .await;
}

#[tokio::test]
async fn lock_with_an_id_that_was_broken_is_refused_and_its_unlock_too() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", ID).await.is(200);
        super::force(&http, "dev/app").await.is(200);
        let spent = lock(&http, "dev/app", ID).await.is(409);
        assert!(spent.said("Info").contains("force-unlock"), "{}", spent.text());
        unlock(&http, "dev/app", ID).await.refused(409, "LEASE_LOST");
    })
    .await;
}

#[tokio::test]
async fn unlock_is_repeated_without_harm_and_never_ends_a_lease_of_another_id() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", ID).await.is(200);
        unlock(&http, "dev/app", ID).await.is(200);
        unlock(&http, "dev/app", ID).await.is(200);
        lock(&http, "dev/app", "next").await.is(200);
        unlock(&http, "dev/app", ID).await.is(200);
        assert_eq!(holders(server, "dev/app").await, ["next"]);
        // The answer to one who means nobody names the one who holds it.
        let unknown = unlock(&http, "dev/app", "never-seen").await.is(409);
        assert!(unknown.said("ID").starts_with("next"), "{}", unknown.text());
        assert_eq!(holders(server, "dev/app").await, ["next"]);
        unlock(&http, "dev/app", "next").await.is(200);
        unlock(&http, "dev/app", "never-seen").await.refused(409, "SESSION_UNKNOWN");
        unlock(&http, "dev/never-locked", ID).await.refused(409, "SESSION_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn ids_that_differ_after_a_space_are_not_one_lock() {
    on_each_engine(async |server| {
        let http = server.http();
        lock(&http, "dev/app", "migration 1").await.refused(400, "SESSION_INVALID");
        lock(&http, "dev/app", "migration").await.is(200);
        lock(&http, "dev/app", "migration 2").await.refused(400, "SESSION_INVALID");
        write(&http, "dev/app", "migration%202", &terraform("l", 1, "a")).await.refused(400, "SESSION_INVALID");
        assert_eq!(holders(server, "dev/app").await, ["migration"]);
    })
    .await;
}

#[tokio::test]
async fn lease_of_the_door_is_shown_as_what_it_is() {
    on_each_engine(async |server| {
        lock(&server.http(), "dev/app", ID).await.is(200);
        let holder = server.api.lock("dev/app").await.holders.remove(0);
        assert!(holder.unattended && holder.claimed && holder.remaining_ms == 0 && !holder.overdue);
        let labels = holder.labels.unwrap();
        assert_eq!(
            [labels.who, labels.host, labels.operation, labels.tool_version],
            ["user", "host", "OperationTypeApply", "1.11.4"]
        );
    })
    .await;
}

#[tokio::test]
async fn one_with_a_lock_id_of_its_own_unlocks_by_it_even_if_it_says_nothing_else() {
    on_each_engine(async |server| {
        let http = server.http();
        // A script that sends the id alone both times is no force-unlock: nothing was broken, and no lock delay runs.
        let only_id = r#"{"ID":"script-1"}"#.as_bytes();
        http.call("LOCK", &at("dev/app"), only_id).await.is(200);
        http.call("UNLOCK", &at("dev/app"), only_id).await.is(200);
        lock(&http, "dev/app", "next").await.is(200);
    })
    .await;
}
