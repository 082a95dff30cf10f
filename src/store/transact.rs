//! What every engine does inside its transaction: load, ask the rules, apply; again until the lock is settled.

use std::sync::Arc;

use crate::domain::Decide;
use crate::domain::command::{Act, Command, LockAct};
use crate::domain::decision::{Change, Reply, Snapshot};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Context, StoreTime};

/// How many superseded drafts a snapshot names at most.
pub(crate) const SUPERSEDED: usize = 1000;

/// One open transaction of an engine.
pub(crate) trait Transaction {
    /// How the engine fails.
    type Error;

    /// Loads what the command needs.
    fn load(&mut self, command: &Command, ctx: &Context<'_>) -> Result<Snapshot, Self::Error>;

    /// Makes one change. `reply` is what [`Change::Remember`] keeps.
    fn apply(
        &mut self,
        command: &Command,
        change: Change,
        reply: &Result<Reply, Refusal>,
        ctx: &Context<'_>,
    ) -> Result<(), Self::Error>;
}

/// What came of a command.
pub(crate) struct Done {
    pub(crate) reply: Result<Reply, Refusal>,
    /// Whether anything was changed.
    pub(crate) changed: bool,
    /// When its lock is to be settled next.
    pub(crate) due: Option<StoreTime>,
}

/// Runs a command in an open transaction.
pub(crate) fn transact<T: Transaction>(
    transaction: &mut T,
    decide: Decide,
    command: &Command,
    ctx: &Context<'_>,
) -> Result<Done, T::Error> {
    let (mut done, mut unsettled) = step(transaction, decide, command, ctx)?;
    if let Act::Lock(state, _) | Act::Content(state, _) = &command.act {
        // A queue is as long as an environment allows, the stack is not.
        while unsettled {
            let (settled, more) = step(transaction, decide, &settle(command, state.clone()), ctx)?;
            (done.changed, done.due, unsettled) = (done.changed | settled.changed, settled.due, more);
        }
    }
    Ok(done)
}

/// One decision and its changes, and whether more of the queue can be served.
fn step<T: Transaction>(
    transaction: &mut T,
    decide: Decide,
    command: &Command,
    ctx: &Context<'_>,
) -> Result<(Done, bool), T::Error> {
    let decision = decide(transaction.load(command, ctx)?, command, ctx);
    let changed = !decision.changes.is_empty();
    for change in decision.changes {
        transaction.apply(command, change, &decision.reply, ctx)?;
    }
    Ok((Done { reply: decision.reply, changed, due: decision.due }, decision.unsettled))
}

/// The store's own command: settle this lock.
pub(crate) fn settle(by: &Command, state: StateName) -> Command {
    Command {
        principal: by.principal.clone(),
        trace: Arc::clone(&by.trace),
        request: None,
        act: Act::Lock(state, LockAct::Settle),
    }
}

/// The store itself as a principal.
pub(crate) fn store_settles(state: StateName) -> Command {
    let principal = "leasehold".parse().expect("a plain word is a principal");
    Command { principal, trace: Arc::default(), request: None, act: Act::Lock(state, LockAct::Settle) }
}
