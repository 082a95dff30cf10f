//! The keys of one place, cached: fetched by need, never more than one fetch at a time, and never more often than every 30 s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use tokio::task::AbortHandle;

use super::TokenProblem;
use super::binding::{Binding, BindingError};
use super::claims::Claims;
use super::fetch::Fetch;
use super::keys::KeySet;
use super::problem::KeysProblem;
use super::token::Token;

/// Seconds between two attempts, whatever tokens ask for: who sends unknown key ids must not make us a nuisance to the issuer.
const PAUSE: u64 = 30;
/// Seconds after which keys are fetched again in the background.
const FRESH: u64 = 600;
/// Seconds after which a token waits for that: a key that was withdrawn is not used once more after a quiet night.
const STALE: u64 = 3_600;
/// Seconds after which keys are not used any more, though no new ones can be had.
const DEAD: u64 = 86_400;

/// Completes when a fetch has, for everybody who waits for it.
type Fetched = Shared<BoxFuture<'static, ()>>;

/// Keys from one place.
pub(super) struct Source {
    fetch: Fetch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The keys, and when they came.
    keys: Option<(Arc<KeySet>, u64)>,
    /// When the last attempt began.
    tried: Option<u64>,
    /// Why it failed.
    problem: Option<KeysProblem>,
    running: Option<(AbortHandle, Fetched)>,
}

impl Source {
    pub(super) fn open(binding: &Binding) -> Result<Self, BindingError> {
        Ok(Self { fetch: Fetch::open(binding)?, state: Mutex::default() })
    }

    /// The claims of a token that one of the keys has signed.
    pub(super) async fn verify(self: &Arc<Self>, token: &Token<'_>, now: u64) -> Result<Claims, TokenProblem> {
        let known = |keys: &KeySet| token.key_id.as_deref().is_none_or(|id| keys.knows(id));
        let (fresh, usable) = match self.keys(now) {
            Some((keys, age)) => (known(&keys) && age < FRESH, known(&keys) && age < STALE),
            None => (false, false),
        };
        if !fresh
            && let Some(running) = self.refresh(now)
            && !usable
        {
            running.await;
        }
        let Some((keys, _)) = self.keys(now) else {
            return Err(TokenProblem::Keys(self.state().problem.clone().unwrap_or(KeysProblem::TriedBefore)));
        };
        match (keys.verify(token), &self.state().problem) {
            // The key may be among those that could not be fetched.
            (Err(TokenProblem::UnknownKey(_)), Some(problem)) => Err(TokenProblem::Keys(problem.clone())),
            (verified, _) => verified,
        }
    }

    /// The keys and their age, while they may be used. A clock that was put back makes them old, not young.
    fn keys(&self, now: u64) -> Option<(Arc<KeySet>, u64)> {
        let (keys, came) = self.state().keys.clone()?;
        let age = now.abs_diff(came);
        (age < DEAD).then_some((keys, age))
    }

    /// The fetch under way, or a new one if it is time. A task of its own: if it ended with the token that asked for it, whoever
    /// hangs up at once could keep all new keys away.
    fn refresh(self: &Arc<Self>, now: u64) -> Option<Fetched> {
        let mut state = self.state();
        if let Some((_, running)) = state.running.as_ref().filter(|(task, _)| !task.is_finished()) {
            return Some(running.clone());
        }
        if state.tried.is_some_and(|tried| now.abs_diff(tried) < PAUSE) {
            return None;
        }
        state.tried = Some(now);
        let source = Arc::clone(self);
        let task = tokio::spawn(async move { source.fetched(source.fetch.keys().await, now) });
        let handle = task.abort_handle();
        let running = task.map(drop).boxed().shared();
        state.running = Some((handle, running.clone()));
        Some(running)
    }

    fn fetched(&self, keys: Result<KeySet, KeysProblem>, now: u64) {
        let place = self.fetch.place();
        let mut state = self.state();
        match keys {
            Ok(keys) => {
                tracing::debug!(place, "keys of an issuer fetched");
                state.keys = Some((Arc::new(keys), now));
                state.problem = None;
            }
            Err(error) => {
                tracing::warn!(place, %error, "keys of an issuer could not be fetched");
                state.problem = Some(error);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
