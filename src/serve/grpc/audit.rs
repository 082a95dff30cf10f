//! `leasehold.v1.AuditService`.

use tonic::{Request, Response, Status};

use super::stream::{Answers, until_stopped};
use super::{Door, status};
use crate::domain::time::WallTime;
use crate::pb::v1 as pb;
use crate::pb::v1::audit_service_server::AuditService;
use crate::service::audit::{Range, Start};

#[tonic::async_trait]
impl AuditService for Door {
    type TailStream = Answers<pb::AuditLines>;
    type ExportStream = Answers<pb::AuditLines>;

    async fn head(&self, request: Request<pb::HeadRequest>) -> Result<Response<pb::HeadResponse>, Status> {
        let caller = self.caller(&request)?;
        let standing = self.service.audit_standing(&caller).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::HeadResponse {
            last: standing.last,
            checkpoint: standing.checkpoint.map(|checkpoint| checkpoint.text).unwrap_or_default(),
            key: standing.key.to_string(),
            renewals: standing.renewals,
            contention: standing.contention,
            redacted_reads: standing.redacted,
        }))
    }

    async fn tail(&self, request: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::TailRequest { from, follow } = request.into_inner();
        let from = match from {
            None => Start::After(0),
            Some(pb::tail_request::From::After(after)) => Start::After(after),
            Some(pb::tail_request::From::Last(last)) => Start::Last(last),
            Some(pb::tail_request::From::SinceUnixMs(at)) => Start::Since(WallTime(at)),
        };
        let lines = self.service.audit_tail(&caller, from, follow).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(until_stopped(lines, self.stopping.clone(), |lines| pb::AuditLines { lines })))
    }

    async fn export(&self, request: Request<pb::ExportAuditRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let caller = self.caller(&request)?;
        let pb::ExportAuditRequest { from, to, unproven } = request.into_inner();
        let named = |entry: u64| (entry > 0).then_some(entry);
        let range = Range { from: named(from), to: named(to), unproven };
        let lines = self.service.audit_export(&caller, range).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(until_stopped(lines, self.stopping.clone(), |lines| pb::AuditLines { lines })))
    }
}
