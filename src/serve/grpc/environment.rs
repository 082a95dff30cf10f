//! `leasehold.v1.EnvironmentService`.

use tonic::{Request, Response, Status};

use super::{Door, decode, encode, status};
use crate::pb::v1 as pb;
use crate::pb::v1::environment_service_server::EnvironmentService;
use crate::service::environments::{Recovery, Target};

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
        let made = self.service.create_environment(&caller, id, name, decode::settings(settings), recovery).await;
        made.map(|made| Response::new(encode::environment(made, 0))).map_err(|error| status::of(&error))
    }

    async fn list(
        &self,
        request: Request<pb::ListEnvironmentsRequest>,
    ) -> Result<Response<pb::ListEnvironmentsResponse>, Status> {
        let caller = self.caller(&request)?;
        let found = self.service.environments(&caller, None).await.map_err(|error| status::of(&error))?;
        let environments = found.into_iter().map(|(environment, states)| encode::environment(environment, states)).collect();
        Ok(Response::new(pb::ListEnvironmentsResponse { environments }))
    }

    async fn get(&self, request: Request<pb::GetEnvironmentRequest>) -> Result<Response<pb::Environment>, Status> {
        let caller = self.caller(&request)?;
        let name = decode::name(&request.get_ref().name)?;
        let found = self.service.environments(&caller, Some(name)).await.map_err(|error| status::of(&error))?;
        let (environment, states) = found.into_iter().next().ok_or_else(|| status::of(&crate::service::Error::Internal))?;
        Ok(Response::new(encode::environment(environment, states)))
    }

    async fn set(&self, request: Request<pb::SetEnvironmentRequest>) -> Result<Response<pb::Environment>, Status> {
        let caller = self.caller(&request)?;
        let pb::SetEnvironmentRequest { name, settings, request_id } = request.into_inner();
        let (id, name) = (decode::request_id(&request_id)?, decode::name(&name)?);
        let set = self.service.set_environment(&caller, id, name, decode::settings(settings)).await;
        let (set, states) = set.map_err(|error| status::of(&error))?;
        Ok(Response::new(encode::environment(set, states)))
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
}
