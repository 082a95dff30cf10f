//! `lease`.

mod breaking;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::context::{Context, new_session};
use super::failure::Failure;
use super::flags::lease::{AcquireFlags, HeldFlags, LeaseCommand, ModeFlag};
use super::hold;
use super::output::{granted, note};
use super::signals::Signals;
use crate::client::{Ask, FencingToken, LeaseRef, LeaseSecret};
use crate::pb::v1::Mode;

pub(crate) async fn lease(context: &Context, command: LeaseCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    match command {
        LeaseCommand::Acquire(flags) => acquire(context, flags).await,
        LeaseCommand::Renew(flags) => renew(context, &flags, None).await,
        LeaseCommand::Extend { held, ttl } => renew(context, &held, Some(ttl)).await,
        LeaseCommand::Release { held, abandoned } => {
            let lease = named(context, &held)?;
            let reply = client.release(&lease, abandoned).await?;
            let how = if reply.was_live { "released" } else { "was not live any more" };
            note(format!("the lease on {} (token {}) {how}", lease.state, lease.token));
            Ok(())
        }
        LeaseCommand::List { prefix, all } => out.list(&client.locks(&prefix, all).await?),
        LeaseCommand::Show { state } => out.one(&client.lock(&state).await?),
        LeaseCommand::Tickets { state } => out.list(&client.tickets(&state).await?),
        LeaseCommand::Cancel { state, ticket, session } => {
            let was_waiting = client.cancel(&state, session.as_deref().unwrap_or_default(), ticket).await?;
            note(if was_waiting { "the place in the queue is given up" } else { "there was no such place any more" });
            Ok(())
        }
        LeaseCommand::Break(flags) => breaking::break_lease(context, flags).await,
        LeaseCommand::Reacquire(flags) => {
            let old = named(context, &flags)?;
            let new = client.reacquire(&old.state, &old.session, old.token).await?;
            let lease = LeaseRef { token: FencingToken(new.token), ..old };
            let (card, json) = granted(&lease, new.ttl_ms);
            out.card(&card, || json)
        }
    }
}

pub(crate) fn mode(flag: ModeFlag) -> Mode {
    match flag {
        ModeFlag::Exclusive => Mode::Exclusive,
        ModeFlag::Shared => Mode::Shared,
    }
}

async fn acquire(context: &Context, flags: AcquireFlags) -> Result<(), Failure> {
    let ask = Ask {
        state: flags.state,
        session: flags.session.unwrap_or_else(new_session),
        mode: mode(flags.mode),
        ttl: flags.ttl,
        wait: flags.wait,
        labels: context.environ.labels.clone(),
        unattended: flags.unattended,
    };
    let grant = hold::acquire(context, &ask, &mut Signals::install()?).await?;
    if let (Some(path), Some(secret)) = (&flags.secret_file, &grant.reference.secret) {
        write_secret(path, secret)?;
    }
    let ttl_ms = u64::try_from(grant.ttl.as_millis()).unwrap_or(u64::MAX);
    let (card, json) = granted(&grant.reference, ttl_ms);
    context.out.card(&card, || json)
}

async fn renew(context: &Context, flags: &HeldFlags, ttl: Option<std::time::Duration>) -> Result<(), Failure> {
    let lease = named(context, flags)?;
    let reply = context.client.renew(&lease, ttl).await?;
    let (card, json) = granted(&lease, reply.ttl_ms);
    context.out.card(&card, || json)
}

/// The lease that the flags name, or the one of the `run` around.
fn named(context: &Context, flags: &HeldFlags) -> Result<LeaseRef, Failure> {
    hold::held(context, &flags.state, flags.session.as_ref().zip(flags.token)).ok_or_else(|| {
        Failure::usage(
            format!("which lease on {} is meant is not said", flags.state),
            "add --session and --token, as `lease acquire` printed them",
        )
    })
}

fn write_secret(path: &Path, secret: &LeaseSecret) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(secret.expose().as_bytes())).map_err(|cause| {
        Failure::local(
            format!("the lease was taken, but its secret cannot be written to {}: {cause}", path.display()),
            "name a new file, and release the lease",
        )
    })
}
