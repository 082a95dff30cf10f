//! Rotation of keys, while everything runs: a rotation is begun in one commit, goes on in batches that each remember how far it is, and ends
//! with the proof, in the transaction that retires the old keys, that nothing is left under them.
//!
//! | file | what it is |
//! |---|---|
//! | `begin` | what asks for a rotation |
//! | [`runner`] | who does it: one for each environment, resumed at start and at unlock |
//! | `keys` | data keys wrapped to another identity; their retirement |
//! | `documents`, `reseal` | documents sealed again |
//! | `master` | everything wrapped to another master key |
//! | [`verify`], [`report`], `destroy` | what is there, whether it opens, and its end |

mod begin;
mod destroy;
mod documents;
mod keys;
mod master;
pub mod report;
mod reseal;
pub mod runner;
pub mod verify;

use tokio::sync::mpsc;

pub use begin::RecipientsChange;
pub use destroy::Destroyed;

use super::{Error, Service};
use crate::domain::command::{Act, EnvironmentAct, KeyAct};
use crate::domain::decision::Reply;
use crate::domain::ids::{KeyedDigest, RequestId};
use crate::domain::names::EnvironmentName;
use crate::domain::sealing::Keyring;
use crate::service::Actor;

/// What a rotation is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Data keys are wrapped to the new identity.
    Rewrap,
    /// Documents are sealed again under new data keys.
    Reencrypt,
    /// Old data keys are retired.
    Retire,
    /// Keys are wrapped to the current master key.
    Master,
    /// Everything is opened.
    Verify,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which environment.
    pub environment: EnvironmentName,
    /// What is done.
    pub phase: Phase,
    /// How many keys or documents.
    pub done: u64,
    /// Of about how many.
    pub total: u64,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many keys or documents it was about.
    pub done: u64,
    /// The version of the identity that data keys are wrapped to now.
    pub identity: u32,
    /// How often new data keys were asked for.
    pub key_epoch: u32,
    /// What did not open, by place.
    pub failures: Vec<String>,
    /// How many failures there are, told or not.
    pub failed: u64,
    /// Whether the store has nothing left of the wraps that were replaced; none: nothing was to be looked for.
    pub erased: Option<bool>,
}

/// What somebody who waits for a rotation hears.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the words are those of the types")]
pub enum Told {
    Progress(Progress),
    Done(Outcome),
}

/// What is told, in order; the last is [`Told::Done`] or an error. Whoever stops listening stops nothing.
pub type Telling = mpsc::Receiver<Result<Told, Error>>;

impl Service {
    async fn key_act(
        &self,
        actor: Actor,
        request: Option<(RequestId, KeyedDigest)>,
        environment: &EnvironmentName,
        act: KeyAct,
    ) -> Result<(Keyring, u64, u64), Error> {
        let act = Act::Environment(environment.clone(), EnvironmentAct::Keys(Box::new(act)));
        match self.submit(actor, request, act).await? {
            Reply::Keys { keyring, done, skipped } => Ok((*keyring, done, skipped)),
            _ => Err(Error::internal("an act on keys answered otherwise")),
        }
    }

    /// An act of the server itself.
    async fn own_key_act(&self, environment: &EnvironmentName, act: KeyAct) -> Result<(Keyring, u64, u64), Error> {
        self.key_act(Actor::server(), None, environment, act).await
    }
}

/// Work on keys: public-key cryptography takes its time.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    super::crew::run_behind(work).await
}

fn unwrappable(error: crate::secrets::keys::WrapError) -> Error {
    use crate::secrets::keys::WrapError;
    match error {
        WrapError::Recipients => Error::Recipient(error.to_string()),
        other => Error::internal(&other.to_string()),
    }
}
