//! Starting and stopping the server under test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold::serve::config::StoreKind;
use leasehold::serve::start::{Options, Server, StartError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::{Api, Http, id};
use leasehold::pb::v1 as pb;

/// Lease bounds low enough for tests that wait for a deadline to pass.
const SHORT: &str = "[limits]\nmin_ttl = \"300ms\"\nclaim = \"2s\"\nclaim_polling = \"5s\"\n";

/// A server that serves until this is dropped. Its data go with it, unless it is [stopped](Running::stop).
pub(crate) struct Running {
    pub(crate) api: Api,
    pub(crate) address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), StartError>>,
    folder: tempfile::TempDir,
    engine: StoreKind,
    token: String,
}

impl Running {
    /// With the environment `dev`.
    pub(crate) async fn start(engine: StoreKind) -> Self {
        Self::start_with(engine, "").await
    }

    /// With more settings: top-level keys of the file, then perhaps tables.
    pub(crate) async fn start_with(engine: StoreKind, settings: &str) -> Self {
        let running = Self::start_bare(engine, settings).await;
        running.make_environment("dev").await.expect("the environment is made");
        running
    }

    /// Without an environment.
    pub(crate) async fn start_bare(engine: StoreKind, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = if settings.contains("[limits]") { "" } else { SHORT };
        std::fs::write(folder.path().join("leasehold.toml"), format!("failed_authentications = 1000000\n{settings}\n{limits}"))
            .unwrap();
        Self::serve(engine, folder).await
    }

    pub(crate) async fn make_environment(&self, name: &str) -> Result<(), tonic::Status> {
        let request = pb::CreateEnvironmentRequest {
            name: name.to_owned(),
            settings: None,
            request_id: id(),
            recovery: Vec::new(),
            no_recovery: true,
        };
        self.api.environment().create(request).await.map(drop)
    }

    /// Changes the settings of `dev`.
    pub(crate) async fn set(&self, settings: pb::Settings) {
        let request = pb::SetEnvironmentRequest { name: "dev".to_owned(), settings: Some(settings), request_id: id() };
        self.api.environment().set(request).await.expect("the settings are set");
    }

    async fn serve(engine: StoreKind, folder: tempfile::TempDir) -> Self {
        println!("engine: {engine:?}");
        let data = folder.path().join("data");
        let token = admin_token(folder.path(), &data);
        let options = Options {
            config: Some(folder.path().join("leasehold.toml")),
            data_dir: Some(data.clone()),
            listen: Some("127.0.0.1:0".parse().unwrap()),
            store: Some(engine),
            ..Options::default()
        };
        let server = Server::open(options).await.expect("the server opens");
        let address = server.address;
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server.run(async move { drop(stopped.await) }));
        let api = Api::new(connect(address), Some(token.clone()));
        Self { token, api, address, stop: Some(stop), served, folder, engine }
    }

    /// A caller with a connection of its own and this token, or none.
    pub(crate) fn caller(&self, token: Option<&str>) -> Api {
        Api::new(connect(self.address), token.map(str::to_owned))
    }

    /// A caller at the door of the `http` backend.
    pub(crate) fn http(&self) -> Http {
        self.http_as(&self.token())
    }

    /// Another one there.
    pub(crate) fn http_as(&self, token: &str) -> Http {
        Http::new(self.address, token)
    }

    /// The token of `leasehold init`, which may everything.
    pub(crate) fn token(&self) -> String {
        self.token.clone()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Gives the signal to stop, and returns at once.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops and waits for the end.
    pub(crate) async fn stop(mut self) -> Stopped {
        self.begin_stop();
        let served = tokio::time::timeout(Duration::from_secs(20), &mut self.served).await;
        served.expect("the server stops").expect("it does not panic").expect("it ends well");
        Stopped { folder: self.folder, engine: self.engine }
    }
}

/// What a stopped server leaves behind.
pub(crate) struct Stopped {
    folder: tempfile::TempDir,
    engine: StoreKind,
}

impl Stopped {
    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file that SQLite keeps everything in.
    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("leasehold.db")
    }

    /// Serves the same data again.
    pub(crate) async fn restart(self) -> Running {
        Running::serve(self.engine, self.folder).await
    }
}

/// Runs a test against a fresh server of each engine.
pub(crate) async fn on_each_engine(test: impl AsyncFn(&Running)) {
    for engine in [StoreKind::Memory, StoreKind::Sqlite] {
        let running = Running::start(engine).await;
        test(&running).await;
    }
}

fn connect(address: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// The token that the server takes over at its start; the same one each time, since the memory engine forgets it.
fn admin_token(folder: &Path, data: &Path) -> String {
    let kept = folder.join("admin.token");
    if let Ok(token) = std::fs::read_to_string(&kept) {
        leasehold::serve::init::offer(data, &token).expect("the token is offered again");
        return token;
    }
    leasehold::store::folder::private_folder(data).expect("the folder is made");
    let token = leasehold::serve::init::init(data).expect("a token is made").to_string();
    std::fs::write(kept, &token).unwrap();
    token
}
