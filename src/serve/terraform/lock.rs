//! Taking the lock, and giving it back.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use super::failure::Failure;
use super::{Door, answer, body};
use crate::backend::{Body as Sent, Kind, LockInfo};
use crate::domain::names::{Labels, Session, StateName};
use crate::domain::refusal::Refusal;
use crate::service::tools::{Ask, Locked};
use crate::service::{Caller, Error};

impl Door {
    pub(super) async fn lock(
        &self,
        caller: &Caller,
        state: StateName,
        wait: Option<Duration>,
        request: Request<Body>,
    ) -> Result<Response, Failure> {
        let (parts, sent) = request.into_parts();
        let sent = body::small(&parts.headers, sent).await?;
        let Sent::Info(info) = LockInfo::parse(&sent).map_err(Failure::lock_info)? else {
            return Err(Failure::argument("a lock is taken with lock info, and there is none"));
        };
        let plan = info.kind() == Kind::Plan;
        let ask = Ask { state, id: session(&info.id)?, plan, labels: labels(&info), hold: wait };
        let locked = tokio::select! {
            biased;
            locked = self.service.tool_lock(caller, ask) => locked,
            // It comes again, and finds its place.
            () = self.stopping.stopped() => Err(Error::Stopping),
        };
        match locked {
            Ok(Locked::Held(lease)) => Ok(answer::held(lease)),
            Ok(Locked::Unneeded) => Ok(answer::ok()),
            Ok(Locked::Taken(standing)) => {
                let taken = Failure::new(StatusCode::LOCKED, "LEASE_HELD", "the lock is held", "wait with `-lock-timeout=10m`");
                Err(taken.with_lock_info(answer::lock_info(&standing, &info.version)))
            }
            Err(error @ Error::Refused(Refusal::SessionSpent { .. })) => {
                Err(Failure::of(&error).with_lock_info(answer::spent(&info, &error.to_string())))
            }
            Err(error) => Err(Failure::of(&error)),
        }
    }

    pub(super) async fn unlock(
        &self,
        caller: &Caller,
        state: &StateName,
        id: Option<String>,
        request: Request<Body>,
    ) -> Result<Response, Failure> {
        let (parts, sent) = request.into_parts();
        let sent = body::small(&parts.headers, sent).await?;
        // A lock info of nothing but an id is how OpenTofu forces; nothing at all is how Terraform does.
        let (id, forced, plan) = match (LockInfo::parse(&sent).map_err(Failure::lock_info)?, id) {
            (Sent::Empty, None) => (None, true, false),
            (Sent::Empty, Some(id)) => (Some(session(&id)?), false, false),
            (Sent::Info(info), _) if info.is_bare() => (Some(session(first_word(&info.id))?), true, false),
            (Sent::Info(info), _) => (Some(session(&info.id)?), false, info.kind() == Kind::Plan),
        };
        let done = match (id, forced) {
            (Some(id), false) => self.service.tool_unlock(caller, state, &id, plan).await,
            (id, _) => {
                let reason = FORCED.parse().expect("a plain sentence is a reason");
                let broken = self.service.tool_force_unlock(caller, state, id.as_ref(), reason).await;
                broken.map(|broken| {
                    for holder in broken {
                        tracing::warn!(%state, principal = %holder.principal, session = %holder.session, token = %holder.token, "force-unlock broke a lease");
                    }
                })
            }
        };
        match done {
            Ok(()) => Ok(answer::ok()),
            Err(error) => {
                let standing = self.service.tool_standing(caller, state).await.ok();
                let failure = Failure::of(&error);
                Err(match standing.filter(|standing| !standing.holders.is_empty()) {
                    Some(standing) => failure.with_lock_info(answer::lock_info(&standing, "")),
                    None => failure,
                })
            }
        }
    }
}

/// The reason of a break by a client that can give none.
const FORCED: &str = "force-unlock by the client of an http backend";

/// What was pasted may have the words behind it that [`answer::lock_info`] put there.
fn first_word(id: &str) -> &str {
    id.split_ascii_whitespace().next().unwrap_or_default()
}

/// A lock id as a session.
pub(super) fn session(id: &str) -> Result<Session, Failure> {
    id.parse().map_err(|error| Failure::of(&Error::Name(error)))
}

fn labels(info: &LockInfo) -> Labels {
    let (who, host) = info.who.rsplit_once('@').unwrap_or((&info.who, ""));
    let label = |text: &str| text.chars().filter(|char| !char.is_control()).take(64).collect::<String>();
    Labels {
        who: label(who),
        host: label(host),
        operation: label(&info.operation),
        tool_version: label(&info.version),
        ..Labels::default()
    }
}
