//! The fenced commit, drafts, and requests that are repeated.

use super::*;

rule!(write_under_a_lease_that_died_is_kept_as_a_draft, |w: &mut World| {
    let dead = w.hold(ALICE, EXCLUSIVE);
    w.pass(8_000);
    let token = w.hold(BOB, EXCLUSIVE);
    assert_eq!(wrote(&w.write(BOB, token)), 1);
    w.pause();
    let reply = w.write(ALICE, dead);
    assert_eq!(refused(&reply), "LEASE_LOST");
    w.pause();
    assert_eq!(w.driver.drafts_of(LOCK), [draft(&reply)]);
    assert_eq!(w.driver.look(LOCK).newest.flatten().map(|newest| newest.version), Some(1));
});

rule!(write_that_is_refused_twice_is_one_draft, |w: &mut World| {
    let dead = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    let write = w.next(dead);
    let first = draft(&w.put(ALICE, write.clone()));
    w.pause();
    assert_eq!(draft(&w.put(ALICE, Write { draft: 77, ..write })), first);
    assert_eq!(w.driver.drafts_of(LOCK), [first]);
});

rule!(write_that_is_refused_again_after_its_draft_expired_is_kept_anew, |w: &mut World| {
    let write = expired_draft(w);
    w.pause();
    let again = draft(&w.put(ALICE, Write { draft: 77, ..write }));
    assert_eq!((again, w.driver.drafts_of(LOCK)), (77, vec![77]));
});

rule!(promote_of_a_draft_that_expired_is_refused, |w: &mut World| {
    let write = expired_draft(w);
    let token = w.hold(BOB, EXCLUSIVE);
    w.pause();
    let promote = Write { origin: Origin::Promote(write.draft), ..w.next(token) };
    assert_eq!(refused(&w.put(BOB, promote)), "DRAFT_NOT_FOUND");
    assert_eq!(refused(&w.call(BOB, Call::Discard { lock: LOCK, draft: write.draft })), "DRAFT_NOT_FOUND");
});

rule!(promote_makes_a_draft_the_next_version, |w: &mut World| {
    let dead = w.hold(ALICE, EXCLUSIVE);
    w.pass(8_000);
    let token = w.hold(BOB, EXCLUSIVE);
    let draft = draft(&w.write(ALICE, dead));
    w.pause();
    let promote = Write { origin: Origin::Promote(draft), ..w.next(dead) };
    assert_eq!(refused(&w.put(ALICE, promote)), "LEASE_LOST");
    assert_eq!(w.driver.drafts_of(LOCK), [draft]);
    let promote = Write { origin: Origin::Promote(draft), ..w.next(token) };
    assert_eq!(wrote(&w.put(BOB, promote)), 1);
    assert!((w.driver.drafts_of(LOCK)).is_empty());
});

rule!(write_on_top_of_another_version_is_refused, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.write(ALICE, token);
    let second = w.next(token);
    w.put(ALICE, second.clone());
    w.pause();
    let late = Write { bytes: Some(9), terraform: Some((1, 9)), draft: 90, ..second.clone() };
    assert_eq!(refused(&w.put(ALICE, late)), "VERSION_CONFLICT");
    // The right version with another etag is another version.
    let forged = Write { bytes: Some(8), terraform: Some((1, 8)), draft: 80, expect: (2, Some(5)), ..second };
    assert_eq!(refused(&w.put(ALICE, forged)), "VERSION_CONFLICT");
    assert_eq!(w.driver.drafts_of(LOCK), [80, 90]);
});

rule!(write_of_terraform_needs_its_lineage_and_a_higher_serial, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.write(ALICE, token);
    w.pause();
    let next = w.next(token);
    let with =
        |terraform, n, rewrite| Write { terraform: Some(terraform), bytes: Some(n), draft: n.into(), rewrite, ..next.clone() };
    assert_eq!(refused(&w.put(ALICE, with((1, 1), 50, false))), "SERIAL_NOT_HIGHER");
    assert_eq!(refused(&w.put(ALICE, with((2, 5), 51, false))), "LINEAGE_DIFFERS");
    assert_eq!(w.driver.drafts_of(LOCK), [51, 50]);
    assert_eq!(wrote(&w.put(ALICE, with((2, 0), 52, true))), 2);
});

rule!(write_of_what_is_current_is_a_replay_before_the_lease_is_looked_at, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    let write = w.next(token);
    w.put(ALICE, write.clone());
    w.release(ALICE, token);
    w.pause();
    assert!(matches!(w.put(ALICE, write.clone()), Reply::Wrote { replayed: true, version } if version.version == 1));
    // Only its writer is told so.
    assert_eq!(refused(&w.put(BOB, write)), "LEASE_FOREIGN");
});

rule!(delete_and_write_again_goes_on_counting, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.write(ALICE, token);
    let delete = Write { origin: Origin::Delete, bytes: None, terraform: None, ..w.next(token) };
    assert_eq!(wrote(&w.put(ALICE, delete.clone())), 2);
    w.pause();
    assert_eq!(refused(&w.put(ALICE, Write { expect: w.next(token).expect, ..delete })), "STATE_NOT_FOUND");
    let reply = w.write(ALICE, token);
    assert_eq!(wrote(&reply), 3);
});

rule!(request_repeated_after_its_lease_died_is_answered_as_then, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    let first = w.write(ALICE, token);
    w.pass(8_000);
    w.pause();
    w.hold(BOB, EXCLUSIVE);
    let Reply::Wrote { version, replayed: true } = w.driver.repeat(1) else { panic!("not repeated") };
    assert_eq!(Reply::Wrote { version, replayed: false }, first);
});

rule!(request_that_was_refused_is_decided_anew, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    assert_eq!(refused(&w.acquire(BOB, EXCLUSIVE)), "LEASE_HELD");
    w.pause();
    w.release(ALICE, token);
    assert!(matches!(w.driver.repeat(1), Reply::Held { .. }));
});

rule!(request_is_forgotten_after_a_while, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    w.release(ALICE, token);
    w.idle(118);
    w.pause();
    assert_eq!(refused(&w.driver.repeat(1)), "ACQUIRE_DEAD");
    w.idle(2);
    assert!(matches!(w.driver.repeat(1), Reply::Held { .. }));
});

rule!(purge_leaves_the_current_version_and_every_row, |w: &mut World| {
    let token = w.hold(ALICE, EXCLUSIVE);
    (0..3).for_each(|_| drop(w.write(ALICE, token)));
    assert_eq!(refused(&w.call(ALICE, Call::Purge { lock: LOCK, version: Some(3) })), "VERSION_CURRENT");
    assert_eq!(w.call(ALICE, Call::Purge { lock: LOCK, version: None }), Reply::Purged(2));
    w.pause();
    w.driver.step(Step::Read(LOCK, crate::script::Read::History));
    let Some(Reply::Versions(rows)) = w.driver.history.0.last().map(|record| record.reply.clone()) else { panic!("not read") };
    assert_eq!(rows.iter().map(|row| row.bytes).collect::<Vec<_>>(), [Some(true), None, None]);
});

/// A write whose draft has just expired.
fn expired_draft(w: &mut World) -> Write {
    w.call(ALICE, Call::SetDraftLife { env: 0, life: 3_600_000_000 });
    let dead = w.hold(ALICE, EXCLUSIVE);
    w.pass(5_000);
    let write = w.next(dead);
    assert_eq!(draft(&w.put(ALICE, write.clone())), write.draft);
    w.idle(3_600);
    assert!((w.driver.drafts_of(LOCK)).is_empty());
    write
}
