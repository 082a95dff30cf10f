//! The door for the `http` backend of stock Terraform and OpenTofu: one address is one state, `/terraform/v1/ENV/PATH`.
//!
//! Lock and unlock go to the same address with methods of their own, or to `…/lock` as GitLab has it. The clients print next to nothing of an
//! answer but its status, so the status is chosen for what they make of it, and the reason stands in our log.

mod answer;
mod body;
mod failure;
mod lock;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::backend::{Call, classify};
use crate::domain::names::StateName;
use crate::serve::door::{Peer, Reader, Stopping};
use crate::serve::identity::Identity;
use crate::serve::verbs::route_demand;
use crate::service::views::View;
use crate::service::{Caller, Error, Service};
pub(super) use failure::Failure;

/// Where the door begins.
pub const PREFIX: &str = "/terraform/v1/";

/// What the door needs.
#[derive(Clone)]
pub struct Door {
    /// The use cases.
    pub service: Arc<Service>,
    /// Who calls.
    pub identity: Arc<Identity>,
    /// Told when answers must not be held back any longer.
    pub stopping: Stopping,
}

/// The routes of the door. What is beside it is answered here, too: with 404 a client would begin a new state where somebody mistyped the
/// address.
pub fn routes(door: Door) -> Router {
    let all = ["/terraform", "/terraform/", "/terraform/{*state}"];
    all.into_iter().fold(Router::new(), |router, path| router.route(path, axum::routing::any(handle))).with_state(door)
}

/// A request that is known to be one: who, what, and about which state.
struct Asked {
    caller: Caller,
    call: Call,
    state: StateName,
    options: Options,
    request: Request<Body>,
}

/// What of the query is this door's own.
struct Options {
    /// `view=full|redacted|outputs`: how the state is read.
    view: Option<View>,
    /// `rewrite=true`: a lower serial and another lineage are meant.
    rewrite: bool,
}

impl Options {
    fn of(query: &str) -> Result<Self, Failure> {
        let mut options = Self { view: None, rewrite: false };
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            match (name, value) {
                ("view", "full") => options.view = Some(View::Full),
                ("view", "redacted") => options.view = Some(View::Redacted),
                ("view", "outputs") => options.view = Some(View::OutputsState),
                ("view", _) => return Err(Failure::argument("`view` is full, redacted or outputs")),
                ("rewrite", "true" | "false") => options.rewrite = value == "true",
                ("rewrite", _) => return Err(Failure::argument("`rewrite` is true or false")),
                _ => {}
            }
        }
        Ok(options)
    }
}

async fn handle(State(door): State<Door>, request: Request<Body>) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = match door.asked(request).await {
        Ok(asked) => door.answer(asked).await,
        Err(failure) => Err(failure),
    };
    answered.unwrap_or_else(|failure| {
        failure.log(&method, &path);
        failure.into_response()
    })
}

impl Door {
    /// Who asks for what. Nothing is read of the body before that is known.
    async fn asked(&self, request: Request<Body>) -> Result<Asked, Failure> {
        let peer = request.extensions().get::<Peer>();
        let caller = match self.identity.caller(request.headers(), peer).await {
            Ok(caller) if !caller.is_lease() => caller,
            Ok(_) | Err(Error::Unauthenticated) => return Err(Failure::unauthenticated()),
            Err(error) => return Err(Failure::of(&error)),
        };
        let path = request.uri().path().strip_prefix(PREFIX).filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| Failure::argument("the address of a state is /terraform/v1/ENV/PATH"))?;
        let (path, lock) = path.strip_suffix("/lock").map_or((path, false), |state| (state, true));
        let call = classify(request.method().as_str(), lock, request.uri().query());
        let call = call.map_err(|error| Failure::no_call(error, lock))?;
        let state = path.parse().map_err(|error| Failure::of(&Error::Name(error)))?;
        let options = Options::of(request.uri().query().unwrap_or_default())?;
        if options.view.is_some() && call != Call::Read {
            return Err(Failure::argument("`view` is for reading only: what is written or locked is the state itself"));
        }
        let verbs = route_demand(&call).verbs;
        self.service.allow_on(&caller, verbs, &state).map_err(|error| Failure::of(&error))?;
        if let Call::Write { id } = &call {
            let allowed = self.service.authorise_tool_write(&caller, &state, id.is_some(), options.rewrite);
            allowed.map_err(|error| Failure::of(&error))?;
        }
        Ok(Asked { caller, call, state, options, request })
    }

    async fn answer(&self, asked: Asked) -> Result<Response, Failure> {
        let Asked { caller, call, state, options, request } = asked;
        match call {
            Call::Read => {
                let view = options.view.unwrap_or_default();
                self.read(&caller, &state, &view, request.headers(), request.extensions().get::<Reader>()).await
            }
            Call::Write { id } => self.write(&caller, &state, id, options.rewrite, request).await,
            Call::Lock { wait } => self.lock(&caller, state, wait, request).await,
            Call::Unlock { id } => self.unlock(&caller, &state, id, request).await,
            // No command of the clients sends it: `destroy` writes an empty state.
            Call::Delete { .. } => Err(Failure::no_method(false)),
        }
    }
}
