//! Drafts: refused documents that are kept.

use std::time::Duration;

use leasehold::domain::command::{ContentAct, EnvironmentAct, Write};
use leasehold::domain::decision::Reply;
use leasehold::domain::document::{Expect, Origin};
use leasehold::domain::ids::{DraftId, Token, Version};
use leasehold::domain::refusal::Refusal;
use leasehold::domain::settings::SettingsChange;

use super::on_every_engine;
use crate::commands::{content, document, environment, fresh, write, writes};
use crate::engines::Engine;
use crate::rig::Rig;

/// A write by a lease that is gone: kept.
fn keep<E: Engine>(rig: &Rig<E>, token: Token, bytes: &[u8]) -> DraftId {
    match rig.submit(late(token, bytes)) {
        Err(Refusal::Kept { draft, .. }) => draft,
        other => panic!("not kept: {other:?}"),
    }
}

fn late(token: Token, bytes: &[u8]) -> leasehold::domain::command::Command {
    write("dev/app", writes("late", token, Expect::default(), document(bytes)))
}

fn ids<E: Engine>(rig: &Rig<E>) -> Vec<DraftId> {
    rig.drafts("dev/app").iter().map(|draft| draft.id).collect()
}

fn set(change: SettingsChange) -> leasehold::domain::command::Command {
    environment("dev", EnvironmentAct::Set(change))
}

on_every_engine! {
    fn refused_document_is_kept_over_a_restart(rig) {
        let (one, two) = (keep(&rig, Token(1), b"one"), keep(&rig, Token(1), b"two"));
        rig.restart();
        assert_eq!(ids(&rig), [two, one]);
        let draft = rig.drafts("dev/app").pop().unwrap();
        assert_eq!(rig.chunk(draft.body, 0).as_deref(), Some(&b"one"[..]));
        assert_eq!(rig.current("dev/app"), None);
    }

    fn same_document_of_the_same_lease_is_the_same_draft(rig) {
        let one = keep(&rig, Token(1), b"one");
        assert_eq!(keep(&rig, Token(1), b"one"), one);
        assert_ne!(keep(&rig, Token(2), b"one"), one);
        assert_eq!(ids(&rig).len(), 2);
    }

    fn quota_drops_superseded_drafts_first_and_then_refuses(rig) {
        rig.submit(set(SettingsChange { max_drafts: Some(4), ..SettingsChange::default() })).unwrap();
        let a1 = keep(&rig, Token(1), b"a1");
        let a2 = keep(&rig, Token(1), b"a2");
        let b1 = keep(&rig, Token(2), b"b1");
        let b2 = keep(&rig, Token(2), b"b2");
        let body = rig.drafts("dev/app").pop().unwrap().body;
        let c1 = keep(&rig, Token(3), b"c1");
        assert_eq!(ids(&rig), [c1, b2, b1, a2], "the oldest superseded one made room: {a1}");
        assert_eq!(rig.chunk(body, 0), None);
        let d1 = keep(&rig, Token(4), b"d1");
        assert_eq!(ids(&rig), [d1, c1, b2, a2]);
        assert!(matches!(rig.submit(late(Token(5), b"e1")), Err(Refusal::DraftQuota { drafts: 4, .. })));
        rig.restart();
        assert_eq!(ids(&rig), [d1, c1, b2, a2]);
    }

    fn quota_of_bytes_drops_as_many_as_it_takes(rig) {
        rig.submit(set(SettingsChange { max_draft_bytes: Some(1 << 20), ..SettingsChange::default() })).unwrap();
        for n in 0..40_u8 {
            keep(&rig, Token(1), &vec![n; 25_000]);
        }
        let last = keep(&rig, Token(2), &vec![99; 1_000_000]);
        assert_eq!((ids(&rig).len(), ids(&rig)[0]), (2, last));
    }

    fn draft_past_its_life_is_gone_and_is_kept_anew(rig) {
        rig.submit(set(SettingsChange { draft_life: Some(Duration::from_secs(3600)), ..SettingsChange::default() })).unwrap();
        let one = keep(&rig, Token(1), b"one");
        let body = rig.drafts("dev/app")[0].body;
        rig.seconds(3598);
        assert_eq!(ids(&rig), [one]);
        // Nothing has swept it yet when the same document comes again.
        rig.engine().clock().advance(Duration::from_secs(2));
        let again = keep(&rig, Token(1), b"one");
        assert_ne!(again, one);
        assert_eq!(ids(&rig), [again]);
        rig.seconds(4);
        assert_eq!(rig.chunk(body, 0), None, "its bytes are swept");
        assert!(matches!(rig.submit(content("dev/app", ContentAct::DiscardDraft(one))), Err(Refusal::DraftNotFound(_))));
    }

    fn longest_draft_life_is_kept_and_a_longer_one_is_refused(rig) {
        let life = |draft_life| set(SettingsChange { draft_life: Some(draft_life), ..SettingsChange::default() });
        assert!(matches!(rig.submit(life(Duration::MAX)), Err(Refusal::SettingOutOfRange { .. })));
        rig.submit(life(Duration::from_secs(10 * 365 * 24 * 3600))).unwrap();
        let one = keep(&rig, Token(1), b"one");
        rig.restart();
        assert_eq!(ids(&rig), [one]);
    }

    fn discarded_draft_is_gone_with_its_bytes(rig) {
        let one = keep(&rig, Token(1), b"one");
        let body = rig.drafts("dev/app")[0].body;
        assert!(matches!(rig.submit(content("dev/app", ContentAct::DiscardDraft(DraftId(fresh())))), Err(Refusal::DraftNotFound(_))));
        assert!(matches!(rig.submit(content("dev/other", ContentAct::DiscardDraft(one))), Err(Refusal::DraftNotFound(_))));
        assert!(matches!(rig.submit(content("dev/app", ContentAct::DiscardDraft(one))), Ok(Reply::DraftDiscarded)));
        rig.restart();
        assert_eq!((ids(&rig).len(), rig.chunk(body, 0)), (0, None));
    }

    fn promoted_draft_becomes_a_version(rig) {
        let one = keep(&rig, Token(1), b"one");
        let token = rig.lease("dev/app", "a");
        let promote = |draft| {
            let write = Write { origin: Origin::Promote(draft), ..rig.next_write("dev/app", "a", token, document(b"one")) };
            write_command(write)
        };
        assert!(matches!(rig.submit(promote(DraftId(fresh()))), Err(Refusal::DraftNotFound(_))));
        let version = rig.wrote(promote(one));
        assert_eq!((version.version, version.origin), (Version(1), Origin::Promote(one)));
        rig.restart();
        assert_eq!(ids(&rig).len(), 0);
        assert_eq!(rig.chunk(version.body.unwrap(), 0).as_deref(), Some(&b"one"[..]));
    }
}

fn write_command(write: Write) -> leasehold::domain::command::Command {
    crate::commands::write("dev/app", write)
}
