//! The lock: holders, a queue of tickets, perhaps a cooldown; and how it settles.
//!
//! Every command settles the lock before and after itself: what is past its deadline goes, and while the head ticket fits it is
//! granted, so that a hand-off is one commit (design 3).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind};
use super::ids::{Epoch, TicketId, Token};
use super::names::{EnvironmentName, Labels, Principal, Reason, Session, StateName, StatePath};
use super::settings::Settings;
use super::time::{Context, StoreTime, WallTime};

/// How a lease is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One holder, who may change the state.
    Exclusive,
    /// Any number of holders, who read consistently.
    Shared,
}

/// A lock as it is stored: from the first acquire on, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lock {
    /// The last token granted.
    pub last_token: Token,
    /// Who holds it, in the order of their grants. Some may be past their deadline: [`Lock::seen_at`] tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// No grants before this time: the lock delay after a dead holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_until: Option<StoreTime>,
    /// No grants at all while this is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Reason>,
    /// How the last leases ended, newest last: for exact errors, and for reacquire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
    /// Sessions of unattended leases that ended a short while ago, oldest first: a retry of theirs must not get another grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<Spent>,
    /// Breaks of all that names nobody, a short while ago, oldest first: a retry of theirs must not break who came after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<Forced>,
    /// The last ticket issued.
    pub last_ticket: TicketId,
    /// The smallest place ever given to a ticket that went to the front.
    pub front: i64,
}

/// One who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Holder {
    pub principal: Principal,
    pub session: Session,
    pub mode: Mode,
    pub token: Token,
    pub ttl: Duration,
    /// None: an unattended exclusive lease, which lives until broken.
    pub deadline: Option<StoreTime>,
    /// The cooldown it leaves if it dies, fixed at the grant.
    pub lock_delay: Duration,
    /// False: offered to a ticket and not yet taken up.
    pub claimed: bool,
    /// Set on unattended leases: the grant or last write, from which they grow overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattended_since: Option<StoreTime>,
    /// A reacquired lease that was not renewed since: it cannot be reacquired again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reacquired: bool,
    /// The ticket that became this grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
    #[serde(default)]
    pub labels: Labels,
    pub granted: WallTime,
    /// How often its session has asked for it since the grant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub asked: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A place in a lock's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Ticket {
    pub id: TicketId,
    /// Tickets are served by ascending order: the id, or less for one that went to the front.
    pub order: i64,
    pub principal: Principal,
    pub session: Session,
    pub mode: Mode,
    pub ttl: Duration,
    pub labels: Labels,
    pub unattended: bool,
    /// Its waiter asks again instead of keeping a stream: longer lives, and asking claims.
    pub polls: bool,
    /// Gone when this has passed.
    pub deadline: StoreTime,
    pub queued: WallTime,
}

/// How a lease ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Not renewed in time.
    Expired,
    /// Offered and not claimed in time.
    Unclaimed,
    /// Given back.
    Released,
    /// Given back after its child had to be killed.
    Abandoned,
    /// Broken.
    Broken {
        /// By whom.
        by: Principal,
        /// And why.
        reason: Reason,
    },
}

/// A lease that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The lease as it was.
    pub holder: Holder,
    /// How it ended.
    pub how: End,
}

/// A session whose unattended lease has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct Spent {
    pub principal: Principal,
    pub session: Session,
    pub token: Token,
    pub at: StoreTime,
    pub how: End,
}

/// A break of all that named nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forced {
    /// Who broke.
    pub principal: Principal,
    /// When.
    pub at: StoreTime,
    /// The last token granted before.
    pub up_to: Token,
}

/// How many ended leases a lock remembers.
const REMEMBERED: usize = 8;
/// How long it remembers the sessions of unattended leases: as long as a client may retry.
const SPENT_FOR: Duration = Duration::from_secs(60);
/// And how many; each is a lock taken through a door in the last minute.
const SPENT: usize = 256;
/// How long a break that names nobody is taken for the same one again.
const FORCED_FOR: Duration = Duration::from_secs(30);
/// By how many principals.
const FORCED: usize = 16;

/// Whose lease or ticket something is.
pub(super) fn same(principal: &Principal, session: &Session, other: (&Principal, &Session)) -> bool {
    (principal, session) == other
}

impl Holder {
    /// Whether it is an unattended lease that has been silent for too long.
    #[must_use]
    pub fn overdue(&self, now: StoreTime, after: Duration) -> bool {
        self.mode == Mode::Exclusive && self.unattended_since.is_some_and(|since| since.after(after) <= now)
    }

    /// How long it lives from `now`; none if it has no deadline.
    #[must_use]
    pub fn remaining(&self, now: StoreTime) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.since(now))
    }

    fn live(&self, now: StoreTime) -> bool {
        self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// The first use of an offered lease makes it the session's own, with a full ttl.
    pub(super) fn claim(&mut self, now: StoreTime, settings: &Settings, ctx: &Context<'_>) {
        if !self.claimed {
            self.claimed = true;
            self.deadline = first_deadline(self.mode, self.ttl, self.unattended_since.map(|_| now), now, settings, ctx);
            self.unattended_since = self.unattended_since.map(|_| now);
        }
    }

    /// Renews: the deadline becomes the later of the old one and now + ttl. Unattended leases have a life of their own.
    pub(super) fn renew(&mut self, ttl: Duration, ctx: &Context<'_>) {
        self.ttl = ttl;
        self.reacquired = false;
        if self.unattended_since.is_none() {
            self.deadline = self.deadline.map(|old| old.max(ctx.now.after(ttl)));
        }
    }

    /// A write by an unattended holder shows that it is alive.
    pub(super) fn wrote(&mut self, settings: &Settings, ctx: &Context<'_>) {
        if self.unattended_since.is_some() && self.mode == Mode::Exclusive {
            self.unattended_since = Some(ctx.now);
            self.deadline = first_deadline(self.mode, self.ttl, Some(ctx.now), ctx.now, settings, ctx);
        }
    }
}

/// The deadline of a lease that is claimed now.
pub(super) fn first_deadline(
    mode: Mode,
    ttl: Duration,
    unattended: Option<StoreTime>,
    now: StoreTime,
    settings: &Settings,
    ctx: &Context<'_>,
) -> Option<StoreTime> {
    match (unattended, mode) {
        (None, _) => Some(now.after(ttl)),
        (Some(_), Mode::Shared) => Some(now.after(ctx.limits.unattended_shared)),
        (Some(_), Mode::Exclusive) if settings.unattended_expires => Some(now.after(ctx.limits.overdue)),
        (Some(_), Mode::Exclusive) => None,
    }
}

/// A lock and where it is, for readers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design; what is not plain is said")]
pub struct LockRow {
    pub environment: EnvironmentName,
    pub path: StatePath,
    pub lock: Lock,
    /// Live tickets.
    pub waiting: u32,
    /// Why the environment grants nothing, if it does not.
    pub frozen: Option<String>,
}

impl LockRow {
    /// The state that it is the lock of.
    #[must_use]
    pub fn state(&self) -> StateName {
        StateName { environment: self.environment.clone(), path: self.path.clone() }
    }

    /// Whether anything happens on the lock at `now`.
    #[must_use]
    pub fn busy(&self, now: StoreTime) -> bool {
        let seen = self.lock.clone().seen_at(now);
        !seen.holders.is_empty() || seen.cooldown_until.is_some() || seen.frozen.is_some() || self.waiting > 0
    }
}

/// What settling a lock did besides changing it.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Tickets that left the queue, in time; they were counted as waiting.
    pub(super) served: Vec<TicketId>,
    /// Tickets that died; nobody counts them since.
    pub(super) dead: Vec<TicketId>,
    /// What happened, in order.
    pub(super) events: Vec<Event>,
}

impl Lock {
    /// Whether a grant in `mode` is possible now, with nobody queued.
    #[must_use]
    pub fn fits(&self, mode: Mode, now: StoreTime) -> bool {
        self.cooldown_until.is_none_or(|until| until <= now)
            && (self.holders.is_empty() || mode == Mode::Shared && self.holders.iter().all(|holder| holder.mode == Mode::Shared))
    }

    /// Spends the next fencing token.
    pub(super) fn next_token(&mut self, ctx: &Context<'_>) -> Token {
        self.last_token = self.coming_token(ctx.epoch);
        self.last_token
    }

    /// The next fencing token: max(last + 1, epoch · 2³⁰). A full counter carries into the epoch's bits.
    #[must_use]
    pub fn coming_token(&self, epoch: Epoch) -> Token {
        Token((self.last_token.0 + 1).max(epoch.0 << 30))
    }

    /// Lets go what is past its deadline and serves the head of the queue as long as it fits. `head` is the loaded run of tickets;
    /// tickets behind it are served by another settling.
    pub(super) fn settle(
        &mut self,
        head: &mut VecDeque<Ticket>,
        frozen: bool,
        settings: &Settings,
        ctx: &Context<'_>,
    ) -> Settled {
        let mut settled = Settled::default();
        self.expire(ctx.now, &mut settled);
        head.retain(|ticket| {
            let live = ctx.now < ticket.deadline;
            if !live {
                settled.dead.push(ticket.id);
                settled.events.push(Event::ticket(EventKind::TicketGone, ticket).because("its waiter was silent for too long"));
            }
            live
        });
        let frozen = frozen || self.frozen.is_some();
        while !frozen && head.front().is_some_and(|ticket| self.fits(ticket.mode, ctx.now)) {
            let Some(ticket) = head.pop_front() else { break };
            settled.served.push(ticket.id);
            let holder = self.offer(ticket, settings, ctx);
            settled.events.push(Event::lease(EventKind::LeaseGranted, holder));
        }
        settled
    }

    fn expire(&mut self, now: StoreTime, settled: &mut Settled) {
        let (live, dead): (Vec<_>, Vec<_>) = std::mem::take(&mut self.holders).into_iter().partition(|holder| holder.live(now));
        self.holders = live;
        for holder in dead {
            if let (Mode::Exclusive, true, Some(deadline)) = (holder.mode, holder.claimed, holder.deadline) {
                self.cool(deadline.after(holder.lock_delay));
            }
            let (kind, how) = match holder.claimed {
                true => (EventKind::LeaseExpired, End::Expired),
                false => (EventKind::LeaseUnclaimed, End::Unclaimed),
            };
            settled.events.push(Event::lease(kind, &holder));
            self.remember(holder, how, now);
        }
        if self.cooldown_until.is_some_and(|until| until <= now) {
            self.cooldown_until = None;
        }
    }

    /// Starts or prolongs the cooldown.
    pub(super) fn cool(&mut self, until: StoreTime) {
        self.cooldown_until = self.cooldown_until.max(Some(until));
    }

    /// Keeps how a lease ended.
    pub(super) fn remember(&mut self, holder: Holder, how: End, now: StoreTime) {
        // What nobody was told of can be asked for again.
        if holder.unattended_since.is_some() && how != End::Unclaimed {
            let Holder { principal, session, token, .. } = holder.clone();
            self.spent.retain(|spent| now < spent.at.after(SPENT_FOR));
            self.spent.push(Spent { principal, session, token, at: now, how: how.clone() });
            let surplus = self.spent.len().saturating_sub(SPENT);
            self.spent.drain(..surplus);
        }
        self.ended.push(Ended { holder, how });
        let surplus = self.ended.len().saturating_sub(REMEMBERED);
        self.ended.drain(..surplus);
    }

    /// The unattended lease of this session that ended within the last minute.
    #[must_use]
    pub fn spent_by(&self, principal: &Principal, session: &Session, now: StoreTime) -> Option<&Spent> {
        let mut recent = self.spent.iter().rev().filter(|spent| now < spent.at.after(SPENT_FOR));
        recent.find(|spent| same(principal, session, (&spent.principal, &spent.session)))
    }

    /// Notes a break that names nobody. If the principal made one within the last half minute, this is taken for its retry, and it gives
    /// the last token that was granted before that one.
    pub(super) fn force(&mut self, principal: &Principal, now: StoreTime) -> Option<Token> {
        self.forced.retain(|forced| now < forced.at.after(FORCED_FOR));
        if let Some(earlier) = self.forced.iter().find(|forced| forced.principal == *principal) {
            return Some(earlier.up_to);
        }
        self.forced.push(Forced { principal: principal.clone(), at: now, up_to: self.last_token });
        let surplus = self.forced.len().saturating_sub(FORCED);
        self.forced.drain(..surplus);
        None
    }

    /// Grants to a ticket: held at once, but to be claimed before the claim deadline.
    fn offer(&mut self, ticket: Ticket, settings: &Settings, ctx: &Context<'_>) -> &Holder {
        let claim = if ticket.polls { ctx.limits.claim_polling } else { ctx.limits.claim };
        let token = self.next_token(ctx);
        self.holders.push(Holder {
            principal: ticket.principal,
            session: ticket.session,
            mode: ticket.mode,
            token,
            ttl: ticket.ttl,
            deadline: Some(ctx.now.after(claim)),
            lock_delay: settings.lock_delay,
            claimed: false,
            unattended_since: ticket.unattended.then_some(ctx.now),
            reacquired: false,
            ticket: Some(ticket.id),
            labels: ticket.labels,
            granted: ctx.wall,
            asked: 0,
        });
        self.holders.last().expect("a holder was just pushed")
    }

    /// When something about this lock happens next by itself, as far as the lock alone tells.
    #[must_use]
    pub fn next_deadline(&self) -> Option<StoreTime> {
        self.holders.iter().filter_map(|holder| holder.deadline).chain(self.cooldown_until).min()
    }

    /// The lock as a reader at `now` must see it: without what is past its deadline.
    #[must_use]
    pub fn seen_at(mut self, now: StoreTime) -> Self {
        self.expire(now, &mut Settled::default());
        self
    }
}
