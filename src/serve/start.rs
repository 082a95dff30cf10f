//! Puts a server together: settings, store, service, doors. The one place above the service that names store and secrets.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::config::{ClientCertificates, Config, ConfigError, StoreKind};
use super::door::tls::{Clients, Files, Tls, TlsError};
use super::door::{self, Failures, Limits as DoorLimits};
use super::grpc::{self, Door, STREAMING};
use super::identity::Identity;
use super::init::{self, InitError};
use super::metrics::{self, Sources};
use super::oidc::{Binding, BindingError, Issuers};
use super::terraform;
use crate::counts::Engine;
use crate::domain::ids::{HistoryId, RequestId};
use crate::domain::names::EnvironmentName;
use crate::domain::settings::SettingsChange;
use crate::secrets::identities::generate_file;
use crate::secrets::master::{MasterError, MasterSource, Masters};
use crate::secrets::operational::{ServerKey, ServerKeyError};
use crate::service::access::{Secret, fresh_secret, hash_of};
use crate::service::environments::Recovery;
use crate::service::{Bounds, Caller, Error, Service};
use crate::store::Store;
use crate::store::clock::SystemSource;
use crate::store::folder::{FolderError, private_folder};
use crate::store::memory::Memory;
use crate::store::sqlite::{self, OpenError, Sqlite};

/// The default address.
pub const LISTEN: &str = "127.0.0.1:5327";

/// How to serve; what is none comes from the settings file, or has a default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Try it out: an environment `dev`, and the lines to paste.
    pub dev: bool,
    /// The settings file.
    pub config: Option<PathBuf>,
    /// Where the data is kept (default `./leasehold-dev` with `dev`, otherwise `./leasehold-data`).
    pub data_dir: Option<PathBuf>,
    /// The address.
    pub listen: Option<SocketAddr>,
    /// The store.
    pub store: Option<StoreKind>,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Listen without TLS beyond loopback.
    pub danger_without_tls: bool,
    /// Open a database that is older than its sidecar.
    pub accept_rollback: bool,
}

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what it is")]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Master(#[from] MasterError),
    #[error(transparent)]
    ServerKey(#[from] ServerKeyError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Oidc(#[from] BindingError),
    #[error("what is granted cannot be read: {0}")]
    Access(Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "{0} is not a loopback address, and without TLS tokens and secrets would cross the network in the clear; give --tls-cert and --tls-key"
    )]
    Plain(SocketAddr),
    #[error("tls_cert and tls_key belong together")]
    HalfTls,
    #[error("tls_client_ca says who signs the certificates of clients: it needs tls_cert and tls_key, and tls_client needs it")]
    ClientTls,
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("cannot write {}: {cause}", .file.display())]
    Write { file: PathBuf, cause: io::Error },
    #[error("the environment `dev` could not be made: {0}")]
    Dev(Error),
    #[error("the keys of the environments cannot be read: {0}")]
    Keys(Error),
    #[error("the audit cannot be read: {0}")]
    Audit(Error),
    #[error("the operating system gives no randomness")]
    Randomness,
    #[error("the store gave up after an unclear commit: start again, and what was acknowledged is there")]
    StoreFailed,
    #[error(transparent)]
    Serve(io::Error),
}

/// A server that is ready: bound, with its store open.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What to tell a newcomer; only with `dev`.
    pub hints: Option<String>,
    listener: tokio::net::TcpListener,
    tls: Option<Arc<Tls>>,
    service: Arc<Service>,
    store: Arc<dyn Store>,
    open_reflection: bool,
    open_metrics: bool,
    engine: Arc<Engine>,
    limits: DoorLimits,
    issuers: Issuers,
    failures: Failures,
}

impl Server {
    /// Opens the store and binds the address.
    ///
    /// # Errors
    /// [`StartError`] says what to do; nothing was overwritten.
    pub async fn open(options: Options) -> Result<Self, StartError> {
        let config = options.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
        let default = if options.dev { "leasehold-dev" } else { "leasehold-data" };
        let folder = options.data_dir.clone().or(config.data_dir.clone()).unwrap_or_else(|| default.into());
        let listen = options.listen.or(config.listen);
        let listen = listen.unwrap_or_else(|| LISTEN.parse().expect("the default address parses"));
        let tls = tls(&options, &config)?;
        let bindings = config.oidc.iter().cloned().map(Binding::try_from).collect::<Result<Vec<_>, _>>()?;
        let issuers = Issuers::new(bindings)?;
        if tls.is_none() && !listen.ip().is_loopback() && !options.danger_without_tls {
            return Err(StartError::Plain(listen));
        }
        let engine = Arc::<Engine>::default();
        let store = open_store(&options, &config, &folder, &engine)?;
        let fresh = store.head().borrow().revision.0 == 0;
        let server_key = ServerKey::open(&folder.join("server.key"))?;
        let source = config.master.source(&folder)?;
        let masters = load_masters(source.clone(), fresh).await?;
        let default = Bounds::default();
        let bounds = Bounds {
            document: config.max_document.unwrap_or(default.document),
            in_flight: config.max_in_flight.unwrap_or(default.in_flight),
        };
        let service = Service::new(Arc::clone(&store), server_key, source, bounds, Arc::new(SystemSource::default()));
        service.load_access().await.map_err(StartError::Access)?;
        service.begin_audit().await.map_err(StartError::Audit)?;
        take_over(&service, &folder).await?;
        if let Some(masters) = masters {
            begin_unlocked(&service, masters).await?;
        }
        let listener = door::listen(listen).map_err(|cause| StartError::Listen { address: listen, cause })?;
        let address = listener.local_addr().map_err(|cause| StartError::Listen { address: listen, cause })?;
        let hints = match options.dev {
            true => Some(dev(&service, &folder, address, tls.is_some()).await?),
            false => None,
        };
        if !service.has_tokens() {
            tracing::warn!("nobody has a token yet: stop, run `leasehold init --data-dir {}`, and start again", folder.display());
        }
        let failures = config.failed_authentications.map_or_else(Failures::default, Failures::new);
        let open_reflection = config.open_reflection.unwrap_or_default();
        let (open_metrics, limits) = (config.open_metrics.unwrap_or_default(), limits(&config));
        Ok(Self {
            address,
            hints,
            listener,
            tls,
            service,
            store,
            open_reflection,
            open_metrics,
            engine,
            limits,
            issuers,
            failures,
        })
    }

    /// Serves until `stop`, or until the store gives up; then finishes what is under way and leaves the store clean.
    ///
    /// # Errors
    /// The store gave up.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), StartError> {
        let (stopper, stopping) = door::stop_signal();
        let identity = Arc::new(Identity::new(Arc::clone(&self.service), self.issuers, self.failures));
        let door = Door {
            service: Arc::clone(&self.service),
            identity: Arc::clone(&identity),
            open_reflection: self.open_reflection,
            stopping: stopping.clone(),
        };
        let (routes, health) = grpc::routes(&door);
        for service in grpc::SERVICES {
            health.set_service_status(service, tonic_health::ServingStatus::Serving).await;
        }
        let counts = Arc::<door::Counts>::default();
        let sources = Sources {
            service: Arc::clone(&self.service),
            door: Arc::clone(&counts),
            engine: self.engine,
            started: self.service.now().0 as f64 / 1e3,
        };
        let metrics = metrics::Door::new(sources, Arc::clone(&identity), self.open_metrics);
        let terraform = terraform::Door { service: Arc::clone(&self.service), identity, stopping: stopping.clone() };
        let app = routes.merge(terraform::routes(terraform)).merge(metrics::routes(metrics)).fallback(grpc::nothing_here);
        let streaming = STREAMING.iter().map(|path| (*path).to_owned()).collect();
        let patient = vec![terraform::PREFIX.to_owned()];
        // A reflection client asks when it likes.
        let conversing = vec!["/grpc.reflection.".to_owned()];
        let limits = DoorLimits { streaming, patient, conversing, ..self.limits }.fit_descriptors().map_err(StartError::Serve)?;
        if rustix::process::geteuid().is_root() {
            tracing::warn!("running as root: whoever finds a way in has the whole machine; run the server as a user of its own");
        }
        let mut head = self.service.store_head();
        let failed = async move { drop(head.wait_for(|head| head.failed).await) };
        let ended = async move {
            tokio::select! {
                () = stop => false,
                () = failed => true,
            }
        };
        let serving = door::serve_counted(self.listener, self.tls, app, limits, counts, {
            let stopping = stopping.clone();
            async move { stopping.stopped().await }
        });
        tokio::pin!(serving, ended);
        let failed = tokio::select! {
            served = &mut serving => return served.map(drop).map_err(StartError::Serve),
            failed = &mut ended => failed,
        };
        for service in grpc::SERVICES {
            health.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
        }
        drop(stopper);
        serving.await.map_err(StartError::Serve)?;
        if failed {
            return Err(StartError::StoreFailed);
        }
        self.service.end_audit().await;
        let _ = self.store.close().await;
        Ok(())
    }
}

/// The master keys, if they are at hand. Without them the server starts locked; a file that others can read, or that is not what it should be, is no reason to
/// go on.
async fn load_masters(source: MasterSource, fresh: bool) -> Result<Option<Masters>, StartError> {
    if source.asks_passphrase() {
        tracing::warn!("starting locked: run `leasehold unlock` and give the passphrase of the master key");
        return Ok(None);
    }
    let loading = tokio::task::spawn_blocking(move || source.load_or_create(fresh, None));
    match loading.await.map_err(|error| StartError::Serve(io::Error::other(error)))? {
        Ok(masters) => Ok(Some(masters)),
        // What is missing may come back, and what a program asks may answer later: leases need not wait for it.
        Err(
            error @ (MasterError::Missing(_)
            | MasterError::Spawn { .. }
            | MasterError::Timeout { .. }
            | MasterError::Failed { .. }),
        ) => {
            tracing::error!(%error, "{LOCKED}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A wrong master key opens nothing: the server starts locked, until the right one is there.
async fn begin_unlocked(service: &Service, masters: Masters) -> Result<(), StartError> {
    match service.begin_unlocked(masters).await {
        Err(error @ Error::WrongMaster) => {
            tracing::error!(%error, "{LOCKED}");
            Ok(())
        }
        done => done.map_err(StartError::Keys),
    }
}

const LOCKED: &str = "starting locked: leases, history and watching work, documents do not until `leasehold unlock`";

fn tls(options: &Options, config: &Config) -> Result<Option<Arc<Tls>>, StartError> {
    let clients = match (&config.tls_client_ca, config.tls_client) {
        (Some(ca), how) => Some(Clients { ca: ca.clone(), required: how.unwrap_or_default() == ClientCertificates::Required }),
        (None, None) => None,
        (None, Some(_)) => return Err(StartError::ClientTls),
    };
    let (certificates, key) = match (&options.tls, &config.tls_cert, &config.tls_key) {
        (Some((cert, key)), _, _) | (None, Some(cert), Some(key)) => (cert.clone(), key.clone()),
        (None, None, None) if clients.is_none() => return Ok(None),
        (None, None, None) => return Err(StartError::ClientTls),
        _ => return Err(StartError::HalfTls),
    };
    Ok(Some(Tls::open(Files { certificates, key, clients })?))
}

fn limits(config: &Config) -> DoorLimits {
    let default = DoorLimits::default();
    let connections = config.max_connections.unwrap_or(default.connections);
    let connections_per_peer = config.max_connections_per_peer.unwrap_or(default.connections_per_peer);
    DoorLimits { connections, connections_per_peer, ..default }
}

fn open_store(options: &Options, config: &Config, folder: &Path, counts: &Arc<Engine>) -> Result<Arc<dyn Store>, StartError> {
    let (source, limits) = (Arc::new(SystemSource::default()), config.limits.resolve());
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh).map_err(|_| StartError::Randomness)?;
    match options.store.or(config.store).unwrap_or_default() {
        StoreKind::Memory => {
            private_folder(folder)?;
            let memory = Arc::new(Memory::new(source, limits, HistoryId(fresh)));
            let ticking = Arc::downgrade(&memory);
            tokio::spawn(async move {
                while let Some(memory) = ticking.upgrade() {
                    memory.tick();
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            });
            Ok(memory)
        }
        StoreKind::Sqlite => {
            let mut sqlite = sqlite::Options::new(folder, limits, fresh);
            sqlite.accept_rollback = options.accept_rollback;
            sqlite.counts = Arc::clone(counts);
            sqlite.keep_events = config.keep_events.unwrap_or(sqlite.keep_events);
            Ok(Arc::new(Sqlite::open(source, &sqlite)?))
        }
    }
}

/// Makes the environment `dev` and the file with the lines to source; returns what to print.
async fn dev(service: &Service, folder: &Path, address: SocketAddr, tls: bool) -> Result<String, StartError> {
    let caller = Caller::owner("dev".parse().expect("a plain word is a principal"));
    let name: EnvironmentName = "dev".parse().expect("a valid name");
    if service.environments(&caller, Some(name.clone())).await.is_err() {
        let id = RequestId(uuid::Uuid::now_v7().into_bytes());
        let file = folder.join("recovery.key");
        let recipient = generate_file(&file).map_err(|cause| StartError::Write { file, cause })?;
        // Whoever tries it out may do so with `-lock=false`, too.
        let settings = SettingsChange { write_without_lock: Some(true), ..SettingsChange::default() };
        let recovery = Recovery { recipients: vec![recipient], none: false };
        service.create_environment(&caller, id, name, settings, recovery).await.map_err(StartError::Dev)?;
    }
    let file = folder.join("dev.env");
    let token = dev_token(service, &file).await?;
    let scheme = if tls { "https" } else { "http" };
    let exports = Zeroizing::new(format!(
        "export LEASEHOLD_SERVER={scheme}://{address}\nexport LEASEHOLD_TOKEN={0}\nexport TF_HTTP_USERNAME=leasehold\nexport TF_HTTP_PASSWORD={0}\n",
        *token
    ));
    write_private(&file, exports.as_bytes()).map_err(|cause| StartError::Write { file: file.clone(), cause })?;
    Ok(format!(
        "In another terminal:\n\n    . {file}\n    leasehold run --state dev/app -- sh -c 'echo working under lease $LEASEHOLD_FENCE'\n\n\
         Terraform and OpenTofu, in the same terminal:\n\n    \
         terraform {{\n      backend \"http\" {{\n        \
         address        = \"{scheme}://{address}/terraform/v1/dev/app\"\n        \
         lock_address   = \"{scheme}://{address}/terraform/v1/dev/app\"\n        \
         unlock_address = \"{scheme}://{address}/terraform/v1/dev/app\"\n      }}\n    }}\n",
        file = file.display()
    ))
}

/// The token of the last time, if it is still accepted; otherwise another one.
async fn dev_token(service: &Service, file: &Path) -> Result<Secret, StartError> {
    let earlier = Zeroizing::new(std::fs::read_to_string(file).unwrap_or_default());
    let earlier = earlier.lines().find_map(|line| line.strip_prefix("export LEASEHOLD_TOKEN="));
    if let Some(token) = earlier.filter(|token| service.recognise(&hash_of(token)).is_some()) {
        return Ok(Secret::new(token.to_owned()));
    }
    let token = fresh_secret().map_err(StartError::Dev)?;
    service.adopt_token(hash_of(&token), "dev").await.map_err(StartError::Dev)?;
    Ok(token)
}

/// Takes over the token that `leasehold init` has made.
async fn take_over(service: &Service, folder: &Path) -> Result<(), StartError> {
    let Some(hash) = init::offered(folder)? else { return Ok(()) };
    let name = service.adopt_token(hash, "admin").await.map_err(StartError::Access)?;
    init::taken_over(folder)?;
    tracing::info!(%name, "the token of `leasehold init` is accepted from now on");
    Ok(())
}

fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("env.new");
    let _ = std::fs::remove_file(&new);
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?.write_all(bytes)?;
    std::fs::rename(new, file)
}
