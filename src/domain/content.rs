//! The fenced commit and what surrounds it: a version, a draft, or a refusal, decided against the lease in the same transaction.

use super::command::{ContentAct, Write};
use super::decide::Work;
use super::decision::{Change, Reply};
use super::document::{Content, DraftMeta, Expect, Origin, VersionMeta};
use super::environment::Environment;
use super::event::{Event, EventKind};
use super::format::Format;
use super::ids::{DraftId, KeyedDigest, Version};
use super::lease::{held, own_holder};
use super::lock::Mode;
use super::names::StateName;
use super::refusal::Refusal;
use super::sealing::{DataKeyRecord, Ground, SealMeta};
use super::time::WallTime;

/// Decides an act on the content of a state.
pub(super) fn decide(work: &mut Work<'_>, state: &StateName, act: &ContentAct) -> Result<Reply, Refusal> {
    match act {
        ContentAct::Write(write) => self::write(work, state, write),
        ContentAct::DiscardDraft(draft) => discard(work, *draft),
        ContentAct::Purge(version) => purge(work, *version),
    }
}

/// Order of checks: replay, what no draft could mend, lease, expectation, lineage and serial (design 4).
fn write(work: &mut Work<'_>, state: &StateName, write: &Write) -> Result<Reply, Refusal> {
    if let Some(current) = replayed(work, write) {
        return Ok(Reply::Wrote { version: Box::new(current), replayed: true });
    }
    acceptable(work, write)?;
    match allowed(work, write) {
        Ok(()) => {
            sealed_here(work, write, true)?;
            Ok(commit(work, state, write))
        }
        Err(why @ Refusal::VersionConflict { .. }) if write.guessed => Err(why),
        Err(why @ Refusal::TokenMoved(_)) => Err(why),
        Err(why) => {
            sealed_here(work, write, false)?;
            Err(keep(work, state, write, why))
        }
    }
}

/// Whether the document was sealed on what the state is sealed on now, and, to be its next version, as just that.
fn sealed_here(work: &Work<'_>, write: &Write, next: bool) -> Result<(), Refusal> {
    let Some(content) = &write.content else { return Ok(()) };
    let ground = work.snapshot.grounds.first().copied().flatten();
    let current = work.snapshot.current.as_ref();
    let state = current.filter(|current| !current.deleted()).map_or(write.fresh_state, |current| current.state);
    let version = Version(current.map_or(0, |current| current.version.0) + 1);
    let as_next = content.ground.state == state && content.seal.version == version;
    if stands(content, ground, work.environment()?) && (as_next || !next) { Ok(()) } else { Err(Refusal::GroundMoved) }
}

/// Whether a document that was sealed on some ground can be stored on this one.
pub(super) fn stands(content: &Content, ground: Option<Ground>, environment: &Environment) -> bool {
    let on = &content.ground;
    let bound = content.seal.state == on.state && content.seal.data_key == on.data_key;
    bound && holds(on, content.new_key.as_ref(), ground, environment)
}

/// Whether what was sealed on some ground, perhaps under a new key, can be stored on this one.
pub(super) fn holds(on: &Ground, new_key: Option<&DataKeyRecord>, ground: Option<Ground>, environment: &Environment) -> bool {
    let fits = |key: &DataKeyRecord| {
        let made_for = (key.id, key.state, key.epoch, key.identity);
        made_for == (on.data_key, on.state, on.epoch, environment.identity) && (on.next_ordinal, on.collected) == (0, 0)
    };
    on.epoch == environment.key_epoch
        && match (ground, new_key) {
            (Some(ground), None) => ground == *on,
            (Some(ground), Some(key)) => ground.epoch < on.epoch && fits(key),
            (None, Some(key)) => fits(key),
            (None, None) => false,
        }
}

/// What the state is sealed on once this document is stored.
pub(super) fn ground_after(content: &Content) -> Ground {
    let values = u32::try_from(content.values.len()).unwrap_or(u32::MAX);
    Ground { next_ordinal: content.ground.next_ordinal.saturating_add(values), ..content.ground }
}

/// Terraform's retry: the same lineage, serial and bytes as current is no new version, whoever holds the lease now. Only its own
/// writer is told so.
fn replayed(work: &Work<'_>, write: &Write) -> Option<VersionMeta> {
    let (content, current) = (write.content.as_ref()?, work.snapshot.current.as_ref()?);
    let same = write.origin == Origin::Write
        && content.terraform.is_some()
        && content.terraform == current.terraform
        && digest_as(content, current).is_some_and(|digest| Some(digest) == current.digest)
        && *work.principal() == current.principal
        && !current.deleted();
    same.then(|| current.clone())
}

/// The digest of the document under the key that the current version is digested with.
fn digest_as(content: &Content, current: &VersionMeta) -> Option<KeyedDigest> {
    let same_key = current.seal.as_ref().is_some_and(|seal| seal.data_key == content.ground.data_key);
    if same_key { Some(content.digest) } else { content.head_digest }
}

/// What is refused outright: no lease or promotion would make it right.
fn acceptable(work: &Work<'_>, write: &Write) -> Result<(), Refusal> {
    let settings = &work.environment()?.settings;
    let current = work.snapshot.current.as_ref().filter(|current| !current.deleted());
    if let Origin::Promote(draft) = write.origin {
        kept(work, draft)?;
    }
    let Some(content) = &write.content else {
        return current.filter(|_| write.origin == Origin::Delete).map(|_| ()).ok_or(Refusal::StateNotFound);
    };
    if let Some(fixed) = current.map(|current| current.format).filter(|fixed| *fixed != content.format) {
        return Err(Refusal::FormatDiffers { fixed, got: content.format });
    }
    match content.format {
        Format::Opaque if !settings.allow_opaque => Err(Refusal::OpaqueRefused),
        Format::Terraform | Format::Pulumi | Format::Json if !settings.allow_plaintext => Err(Refusal::PlaintextRefused),
        _ => Ok(()),
    }
}

/// The checks whose failure keeps the document as a draft.
fn allowed(work: &mut Work<'_>, write: &Write) -> Result<(), Refusal> {
    // A deleted state has versions, too: a plan may begin a state, not bring one back.
    let begun = work.snapshot.current.is_some();
    if write.passing {
        passes(work, write)?;
    } else if own_holder(work, &write.session, write.token)?.mode == Mode::Shared && begun {
        return Err(Refusal::LeaseShared(write.token));
    }
    let current = Expect::of(work.snapshot.current.as_ref());
    if write.expect != current {
        return Err(Refusal::VersionConflict { expected: write.expect, current });
    }
    if write.masked && write.origin == Origin::Write {
        return Err(Refusal::MarkWritten);
    }
    let header = |version: &VersionMeta| version.terraform.clone().filter(|_| !version.deleted());
    let current = work.snapshot.current.as_ref().and_then(header);
    let (Some(old), Some(new)) = (current, write.content.as_ref().and_then(|content| content.terraform.as_ref())) else {
        return Ok(());
    };
    match write.origin {
        // The state's own past; its serial was raised where it can be.
        Origin::Rollback(_) | Origin::Delete => Ok(()),
        _ if write.rewrite => Ok(()),
        _ if old.lineage != new.lineage => Err(Refusal::LineageDiffers),
        // An envelope is promoted as it is: its serial is under its own seal.
        Origin::Promote(_) => Ok(()),
        Origin::Write if new.serial <= old.serial => Err(Refusal::SerialNotHigher { current: old.serial, got: new.serial }),
        Origin::Write => Ok(()),
    }
}

/// Whether a write without a lease may take the lock and give it back: where that is allowed, and as an acquire that does not wait.
fn passes(work: &Work<'_>, write: &Write) -> Result<(), Refusal> {
    if let Some(reason) = work.snapshot.frozen() {
        return Err(Refusal::Frozen(reason));
    }
    if work.snapshot.waiting > 0 || !work.snapshot.lock.fits(Mode::Exclusive, work.ctx.now) {
        return Err(held(work));
    }
    if !work.environment()?.settings.write_without_lock {
        return Err(Refusal::LeaseRequired);
    }
    let coming = work.snapshot.lock.coming_token(work.ctx.epoch);
    if coming == write.token { Ok(()) } else { Err(Refusal::TokenMoved(coming)) }
}

fn commit(work: &mut Work<'_>, state: &StateName, write: &Write) -> Reply {
    let (ctx, settings) = (work.ctx, work.settings());
    if write.passing {
        work.snapshot.lock.last_token = write.token;
    } else if let Ok(holder) = own_holder(work, &write.session, write.token) {
        holder.claim(ctx.now, &settings, ctx);
        holder.wrote(&settings, ctx);
    }
    let current = work.snapshot.current.as_ref();
    let content = write.content.as_ref();
    let version = VersionMeta {
        state: current.filter(|current| !current.deleted()).map_or(write.fresh_state, |current| current.state),
        path: state.path.clone(),
        version: Version(current.map_or(0, |current| current.version.0) + 1),
        etag: write.etag,
        previous_etag: current.map(|current| current.etag),
        token: write.token,
        principal: work.principal().clone(),
        session: write.session.clone(),
        format: content.map(|content| content.format).or(current.map(|current| current.format)).unwrap_or(Format::Opaque),
        terraform: content.and_then(|content| content.terraform.clone()),
        digest: content.map(|content| content.digest),
        shown_size: content.map_or(0, |content| content.shown_size),
        origin: write.origin,
        written: ctx.wall,
        inner_lock: write.inner_lock.clone(),
        seal: content.map(|content| content.seal),
        body: content.map(|content| content.body),
    };
    let kind = if version.deleted() { EventKind::StateDeleted } else { EventKind::VersionWritten };
    work.changes.push(Change::PutVersion(version.clone(), write.content.clone()));
    if let Origin::Promote(draft) = write.origin {
        work.changes.push(Change::DropDraft(draft));
    }
    work.event(Event {
        version: Some(version.version),
        etag: Some(version.etag),
        token: Some(version.token),
        draft: match write.origin {
            Origin::Promote(draft) => Some(draft),
            _ => None,
        },
        ..Event::new(kind).by(work.principal(), Some(&write.session))
    });
    work.remember();
    Reply::Wrote { version: Box::new(version), replayed: false }
}

/// Keeps a refused document as a draft, once per lease and content, within the quota.
fn keep(work: &mut Work<'_>, state: &StateName, write: &Write, why: Refusal) -> Refusal {
    let (Some(content), Origin::Write) = (&write.content, write.origin) else { return why };
    let why = Box::new(why);
    if let Some(twin) = work.snapshot.twin.take() {
        if work.ctx.now < twin.expires {
            return Refusal::Kept { draft: twin.id, why };
        }
        work.changes.push(Change::DropDraft(twin.id));
    }
    if let Err((drafts, bytes)) = make_room(work, content) {
        return Refusal::DraftQuota { why, drafts, bytes };
    }
    let draft = draft(work, state, write, content, &why);
    work.changes.push(Change::PutDraft(draft, content.clone()));
    work.event(Event {
        draft: Some(write.draft),
        token: Some(write.token),
        ..Event::new(EventKind::DraftKept).by(work.principal(), Some(&write.session)).because(why.code())
    });
    work.remember();
    Refusal::Kept { draft: write.draft, why }
}

fn draft(work: &Work<'_>, state: &StateName, write: &Write, content: &Content, why: &Refusal) -> DraftMeta {
    let (ctx, life) = (work.ctx, work.settings().draft_life);
    DraftMeta {
        id: write.draft,
        path: state.path.clone(),
        reason: why.code().to_owned(),
        principal: work.principal().clone(),
        session: write.session.clone(),
        token: write.token,
        expect: write.expect,
        format: content.format,
        terraform: content.terraform.clone(),
        digest: content.digest,
        shown_size: content.shown_size,
        stored_size: content.stored_size,
        written: ctx.wall,
        expires: ctx.now.after(life),
        expires_wall: WallTime(ctx.wall.0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX))),
        inner_lock: write.inner_lock.clone(),
        seal: SealMeta { mac: content.draft_mac, ..content.seal },
        body: content.body,
    }
}

/// Drops the oldest drafts that a later one of the same lease supersedes, as far as the quota needs it.
fn make_room(work: &mut Work<'_>, content: &Content) -> Result<(), (u32, u64)> {
    let settings = work.settings();
    let (mut count, mut bytes) = (work.snapshot.drafts.count, work.snapshot.drafts.bytes);
    let mut dropped = Vec::new();
    for (id, size) in &work.snapshot.drafts.superseded {
        if count < settings.max_drafts && bytes + content.stored_size <= settings.max_draft_bytes {
            break;
        }
        dropped.push(*id);
        (count, bytes) = (count - 1, bytes.saturating_sub(*size));
    }
    if count >= settings.max_drafts || bytes + content.stored_size > settings.max_draft_bytes {
        return Err((work.snapshot.drafts.count, work.snapshot.drafts.bytes));
    }
    work.changes.extend(dropped.into_iter().map(Change::DropDraft));
    Ok(())
}

fn discard(work: &mut Work<'_>, draft: DraftId) -> Result<Reply, Refusal> {
    kept(work, draft)?;
    work.changes.push(Change::DropDraft(draft));
    work.event(Event { draft: Some(draft), ..Event::new(EventKind::DraftDiscarded).by(work.principal(), None) });
    work.remember();
    Ok(Reply::DraftDiscarded)
}

/// Whether the draft is there: one past its time is gone, swept or not.
fn kept(work: &Work<'_>, draft: DraftId) -> Result<(), Refusal> {
    let live = work.snapshot.draft.as_ref().filter(|draft| work.ctx.now < draft.expires);
    live.map(|_| ()).ok_or(Refusal::DraftNotFound(draft))
}

fn purge(work: &mut Work<'_>, version: Option<Version>) -> Result<Reply, Refusal> {
    let current = work.snapshot.current.as_ref().ok_or(Refusal::StateNotFound)?;
    let versions = match version {
        None => work.snapshot.purgeable,
        Some(version) if version == current.version => return Err(Refusal::VersionCurrent(version)),
        Some(version) => {
            let named = work.snapshot.version.as_ref().ok_or(Refusal::VersionNotFound(version))?;
            u64::from(named.body.is_some())
        }
    };
    if versions > 0 {
        work.changes.push(Change::PurgeVersions(version));
        let event = Event { version, ..Event::new(EventKind::StatePurged) };
        work.event(event.by(work.principal(), None).because(format!("{versions} versions")));
        work.remember();
    }
    Ok(Reply::Purged { versions })
}
