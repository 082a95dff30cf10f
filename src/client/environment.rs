//! Environments.

use crate::pb::v1::environment_service_client::EnvironmentServiceClient;
use crate::pb::v1::{
    CreateEnvironmentRequest, DeleteEnvironmentRequest, Environment, FreezeRequest, GetEnvironmentRequest, GetRulesRequest,
    ListEnvironmentsRequest, Rules, SetEnvironmentRequest, SetRulesRequest, Settings, UnfreezeRequest,
};
use tonic::transport::Channel;

use super::{Client, Error, MAX_REPLY, request_id};

impl Client {
    /// Makes an environment; settings that are not given get the server's defaults. `recovery` are the age recipients that can open
    /// everything without the server; none at all are recorded as that.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one of that name.
    pub async fn create_environment(&self, name: &str, settings: Settings, recovery: Vec<String>) -> Result<Environment, Error> {
        let no_recovery = recovery.is_empty();
        let (name, request_id) = (name.to_owned(), request_id());
        let message = CreateEnvironmentRequest { name, settings: Some(settings), request_id, recovery, no_recovery };
        self.unary(message, |channel, request| async move { service(channel).create(request).await }).await
    }

    /// All environments that the principal may see.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn list_environments(&self) -> Result<Vec<Environment>, Error> {
        let message = ListEnvironmentsRequest {};
        let reply = self.unary(message, |channel, request| async move { service(channel).list(request).await }).await?;
        Ok(reply.environments)
    }

    /// One environment.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none of that name.
    pub async fn environment(&self, name: &str) -> Result<Environment, Error> {
        let message = GetEnvironmentRequest { name: name.to_owned() };
        self.unary(message, |channel, request| async move { service(channel).get(request).await }).await
    }

    /// Changes the settings that are given; the others stay.
    ///
    /// # Errors
    /// [`Error::Caller`] if a setting is out of its range.
    pub async fn set_environment(&self, name: &str, settings: Settings) -> Result<Environment, Error> {
        let message = SetEnvironmentRequest { name: name.to_owned(), settings: Some(settings), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).set(request).await }).await
    }

    /// No new leases in the environment or on the state `target` (`ENV` or `ENV/PATH`) until it is unfrozen; live ones go on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn freeze(&self, target: &str, reason: &str) -> Result<(), Error> {
        let message = FreezeRequest { target: target.to_owned(), reason: reason.to_owned(), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).freeze(request).await }).await?;
        Ok(())
    }

    /// Ends a freeze. False if there was none.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn unfreeze(&self, target: &str) -> Result<bool, Error> {
        let message = UnfreezeRequest { target: target.to_owned(), request_id: request_id() };
        let reply = self.unary(message, |channel, request| async move { service(channel).unfreeze(request).await }).await?;
        Ok(reply.was_frozen)
    }

    /// Deletes an environment with all that is in it; returns how many states it had.
    ///
    /// # Errors
    /// [`Error::Caller`] while a lease lives in it, or states are left and `force` is not given.
    pub async fn delete_environment(&self, name: &str, force: bool) -> Result<u64, Error> {
        let message = DeleteEnvironmentRequest { name: name.to_owned(), force, request_id: request_id() };
        let reply = self.unary(message, |channel, request| async move { service(channel).delete(request).await }).await?;
        Ok(reply.states)
    }

    /// The environment's own rules on what is sealed.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such environment.
    pub async fn rules(&self, name: &str) -> Result<Rules, Error> {
        let message = GetRulesRequest { name: name.to_owned() };
        self.unary(message, |channel, request| async move { service(channel).get_rules(request).await }).await
    }

    /// Replaces the rules; `rules` has the revision that they were made from.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody else has changed them since; [`Error::Caller`] if one is no rule.
    pub async fn set_rules(&self, name: &str, rules: Rules) -> Result<Rules, Error> {
        let Rules { revision, rules } = rules;
        let message = SetRulesRequest { name: name.to_owned(), request_id: request_id(), revision, rules };
        self.unary(message, |channel, request| async move { service(channel).set_rules(request).await }).await
    }
}

fn service(channel: Channel) -> EnvironmentServiceClient<Channel> {
    EnvironmentServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
