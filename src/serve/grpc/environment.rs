//! `leasehold.v1.EnvironmentService`.

use tonic::{Request, Response, Status};

use super::{Door, decode, encode, status};
use crate::domain::environment::Environment;
use crate::pb::v1 as pb;
use crate::pb::v1::environment_service_server::EnvironmentService;
use crate::service::environments::{PublicKeys, Recovery, Target};
use crate::service::{Caller, Error};

fn target(text: &str) -> Result<Target, Status> {
    match text.contains('/') {
        true => decode::name(text).map(Target::State),
        false => decode::name(text).map(Target::Environment),
    }
}

#[tonic::async_trait]
impl EnvironmentService for Door {
    async fn create(&self, request: Request<pb::CreateEnvironmentRequest>) -> Result<Response<pb::Environment>, Status> {
        let caller = self.caller(&request)?;
        let pb::CreateEnvironmentRequest { name, settings, request_id, recovery, no_recovery } = request.into_inner();
        let (id, name) = (decode::request_id(&request_id)?, decode::name(&name)?);
        let recovery = Recovery { recipients: recovery, none: no_recovery };
        let made = self.service.create_environment(&caller, id, name, decode::settings(settings)?, recovery).await;
        let made = made.map_err(|error| status::of(&error))?;
        Ok(Response::new(self.shown(&caller, made, 0).await?))
    }

    async fn list(
        &self,
        request: Request<pb::ListEnvironmentsRequest>,
    ) -> Result<Response<pb::ListEnvironmentsResponse>, Status> {
        let caller = self.caller(&request)?;
        let found = self.service.environments(&caller, None).await.map_err(|error| status::of(&error))?;
        let mut environments = Vec::with_capacity(found.len());
        for (environment, states) in found {
            environments.push(self.shown(&caller, environment, states).await?);
        }
        Ok(Response::new(pb::ListEnvironmentsResponse { environments }))
    }

    async fn get(&self, request: Request<pb::GetEnvironmentRequest>) -> Result<Response<pb::Environment>, Status> {
        let caller = self.caller(&request)?;
        let name = decode::name(&request.get_ref().name)?;
        let found = self.service.environments(&caller, Some(name)).await.map_err(|error| status::of(&error))?;
        let (environment, states) = found.into_iter().next().ok_or_else(|| status::of(&Error::Internal))?;
        Ok(Response::new(self.shown(&caller, environment, states).await?))
    }

    async fn set(&self, request: Request<pb::SetEnvironmentRequest>) -> Result<Response<pb::Environment>, Status> {
        let caller = self.caller(&request)?;
        let pb::SetEnvironmentRequest { name, settings, request_id } = request.into_inner();
        let (id, name) = (decode::request_id(&request_id)?, decode::name(&name)?);
        let set = self.service.set_environment(&caller, id, name, decode::settings(settings)?).await;
        let (set, states) = set.map_err(|error| status::of(&error))?;
        Ok(Response::new(self.shown(&caller, set, states).await?))
    }

    async fn freeze(&self, request: Request<pb::FreezeRequest>) -> Result<Response<pb::FreezeResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::FreezeRequest { target: what, reason, request_id } = request.into_inner();
        let (id, target, reason) = (decode::request_id(&request_id)?, target(&what)?, decode::name(&reason)?);
        self.service.freeze(&caller, id, target, reason).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::FreezeResponse {}))
    }

    async fn unfreeze(&self, request: Request<pb::UnfreezeRequest>) -> Result<Response<pb::UnfreezeResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::UnfreezeRequest { target: what, request_id } = request.into_inner();
        let (id, target) = (decode::request_id(&request_id)?, target(&what)?);
        let was_frozen = self.service.unfreeze(&caller, id, target).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::UnfreezeResponse { was_frozen }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteEnvironmentRequest>,
    ) -> Result<Response<pb::DeleteEnvironmentResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::DeleteEnvironmentRequest { name, force, request_id } = request.into_inner();
        let (id, name) = (decode::request_id(&request_id)?, decode::name(&name)?);
        let states = self.service.delete_environment(&caller, id, name, force).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::DeleteEnvironmentResponse { states }))
    }

    async fn get_rules(&self, request: Request<pb::GetRulesRequest>) -> Result<Response<pb::Rules>, Status> {
        let caller = self.caller(&request)?;
        let name = decode::name(&request.get_ref().name)?;
        let rules = self.service.rules(&caller, &name).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(encode::rules(&rules)))
    }

    async fn set_rules(&self, request: Request<pb::SetRulesRequest>) -> Result<Response<pb::Rules>, Status> {
        let caller = self.caller(&request)?;
        let pb::SetRulesRequest { name, request_id, revision, rules } = request.into_inner();
        let (id, name) = (decode::request_id(&request_id)?, decode::name(&name)?);
        let set = self.service.set_rules(&caller, id, name, decode::number(revision)?, &rules).await;
        Ok(Response::new(encode::rules(&set.map_err(|error| status::of(&error))?)))
    }
}

impl Door {
    /// An environment with what others may know of its keys; if it is gone in between, without.
    async fn shown(&self, caller: &Caller, environment: Environment, states: u64) -> Result<pb::Environment, Status> {
        let keys = match self.service.public_keys(caller, &environment.name).await {
            Err(Error::Refused(_)) => PublicKeys::default(),
            keys => keys.map_err(|error| status::of(&error))?,
        };
        Ok(encode::environment(environment, states, keys))
    }
}
