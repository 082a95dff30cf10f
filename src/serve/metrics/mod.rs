//! `GET /metrics`: what the server counts, as Prometheus and others read it. Numbers with labels from lists of ours; nothing that a caller can
//! choose is in it.

mod calls;
mod families;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

pub use calls::Calls;
pub use families::Sources;

use super::door::Peer;
use super::identity::Identity;
use super::terraform::Failure;
use super::verbs::{Page, page_demand};
use crate::service::Error;

/// What the page needs.
#[derive(Clone)]
pub struct Door {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The page is for everybody.
    pub open: bool,
    registry: Arc<Registry>,
}

impl Door {
    /// The page about these.
    #[must_use]
    pub fn new(sources: Sources, identity: Arc<Identity>, open: bool) -> Self {
        let mut registry = Registry::with_prefix("leasehold");
        registry.register_collector(Box::new(sources));
        Self { identity, open, registry: Arc::new(registry) }
    }
}

/// The route of the page.
pub fn routes(door: Door) -> Router {
    Router::new().route(Page::Metrics.path(), axum::routing::any(handle)).with_state(door)
}

async fn handle(State(door): State<Door>, request: Request<Body>) -> Response {
    let peer = request.extensions().get::<Peer>();
    if !door.open
        && let Err(error) = door.identity.admitted(request.headers(), peer, page_demand(Page::Metrics)).await
    {
        return refused(&error).into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response =
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "ARGUMENT_INVALID", "this is for reading", "GET it").into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match page(&door.registry, request.headers()) {
        Ok(response) => response,
        Err(std::fmt::Error) => Failure::of(&Error::Internal).into_response(),
    }
}

fn refused(error: &Error) -> Failure {
    match error {
        Error::Unauthenticated => Failure::new(
            StatusCode::UNAUTHORIZED,
            error.code(),
            &error.to_string(),
            "send a valid token as a bearer, or as the password of basic credentials; or set `open_metrics` in the server's settings",
        ),
        other => Failure::of(other),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// In the format of OpenMetrics for who asks for it, otherwise in the older one that everything reads.
fn page(registry: &Registry, headers: &HeaderMap) -> Result<Response, std::fmt::Error> {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut page, open) = (String::new(), accepted.any(|value| value.contains("application/openmetrics-text")));
    match open {
        true => text::encode(&mut page, registry)?,
        false => prometheus_text::encode(&mut page, registry)?,
    }
    let mut response = Response::new(Body::from(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(if open { OPEN_METRICS } else { PROMETHEUS }));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
