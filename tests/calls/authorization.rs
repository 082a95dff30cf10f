//! Every call needs a token: none is forgotten, since they are read off the descriptors.

use http::uri::PathAndQuery;
use leasehold::pb::{self, v1};
use prost::Message;
use tonic::{Code, Request, Status};

use crate::support::{Api, on_each_engine, refused};

/// The paths of all calls of ours.
fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(pb::DESCRIPTORS).expect("descriptors").file;
    let mut paths = Vec::new();
    for file in files.iter().filter(|file| file.package() == "leasehold.v1") {
        for service in &file.service {
            let path =
                |method: &prost_types::MethodDescriptorProto| format!("/leasehold.v1.{}/{}", service.name(), method.name());
            paths.extend(service.method.iter().map(path));
        }
    }
    assert!(paths.len() >= 29, "the descriptors list all services: {paths:?}");
    paths
}

/// One empty message, and the first answer. On the wire this is a call of any kind.
async fn call(api: &Api, path: &str, authorization: Option<&str>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(api.channel.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(tokio_stream::iter([()]));
    if let Some(header) = authorization {
        request.metadata_mut().insert("authorization", header.parse().expect("ASCII"));
    }
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let mut answers = grpc.streaming(request, PathAndQuery::try_from(path).expect("a path"), codec).await?.into_inner();
    answers.message().await.map(drop)
}

#[tokio::test]
async fn call_without_a_valid_token_is_refused_on_every_method() {
    on_each_engine(async |server| {
        let token = server.token();
        let held = server.api.hold("dev/app", "s").await;
        let cursor = server.api.cursor().await;
        let wrong = [
            None,
            Some(String::new()),
            Some("Bearer".to_owned()),
            Some("Bearer ".to_owned()),
            Some(token.clone()),
            Some(format!("Basic {token}")),
            Some(format!("Bearer{token}")),
            Some(format!("Bearer {token}x")),
            Some(format!("Bearer {}", &token[..token.len() - 1])),
            Some(format!("Bearer {token},{token}")),
            Some("Bearer lh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
            Some("Bearer lhl_".to_owned()),
            Some("Bearer lhl_AAAA".to_owned()),
        ];
        for path in methods() {
            for header in &wrong {
                refused(call(&server.api, &path, header.as_deref()).await, Code::Unauthenticated, "UNAUTHENTICATED");
            }
            // With the right one it fails for something else: an empty message names nothing.
            let known = call(&server.api, &path, Some(&format!("bearer {token}"))).await;
            assert!(!known.is_err_and(|status| status.code() == Code::Unauthenticated), "{path}");
        }
        assert_eq!(server.api.cursor().await, cursor, "nothing happened");
        server.api.renew("dev/app", "s", held.token).await.expect("the server goes on");
    })
    .await;
}

#[tokio::test]
async fn lease_secret_is_good_for_four_methods_only() {
    on_each_engine(async |server| {
        let held = server.api.hold("dev/app", "s").await;
        let header = format!("Bearer {}", held.secret);
        let good = ["LeaseService/Renew", "LeaseService/Release", "StateService/Push", "StateService/PromoteDraft"];
        for path in methods() {
            let answer = call(&server.api, &path, Some(&header)).await;
            if good.iter().any(|method| path.ends_with(method)) {
                assert_ne!(answer.expect_err("an empty message names nothing").code(), Code::Unauthenticated, "{path}");
            } else {
                refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
            }
        }
        let secret = server.api.with(Some(&held.secret));
        let get = v1::GetLockRequest { state: "dev/app".to_owned() };
        refused(secret.lease().get(get).await, Code::Unauthenticated, "UNAUTHENTICATED");
        secret.renew("dev/app", "s", held.token).await.expect("its own lease");
    })
    .await;
}
