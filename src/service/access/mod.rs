//! Who may do what: what is granted, held in memory and changed through the store.

mod grants;
mod tokens;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use dashmap::DashMap;
use zeroize::Zeroizing;

use super::caller::{Actor, Caller, Known};
use super::{Error, Service};
use crate::domain::access::{Access, AccessAct, Credential, Object, Room, Scope, TokenName, Verb, Verbs};
use crate::domain::command::{Act, Break, LockAct, StoreAct};
use crate::domain::decision::Reply;
use crate::domain::ids::{KeyedDigest, RequestId, TokenHash};
use crate::domain::names::{EnvironmentName, Prefix, Principal, StateName};
use crate::domain::time::WallTime;
use crate::store::clock::Source;
use crate::store::{LockRow, Query, Rows};

pub use grants::Target;
pub use tokens::{NewToken, Secret, fresh_secret};

/// When a token was last used is told to the store this often, and kept to this.
const TELLS_USE: Duration = Duration::from_secs(60);
/// How long a token that was exchanged for another credential, or has a drawn name, is remembered after it expired: longer than any such
/// credential lives.
const REMEMBERS_ENDED: Duration = Duration::from_secs(2 * 24 * 3600);

/// How many of the last tokens are kept in memory for clients whose answer was lost.
const REMEMBERED: usize = 256;

/// What is granted, as it is in the store, and what is not kept there.
pub(super) struct Rights {
    granted: RwLock<Access>,
    /// One change at a time, so that what is here follows what is there.
    changing: tokio::sync::Mutex<()>,
    clock: Arc<dyn Source>,
    room: Room,
    used: DashMap<TokenName, WallTime>,
    /// The last tokens that were made, for a client whose answer was lost.
    fresh: Mutex<VecDeque<Fresh>>,
}

/// A token that was just made.
struct Fresh {
    principal: Principal,
    id: RequestId,
    secret: Zeroizing<String>,
}

impl Rights {
    pub(super) fn new(clock: Arc<dyn Source>) -> Self {
        Self {
            granted: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            clock,
            room: Room::DEFAULT,
            used: DashMap::new(),
            fresh: Mutex::default(),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Access) -> T) -> T {
        look(&self.granted.read().expect("no panic while held"))
    }

    fn change(&self, change: impl FnOnce(&mut Access)) {
        change(&mut self.granted.write().expect("no panic while held"));
    }

    fn remember(&self, token: Fresh) {
        let mut fresh = self.fresh.lock().expect("no panic while held");
        fresh.truncate(REMEMBERED - 1);
        fresh.push_front(token);
    }

    /// The token that this request made, if that is not too long ago.
    fn remembered(&self, id: RequestId, principal: &Principal) -> Option<Zeroizing<String>> {
        let fresh = self.fresh.lock().expect("no panic while held");
        fresh.iter().find(|fresh| fresh.id == id && fresh.principal == *principal).map(|fresh| fresh.secret.clone())
    }
}

impl Service {
    /// Reads what is granted, and keeps what is used up to date from then on. Until then nobody but the owner of the process has any right.
    ///
    /// # Errors
    /// The store fails.
    pub async fn load_access(self: &Arc<Self>) -> Result<(), Error> {
        let Rows::Access(grants, tokens) = self.store.select(Query::Access).await? else {
            return Err(Error::internal("access answered with other rows"));
        };
        self.access.change(|access| *access = Access::new(grants, tokens));
        // What a crash kept from being done after a revocation.
        self.break_revoked().await?;
        let me = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TELLS_USE).await;
                let Some(service) = me.upgrade() else { return };
                service.tell_use().await;
            }
        });
        Ok(())
    }

    /// Whether there is any token that is accepted.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        let now = self.now();
        self.access.read(|access| access.tokens().any(|token| token.live(now)))
    }

    /// Who bears the token with this hash. It is looked up by the hash: how long that takes tells nothing of the token.
    #[must_use]
    pub fn recognise(&self, hash: &TokenHash) -> Option<Known> {
        let now = self.now();
        let (name, principal) = self.access.read(|access| {
            let token = access.recognise(hash, now)?;
            Some((token.name.clone(), token.principal.clone()))
        })?;
        self.access.used.insert(name.clone(), now);
        Some(Known { credential: Credential::Token(name), principal, once: None, until: None })
    }

    /// The wall clock, which the life of tokens is measured by.
    #[must_use]
    pub fn now(&self) -> WallTime {
        self.access.clock.wall()
    }

    /// Whether a caller may do any of these to anything in an environment; without one, to anything.
    pub(super) fn allow_list(&self, caller: &Caller, verbs: &[Verb], within: Option<&EnvironmentName>) -> Result<Actor, Error> {
        within.map_or_else(|| self.allow_somewhere(caller, verbs), |environment| self.allow_within(caller, verbs, environment))
    }

    /// Whether a caller may do this to every state of an environment.
    pub(super) fn allow_all_of(&self, caller: &Caller, verb: Verb, environment: &EnvironmentName) -> Result<(), Error> {
        let all = format!("{environment}/**");
        let scope = Scope::new(Verbs::of(&[verb]), all.parse().expect("a name and stars are a glob"));
        if self.covers(caller, &scope) {
            return Ok(());
        }
        Err(Error::Forbidden { principal: caller.principal().clone(), verb, object: all })
    }

    pub(super) fn held(&self, caller: &Caller, of: impl FnOnce(&Access, &Credential, WallTime) -> Verbs) -> Result<Verbs, Error> {
        if caller.is_lease() {
            return Err(Error::Unauthenticated);
        }
        let now = self.now();
        if caller.has_ended(now) {
            return Err(Error::Unauthenticated);
        }
        Ok(caller.credential().map_or(Verbs::of(Verb::ALL), |credential| self.access.read(|access| of(access, credential, now))))
    }

    pub(super) fn covers(&self, caller: &Caller, scope: &Scope) -> bool {
        let now = self.now();
        !caller.is_lease()
            && caller.credential().is_none_or(|credential| self.access.read(|access| access.covers(credential, scope, now)))
    }

    /// Whether a reader's recipient is registered with what allows the caller to read.
    pub(super) fn is_registered(&self, caller: &Caller, state: &StateName, recipient: &str) -> bool {
        let registered =
            |credential: &Credential| self.access.read(|access| access.registered(credential, &Object::State(state), recipient));
        !caller.is_lease() && caller.credential().is_none_or(registered)
    }

    /// Whether a principal that was granted a lease has had all its rights taken away since.
    pub(super) fn is_revoked(&self, principal: &Principal) -> bool {
        self.access.read(|access| access.revoked(principal))
    }

    /// Changes what is granted `unless` that cannot be, in the store and then here, and ends what was granted to whoever has lost all of it: to the end, also if
    /// whoever asked has gone meanwhile. Otherwise a revocation that is committed would not hold.
    async fn change_access(
        &self,
        actor: Actor,
        request: Option<(RequestId, KeyedDigest)>,
        act: AccessAct,
        unless: impl FnOnce(&Access) -> Result<(), Error> + Send + 'static,
        follow: impl FnOnce(&mut Access, &Reply) + Send + 'static,
    ) -> Result<Reply, Error> {
        let me = self.me.upgrade().ok_or(Error::Stopping)?;
        let revokes = matches!(act, AccessAct::RevokeToken(_) | AccessAct::RevokeGrant(_));
        let changing = tokio::spawn(async move {
            let alone = me.access.changing.lock().await;
            if let Err(error) = me.access.read(unless) {
                // It was done, perhaps, and that is why it cannot be any more.
                let earlier = match request {
                    Some(request) => me.recall(actor, request).await?,
                    None => None,
                };
                return earlier.ok_or(error);
            }
            let reply = me.access_act(actor, request, act).await?;
            me.access.change(|access| follow(access, &reply));
            drop(alone);
            if revokes {
                me.break_revoked().await?;
            }
            Ok(reply)
        });
        changing.await.unwrap_or_else(|error| Err(Error::internal(&error.to_string())))
    }

    /// The answer that this very request of this principal was given before, if it was.
    async fn recall(&self, actor: Actor, request: (RequestId, KeyedDigest)) -> Result<Option<Reply>, Error> {
        match self.access_act(actor, Some(request), AccessAct::Recall).await {
            Ok(Reply::Settled) | Err(Error::Refused(_)) => Ok(None),
            Ok(earlier) => Ok(Some(earlier)),
            Err(error) => Err(error),
        }
    }

    async fn access_act(&self, actor: Actor, request: Option<(RequestId, KeyedDigest)>, act: AccessAct) -> Result<Reply, Error> {
        self.submit(actor, request, Act::Store(Box::new(StoreAct::Access(act)))).await
    }

    /// Submits what may bring the caller a lease or a place in a queue, and takes that back from who was revoked meanwhile: its rights were
    /// looked at before, and its leases broken before this one was there. To the end, also if the caller has gone.
    ///
    /// # Errors
    /// As [`Self::submit`]; it was revoked.
    pub(super) async fn submit_for_lease(
        &self,
        actor: Actor,
        request: Option<(RequestId, KeyedDigest)>,
        act: Act,
    ) -> Result<Reply, Error> {
        let me = self.me.upgrade().ok_or(Error::Stopping)?;
        let asking = tokio::spawn(async move {
            let principal = actor.principal.clone();
            let reply = me.submit(actor, request, act).await?;
            if !me.is_revoked(&principal) {
                return Ok(reply);
            }
            me.break_revoked().await?;
            Err(Error::NotAllowed)
        });
        asking.await.unwrap_or_else(|error| Err(Error::internal(&error.to_string())))
    }

    /// Breaks the leases of principals that were revoked, and takes them out of the queues.
    async fn break_revoked(&self) -> Result<(), Error> {
        /// Locks read at once.
        const PAGE: usize = 1000;
        let mut after = None;
        loop {
            let everything = Prefix { environment: None, path: None };
            let query = Query::Locks { prefix: everything, all: false, after, limit: PAGE };
            let Rows::Locks(rows, now) = self.store.select(query).await? else {
                return Err(Error::internal("locks answered with other rows"));
            };
            for row in &rows {
                // First, or one of them is served when a lease is broken.
                self.cancel_revoked(row.state()).await?;
                let lock = row.lock.clone().seen_at(now);
                for holder in lock.holders.iter().filter(|holder| self.is_revoked(&holder.principal)) {
                    let reason = format!("{} was revoked", holder.principal);
                    let reason = reason.parse().or_else(|_| "its principal was revoked".parse())?;
                    let act = Break { token: Some(holder.token), reason, now: false, forced: false, take: None };
                    self.end(row.state(), LockAct::Break(act)).await?;
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
            after = rows.last().map(LockRow::state);
        }
    }

    async fn cancel_revoked(&self, state: StateName) -> Result<(), Error> {
        let Rows::Tickets(tickets, _) = self.store.select(Query::Tickets(state.clone())).await? else {
            return Err(Error::internal("tickets answered with other rows"));
        };
        for ticket in tickets.into_iter().filter(|ticket| self.is_revoked(&ticket.principal)) {
            self.end(state.clone(), LockAct::Cancel { ticket: Some(ticket.id), session: None }).await?;
        }
        Ok(())
    }

    /// Ends a lease or a ticket, unless it has ended in the meantime.
    async fn end(&self, state: StateName, act: LockAct) -> Result<(), Error> {
        match self.submit(Actor::server(), None, Act::Lock(state, act)).await {
            Ok(_) | Err(Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn tell_use(&self) {
        let names: Vec<TokenName> = self.access.used.iter().map(|entry| entry.key().clone()).collect();
        let used: Vec<_> = names.iter().filter_map(|name| self.access.used.remove(name)).collect();
        let before = WallTime(self.now().0 - i64::try_from(REMEMBERS_ENDED.as_millis()).unwrap_or(i64::MAX));
        let _alone = self.access.changing.lock().await;
        if !used.is_empty() {
            match self.access_act(Actor::server(), None, AccessAct::Used(used.clone())).await {
                Ok(_) => self.access.change(|access| used.into_iter().for_each(|(name, at)| access.used(&name, at))),
                Err(error) => tracing::warn!(%error, "when tokens were last used could not be kept"),
            }
        }
        if self.access.read(|access| access.tokens().any(|token| token.is_spent(before))) {
            match self.access_act(Actor::server(), None, AccessAct::Forget(before)).await {
                Ok(_) => self.access.change(|access| access.forget_ended(before)),
                Err(error) => tracing::warn!(%error, "expired tokens could not be forgotten"),
            }
        }
    }
}

/// Whether text is an age recipient that documents can be sealed to.
///
/// # Errors
/// It is none.
pub fn check_recipient(text: &str) -> Result<(), Error> {
    super::environments::recipient(text).map(drop)
}

/// The SHA-256 of a token.
#[must_use]
pub fn hash_of(token: &str) -> TokenHash {
    use sha2::Digest as _;
    TokenHash(sha2::Sha256::digest(token.as_bytes()).into())
}
