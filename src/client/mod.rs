//! The client library: what the CLI and other programs use.
//!
//! [`Client`] has one method for each call of the protocol; [`Lease`] is a lease that renews itself and tells its owner when it is
//! lost; [`Watcher`] is a stream of events that survives reconnects. Replies are the messages of [`crate::pb::v1`].
//!
//! Calls that may be made twice (reads, renew, release, and mutations, which carry a request id made once per logical call) are
//! tried again with growing pauses for as long as [`Settings::patience`] says.
//!
//! ```no_run
//! # async fn example(token: leasehold::client::ApiToken) -> Result<(), leasehold::client::Error> {
//! use leasehold::client::{Ask, Client, PushAsk, Settings, Source, State};
//!
//! let client = Client::connect(Settings { token: Some(token), ..Settings::default() })?;
//! let grant = client.acquire(&Ask::exclusive("dev/app", "example-1"), |queued| eprintln!("place {}", queued.place)).await?;
//! let lease = client.keep(grant);
//! client.push(lease.reference(), &PushAsk::default(), &Source::from_bytes("{}"), |_| ()).await?;
//! assert!(matches!(lease.state(), State::Held));
//! lease.release(false).await?;
//! # Ok(()) }
//! ```

mod access;
mod audit;
pub(crate) mod clock;
mod connect;
mod environment;
mod error;
mod health;
mod keys;
mod lease;
mod relay;
mod remote;
mod replacement;
mod retry;
mod secret;
mod server;
mod state;
mod transfer;
mod watch;

#[cfg(test)]
mod fake;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

pub use audit::AuditStream;
pub use connect::{ClientCertificate, DEFAULT_SERVER, Settings};
pub use error::{Error, Report};
pub use keys::RecipientsAsk;
pub use lease::{Ask, FencingToken, Grant, Lease, LeaseRef, Loss, State, View};
pub use remote::{Lock, Locked, Remote, RemoteLock, RemoteSettings, same_origin};
pub(crate) use replacement::Replacement;
pub use secret::{ApiToken, LeaseSecret};
pub use state::{DiffSides, Progress, PullAsk, PushAsk, Source, Which, WriteAsk};
pub use transfer::{
    Document, ExportAsk, Found, Header, ImportAsk, Leave, Leaving, Phase, Step, Verdict, Written, local, refusal, remove_stale,
};
pub use watch::{WatchItem, Watcher};

use retry::{ATTEMPT, Policy, retry};

/// The largest reply that is a single message: lists come in pages of at most 1,000 rows.
const MAX_REPLY: usize = 16 << 20;

/// Longer than any patience, and short enough to be added to a point in time.
const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A connection to one server, made when it is first needed and made again when it breaks. Clones share it.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    /// What the channel was made from, if it was made here.
    endpoint: Option<Endpoint>,
    token: Option<Arc<ApiToken>>,
    patience: Duration,
}

impl Client {
    /// Prepares the connection; nothing is sent yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Caller`] if the address or the CA certificate cannot be understood.
    pub fn connect(settings: Settings) -> Result<Self, Error> {
        let endpoint = connect::endpoint(&settings)?;
        let channel = endpoint.connect_lazy();
        Ok(Self { endpoint: Some(endpoint), ..Self::over(channel, settings) })
    }

    /// The same over a channel that the caller has made; of the settings only token and patience are used.
    pub fn over(channel: Channel, settings: Settings) -> Self {
        let token = settings.token.map(Arc::new);
        Self { channel, endpoint: None, token, patience: settings.patience.min(A_CENTURY) }
    }

    /// The same client with a connection of its own, made anew; `None` if only the caller knows how.
    fn reconnected(&self) -> Option<Self> {
        let channel = self.endpoint.as_ref()?.connect_lazy();
        Some(Self { channel, ..self.clone() })
    }

    /// A request that carries the principal's token, if there is one.
    fn request<M>(&self, message: M) -> Request<M> {
        self.request_as(message, None)
    }

    fn request_as<M>(&self, message: M, secret: Option<&LeaseSecret>) -> Request<M> {
        let mut request = Request::new(message);
        let bearer = secret.map(LeaseSecret::bearer).or_else(|| self.token.as_deref().map(ApiToken::bearer));
        if let Some(bearer) = bearer {
            request.metadata_mut().insert("authorization", bearer);
        }
        request
    }

    fn policy(&self) -> Policy {
        Policy { patience: self.patience, attempt: Some(ATTEMPT) }
    }

    /// A short call that may be made twice.
    async fn unary<M, R, F, Fut>(&self, message: M, call: F) -> Result<R, Error>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        retry(self.policy(), || {
            let reply = call(self.channel.clone(), self.request(message.clone()));
            async { reply.await.map(Response::into_inner) }
        })
        .await
    }

    /// The same for a call that also takes the secret of the lease it is about.
    async fn unary_for<M, R, F, Fut>(&self, lease: &LeaseRef, message: M, call: F) -> Result<R, Error>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let call = &call;
        retry(self.policy(), || {
            let message = message.clone();
            async move {
                self.with_fallback(lease, |secret| {
                    let reply = call(self.channel.clone(), self.request_as(message.clone(), secret));
                    async { reply.await.map(Response::into_inner) }
                })
                .await
            }
        })
        .await
    }

    /// Calls as the principal, and with the lease's secret if the principal's token is missing or has ended: the tokens of CI
    /// systems live minutes, and applies do not.
    async fn with_fallback<'s, R, F, Fut>(&self, lease: &'s LeaseRef, call: F) -> Result<R, Status>
    where
        F: Fn(Option<&'s LeaseSecret>) -> Fut,
        Fut: Future<Output = Result<R, Status>>,
    {
        let Some(secret) = lease.secret.as_deref() else { return call(None).await };
        if self.token.is_none() {
            return call(Some(secret)).await;
        }
        match call(None).await {
            Err(status) if status.code() == Code::Unauthenticated => call(Some(secret)).await,
            reply => reply,
        }
    }
}

/// A new request id: time-ordered, since such ids cost the store least. One per logical call, the same for all its tries.
fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
