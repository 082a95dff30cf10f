//! `env`.

use super::context::Context;
use super::failure::Failure;
use super::flags::env::{EnvCommand, RulesCommand, SettingsFlags};
use super::output::{insist, note};
use crate::client::Error;
use crate::pb::v1::Settings;

pub(crate) async fn env(context: &Context, command: EnvCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    match command {
        EnvCommand::Create { name, recovery, no_recovery, settings } => {
            if recovery.is_empty() && !no_recovery {
                let what = "without a recovery recipient everything in the environment is lost with the server's master key";
                let next =
                    "give `--recovery age1…` (make one with `age-keygen`, and keep its identity offline), or `--no-recovery`";
                return Err(Failure::usage(what, next));
            }
            out.one(&client.create_environment(&name, resolve(&settings), recovery).await?)
        }
        EnvCommand::List => out.list(&client.list_environments().await?),
        EnvCommand::Show { name } => out.one(&client.environment(&name).await?),
        EnvCommand::Set { name, settings } => {
            let settings = resolve(&settings);
            if settings == Settings::default() {
                return Err(Failure::usage("no setting is named", "see `leasehold env set --help`"));
            }
            out.one(&client.set_environment(&name, settings).await?)
        }
        EnvCommand::Rules(command) => rules(context, command).await,
        EnvCommand::Freeze { target, reason } => {
            client.freeze(&target, &reason).await?;
            note(format!("{target} is frozen; `leasehold env unfreeze {target}` ends it"));
            Ok(())
        }
        EnvCommand::Unfreeze { target } => {
            let was_frozen = client.unfreeze(&target).await?;
            note(format!("{target} {}", if was_frozen { "is not frozen any more" } else { "was not frozen" }));
            Ok(())
        }
        EnvCommand::Delete { name, force, yes } => {
            insist(yes, &format!("delete environment {name} with all its states, versions and drafts?"))?;
            let states = client.delete_environment(&name, force).await?;
            note(format!("{name} is deleted, and {states} states with it"));
            Ok(())
        }
    }
}

async fn rules(context: &Context, command: RulesCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    let (name, change): (_, Box<dyn Fn(&mut Vec<String>) -> Result<(), Failure>>) = match command {
        RulesCommand::List { name } => return out.rules(&client.rules(&name).await?),
        RulesCommand::Add { name, rules } => {
            let add = move |all: &mut Vec<String>| {
                let new: Vec<&String> = rules.iter().filter(|rule| !all.contains(rule)).collect();
                let new: Vec<String> = new.into_iter().cloned().collect();
                all.extend(new);
                Ok(())
            };
            (name, Box::new(add))
        }
        RulesCommand::Remove { name, rules } => {
            let remove = move |all: &mut Vec<String>| {
                if let Some(missing) = rules.iter().find(|rule| !all.contains(rule)) {
                    return Err(Failure::local(format!("there is no rule `{missing}`"), "see `leasehold env rules list`"));
                }
                all.retain(|rule| !rules.contains(rule));
                Ok(())
            };
            (name, Box::new(remove))
        }
    };
    // Somebody else may change other rules meanwhile; then this change is made to theirs.
    const TRIES: u32 = 8;
    for tries in (0..TRIES).rev() {
        let now = client.rules(&name).await?;
        let mut next = now.clone();
        change(&mut next.rules)?;
        if next == now {
            note("nothing to change");
            return out.rules(&now);
        }
        match client.set_rules(&name, next).await {
            Err(Error::Conflict(_)) if tries > 0 => {}
            set => return out.rules(&set?),
        }
    }
    Ok(())
}

fn resolve(flags: &SettingsFlags) -> Settings {
    let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Settings {
        lock_delay_ms: flags.lock_delay.map(ms),
        default_ttl_ms: flags.default_ttl.map(ms),
        max_tickets: flags.max_tickets,
        max_drafts: flags.max_drafts,
        max_draft_bytes: flags.max_draft_bytes,
        draft_life_ms: flags.draft_life.map(ms),
        allow_opaque: flags.allow_opaque,
        allow_plaintext: flags.allow_plaintext,
        unattended_expires: flags.unattended_expires,
    }
}
