//! An environment's own rules on what is sealed.

use super::{Caller, Error, Service};
use crate::domain::access::{Object, Verb};
use crate::domain::command::{EnvironmentAct, KeyAct};
use crate::domain::decision::Reply;
use crate::domain::ids::RequestId;
use crate::domain::names::EnvironmentName;
use crate::domain::rules::{SealRule, SealRules};

impl Service {
    /// The rules as they are now.
    ///
    /// # Errors
    /// There is no such environment.
    pub async fn rules(&self, caller: &Caller, environment: &EnvironmentName) -> Result<SealRules, Error> {
        self.allow_within(caller, &[Verb::ReadRedacted, Verb::Admin, Verb::Keys], environment)?;
        Ok(self.keyring(environment).await?.1.rules)
    }

    /// Replaces the rules, if `revision` is still the current one. They apply from the next write on, and to redacted reads of what was
    /// written before; an exception never lifts what the format marks.
    ///
    /// # Errors
    /// A rule is none, they are too many, others were made in between, or the server is locked: its key vouches for them.
    pub async fn set_rules(
        &self,
        caller: &Caller,
        id: RequestId,
        environment: EnvironmentName,
        revision: u64,
        rules: &[String],
    ) -> Result<SealRules, Error> {
        let actor = self.allow(caller, Verb::Admin, Object::Environment(&environment))?;
        let rules = rules.iter().map(|text| text.parse()).collect::<Result<Vec<SealRule>, _>>()?;
        let next = SealRules::new(revision.saturating_add(1), rules.clone())?;
        let text = format!("{revision} {rules:?}");
        let digest = self.keys(&environment).await?.request_digest(&[b"rules", text.as_bytes()]);
        let vouched = self.ring(&environment).await?.secret.vouch_for_rules(&next);
        let act = EnvironmentAct::Keys(Box::new(KeyAct::Rules { revision, rules, vouched }));
        let done = self.environment_act(actor, id, digest, environment.clone(), act).await;
        self.vault.forget(&environment);
        match done? {
            Reply::Keys { keyring, .. } => {
                // What was searched under other rules is searched again, in its own time.
                self.drive(&environment);
                Ok(keyring.rules)
            }
            _ => Err(Error::internal("a change of rules answered otherwise")),
        }
    }
}
