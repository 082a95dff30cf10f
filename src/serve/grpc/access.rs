//! `leasehold.v1.AccessService`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{Door, decode, status};
use crate::domain::access::{Grant, Scope, TokenRecord, Verbs};
use crate::domain::names::Principal;
use crate::domain::time::WallTime;
use crate::pb::v1 as pb;
use crate::pb::v1::access_service_server::AccessService;
use crate::service::Error;
use crate::service::access::{NewToken, Target};

#[tonic::async_trait]
impl AccessService for Door {
    async fn create_token(&self, request: Request<pb::CreateTokenRequest>) -> Result<Response<pb::CreateTokenResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::CreateTokenRequest { name, scopes, life_ms, request_id } = request.into_inner();
        let id = decode::request_id(&request_id)?;
        let name = if name.is_empty() { None } else { Some(access(name.parse())?) };
        let scopes = scopes.into_iter().map(scope).collect::<Result<_, _>>()?;
        let life = (life_ms > 0).then(|| Duration::from_millis(life_ms));
        let made = self.service.create_token(&caller, id, NewToken { name, scopes, life }).await;
        let (record, secret) = made.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::CreateTokenResponse { token: Some(token(record)), secret: secret.to_string() }))
    }

    async fn list_tokens(&self, request: Request<pb::ListTokensRequest>) -> Result<Response<pb::ListTokensResponse>, Status> {
        let caller = self.caller(&request)?;
        let tokens = self.service.list_tokens(&caller).map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::ListTokensResponse { tokens: tokens.into_iter().map(token).collect() }))
    }

    async fn revoke_token(&self, request: Request<pb::RevokeTokenRequest>) -> Result<Response<pb::ApiToken>, Status> {
        let caller = self.caller(&request)?;
        let pb::RevokeTokenRequest { name, request_id } = request.into_inner();
        let (id, name) = (decode::request_id(&request_id)?, access(name.parse())?);
        let revoked = self.service.revoke_token(&caller, id, name).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(token(revoked)))
    }

    async fn grant(&self, request: Request<pb::GrantRequest>) -> Result<Response<pb::AccessGrant>, Status> {
        let caller = self.caller(&request)?;
        let pb::GrantRequest { to, scope: wanted, request_id } = request.into_inner();
        let id = decode::request_id(&request_id)?;
        let granted = self.service.grant(&caller, id, access(to.parse())?, scope(wanted.unwrap_or_default())?).await;
        Ok(Response::new(grant(granted.map_err(|error| status::of(&error))?)))
    }

    async fn list_grants(&self, request: Request<pb::ListGrantsRequest>) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let caller = self.caller(&request)?;
        let grants = self.service.list_grants(&caller).map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::ListGrantsResponse { grants: grants.into_iter().map(grant).collect() }))
    }

    async fn revoke_grant(&self, request: Request<pb::RevokeGrantRequest>) -> Result<Response<pb::AccessGrant>, Status> {
        let caller = self.caller(&request)?;
        let pb::RevokeGrantRequest { id: named, request_id } = request.into_inner();
        let (id, named) = (decode::request_id(&request_id)?, decode::id(&named, "the grant's id is malformed")?);
        let gone = self.service.revoke_grant(&caller, id, named).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(grant(gone)))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        let caller = self.caller(&request)?;
        let pb::ExplainRequest { principal, verb, object } = request.into_inner();
        let principal: Principal = match principal.is_empty() {
            true => caller.principal().clone(),
            false => decode::name(&principal)?,
        };
        let target = match object.as_str() {
            "/" => Target::Store,
            name if name.contains('/') => Target::State(decode::name(name)?),
            name => Target::Environment(decode::name(name)?),
        };
        let explained = self.service.explain(&caller, &principal, access(verb.parse())?, &target);
        let explained = explained.map_err(|error| status::of(&error))?;
        let principal = principal.to_string();
        Ok(Response::new(pb::ExplainResponse { allowed: explained.allowed, because: explained.because, principal }))
    }
}

fn access<T>(parsed: Result<T, crate::domain::access::AccessError>) -> Result<T, Status> {
    parsed.map_err(|error| status::of(&Error::Access(error)))
}

fn scope(wire: pb::Scope) -> Result<Scope, Status> {
    let verbs =
        wire.verbs.iter().map(|word| access(word.parse::<Verbs>())).try_fold(Verbs::default(), |all, verbs| Ok(all.and(verbs?)));
    let recipients = wire.recipients;
    if let Some(error) = recipients.iter().find_map(|text| crate::service::access::check_recipient(text).err()) {
        return Err(status::of(&error));
    }
    Ok(Scope { recipients, ..Scope::new(verbs.map_err(|error: Status| error)?, access(wire.on.parse())?) })
}

fn scope_out(scope: Scope) -> pb::Scope {
    let verbs = scope.verbs.iter().map(|verb| verb.to_string()).collect();
    pb::Scope { verbs, on: scope.on.to_string(), recipients: scope.recipients }
}

fn token(record: TokenRecord) -> pb::ApiToken {
    let at = |time: Option<WallTime>| time.map_or(0, |time| time.0);
    pb::ApiToken {
        name: record.name.to_string(),
        principal: record.principal.to_string(),
        maker: record.maker.to_string(),
        scopes: record.scopes.into_iter().map(scope_out).collect(),
        made_unix_ms: record.made.0,
        expires_unix_ms: at(record.expires),
        revoked_unix_ms: at(record.revoked),
        used_unix_ms: at(record.used),
    }
}

fn grant(grant: Grant) -> pb::AccessGrant {
    pb::AccessGrant {
        id: grant.id.to_string(),
        to: grant.to.to_string(),
        scope: Some(scope_out(grant.scope)),
        by: grant.by.to_string(),
        made_unix_ms: grant.made.0,
    }
}
