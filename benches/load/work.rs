//! One client's unit of work, over the generated client: what is measured is the server.

use leasehold::pb::v1 as pb;
use leasehold::pb::v1::lease_service_client::LeaseServiceClient;
use leasehold::pb::v1::state_service_client::StateServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;

use super::Op;
use super::server::Server;

pub(super) struct Client {
    op: Op,
    state: String,
    session: String,
    authorization: MetadataValue<Ascii>,
    health: HealthClient<Channel>,
    lease: LeaseServiceClient<Channel>,
    states: StateServiceClient<Channel>,
    /// Of a client that puts: its lease and its document.
    token: u64,
    holding: Option<tonic::Streaming<pb::AcquireResponse>>,
    document: Document,
}

impl Client {
    pub(super) async fn new(server: &Server, n: usize, op: Op) -> Self {
        let channel = server.channels[n % server.channels.len()].clone();
        let state = match op {
            Op::Handoff => "dev/one".to_owned(),
            _ => format!("dev/{}-{n}", op.name()),
        };
        let mut client = Self {
            op,
            state,
            session: format!("bench-{n}-{}", uuid::Uuid::new_v4()),
            authorization: format!("Bearer {}", server.token).parse().unwrap(),
            health: HealthClient::new(channel.clone()),
            lease: LeaseServiceClient::new(channel.clone()),
            states: StateServiceClient::new(channel),
            token: 0,
            holding: None,
            document: Document::new(if let Op::Put(size) = op { size } else { 0 }),
        };
        if let Op::Put(_) = op {
            // The first serial is past what an earlier run on the same state left.
            client.document.serial =
                u64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()).unwrap();
            let (token, stream) = client.acquire(0).await;
            (client.token, client.holding) = (token, Some(stream));
        }
        client
    }

    pub(super) async fn one(&mut self) {
        match self.op {
            Op::Noop => {
                let _ = self.health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
            }
            Op::Lock => {
                let (token, stream) = self.acquire(0).await;
                self.release(token).await;
                read_out(stream);
            }
            Op::Handoff => {
                let (token, stream) = self.acquire(60_000).await;
                self.release(token).await;
                read_out(stream);
            }
            Op::Put(_) => self.put().await,
        }
    }

    pub(super) async fn end(&mut self) {
        if self.token > 0 {
            self.release(self.token).await;
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    async fn acquire(&mut self, wait_ms: u64) -> (u64, tonic::Streaming<pb::AcquireResponse>) {
        let request = self.request(pb::AcquireRequest {
            state: self.state.clone(),
            session: self.session.clone(),
            mode: pb::Mode::Exclusive.into(),
            wait_ms,
            request_id: id(),
            ..pb::AcquireRequest::default()
        });
        let mut stream = self.lease.acquire(request).await.unwrap().into_inner();
        loop {
            if let Some(pb::acquire_response::Event::Granted(granted)) = stream.message().await.unwrap().unwrap().event {
                return (granted.token, stream);
            }
        }
    }

    async fn release(&mut self, token: u64) {
        let (state, session) = (self.state.clone(), self.session.clone());
        let released = self.lease.release(self.request(pb::ReleaseRequest { state, session, token, abandoned: false })).await;
        assert!(released.unwrap().into_inner().was_live);
    }

    async fn put(&mut self) {
        use pb::push_request::Part;
        let document = self.document.next();
        let open = pb::PushOpen {
            state: self.state.clone(),
            session: self.session.clone(),
            token: self.token,
            request_id: id(),
            size: document.len() as u64,
            ..pb::PushOpen::default()
        };
        let mut parts = vec![pb::PushRequest { part: Some(Part::Open(open)) }];
        for piece in document.chunks(256 * 1024) {
            let chunk = pb::Chunk { data: bytes::Bytes::copy_from_slice(piece) };
            parts.push(pb::PushRequest { part: Some(Part::Chunk(chunk)) });
        }
        let request = self.request(tokio_stream::iter(parts));
        self.states.push(request).await.unwrap();
    }
}

/// The stream tells of the end of the lease and ends. Dropping it earlier by the thousand makes the HTTP/2 library of the client give up
/// the connection: it forgets streams that it reset, and counts what still arrives for them as errors.
fn read_out(mut stream: tonic::Streaming<pb::AcquireResponse>) {
    tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
}

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A Terraform state of about a size, with a higher serial each time.
struct Document {
    serial: u64,
    resources: String,
}

impl Document {
    fn new(size: usize) -> Self {
        let mut resources = String::new();
        while resources.len() < size {
            let n = resources.len() as u64;
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if !resources.is_empty() {
                resources.push(',');
            }
            resources.push_str(&format!(
                r#"{{"mode":"managed","type":"aws_subnet","name":"r{n}","provider":"provider[\"registry.terraform.io/hashicorp/aws\"]","instances":[{{"schema_version":1,"attributes":{{"id":"subnet-{id:016x}","arn":"arn:aws:ec2:eu-west-1:{id}:subnet/{id:016x}","cidr_block":"10.0.{}.0/24"}}}}]}}"#,
                n % 256
            ));
        }
        Self { serial: 0, resources }
    }

    fn next(&mut self) -> Vec<u8> {
        self.serial += 1;
        format!(
            r#"{{"version":4,"terraform_version":"1.11.4","serial":{},"lineage":"6f2c1d1e-0000-4000-8000-000000000001","outputs":{{}},"resources":[{}]}}"#,
            self.serial, self.resources
        )
        .into_bytes()
    }
}
