//! The lock of another `http` backend, held while its state is copied.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::address::Address;
use super::exchange::Ask;
use super::{Remote, may_pass, refused};
use crate::backend::{Body, Extra, LockInfo, MAX_LOCK_INFO};
use crate::client::{Error, clock};

/// How the other server is locked; the defaults are Terraform's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteLock {
    /// Terraform's `lock_address` and `unlock_address`; none: that of the state.
    pub address: Option<String>,
    /// `lock_method`; none: LOCK. GitLab's is POST.
    pub lock_method: Option<String>,
    /// `unlock_method`; none: UNLOCK. GitLab's is DELETE.
    pub unlock_method: Option<String>,
    /// Who locks, for people.
    pub who: String,
}

/// The lock that an import wants, under an id of its own.
pub struct Lock {
    address: Address,
    lock: Method,
    unlock: Method,
    id: String,
    body: Bytes,
}

/// What came of a wish to lock.
pub enum Locked {
    /// It is held, until it is given back.
    Held,
    /// The server does not lock, not in this way, or not for these credentials.
    Not(Error),
}

impl Lock {
    /// # Errors
    /// [`Error::Caller`] if the address or a method cannot be used.
    pub fn new(remote: &Remote, how: &RemoteLock) -> Result<Self, Error> {
        let address = how.address.as_deref().map_or_else(|| Ok(remote.address.clone()), Address::parse)?;
        let (lock, unlock) = (method(how.lock_method.as_deref(), "LOCK")?, method(how.unlock_method.as_deref(), "UNLOCK")?);
        let id = uuid::Uuid::new_v4().to_string();
        let info = LockInfo {
            id: id.clone(),
            operation: "leasehold state import".to_owned(),
            who: how.who.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // GitLab takes no lock info without it.
            created: Some(clock::stamp()),
            ..LockInfo::default()
        };
        Ok(Self { address, lock, unlock, id, body: info.encode(&Extra::default()).into() })
    }

    /// The id under which the server knows it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    fn ask(&self, method: &Method) -> Ask<'_> {
        Ask { method: method.clone(), address: &self.address, body: self.body.clone(), most: MAX_LOCK_INFO as u64 }
    }
}

impl Remote {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody else has it, with their name as far as the server tells it; [`Error::Denied`] if the server does not know
    /// the credentials; [`Error::Unavailable`] if it cannot be reached: then nobody knows whether it is locked.
    pub async fn lock(&self, lock: &Lock) -> Result<Locked, Error> {
        // With the same id it may be asked twice: if the answer was lost, the server knows its holder.
        let answer = self.exchange(&lock.ask(&lock.lock), &mut |_| ()).await?;
        match answer.status {
            StatusCode::OK => Ok(Locked::Held),
            StatusCode::LOCKED | StatusCode::CONFLICT => match LockInfo::parse(&answer.body) {
                Ok(Body::Info(holder)) if holder.id == lock.id => Ok(Locked::Held),
                Ok(Body::Info(holder)) => Err(self.held(&holder)),
                _ => Err(self.held(&LockInfo::default())),
            },
            StatusCode::UNAUTHORIZED => Err(refused(&lock.address, &answer, lock.lock.as_str())),
            status if may_pass(status) => Err(refused(&lock.address, &answer, lock.lock.as_str())),
            _ => Ok(Locked::Not(refused(&lock.address, &answer, lock.lock.as_str()))),
        }
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// If it stays: the one who runs the server has to unlock then.
    pub async fn unlock(&self, lock: &Lock) -> Result<(), Error> {
        let answer = self.exchange(&lock.ask(&lock.unlock), &mut |_| ()).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refused(&lock.address, &answer, lock.unlock.as_str())) }
    }

    fn held(&self, holder: &LockInfo) -> Error {
        let mut what = format!("{} is locked", self.shown());
        if !holder.who.is_empty() {
            what.push_str(&format!(" by {}", holder.who));
        }
        if !holder.operation.is_empty() {
            what.push_str(&format!(" ({})", holder.operation));
        }
        Error::conflict(what).with_next("wait until it is free; if nobody writes there, `--lock never` copies all the same")
    }
}

fn method(given: Option<&str>, default: &str) -> Result<Method, Error> {
    let method = given.unwrap_or(default);
    Method::from_bytes(method.as_bytes())
        .map_err(|_| Error::caller("that is no HTTP method").with_next("such as LOCK, or POST and DELETE for GitLab"))
}
