//! Grants: given, listed, taken back and explained.

use crate::domain::access::{Access, AccessAct, Credential, Explanation, Grant, Object, Scope, Subject, Verb, Verbs};
use crate::domain::decision::Reply;
use crate::domain::ids::{GrantId, RequestId};
use crate::domain::names::{EnvironmentName, Principal, StateName};
use crate::domain::refusal::Refusal;
use crate::domain::time::WallTime;
use crate::service::{Caller, Error, Service, random};

/// How many grants there are at most: each check looks at all of them.
const MOST: usize = 10_000;
/// Rights that only who has them may hand on.
const OWN_ONLY: [Verb; 3] = [Verb::ReadFull, Verb::Keys, Verb::Admin];

/// What a right is explained on.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the design")]
pub enum Target {
    Store,
    Environment(EnvironmentName),
    State(StateName),
}

impl Service {
    /// Grants verbs on a glob. The caller needs `admin` on all of it, and for `read.full`, `keys` and `admin` the same right.
    ///
    /// # Errors
    /// It is beyond the caller's rights, it is given to a token that is not there, or there are too many.
    pub async fn grant(&self, caller: &Caller, id: RequestId, to: Subject, scope: Scope) -> Result<Grant, Error> {
        let actor = self.allow_somewhere(caller, Verb::ALL)?;
        let verbs = scope.verbs.iter().filter(|verb| OWN_ONLY.contains(verb)).chain([Verb::Admin]).collect::<Vec<_>>();
        let needed = Scope::new(Verbs::of(&verbs), scope.on.clone());
        if scope.verbs.is_empty() || !self.covers(caller, &needed) {
            return Err(Error::Beyond(needed.to_string()));
        }
        let digest = self.server_key.digest(&[b"grant", to.as_str().as_bytes(), scope.to_string().as_bytes()]);
        let fresh = GrantId(random::bytes16()?);
        let grant = Grant { id: fresh, to, scope, by: actor.principal.clone(), made: self.now() };
        let follow = move |access: &mut Access, reply: &Reply| match reply {
            // An earlier answer, told again, is of a grant that may have been taken back since.
            Reply::Grant(grant) if grant.id == fresh => access.put_grant((**grant).clone()),
            _ => {}
        };
        let (to, now) = (grant.to.clone(), grant.made);
        let unless = move |access: &Access| may_be_granted(access, &to, now);
        match self.change_access(actor, Some((id, digest)), AccessAct::Grant(grant), unless, follow).await? {
            Reply::Grant(grant) => Ok(*grant),
            _ => Err(Error::internal("a grant answered otherwise")),
        }
    }

    /// Takes a grant back; a principal that has none left loses its leases. The caller needs `admin` on all that it is on.
    ///
    /// # Errors
    /// There is none that the caller may take back.
    pub async fn revoke_grant(&self, caller: &Caller, id: RequestId, grant: GrantId) -> Result<Grant, Error> {
        let actor = self.allow_somewhere(caller, Verb::ALL)?;
        let found = self.access.read(|access| access.grant(grant).cloned());
        let may = |grant: &Grant| self.covers(caller, &Scope::new(Verbs::of(&[Verb::Admin]), grant.scope.on.clone()));
        let digest = self.server_key.digest(&[b"revoke-grant", &grant.0]);
        if !found.as_ref().is_some_and(may) && !self.may(caller, Verb::Admin, Object::Store) {
            // What the grant was on is known no more once it is gone, but whoever took it back may ask again for the answer.
            return match self.recall(actor, (id, digest)).await? {
                Some(Reply::Grant(gone)) => Ok(*gone),
                _ => {
                    self.audit_refused(caller, Verb::Admin, Object::Store);
                    Err(Error::NotAllowed)
                }
            };
        }
        let act = AccessAct::RevokeGrant(grant);
        let follow = move |access: &mut Access, _: &Reply| access.drop_grant(grant);
        match self.change_access(actor, Some((id, digest)), act, |_| Ok(()), follow).await? {
            Reply::Grant(gone) => Ok(*gone),
            _ => Err(Error::internal("a revocation answered otherwise")),
        }
    }

    /// The grants that a caller may know of: all with `admin` on the store, otherwise its own and those on what it has `admin` on.
    ///
    /// # Errors
    /// The caller has no right at all.
    pub fn list_grants(&self, caller: &Caller) -> Result<Vec<Grant>, Error> {
        self.allow_somewhere(caller, Verb::ALL)?;
        let all = self.may(caller, Verb::Admin, Object::Store);
        let mine = |grant: &Grant| {
            grant.to.means(caller.principal())
                || self.covers(caller, &Scope::new(Verbs::of(&[Verb::Admin]), grant.scope.on.clone()))
        };
        let grants: Vec<Grant> = self.access.read(|access| access.grants().cloned().collect());
        Ok(grants.into_iter().filter(|grant| all || mine(grant)).collect())
    }

    /// Why a principal may do something, or may not. Anybody may ask about itself; about others, who has `admin` on the object.
    ///
    /// # Errors
    /// The caller may not ask.
    pub fn explain(&self, caller: &Caller, principal: &Principal, verb: Verb, target: &Target) -> Result<Explanation, Error> {
        let object = match target {
            Target::Store => Object::Store,
            Target::Environment(name) => Object::Environment(name),
            Target::State(name) => Object::State(name),
        };
        if principal == caller.principal() {
            self.allow_somewhere(caller, Verb::ALL)?;
        } else {
            self.allow(caller, Verb::Admin, object)?;
        }
        let own = caller.credential().filter(|_| principal == caller.principal()).cloned();
        let named = principal.as_str().strip_prefix("token:").and_then(|name| name.parse().ok()).map(Credential::Token);
        let credential = own.or(named).unwrap_or_else(|| Credential::Principal(principal.clone()));
        let now = self.now();
        Ok(self.access.read(|access| access.explain(&credential, verb, &object, now)))
    }
}

/// Whether there is room for a grant, and somebody to have it.
fn may_be_granted(access: &Access, to: &Subject, now: WallTime) -> Result<(), Error> {
    if let Some(name) = to.as_str().strip_prefix("token:") {
        let token = name.parse().ok().and_then(|name| access.token(&name));
        if !token.is_some_and(|token| token.live(now) && token.exchanged.is_none()) {
            return Err(Refusal::TokenNotFound(name.to_owned()).into());
        }
    }
    if access.grants().count() >= MOST {
        let next = "take back what is not needed any more: `leasehold access list`";
        return Err(Error::Argument { what: "there are 10,000 grants already", next });
    }
    Ok(())
}
