//! The one entry to the rules: (snapshot, command, context) → decision.

use super::command::{Act, Command, LockAct, StoreAct};
use super::decision::{Change, Decision, HEAD_RUN, Reply, Snapshot};
use super::environment::{self, Environment};
use super::event::Event;
use super::lock::{Lock, Settled, Ticket};
use super::refusal::Refusal;
use super::settings::Settings;
use super::time::{Context, StoreTime};
use super::{access, audit, content, lease, takeover};

/// Decides a command. Pure: the same snapshot, command and context give the same decision, in every engine.
#[must_use]
pub fn decide(snapshot: Snapshot, command: &Command, ctx: &Context<'_>) -> Decision {
    let mut work = Work::new(snapshot, command, ctx);
    let reply = work.run(command);
    let unsettled = work.finish(command);
    work.record(&reply);
    let due = command.path().and_then(|_| work.due());
    Decision { reply, changes: work.changes, unsettled, due }
}

/// The rules, as engines take them: tests hand in mutated copies.
pub type Decide = fn(Snapshot, &Command, &Context<'_>) -> Decision;

/// A decision in the making.
pub(super) struct Work<'a> {
    pub(super) snapshot: Snapshot,
    pub(super) ctx: &'a Context<'a>,
    pub(super) changes: Vec<Change>,
    command: &'a Command,
    before: Option<Lock>,
    /// Tickets put in this decision that settling may still serve.
    queued: Vec<Ticket>,
    full_head: bool,
    remembered: bool,
    /// The command was answered before.
    replayed: bool,
}

impl<'a> Work<'a> {
    fn new(snapshot: Snapshot, command: &'a Command, ctx: &'a Context<'a>) -> Self {
        Self {
            before: command.path().map(|_| snapshot.lock.clone()),
            full_head: snapshot.head.len() >= HEAD_RUN,
            snapshot,
            ctx,
            changes: Vec::new(),
            command,
            queued: Vec::new(),
            remembered: false,
            replayed: false,
        }
    }

    fn run(&mut self, command: &Command) -> Result<Reply, Refusal> {
        if command.path().is_some() {
            self.environment()?;
            self.settle();
        }
        if let Some(earlier) = self.replay(command) {
            self.replayed = true;
            return earlier;
        }
        match &command.act {
            Act::Store(act) => match &**act {
                StoreAct::Access(act) => access::decide(self, act),
                StoreAct::Audit(act) => Ok(audit::decide(self, act)),
            },
            Act::Environment(name, act) => environment::decide(self, name, act.clone()),
            Act::Lock(_, LockAct::Settle) => Ok(Reply::Settled),
            Act::Lock(_, act) => lease::decide(self, act),
            Act::Content(state, act) => content::decide(self, state, act),
        }
    }

    /// An effect is found before the lease is checked: a retry of what was done is answered as then. What an acquire got is looked at
    /// again, since it may have died; so is what a reacquire or a break took.
    fn replay(&mut self, command: &Command) -> Option<Result<Reply, Refusal>> {
        let (_, digest) = command.request?;
        let effect = self.snapshot.effect.take()?;
        if effect.digest != digest {
            return Some(Err(Refusal::RequestIdReused));
        }
        Some(match (&command.act, effect.outcome) {
            (Act::Lock(_, LockAct::Acquire(acquire)), Ok(outcome)) => lease::replayed_acquire(self, acquire, &outcome),
            (Act::Lock(_, LockAct::Reacquire { .. }), Ok(Reply::Held(grant))) => takeover::replayed_reacquire(self, grant.token),
            (Act::Lock(_, LockAct::Break(act)), Ok(Reply::Broken { broken, then: Some(then) })) => {
                takeover::replayed_take(self, act, broken, &then)
            }
            (_, Ok(Reply::Wrote { version, .. })) => Ok(Reply::Wrote { version, replayed: true }),
            (_, outcome) => outcome,
        })
    }

    /// Settles after the act, and puts the lock if anything changed it.
    fn finish(&mut self, command: &Command) -> bool {
        if command.path().is_none() || self.snapshot.environment.is_none() {
            return false;
        }
        self.settle();
        for ticket in std::mem::take(&mut self.queued) {
            self.changes.push(Change::PutTicket(ticket));
        }
        if self.before.as_ref() != Some(&self.snapshot.lock) {
            self.changes.push(Change::PutLock(self.snapshot.lock.clone()));
        }
        let frozen = self.snapshot.frozen().is_some();
        self.full_head && !frozen && self.snapshot.head.is_empty()
    }

    /// Puts the rows of the audit that are due: in the same decision, so in the transaction of the act.
    fn record(&mut self, reply: &Result<Reply, Refusal>) {
        let rows = audit::due(self.command, self.replayed, reply, &self.changes, &self.snapshot.lock);
        self.changes.extend(rows.into_iter().map(|row| Change::Record(Box::new(row))));
    }

    fn due(&self) -> Option<StoreTime> {
        let tickets = self.snapshot.head.iter().map(|ticket| ticket.deadline);
        tickets.chain(self.snapshot.lock.next_deadline()).min()
    }

    /// Lets go what is past its deadline and serves the head of the queue.
    pub(super) fn settle(&mut self) {
        let frozen = self.snapshot.environment.as_ref().is_some_and(|environment| environment.frozen.is_some());
        let settings = self.settings();
        let Settled { served, dead, events } = self.snapshot.lock.settle(&mut self.snapshot.head, frozen, &settings, self.ctx);
        for id in dead {
            // The snapshot counts live tickets only: the dead one is in no count.
            self.changes.push(Change::DropTicket(id));
            self.snapshot.own.take_if(|(own, _)| own.id == id);
        }
        for id in served {
            self.snapshot.waiting = self.snapshot.waiting.saturating_sub(1);
            let before = self.queued.len();
            self.queued.retain(|ticket| ticket.id != id);
            if before == self.queued.len() {
                self.changes.push(Change::DropTicket(id));
            }
            if let Some((own, ahead)) = &mut self.snapshot.own {
                if own.id == id {
                    self.snapshot.own = None;
                } else {
                    *ahead = ahead.saturating_sub(1);
                }
            }
        }
        events.into_iter().for_each(|event| self.event(event));
    }

    /// Queues a ticket: behind all others, or before them.
    pub(super) fn queue(&mut self, ticket: Ticket, first: bool) {
        self.snapshot.waiting += 1;
        self.queued.push(ticket.clone());
        if first {
            self.snapshot.head.push_front(ticket);
        } else if !self.full_head {
            // Behind a run that was cut there are others: the new one must not pass them.
            self.snapshot.head.push_back(ticket);
        }
    }

    /// The environment, or the refusal that there is none.
    pub(super) fn environment(&self) -> Result<&Environment, Refusal> {
        let missing = || Refusal::EnvironmentNotFound(self.command.inside().clone());
        self.snapshot.environment.as_ref().ok_or_else(missing)
    }

    /// The environment's settings.
    pub(super) fn settings(&self) -> Settings {
        self.snapshot.environment.as_ref().map(|environment| environment.settings.clone()).unwrap_or_default()
    }

    /// Who asks.
    pub(super) fn principal(&self) -> &'a super::names::Principal {
        &self.command.principal
    }

    /// The request's id.
    pub(super) fn request(&self) -> Option<super::ids::RequestId> {
        self.command.request.map(|(id, _)| id)
    }

    /// Tells watchers.
    pub(super) fn event(&mut self, event: Event) {
        self.changes.push(Change::Event(event));
    }

    /// Remembers the reply under the request id: for effects only.
    pub(super) fn remember(&mut self) {
        if self.command.request.is_some() && !self.remembered {
            self.remembered = true;
            self.changes.push(Change::Remember);
        }
    }
}
