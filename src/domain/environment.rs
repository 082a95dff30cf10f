//! Environments: the unit of isolation.

use serde::{Deserialize, Serialize};

use super::command::EnvironmentAct;
use super::decide::Work;
use super::decision::{Change, Reply};
use super::event::{Event, EventKind};
use super::ids::EnvironmentId;
use super::names::{EnvironmentName, Reason};
use super::refusal::Refusal;
use super::settings::Settings;
use super::time::WallTime;

/// An environment as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// What it is, whatever its name.
    pub id: EnvironmentId,
    /// Its name.
    pub name: EnvironmentName,
    /// What its administrator set.
    pub settings: Settings,
    /// Why it grants no leases, if it does not.
    pub frozen: Option<Reason>,
    /// When it was made, for people.
    pub created: WallTime,
    /// The version of the identity that new data keys are wrapped to.
    pub identity: u32,
    /// How often new data keys were asked for: states whose key is of an earlier epoch get a new one with their next write.
    pub key_epoch: u32,
}

impl Environment {
    /// The epoch of the data keys of a new environment.
    pub const FIRST_EPOCH: u32 = 1;
}

/// Decides the acts on environments.
pub(super) fn decide(work: &mut Work<'_>, name: &EnvironmentName, act: EnvironmentAct) -> Result<Reply, Refusal> {
    if let EnvironmentAct::Create { id, settings, mut keyring } = act {
        if work.snapshot.environment.is_some() {
            return Err(Refusal::EnvironmentExists(name.clone()));
        }
        let settings = settings.apply(&Settings::default_within(work.ctx.limits), work.ctx.limits)?;
        let (created, key_epoch) = (work.ctx.wall, Environment::FIRST_EPOCH);
        let environment = Environment { id, name: name.clone(), settings, frozen: None, created, identity: 1, key_epoch };
        keyring.identities.iter_mut().for_each(|identity| identity.created = work.ctx.wall);
        work.changes.push(Change::PutKeyring(keyring));
        return Ok(put(work, environment, EventKind::EnvironmentCreated, String::new()));
    }
    let mut environment = work.environment()?.clone();
    match act {
        EnvironmentAct::Create { .. } => Err(Refusal::EnvironmentExists(name.clone())),
        EnvironmentAct::Keys(act) => super::keys::decide(work, environment, *act),
        EnvironmentAct::Set(change) => {
            environment.settings = change.apply(&environment.settings, work.ctx.limits)?;
            Ok(put(work, environment, EventKind::EnvironmentChanged, String::new()))
        }
        EnvironmentAct::Freeze(reason) => {
            environment.frozen = Some(reason.clone());
            put(work, environment, EventKind::Frozen, reason.to_string());
            Ok(Reply::Frozen)
        }
        EnvironmentAct::Unfreeze => {
            let was = environment.frozen.take().is_some();
            if was {
                put(work, environment, EventKind::Unfrozen, String::new());
                work.changes.push(Change::SettleAll);
            }
            Ok(Reply::Unfrozen { was })
        }
        EnvironmentAct::Delete { force } => {
            let (states, leases) = work.snapshot.usage;
            if leases > 0 || states > 0 && !force {
                return Err(Refusal::EnvironmentInUse { environment: name.clone(), states, leases });
            }
            // Its locks go, and with them the tokens they gave: only a higher epoch keeps those of a namesake growing.
            work.changes.extend([Change::DropEnvironment, Change::RaiseEpoch]);
            work.event(Event::new(EventKind::EnvironmentDeleted));
            work.remember();
            Ok(Reply::EnvironmentDeleted { states })
        }
    }
}

pub(super) fn put(work: &mut Work<'_>, environment: Environment, kind: EventKind, message: String) -> Reply {
    work.changes.push(Change::PutEnvironment(environment.clone()));
    work.event(Event::new(kind).because(message));
    work.remember();
    Reply::Environment(environment)
}
