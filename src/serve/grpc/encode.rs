//! Domain to wire.

use std::time::Duration;

use crate::domain::decision::Place;
use crate::domain::document::{DraftMeta, Expect, Origin, VersionMeta};
use crate::domain::environment::Environment;
use crate::domain::event::{EventKind, Recorded};
use crate::domain::format::Format;
use crate::domain::lock::{End, Holder, LockRow, Mode, Ticket};
use crate::domain::names::{EnvironmentName, Labels, StateName};
use crate::domain::refusal::HeldBy;
use crate::domain::rules::SealRules;
use crate::domain::settings::Plans;
use crate::domain::time::StoreTime;
use crate::pb::v1 as pb;
use crate::service::environments::PublicKeys;
use crate::service::leases::Granted;
use crate::service::push::{Warning, WarningKind};
use crate::service::views::View;

pub(super) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn mode(mode: Mode) -> i32 {
    match mode {
        Mode::Exclusive => pb::Mode::Exclusive.into(),
        Mode::Shared => pb::Mode::Shared.into(),
    }
}

pub(super) fn format(format: Format) -> i32 {
    match format {
        Format::Terraform => pb::Format::Terraform.into(),
        Format::Pulumi => pb::Format::Pulumi.into(),
        Format::Json => pb::Format::Json.into(),
        Format::Opaque => pb::Format::Opaque.into(),
    }
}

pub(super) fn labels(labels: Labels) -> pb::Labels {
    let Labels { who, host, pid, run_url, commit, operation, tool_version } = labels;
    pb::Labels { who, host, pid, run_url, commit, operation, tool_version }
}

pub(super) fn environment(environment: Environment, states: u64, keys: PublicKeys) -> pb::Environment {
    let settings = environment.settings;
    pb::Environment {
        name: environment.name.into(),
        settings: Some(pb::Settings {
            lock_delay_ms: Some(ms(settings.lock_delay)),
            default_ttl_ms: Some(ms(settings.default_ttl)),
            max_tickets: Some(settings.max_tickets),
            max_drafts: Some(settings.max_drafts),
            max_draft_bytes: Some(settings.max_draft_bytes),
            draft_life_ms: Some(ms(settings.draft_life)),
            allow_opaque: Some(settings.allow_opaque),
            allow_plaintext: Some(settings.allow_plaintext),
            unattended_expires: Some(settings.unattended_expires),
            plans: Some(plans(settings.plans).into()),
            write_without_lock: Some(settings.write_without_lock),
        }),
        frozen: environment.frozen.map(String::from).unwrap_or_default(),
        states,
        created_unix_ms: environment.created.0,
        signer: keys.signer,
        recovery: keys.recovery,
        identity: keys.identity,
    }
}

fn plans(plans: Plans) -> pb::Plans {
    match plans {
        Plans::Shared => pb::Plans::Shared,
        Plans::Snapshot => pb::Plans::Snapshot,
        Plans::Exclusive => pb::Plans::Exclusive,
    }
}

pub(super) fn view(view: &View) -> i32 {
    match view {
        View::Full => pb::View::Full.into(),
        View::Redacted => pb::View::Redacted.into(),
        View::Outputs | View::OutputsState => pb::View::Outputs.into(),
        View::Sealed(_) => pb::View::Sealed.into(),
    }
}

pub(super) fn rules(rules: &SealRules) -> pb::Rules {
    pb::Rules { revision: rules.revision(), rules: rules.rules().iter().map(ToString::to_string).collect() }
}

pub(super) fn granted(granted: Granted) -> pb::Granted {
    let Granted { grant, secret } = granted;
    pb::Granted {
        token: grant.token.0,
        ttl_ms: ms(grant.ttl),
        remaining_ms: grant.remaining.map_or(0, ms),
        unclaimed: !grant.claimed,
        lease_secret: secret,
        lock_delay_ms: ms(grant.lock_delay),
    }
}

pub(super) fn queued(place: Place) -> pb::Queued {
    pb::Queued {
        ticket: place.ticket.0,
        place: place.place,
        holders: place.holders.into_iter().map(held_by).collect(),
        cooldown_ms: place.cooldown.map_or(0, ms),
        frozen: place.frozen.unwrap_or_default(),
    }
}

fn held_by(held: HeldBy) -> pb::Holder {
    pb::Holder {
        principal: held.principal.into(),
        session: held.session.into(),
        mode: mode(held.mode),
        token: held.token.0,
        labels: Some(labels(held.labels)),
        overdue: held.overdue,
        claimed: true,
        ..pb::Holder::default()
    }
}

pub(super) fn holder(holder: Holder, now: StoreTime, overdue: Duration) -> pb::Holder {
    pb::Holder {
        overdue: holder.overdue(now, overdue),
        remaining_ms: holder.remaining(now).map_or(0, ms),
        silent_ms: holder.unattended_since.map_or(0, |since| ms(now.since(since))),
        principal: holder.principal.into(),
        session: holder.session.into(),
        mode: mode(holder.mode),
        token: holder.token.0,
        ttl_ms: ms(holder.ttl),
        claimed: holder.claimed,
        unattended: holder.unattended_since.is_some(),
        labels: Some(labels(holder.labels)),
        granted_unix_ms: holder.granted.0,
    }
}

pub(super) fn lock(row: LockRow, now: StoreTime, overdue: Duration) -> pb::Lock {
    let seen = row.lock.seen_at(now);
    pb::Lock {
        state: StateName { environment: row.environment, path: row.path }.to_string(),
        holders: seen.holders.into_iter().map(|one| holder(one, now, overdue)).collect(),
        waiting: row.waiting,
        cooldown_ms: seen.cooldown_until.map_or(0, |until| ms(until.since(now))),
        frozen: row.frozen.or(seen.frozen.map(String::from)).unwrap_or_default(),
        last_token: seen.last_token.0,
    }
}

pub(super) fn ticket(place: u32, ticket: Ticket, now: StoreTime) -> pb::Ticket {
    pb::Ticket {
        ticket: ticket.id.0,
        place,
        remaining_ms: ms(ticket.deadline.since(now)),
        principal: ticket.principal.into(),
        session: ticket.session.into(),
        mode: mode(ticket.mode),
        labels: Some(labels(ticket.labels)),
        queued_unix_ms: ticket.queued.0,
    }
}

pub(super) fn end(end: &End) -> pb::LossReason {
    match end {
        End::Expired => pb::LossReason::Expired,
        End::Unclaimed => pb::LossReason::Unclaimed,
        End::Released | End::Abandoned => pb::LossReason::Released,
        End::Broken { .. } => pb::LossReason::Broken,
    }
}

pub(super) fn loss(kind: EventKind) -> pb::LossReason {
    match kind {
        EventKind::LeaseExpired => pb::LossReason::Expired,
        EventKind::LeaseBroken => pb::LossReason::Broken,
        EventKind::LeaseReleased => pb::LossReason::Released,
        EventKind::LeaseUnclaimed => pb::LossReason::Unclaimed,
        EventKind::TicketGone => pb::LossReason::TicketGone,
        _ => pb::LossReason::Ended,
    }
}

pub(super) fn version(environment: &EnvironmentName, version: VersionMeta) -> pb::VersionInfo {
    let (origin, origin_version, origin_draft) = match version.origin {
        Origin::Write => (pb::Origin::Write, 0, String::new()),
        Origin::Rollback(from) => (pb::Origin::Rollback, from.0, String::new()),
        Origin::Promote(draft) => (pb::Origin::Promote, 0, draft.to_string()),
        Origin::Delete => (pb::Origin::Delete, 0, String::new()),
    };
    pb::VersionInfo {
        deleted: version.deleted(),
        purged: version.body.is_none() && !version.deleted(),
        state: StateName { environment: environment.clone(), path: version.path }.to_string(),
        version: version.version.0,
        etag: version.etag.to_string(),
        previous_etag: version.previous_etag.map(|etag| etag.to_string()).unwrap_or_default(),
        token: version.token.0,
        principal: version.principal.into(),
        session: version.session.into(),
        format: format(version.format),
        serial: version.terraform.as_ref().map_or(0, |header| header.serial),
        lineage: version.terraform.map(|header| header.lineage).unwrap_or_default(),
        shown_size: version.shown_size,
        origin: origin.into(),
        origin_version,
        origin_draft,
        written_unix_ms: version.written.0,
        inner_lock_id: version.inner_lock.map(String::from).unwrap_or_default(),
    }
}

pub(super) fn draft(environment: &EnvironmentName, draft: DraftMeta, snapshots: u32) -> pb::DraftInfo {
    pb::DraftInfo {
        state: StateName { environment: environment.clone(), path: draft.path }.to_string(),
        draft: draft.id.to_string(),
        reason: draft.reason,
        principal: draft.principal.into(),
        session: draft.session.into(),
        token: draft.token.0,
        expect: Some(expect(draft.expect)),
        format: format(draft.format),
        serial: draft.terraform.as_ref().map_or(0, |header| header.serial),
        lineage: draft.terraform.map(|header| header.lineage).unwrap_or_default(),
        shown_size: draft.shown_size,
        written_unix_ms: draft.written.0,
        expires_unix_ms: draft.expires_wall.0,
        snapshots,
    }
}

fn expect(expect: Expect) -> pb::Expect {
    pb::Expect { version: expect.version.0, etag: expect.etag.map(|etag| etag.to_string()).unwrap_or_default() }
}

pub(super) fn event(cursor: String, recorded: &Recorded) -> pb::Event {
    let event = recorded.event.clone();
    let environment = recorded.environment.clone();
    let target = match recorded.path.clone() {
        Some(path) => StateName { environment, path }.to_string(),
        None => environment.into(),
    };
    pb::Event {
        cursor,
        kind: kind(event.kind).into(),
        target,
        version: event.version.map_or(0, |version| version.0),
        etag: event.etag.map(|etag| etag.to_string()).unwrap_or_default(),
        draft: event.draft.map(|draft| draft.to_string()).unwrap_or_default(),
        token: event.token.map_or(0, |token| token.0),
        ticket: event.ticket.map_or(0, |ticket| ticket.0),
        mode: event.mode.map_or(0, mode),
        principal: event.principal.map(String::from).unwrap_or_default(),
        session: event.session.map(String::from).unwrap_or_default(),
        message: event.message,
        at_unix_ms: recorded.wall.0,
    }
}

fn kind(kind: EventKind) -> pb::EventKind {
    match kind {
        EventKind::KeysChanged => pb::EventKind::KeysChanged,
        EventKind::LeaseGranted => pb::EventKind::LeaseGranted,
        EventKind::LeaseReleased => pb::EventKind::LeaseReleased,
        EventKind::LeaseExpired => pb::EventKind::LeaseExpired,
        EventKind::LeaseBroken => pb::EventKind::LeaseBroken,
        EventKind::LeaseUnclaimed => pb::EventKind::LeaseUnclaimed,
        EventKind::TicketQueued => pb::EventKind::TicketQueued,
        EventKind::TicketGone => pb::EventKind::TicketGone,
        EventKind::VersionWritten => pb::EventKind::VersionWritten,
        EventKind::DraftKept => pb::EventKind::DraftKept,
        EventKind::DraftDiscarded => pb::EventKind::DraftDiscarded,
        EventKind::StateDeleted => pb::EventKind::StateDeleted,
        EventKind::StatePurged => pb::EventKind::StatePurged,
        EventKind::Frozen => pb::EventKind::Frozen,
        EventKind::Unfrozen => pb::EventKind::Unfrozen,
        EventKind::EnvironmentCreated => pb::EventKind::EnvironmentCreated,
        EventKind::EnvironmentChanged => pb::EventKind::EnvironmentChanged,
        EventKind::EnvironmentDeleted => pb::EventKind::EnvironmentDeleted,
    }
}

pub(super) fn warning(warning: Warning) -> pb::Warning {
    let code = match warning.kind {
        WarningKind::MarkUnresolved => "MARK_UNRESOLVED",
        WarningKind::MarkShape => "MARK_SHAPE",
        WarningKind::StructuralSecret => "STRUCTURAL_SECRET",
        WarningKind::Overflow => "TOO_MANY_SECRETS",
    };
    pb::Warning { code: code.to_owned(), place: warning.path.to_string(), message: warning.kind.to_string() }
}
