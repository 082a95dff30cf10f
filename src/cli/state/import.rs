//! `state import`.

use std::path::Path;

use super::push::warn;
use super::remote;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::flags::transfer::ImportFlags;
use crate::cli::hold::under_lease;
use crate::cli::output::{Arrived, note, tell_kept};
use crate::cli::progress::Moving;
use crate::cli::signals::Signals;
use crate::client::{Document, ImportAsk, Remote, Step, Verdict, local, refusal};

pub(crate) async fn import(context: &Context, flags: ImportFlags) -> Result<(), Failure> {
    if flags.source == "-" {
        return Err(Failure::usage(
            "the source is read more than once",
            "write it to a file first; `leasehold state push` takes standard input",
        ));
    }
    if !remote::is_url(&flags.source) {
        if let Some(flag) = flags.only_for_urls() {
            return Err(Failure::usage(format!("{flag} goes with a URL"), "leave it out, or import from a URL"));
        }
        return bring(context, &flags, prepare(context, &flags, find(&flags).await?).await?).await;
    }
    let (source, lock) = remote::open(context, &flags)?;
    let copy = async || prepare(context, &flags, fetch(&flags, &source).await?).await;
    let Some(lock) = lock else {
        return bring(context, &flags, copy().await?).await;
    };
    let mut signals = Signals::install()?;
    let taken = tokio::select! {
        taken = remote::take(&flags, &source, &lock) => taken?,
        failure = signals.interrupted() => {
            note(format!("warning: {} may be locked now, with the id {}", source.shown(), lock.id()));
            return Err(failure);
        }
    };
    let prepared = tokio::select! {
        prepared = copy() => prepared,
        failure = signals.interrupted() => Err(failure),
    };
    // From here on signals are answered where the lease is held, so that it is given back, too.
    let copied = match prepared {
        Ok(states) => bring(context, &flags, states).await,
        Err(failure) => Err(failure),
    };
    if taken && let Err(error) = source.unlock(&lock).await {
        note(format!("warning: {} stays locked, with the id {}: {error}", source.shown(), lock.id()));
    }
    copied
}

/// A state and what is to become its versions.
type Named = (String, Vec<Document>);

/// The same, looked at.
struct Ready {
    state: String,
    documents: Vec<Document>,
    verdicts: Vec<Verdict>,
}

impl Ready {
    fn rows(&self) -> impl Iterator<Item = Arrived> {
        self.documents.iter().zip(&self.verdicts).map(|(document, verdict)| Arrived::of(&self.state, document, verdict.clone()))
    }
}

async fn find(flags: &ImportFlags) -> Result<Vec<Named>, Failure> {
    let found = local(Path::new(&flags.source), !flags.current_only).await?;
    let mut states = Vec::new();
    for state in found {
        for what in state.left_out {
            note(format!("left out: {what}"));
        }
        let name = match state.workspace {
            Some(workspace) => format!("{}/{workspace}", flags.state),
            None => flags.state.clone(),
        };
        states.push((name, state.documents));
    }
    if flags.lease.session.is_some() && states.len() > 1 {
        return Err(Failure::usage("one lease is not for several states", "leave --session and --token out"));
    }
    Ok(states)
}

async fn fetch(flags: &ImportFlags, source: &Remote) -> Result<Vec<Named>, Failure> {
    let mut bar = Moving::default();
    let read = source.read(|progress| bar.show("reading", progress)).await?;
    match read {
        Some(document) => Ok(vec![(flags.state.clone(), vec![document])]),
        None => Err(Failure::missing(format!("{} has no state", source.shown()), "check the address")),
    }
}

/// Looks at all of them first: if one cannot be imported, none is. What is left to do; nothing after a dry run.
async fn prepare(context: &Context, flags: &ImportFlags, states: Vec<Named>) -> Result<Vec<Ready>, Failure> {
    let ask = ImportAsk { rewrite: flags.rewrite };
    let (mut looked_at, mut refused) = (Vec::new(), None);
    for (state, documents) in states {
        let mut bar = Moving::default();
        let verdicts = context.client.plan_import(&state, &documents, ask, |phase| bar.phase(phase)).await?;
        refused = refused.or_else(|| refusal(&state, &documents, &verdicts));
        looked_at.push(Ready { state, documents, verdicts });
    }
    if flags.dry_run {
        let rows: Vec<_> = looked_at.iter().flat_map(Ready::rows).collect();
        context.out.list(&rows)?;
        looked_at.clear();
    } else if refused.is_some() {
        note("nothing was written; `--dry-run` shows each state");
    }
    refused.map_or(Ok(looked_at), |error| Err(error.into()))
}

async fn bring(context: &Context, flags: &ImportFlags, states: Vec<Ready>) -> Result<(), Failure> {
    if flags.dry_run {
        return Ok(());
    }
    let mut rows = Vec::new();
    let done = bring_each(context, flags, &states, &mut rows).await;
    for arrived in &rows {
        if let Verdict::Written { warnings, .. } = &arrived.verdict {
            warn(warnings);
        }
    }
    if done.is_ok() || !rows.is_empty() {
        context.out.list(&rows)?;
    }
    done
}

async fn bring_each(context: &Context, flags: &ImportFlags, states: &[Ready], rows: &mut Vec<Arrived>) -> Result<(), Failure> {
    let ask = ImportAsk { rewrite: flags.rewrite };
    for ready in states {
        // Nobody should wait for a lease to be told that there is nothing to do.
        if !ready.verdicts.contains(&Verdict::New) {
            rows.extend(ready.rows());
            continue;
        }
        let Ready { state, documents, .. } = ready;
        let mut bar = Moving::default();
        let mut left = documents.iter();
        let on = |step| match step {
            Step::Phase(phase) => bar.phase(phase),
            Step::Done(verdict) => rows.extend(left.next().map(|document| Arrived::of(state, document, verdict))),
        };
        let imported =
            under_lease(context, state, &flags.lease, async |lease| context.client.import(lease, documents, ask, on).await);
        if let Err(failure) = imported.await {
            if let Failure::Client(error) = &failure
                && let Some(draft) = error.draft()
            {
                tell_kept("the document was not written, but kept as draft", state, draft);
            }
            if rows.iter().any(|arrived| matches!(arrived.verdict, Verdict::Written { .. })) {
                note("what is listed was written; the same command again goes on from there");
            }
            return Err(failure);
        }
    }
    Ok(())
}
