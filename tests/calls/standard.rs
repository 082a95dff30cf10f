//! What stock tools ask of any gRPC server: health, reflection, and a plain no to what is not there.

use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{FileDescriptorResponse, ServerReflectionRequest};

use crate::support::{Running, StoreKind};

#[tokio::test]
async fn health_is_told_without_a_token_and_ends_with_the_server() {
    let mut server = Running::start(StoreKind::Memory).await;
    let mut health = HealthClient::new(server.caller(None).channel);
    let request = HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(request.clone()).await.unwrap().into_inner().status(), ServingStatus::Serving);
    let ours = HealthCheckRequest { service: "leasehold.v1.LeaseService".to_owned() };
    assert_eq!(health.check(ours).await.expect("each service by name").into_inner().status(), ServingStatus::Serving);
    let other = HealthCheckRequest { service: "nonsense".to_owned() };
    assert_eq!(health.check(other).await.unwrap_err().code(), Code::NotFound);
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.begin_stop();
    assert_eq!(watch.message().await.unwrap().expect("a change").status(), ServingStatus::NotServing);
}

async fn reflect(server: &Running, ask: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(server.api.channel.clone());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut ask = Request::new(tokio_stream::iter([request]));
    ask.metadata_mut().insert("authorization", format!("Bearer {}", server.token()).parse().unwrap());
    let mut answers = client.server_reflection_info(ask).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_the_services_and_tells_their_comments() {
    use prost::Message;

    let server = Running::start(StoreKind::Memory).await;
    let MessageResponse::ListServicesResponse(list) = reflect(&server, MessageRequest::ListServices(String::new())).await else {
        panic!("a list of services")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["Environment", "Lease", "State", "Watch"].map(|name| format!("leasehold.v1.{name}Service")) {
        assert!(names.contains(&name.as_str()), "{names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let ask = MessageRequest::FileContainingSymbol("leasehold.v1.LeaseService".to_owned());
    let MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }) = reflect(&server, ask).await
    else {
        panic!("a file")
    };
    let file = prost_types::FileDescriptorProto::decode(&file_descriptor_proto[0][..]).unwrap();
    assert_eq!(file.name(), "leasehold/v1/lease.proto");
    let locations = file.source_code_info.expect("with source info").location;
    let comments: String = locations.iter().map(|location| location.leading_comments()).collect();
    assert!(comments.contains("Takes the lease, or waits for it in the queue"));
}

#[tokio::test]
async fn call_that_is_not_there_is_unimplemented() {
    let server = Running::start(StoreKind::Memory).await;
    for path in ["/leasehold.v1.LeaseService/Steal", "/leasehold.v2.LeaseService/Acquire", "/nothing"] {
        let mut grpc = tonic::client::Grpc::new(server.api.channel.clone());
        grpc.ready().await.unwrap();
        let mut request = Request::new(());
        request.metadata_mut().insert("authorization", format!("Bearer {}", server.token()).parse().unwrap());
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = grpc.unary(request, PathAndQuery::from_static(path), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert!(!status.message().contains("404"), "said by the server, not guessed by the client: {status:?}");
    }
}

#[tokio::test]
async fn plain_http_request_is_told_that_there_is_nothing() {
    let server = Running::start(StoreKind::Memory).await;
    for path in ["/", "/metric", "/leasehold.v2.X/Y"] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}
