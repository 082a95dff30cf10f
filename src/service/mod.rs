//! Use cases: build a command, submit it, shape the reply. Nothing is decided here; doors call it, stores answer it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;

use crate::domain::command::{Act, Command};
use crate::domain::decision::Reply;
use crate::domain::ids::{KeyedDigest, RequestId};
use crate::domain::names::EnvironmentName;
use crate::secrets::operational::{OperationKeys, ServerKey};
use crate::store::clock::Source;
use crate::store::{Query, Rows, Store};

pub mod access;
pub mod acquire;
pub mod audit;
mod caller;
mod counted;
mod crew;
pub mod drafts;
pub mod environments;
mod error;
pub mod hub;
pub mod leases;
pub mod locking;
pub mod offline;
mod opening;
pub mod pull;
pub mod push;
mod random;
pub mod rewrite;
pub mod rotation;
pub mod rules;
mod sealing;
pub mod states;
pub mod tally;
pub mod tools;
mod vault;
pub mod views;
pub mod watch;

pub use crate::secrets::master::{COMMAND_TIMEOUT, MasterSource};
pub use caller::{Actor, Caller, Known, LeaseSecret};
pub use counted::Counted;
pub use error::Error;

/// Bounds on what callers may send.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The largest document in bytes.
    pub document: u64,
    /// How many bytes of documents may be in flight at once, over all callers.
    pub in_flight: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { document: 128 << 20, in_flight: 512 << 20 }
    }
}

/// The use cases over one store.
pub struct Service {
    store: Arc<dyn Store>,
    server_key: ServerKey,
    vault: vault::Vault,
    /// What of the server's key is each environment's, by name; nothing but a deletion ever changes it.
    keys: DashMap<EnvironmentName, Arc<OperationKeys>>,
    /// How many deletions there were: keys read across one are not kept.
    deletions: AtomicU64,
    hub: Arc<hub::Hub>,
    access: access::Rights,
    audit: Arc<audit::Audit>,
    bounds: Bounds,
    waiting: tools::Waiting,
    telling: tools::Telling,
    runners: rotation::runner::Runners,
    verifiers: rotation::verify::Verifiers,
    /// Itself, for what goes on by itself and must not hold it.
    me: Weak<Self>,
    flights: Arc<tokio::sync::Semaphore>,
    /// How many permits `flights` has when nothing flies.
    permits: u64,
}

/// How many bytes one permit of the in-flight semaphore stands for.
const PERMIT: u64 = 64 << 10;

impl Service {
    /// The service over a store, locked. Spawns the task that tells watchers; call it inside a runtime.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        server_key: ServerKey,
        source: MasterSource,
        bounds: Bounds,
        clock: Arc<dyn Source>,
    ) -> Arc<Self> {
        let permits = (bounds.in_flight / PERMIT).clamp(1, u64::from(u32::MAX >> 3));
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            runners: rotation::runner::Runners::default(),
            verifiers: rotation::verify::Verifiers::default(),
            hub: hub::Hub::start(Arc::clone(&store)),
            store,
            audit: Arc::new(audit::Audit::new(server_key.audit_signer())),
            server_key,
            vault: vault::Vault::new(source),
            keys: DashMap::new(),
            deletions: AtomicU64::new(0),
            access: access::Rights::new(clock),
            bounds,
            waiting: tools::Waiting::default(),
            telling: tools::Telling::default(),
            flights: Arc::new(tokio::sync::Semaphore::new(usize::try_from(permits).expect("a u32 fits usize"))),
            permits,
        })
    }

    /// The bounds on what callers may send.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Told when the store gives up and has to be opened anew.
    #[must_use]
    pub fn store_head(&self) -> tokio::sync::watch::Receiver<crate::store::Head> {
        self.store.head()
    }

    /// What of the server's key is the environment's, for digests of requests and lease secrets: also while the server is locked.
    async fn keys(&self, environment: &EnvironmentName) -> Result<Arc<OperationKeys>, Error> {
        if let Some(keys) = self.keys.get(environment) {
            return Ok(Arc::clone(&keys));
        }
        let before = self.deletions.load(Ordering::SeqCst);
        let Rows::Environments(found) = self.store.select(Query::Environments(Some(environment.clone()))).await? else {
            return Err(Error::internal("environments answered with other rows"));
        };
        let missing = || crate::domain::refusal::Refusal::EnvironmentNotFound(environment.clone());
        let (found, _) = found.into_iter().next().ok_or_else(missing)?;
        let keys = Arc::new(self.server_key.environment(found.id));
        self.keys.insert(environment.clone(), Arc::clone(&keys));
        if self.deletions.load(Ordering::SeqCst) != before {
            self.keys.remove(environment);
        }
        Ok(keys)
    }

    /// An environment was, or may have been, deleted: a namesake has other keys.
    fn forget_keys(&self, environment: &EnvironmentName) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
        self.keys.remove(environment);
        self.vault.forget(environment);
    }

    async fn submit(&self, actor: Actor, request: Option<(RequestId, KeyedDigest)>, act: Act) -> Result<Reply, Error> {
        let about = audit::About::of(&act);
        let Actor { principal, trace } = actor.clone();
        let reply = self.store.submit(Command { principal, trace, request, act }).await?;
        self.heed(&actor, about, &reply);
        Ok(reply?)
    }
}
