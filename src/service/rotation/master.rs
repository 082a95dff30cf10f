//! Everything that is under a master key, wrapped to the current one. Each wrap says which master it is under, so this can end anywhere and
//! be called again.

use tokio::sync::mpsc;

use super::begin::TRIES;
use super::{Outcome, Phase, Progress, Telling, Told, off_thread, unwrappable};
use crate::domain::access::{Object, Verb};
use crate::domain::command::KeyAct;
use crate::domain::environment::Environment;
use crate::domain::names::EnvironmentName;
use crate::domain::refusal::Refusal;
use crate::domain::sealing::{Keyring, UnderMaster, Wrapped};
use crate::secrets::keys::WrapError;
use crate::secrets::master::Masters;
use crate::service::Actor;
use crate::service::vault::Ring;
use crate::service::{Caller, Error, Service};
use crate::store::{Query, Rows};

impl Service {
    /// Fetches the master keys again and wraps all environments' keys to the first of them. The others still open what is not done yet.
    ///
    /// # Errors
    /// The server is locked, or the master keys cannot be had, or do not open everything.
    pub async fn rewrap_master(&self, caller: &Caller, passphrase: Option<zeroize::Zeroizing<String>>) -> Result<Telling, Error> {
        let actor = self.allow(caller, Verb::Keys, Object::Store)?;
        self.vault.masters()?;
        // Also the check that they open everything.
        self.unlock(caller, passphrase).await?;
        let Rows::Environments(all) = self.store.select(Query::Environments(None)).await? else {
            return Err(Error::internal("environments answered with other rows"));
        };
        let (send, receive) = mpsc::channel(4);
        let me = std::sync::Weak::clone(&self.me);
        tokio::spawn(async move {
            let Some(service) = me.upgrade() else { return };
            let names: Vec<EnvironmentName> = all.into_iter().map(|(environment, _)| environment.name).collect();
            let done = service.under_current(&actor, &names, &send).await;
            let _ = send.send(done.map(Told::Done)).await;
        });
        Ok(receive)
    }

    async fn under_current(
        &self,
        actor: &Actor,
        names: &[EnvironmentName],
        send: &mpsc::Sender<Result<Told, Error>>,
    ) -> Result<Outcome, Error> {
        let (mut outcome, mut old) = (Outcome::default(), Vec::new());
        for (n, name) in names.iter().enumerate() {
            match self.move_to_master(actor, name).await {
                Ok(replaced) => {
                    outcome.done += u64::from(!replaced.is_empty());
                    old.extend(replaced);
                }
                // Deleted in the meantime.
                Err(Error::Refused(Refusal::EnvironmentNotFound(_))) => {}
                Err(error) => return Err(error),
            }
            let progress =
                Progress { environment: name.clone(), phase: Phase::Master, done: n as u64 + 1, total: names.len() as u64 };
            // Nobody has to listen.
            let _ = send.send(Ok(Told::Progress(progress))).await;
        }
        if !old.is_empty() {
            outcome.erased = Some(self.store.erase(old).await?);
        }
        Ok(outcome)
    }

    /// Wraps what is not under the current master; returns the wraps that were replaced.
    async fn move_to_master(&self, actor: &Actor, name: &EnvironmentName) -> Result<Vec<Vec<u8>>, Error> {
        for _ in 0..TRIES {
            let masters = self.vault.masters()?;
            let (environment, keyring) = self.keyring(name).await?;
            let old = foreign(&keyring, &masters.recipient().to_string());
            if old.is_empty() {
                return Ok(old);
            }
            let act = off_thread(move || rewrapped(&masters, environment, keyring)).await??;
            match self.key_act(actor.clone(), None, name, act).await {
                Err(Error::Refused(Refusal::KeysMoved)) => {}
                done => {
                    self.vault.forget(name);
                    return done.map(|_| old);
                }
            }
        }
        Err(Refusal::KeysMoved.into())
    }
}

/// All wraps of a keyring, if one of them is not under this master.
fn foreign(keyring: &Keyring, master: &str) -> Vec<Vec<u8>> {
    let identities = keyring.identities.iter().filter_map(|identity| identity.key.as_ref());
    let all = [&keyring.secret, &keyring.signer.1].into_iter().chain(identities);
    match all.clone().all(|key| key.master == master) {
        true => Vec::new(),
        // One is wrapped again with all others: they belong together.
        false => all.map(|key| key.wrapped.0.clone()).collect(),
    }
}

fn rewrapped(masters: &Masters, environment: Environment, keyring: Keyring) -> Result<KeyAct, Error> {
    let ring = Ring::open(masters, environment, keyring).map_err(|_| Error::WrongMaster)?;
    let recovery = ring.recovery()?;
    let under = |wrapped: Result<Vec<u8>, WrapError>| {
        let wrapped = Wrapped(wrapped.map_err(unwrappable)?);
        Ok::<_, Error>(UnderMaster { master: masters.recipient().to_string(), wrapped })
    };
    let identities = ring.identities().map(|(version, identity)| Ok((version, under(identity.rewrap(masters, &recovery))?)));
    Ok(KeyAct::Master {
        revision: ring.keyring.revision,
        secret: under(ring.secret.rewrap(masters, &recovery))?,
        signer: under(ring.signer.rewrap(masters, &recovery))?,
        identities: identities.collect::<Result<_, Error>>()?,
    })
}
