//! From the harness's words to the store's.

use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::command::{self, Act, Command, ContentAct, EnvironmentAct, LockAct};
use leasehold::domain::document::{Expect, Origin as DomainOrigin};
use leasehold::domain::format::{Format, TerraformHeader};
use leasehold::domain::ids::{self, BodyId, DraftId, EnvironmentId, Etag, KeyedDigest, RequestId, StateId, TicketId};
use leasehold::domain::lock::Mode as DomainMode;
use leasehold::domain::names::{EnvironmentName, Labels};
use leasehold::domain::settings::{Plans as DomainPlans, SettingsChange};

use super::{DEFAULT_TTL, Driver, LOCK_DELAY, body_bytes, name, sealing, state};
use crate::history::{Actor, Ask, Call, Lock, Mode, Origin, Plans, Request, Write};
use crate::script::ENVIRONMENTS;

/// Building commands.
impl Driver {
    pub(super) fn command(&mut self, actor: Actor, request: Option<Request>, call: &Call) -> Command {
        let session = || name(actor).1.parse().expect("sessions of the script are sessions");
        let reason = || "a test".parse().expect("a reason");
        let lock = |lock: &Lock, act: LockAct| Act::Lock(state(*lock), act);
        let content = |lock: &Lock, act: ContentAct| Act::Content(state(*lock), Box::new(act));
        let act = match call {
            Call::Acquire { lock: at, ask, .. } => lock(at, LockAct::Acquire(acquire(actor, ask))),
            Call::Refresh { lock: at, .. } => lock(at, LockAct::Refresh { session: session() }),
            Call::Cancel { lock: at, ticket, .. } => {
                let session = ticket.is_none().then(session);
                lock(at, LockAct::Cancel { ticket: ticket.map(TicketId), session })
            }
            Call::Renew { lock: at, token, ttl, .. } => {
                let ttl = ttl.map(Duration::from_micros);
                lock(at, LockAct::Renew { session: session(), token: ids::Token(*token), ttl })
            }
            Call::Release { lock: at, token, abandoned, .. } => {
                lock(at, LockAct::Release { session: session(), token: ids::Token(*token), abandoned: *abandoned })
            }
            Call::Reacquire { lock: at, old, .. } => lock(at, LockAct::Reacquire { session: session(), old: ids::Token(*old) }),
            Call::Break { lock: at, token, now, take, .. } => {
                let take = take.as_ref().map(|take| acquire(actor, take));
                lock(
                    at,
                    LockAct::Break(command::Break {
                        token: token.map(ids::Token),
                        reason: reason(),
                        now: *now,
                        forced: false,
                        take,
                    }),
                )
            }
            Call::Force { lock: at, .. } => {
                let act = command::Break { token: None, reason: reason(), now: false, forced: true, take: None };
                lock(at, LockAct::Break(act))
            }
            Call::TakeBack { lock: at, token, asked, .. } => {
                lock(at, LockAct::TakeBack { session: session(), token: ids::Token(*token), asked: *asked })
            }
            Call::Freeze { lock: at } => lock(at, LockAct::Freeze(reason())),
            Call::Unfreeze { lock: at } => lock(at, LockAct::Unfreeze),
            Call::Write { lock: at, write, .. } => {
                let body = BodyId(u128::from(self.fresh()).to_be_bytes());
                content(at, ContentAct::Write(domain_write(actor, write, body)))
            }
            Call::Discard { lock: at, draft } => content(at, ContentAct::DiscardDraft(DraftId(draft.to_be_bytes()))),
            Call::Purge { lock: at, version } => content(at, ContentAct::Purge(version.map(ids::Version))),
            Call::CreateEnvironment { env } => Act::Environment(environment(*env), {
                let id = EnvironmentId(u128::from(self.fresh()).to_be_bytes());
                let settings = SettingsChange {
                    lock_delay: Some(Duration::from_micros(LOCK_DELAY)),
                    default_ttl: Some(Duration::from_micros(DEFAULT_TTL)),
                    ..SettingsChange::default()
                };
                EnvironmentAct::Create { id, settings, keyring: Box::new(sealing::keyring()) }
            }),
            Call::FreezeEnvironment { env } => Act::Environment(environment(*env), EnvironmentAct::Freeze(reason())),
            Call::UnfreezeEnvironment { env } => Act::Environment(environment(*env), EnvironmentAct::Unfreeze),
            Call::SetDelay { env, delay } => {
                let lock_delay = Some(Duration::from_micros(*delay));
                Act::Environment(
                    environment(*env),
                    EnvironmentAct::Set(SettingsChange { lock_delay, ..SettingsChange::default() }),
                )
            }
            Call::SetDraftLife { env, life } => {
                let draft_life = Some(Duration::from_micros(*life));
                Act::Environment(
                    environment(*env),
                    EnvironmentAct::Set(SettingsChange { draft_life, ..SettingsChange::default() }),
                )
            }
            Call::SetDoor { env, plans, passing } => {
                let plans = match plans {
                    Plans::Shared => DomainPlans::Shared,
                    Plans::Snapshot => DomainPlans::Snapshot,
                    Plans::Exclusive => DomainPlans::Exclusive,
                };
                let set = SettingsChange { plans: Some(plans), write_without_lock: Some(*passing), ..SettingsChange::default() };
                Act::Environment(environment(*env), EnvironmentAct::Set(set))
            }
            other => unreachable!("{other:?} is no command"),
        };
        self.wrap(actor, request, act)
    }

    pub(super) fn wrap(&self, actor: Actor, request: Option<Request>, act: Act) -> Command {
        let keyed = |request: Request| (RequestId(request.id.to_be_bytes()), keyed_digest(request.digest));
        let principal = name(actor).0.parse().expect("principals of the script are principals");
        Command { principal, trace: Arc::default(), request: request.map(keyed), act }
    }
}

fn acquire(actor: Actor, ask: &Ask) -> command::Acquire {
    command::Acquire {
        session: name(actor).1.parse().expect("sessions of the script are sessions"),
        mode: match ask.mode {
            Mode::Exclusive => DomainMode::Exclusive,
            Mode::Shared => DomainMode::Shared,
        },
        ttl: ask.ttl.map(Duration::from_micros),
        wait: ask.wait,
        labels: Labels::default(),
        unattended: ask.unattended,
        polls: ask.polls,
        plan: ask.plan,
        once: ask.once,
    }
}

/// The same write, with another guess at the token that comes next.
pub(super) fn pass_with(command: &mut Command, coming: ids::Token) {
    if let Act::Content(_, act) = &mut command.act
        && let ContentAct::Write(write) = act.as_mut()
    {
        write.token = coming;
    }
}

fn domain_write(actor: Actor, write: &Write, body: BodyId) -> command::Write {
    let format = if write.terraform.is_some() { Format::Terraform } else { Format::Opaque };
    let terraform = write.terraform.map(|(lineage, serial)| TerraformHeader { lineage: lineage.to_string(), serial });
    command::Write {
        session: name(actor).1.parse().expect("sessions of the script are sessions"),
        token: ids::Token(write.token),
        passing: write.passing,
        expect: Expect { version: ids::Version(write.expect.0), etag: write.expect.1.map(|etag| Etag(etag.to_be_bytes())) },
        content: write.bytes.map(|bytes| sealing::content(body, body_bytes(bytes), keyed_digest(bytes), format, terraform)),
        origin: match write.origin {
            Origin::Write => DomainOrigin::Write,
            Origin::Rollback => DomainOrigin::Rollback(ids::Version(1)),
            Origin::Promote(draft) => DomainOrigin::Promote(DraftId(draft.to_be_bytes())),
            Origin::Delete => DomainOrigin::Delete,
        },
        guessed: false,
        rewrite: write.rewrite,
        masked: false,
        inner_lock: None,
        etag: Etag(write.etag.to_be_bytes()),
        fresh_state: StateId(write.etag.to_be_bytes()),
        draft: DraftId(write.draft.to_be_bytes()),
    }
}

fn keyed_digest(of: u64) -> KeyedDigest {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&of.to_be_bytes());
    KeyedDigest(digest)
}

pub(super) fn environment(env: usize) -> EnvironmentName {
    ENVIRONMENTS[env].parse().expect("names of the script are names")
}
