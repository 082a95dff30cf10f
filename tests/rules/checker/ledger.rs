//! What a history implies, kept by sequential book-keeping over calls, answers and events.

use std::collections::HashMap;

use crate::driver::{DEFAULT_TTL, LOCK_DELAY};
use crate::history::{
    Actor, Ask, At, Call, Draft, How, Lock, Mode, Origin, Plans, Record, Reply, Request, Seen, Token, Version, What,
};
use crate::script::{ACTORS, ENVIRONMENTS, LOCKS};

/// The deadlines of the server under test, as its operator knows them.
pub(super) const CLAIM: At = 2_000_000;
pub(super) const CLAIM_POLLING: At = 4_000_000;
const TICKET_LIFE: At = 8_000_000;
const TICKET_LIFE_POLLING: At = 16_000_000;
const UNATTENDED_SHARED: At = 20_000_000;
const DRAFT_LIFE: At = 30 * 24 * 3_600_000_000;
const REQUEST_MEMORY: At = 120_000_000;
/// How long the id of a lease that is over gets no other one.
const SPENT: At = 60_000_000;
/// How long a break that names nobody is taken for its own retry.
const FORCED: At = 30_000_000;

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) facts: Facts,
    effects: HashMap<(&'static str, u128), Effect>,
}

/// The effect of a request.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    at: At,
    pub(super) request: Request,
    pub(super) call: Call,
    pub(super) reply: Reply,
}

/// What holds at some moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(super) locks: [LockFacts; LOCKS.len()],
    pub(super) environments: [EnvironmentFacts; ENVIRONMENTS.len()],
}

#[derive(Clone, Debug, Default)]
pub(super) struct EnvironmentFacts {
    pub(super) exists: bool,
    pub(super) frozen: bool,
    delay: At,
    draft_life: At,
    /// What a plan takes.
    pub(super) plans: Plans,
    /// A write may pass without a lease.
    pub(super) passing: bool,
    /// How often it was deleted.
    pub(super) generation: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LockFacts {
    /// The last token ever granted under this name, whatever was deleted since.
    pub(super) last_token: Token,
    pub(super) holders: Vec<Holder>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) cooldown: Option<At>,
    pub(super) frozen: bool,
    /// The head of the queue could be served since this moment, and was not.
    pub(super) servable_since: Option<At>,
    pub(super) versions: Vec<Version>,
    /// The token of the last version ever written under this name.
    pub(super) last_written: Token,
    /// With the moment at which each is gone.
    drafts: Vec<(Draft, At)>,
    pub(super) ended: Vec<(Holder, How)>,
    /// Sessions of unattended leases that have ended, unless nobody took them up; and when.
    spent: Vec<(Actor, At)>,
    /// Breaks that name nobody: by which principal, when, and the last token before each.
    forced: Vec<(&'static str, At, Token)>,
    /// Which tickets became which grants.
    pub(super) served: Vec<(u64, Token)>,
}

#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) token: Token,
    pub(super) actor: Actor,
    pub(super) mode: Mode,
    ttl: At,
    /// None: lives until broken.
    pub(super) deadline: Option<At>,
    delay: At,
    pub(super) claimed: bool,
    unattended: bool,
    /// How often it was asked for since its grant.
    pub(super) asked: u32,
    /// Taken again, and not renewed since.
    pub(super) reacquired: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) actor: Actor,
    mode: Mode,
    ask: Ask,
    pub(super) deadline: At,
}

impl Ledger {
    /// What the record's request id did before, within the time it is remembered.
    pub(super) fn prior(&self, record: &Record) -> Option<&Effect> {
        let request = record.request?;
        self.effects.get(&(request.principal, request.id)).filter(|effect| record.at - effect.at < REQUEST_MEMORY)
    }

    pub(super) fn apply(&mut self, record: &Record, prior: Option<&Effect>) {
        self.facts.apply(record, prior.is_some());
        if let (Some(request), None, true) = (record.request, prior, had_effect(record)) {
            let effect = Effect { at: record.at, request, call: record.call.clone(), reply: record.reply.clone() };
            self.effects.insert((request.principal, request.id), effect);
        }
    }
}

/// Whether the call did what it asked for, apart from settling.
fn had_effect(record: &Record) -> bool {
    match (&record.call, &record.reply) {
        (Call::Acquire { .. }, Reply::Held { .. } | Reply::Queued { .. }) => record.events.iter().any(|seen| acts(&seen.what)),
        (_, Reply::Refused { draft: Some(_), .. }) => record.events.iter().any(|seen| matches!(seen.what, What::Draft(_))),
        (_, Reply::Done("no lease needed")) => false,
        (Call::Force { .. }, Reply::Broken { tokens, .. }) => !tokens.is_empty(),
        (_, Reply::Refused { .. } | Reply::Cancelled(false) | Reply::Purged(0) | Reply::Done("was not frozen")) => false,
        (_, Reply::Wrote { replayed, .. }) => !replayed,
        _ => true,
    }
}

/// Whether an event tells of an act, not of settling.
pub(super) fn acts(what: &What) -> bool {
    match what {
        What::Granted { ticket, .. } => ticket.is_none(),
        What::Ended { how, .. } => matches!(how, How::Released | How::Broken),
        What::Gone { .. } => false,
        _ => true,
    }
}

impl Facts {
    fn apply(&mut self, record: &Record, replay: bool) {
        let at = record.at;
        let clears = !replay
            && matches!((&record.call, &record.reply), (Call::Break { token: None, now: true, .. }, Reply::Broken { .. }));
        if let (true, Some(lock)) = (clears, record.call.lock()) {
            self.locks[lock].cooldown = None;
        }
        for seen in &record.events {
            self.tell(seen, record);
            if let (true, What::Ended { .. }, Some(lock)) = (clears, &seen.what, seen.lock) {
                self.locks[lock].cooldown = None;
            }
        }
        if let Some(lock) = record.call.lock() {
            let draft_life = self.environments[env_of(lock)].draft_life;
            self.locks[lock].answer(record, replay, draft_life);
        }
        for index in 0..LOCKS.len() {
            let servable = self.servable(index, at);
            let lock = &mut self.locks[index];
            lock.servable_since = if servable { lock.servable_since.or(Some(at)) } else { None };
        }
    }

    /// Takes one event in.
    pub(super) fn tell(&mut self, seen: &Seen, record: &Record) {
        let delay = self.environments[seen.env].delay;
        match (&seen.what, seen.lock) {
            (What::Environment(how), _) => self.environment(seen.env, how, record),
            (What::Frozen, None) => self.environments[seen.env].frozen = true,
            (What::Unfrozen, None) => self.environments[seen.env].frozen = false,
            (what, Some(lock)) => self.locks[lock].tell(what, record, delay),
            _ => {}
        }
    }

    fn environment(&mut self, env: usize, how: &str, record: &Record) {
        let facts = &mut self.environments[env];
        match (how, &record.call) {
            ("created", _) => {
                let (delay, draft_life) = (LOCK_DELAY, DRAFT_LIFE);
                let generation = facts.generation;
                *facts = EnvironmentFacts { exists: true, delay, draft_life, generation, ..EnvironmentFacts::default() };
            }
            ("changed", Call::SetDelay { delay, .. }) => facts.delay = *delay,
            ("changed", Call::SetDraftLife { life, .. }) => facts.draft_life = *life,
            ("changed", Call::SetDoor { plans, passing, .. }) => (facts.plans, facts.passing) = (*plans, *passing),
            ("deleted", _) => {
                *facts = EnvironmentFacts { generation: facts.generation + 1, ..EnvironmentFacts::default() };
                for (lock, _) in LOCKS.iter().enumerate().filter(|(_, (name, _))| *name == ENVIRONMENTS[env]) {
                    let LockFacts { last_token, last_written, .. } = self.locks[lock];
                    self.locks[lock] = LockFacts { last_token, last_written, ..LockFacts::default() };
                }
            }
            _ => {}
        }
    }

    /// Whether the head of a queue could be served at a moment.
    pub(super) fn servable(&self, lock: Lock, at: At) -> bool {
        let facts = &self.locks[lock];
        let head = facts.live_tickets(at).next();
        head.is_some_and(|head| self.grants(lock, at) && facts.room(head.mode, at))
    }

    /// Whether a lock grants anything at a moment: nothing is frozen and no lock delay runs.
    pub(super) fn grants(&self, lock: Lock, at: At) -> bool {
        let facts = &self.locks[lock];
        !facts.frozen && !self.environments[env_of(lock)].frozen && facts.cooldown.is_none_or(|until| until <= at)
    }
}

impl LockFacts {
    pub(super) fn live_tickets(&self, at: At) -> impl Iterator<Item = &Ticket> {
        self.tickets.iter().filter(move |ticket| at < ticket.deadline)
    }

    pub(super) fn live_holders(&self, at: At) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(move |holder| holder.live(at))
    }

    /// From the newest down.
    pub(super) fn live_drafts(&self, at: At) -> Vec<Draft> {
        self.drafts.iter().filter(|(_, gone)| at < *gone).map(|(draft, _)| draft.clone()).collect()
    }

    fn room(&self, mode: Mode, at: At) -> bool {
        let mut live = self.live_holders(at).peekable();
        live.peek().is_none() || mode == Mode::Shared && live.all(|holder| holder.mode == Mode::Shared)
    }

    pub(super) fn holder(&self, token: Token) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.token == token)
    }

    fn tell(&mut self, what: &What, record: &Record, delay: At) {
        let at = record.at;
        match what {
            What::Granted { token, ticket, mode, actor } => self.grant((*token, *ticket, *mode, *actor), record, delay),
            What::Ended { token, how } => self.end(*token, *how, record),
            What::Queued { ticket, mode, actor, first } => {
                self.tickets.retain(|other| other.actor != *actor);
                let ask = match &record.call {
                    Call::Acquire { ask, .. } | Call::Break { take: Some(ask), .. } => *ask,
                    _ => Ask { mode: *mode, ttl: None, wait: true, polls: false, unattended: false, plan: false, once: false },
                };
                let ticket = Ticket { id: *ticket, actor: *actor, mode: *mode, ask, deadline: at + ticket_life(ask.polls) };
                self.tickets.insert(if *first { 0 } else { self.tickets.len() }, ticket);
            }
            What::Gone { ticket } => self.tickets.retain(|other| other.id != *ticket),
            What::Discarded(draft) => self.drafts.retain(|(other, _)| other.id != *draft),
            What::Purged(which) => {
                let current = self.versions.last().filter(|last| !last.deleted).map(|last| last.version);
                for version in &mut self.versions {
                    if which.map_or(Some(version.version) != current, |which| which == version.version) {
                        version.bytes = None;
                    }
                }
            }
            What::Frozen => self.frozen = true,
            What::Unfrozen => self.frozen = false,
            What::Version { token, .. } => {
                self.last_written = *token;
                if record.call.passes() {
                    self.last_token = *token;
                }
            }
            What::Draft(_) | What::Environment(_) => {}
        }
    }

    fn grant(&mut self, (token, ticket, mode, actor): (Token, Option<u64>, Mode, Actor), record: &Record, delay: At) {
        self.last_token = token;
        let served = ticket.and_then(|id| self.tickets.iter().find(|ticket| ticket.id == id).cloned());
        self.tickets.retain(|other| Some(other.id) != ticket);
        self.served.extend(ticket.map(|ticket| (ticket, token)));
        let (ask, reacquired) = match (&served, &record.call) {
            (Some(ticket), _) => (Some(ticket.ask), false),
            (None, Call::Acquire { ask, .. }) => (Some(*ask), false),
            (None, Call::Reacquire { .. }) => (None, true),
            _ => (None, false),
        };
        let old = match &record.call {
            Call::Reacquire { old, .. } => {
                self.ended.iter().find(|(ended, _)| ended.token == *old).map(|(ended, _)| ended.clone())
            }
            _ => None,
        };
        if reacquired {
            self.cooldown = None;
        }
        let ttl = ask.map_or(old.as_ref().map_or(DEFAULT_TTL, |old| old.ttl), |ask| ask.ttl.unwrap_or(DEFAULT_TTL));
        let unattended = ask.map_or(old.is_some_and(|old| old.unattended), |ask| ask.unattended);
        let mut holder = Holder {
            token,
            actor,
            mode,
            ttl,
            deadline: None,
            delay,
            claimed: ticket.is_none(),
            unattended,
            asked: 0,
            reacquired,
        };
        let claim = if ask.is_some_and(|ask| ask.polls) { CLAIM_POLLING } else { CLAIM };
        holder.deadline = if holder.claimed { holder.life(record.at) } else { Some(record.at + claim) };
        self.holders.push(holder);
    }

    fn end(&mut self, token: Token, how: How, record: &Record) {
        let Some(holder) = self.holder(token).cloned() else { return };
        self.holders.retain(|other| other.token != token);
        let delay = holder.delay;
        let cool = match (how, &record.call) {
            _ if holder.mode == Mode::Shared || !holder.claimed => None,
            (How::Expired, _) => holder.deadline.map(|deadline| deadline + delay),
            (How::Released, Call::Release { abandoned: true, .. }) => Some(record.at + delay),
            (How::Broken, Call::Break { now: false, .. } | Call::Force { .. }) => Some(record.at + delay),
            _ => None,
        };
        self.cooldown = self.cooldown.max(cool);
        if holder.unattended && how != How::Unclaimed {
            self.spent.push((holder.actor, record.at));
        }
        self.ended.push((holder, how));
    }

    /// Takes the answer in.
    fn answer(&mut self, record: &Record, replay: bool, draft_life: At) {
        let at = record.at;
        match (&record.call, &record.reply) {
            (Call::Break { take: Some(ask), .. }, Reply::Broken { then: Some(then), .. }) if replay => self.asked(ask, then, at),
            (Call::Acquire { ask, .. }, reply) => {
                let fresh = |seen: &Seen| match (&seen.what, reply) {
                    (What::Granted { token, ticket: None, .. }, Reply::Held { token: told, .. }) => token == told,
                    _ => false,
                };
                if !record.events.iter().any(fresh) {
                    self.asked(ask, reply, at);
                }
            }
            (Call::Force { actor, .. }, Reply::Broken { .. }) if !replay && self.forced_by(*actor, at).is_none() => {
                // What was granted after the break was not there before it.
                let broken = record.events.iter().skip_while(|seen| !matches!(seen.what, What::Ended { how: How::Broken, .. }));
                let after = broken.filter_map(|seen| match seen.what {
                    What::Granted { token, .. } => Some(token - 1),
                    _ => None,
                });
                let up_to = after.min().unwrap_or(self.last_token);
                self.forced.push((ACTORS[*actor].0, at, up_to));
            }
            (Call::Refresh { .. }, Reply::Queued { ticket, .. }) => {
                if let Some(ticket) = self.tickets.iter_mut().find(|other| other.id == *ticket) {
                    ticket.deadline = at + ticket_life(ticket.ask.polls);
                }
            }
            (Call::Renew { token, ttl, .. }, Reply::Renewed { .. }) => {
                self.claim(*token, at);
                if let Some(holder) = self.holders.iter_mut().find(|holder| holder.token == *token) {
                    holder.ttl = ttl.unwrap_or(holder.ttl);
                    holder.reacquired = false;
                    if !holder.unattended {
                        holder.deadline = holder.deadline.max(Some(at + holder.ttl));
                    }
                }
            }
            (Call::Write { write, .. }, Reply::Wrote { version, replayed: false }) if !replay => {
                self.claim(write.token, at);
                let bytes = version.bytes;
                self.versions.push(Version { bytes, ..version.clone() });
                if let Origin::Promote(draft) = write.origin {
                    self.drafts.retain(|(other, _)| other.id != draft);
                }
            }
            (Call::Write { write, .. }, Reply::Refused { draft: Some(draft), .. }) if !replay => {
                if let (Some(digest), false) = (write.bytes, self.live_drafts(at).iter().any(|other| other.id == *draft)) {
                    self.drafts.insert(0, (Draft { id: *draft, digest, intact: true }, at + draft_life));
                }
            }
            _ => {}
        }
    }

    /// Whether a session's unattended lease has ended within the last minute.
    pub(super) fn is_spent(&self, actor: Actor, at: At) -> bool {
        self.spent.iter().any(|(who, ended)| *who == actor && at < ended + SPENT)
    }

    /// The last token before the break that named nobody, of which one by this principal is taken for a retry.
    pub(super) fn forced_by(&self, actor: Actor, at: At) -> Option<Token> {
        let earlier = self.forced.iter().find(|(who, forced, _)| *who == ACTORS[actor].0 && at < forced + FORCED);
        earlier.map(|(_, _, up_to)| *up_to)
    }

    /// Asking for what one has refreshes a ticket, and claims an offer if it polls.
    fn asked(&mut self, ask: &Ask, reply: &Reply, at: At) {
        match reply {
            Reply::Held { token, claimed: true, .. } => {
                self.claim(*token, at);
                let held = self.holders.iter_mut().filter(|holder| holder.token == *token && ask.polls);
                held.for_each(|holder| holder.asked += 1);
            }
            Reply::Queued { ticket, .. } => {
                if let Some(ticket) = self.tickets.iter_mut().find(|other| other.id == *ticket) {
                    ticket.ask.polls = ask.polls;
                    ticket.deadline = at + ticket_life(ask.polls);
                }
            }
            _ => {}
        }
    }

    fn claim(&mut self, token: Token, at: At) {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.token == token && !holder.claimed) {
            holder.claimed = true;
            holder.deadline = holder.life(at);
        }
    }
}

impl Holder {
    pub(super) fn live(&self, at: At) -> bool {
        self.deadline.is_none_or(|deadline| at < deadline)
    }

    fn life(&self, from: At) -> Option<At> {
        match (self.unattended, self.mode) {
            (false, _) => Some(from + self.ttl),
            (true, Mode::Shared) => Some(from + UNATTENDED_SHARED),
            (true, Mode::Exclusive) => None,
        }
    }
}

/// The environment of a lock.
pub(super) fn env_of(lock: Lock) -> usize {
    ENVIRONMENTS.iter().position(|name| *name == LOCKS[lock].0).expect("locks are in environments")
}

fn ticket_life(polls: bool) -> At {
    if polls { TICKET_LIFE_POLLING } else { TICKET_LIFE }
}
