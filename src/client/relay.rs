//! Passing on calls that somebody else made.

use axum::body::HttpBody;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, Uri};
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::secret::{ApiToken, LeaseSecret};
use super::{Client, Error};

impl Client {
    /// Passes a gRPC call on as it is, tried once: with `secret`, or else under this client's own token. What the caller showed for itself
    /// goes no further.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server cannot be reached. What the server refuses is a response.
    pub async fn pass_on<B>(&self, mut request: Request<B>, secret: Option<&LeaseSecret>) -> Result<Response<Body>, Error>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        request.headers_mut().remove(AUTHORIZATION);
        let bearer = secret.map(LeaseSecret::bearer).or_else(|| self.token.as_deref().map(ApiToken::bearer));
        if let Some(bearer) = bearer.and_then(|bearer| bearer.as_encoded_bytes().try_into().ok()) {
            let mut bearer: http::HeaderValue = bearer;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        // The channel adds scheme and host of its own server.
        *request.uri_mut() = request.uri().path().parse::<Uri>().unwrap_or_default();
        let mut channel = self.channel.clone();
        let ready = channel.ready().await.map_err(|cause| unreachable(&cause))?;
        ready.call(request.map(Body::new)).await.map_err(|cause| unreachable(&cause))
    }
}

fn unreachable(cause: &tonic::transport::Error) -> Error {
    let mut innermost: &dyn std::error::Error = cause;
    while let Some(deeper) = innermost.source() {
        innermost = deeper;
    }
    Error::unavailable(format!("the server cannot be reached: {innermost}"))
}
