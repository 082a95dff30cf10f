//! `keys`.

use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::flags::keys::{KeysCommand, RecipientsCommand};
use super::locking::passphrase;
use super::output::{insist, note, outcome};
use super::progress::Counter;
use crate::client::RecipientsAsk;
use crate::pb::v1::{DestroyKeysResponse, KeyOutcome};
use crate::secrets::hygiene;

pub(crate) async fn keys(context: &Context, command: KeysCommand) -> Result<(), Failure> {
    let Context { client, out, .. } = context;
    let mut counter = Counter::new();
    let step = |told| counter.show(&told);
    match command {
        KeysCommand::List { environment } => out.list(&client.key_report(&environment).await?.identities),
        KeysCommand::Recipients(command) => recipients(context, command).await,
        KeysCommand::Rewrap { environment, passphrase_file, .. } => match environment {
            Some(environment) => {
                let done = client.rewrap(&environment, step).await?;
                drop(counter);
                told(context, &format!("{environment}: all data keys are wrapped to identity {}", done.identity), &done)
            }
            None => {
                hygiene::harden().log();
                let passphrase = passphrase(context, passphrase_file.as_deref()).await?.unwrap_or_default();
                let done = client.rewrap_master(&passphrase, step).await?;
                drop(counter);
                match done.erased {
                    Some(false) => note("NOT all bytes of the old wraps are gone from the database yet; run it again later"),
                    Some(true) => note("copies of the database made before still open with the old master key"),
                    None => {}
                }
                told(context, &format!("{} environments were wrapped to the current master key", done.done), &done)
            }
        },
        KeysCommand::Reencrypt { environment } => {
            let done = client.reencrypt(&environment, step).await?;
            drop(counter);
            told(context, &format!("{environment}: everything is sealed under data keys of epoch {}", done.key_epoch), &done)
        }
        KeysCommand::Verify { environment } => {
            let done = client.verify_keys(&environment, step).await?;
            drop(counter);
            for failure in &done.failures {
                note(format!("does not open: {failure}"));
            }
            told(context, &format!("{environment}: {} of {} do not open", done.failed, done.done), &done)?;
            if done.failed > 0 { Err(Failure::Told) } else { Ok(()) }
        }
        KeysCommand::Report { environment, all } => match all {
            true => out.list(&client.data_keys(&environment).await?),
            false => out.one(&client.key_report(&environment).await?),
        },
        KeysCommand::Destroy { environment, yes } => {
            insist(yes, &format!("destroy all retired keys of {environment}?"))?;
            let DestroyKeysResponse { keys, erased } = client.destroy_keys(&environment).await?;
            match erased {
                true => note(format!("{keys} keys are destroyed: nothing of them is left in the database and its log")),
                false => note(format!("{keys} keys are destroyed, but bytes of them are still in the database or its log")),
            }
            note(
                "copies of the database made before still open with the master key: those from before a rewrap open today's secrets \
                 too, those from before a reencrypt only the secrets of that time",
            );
            out.card(
                &[("destroyed", keys.to_string()), ("erased", erased.to_string())],
                || json!({ "keys": keys.to_string(), "erased": erased }),
            )
        }
    }
}

async fn recipients(context: &Context, command: RecipientsCommand) -> Result<(), Failure> {
    let mut counter = Counter::new();
    let step = |told| counter.show(&told);
    let (environment, ask) = match command {
        RecipientsCommand::List { environment } => {
            let recovery = context.client.key_report(&environment).await?.recovery;
            return context.out.words("RECIPIENT", &recovery);
        }
        RecipientsCommand::Add { environment, recipients } => {
            (environment, RecipientsAsk { add: recipients, ..RecipientsAsk::default() })
        }
        RecipientsCommand::Remove { environment, recipients, no_recovery } => {
            (environment, RecipientsAsk { remove: recipients, no_recovery, ..RecipientsAsk::default() })
        }
    };
    let done = context.client.change_recipients(&environment, ask, step).await?;
    drop(counter);
    told(context, &format!("{environment}: all keys are wrapped to the new recipients"), &done)
}

fn told(context: &Context, what: &str, done: &KeyOutcome) -> Result<(), Failure> {
    if context.out.is_json() {
        return context.out.card(&[], || outcome(done));
    }
    note(what);
    Ok(())
}
