//! `lease break`.

use serde_json::json;

use crate::cli::context::{Context, new_session};
use crate::cli::failure::Failure;
use crate::cli::flags::lease::BreakFlags;
use crate::cli::output::{Show, confirm, granted, note, who};
use crate::client::{FencingToken, LeaseRef};
use crate::pb::v1::{BreakRequest, BreakResponse, Holder};

pub(crate) async fn break_lease(context: &Context, flags: BreakFlags) -> Result<(), Failure> {
    let token = match (flags.token, flags.all) {
        (Some(token), _) => token,
        (None, true) => 0,
        (None, false) => ask_for_token(context, &flags.state).await?,
    };
    let session = if flags.take { flags.session.unwrap_or_else(new_session) } else { String::new() };
    let ask = BreakRequest {
        state: flags.state.clone(),
        token,
        all: flags.all,
        reason: flags.reason,
        now: flags.now,
        take: flags.take,
        session: session.clone(),
        ttl_ms: flags.ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        labels: Some(context.environ.labels.clone()),
        request_id: String::new(),
    };
    let reply = context.client.break_lease(ask).await?;
    show(context, flags.state, session, &reply)
}

/// Shows the holder to a person and asks; the answer is about the token that was shown, whatever happens meanwhile.
async fn ask_for_token(context: &Context, state: &str) -> Result<u64, Failure> {
    let lock = context.client.lock(state).await?;
    let holder = match lock.holders.as_slice() {
        [] => return Err(Failure::local(format!("nobody holds {state}"), "")),
        [holder] => holder,
        _ => {
            return Err(Failure::usage(
                format!("{state} has several holders"),
                "name one with --token, or break them with --all",
            ));
        }
    };
    for (name, value) in holder.card().into_iter().filter(|(_, value)| !value.is_empty()) {
        note(format!("{name:>10}  {value}"));
    }
    match confirm(&format!("break the lease of {} on {state} (token {})?", who(holder), holder.token)) {
        Some(true) => Ok(holder.token),
        Some(false) => {
            note("nothing was broken");
            Err(Failure::Told)
        }
        None => Err(Failure::usage(
            "whose lease to break is not said, and there is no terminal to ask",
            format!("add --token {} if that holder is meant, or --all", holder.token),
        )),
    }
}

fn show(context: &Context, state: String, session: String, reply: &BreakResponse) -> Result<(), Failure> {
    let taken = reply.granted.as_ref().map(|new| {
        let lease = LeaseRef { state, session, token: FencingToken(new.token), secret: None };
        granted(&lease, new.ttl_ms)
    });
    if context.out.is_json() {
        return context.out.card(&[], || {
            json!({
                "broken": reply.broken.iter().map(Show::json).collect::<Vec<_>>(),
                "granted": taken.map(|(_, json)| json),
                "queued": reply.queued.as_ref().map(Show::json),
            })
        });
    }
    context.out.list::<Holder>(&reply.broken)?;
    if let Some((card, _)) = taken {
        context.out.card(&card, || json!(null))?;
    }
    if let Some(queued) = &reply.queued {
        note(format!("next in the queue, as ticket {}, place {}", queued.ticket, queued.place));
    }
    Ok(())
}
