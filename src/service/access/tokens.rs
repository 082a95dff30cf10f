//! Tokens: made, exchanged for other credentials, listed and revoked.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Fresh, hash_of};
use crate::domain::access::{Access, AccessAct, Credential, DEEPEST, Maker, Object, Role, Scope, TokenName, TokenRecord, Verb};
use crate::domain::decision::Reply;
use crate::domain::ids::{RequestId, TokenHash};
use crate::domain::time::WallTime;
use crate::service::caller::Actor;
use crate::service::{Caller, Error, Service, random};

/// A token in the clear, shown once.
pub type Secret = Zeroizing<String>;

/// What tokens of ours begin with.
pub(super) const PREFIX: &str = "lh_";
/// A token that was exchanged for the credential of an issuer, or made by a certificate's bearer, lives at most this long.
const LONGEST_EXCHANGED: Duration = Duration::from_secs(3600);
/// How many scopes a token has at most.
const MOST_SCOPES: usize = 64;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name; none: one is drawn.
    pub name: Option<TokenName>,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// How long it lives; none: until it is revoked.
    pub life: Option<Duration>,
}

impl Service {
    /// Makes a token with at most the caller's rights, now and later. Whoever shows the token of an issuer exchanges it: once, for at most an
    /// hour, and stays the same principal.
    ///
    /// # Errors
    /// The scopes are beyond the caller's rights, the name is taken, or the request was answered before a restart: the token is not kept.
    pub async fn create_token(&self, caller: &Caller, id: RequestId, new: NewToken) -> Result<(TokenRecord, Secret), Error> {
        let actor = self.allow_somewhere(caller, Verb::ALL)?;
        let maker = self.maker(caller, &new)?;
        let text = format!("{new:?}");
        let digest = self.server_key.digest(&[b"token", actor.principal.as_str().as_bytes(), text.as_bytes()]);
        let secret = fresh_secret()?;
        let name = new.name.map_or_else(drawn_name, Ok)?;
        let exchanged = caller.once();
        let made = self.now();
        let longest = (!matches!(maker, Maker::Token(_) | Maker::Init)).then_some(LONGEST_EXCHANGED);
        let life = match (new.life, longest) {
            (Some(life), Some(longest)) => Some(life.min(longest)),
            (life, longest) => life.or(longest),
        };
        let later = |life: Duration| WallTime(made.0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX)));
        let record = TokenRecord {
            hash: hash_of(&secret),
            principal: exchanged.map_or_else(|| name.principal(), |_| actor.principal.clone()),
            maker,
            scopes: new.scopes,
            made,
            // Not beyond its maker's: one that was exchanged is forgotten some time after its end, and its name may mean another then.
            expires: [life.map(later), self.ends(caller)].into_iter().flatten().min(),
            revoked: None,
            used: None,
            exchanged,
            name,
        };
        self.keep_token(actor, Some((id, digest)), record, secret, caller.credential().cloned()).await
    }

    /// Makes the first token, or another one, for whoever has the data folder: all rights, for ever. What is stored is the hash.
    ///
    /// # Errors
    /// The store fails.
    pub async fn adopt_token(&self, hash: TokenHash, name: &str) -> Result<TokenName, Error> {
        if let Some(known) = self.access.read(|access| access.recognise(&hash, self.now()).map(|token| token.name.clone())) {
            return Ok(known);
        }
        let free = |name: &TokenName| self.access.read(|access| access.token(name).is_none());
        let names = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
        let name = names.filter_map(|name| name.parse().ok()).find(free).ok_or_else(|| Error::internal("no name is free"))?;
        let scopes = ["/", "**"].map(|on| Scope::new(Role::Admin.verbs(), on.parse().expect("a glob")));
        let record = TokenRecord {
            hash,
            principal: name.principal(),
            maker: Maker::Init,
            scopes: scopes.into(),
            made: self.now(),
            expires: None,
            revoked: None,
            used: None,
            exchanged: None,
            name: name.clone(),
        };
        self.keep_token(Actor::server(), None, record, Secret::default(), None).await?;
        Ok(name)
    }

    /// The tokens that a caller may know of: all with `admin` on the store, otherwise itself and those it made.
    ///
    /// # Errors
    /// The caller has no right at all.
    pub fn list_tokens(&self, caller: &Caller) -> Result<Vec<TokenRecord>, Error> {
        self.allow_somewhere(caller, Verb::ALL)?;
        let all = self.may(caller, Verb::Admin, Object::Store);
        let used = |token: &TokenRecord| {
            let used = self.access.used.get(&token.name).map(|at| *at).or(token.used);
            TokenRecord { used, ..token.clone() }
        };
        Ok(self.access.read(|access| access.tokens().filter(|token| all || owns(caller, token)).map(used).collect()))
    }

    /// Ends a token, and the leases of its bearer: its own, those it made, or any with `admin` on the store.
    ///
    /// # Errors
    /// There is none that the caller may revoke.
    pub async fn revoke_token(&self, caller: &Caller, id: RequestId, name: TokenName) -> Result<TokenRecord, Error> {
        let actor = self.allow_somewhere(caller, Verb::ALL)?;
        let owned = self.access.read(|access| access.token(&name).is_some_and(|token| owns(caller, token)));
        if !owned && !self.may(caller, Verb::Admin, Object::Store) {
            self.audit_refused(caller, Verb::Admin, Object::Store);
            return Err(Error::NotAllowed);
        }
        let digest = self.server_key.digest(&[b"revoke-token", name.as_str().as_bytes()]);
        let follow = |access: &mut Access, reply: &Reply| {
            if let Reply::Token(token) = reply {
                access.revoke(token);
            }
        };
        match self.change_access(actor, Some((id, digest)), AccessAct::RevokeToken(name), |_| Ok(()), follow).await? {
            Reply::Token(token) => Ok(*token),
            _ => Err(Error::internal("a revocation answered otherwise")),
        }
    }

    /// By whose rights a new token is bounded.
    fn maker(&self, caller: &Caller, new: &NewToken) -> Result<Maker, Error> {
        if new.scopes.is_empty() || new.scopes.len() > MOST_SCOPES {
            let next = "give a role or a verb, and what it is on: `--role pipeline --state 'prod/**'`";
            return Err(Error::Argument { what: "a token has 1 to 64 scopes", next });
        }
        if let Some(scope) = new.scopes.iter().find(|scope| !self.covers(caller, scope)) {
            return Err(Error::Beyond(scope.to_string()));
        }
        if new.name.as_ref().is_some_and(TokenName::is_drawn) {
            let next = "choose another one, or none: then it is drawn";
            return Err(Error::Argument { what: "names of `x-` and 16 hexadecimal digits are drawn by the server", next });
        }
        let Some(credential) = caller.credential() else { return Ok(Maker::Init) };
        if self.access.read(|access| access.depth(credential)) >= DEEPEST {
            let next = "make it with a token nearer to the first one";
            return Err(Error::Argument { what: "too many tokens that were made by one another", next });
        }
        Ok(match credential {
            Credential::Token(name) => Maker::Token(name.clone()),
            Credential::Principal(principal) => Maker::Principal(principal.clone()),
        })
    }

    /// When the token that a caller shows expires.
    fn ends(&self, caller: &Caller) -> Option<WallTime> {
        let Some(Credential::Token(name)) = caller.credential() else { return None };
        self.access.read(|access| access.token(name).and_then(|token| token.expires))
    }

    async fn keep_token(
        &self,
        actor: Actor,
        request: Option<(RequestId, crate::domain::ids::KeyedDigest)>,
        record: TokenRecord,
        secret: Secret,
        of: Option<Credential>,
    ) -> Result<(TokenRecord, Secret), Error> {
        let (principal, hash) = (actor.principal.clone(), record.hash);
        let made = secret.clone();
        let remembered = request.map(|(id, _)| Fresh { principal: principal.clone(), id, secret: made });
        let me = self.me.upgrade().ok_or(Error::Stopping)?;
        let follow = move |access: &mut Access, reply: &Reply| {
            let Reply::Token(token) = reply else { return };
            // One with another hash is an earlier answer.
            if token.hash == hash {
                access.put_token((**token).clone());
                if let Some(fresh) = remembered {
                    me.access.remember(fresh);
                }
            }
        };
        let (room, now) = (self.access.room, self.now());
        let unless = move |access: &Access| match of {
            Some(maker) => access.room_for(&maker, room, now).map_err(Error::from),
            None => Ok(()),
        };
        let act = AccessAct::CreateToken(Box::new(record));
        let Reply::Token(token) = self.change_access(actor, request, act, unless, follow).await? else {
            return Err(Error::internal("a new token answered otherwise"));
        };
        match request {
            Some((id, _)) if token.hash != hash => match self.access.remembered(id, &principal) {
                Some(earlier) => Ok((*token, earlier)),
                None => Err(Error::SecretGone),
            },
            _ => Ok((*token, secret)),
        }
    }
}

/// Whether a token is the caller itself, or was made by it.
fn owns(caller: &Caller, token: &TokenRecord) -> bool {
    match (caller.credential(), &token.maker) {
        (None, _) => !caller.is_lease(),
        (Some(Credential::Token(name)), Maker::Token(maker)) => name == maker || *name == token.name,
        (Some(Credential::Token(name)), _) => *name == token.name,
        (Some(Credential::Principal(principal)), Maker::Principal(maker)) => principal == maker,
        (Some(Credential::Principal(_)), _) => false,
    }
}

/// A new token: `lh_` and 256 random bits.
///
/// # Errors
/// The operating system gives no randomness.
pub fn fresh_secret() -> Result<Secret, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|error| Error::internal(&error.to_string()))?;
    let mut secret = Secret::new(String::with_capacity(PREFIX.len() + 43));
    secret.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(*bytes, &mut secret);
    Ok(secret)
}

/// A name for a token whose maker gave none.
fn drawn_name() -> Result<TokenName, Error> {
    let id = random::bytes16()?;
    let hex: String = id[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x-{hex}").parse().map_err(|_| Error::internal("a drawn name is none"))
}
