//! Tokens, grants, and why something is allowed.

use tonic::transport::Channel;

use super::{Client, Error, MAX_REPLY, request_id};
use crate::pb::v1::access_service_client::AccessServiceClient;
use crate::pb::v1::{
    AccessGrant, ApiToken, CreateTokenRequest, CreateTokenResponse, ExplainRequest, ExplainResponse, GrantRequest,
    ListGrantsRequest, ListTokensRequest, RevokeGrantRequest, RevokeTokenRequest, Scope,
};

impl Client {
    /// Makes a token; without a name one is drawn, without a life it lives until it is revoked.
    ///
    /// # Errors
    /// [`Error::Caller`] if it is more than the caller has.
    pub async fn create_token(&self, name: &str, scopes: Vec<Scope>, life_ms: u64) -> Result<CreateTokenResponse, Error> {
        let message = CreateTokenRequest { name: name.to_owned(), scopes, life_ms, request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).create_token(request).await }).await
    }

    /// The tokens that the caller may know of.
    ///
    /// # Errors
    /// The caller has no right at all.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        let all = self.unary(ListTokensRequest {}, |channel, request| async move { service(channel).list_tokens(request).await });
        Ok(all.await?.tokens)
    }

    /// Ends a token, those made by it, and their leases.
    ///
    /// # Errors
    /// There is none that the caller may revoke.
    pub async fn revoke_token(&self, name: &str) -> Result<ApiToken, Error> {
        let message = RevokeTokenRequest { name: name.to_owned(), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).revoke_token(request).await }).await
    }

    /// Grants verbs on a glob.
    ///
    /// # Errors
    /// It is more than the caller may hand on.
    pub async fn grant(&self, to: &str, scope: Scope) -> Result<AccessGrant, Error> {
        let message = GrantRequest { to: to.to_owned(), scope: Some(scope), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).grant(request).await }).await
    }

    /// The grants that the caller may know of.
    ///
    /// # Errors
    /// The caller has no right at all.
    pub async fn grants(&self) -> Result<Vec<AccessGrant>, Error> {
        let all = self.unary(ListGrantsRequest {}, |channel, request| async move { service(channel).list_grants(request).await });
        Ok(all.await?.grants)
    }

    /// Takes a grant back.
    ///
    /// # Errors
    /// There is none that the caller may take back.
    pub async fn revoke_grant(&self, id: &str) -> Result<AccessGrant, Error> {
        let message = RevokeGrantRequest { id: id.to_owned(), request_id: request_id() };
        self.unary(message, |channel, request| async move { service(channel).revoke_grant(request).await }).await
    }

    /// Why a principal may do something, or may not; without one, the caller.
    ///
    /// # Errors
    /// The caller may not ask.
    pub async fn explain(&self, principal: &str, verb: &str, object: &str) -> Result<ExplainResponse, Error> {
        let message = ExplainRequest { principal: principal.to_owned(), verb: verb.to_owned(), object: object.to_owned() };
        self.unary(message, |channel, request| async move { service(channel).explain(request).await }).await
    }
}

fn service(channel: Channel) -> AccessServiceClient<Channel> {
    AccessServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}
