//! `leasehold.v1.ServerService`.

use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{Door, status};
use crate::pb::v1 as pb;
use crate::pb::v1::server_service_server::ServerService;

#[tonic::async_trait]
impl ServerService for Door {
    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let caller = self.caller(&request)?;
        let found = self.service.lock_status(&caller).map_err(|error| status::of(&error))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(pb::StatusResponse { locked: found.locked, version, asks_passphrase: found.asks_passphrase }))
    }

    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let caller = self.caller(&request)?;
        let was_locked = self.service.lock_down(&caller).map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::LockResponse { was_locked }))
    }

    async fn unlock(&self, request: Request<pb::UnlockRequest>) -> Result<Response<pb::UnlockResponse>, Status> {
        let caller = self.caller(&request)?;
        let passphrase = request.into_inner().passphrase.map(Zeroizing::new);
        let was_locked = self.service.unlock(&caller, passphrase).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::UnlockResponse { was_locked }))
    }
}
