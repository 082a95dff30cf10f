//! `token` and `access`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use super::context::Context;
use super::failure::{Failure, code};
use super::flags::access::{AccessCommand, CreateFlags, TokenCommand};
use super::output::{Show, note};
use crate::pb::v1::{ApiToken, Scope};

pub(crate) async fn token(context: &Context, command: TokenCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    match command {
        TokenCommand::Create(flags) => create(context, flags).await,
        TokenCommand::List => out.list(&client.tokens().await?),
        TokenCommand::Revoke { name } => {
            let revoked = client.revoke_token(&name).await?;
            note(format!("{} is not accepted any more, nor is what it made; their leases are broken", revoked.principal));
            if out.is_json() { out.one(&revoked) } else { Ok(()) }
        }
    }
}

pub(crate) async fn access(context: &Context, command: AccessCommand) -> Result<u8, Failure> {
    let Context { client, out, .. } = context;
    match command {
        AccessCommand::Grant { to, role, on, recipient } => {
            let scope = Scope { verbs: vec![role], on, recipients: recipient };
            out.one(&client.grant(&to, scope).await?)?;
        }
        AccessCommand::List => out.list(&client.grants().await?)?,
        AccessCommand::Revoke { id } => {
            let gone = client.revoke_grant(&id).await?;
            note(format!("{} does not have this any more", gone.to));
            out.one(&gone)?;
        }
        AccessCommand::Explain { principal, verb, object } => {
            let explained = client.explain(&principal, &verb, &object).await?;
            out.one(&explained)?;
            return Ok(if explained.allowed { code::DONE } else { code::REFUSED });
        }
    }
    Ok(code::DONE)
}

async fn create(context: &Context, flags: CreateFlags) -> Result<(), Failure> {
    let CreateFlags { name, role, state, life, recipient, to } = flags;
    let scopes = state.into_iter().map(|on| Scope { verbs: role.clone(), on, recipients: recipient.clone() }).collect();
    let life = life.map_or(0, |life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
    // Before the token is made: one that cannot be written would be lost.
    let file = to.as_deref().map(new_file).transpose()?;
    let made = context.client.create_token(&name.unwrap_or_default(), scopes, life).await;
    let made = made.inspect_err(|_| drop(to.as_deref().map(std::fs::remove_file)))?;
    let (token, secret) = (made.token.unwrap_or_default(), Zeroizing::new(made.secret));
    let shown = match (file, &to) {
        (Some(mut file), Some(path)) => {
            let written = writeln!(file, "{}", *secret).and_then(|()| file.sync_all());
            written.map_err(|cause| cannot(path, &cause))?;
            None
        }
        _ => Some(secret),
    };
    show(context, &token, shown.as_ref())
}

fn show(context: &Context, token: &ApiToken, secret: Option<&Zeroizing<String>>) -> Result<(), Failure> {
    let mut pairs = token.card();
    pairs.extend(secret.map(|secret| ("token", secret.to_string())));
    context.out.card(&pairs, || {
        let mut value = token.json();
        if let Some(secret) = secret {
            value["secret"] = json!(**secret);
        }
        value
    })?;
    if secret.is_some() {
        note("keep it now: it is not shown again");
    }
    Ok(())
}

fn new_file(path: &Path) -> Result<std::fs::File, Failure> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(|cause| cannot(path, &cause))
}

fn cannot(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {cause}", path.display()), "choose another file; one that exists is not overwritten")
}
