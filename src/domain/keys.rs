//! The acts on the keys of an environment: rotations that survive their server, and what ends them.

use super::command::KeyAct;
use super::decide::Work;
use super::decision::{COLLECTED, Change, DESTROYED, Reply};
use super::environment::Environment;
use super::event::{Event, EventKind};
use super::ids::{DataKeyId, RequestId};
use super::refusal::Refusal;
use super::sealing::{Ground, IdentityRecord, Job, JobKind, KeyStatus, Keyring, UnderMaster, Vouched};

/// Decides an act on the keys of an environment that is there.
pub(super) fn decide(work: &mut Work<'_>, environment: Environment, act: KeyAct) -> Result<Reply, Refusal> {
    let keyring = work.snapshot.keyring.take().ok_or_else(|| Refusal::EnvironmentNotFound(environment.name.clone()))?;
    match act {
        KeyAct::BeginRewrap { revision, identity, secret, signer, recovery, vouched } => {
            unmoved(&keyring, revision)?;
            let vouched = Vouched { recovery: vouched, ..keyring.vouched };
            let next = Keyring { secret, signer: (keyring.signer.0.clone(), signer), recovery, vouched, ..keyring };
            begin_rewrap(work, environment, next, identity)
        }
        KeyAct::BeginReencrypt { total, epoch, vouched } => {
            idle(&keyring)?;
            if epoch != environment.key_epoch + 1 {
                return Err(Refusal::KeysMoved);
            }
            let vouched = Vouched { epoch: vouched, ..keyring.vouched };
            let (environment, keyring) = (Environment { key_epoch: epoch, ..environment }, Keyring { vouched, ..keyring });
            Ok(begin(work, environment, keyring, JobKind::Reencrypt, total))
        }
        KeyAct::Rewrapped { job, mut keys } => {
            running(&keyring, job, JobKind::Rewrap)?;
            let all = keys.len() as u64;
            keys.retain(|key| key.identity == environment.identity);
            let done = keys.len() as u64;
            work.changes.push(Change::PutDataKeys(keys));
            Ok(advance(work, keyring, Some(Step { done, cursor: None }), done, all - done))
        }
        KeyAct::Resealed { job, cursor, documents } => {
            if let Some(job) = job {
                running(&keyring, job, JobKind::Reencrypt)?;
            }
            let (mut done, mut skipped) = (0, 0);
            let (bodies, grounds) = (std::mem::take(&mut work.snapshot.bodies), std::mem::take(&mut work.snapshot.grounds));
            // Several documents of one state follow upon each other in one batch. Each may refer to values of those before it: when one is
            // skipped, so are the others, even if somebody else's values have filled the gap.
            let mut moved = std::collections::HashMap::new();
            for ((document, body), ground) in documents.into_iter().zip(bodies).zip(grounds) {
                let content = &document.content;
                let chain = moved.entry(content.ground.state).or_insert(Some(ground));
                let stands = |ground: Option<Ground>| super::content::stands(content, ground, &environment);
                if body != Some(document.old) || !chain.is_some_and(stands) {
                    *chain = None;
                    skipped += 1;
                    continue;
                }
                *chain = Some(Some(super::content::ground_after(content)));
                done += 1;
                work.changes.push(Change::PutBody(Box::new(document)));
            }
            let cursor = cursor.filter(|_| skipped == 0);
            // What is sealed again for the sake of other rules is no part of a rotation that may be under way.
            Ok(advance(work, keyring, job.map(|_| Step { done, cursor }), done, skipped))
        }
        KeyAct::Ahead(ahead) => {
            let ground = work.snapshot.grounds.pop().flatten();
            let holds = super::content::holds(&ahead.ground, ahead.new_key.as_ref(), ground, &environment);
            if holds {
                work.changes.push(Change::PutValues(Box::new(ahead)));
            }
            Ok(Reply::Keys { keyring: Box::new(keyring.told()), done: holds.into(), skipped: (!holds).into() })
        }
        KeyAct::Retire { job, keys } => {
            running(&keyring, job, JobKind::Reencrypt)?;
            Ok(retire(work, &environment, keyring, keys))
        }
        KeyAct::Finish { job } => finish(work, keyring, job),
        KeyAct::Master { revision, secret, signer, identities } => {
            unmoved(&keyring, revision)?;
            let mut next = Keyring { secret, signer: (keyring.signer.0.clone(), signer), ..keyring };
            for (version, key) in identities {
                if let Some(identity) = next.identities.iter_mut().find(|identity| identity.version == version) {
                    identity.key = Some(key);
                }
            }
            Ok(put(work, next, "wrapped to another master key"))
        }
        KeyAct::Rules { revision, rules, vouched } => {
            if keyring.rules.revision() != revision {
                return Err(Refusal::KeysMoved);
            }
            let rules = super::rules::SealRules::new(revision + 1, rules)
                .map_err(|error| Refusal::SettingOutOfRange { setting: "rules".to_owned(), rule: error.to_string() })?;
            let vouched = Vouched { rules: vouched, ..keyring.vouched };
            Ok(put(work, Keyring { rules, vouched, ..keyring }, "other rules on what is sealed"))
        }
        KeyAct::Destroy => destroy(work, keyring),
        KeyAct::Verified { verified, vouched } => {
            let vouched = Vouched { verified: vouched, ..keyring.vouched };
            Ok(put(work, Keyring { verified: Some(verified), vouched, ..keyring }, ""))
        }
    }
}

fn begin_rewrap(
    work: &mut Work<'_>,
    mut environment: Environment,
    mut keyring: Keyring,
    identity: IdentityRecord,
) -> Result<Reply, Refusal> {
    idle(&keyring)?;
    let last = keyring.identities.last().map_or(0, |last| last.version);
    if identity.version != last + 1 {
        return Err(Refusal::KeysMoved);
    }
    for old in keyring.identities.iter_mut().filter(|old| old.status == KeyStatus::Active) {
        old.status = KeyStatus::DecryptOnly;
    }
    environment.identity = identity.version;
    keyring.identities.push(IdentityRecord { status: KeyStatus::Active, created: work.ctx.wall, ..identity });
    Ok(begin(work, environment, keyring, JobKind::Rewrap, work.snapshot.left.keys))
}

fn begin(work: &mut Work<'_>, environment: Environment, keyring: Keyring, kind: JobKind, total: u64) -> Reply {
    let id = work.request().unwrap_or_default();
    let job = Job { id, kind, cursor: None, done: 0, total, started: work.ctx.wall };
    work.changes.push(Change::PutEnvironment(environment));
    put(work, Keyring { job: Some(job), ..keyring }, &format!("{} began", kind.verb()))
}

/// What is asked of each key and its retirement are one transaction: nothing comes to be under it in between, since new things are sealed
/// under the key of the ground only.
fn retire(work: &mut Work<'_>, environment: &Environment, keyring: Keyring, keys: Vec<DataKeyId>) -> Reply {
    let (mut done, mut skipped, mut budget) = (0, 0, COLLECTED);
    for (key, under) in keys.into_iter().zip(std::mem::take(&mut work.snapshot.under)) {
        let Some(under) = under.filter(|under| under.epoch < environment.key_epoch && under.documents == 0) else {
            skipped += 1;
            continue;
        };
        // What is still on its way in was sealed on a ground on which nothing is committed any more.
        if under.staged > 0 {
            work.changes.push(Change::DropStaged(key));
        }
        if under.values > 0 && budget > 0 {
            work.changes.push(Change::DropValues { key, most: budget });
        }
        // With values left it is neither done nor skipped: the same command goes on with it.
        if under.values <= budget {
            work.changes.push(Change::RetireDataKey(key));
            (done, budget) = (done + 1, budget - under.values);
        } else {
            budget = 0;
        }
    }
    Reply::Keys { keyring: Box::new(keyring.told()), done, skipped }
}

/// The closing query and the retirement of the identity are one transaction.
fn finish(work: &mut Work<'_>, mut keyring: Keyring, id: RequestId) -> Result<Reply, Refusal> {
    let job = keyring.job.take().filter(|job| job.id == id).ok_or(Refusal::RotationNone)?;
    let left = match job.kind {
        JobKind::Rewrap => work.snapshot.left.old_identity,
        JobKind::Reencrypt => work.snapshot.left.old_epoch,
    };
    if left > 0 {
        return Err(Refusal::RotationIncomplete { left });
    }
    if job.kind == JobKind::Rewrap {
        for identity in keyring.identities.iter_mut().filter(|identity| identity.status == KeyStatus::DecryptOnly) {
            identity.status = KeyStatus::Retired;
        }
    }
    Ok(put(work, keyring, &format!("{} ended: nothing is left under the old keys", job.kind.verb())))
}

/// A number at a time, the identities with the last of the data keys. What is not done is told as skipped: the same command goes on with it.
fn destroy(work: &mut Work<'_>, mut keyring: Keyring) -> Result<Reply, Refusal> {
    idle(&keyring)?;
    let mut destroyed = work.snapshot.left.retired;
    if destroyed > DESTROYED {
        work.changes.push(Change::DropDataKeys { most: DESTROYED });
        return Ok(Reply::Keys { keyring: Box::new(keyring.told()), done: DESTROYED, skipped: destroyed - DESTROYED });
    }
    for identity in keyring.identities.iter_mut().filter(|identity| identity.status == KeyStatus::Retired) {
        (identity.status, identity.key) = (KeyStatus::Destroyed, None::<UnderMaster>);
        destroyed += 1;
    }
    if destroyed == 0 {
        return Err(Refusal::NothingRetired);
    }
    work.changes.push(Change::DropDataKeys { most: DESTROYED });
    match put(work, keyring, "retired keys destroyed") {
        Reply::Keys { keyring, skipped, .. } => Ok(Reply::Keys { keyring, done: destroyed, skipped }),
        other => Ok(other),
    }
}

/// A batch is done: the job remembers it in the same commit. Batches make no events and are not remembered by request id: they are safe to
/// repeat.
fn advance(work: &mut Work<'_>, mut keyring: Keyring, step: Option<Step>, done: u64, skipped: u64) -> Reply {
    let told = match (&mut keyring.job, step) {
        (Some(job), Some(step)) => {
            job.done += step.done;
            job.cursor = step.cursor.or(job.cursor.take());
            keyring.revision += 1;
            let told = keyring.told();
            work.changes.push(Change::PutKeyring(Box::new(keyring)));
            told
        }
        _ => keyring.told(),
    };
    Reply::Keys { keyring: Box::new(told), done, skipped }
}

/// How far a rotation has come with a batch.
struct Step {
    done: u64,
    cursor: Option<super::names::StatePath>,
}

fn put(work: &mut Work<'_>, mut keyring: Keyring, what: &str) -> Reply {
    keyring.revision += 1;
    let told = keyring.told();
    work.changes.push(Change::PutKeyring(Box::new(keyring)));
    if !what.is_empty() {
        work.event(Event::new(EventKind::KeysChanged).by(work.principal(), None).because(what));
    }
    work.remember();
    Reply::Keys { keyring: Box::new(told), done: 0, skipped: 0 }
}

fn unmoved(keyring: &Keyring, revision: u64) -> Result<(), Refusal> {
    if keyring.revision == revision { Ok(()) } else { Err(Refusal::KeysMoved) }
}

fn idle(keyring: &Keyring) -> Result<(), Refusal> {
    match &keyring.job {
        Some(job) => Err(Refusal::RotationRunning { kind: job.kind, done: job.done, total: job.total }),
        None => Ok(()),
    }
}

fn running(keyring: &Keyring, id: RequestId, kind: JobKind) -> Result<(), Refusal> {
    let runs = keyring.job.as_ref().is_some_and(|job| job.id == id && job.kind == kind);
    if runs { Ok(()) } else { Err(Refusal::RotationNone) }
}
