//! Which rows are due for a command. One function for every engine: a pure one, from the command and what was decided.

use super::{Deed, Entry};
use crate::domain::access::{AccessAct, Verb};
use crate::domain::command::{Act, Command, ContentAct, EnvironmentAct, KeyAct, LockAct, StoreAct, Write};
use crate::domain::decision::{Change, Reply};
use crate::domain::document::Origin;
use crate::domain::event::{Event, EventKind};
use crate::domain::ids::Token;
use crate::domain::lock::{Holder, Lock, Mode};
use crate::domain::names::{Labels, Principal, Session};
use crate::domain::refusal::Refusal;

/// The rows for what a command did: none if it changed nothing for anybody, or was `replayed`, that is answered as it was before. `lock` is the lock as it is left. Grants out of the queue are rows of
/// those who got them, whoever's command made room.
pub(in crate::domain) fn due(
    command: &Command,
    replayed: bool,
    reply: &Result<Reply, Refusal>,
    changes: &[Change],
    lock: &Lock,
) -> Vec<Entry> {
    let mut rows = if replayed { Vec::new() } else { own(command, reply, changes, lock) };
    for event in events(changes).filter(|event| event.kind == EventKind::LeaseGranted) {
        rows.extend(granted(command, event, lock));
    }
    rows
}

/// What the caller did, but for what it was granted.
fn own(command: &Command, reply: &Result<Reply, Refusal>, changes: &[Change], lock: &Lock) -> Vec<Entry> {
    match &command.act {
        // Nothing is ever settled with these: if anything changed, it is by the act.
        Act::Store(act) if !changes.is_empty() => store_act(command, act, reply).into_iter().collect(),
        Act::Environment(_, act) if !changes.is_empty() => environment_act(command, act, reply).into_iter().collect(),
        Act::Store(_) | Act::Environment(..) => Vec::new(),
        Act::Lock(_, act) => lock_act(command, act, reply, changes, lock),
        Act::Content(_, act) => content_act(command, act, reply, changes, lock).into_iter().collect(),
    }
}

fn store_act(command: &Command, act: &StoreAct, reply: &Result<Reply, Refusal>) -> Option<Entry> {
    let StoreAct::Access(act) = act else { return None };
    let (deed, detail) = match (act, reply) {
        (AccessAct::CreateToken(_), Ok(Reply::Token(token))) => {
            let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
            (Deed::TokenCreate, format!("{}: {}", token.name, scopes.join(", ")))
        }
        (AccessAct::RevokeToken(name), Ok(_)) => (Deed::TokenRevoke, name.to_string()),
        (AccessAct::Grant(_), Ok(Reply::Grant(grant))) => (Deed::AccessGrant, format!("{} to {}", grant.scope, grant.to)),
        (AccessAct::RevokeGrant(_), Ok(Reply::Grant(grant))) => (Deed::AccessRevoke, format!("{} to {}", grant.scope, grant.to)),
        // When a token was last seen, and what is forgotten of those that have expired, is nobody's act.
        _ => return None,
    };
    Some(Entry { detail, ..by(command, deed, Verb::Admin) })
}

fn environment_act(command: &Command, act: &EnvironmentAct, reply: &Result<Reply, Refusal>) -> Option<Entry> {
    let Ok(reply) = reply else { return None };
    let admin = |deed| by(command, deed, Verb::Admin);
    Some(match act {
        EnvironmentAct::Create { .. } => admin(Deed::EnvironmentCreate),
        EnvironmentAct::Set(_) => admin(Deed::EnvironmentSet),
        EnvironmentAct::Freeze(reason) => Entry { reason: reason.to_string(), ..admin(Deed::EnvironmentFreeze) },
        EnvironmentAct::Unfreeze => admin(Deed::EnvironmentUnfreeze),
        EnvironmentAct::Delete { .. } => {
            let detail = match reply {
                Reply::EnvironmentDeleted { states } => format!("with {states} states"),
                _ => String::new(),
            };
            Entry { detail, ..admin(Deed::EnvironmentDelete) }
        }
        EnvironmentAct::Keys(act) => return key_act(command, act, reply),
    })
}

fn key_act(command: &Command, act: &KeyAct, reply: &Reply) -> Option<Entry> {
    let keys = |deed| Some(by(command, deed, Verb::Keys));
    match act {
        KeyAct::BeginRewrap { recovery, .. } => {
            let detail = format!("{} recovery recipients", recovery.len());
            Some(Entry { detail, ..by(command, Deed::KeysRewrap, Verb::Keys) })
        }
        KeyAct::BeginReencrypt { .. } => keys(Deed::KeysReencrypt),
        KeyAct::Finish { .. } => keys(Deed::KeysFinish),
        KeyAct::Master { .. } => keys(Deed::KeysMaster),
        KeyAct::Rules { rules, .. } => {
            let detail = format!("revision {}, {} rules", revision(reply), rules.len());
            Some(Entry { detail, ..by(command, Deed::KeysRules, Verb::Admin) })
        }
        KeyAct::Destroy => {
            let detail = match reply {
                Reply::Keys { done, .. } => format!("{done} keys"),
                _ => String::new(),
            };
            Some(Entry { detail, ..by(command, Deed::KeysDestroy, Verb::Keys) })
        }
        KeyAct::Verified { verified, .. } => {
            let detail = format!("{} documents, {} do not open", verified.documents, verified.failures);
            Some(Entry { detail, ..by(command, Deed::KeysVerify, Verb::Keys) })
        }
        // The steps of what was begun with a row, and ends with one.
        KeyAct::Rewrapped { .. } | KeyAct::Resealed { .. } | KeyAct::Ahead(_) | KeyAct::Retire { .. } => None,
    }
}

fn revision(reply: &Reply) -> u64 {
    match reply {
        Reply::Keys { keyring, .. } => keyring.rules.revision(),
        _ => 0,
    }
}

fn lock_act(command: &Command, act: &LockAct, reply: &Result<Reply, Refusal>, changes: &[Change], lock: &Lock) -> Vec<Entry> {
    let ended = |kind, of: Option<Token>| events(changes).find(|event| event.kind == kind && (of.is_none() || event.token == of));
    let over = |deed, event: &Event| lease(by(command, deed, verb(event.mode)), event, lock);
    let one = match (act, reply) {
        (LockAct::Release { token, abandoned, .. }, Ok(Reply::Released { was_live: true, .. })) => {
            let deed = if *abandoned { Deed::LeaseAbandon } else { Deed::LeaseRelease };
            ended(EventKind::LeaseReleased, Some(*token)).map(|event| over(deed, event))
        }
        // A place in a queue that had just been served: the offer goes back.
        (LockAct::Cancel { .. }, Ok(Reply::Cancelled { was_waiting: true })) => {
            ended(EventKind::LeaseReleased, None).map(|event| over(Deed::LeaseRelease, event))
        }
        (LockAct::TakeBack { token, .. }, Ok(Reply::TakenBack { was: true })) => {
            ended(EventKind::LeaseUnclaimed, Some(*token)).map(|event| over(Deed::LeaseTakeBack, event))
        }
        (LockAct::Break(act), Ok(Reply::Broken { broken, .. })) => {
            let row = Entry { reason: act.reason.to_string(), ..by(command, Deed::LeaseBreak, Verb::Break) };
            // One that names nobody and finds nobody does nothing.
            if broken.is_empty() && (act.take.is_some() || act.now || !act.forced) {
                return vec![row];
            }
            return broken.iter().map(|holder| of(row.clone(), holder)).collect();
        }
        (LockAct::Freeze(reason), Ok(Reply::Frozen)) => {
            Some(Entry { reason: reason.to_string(), ..by(command, Deed::LockFreeze, Verb::Admin) })
        }
        (LockAct::Unfreeze, Ok(Reply::Unfrozen { was: true })) => Some(by(command, Deed::LockUnfreeze, Verb::Admin)),
        (
            LockAct::Acquire(_)
            | LockAct::Cancel { .. }
            | LockAct::Refresh { .. }
            | LockAct::Renew { .. }
            | LockAct::Release { .. }
            | LockAct::TakeBack { .. }
            | LockAct::Reacquire { .. }
            | LockAct::Break(_)
            | LockAct::Freeze(_)
            | LockAct::Unfreeze
            | LockAct::Settle,
            _,
        ) => None,
    };
    one.into_iter().collect()
}

fn content_act(
    command: &Command,
    act: &ContentAct,
    reply: &Result<Reply, Refusal>,
    changes: &[Change],
    lock: &Lock,
) -> Option<Entry> {
    match (act, reply) {
        (ContentAct::Write(write), Ok(Reply::Wrote { version, replayed: false })) => {
            let row = written(command, write, lock);
            let serial = version.terraform.as_ref().map(|terraform| format!("serial {}", terraform.serial));
            Some(Entry { version: Some(version.version), detail: detail(write, serial), ..row })
        }
        (ContentAct::Write(write), Err(Refusal::Kept { draft, why })) => {
            let kept = changes.iter().any(|change| matches!(change, Change::PutDraft(meta, _) if meta.id == *draft));
            let outcome = format!("refused: {}", why.code());
            kept.then(|| Entry { draft: Some(*draft), outcome, ..written(command, write, lock) })
        }
        (ContentAct::DiscardDraft(draft), Ok(_)) => {
            Some(Entry { draft: Some(*draft), ..by(command, Deed::DraftDiscard, Verb::Write) })
        }
        (ContentAct::Purge(version), Ok(Reply::Purged { versions })) if *versions > 0 => {
            let detail = format!("{versions} versions");
            Some(Entry { version: *version, detail, ..by(command, Deed::StatePurge, Verb::Admin) })
        }
        // Refusals that change nothing are counted where they are told, so that nobody fills the disk with them.
        (ContentAct::Write(_) | ContentAct::DiscardDraft(_) | ContentAct::Purge(_), _) => None,
    }
}

fn written(command: &Command, write: &Write, lock: &Lock) -> Entry {
    let (deed, verb) = match write.origin {
        Origin::Write if write.rewrite => (Deed::StateWrite, Verb::Rewrite),
        Origin::Write => (Deed::StateWrite, Verb::Write),
        Origin::Rollback(_) => (Deed::StateRollback, Verb::Rollback),
        Origin::Promote(_) => (Deed::StatePromote, Verb::Promote),
        Origin::Delete => (Deed::StateDelete, Verb::Write),
    };
    let labels = labels(lock.holders.iter().find(|holder| holder.token == write.token));
    let draft = match write.origin {
        Origin::Promote(draft) => Some(draft),
        _ => None,
    };
    Entry { session: Some(write.session.clone()), token: Some(write.token), labels, draft, ..by(command, deed, verb) }
}

fn detail(write: &Write, serial: Option<String>) -> String {
    let origin = match write.origin {
        Origin::Rollback(version) => Some(format!("to version {version}")),
        _ => None,
    };
    let passing = write.passing.then(|| "without a lease".to_owned());
    origin.into_iter().chain(serial).chain(passing).collect::<Vec<_>>().join(", ")
}

/// A grant: to the caller, or to somebody whose turn it is.
fn granted(command: &Command, event: &Event, lock: &Lock) -> Option<Entry> {
    let principal = event.principal.clone()?;
    let direct = asks_for(command).is_some_and(|(who, session)| *who == principal && Some(session) == event.session.as_ref());
    let deed = match &command.act {
        Act::Lock(_, LockAct::Reacquire { .. }) if direct => Deed::LeaseReacquire,
        _ => Deed::LeaseAcquire,
    };
    let row = match direct {
        true => by(command, deed, verb(event.mode)),
        // Who made room has nothing to do with it.
        false => Entry {
            who: Some(principal),
            verb: Some(verb(event.mode)),
            detail: "from the queue".to_owned(),
            ..Entry::new(deed, object(command))
        },
    };
    Some(lease(row, event, lock))
}

/// For which session a command asks for the lock.
fn asks_for(command: &Command) -> Option<(&Principal, &Session)> {
    let Act::Lock(_, act) = &command.act else { return None };
    let session = match act {
        LockAct::Acquire(acquire) => &acquire.session,
        LockAct::Break(act) => &act.take.as_ref()?.session,
        LockAct::Reacquire { session, .. } => session,
        _ => return None,
    };
    Some((&command.principal, session))
}

/// The row with the lease of an event.
fn lease(row: Entry, event: &Event, lock: &Lock) -> Entry {
    let live = lock.holders.iter();
    let holder = live.chain(lock.ended.iter().map(|ended| &ended.holder)).find(|holder| Some(holder.token) == event.token);
    Entry { session: event.session.clone(), token: event.token, labels: labels(holder), ..row }
}

/// The row with somebody else's lease.
fn of(row: Entry, holder: &Holder) -> Entry {
    let (session, token) = (Some(holder.session.clone()), Some(holder.token));
    Entry { session, token, detail: format!("held by {}", holder.principal), labels: labels(Some(holder)), ..row }
}

fn labels(holder: Option<&Holder>) -> Labels {
    let Some(Labels { run_url, commit, .. }) = holder.map(|holder| &holder.labels) else { return Labels::default() };
    Labels { run_url: run_url.clone(), commit: commit.clone(), ..Labels::default() }
}

fn verb(mode: Option<Mode>) -> Verb {
    match mode {
        Some(Mode::Shared) => Verb::LeaseShared,
        _ => Verb::LeaseExclusive,
    }
}

fn by(command: &Command, deed: Deed, verb: Verb) -> Entry {
    Entry {
        who: Some(command.principal.clone()),
        verb: Some(verb),
        vouched: command.trace.labels.clone(),
        from: command.trace.peer.map(|peer| peer.to_string()),
        ..Entry::new(deed, object(command))
    }
}

fn object(command: &Command) -> String {
    match (command.state(), command.environment()) {
        (Some(state), _) => state.to_string(),
        (None, Some(environment)) => environment.to_string(),
        (None, None) => "/".to_owned(),
    }
}

fn events(changes: &[Change]) -> impl Iterator<Item = &Event> {
    changes.iter().filter_map(|change| match change {
        Change::Event(event) => Some(event),
        _ => None,
    })
}
