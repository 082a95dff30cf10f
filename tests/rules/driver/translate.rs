//! From the store's words to the harness's.

use leasehold::domain::decision;
use leasehold::domain::document::{Origin, VersionMeta};
use leasehold::domain::event::{Event, EventKind, Recorded};
use leasehold::domain::ids::KeyedDigest;
use leasehold::domain::lock::{Mode as DomainMode, Ticket};
use leasehold::domain::names::{Principal, Session};
use leasehold::domain::refusal::Refusal;
use leasehold::store::LockRow;

use super::actor;
use crate::history::{Actor, At, How, Lock, Mode, Reply, Seen, Version, View, What};
use crate::script::{ENVIRONMENTS, LOCKS};

pub(super) fn reply(reply: Result<decision::Reply, Refusal>) -> Reply {
    match reply {
        Ok(reply) => done(reply),
        Err(refusal) => Reply::Refused { code: refusal.code(), draft: refusal.draft().map(|draft| u128::from_be_bytes(draft.0)) },
    }
}

fn done(reply: decision::Reply) -> Reply {
    use decision::Reply as Domain;
    match reply {
        Domain::Held(grant) => Reply::Held {
            token: grant.token.0,
            ttl: micros(grant.ttl),
            remaining: grant.remaining.map(micros),
            claimed: grant.claimed,
            asked: grant.asked,
        },
        Domain::Queued(place) => Reply::Queued { ticket: place.ticket.0, place: place.place },
        Domain::Cancelled { was_waiting } => Reply::Cancelled(was_waiting),
        Domain::Renewed { token, ttl, remaining, .. } => {
            Reply::Renewed { token: token.0, ttl: micros(ttl), remaining: remaining.map(micros) }
        }
        Domain::Released { was_live, .. } => Reply::Released { was_live },
        Domain::Broken { broken, then } => Reply::Broken {
            tokens: broken.iter().map(|holder| holder.token.0).collect(),
            then: then.map(|then| Box::new(done(*then))),
        },
        Domain::Wrote { version, replayed } => Reply::Wrote { version: self::version(&version), replayed },
        Domain::Purged { versions } => Reply::Purged(versions),
        Domain::Environment(_) => Reply::Done("environment"),
        Domain::EnvironmentDeleted { .. } => Reply::Done("environment deleted"),
        Domain::Frozen => Reply::Done("frozen"),
        Domain::Unfrozen { was: true } => Reply::Done("unfrozen"),
        Domain::Unfrozen { was: false } => Reply::Done("was not frozen"),
        Domain::DraftDiscarded => Reply::Done("discarded"),
        Domain::Keys { .. } => Reply::Done("keys"),
        Domain::Token(_) | Domain::Grant(_) => Reply::Done("access"),
        Domain::Unneeded => Reply::Done("no lease needed"),
        Domain::TakenBack { was: true } => Reply::Done("taken back"),
        Domain::TakenBack { was: false } => Reply::Nothing,
        Domain::Settled => Reply::Nothing,
    }
}

pub(super) fn version(row: &VersionMeta) -> Version {
    Version {
        version: row.version.0,
        etag: u128::from_be_bytes(row.etag.0),
        previous: row.previous_etag.map(|etag| u128::from_be_bytes(etag.0)),
        token: row.token.0,
        actor: who(Some(&row.principal), Some(&row.session)),
        deleted: row.origin == Origin::Delete,
        digest: row.digest.as_ref().map(digest),
        terraform: row
            .terraform
            .as_ref()
            .map(|header| (header.lineage.parse().expect("lineages are numbers here"), header.serial)),
        bytes: row.body.map(|_| true),
    }
}

pub(super) fn digest(digest: &KeyedDigest) -> u64 {
    digest.0[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

pub(super) fn lock(row: &LockRow) -> View {
    let holders = row.lock.holders.iter().map(|holder| {
        let deadline = holder.deadline.map(|deadline| deadline.0);
        (holder.token.0, who(Some(&holder.principal), Some(&holder.session)), mode(holder.mode), deadline)
    });
    View {
        lock: lock_index(row.environment.as_str(), row.path.as_str()),
        last_token: row.lock.last_token.0,
        holders: holders.collect(),
        tickets: Vec::new(),
        newest: None,
    }
}

pub(super) fn no_lock(lock: Lock) -> View {
    View { lock, last_token: 0, holders: Vec::new(), tickets: Vec::new(), newest: None }
}

pub(super) fn tickets(rows: &[Ticket], at: At) -> Vec<(u64, Actor)> {
    let live = rows.iter().filter(|ticket| at < ticket.deadline.0);
    live.map(|ticket| (ticket.id.0, who(Some(&ticket.principal), Some(&ticket.session)))).collect()
}

pub(super) fn event(recorded: &Recorded) -> Seen {
    let environment = recorded.environment.as_str();
    let env = ENVIRONMENTS.iter().position(|known| *known == environment).expect("events are about environments of the script");
    let lock = recorded.path.as_ref().map(|path| lock_index(environment, path.as_str()));
    Seen { env, lock, what: what(&recorded.event) }
}

fn what(event: &Event) -> What {
    let token = || event.token.expect("the event tells its token").0;
    let ticket = || event.ticket.expect("the event tells its ticket").0;
    let mode = || mode(event.mode.expect("the event tells its mode"));
    let actor = || who(event.principal.as_ref(), event.session.as_ref());
    let draft = || u128::from_be_bytes(event.draft.expect("the event tells its draft").0);
    let ended = |how| What::Ended { token: token(), how };
    let version = |deleted| What::Version {
        version: event.version.expect("the event tells its version").0,
        etag: u128::from_be_bytes(event.etag.expect("the event tells its etag").0),
        token: token(),
        deleted,
    };
    match event.kind {
        EventKind::LeaseGranted => {
            What::Granted { token: token(), ticket: event.ticket.map(|ticket| ticket.0), mode: mode(), actor: actor() }
        }
        EventKind::LeaseReleased => ended(How::Released),
        EventKind::LeaseExpired => ended(How::Expired),
        EventKind::LeaseBroken => ended(How::Broken),
        EventKind::LeaseUnclaimed => ended(How::Unclaimed),
        EventKind::TicketQueued => {
            let first = event.message.contains("first");
            What::Queued { ticket: ticket(), mode: mode(), actor: actor(), first }
        }
        EventKind::TicketGone => What::Gone { ticket: ticket() },
        EventKind::VersionWritten => version(false),
        EventKind::StateDeleted => version(true),
        EventKind::DraftKept => What::Draft(draft()),
        EventKind::DraftDiscarded => What::Discarded(draft()),
        EventKind::StatePurged => What::Purged(event.version.map(|version| version.0)),
        EventKind::Frozen => What::Frozen,
        EventKind::Unfrozen => What::Unfrozen,
        EventKind::EnvironmentCreated => What::Environment("created"),
        EventKind::EnvironmentChanged => What::Environment("changed"),
        EventKind::EnvironmentDeleted => What::Environment("deleted"),
        EventKind::KeysChanged => What::Environment("keys changed"),
    }
}

fn who(principal: Option<&Principal>, session: Option<&Session>) -> Actor {
    actor(principal.expect("it tells whose").as_str(), session.expect("it tells whose").as_str())
}

fn mode(mode: DomainMode) -> Mode {
    match mode {
        DomainMode::Exclusive => Mode::Exclusive,
        DomainMode::Shared => Mode::Shared,
    }
}

fn lock_index(environment: &str, path: &str) -> Lock {
    LOCKS.iter().position(|known| *known == (environment, path)).expect("locks are those of the script")
}

fn micros(span: std::time::Duration) -> At {
    u64::try_from(span.as_micros()).expect("spans of a script fit")
}
