//! The audit: a row for every act, in its transaction; none for what only waits, was refused without effect, or was answered before.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use leasehold::domain::access::{AccessAct, Grant, Maker, Scope, TokenRecord, Verb};
use leasehold::domain::audit::{AuditAct, Checkpoint, Deed, Entry};
use leasehold::domain::command::{Act, Break, Command, ContentAct, EnvironmentAct, KeyAct, LockAct, StoreAct, Trace, Write};
use leasehold::domain::decision::Reply;
use leasehold::domain::document::{Expect, Origin};
use leasehold::domain::ids::{DraftId, GrantId, RequestId, Token, TokenHash, Version};
use leasehold::domain::lock::Mode;
use leasehold::domain::names::Labels;
use leasehold::domain::refusal::Refusal;
use leasehold::domain::sealing::Verified;
use leasehold::domain::settings::SettingsChange;
use leasehold::domain::time::WallTime;
use leasehold::store::{Query, Rows};
use serde_json::{Value, json};

use super::on_every_engine;
use crate::commands::{
    acquire, asks, command, content, create, document, environment, fresh, identity, keyring, lock, release, renew, with_request,
    write, writes,
};
use crate::engines::Engine;
use crate::rig::Rig;

impl<E: Engine> Rig<E> {
    fn audit(&self) -> Vec<Value> {
        let Rows::Audit(rows) = self.select(Query::Audit { after: 0, limit: usize::MAX }) else { panic!("other rows") };
        let head = self.engine().store().head().borrow().audit;
        assert!(rows.iter().map(|(n, _)| *n).eq(1..=head), "without gaps up to the head");
        rows.iter().map(|(_, row)| serde_json::from_str(row).unwrap()).collect()
    }

    /// What the rows after `from` say, in short.
    fn said(&self, from: usize) -> Vec<String> {
        let word = |row: &Value, field: &str| row[field].as_str().unwrap_or("-").to_owned();
        let short = |row: &Value| ["who", "verb", "act", "on", "outcome"].map(|field| word(row, field)).join(" ");
        self.audit()[from..].iter().map(short).collect()
    }

    pub(super) fn access(&self, act: AccessAct) -> Result<Reply, Refusal> {
        self.submit(command(Act::Store(Box::new(StoreAct::Access(act)))))
    }

    fn audits(&self, act: AuditAct) {
        self.submit(command(Act::Store(Box::new(StoreAct::Audit(act))))).unwrap();
    }

    fn checkpoints(&self, query: Query) -> Vec<u64> {
        match self.select(query) {
            Rows::Checkpoints(found) => found.iter().map(|checkpoint| checkpoint.n).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn breaks(token: Option<Token>, take: Option<&str>) -> Command {
    let take = take.map(|session| asks(session, Mode::Exclusive, true));
    let reason = "a reason".parse().unwrap();
    lock("dev/app", LockAct::Break(Break { token, reason, now: true, forced: false, take }))
}

fn token_named(name: &str) -> TokenRecord {
    let name: leasehold::domain::access::TokenName = name.parse().unwrap();
    TokenRecord {
        principal: name.principal(),
        hash: TokenHash([9; 32]),
        maker: Maker::Init,
        scopes: vec![Scope::new(leasehold::domain::access::Role::Reader.verbs(), "prod/**".parse().unwrap())],
        made: WallTime(0),
        expires: None,
        revoked: None,
        used: None,
        exchanged: None,
        name,
    }
}

on_every_engine! {
    /// The list of acts is exhaustive: a new one fails here, until somebody has thought of its row.
    fn every_kind_of_act_has_its_row(rig) {
        let (app, other) = ("dev/app", "dev/other");
        let token = rig.lease(app, "a");
        let current = rig.write(app, "a", token, document(b"1"));
        let back = Write { origin: Origin::Rollback(current.version), ..rig.next_write(app, "a", token, document(b"1")) };
        rig.wrote(write(app, back));
        let stale = writes("a", token, Expect::default(), document(b"2"));
        let Err(Refusal::Kept { draft, .. }) = rig.submit(write(app, stale)) else { panic!("not kept") };
        let stale = writes("a", token, Expect::default(), document(b"3"));
        let Err(Refusal::Kept { draft: second, .. }) = rig.submit(write(app, stale)) else { panic!("not kept") };
        let promote = Write { origin: Origin::Promote(draft), ..rig.next_write(app, "a", token, document(b"2")) };
        rig.wrote(write(app, promote));
        rig.submit(content(app, ContentAct::DiscardDraft(second))).unwrap();
        let again = Write { rewrite: true, ..rig.next_write(app, "a", token, document(b"4")) };
        rig.wrote(write(app, again));
        rig.submit(content(app, ContentAct::Purge(Some(Version(1))))).unwrap();
        rig.delete(app, "a", token);
        rig.submit(lock(app, LockAct::Freeze("a reason".parse().unwrap()))).unwrap();
        rig.submit(lock(app, LockAct::Unfreeze)).unwrap();
        rig.submit(breaks(Some(token), Some("b"))).unwrap();
        let taken = rig.lock(app).holders[0].token;
        rig.submit(lock(app, LockAct::TakeBack { session: "b".parse().unwrap(), token: taken, asked: 0 })).unwrap();
        let lost = rig.lease(other, "c");
        rig.seconds(60);
        let back = rig.held(lock(other, LockAct::Reacquire { session: "c".parse().unwrap(), old: lost })).token;
        rig.submit(lock(other, LockAct::Release { session: "c".parse().unwrap(), token: back, abandoned: true })).unwrap();
        rig.seconds(60);
        let shared = rig.held(lock(other, LockAct::Acquire(asks("d", Mode::Shared, false)))).token;
        rig.release(other, "d", shared);
        let set = SettingsChange { max_drafts: Some(9), ..SettingsChange::default() };
        rig.submit(environment("dev", EnvironmentAct::Set(set))).unwrap();
        rig.submit(environment("dev", EnvironmentAct::Freeze("a reason".parse().unwrap()))).unwrap();
        rig.submit(environment("dev", EnvironmentAct::Unfreeze)).unwrap();
        let keys = |act: KeyAct| rig.submit(environment("dev", EnvironmentAct::Keys(Box::new(act)))).unwrap();
        let ring = keyring();
        keys(KeyAct::Rules { revision: 0, rules: Vec::new(), vouched: [0; 32] });
        let revision = |rig: &Rig<E>| match rig.select(Query::Keyring("dev".parse().unwrap())) {
            Rows::Keyrings(rings) => rings[0].1.revision,
            other => panic!("{other:?}"),
        };
        let (secret, signer) = (ring.secret.clone(), ring.signer.1.clone());
        keys(KeyAct::Master { revision: revision(&rig), secret: secret.clone(), signer: signer.clone(), identities: Vec::new() });
        let begin = KeyAct::BeginRewrap { revision: revision(&rig), identity: identity(2), secret, signer, recovery: Vec::new(), vouched: [0; 32] };
        let job = fresh();
        let begin = environment("dev", EnvironmentAct::Keys(Box::new(begin)));
        rig.submit(with_request(begin, job, 1)).unwrap();
        // Its steps are no rows of their own.
        let Rows::DataKeys(mut wrapped) = rig.select(Query::DataKeys {
            environment: "dev".parse().unwrap(), which: leasehold::store::WhichKeys::All, after: None, limit: 100,
        }) else { panic!("other rows") };
        wrapped.iter_mut().for_each(|key| key.identity = 2);
        keys(KeyAct::Rewrapped { job: RequestId(job), keys: wrapped });
        keys(KeyAct::Finish { job: RequestId(job) });
        keys(KeyAct::Destroy);
        keys(KeyAct::Verified { verified: Verified { finished: WallTime(0), documents: 3, failures: 1 }, vouched: [0; 32] });
        let job = fresh();
        let begin = environment("dev", EnvironmentAct::Keys(Box::new(KeyAct::BeginReencrypt { total: 0, epoch: 2, vouched: [0; 32] })));
        rig.submit(with_request(begin, job, 1)).unwrap();
        rig.access(AccessAct::CreateToken(Box::new(token_named("ci")))).unwrap();
        let scope = Scope::new(leasehold::domain::access::Verbs::of(&[Verb::ReadFull]), "prod/**".parse().unwrap());
        let (id, by) = (GrantId(fresh()), "boss".parse().unwrap());
        rig.access(AccessAct::Grant(Grant { id, to: "token:ci".parse().unwrap(), scope, by, made: WallTime(0) })).unwrap();
        rig.access(AccessAct::RevokeGrant(id)).unwrap();
        rig.access(AccessAct::Used(vec![("ci".parse().unwrap(), WallTime(7))])).unwrap();
        rig.access(AccessAct::Forget(WallTime(0))).unwrap();
        rig.access(AccessAct::RevokeToken("ci".parse().unwrap())).unwrap();
        rig.audits(AuditAct::Read(Box::new(Entry { verb: Some(Verb::ReadFull), ..Entry::new(Deed::Read, app) })));
        rig.audits(AuditAct::Record(vec![Entry::new(Deed::Denied, app), Entry::new(Deed::Unauthenticated, "/")]));
        rig.audits(AuditAct::Checkpoint(Checkpoint { n: 1, text: "{}".to_owned() }));
        rig.submit(environment("dev", EnvironmentAct::Delete { force: true })).unwrap();

        let said = rig.said(0);
        assert_eq!(said, [
            "ci admin environment.create dev done",
            "ci lease.exclusive lease.acquire dev/app done",
            "ci write state.write dev/app done",
            "ci rollback state.rollback dev/app done",
            "ci write state.write dev/app refused: VERSION_CONFLICT",
            "ci write state.write dev/app refused: VERSION_CONFLICT",
            "ci promote state.promote dev/app done",
            "ci write draft.discard dev/app done",
            "ci rewrite state.write dev/app done",
            "ci admin state.purge dev/app done",
            "ci write state.delete dev/app done",
            "ci admin lock.freeze dev/app done",
            "ci admin lock.unfreeze dev/app done",
            "ci break lease.break dev/app done",
            "ci lease.exclusive lease.acquire dev/app done",
            "ci lease.exclusive lease.takeback dev/app done",
            "ci lease.exclusive lease.acquire dev/other done",
            "ci lease.exclusive lease.reacquire dev/other done",
            "ci lease.exclusive lease.abandon dev/other done",
            "ci lease.shared lease.acquire dev/other done",
            "ci lease.shared lease.release dev/other done",
            "ci admin environment.set dev done",
            "ci admin environment.freeze dev done",
            "ci admin environment.unfreeze dev done",
            "ci admin keys.rules dev done",
            "ci keys keys.master dev done",
            "ci keys keys.rewrap dev done",
            "ci keys keys.finish dev done",
            "ci keys keys.destroy dev done",
            "ci keys keys.verify dev done",
            "ci keys keys.reencrypt dev done",
            "ci admin token.create / done",
            "ci admin access.grant / done",
            "ci admin access.revoke / done",
            "ci admin token.revoke / done",
            "- read.full read dev/app done",
            "- - denied dev/app done",
            "- - unauthenticated / done",
            "ci admin environment.delete dev done",
        ]);
        // What only the service says is not an act on the store: reads and the like are recorded as they are handed in.
        let by_the_service = [Deed::Diff, Deed::ServerLock, Deed::ServerUnlock, Deed::ServerHistory, Deed::AuditKey];
        let seen: BTreeSet<String> = rig.audit().iter().map(|row| row["act"].as_str().unwrap().to_owned()).collect();
        let all = Deed::ALL.iter().filter(|deed| !by_the_service.contains(deed)).map(|deed| deed.as_str().to_owned());
        assert_eq!(seen, all.collect());
    }

    fn rows_name_lease_version_reason_labels_and_where_it_came_from(rig) {
        let labels = Labels { run_url: "https://ci/1".to_owned(), commit: "abc".to_owned(), who: "ann".to_owned(), ..Labels::default() };
        let vouched = Labels { run_url: "https://vouched/1".to_owned(), ..Labels::default() };
        let trace = Arc::new(Trace { peer: Some(IpAddr::from([10, 0, 0, 7])), labels: vouched });
        let from = |command: Command| Command { trace: Arc::clone(&trace), ..command };
        let acquire = lock("dev/app", LockAct::Acquire(leasehold::domain::command::Acquire { labels, ..asks("a", Mode::Exclusive, false) }));
        let token = rig.held(from(acquire)).token;
        let version = rig.wrote(from(write("dev/app", rig.next_write("dev/app", "a", token, document(b"1")))));
        let reason = "it hangs".parse().unwrap();
        rig.submit(from(lock("dev/app", LockAct::Break(Break { token: Some(token), reason, now: true, forced: false, take: None })))).unwrap();
        let mut rows = rig.audit();
        let at = rows[1]["at"].as_i64().unwrap();
        assert!(at >= 1_700_000_000_000, "{at}");
        rows.iter_mut().for_each(|row| { row.as_object_mut().unwrap().remove("at"); });
        let (labels, vouched) = (json!({"run_url": "https://ci/1", "commit": "abc"}), json!({"run_url": "https://vouched/1"}));
        let token = token.to_string();
        assert_eq!(rows[1..], [
            json!({"n": 2, "who": "ci", "verb": "lease.exclusive", "act": "lease.acquire", "on": "dev/app", "outcome": "done",
                "session": "a", "token": token, "labels": labels, "vouched": vouched, "from": "10.0.0.7"}),
            json!({"n": 3, "who": "ci", "verb": "write", "act": "state.write", "on": "dev/app", "outcome": "done",
                "version": version.version.0, "session": "a", "token": token, "labels": labels, "vouched": vouched, "from": "10.0.0.7"}),
            json!({"n": 4, "who": "ci", "verb": "break", "act": "lease.break", "on": "dev/app", "outcome": "done", "session": "a",
                "token": token, "detail": "held by ci", "reason": "it hangs", "labels": labels, "vouched": vouched, "from": "10.0.0.7"}),
        ]);
    }

    fn what_only_waits_renews_or_is_refused_without_effect_leaves_no_row(rig) {
        let token = rig.lease("dev/app", "a");
        let before = rig.audit().len();
        for _ in 0..3 {
            rig.renew("dev/app", "a", token);
            assert!(rig.submit(acquire("dev/app", "b", false)).is_err());
            rig.queue("dev/app", "c", Mode::Exclusive);
            assert!(rig.submit(release("dev/app", "b", token)).is_err());
            assert!(rig.submit(renew("dev/app", "a", Token(token.0 + 1))).is_err());
            assert!(rig.submit(create("dev")).is_err());
            assert!(rig.submit(breaks(Some(Token(1)), None)).is_err());
            assert!(rig.submit(content("dev/app", ContentAct::DiscardDraft(DraftId(fresh())))).is_err());
            assert!(rig.submit(content("none/app", ContentAct::Purge(None))).is_err());
        }
        let cancel = LockAct::Cancel { ticket: None, session: Some("c".parse().unwrap()) };
        rig.submit(lock("dev/app", cancel)).unwrap();
        assert_eq!(rig.said(before), [""; 0]);
    }

    fn grant_out_of_the_queue_is_a_row_of_who_got_it(rig) {
        let token = rig.lease("dev/app", "a");
        let queued = Command { principal: "waiter".parse().unwrap(), ..acquire("dev/app", "b", true) };
        assert!(matches!(rig.submit(queued), Ok(Reply::Queued(_))));
        let before = rig.audit().len();
        rig.release("dev/app", "a", token);
        assert_eq!(rig.said(before), ["ci lease.exclusive lease.release dev/app done", "waiter lease.exclusive lease.acquire dev/app done"]);
        let row = &rig.audit()[before + 1];
        assert_eq!((row["session"].as_str(), row["detail"].as_str()), (Some("b"), Some("from the queue")));
        assert!(row.get("from").is_none(), "who made room has nothing to do with it");
        // An offer that nobody takes up is nobody's act, but it makes room as well.
        let queued = Command { principal: "next".parse().unwrap(), ..acquire("dev/app", "c", true) };
        assert!(matches!(rig.submit(queued), Ok(Reply::Queued(_))));
        let before = rig.audit().len();
        rig.seconds(20);
        assert_eq!(rig.said(before), ["next lease.exclusive lease.acquire dev/app done"]);
    }

    fn replay_of_an_act_adds_no_row_whatever_it_was(rig) {
        let mut replayed = 0;
        let mut twice = |rig: &Rig<E>, command: Command| {
            let command = with_request(command, fresh(), 1);
            let first = rig.submit(command.clone());
            let rows = rig.audit().len();
            let again = rig.submit(command);
            assert_eq!(first.is_ok(), again.is_ok(), "{first:?} {again:?}");
            assert_eq!(rig.audit().len(), rows, "{:?}", rig.said(rows));
            replayed += 1;
            first
        };
        let Ok(Reply::Held(grant)) = twice(&rig, acquire("dev/app", "a", false)) else { panic!("not granted") };
        let token = grant.token;
        twice(&rig, write("dev/app", rig.next_write("dev/app", "a", token, document(b"1")))).unwrap();
        let kept = twice(&rig, write("dev/app", writes("a", token, Expect::default(), document(b"2"))));
        let draft = kept.unwrap_err().draft().unwrap();
        twice(&rig, content("dev/app", ContentAct::DiscardDraft(draft))).unwrap();
        twice(&rig, write("dev/app", rig.next_write("dev/app", "a", token, document(b"3")))).unwrap();
        twice(&rig, content("dev/app", ContentAct::Purge(Some(Version(1))))).unwrap();
        twice(&rig, lock("dev/app", LockAct::Freeze("a reason".parse().unwrap()))).unwrap();
        twice(&rig, lock("dev/app", LockAct::Unfreeze)).unwrap();
        twice(&rig, breaks(Some(token), None)).unwrap();
        twice(&rig, environment("dev", EnvironmentAct::Freeze("a reason".parse().unwrap()))).unwrap();
        twice(&rig, environment("dev", EnvironmentAct::Unfreeze)).unwrap();
        twice(&rig, create("more")).unwrap();
        twice(&rig, command(Act::Store(Box::new(StoreAct::Access(AccessAct::CreateToken(Box::new(token_named("x")))))))).unwrap();
        assert_eq!(replayed, 13);
        // The same document refused again is the same draft, and no other row.
        let token = rig.lease("dev/app", "b");
        let late = || write("dev/app", writes("b", token, Expect::default(), document(b"late")));
        assert!(rig.submit(late()).is_err());
        let rows = rig.audit().len();
        assert!(rig.submit(late()).is_err());
        assert_eq!(rig.audit().len(), rows);
    }

    fn rows_survive_restarts_and_go_on_without_gaps_beyond_what_was_sealed(rig) {
        for n in 0..5 {
            rig.lease(&format!("dev/app{n}"), "a");
            rig.restart();
        }
        let rows = rig.audit();
        assert_eq!(rows.len(), 6);
        rig.audits(AuditAct::Checkpoint(Checkpoint { n: 0, text: "begin".to_owned() }));
        rig.audits(AuditAct::Checkpoint(Checkpoint { n: 3, text: "three".to_owned() }));
        rig.audits(AuditAct::Checkpoint(Checkpoint { n: 6, text: "six".to_owned() }));
        rig.restart();
        assert_eq!(rig.audit(), rows, "a checkpoint is no row");
        assert_eq!(rig.checkpoints(Query::Checkpoint(None)), [6]);
        assert_eq!(rig.checkpoints(Query::Checkpoint(Some(5))), [3]);
        assert_eq!(rig.checkpoints(Query::Checkpoint(Some(0))), [0]);
        assert_eq!(rig.checkpoints(Query::Checkpoint(Some(u64::MAX))), [6]);
        assert_eq!(rig.checkpoints(Query::Checkpoints { after: 0, limit: 9 }), [3, 6]);
        assert_eq!(rig.checkpoints(Query::Checkpoints { after: 0, limit: 1 }), [3]);
        assert_eq!(rig.checkpoints(Query::Checkpoints { after: u64::MAX, limit: 1 }), [0; 0]);
        let Rows::Audit(page) = rig.select(Query::Audit { after: 2, limit: 2 }) else { panic!("other rows") };
        assert_eq!(page.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [3, 4]);
    }
}
