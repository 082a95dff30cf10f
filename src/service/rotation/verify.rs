//! Opens everything of an environment: every data key, every document to its last byte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use super::documents::{meta, place};
use super::{Outcome, Phase, Progress, Telling, Told, off_thread};
use crate::domain::access::{Object, Verb};
use crate::domain::command::KeyAct;
use crate::domain::names::{EnvironmentName, StateName};
use crate::domain::sealing::Verified;
use crate::service::crew::run_behind;
use crate::service::pull::Meta;
use crate::service::sealing::Pace;
use crate::service::vault::Ring;
use crate::service::{Caller, Error, Service};
use crate::store::{Query, Rows, WhichDocuments, WhichKeys};

/// How many keys or documents are looked at at once.
const PAGE: usize = 100;
/// How many failures are told by place.
const TOLD: usize = 1000;

/// Who is at it.
#[derive(Default)]
pub(in crate::service) struct Verifiers(Mutex<HashMap<EnvironmentName, watch::Receiver<Look>>>);

#[derive(Clone, Default)]
struct Look {
    done: u64,
    total: u64,
    failures: Vec<String>,
    failed: u64,
    /// Over: in order, or why not.
    ended: Option<Result<(), Halt>>,
}

#[derive(Clone, Copy)]
enum Halt {
    Locked,
    Stopping,
    Gone,
}

impl Service {
    /// Opens everything, and records that it did. Joins whoever is at it already; goes on when nobody listens.
    ///
    /// # Errors
    /// No such environment, or the server is locked.
    pub async fn verify_keys(&self, caller: &Caller, environment: EnvironmentName) -> Result<Telling, Error> {
        self.allow(caller, Verb::Keys, Object::Environment(&environment))?;
        self.ring(&environment).await?;
        let mut looks = self.verifier(&environment);
        let (send, receive) = mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                let look = looks.borrow_and_update().clone();
                let told = match look.ended {
                    None => {
                        let (done, total) = (look.done, look.total.max(look.done));
                        let environment = environment.clone();
                        Ok(Told::Progress(Progress { environment, phase: Phase::Verify, done, total }))
                    }
                    Some(Ok(())) => {
                        let Look { done, failures, failed, .. } = look;
                        Ok(Told::Done(Outcome { done, failures, failed, ..Outcome::default() }))
                    }
                    Some(Err(Halt::Locked)) => Err(Error::Locked),
                    Some(Err(Halt::Stopping)) => Err(Error::Stopping),
                    Some(Err(Halt::Gone)) => Err(Error::Internal),
                };
                let over = look.ended.is_some();
                if send.send(told).await.is_err() || over || looks.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(receive)
    }

    fn verifier(&self, environment: &EnvironmentName) -> watch::Receiver<Look> {
        let mut all = self.verifiers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = all.get(environment).filter(|looks| looks.borrow().ended.is_none() && looks.has_changed().is_ok())
        {
            return running.clone();
        }
        let (look, looks) = watch::channel(Look::default());
        all.insert(environment.clone(), looks.clone());
        drop(all);
        let (me, environment) = (std::sync::Weak::clone(&self.me), environment.clone());
        tokio::spawn(async move {
            let Some(service) = me.upgrade() else { return };
            let done = service.open_all(&environment, &look).await;
            let ended = match done {
                Ok(()) => Ok(()),
                Err(Error::Locked) => Err(Halt::Locked),
                Err(Error::Internal) => Err(Halt::Gone),
                Err(_) => Err(Halt::Stopping),
            };
            look.send_modify(|look| look.ended = Some(ended));
        });
        looks
    }

    async fn open_all(&self, environment: &EnvironmentName, look: &watch::Sender<Look>) -> Result<(), Error> {
        let Rows::Census { documents, left, .. } = self.store.select(Query::Census(environment.clone())).await? else {
            return Err(Error::internal("a census answered with other rows"));
        };
        look.send_modify(|look| look.total = documents + left.keys);
        self.open_data_keys(environment, look).await?;
        let opened = self.open_documents(environment, look).await?;
        let failures = look.borrow().failed;
        let verified = Verified { finished: self.now(), documents: opened, failures };
        let vouched = self.ring(environment).await?.secret.vouch_for_verified(Some(&verified));
        self.own_key_act(environment, KeyAct::Verified { verified, vouched }).await.map(drop)
    }

    async fn open_data_keys(&self, environment: &EnvironmentName, look: &watch::Sender<Look>) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.data_keys(environment, WhichKeys::All, after, PAGE).await?;
            let Some(last) = page.last().map(|last| last.id) else { return Ok(()) };
            after = Some(last);
            // Read after the keys: whatever they are wrapped to is in it.
            let ring = self.fresh_ring(environment).await?;
            let count = page.len() as u64;
            let broken = move || page.into_iter().filter(|record| ring.open_data_key(record).is_err()).collect::<Vec<_>>();
            for record in off_thread(broken).await? {
                look.send_modify(|look| look.note(format!("data key {} of state {}", record.id, record.state)));
            }
            look.send_modify(|look| look.done += count);
        }
    }

    async fn open_documents(&self, environment: &EnvironmentName, look: &watch::Sender<Look>) -> Result<u64, Error> {
        let (mut after, mut opened) = (None, 0);
        loop {
            let which = WhichDocuments::All;
            let query = Query::Documents { environment: environment.clone(), which, after: after.clone(), limit: PAGE };
            let Rows::Documents(page) = self.store.select(query).await? else {
                return Err(Error::internal("documents answered with other rows"));
            };
            let Some((last, _)) = page.last() else { return Ok(opened) };
            after = Some(last.clone());
            for (path, document) in page {
                let meta = meta(document);
                let ring = self.ring(environment).await?;
                let state = StateName { environment: environment.clone(), path };
                match self.opens(&ring, &state, &meta).await {
                    Ok(()) => opened += 1,
                    Err(Error::Internal) => look.send_modify(|look| look.note(place(environment, &state.path, &meta))),
                    // Purged, discarded or promoted since it was listed.
                    Err(Error::Refused(_) | Error::BytesGone(_)) => {}
                    Err(error) => return Err(error),
                }
                look.send_modify(|look| look.done += 1);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Skeleton, MAC, every value.
    async fn opens(&self, ring: &Arc<Ring>, state: &StateName, meta: &Meta) -> Result<(), Error> {
        let (size, _) = super::reseal::size_and_format(meta);
        let _flight = self.flight(size).await?;
        let skeleton = self.skeleton(ring, state, meta, Pace::Behind).await?;
        run_behind(move || skeleton.open().map(drop).map_err(|_| Error::Internal)).await?
    }
}

impl Look {
    fn note(&mut self, failure: String) {
        self.failed += 1;
        if self.failures.len() < TOLD {
            self.failures.push(failure);
        }
    }
}
