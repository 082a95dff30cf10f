//! Keys: what documents are sealed on, values shared and collected, rotations and what ends them.

use leasehold::domain::command::{Ahead, Command, ContentAct, EnvironmentAct, KeyAct, Resealed, Write};
use leasehold::domain::decision::Reply;
use leasehold::domain::document::{Content, Expect, VersionMeta};
use leasehold::domain::environment::Environment;
use leasehold::domain::ids::{BodyId, DataKeyId, DraftId, RequestId, StateId, Token, Version};
use leasehold::domain::refusal::Refusal;
use leasehold::domain::sealing::{
    DataKeyRecord, Ground, IdentityRecord, KeyStatus, Keyring, NewValue, Ordinals, StoredValue, Target, UnderMaster, Verified,
    Wrapped,
};
use leasehold::domain::settings::SettingsChange;
use leasehold::domain::time::WallTime;
use leasehold::store::{Document, Query, Rows, WhichDocuments, WhichKeys};

use super::on_every_engine;
use crate::commands::{content, document, environment, fresh, identity, seal_on, with_request, write, writes};
use crate::engines::{Engine, OnSqlite};
use crate::rig::Rig;

const JOB: [u8; 16] = [9; 16];

/// A document with so many new values, and these of all.
fn sealing(bytes: &[u8], new: u32, ordinals: impl IntoIterator<Item = u32>) -> Content {
    let value = |_| {
        let mut tag = [0; 24];
        tag[..16].copy_from_slice(&fresh());
        NewValue { ordinal: 0, tag, sealed: StoredValue::Inline(tag.to_vec()) }
    };
    Content { values: (0..new).map(value).collect(), ordinals: Ordinals::of(ordinals), ..document(bytes) }
}

fn act(act: KeyAct) -> Command {
    environment("dev", EnvironmentAct::Keys(Box::new(act)))
}

/// What came of an act: the keyring, how much was done, how much was not.
fn done<E: Engine>(rig: &Rig<E>, command: Command) -> (Keyring, u64, u64) {
    match rig.submit(command) {
        Ok(Reply::Keys { keyring, done, skipped }) => (*keyring, done, skipped),
        other => panic!("{other:?}"),
    }
}

fn refusal<E: Engine>(rig: &Rig<E>, keys: KeyAct) -> Refusal {
    rig.submit(act(keys)).expect_err("refused")
}

/// As it is handed in: not put on the ground of now.
fn raw<E: Engine>(rig: &Rig<E>, command: Command) -> Result<Reply, Refusal> {
    rig.wait(rig.engine().store().submit(command)).unwrap()
}

fn keyring<E: Engine>(rig: &Rig<E>) -> (Environment, Keyring) {
    match rig.select(Query::Keyring("dev".parse().unwrap())) {
        Rows::Keyrings(mut found) => found.pop().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn ground<E: Engine>(rig: &Rig<E>, state: StateId) -> Option<(Ground, DataKeyRecord)> {
    match rig.select(Query::Ground(state)) {
        Rows::Grounds(mut found) => found.pop(),
        other => panic!("{other:?}"),
    }
}

fn data_keys<E: Engine>(rig: &Rig<E>, which: WhichKeys) -> Vec<DataKeyRecord> {
    match rig.select(Query::DataKeys { environment: "dev".parse().unwrap(), which, after: None, limit: 100 }) {
        Rows::DataKeys(found) => found,
        other => panic!("{other:?}"),
    }
}

fn documents<E: Engine>(rig: &Rig<E>, which: WhichDocuments) -> Vec<String> {
    let query = Query::Documents { environment: "dev".parse().unwrap(), which, after: None, limit: 100 };
    let Rows::Documents(found) = rig.select(query) else { panic!("documents") };
    let name = |document| match document {
        Document::Version(version) => version.version.to_string(),
        Document::Draft(_) => "draft".to_owned(),
    };
    found.into_iter().map(|(path, document)| format!("{path} {}", name(document))).collect()
}

/// Which of the values are there.
fn values<E: Engine>(rig: &Rig<E>, key: DataKeyId, ordinals: &[u32]) -> Vec<u32> {
    let Rows::Values(found) = rig.select(Query::Values { key, ordinals: ordinals.to_vec() }) else { panic!("values") };
    ordinals.iter().zip(found).filter_map(|(ordinal, value)| value.map(|_| *ordinal)).collect()
}

fn census<E: Engine>(rig: &Rig<E>) -> (u64, u64) {
    match rig.select(Query::Census("dev".parse().unwrap())) {
        Rows::Census { documents, values, .. } => (documents, values),
        other => panic!("{other:?}"),
    }
}

fn purge(version: Option<u64>) -> Command {
    content("dev/app", ContentAct::Purge(version.map(Version)))
}

/// The same version under what its state is sealed on after `before`, and that.
fn resealed<E: Engine>(rig: &Rig<E>, version: &VersionMeta, before: Option<Ground>, content: Content) -> (Resealed, Ground) {
    let (environment, _) = keyring(rig);
    let before = before.or_else(|| ground(rig, version.state).map(|(ground, _)| ground));
    let mut content = content;
    seal_on(&mut content, before, version.state, &environment, version.version);
    let after = Ground { next_ordinal: content.ground.next_ordinal + content.values.len() as u32, ..content.ground };
    let (path, target) = (version.path.clone(), Target::Version(version.version));
    (Resealed { path, target, old: version.body.unwrap(), content }, after)
}

fn reencrypt<E: Engine>(rig: &Rig<E>) {
    done(rig, with_request(act(KeyAct::BeginReencrypt { total: 1, epoch: 2, vouched: [4; 32] }), JOB, 1));
}

fn reseal(documents: Vec<Resealed>) -> Command {
    act(KeyAct::Resealed { job: Some(RequestId(JOB)), cursor: Some("app".parse().unwrap()), documents })
}

fn retire(keys: &[DataKeyId]) -> Command {
    act(KeyAct::Retire { job: RequestId(JOB), keys: keys.to_vec() })
}

fn finish() -> Command {
    act(KeyAct::Finish { job: RequestId(JOB) })
}

fn under(what: &str) -> UnderMaster {
    UnderMaster { master: "age1master".to_owned(), wrapped: Wrapped(what.as_bytes().to_vec()) }
}

fn begin_rewrap(revision: u64, version: u32) -> KeyAct {
    let recovery = vec!["age1recovery".to_owned()];
    KeyAct::BeginRewrap {
        revision,
        identity: identity(version),
        secret: under("s2"),
        signer: under("g2"),
        recovery,
        vouched: [2; 32],
    }
}

fn rewrapped(key: &DataKeyRecord, identity: u32) -> Command {
    let keys = vec![DataKeyRecord { identity, wrapped: Wrapped(b"wrapped again".to_vec()), ..key.clone() }];
    act(KeyAct::Rewrapped { job: RequestId(JOB), keys })
}

fn keep<E: Engine>(rig: &Rig<E>, name: &str, content: Content) -> DraftId {
    match rig.submit(write(name, writes("late", Token(1), Expect::default(), content))) {
        Err(Refusal::Kept { draft, .. }) => draft,
        other => panic!("not kept: {other:?}"),
    }
}

on_every_engine! {
    fn value_goes_with_the_last_version_that_has_it(rig) {
        let token = rig.lease("dev/app", "a");
        let mut first = sealing(b"1", 3, [0, 1, 2]);
        let large = BodyId(fresh());
        rig.stage(large, 0, b"a large value");
        first.values[2].sealed = StoredValue::Pieces(large);
        let first = rig.write("dev/app", "a", token, first);
        let key = first.seal.unwrap().data_key;
        rig.write("dev/app", "a", token, sealing(b"2", 1, [1, 3]));
        rig.write("dev/app", "a", token, sealing(b"3", 0, []));
        rig.restart();
        assert_eq!(values(&rig, key, &[0, 1, 2, 3, 4]), [0, 1, 2, 3]);
        assert_eq!(ground(&rig, first.state).unwrap().0, Ground { state: first.state, data_key: key, epoch: 1, next_ordinal: 4, collected: 0 });
        rig.submit(purge(Some(1))).unwrap();
        rig.restart();
        assert_eq!(values(&rig, key, &[0, 1, 2, 3]), [1, 3], "1 is shared");
        assert_eq!(rig.chunk(large, 0), None, "the large one's pieces go with it");
        assert_eq!(ground(&rig, first.state).unwrap().0.collected, 1, "what was found before may be gone");
        rig.submit(purge(None)).unwrap();
        assert_eq!((values(&rig, key, &[1, 3]), census(&rig)), (vec![], (1, 0)));
    }

    fn values_of_a_draft_go_when_it_is_discarded_or_expires(rig) {
        let life = Some(std::time::Duration::from_secs(3600));
        rig.submit(environment("dev", EnvironmentAct::Set(SettingsChange { draft_life: life, ..SettingsChange::default() }))).unwrap();
        let draft = keep(&rig, "dev/app", sealing(b"1", 2, [0, 1]));
        keep(&rig, "dev/app", sealing(b"2", 1, [1, 2]));
        let key = rig.drafts("dev/app")[0].seal.data_key;
        assert_eq!(values(&rig, key, &[0, 1, 2]), [0, 1, 2]);
        rig.submit(content("dev/app", ContentAct::DiscardDraft(draft))).unwrap();
        rig.restart();
        assert_eq!(values(&rig, key, &[0, 1, 2]), [1, 2]);
        rig.seconds(3610);
        assert_eq!((values(&rig, key, &[1, 2]), census(&rig)), (vec![], (0, 0)));
    }

    fn values_and_keys_go_with_their_environment(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, sealing(b"1", 2, [0, 1]));
        let key = version.seal.unwrap().data_key;
        rig.release("dev/app", "a", token);
        rig.submit(environment("dev", EnvironmentAct::Delete { force: true })).unwrap();
        rig.restart();
        assert_eq!((values(&rig, key, &[0, 1]), ground(&rig, version.state)), (vec![], None));
        assert!(matches!(rig.select(Query::DataKey(key)), Rows::DataKeys(found) if found.is_empty()));
        let rig = rig.with("dev");
        assert_eq!((census(&rig), data_keys(&rig, WhichKeys::All).len()), ((0, 0), 0));
    }

    fn document_is_committed_on_the_ground_that_stands_and_no_other(rig) {
        let token = rig.lease("dev/app", "a");
        rig.write("dev/app", "a", token, sealing(b"1", 1, [0]));
        let prepare = |rig: &Rig<E>, bytes: &[u8]| {
            let (environment, _) = keyring(rig);
            let current = rig.current("dev/app").unwrap();
            let mut write = rig.next_write("dev/app", "a", token, sealing(bytes, 1, []));
            let stands = ground(rig, current.state).map(|(ground, _)| ground);
            let version = Version(current.version.0 + 1);
            seal_on(write.content.as_mut().unwrap(), stands, current.state, &environment, version);
            Write { fresh_state: current.state, ..write }
        };
        let early = prepare(&rig, b"2");
        rig.write("dev/app", "a", token, sealing(b"3", 1, [1]));
        let late = Write { expect: Expect::of(rig.current("dev/app").as_ref()), ..early };
        assert_eq!(raw(&rig, write("dev/app", late)), Err(Refusal::GroundMoved), "another value has the number");
        let early = prepare(&rig, b"4");
        reencrypt(&rig);
        rig.restart();
        assert_eq!(raw(&rig, write("dev/app", early)), Err(Refusal::GroundMoved), "new data keys are wanted");
        let version = rig.wrote(write("dev/app", prepare(&rig, b"5")));
        let (ground, record) = ground(&rig, version.state).unwrap();
        assert_eq!((ground.epoch, ground.next_ordinal, record.status), (2, 1, KeyStatus::Active));
        assert_eq!(data_keys(&rig, WhichKeys::Before(2))[0].status, KeyStatus::DecryptOnly);
        let mut stale = prepare(&rig, b"6");
        let (found, keys) = keyring(&rig);
        assert_eq!((found.key_epoch, keys.job.map(|job| job.id)), (2, Some(RequestId(JOB))));
        stale.content.as_mut().unwrap().seal.data_key = DataKeyId(fresh());
        assert_eq!(raw(&rig, write("dev/app", stale)), Err(Refusal::GroundMoved), "bound to another key");
    }

    fn values_ahead_of_their_document_are_found_by_it_and_stand_on_one_ground(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, sealing(b"1", 2, [0, 1]));
        reencrypt(&rig);
        let (one, after) = resealed(&rig, &version, None, sealing(b"2", 3, [0, 1, 2]));
        let (path, content) = (version.path.clone(), one.content.clone());
        let mut values = content.values.clone();
        let late = values.split_off(2);
        let ahead = |ground, new_key, values| act(KeyAct::Ahead(Ahead { path: path.clone(), ground, new_key, values }));
        let other = Ground { epoch: 1, ..content.ground };
        assert_eq!(done(&rig, ahead(other, content.new_key.clone(), values.clone())).2, 1, "made for another epoch");
        assert_eq!(done(&rig, ahead(content.ground, None, values.clone())).2, 1, "no such ground yet");
        assert_eq!(ground(&rig, version.state).unwrap().0.epoch, 1, "nothing was put");
        assert_eq!(done(&rig, ahead(content.ground, content.new_key.clone(), values.clone())).1, 1);
        rig.restart();
        let between = Ground { next_ordinal: 2, ..content.ground };
        assert_eq!(ground(&rig, version.state).unwrap().0, between);
        assert_eq!(self::values(&rig, content.ground.data_key, &[0, 1, 2]), [0, 1]);
        let tags = values.iter().map(|value| value.tag).collect();
        let Rows::Ordinals(known) = rig.select(Query::Tags { key: content.ground.data_key, tags }) else { panic!("tags") };
        assert_eq!(known, [Some(0), Some(1)], "a document that comes again finds them");
        assert_eq!(done(&rig, ahead(content.ground, content.new_key.clone(), values)).2, 1, "the ground has moved on");
        assert_eq!(rig.current("dev/app").unwrap().body, version.body, "the document is as it was");
        let content = Content { ground: between, new_key: None, values: late, ..content };
        assert_eq!(done(&rig, reseal(vec![Resealed { content, ..one }])).1, 1);
        rig.restart();
        assert_eq!(self::values(&rig, after.data_key, &[0, 1, 2]), [0, 1, 2]);
        assert_eq!(ground(&rig, version.state).unwrap().0, after);
        assert!(documents(&rig, WhichDocuments::Before(2)).is_empty());
    }

    fn new_key_wrapped_to_the_old_identity_is_not_taken(rig) {
        let (found, keys) = keyring(&rig);
        let mut write1 = writes("a", rig.lease("dev/app", "a"), Expect::default(), document(b"1"));
        let state = write1.fresh_state;
        seal_on(write1.content.as_mut().unwrap(), None, state, &found, Version(1));
        done(&rig, with_request(act(begin_rewrap(keys.revision, 2)), JOB, 1));
        rig.restart();
        assert_eq!(raw(&rig, write("dev/app", write1)), Err(Refusal::GroundMoved));
        assert_eq!(data_keys(&rig, WhichKeys::All).len(), 0);
    }

    fn documents_are_sealed_again_where_they_are_still_as_they_were(rig) {
        let token = rig.lease("dev/app", "a");
        let all: Vec<_> = (0..4).map(|n| rig.write("dev/app", "a", token, sealing(&[n], 1, [u32::from(n)]))).collect();
        let old = all[0].seal.unwrap().data_key;
        reencrypt(&rig);
        assert_eq!(documents(&rig, WhichDocuments::Before(2)), ["app 4", "app 3", "app 2", "app 1"]);
        let (one, after) = resealed(&rig, &all[0], None, sealing(b"new 1", 2, [0, 1]));
        let (two, after) = resealed(&rig, &all[1], Some(after), sealing(b"new 2", 1, [1, 2]));
        let (three, _) = resealed(&rig, &all[2], Some(after), sealing(b"new 3", 1, [3]));
        // The second is not as it was: it and all that build on it come again.
        rig.submit(purge(Some(2))).unwrap();
        let (keys, count, skipped) = done(&rig, reseal(vec![one.clone(), two, three.clone()]));
        assert_eq!((count, skipped), (1, 2));
        assert_eq!(keys.job.map(|job| (job.done, job.cursor)), Some((1, None)), "the cursor stays");
        rig.restart();
        let (_, count, skipped) = done(&rig, reseal(vec![one.clone()]));
        assert_eq!((count, skipped), (0, 1), "once");
        assert_eq!(documents(&rig, WhichDocuments::Before(2)), ["app 4", "app 3"]);
        let moved = rig.versions(Query::Version("dev/app".parse().unwrap(), Some(Version(1)))).pop().unwrap();
        assert_eq!((moved.body, moved.seal.map(|seal| seal.data_key)), (Some(one.content.body), Some(one.content.ground.data_key)));
        assert_eq!((moved.etag, moved.digest, moved.token), (all[0].etag, Some(one.content.digest), all[0].token));
        assert_eq!(rig.chunk(one.content.body, 0).as_deref(), Some(&b"new 1"[..]));
        assert_eq!(rig.chunk(all[0].body.unwrap(), 0), None, "the old bytes are gone");
        let (late, _) = resealed(&rig, &all[0], None, sealing(b"late", 0, [0]));
        let (_, count, skipped) = done(&rig, reseal(vec![late]));
        assert_eq!((count, skipped), (0, 1), "on the ground that stands, but of a body that is gone");
        let (three, after) = resealed(&rig, &all[2], None, sealing(b"new 3", 1, [0, 2]));
        let (four, _) = resealed(&rig, &all[3], Some(after), sealing(b"new 4", 0, [2]));
        let (keys, count, skipped) = done(&rig, reseal(vec![three, four]));
        assert_eq!((count, skipped), (2, 0));
        assert_eq!(keys.job.map(|job| job.cursor.map(|path| path.to_string())), Some(Some("app".to_owned())));
        rig.restart();
        assert_eq!(documents(&rig, WhichDocuments::Before(2)), [""; 0]);
        assert_eq!(values(&rig, one.content.ground.data_key, &[0, 1, 2, 3]), [0, 1, 2]);
        assert_eq!(rig.submit(retire(&[old])).map(drop), Ok(()));
        // A version that follows shares what was sealed again.
        let next = rig.write("dev/app", "a", token, sealing(b"5", 0, [2]));
        rig.submit(purge(Some(4))).unwrap();
        assert_eq!(values(&rig, next.seal.unwrap().data_key, &[0, 2]), [0, 2], "the purge keeps what is shared");
    }

    fn documents_sealed_again_on_each_other_are_not_taken_for_others_that_fill_the_gap(rig) {
        let token = rig.lease("dev/app", "a");
        let all: Vec<_> = (0..3).map(|n| rig.write("dev/app", "a", token, sealing(&[n], 1, [u32::from(n)]))).collect();
        reencrypt(&rig);
        let (one, _) = resealed(&rig, &all[0], None, sealing(b"new 1", 1, [0]));
        done(&rig, reseal(vec![one]));
        let (two, after) = resealed(&rig, &all[1], None, sealing(b"new 2", 2, [1, 2]));
        let (three, _) = resealed(&rig, &all[2], Some(after), sealing(b"new 3", 0, [1]));
        // As many values as the second brings: the third would stand, and have theirs for its own.
        rig.write("dev/app", "a", token, sealing(b"4", 2, [1, 2]));
        let (_, count, skipped) = done(&rig, reseal(vec![two, three]));
        assert_eq!((count, skipped), (0, 2));
        rig.restart();
        assert_eq!(documents(&rig, WhichDocuments::Before(2)), ["app 3", "app 2"]);
    }

    fn documents_sealed_again_for_other_rules_are_no_part_of_a_rotation(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, document(b"1"));
        let (_, keys) = keyring(&rig);
        done(&rig, with_request(act(begin_rewrap(keys.revision, 2)), JOB, 1));
        let mut other = document(b"again");
        (other.seal.rules, other.shown_size) = ((1, 5), 77);
        let (one, _) = resealed(&rig, &version, None, other);
        let mut command = act(KeyAct::Resealed { job: None, cursor: Some("app".parse().unwrap()), documents: vec![one.clone()] });
        let (keys, count, _) = done(&rig, command.clone());
        assert_eq!((count, keys.job.map(|job| (job.done, job.cursor))), (1, Some((0, None))));
        rig.restart();
        assert_eq!(documents(&rig, WhichDocuments::OtherRules(1, 5)), [""; 0]);
        assert_eq!(documents(&rig, WhichDocuments::OtherRules(1, 6)), ["app 1"]);
        assert_eq!(rig.current("dev/app").unwrap().shown_size, 77);
        command = act(KeyAct::Resealed { job: Some(RequestId(JOB)), cursor: None, documents: vec![one] });
        assert_eq!(rig.submit(command), Err(Refusal::RotationNone), "a rewrap seals no documents");
    }

    fn data_key_is_retired_when_nothing_is_under_it(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, sealing(b"1", 75, 0..75));
        let key = version.seal.unwrap().data_key;
        let upload = BodyId(fresh());
        let stage = |rig: &Rig<E>| rig.wait(rig.engine().store().stage(upload, key, 0, b"half".to_vec())).unwrap();
        stage(&rig);
        assert_eq!(rig.submit(retire(&[key])), Err(Refusal::RotationNone));
        reencrypt(&rig);
        let (_, count, skipped) = done(&rig, retire(&[key, DataKeyId(fresh())]));
        assert_eq!((count, skipped), (0, 2), "a document is under it, and there is no other");
        assert_eq!(rig.submit(finish()), Err(Refusal::RotationIncomplete { left: 1 }));
        let (one, _) = resealed(&rig, &version, None, sealing(b"again", 1, [0]));
        let new = one.content.ground.data_key;
        done(&rig, reseal(vec![one]));
        let (_, count, skipped) = done(&rig, retire(&[key, new]));
        assert_eq!((count, skipped), (0, 1), "values go a number at a time, and the new key stays");
        assert_eq!(values(&rig, key, &(0..75).collect::<Vec<_>>()).len(), 25);
        assert_eq!(rig.chunk(upload, 0), None, "what was on its way in can never be committed");
        rig.restart();
        assert_eq!(rig.submit(finish()), Err(Refusal::RotationIncomplete { left: 1 }));
        let (_, count, _) = done(&rig, retire(&[key]));
        assert_eq!(count, 1);
        stage(&rig);
        assert_eq!(rig.chunk(upload, 0), None, "nothing comes under it any more");
        rig.restart();
        assert_eq!(data_keys(&rig, WhichKeys::Before(2)), []);
        let (keys, ..) = done(&rig, finish());
        assert_eq!(keys.job, None);
        rig.restart();
        assert_eq!(rig.submit(finish()), Err(Refusal::RotationNone), "and after a restart");
        assert_eq!((census(&rig), values(&rig, new, &[0])), ((1, 1), vec![0]));
    }

    fn retired_keys_are_destroyed_a_number_at_a_time_and_identities_last(rig) {
        const STATES: usize = 502;
        let mut old = Vec::new();
        let versions: Vec<_> = (0..STATES)
            .map(|n| {
                let name = format!("dev/s{n}");
                let token = rig.lease(&name, "s");
                rig.write(&name, "s", token, document(b"1"))
            })
            .collect();
        let (_, keys) = keyring(&rig);
        done(&rig, with_request(act(begin_rewrap(keys.revision, 2)), [8; 16], 1));
        loop {
            let keys = data_keys(&rig, WhichKeys::NotUnder(2)).into_iter().map(|key| DataKeyRecord { identity: 2, ..key });
            let keys: Vec<_> = keys.collect();
            if keys.is_empty() {
                break;
            }
            done(&rig, act(KeyAct::Rewrapped { job: RequestId([8; 16]), keys }));
        }
        done(&rig, act(KeyAct::Finish { job: RequestId([8; 16]) }));
        reencrypt(&rig);
        for version in &versions {
            let (one, _) = resealed(&rig, version, None, document(b"again"));
            old.push(version.seal.unwrap().data_key);
            done(&rig, reseal(vec![one]));
        }
        let (_, retired, _) = done(&rig, retire(&old));
        assert_eq!(retired as usize, STATES);
        done(&rig, finish());
        let destroy = with_request(act(KeyAct::Destroy), [7; 16], 1);
        let (told, count, left) = done(&rig, destroy.clone());
        let destroyed = |keys: &Keyring| keys.identities.iter().filter(|one| one.status == KeyStatus::Destroyed).count();
        assert_eq!((count, left, destroyed(&told)), (500, 2, 0));
        rig.restart();
        let (told, count, left) = done(&rig, destroy);
        assert_eq!((count, left, destroyed(&told)), (3, 0, 1), "two data keys and an identity");
        assert!(data_keys(&rig, WhichKeys::All).iter().all(|key| !old.contains(&key.id)));
        assert!(versions.iter().all(|version| ground(&rig, version.state).is_some()), "what states are sealed on stays");
        assert_eq!(refusal(&rig, KeyAct::Destroy), Refusal::NothingRetired);
    }

    fn old_identity_is_retired_when_no_data_key_is_wrapped_to_it(rig) {
        for name in ["dev/a", "dev/b"] {
            let token = rig.lease(name, "s");
            rig.write(name, "s", token, document(b"1"));
        }
        let (_, keys) = keyring(&rig);
        assert_eq!(refusal(&rig, begin_rewrap(keys.revision + 1, 2)), Refusal::KeysMoved);
        assert_eq!(refusal(&rig, begin_rewrap(keys.revision, 3)), Refusal::KeysMoved);
        let (told, ..) = done(&rig, with_request(act(begin_rewrap(keys.revision, 2)), JOB, 1));
        assert_eq!(told.job.map(|job| job.total), Some(2));
        assert!(matches!(refusal(&rig, KeyAct::BeginReencrypt { total: 0, epoch: 2, vouched: [4; 32] }), Refusal::RotationRunning { .. }));
        assert!(matches!(refusal(&rig, KeyAct::Destroy), Refusal::RotationRunning { .. }));
        rig.restart();
        let (found, keys) = keyring(&rig);
        assert_eq!((found.identity, keys.recovery.clone()), (2, vec!["age1recovery".to_owned()]));
        assert_eq!((keys.secret.clone(), keys.signer.1.clone()), (under("s2"), under("g2")));
        let statuses = |keys: &Keyring| keys.identities.iter().map(|one| one.status).collect::<Vec<_>>();
        assert_eq!(statuses(&keys), [KeyStatus::DecryptOnly, KeyStatus::Active]);
        let old = data_keys(&rig, WhichKeys::NotUnder(2));
        assert_eq!(old.len(), 2);
        let (_, count, skipped) = done(&rig, rewrapped(&old[1], 1));
        assert_eq!((count, skipped), (0, 1), "not to the active identity");
        assert_eq!(data_keys(&rig, WhichKeys::All)[1], old[1]);
        done(&rig, rewrapped(&old[1], 2));
        rig.restart();
        assert_eq!(rig.submit(finish()), Err(Refusal::RotationIncomplete { left: 1 }));
        let (told, count, _) = done(&rig, rewrapped(&old[0], 2));
        assert_eq!((count, told.job.map(|job| job.done)), (1, Some(2)));
        done(&rig, finish());
        rig.restart();
        let (_, keys) = keyring(&rig);
        assert_eq!((statuses(&keys), keys.job), (vec![KeyStatus::Retired, KeyStatus::Active], None));
        assert!(data_keys(&rig, WhichKeys::All).iter().all(|key| key.identity == 2 && key.wrapped.0 == b"wrapped again"));
        assert_eq!(rig.submit(rewrapped(&old[0], 2)), Err(Refusal::RotationNone), "a late batch changes nothing");
    }

    fn destroyed_keys_are_nowhere_not_even_in_remembered_replies(rig) {
        let token = rig.lease("dev/app", "a");
        let version = rig.write("dev/app", "a", token, sealing(b"1", 1, [0]));
        assert_eq!(refusal(&rig, KeyAct::Destroy), Refusal::NothingRetired);
        reencrypt(&rig);
        let (one, _) = resealed(&rig, &version, None, sealing(b"again", 1, [0]));
        let (old, new) = (version.seal.unwrap().data_key, one.content.ground.data_key);
        done(&rig, reseal(vec![one]));
        done(&rig, retire(&[old]));
        done(&rig, finish());
        let (_, keys) = keyring(&rig);
        let begin = with_request(act(begin_rewrap(keys.revision, 2)), JOB, 1);
        assert_eq!(rig.submit(with_request(begin.clone(), JOB, 2)), Err(Refusal::RequestIdReused));
        let begin = with_request(begin, [8; 16], 1);
        let (told, ..) = done(&rig, begin.clone());
        let bare = |keys: &Keyring| {
            let identities = keys.identities.iter().filter_map(|one| one.key.as_ref());
            [&keys.secret, &keys.signer.1].into_iter().chain(identities).all(|key| key.wrapped.0.is_empty())
        };
        assert!(bare(&told), "replies are remembered");
        for key in data_keys(&rig, WhichKeys::All) {
            let keys = vec![DataKeyRecord { identity: 2, ..key }];
            done(&rig, act(KeyAct::Rewrapped { job: RequestId([8; 16]), keys }));
        }
        done(&rig, act(KeyAct::Finish { job: RequestId([8; 16]) }));
        let (told, count, _) = done(&rig, with_request(act(KeyAct::Destroy), [7; 16], 1));
        assert_eq!((count, bare(&told)), (2, true), "an identity and a data key");
        rig.restart();
        assert_eq!(done(&rig, begin).0.job.map(|job| job.id), Some(RequestId([8; 16])), "a retry is answered as then");
        let (_, keys) = keyring(&rig);
        assert_eq!((keys.identities[0].status, keys.identities[0].key.is_none()), (KeyStatus::Destroyed, true));
        assert!(matches!(rig.select(Query::DataKey(old)), Rows::DataKeys(found) if found.is_empty()));
        assert_eq!(data_keys(&rig, WhichKeys::All).iter().map(|key| key.id).collect::<Vec<_>>(), [new]);
        assert_eq!(ground(&rig, version.state).map(|(ground, _)| ground.data_key), Some(new));
        assert_eq!(refusal(&rig, KeyAct::Destroy), Refusal::NothingRetired);
    }

    fn drafts_of_a_deleted_state_do_not_bring_it_back_when_it_is_sealed_again(rig) {
        let token = rig.lease("dev/app", "a");
        let first = rig.write("dev/app", "a", token, document(b"1"));
        let stale = rig.next_write("dev/app", "a", Token(1), document(b"draft of the first"));
        let Err(Refusal::Kept { draft, .. }) = rig.submit(write("dev/app", stale)) else { panic!("not kept") };
        rig.delete("dev/app", "a", token);
        let second = rig.write("dev/app", "a", token, document(b"2"));
        rig.delete("dev/app", "a", token);
        assert_ne!(first.state, second.state);
        reencrypt(&rig);
        let draft = rig.drafts("dev/app").into_iter().find(|one| one.id == draft).unwrap();
        let (environment, _) = keyring(&rig);
        let mut content = document(b"again");
        seal_on(&mut content, None, first.state, &environment, draft.seal.version);
        let (path, old) = (draft.path.clone(), draft.body);
        done(&rig, reseal(vec![Resealed { path, target: Target::Draft(draft.id), old, content: content.clone() }]));
        rig.restart();
        let moved = rig.drafts("dev/app").pop().unwrap();
        assert_eq!((moved.body, moved.seal.mac, moved.digest), (content.body, content.draft_mac, content.digest));
        let Rows::Top(_, top) = rig.select(Query::Top("dev/app".parse().unwrap())) else { panic!("top") };
        assert_eq!(top, None, "the next version is of a state of its own");
        let third = rig.write("dev/app", "a", token, document(b"3"));
        assert!(third.state != first.state && third.state != second.state);
    }

    fn master_is_exchanged_only_as_it_was_seen(rig) {
        let (_, keys) = keyring(&rig);
        let other = |what: &str| UnderMaster { master: "age1other".to_owned(), ..under(what) };
        let exchange = |revision| KeyAct::Master {
            revision,
            secret: other("s"),
            signer: other("g"),
            identities: vec![(1, other("i")), (9, other("none"))],
        };
        assert_eq!(refusal(&rig, exchange(keys.revision + 1)), Refusal::KeysMoved);
        done(&rig, act(exchange(keys.revision)));
        rig.restart();
        assert_eq!(refusal(&rig, exchange(keys.revision)), Refusal::KeysMoved);
        let (_, keys) = keyring(&rig);
        assert_eq!((keys.secret, keys.signer, keys.identities.len()), (other("s"), ("signer".to_owned(), other("g")), 1));
        assert_eq!(keys.identities[0].key, Some(other("i")));
        let verified = Verified { finished: WallTime(7), documents: 3, failures: 1 };
        done(&rig, act(KeyAct::Verified { verified, vouched: [3; 32] }));
        rig.restart();
        let (_, last) = keyring(&rig);
        assert_eq!((last.verified, last.vouched.verified), (Some(verified), [3; 32]));
    }
}

/// Bytes that look like no others.
fn noise(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes = (0..1500).map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    });
    bytes.collect()
}

/// Only a store that keeps files has something to look through.
#[test]
fn destroyed_wraps_are_found_in_the_files_before_and_not_after() {
    let rig = Rig::<OnSqlite>::new();
    let (identity, key) = (noise(1), noise(102));
    let rotate = |version: u32, wrapped: Vec<u8>, id: [u8; 16]| {
        let (_, keys) = keyring(&rig);
        let KeyAct::BeginRewrap { identity, recovery, secret, signer, revision, vouched } = begin_rewrap(keys.revision, version)
        else {
            unreachable!("it is one")
        };
        let key = Some(UnderMaster { wrapped: Wrapped(wrapped), ..identity.key.clone().unwrap() });
        let begin =
            KeyAct::BeginRewrap { identity: IdentityRecord { key, ..identity }, recovery, secret, signer, revision, vouched };
        done(&rig, with_request(act(begin), id, 1));
        for record in data_keys(&rig, WhichKeys::All) {
            let keys = vec![DataKeyRecord { identity: version, wrapped: Wrapped(noise(100 + u64::from(version))), ..record }];
            done(&rig, act(KeyAct::Rewrapped { job: RequestId(id), keys }));
        }
        done(&rig, act(KeyAct::Finish { job: RequestId(id) }));
    };
    let token = rig.lease("dev/app", "a");
    rig.write("dev/app", "a", token, document(b"1"));
    rotate(2, identity.clone(), [1; 16]);
    let erase = |needle: &Vec<u8>| rig.wait(rig.engine().store().erase(vec![needle.clone()])).unwrap();
    assert_eq!((erase(&identity), erase(&key)), (false, false), "they are in use");
    rotate(3, noise(99), [2; 16]);
    assert_eq!((erase(&identity), erase(&key)), (false, true), "a retired identity is kept, a replaced wrap is not");
    done(&rig, act(KeyAct::Destroy));
    assert!(erase(&identity));
}
