//! Who may do what (design 6): verbs on globs, given to principals by grants and to tokens by their scopes; and the one function that
//! says yes or no.

mod act;
mod glob;
mod grant;
mod room;
mod verb;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

pub use act::AccessAct;
pub(super) use act::decide;
pub use glob::{Glob, Object};
pub use grant::{Grant, Maker, Scope, Subject, TokenName, TokenRecord};
pub use room::{Crowded, Room};
pub use verb::{Role, Verb, Verbs};

use super::ids::{GrantId, TokenHash};
use super::names::{EnvironmentName, NameError, Principal};
use super::time::WallTime;

/// A word about rights that breaks its rule. The message states the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum AccessError {
    #[error(
        "no such role or verb; roles are reader planner pipeline agent operator keyholder auditor admin, verbs as `leasehold access grant --help` lists them"
    )]
    Verb,
    #[error("what a grant is on is ENV, ENV/PATH or /, by whole segments: `*` stands for one, `**` for any number")]
    Glob,
    #[error(
        "a grant is given to token:NAME, oidc:BINDING:SUBJECT or cert:KIND:NAME; `:*` at the end stands for all that begin so, but not for all of a kind"
    )]
    Subject,
    #[error("{}", NameError::Principal)]
    SubjectLetters,
    #[error("a token's name is [a-z0-9][a-z0-9-]{{0,62}}")]
    TokenName,
}

/// By what a caller was recognised; its rights are those of this.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A token of ours.
    Token(TokenName),
    /// Something that others vouch for: a certificate, a token of an issuer.
    Principal(Principal),
}

/// How many tokens stand between one and what its rights come from, at most.
pub const DEEPEST: usize = 8;

/// All grants and tokens.
#[derive(Clone, Debug, Default)]
pub struct Access {
    grants: BTreeMap<GrantId, Grant>,
    /// The grants to each subject that names one principal, and those to the others.
    to_one: HashMap<String, BTreeSet<GrantId>>,
    to_many: BTreeSet<GrantId>,
    tokens: BTreeMap<TokenName, TokenRecord>,
    by_hash: HashMap<TokenHash, TokenName>,
    /// By what the maker is called.
    by_maker: HashMap<String, BTreeSet<TokenName>>,
}

/// Why something is allowed or not, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it is.
    pub allowed: bool,
    /// What decides it: a grant or a scope for each step from the credential to where its rights come from.
    pub because: Vec<String>,
}

impl Access {
    /// From what is stored.
    #[must_use]
    pub fn new(grants: Vec<Grant>, tokens: Vec<TokenRecord>) -> Self {
        let mut access = Self::default();
        grants.into_iter().for_each(|grant| access.put_grant(grant));
        tokens.into_iter().for_each(|token| access.put_token(token));
        access
    }

    /// Adds a grant.
    pub fn put_grant(&mut self, grant: Grant) {
        match grant.to.one() {
            Some(name) => drop(self.to_one.entry(name.to_owned()).or_default().insert(grant.id)),
            None => drop(self.to_many.insert(grant.id)),
        }
        self.grants.insert(grant.id, grant);
    }

    /// Takes a grant back.
    pub fn drop_grant(&mut self, id: GrantId) {
        let Some(gone) = self.grants.remove(&id) else { return };
        self.to_many.remove(&id);
        if let Some(rest) = gone.to.one().and_then(|name| self.to_one.get_mut(name)) {
            rest.remove(&id);
        }
    }

    /// Adds a token, or changes it.
    pub fn put_token(&mut self, token: TokenRecord) {
        self.by_hash.insert(token.hash, token.name.clone());
        self.note_maker(&token);
        self.tokens.insert(token.name.clone(), token);
    }

    /// Forgets tokens that expired before this time and whose name nobody will ask for.
    pub fn forget_ended(&mut self, before: WallTime) {
        self.tokens.retain(|_, token| !token.is_spent(before));
        self.by_hash.retain(|_, name| self.tokens.contains_key(name));
        self.forget_makers();
    }

    /// All grants, by id.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// A grant.
    #[must_use]
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.get(&id)
    }

    /// All tokens, by name.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    /// A token by its name.
    #[must_use]
    pub fn token(&self, name: &TokenName) -> Option<&TokenRecord> {
        self.tokens.get(name)
    }

    /// The token with this hash, if it is accepted at this time.
    #[must_use]
    pub fn recognise(&self, hash: &TokenHash, now: WallTime) -> Option<&TokenRecord> {
        self.tokens.get(self.by_hash.get(hash)?).filter(|token| token.live(now))
    }

    /// A token was revoked: what is granted to it goes.
    pub fn revoke(&mut self, token: &TokenRecord) {
        self.put_token(token.clone());
        for id in self.to_one.remove(token.name.principal().as_str()).unwrap_or_default() {
            self.grants.remove(&id);
        }
    }

    /// When a token was last seen.
    pub fn used(&mut self, name: &TokenName, at: WallTime) {
        self.tokens.entry(name.clone()).and_modify(|token| token.used = Some(at));
    }

    /// Whether a recipient is registered with a right to read the object that this credential itself has.
    #[must_use]
    pub fn registered(&self, who: &Credential, object: &Object<'_>, recipient: &str) -> bool {
        let (scopes, principal) = match who {
            Credential::Token(name) => (self.tokens.get(name).map_or(&[][..], |token| &token.scopes), name.principal()),
            Credential::Principal(principal) => (&[][..], principal.clone()),
        };
        let mut own = scopes.iter().chain(self.granted(&principal).map(|grant| &grant.scope));
        own.any(|scope| scope.allows(Verb::ReadFull, object) && scope.recipients.iter().any(|known| known == recipient))
    }

    /// Whether all rights of a principal that once had some were taken away: what it holds is to be taken from it. A token that merely
    /// expired keeps its leases; one that was revoked does not, nor does one that it made; others when nothing is granted to them any more,
    /// nor do tokens that they made.
    #[must_use]
    pub fn revoked(&self, principal: &Principal) -> bool {
        let vouched = ["oidc:", "cert:"].iter().any(|kind| principal.as_str().starts_with(kind));
        let token = || principal.as_str().strip_prefix("token:").and_then(|name| name.parse().ok()).map(Maker::Token);
        let mut next = if vouched { Some(Maker::Principal(principal.clone())) } else { token() };
        for _ in 0..=DEEPEST {
            let name = match next {
                Some(Maker::Token(name)) => name,
                Some(Maker::Principal(principal)) => return self.granted(&principal).next().is_none(),
                Some(Maker::Init) | None => return false,
            };
            let Some(token) = self.tokens.get(&name) else { return false };
            if token.revoked.is_some() {
                return true;
            }
            next = Some(token.maker.clone());
        }
        false
    }

    /// What may be done to an object, implied verbs included.
    #[must_use]
    pub fn verbs(&self, who: &Credential, object: &Object<'_>, now: WallTime) -> Verbs {
        self.rights(who, now, &mut |scope| if scope.on.matches(object) { scope.verbs.closed() } else { Verbs::default() })
    }

    /// What may be done to anything at all.
    #[must_use]
    pub fn verbs_anywhere(&self, who: &Credential, now: WallTime) -> Verbs {
        self.rights(who, now, &mut |scope| scope.verbs.closed())
    }

    /// What may be done to an environment or to anything in it.
    #[must_use]
    pub fn verbs_within(&self, who: &Credential, environment: &EnvironmentName, now: WallTime) -> Verbs {
        self.rights(who, now, &mut |scope| if scope.on.touches(environment) { scope.verbs.closed() } else { Verbs::default() })
    }

    /// Whether everything in a scope is allowed: each verb by one grant or scope that covers the whole glob, at every step.
    #[must_use]
    pub fn covers(&self, who: &Credential, wanted: &Scope, now: WallTime) -> bool {
        let covered =
            self.rights(who, now, &mut |scope| if scope.on.covers(&wanted.on) { scope.verbs.closed() } else { Verbs::default() });
        !wanted.verbs.is_empty() && wanted.verbs.iter().all(|verb| covered.has(verb))
    }

    /// How many tokens stand between a credential and what its rights come from.
    #[must_use]
    pub fn depth(&self, who: &Credential) -> usize {
        self.chain(who).len()
    }

    /// Why a verb is allowed on an object, or is not.
    #[must_use]
    pub fn explain(&self, who: &Credential, verb: Verb, object: &Object<'_>, now: WallTime) -> Explanation {
        let mut because = Vec::new();
        let mut allowed = true;
        for step in self.chain(who) {
            let Credential::Token(name) = &step else { unreachable!("a chain is of tokens, but for its end") };
            let Some(token) = self.tokens.get(name) else { break };
            if !token.live(now) {
                let how = if token.revoked.is_some() { "was revoked" } else { "has expired" };
                because.push(format!("no: token {name} {how}"));
                allowed = false;
                continue;
            }
            let scope = token.scopes.iter().find(|scope| scope.allows(verb, object));
            let granted = self.granted(&name.principal()).find(|grant| grant.scope.allows(verb, object));
            match (scope, granted) {
                (Some(scope), _) => because.push(format!("yes: token {name} has {scope}")),
                (None, Some(grant)) => because.push(grant.says()),
                (None, None) => {
                    because.push(format!("no: neither a scope of token {name} nor a grant to it has {verb} on {object}"));
                    allowed = false;
                }
            }
        }
        match self.source(who) {
            Some(Maker::Principal(principal)) => match self.granted(&principal).find(|grant| grant.scope.allows(verb, object)) {
                Some(grant) => because.push(grant.says()),
                None => {
                    because.push(format!("no: no grant to {principal} has {verb} on {object}"));
                    allowed = false;
                }
            },
            Some(_) => {}
            None => {
                because.push("no: there is no such token".to_owned());
                allowed = false;
            }
        }
        Explanation { allowed, because }
    }

    /// The rights at every step, intersected: a token never has more than its maker has now.
    fn rights(&self, who: &Credential, now: WallTime, of: &mut dyn FnMut(&Scope) -> Verbs) -> Verbs {
        let mut all = Role::Admin.verbs();
        for step in self.chain(who) {
            let Credential::Token(name) = &step else { unreachable!("a chain is of tokens, but for its end") };
            let Some(token) = self.tokens.get(name).filter(|token| token.live(now)) else { return Verbs::default() };
            let principal = name.principal();
            let granted = self.granted(&principal).map(|grant| &grant.scope);
            let own = token.scopes.iter().chain(granted).fold(Verbs::default(), |own, scope| own.and(of(scope)));
            all = all.common(own);
        }
        match self.source(who) {
            Some(Maker::Init) => all,
            Some(Maker::Principal(principal)) => {
                all.common(self.granted(&principal).fold(Verbs::default(), |own, grant| own.and(of(&grant.scope))))
            }
            Some(Maker::Token(_)) | None => Verbs::default(),
        }
    }

    fn granted(&self, principal: &Principal) -> impl Iterator<Item = &Grant> {
        let exact = self.to_one.get(principal.as_str()).into_iter().flatten();
        exact.chain(&self.to_many).filter_map(|id| self.grants.get(id)).filter(move |grant| grant.to.means(principal))
    }

    /// The tokens from a credential to where its rights come from.
    fn chain(&self, who: &Credential) -> Vec<Credential> {
        let mut chain = Vec::new();
        let mut next = who.clone();
        while let Credential::Token(name) = &next
            && chain.len() <= DEEPEST
        {
            chain.push(next.clone());
            match self.tokens.get(name).map(|token| &token.maker) {
                Some(Maker::Token(maker)) => next = Credential::Token(maker.clone()),
                _ => break,
            }
        }
        chain
    }

    /// Where rights come from in the end; none: a token is missing, or there are too many.
    fn source(&self, who: &Credential) -> Option<Maker> {
        match who {
            Credential::Principal(principal) => Some(Maker::Principal(principal.clone())),
            Credential::Token(_) => {
                let chain = self.chain(who);
                let Some(Credential::Token(last)) = chain.last().filter(|_| chain.len() <= DEEPEST) else { return None };
                Some(self.tokens.get(last)?.maker.clone()).filter(|maker| !matches!(maker, Maker::Token(_)))
            }
        }
    }
}

impl Scope {
    fn allows(&self, verb: Verb, object: &Object<'_>) -> bool {
        self.verbs.allow(verb) && self.on.matches(object)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.verbs, self.on)
    }
}

impl Grant {
    fn says(&self) -> String {
        format!("yes: grant {} gives {} {}, by {}", self.id, self.to, self.scope, self.by)
    }
}

#[cfg(test)]
mod tests;
