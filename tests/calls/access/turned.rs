//! A server whose clocks a test turns by hand: both doors over the wire, and the service behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leasehold::domain::ids::{HistoryId, RequestId};
use leasehold::domain::settings::{Limits, SettingsChange};
use leasehold::secrets::master::MasterSource;
use leasehold::secrets::operational::ServerKey;
use leasehold::serve::door::{self, Failures, Stop};
use leasehold::serve::grpc::{self, STREAMING};
use leasehold::serve::identity::Identity;
use leasehold::serve::oidc::Issuers;
use leasehold::serve::terraform;
use leasehold::service::access::{fresh_secret, hash_of};
use leasehold::service::environments::Recovery;
use leasehold::service::{Bounds, Caller, Service};
use leasehold::store::Store;
use leasehold::store::clock::ManualSource;
use leasehold::store::memory::Memory;
use tonic::transport::Endpoint;

use crate::support::Api;
use crate::support::holding::Holding;

pub(crate) struct Turned {
    /// With the first token.
    pub(crate) api: Api,
    pub(crate) address: SocketAddr,
    pub(super) service: Arc<Service>,
    clock: Arc<ManualSource>,
    store: Arc<Memory>,
    _folder: tempfile::TempDir,
    _stop: Stop,
}

impl Turned {
    /// With the environment `dev`.
    pub(super) async fn start() -> Self {
        Self::start_over(|store| store, Bounds::default(), door::Limits::default()).await
    }

    /// The same over a store that holds commands.
    pub(super) async fn held() -> (Self, Arc<Holding>) {
        let mut holding = None;
        let server =
            Self::start_over(|store| holding.insert(Holding::new(store)).clone(), Bounds::default(), door::Limits::default())
                .await;
        (server, holding.expect("it was started"))
    }

    /// The same with other bounds.
    pub(crate) async fn bounded(bounds: Bounds, limits: door::Limits) -> Self {
        Self::start_over(|store| store, bounds, limits).await
    }

    async fn start_over(over: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>, bounds: Bounds, limits: door::Limits) -> Self {
        let clock = Arc::new(ManualSource::default());
        clock.advance(Duration::from_secs(1_000_000));
        let store = Arc::new(Memory::new(Arc::clone(&clock) as _, Limits::default(), HistoryId([7; 16])));
        let folder = tempfile::tempdir().unwrap();
        let source = MasterSource::File(folder.path().join("master.key"));
        let masters = source.load_or_create(true, None).unwrap_or_else(|error| panic!("{error}"));
        let key = ServerKey::ephemeral().unwrap_or_else(|error| panic!("{error}"));
        let stored = over(Arc::clone(&store) as _);
        let service = Service::new(stored, key, source, bounds, Arc::clone(&clock) as _);
        service.load_access().await.unwrap();
        service.begin_audit().await.unwrap();
        service.begin_unlocked(masters).await.unwrap();
        let owner = Caller::owner("owner".parse().unwrap());
        let recovery = Recovery { recipients: Vec::new(), none: true };
        let (id, name) = (RequestId([1; 16]), "dev".parse().unwrap());
        service.create_environment(&owner, id, name, SettingsChange::default(), recovery).await.unwrap();
        let first = fresh_secret().unwrap();
        service.adopt_token(hash_of(&first), "admin").await.unwrap();
        let (stop, stopping) = door::stop_signal();
        let identity = Arc::new(Identity::new(Arc::clone(&service), Issuers::new(Vec::new()).unwrap(), Failures::new(1_000_000)));
        let calls = grpc::Door {
            service: Arc::clone(&service),
            identity: Arc::clone(&identity),
            open_reflection: false,
            stopping: stopping.clone(),
        };
        let routes = terraform::Door { service: Arc::clone(&service), identity, stopping: stopping.clone() };
        let app = grpc::routes(&calls).0.merge(terraform::routes(routes));
        let streaming = STREAMING.iter().map(|path| (*path).to_owned()).collect();
        let limits = door::Limits { streaming, ..limits };
        let listener = door::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { door::serve(listener, None, app, limits, async move { stopping.stopped().await }).await });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let api = Api::new(channel, Some(first.to_string()));
        Self { api, address, service, clock, store, _folder: folder, _stop: stop }
    }

    /// Lets time pass, and what is due happen.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.store.tick();
    }
}
