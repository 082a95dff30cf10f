//! `env`.

use super::context::Context;
use super::failure::Failure;
use super::flags::env::{EnvCommand, PlansFlag, RulesCommand, SettingsFlags};
use super::output::{insist, note};
use crate::client::Error;
use crate::pb::v1::{Plans, Settings};

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
    /// How often somebody else may be quicker.
    const TRIES: u32 = 8;
    let Context { client, out, .. } = context;
    let (name, add, remove) = match command {
        RulesCommand::List { name } => return out.rules(&client.rules(&name).await?),
        RulesCommand::Add { name, rules } => (name, rules, Vec::new()),
        RulesCommand::Remove { name, rules } => (name, Vec::new(), rules),
    };
    // What others change meanwhile is not undone: this change is made to theirs.
    for tries in (0..TRIES).rev() {
        let now = client.rules(&name).await?;
        if let Some(missing) = remove.iter().find(|rule| !now.rules.contains(rule)) {
            return Err(Failure::local(format!("there is no rule `{missing}`"), "see `leasehold env rules list`"));
        }
        let mut next = now.clone();
        next.rules.retain(|rule| !remove.contains(rule));
        next.rules.extend(add.iter().filter(|rule| !now.rules.contains(rule)).cloned());
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
        plans: flags.plans.map(|plans| match plans {
            PlansFlag::Shared => Plans::Shared.into(),
            PlansFlag::Snapshot => Plans::Snapshot.into(),
            PlansFlag::Exclusive => Plans::Exclusive.into(),
        }),
        write_without_lock: flags.write_without_lock,
    }
}
