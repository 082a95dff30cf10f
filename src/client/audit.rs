//! What was done, by whom.

use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::retry::{ATTEMPT, limited};
use super::{Client, Error, MAX_REPLY};
use crate::pb::v1::audit_service_client::AuditServiceClient;
use crate::pb::v1::{AuditLines, ExportAuditRequest, HeadRequest, HeadResponse, TailRequest};

/// Lines of the audit, in order.
pub struct AuditStream(Streaming<AuditLines>);

impl AuditStream {
    /// The next lines; none at the end.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection breaks or the server stops: what has come is in order, and more may follow it.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, Error> {
        Ok(self.0.message().await?.map(|message| message.lines))
    }
}

impl Client {
    /// How the audit stands.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to see it.
    pub async fn audit_head(&self) -> Result<HeadResponse, Error> {
        self.unary(HeadRequest {}, |channel, request| async move { service(channel).head(request).await }).await
    }

    /// Rows as they are written.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to see them.
    pub async fn audit_tail(&self, ask: TailRequest) -> Result<AuditStream, Error> {
        let request: Request<TailRequest> = self.request(ask);
        let begun = limited(Some(ATTEMPT), service(self.channel.clone()).tail(request)).await?;
        Ok(AuditStream(begun.into_inner()))
    }

    /// An export that proves itself.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to it; [`Error::Caller`] if there is nothing in the range.
    pub async fn audit_export(&self, ask: ExportAuditRequest) -> Result<AuditStream, Error> {
        let request: Request<ExportAuditRequest> = self.request(ask);
        let begun = limited(Some(ATTEMPT), service(self.channel.clone()).export(request)).await?;
        Ok(AuditStream(begun.into_inner()))
    }
}

fn service(channel: Channel) -> AuditServiceClient<Channel> {
    AuditServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
