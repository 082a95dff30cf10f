//! The server itself: locked or not.

use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::{Client, Error, MAX_REPLY};
use crate::pb::v1::server_service_client::ServerServiceClient;
use crate::pb::v1::{LockRequest, StatusRequest, StatusResponse, UnlockRequest};

impl Client {
    /// Whether the server is locked, which version it is, and whether unlocking needs a passphrase.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn server_status(&self) -> Result<StatusResponse, Error> {
        self.unary(StatusRequest {}, |channel, request| async move { service(channel).status(request).await }).await
    }

    /// Has the server forget all keys: it serves no documents until it is unlocked. True if it was locked already.
    ///
    /// # Errors
    /// [`Error::Denied`] if the principal may not.
    pub async fn lock_server(&self) -> Result<bool, Error> {
        let reply = self.unary(LockRequest {}, |channel, request| async move { service(channel).lock(request).await });
        Ok(reply.await?.was_locked)
    }

    /// Has the server fetch its master key again. One try: each may take the server seconds. True if it was locked.
    ///
    /// # Errors
    /// [`Error::Caller`] if the key cannot be had, or is the wrong one; its message says why.
    pub async fn unlock_server(&self, passphrase: Option<Zeroizing<String>>) -> Result<bool, Error> {
        // The message owns its text; what the transport copies of it is not ours to wipe.
        let request = self.request(UnlockRequest { passphrase: passphrase.map(|passphrase| (*passphrase).clone()) });
        Ok(service(self.channel.clone()).unlock(request).await?.into_inner().was_locked)
    }
}

fn service(channel: Channel) -> ServerServiceClient<Channel> {
    ServerServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
