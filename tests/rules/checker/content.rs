//! The invariants of versions, drafts and what a store keeps.

use super::leases::walk;
use super::ledger::env_of;
use super::{Look, demand};
use crate::history::{Call, Mode, Origin, Reply, Version, View, What};

/// Invariant 3: "A version's token was live at its commit; tokens never decrease along versions."
///
/// And it was its writer's, exclusive, or shared on a state that had no version, not even one that deleted it.
pub(super) fn token_live_at_commit(look: &Look<'_>) -> Result<(), String> {
    let at = look.record.at;
    walk(look, |facts, what, lock| {
        let What::Version { token, .. } = what else { return Ok(()) };
        let Call::Write { actor, write, .. } = &look.record.call else { return Err("a version without a write".to_owned()) };
        let policy = look.before.environments[env_of(lock)].passing;
        let facts = &facts.locks[lock];
        if write.passing {
            // Whether anybody holds it, or waits for it, is for the invariants of leases.
            demand(policy, || format!("a write passed with {token}, which needs a lease here"))?;
            return demand(write.token == *token && *token >= facts.last_written, || format!("{write:?} wrote with {token}"));
        }
        let holder = facts.live_holders(at).find(|holder| holder.token == *token);
        let first = facts.versions.is_empty();
        let right = write.token == *token
            && holder.is_some_and(|holder| holder.actor == *actor && (holder.mode == Mode::Exclusive || first));
        demand(right, || format!("{token} wrote at {at} as {:?} for {actor}, who showed {}", holder, write.token))?;
        demand(*token >= facts.last_written, || format!("{token} wrote after {}", facts.last_written))
    })
}

/// Invariant 4: "Versions are contiguous and immutable; each carries the etag of the one before."
///
/// And what a writer expected to be current was.
pub(super) fn versions_contiguous(look: &Look<'_>) -> Result<(), String> {
    walk(look, |facts, what, lock| {
        let What::Version { version, etag, .. } = what else { return Ok(()) };
        let (Call::Write { write, .. }, Reply::Wrote { version: told, .. }) = (&look.record.call, &look.record.reply) else {
            return Err(format!("version {version} came of {:?}", look.record.call));
        };
        let last = facts.locks[lock].versions.last();
        let current = last.map_or((0, None), |last| (last.version, Some(last.etag)));
        demand(*version == current.0 + 1 && told.version == *version, || format!("version {version} follows {current:?}"))?;
        demand(told.previous == current.1, || format!("{told:?} follows {current:?}"))?;
        demand(told.etag == *etag && *etag == write.etag, || format!("{told:?} has another etag than {write:?}"))?;
        demand(write.expect == current, || format!("{write:?} was written on top of {current:?}"))
    })?;
    let (known, rows): (_, &[Version]) = match (&look.record.call, &look.record.reply) {
        (Call::ReadHistory { lock } | Call::ReadVersion { lock, .. }, Reply::Versions(rows)) => {
            (&look.after.locks[*lock].versions, rows)
        }
        _ => return Ok(()),
    };
    rows.iter().try_for_each(|row| {
        let known = known.iter().find(|known| known.version == row.version);
        demand(known == Some(row), || format!("{row:?} was {known:?}"))
    })?;
    let gap = rows.windows(2).find(|pair| pair[0].version != pair[1].version + 1);
    demand(gap.is_none(), || format!("not contiguous: {gap:?}"))
}

/// Invariant 9: "A complete, well-formed write of a caller who may write, refused for lease, version, serial or lineage, changes nothing and is
/// kept as a draft."
///
/// And one with a serial or lineage that does not follow is refused, unless it may rewrite.
pub(super) fn refused_writes_are_kept(look: &Look<'_>) -> Result<(), String> {
    if let (Call::ReadDrafts { lock }, Reply::Drafts(rows)) = (&look.record.call, &look.record.reply) {
        let known = look.after.locks[*lock].live_drafts(look.record.at);
        let missing = known.iter().find(|known| !rows.contains(known));
        demand(missing.is_none() && rows.len() == known.len(), || format!("drafts are {rows:?} instead of {known:?}"))?;
    }
    let Call::Write { lock, write, .. } = &look.record.call else { return Ok(()) };
    let keepable = write.origin == Origin::Write && write.bytes.is_some();
    if let Reply::Refused { code, draft } = &look.record.reply {
        let wrote = look.record.events.iter().find(|seen| matches!(seen.what, What::Version { .. }));
        demand(wrote.is_none(), || format!("refused ({code}), and still {wrote:?}"))?;
        let drafted = !keepable || draft.is_some() || !KEPT.contains(code);
        demand(drafted, || format!("refused ({code}), and not kept: {write:?}"))?;
        demand(*code != "INTERNAL", || format!("a guess of the service was told to the caller: {write:?}"))?;
        let needless = write.passing && draft.is_some() && look.prior.is_none() && !refused_for_its_lock(look, code);
        demand(!needless, || format!("a write that could pass was refused ({code})"))?;
    }
    let current = look.before.locks[*lock].versions.last().filter(|last| !last.deleted).and_then(|last| last.terraform);
    if let (Reply::Wrote { replayed: false, .. }, true, Some(old), Some(new)) =
        (&look.record.reply, keepable, current, write.terraform)
    {
        let follows = write.rewrite || old.0 == new.0 && old.1 < new.1;
        demand(follows, || format!("lineage and serial {new:?} were written over {old:?}"))?;
    }
    Ok(())
}

/// Whether a write without a lease is refused for its lock rightly, or for something else.
fn refused_for_its_lock(look: &Look<'_>, code: &str) -> bool {
    let Some(lock) = look.record.call.lock() else { return true };
    let (at, facts) = (look.record.at, &look.after.locks[lock]);
    let busy = facts.live_holders(at).next().is_some() || facts.live_tickets(at).next().is_some();
    match code {
        "FROZEN" | "LEASE_HELD" => busy || !look.after.grants(lock, at),
        "LEASE_REQUIRED" => !look.after.environments[env_of(lock)].passing,
        _ => true,
    }
}

const KEPT: [&str; 10] = [
    "LEASE_HELD",
    "LEASE_REQUIRED",
    "FROZEN",
    "LEASE_LOST",
    "LEASE_FOREIGN",
    "LEASE_SHARED",
    "TOKEN_UNKNOWN",
    "VERSION_CONFLICT",
    "SERIAL_NOT_HIGHER",
    "LINEAGE_DIFFERS",
];

/// Invariant 13: "An acknowledged write survives any crash that fsync semantics allow."
///
/// Versions and drafts with their bytes, events, and also leases and tickets.
pub(super) fn survives_restarts(look: &Look<'_>) -> Result<(), String> {
    let Some(kept) = &look.record.kept else { return Ok(()) };
    demand(!kept.events_lost, || "events from before the restart are gone or others".to_owned())?;
    for (lock, rows) in &kept.versions {
        let known: Vec<_> = look.after.locks[*lock].versions.iter().rev().collect();
        demand(rows.iter().eq(known.iter().copied()), || format!("versions {rows:?} instead of {known:?}"))?;
    }
    for (lock, rows) in &kept.drafts {
        let known = look.after.locks[*lock].live_drafts(look.record.at);
        let missing = known.iter().find(|known| !rows.contains(known));
        demand(missing.is_none() && rows.len() == known.len(), || format!("drafts {rows:?} instead of {known:?}"))?;
    }
    look.record.views.iter().try_for_each(|view| {
        let known = &look.after.locks[view.lock];
        let held: Vec<_> = known.live_holders(look.record.at).map(|holder| (holder.token, holder.deadline)).collect();
        let seen: Vec<_> = view.holders.iter().map(|(token, _, _, deadline)| (*token, *deadline)).collect();
        demand(held == seen, || format!("holders {seen:?} instead of {held:?}"))?;
        let waiting: Vec<_> = known.live_tickets(look.record.at).map(|ticket| (ticket.id, ticket.actor)).collect();
        demand(view.tickets == waiting, || format!("tickets {:?} instead of {waiting:?}", view.tickets))
    })
}

/// Invariant 14: "A read returns the newest version committed before it began, or a later one; stale reads only when asked for."
pub(super) fn reads_are_fresh(look: &Look<'_>) -> Result<(), String> {
    look.record.views.iter().try_for_each(|view: &View| {
        let newest = look.after.locks[view.lock].versions.last();
        demand(view.newest.as_ref().is_none_or(|seen| seen.as_ref() == newest), || {
            format!("a reader sees {:?} instead of {newest:?}", view.newest)
        })
    })?;
    let (lock, rows) = match (&look.record.call, &look.record.reply) {
        (Call::ReadNewest { lock } | Call::ReadHistory { lock }, Reply::Versions(rows)) => (*lock, rows),
        _ => return Ok(()),
    };
    let newest = look.after.locks[lock].versions.last();
    demand(rows.first() == newest, || format!("read {:?} instead of {newest:?}", rows.first()))
}
