//! Callers that know no generated code, as `grpcurl` does: they ask the server for its descriptors, make messages from them by the names of
//! fields, and read the answers in the same way.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{Running, StoreKind};

#[path = "../it/support/require.rs"]
mod programs;

/// What asks by reflection and calls by name.
struct Stock {
    channel: Channel,
    token: String,
    files: DescriptorPool,
}

impl Stock {
    /// Asks for the services, for the file of each, and for what those need.
    async fn new(server: &Running) -> Self {
        let (channel, token) = (server.caller(None).channel, server.token());
        let ask = async |question: MessageRequest| {
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
            let request = bearing(&token, tokio_stream::iter([request]));
            let mut answers = ServerReflectionClient::new(channel.clone())
                .server_reflection_info(request)
                .await
                .expect("an answer")
                .into_inner();
            answers.message().await.expect("an answer").and_then(|answer| answer.message_response).expect("an answer")
        };
        let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
            panic!("a list of services")
        };
        let mut files = BTreeMap::new();
        let services = list.service.into_iter().map(|service| MessageRequest::FileContainingSymbol(service.name));
        // What a refusal carries is asked for by its name, when it comes.
        let detail = MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned());
        let mut missing: Vec<MessageRequest> = services.chain([detail]).collect();
        while let Some(question) = missing.pop() {
            let text = format!("{question:?}");
            let MessageResponse::FileDescriptorResponse(found) = ask(question).await else { panic!("no file for {text}") };
            for bytes in found.file_descriptor_proto {
                let file = FileDescriptorProto::decode(&bytes[..]).expect("a descriptor");
                let needs = file.dependency.iter().filter(|name| !files.contains_key(*name)).cloned();
                missing.extend(needs.map(MessageRequest::FileByFilename));
                files.insert(file.name().to_owned(), file);
            }
        }
        let set = FileDescriptorSet { file: files.into_values().collect() };
        let files = DescriptorPool::from_file_descriptor_set(set).expect("nothing is missing in what the server tells");
        Self { channel, token, files }
    }

    fn method(&self, service: &str, name: &str) -> MethodDescriptor {
        let service = self.files.get_service_by_name(service).unwrap_or_else(|| panic!("no service {service}"));
        service.methods().find(|method| method.name() == name).unwrap_or_else(|| panic!("no method {name}"))
    }

    /// The answers to a call with one message.
    async fn call(&self, service: &str, name: &str, fields: &[(&str, Value)]) -> Result<Streaming<DynamicMessage>, Status> {
        let method = self.method(service, name);
        let mut message = DynamicMessage::new(method.input());
        for (field, value) in fields {
            message.try_set_field_by_name(field, value.clone()).unwrap_or_else(|error| panic!("{field}: {error}"));
        }
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::try_from(format!("/{service}/{name}")).expect("a path");
        let request = bearing(&self.token, tokio_stream::iter([message]));
        Ok(grpc.streaming(request, path, Dynamic(method.output())).await?.into_inner())
    }

    /// The first answer.
    async fn one(&self, service: &str, name: &str, fields: &[(&str, Value)]) -> Result<DynamicMessage, Status> {
        self.call(service, name, fields).await?.message().await.map(|answer| answer.expect("an answer"))
    }
}

fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    request
}

/// Messages that are known by their descriptors only.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// What stands at a path of names: `granted.token`, `locks.0.state`.
fn at(message: &DynamicMessage, path: &str) -> Value {
    path.split('.').fold(Value::Message(message.clone()), |value, step| match value {
        Value::Message(message) => {
            let field = message.get_field_by_name(step).unwrap_or_else(|| panic!("no field {step} in {path}"));
            field.into_owned()
        }
        Value::List(list) => list.get(step.parse::<usize>().expect("a number")).cloned().unwrap_or_else(|| panic!("no {path}")),
        other => panic!("{path}: {other:?} has no fields"),
    })
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[tokio::test]
async fn caller_without_generated_code_makes_an_environment_and_holds_a_lock() {
    let server = Running::start(StoreKind::Memory).await;
    let stock = Stock::new(&server).await;
    let (environments, leases) = ("leasehold.v1.EnvironmentService", "leasehold.v1.LeaseService");
    let request_id = || text(&crate::support::id());
    let create = [("name", text("made")), ("no_recovery", Value::Bool(true)), ("request_id", request_id())];
    let made = stock.one(environments, "Create", &create).await.unwrap();
    assert_eq!(at(&made, "name"), text("made"));
    let locks = async || stock.one(leases, "List", &[("prefix", text("made"))]).await.unwrap();
    assert_eq!(at(&locks().await, "locks"), Value::List(Vec::new()));

    let acquire = [
        ("state", text("made/app")),
        ("session", text("s")),
        ("mode", Value::EnumNumber(exclusive(&stock))),
        ("ttl_ms", Value::U64(60_000)),
        ("request_id", request_id()),
    ];
    let mut lease = stock.call(leases, "Acquire", &acquire).await.unwrap();
    let granted = lease.message().await.unwrap().expect("an answer");
    let Value::U64(token) = at(&granted, "granted.token") else { panic!("a number: {granted:?}") };
    assert!(token > 0);
    let held = locks().await;
    assert_eq!(at(&held, "locks.0.state"), text("made/app"));
    assert_eq!(at(&held, "locks.0.holders.0.token"), Value::U64(token));
    assert_eq!(at(&held, "locks.0.holders.0.principal"), text("token:admin"));

    let release = [("state", text("made/app")), ("session", text("s")), ("token", Value::U64(token))];
    let released = stock.one(leases, "Release", &release).await.unwrap();
    assert_eq!(at(&released, "was_live"), Value::Bool(true));
    assert_eq!(at(&locks().await, "locks"), Value::List(Vec::new()));
}

fn exclusive(stock: &Stock) -> i32 {
    let modes = stock.files.get_enum_by_name("leasehold.v1.Mode").expect("the modes");
    modes.get_value_by_name("MODE_EXCLUSIVE").expect("one of them").number()
}

/// `grpcurl` prints the details of a refusal if the server can describe them.
#[tokio::test]
async fn caller_without_generated_code_reads_why_it_was_refused() {
    let server = Running::start(StoreKind::Memory).await;
    let stock = Stock::new(&server).await;
    let refused = stock.one("leasehold.v1.EnvironmentService", "Get", &[("name", text("none"))]).await.unwrap_err();
    let info = stock.files.get_message_by_name("google.rpc.ErrorInfo").expect("the server describes it");
    // The status itself is part of the protocol, and every client has it.
    let status = tonic_types::Status::decode(refused.details()).unwrap();
    let any = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo")).expect("it says why");
    let info = DynamicMessage::decode(info, &any.value[..]).unwrap();
    assert_eq!(at(&info, "reason"), text("ENVIRONMENT_NOT_FOUND"));
    assert_eq!(at(&info, "domain"), text("leasehold.dev"));
}

/// The real one, where it is installed.
#[tokio::test]
async fn stock_grpcurl_makes_an_environment_and_lists_locks() {
    let Some(grpcurl) = programs::program("grpcurl") else { return };
    let server = Running::start(StoreKind::Memory).await;
    let call = async |message: &str, method: &str| {
        let bearer = format!("authorization: Bearer {}", server.token());
        let address = server.address.to_string();
        let mut command = tokio::process::Command::new(&grpcurl);
        command.args(["-plaintext", "-H", &bearer, "-d", message, &address, method]).kill_on_drop(true);
        let done = tokio::time::timeout(std::time::Duration::from_secs(20), command.output()).await.expect("in time").unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    let create = format!(r#"{{"name": "made", "no_recovery": true, "request_id": "{}"}}"#, crate::support::id());
    let (done, said) = call(&create, "leasehold.v1.EnvironmentService/Create").await;
    assert!(done && said.contains(r#""name": "made""#), "{said}");
    let held = server.api.hold("made/app", "s").await;
    let (done, said) = call(r#"{"prefix": "made"}"#, "leasehold.v1.LeaseService/List").await;
    assert!(done && said.contains("made/app") && said.contains(&held.token.to_string()), "{said}");
    let (done, said) = call(r#"{"name": "none"}"#, "leasehold.v1.EnvironmentService/Get").await;
    assert!(!done && said.contains("ENVIRONMENT_NOT_FOUND"), "{said}");
}
