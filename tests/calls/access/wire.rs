//! What the tests of access share: calls of any kind by their path, and tokens made for the occasion.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use leasehold::pb::v1 as pb;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::support::{Api, id};

/// Messages as they are on the wire.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One message to a path, and the first answer. On the wire this is a call of any kind.
pub(super) async fn send(channel: &Channel, path: &str, header: Option<&str>, message: Vec<u8>) -> Result<(), Status> {
    stream(channel, path, header, tokio_stream::iter([Bytes::from(message)])).await
}

/// A call whose message never comes.
pub(super) async fn send_nothing(channel: &Channel, path: &str, header: Option<&str>) -> Result<(), Status> {
    stream(channel, path, header, tokio_stream::pending()).await
}

async fn stream<S>(channel: &Channel, path: &str, header: Option<&str>, messages: S) -> Result<(), Status>
where
    S: tokio_stream::Stream<Item = Bytes> + Send + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(messages);
    if let Some(header) = header {
        request.metadata_mut().insert("authorization", header.parse().expect("ASCII"));
    }
    let path = PathAndQuery::try_from(path).expect("a path");
    let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
    answers.message().await.map(drop)
}

/// Roles or verbs on a glob.
pub(crate) fn scope(verbs: &str, on: &str) -> pb::Scope {
    pb::Scope { verbs: verbs.split(' ').map(str::to_owned).collect(), on: on.to_owned(), recipients: Vec::new() }
}

/// What asks for a token.
pub(super) fn new_token(name: &str, scopes: &[pb::Scope]) -> pb::CreateTokenRequest {
    pb::CreateTokenRequest { name: name.to_owned(), scopes: scopes.to_vec(), life_ms: 0, request_id: id() }
}

/// A new token of this name, and its secret.
pub(super) async fn make_token(maker: &Api, name: &str, scopes: &[pb::Scope]) -> String {
    let made = maker.access().create_token(new_token(name, scopes)).await.expect("the token is made").into_inner();
    made.secret
}

/// A caller with a new token of this name.
pub(crate) async fn bearer(maker: &Api, name: &str, scopes: &[pb::Scope]) -> Api {
    maker.with(Some(&make_token(maker, name, scopes).await))
}

pub(super) async fn revoke(api: &Api, name: &str) -> Result<pb::ApiToken, Status> {
    let request = pb::RevokeTokenRequest { name: name.to_owned(), request_id: id() };
    Ok(api.access().revoke_token(request).await?.into_inner())
}

pub(super) async fn grant(api: &Api, to: &str, scope: pb::Scope) -> Result<pb::AccessGrant, Status> {
    let request = pb::GrantRequest { to: to.to_owned(), scope: Some(scope), request_id: id() };
    Ok(api.access().grant(request).await?.into_inner())
}

pub(super) async fn revoke_grant(api: &Api, named: &str) -> Result<pb::AccessGrant, Status> {
    let request = pb::RevokeGrantRequest { id: named.to_owned(), request_id: id() };
    Ok(api.access().revoke_grant(request).await?.into_inner())
}

pub(super) async fn explain(api: &Api, principal: &str, verb: &str, object: &str) -> Result<pb::ExplainResponse, Status> {
    let request = pb::ExplainRequest { principal: principal.to_owned(), verb: verb.to_owned(), object: object.to_owned() };
    Ok(api.access().explain(request).await?.into_inner())
}
