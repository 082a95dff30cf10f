//! Reading and writing the state itself.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue};

use super::failure::Failure;
use super::{Door, answer, body};
use crate::domain::names::StateName;
use crate::domain::refusal::Refusal;
use crate::serve::door::Reader;
use crate::service::pull::Meta;
use crate::service::push::Written;
use crate::service::views::View;
use crate::service::{Caller, Error};

impl Door {
    pub(super) async fn read(
        &self,
        caller: &Caller,
        state: &StateName,
        view: &View,
        headers: &HeaderMap,
        reader: Option<&Reader>,
    ) -> Result<Response, Failure> {
        let whole = self.service.document(caller, state, view).await.map_err(|error| Failure::of(&error))?;
        let etag = match &whole.meta {
            Meta::Version(version) => version.etag.to_string(),
            Meta::Draft(draft) => draft.id.to_string(),
        };
        let zip = answer::takes_gzip(headers) && whole.as_ref().len() >= answer::WORTH_COMPRESSING;
        let (digest, sent) = answer::prepared(whole, zip).await.ok_or_else(|| Failure::of(&Error::Internal))?;
        let body = match reader {
            Some(reader) => reader.document(sent),
            None => Body::from(sent),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("content-md5", digest);
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.extend(HeaderValue::try_from(format!("\"{etag}\"")).ok().map(|etag| (ETAG, etag)));
        if zip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

impl Door {
    pub(super) async fn write(
        &self,
        caller: &Caller,
        state: &StateName,
        id: Option<String>,
        rewrite: bool,
        request: Request<Body>,
    ) -> Result<Response, Failure> {
        let id = id.map(|id| super::lock::session(&id)).transpose()?;
        let (parts, sent) = request.into_parts();
        let upload = body::document(&self.service, &parts.headers, sent).await?;
        match self.service.tool_write(caller, state, id, upload, rewrite).await {
            Ok(written) => Ok(wrote(state, &written)),
            Err(error) => {
                let failure = Failure::of(&error);
                match &error {
                    // Who holds the lock is told to whoever is refused for it.
                    Error::Refused(refusal) if is_about_the_lock(refusal) => {
                        let standing = self.service.tool_standing(caller, state).await.ok();
                        Err(match standing.filter(|standing| !standing.holders.is_empty()) {
                            Some(standing) => failure.with_lock_info(answer::lock_info(&standing, "")),
                            None => failure,
                        })
                    }
                    _ => Err(failure),
                }
            }
        }
    }
}

fn wrote(state: &StateName, written: &Written) -> Response {
    for warning in &written.warnings {
        tracing::warn!(%state, place = %warning.path, kind = ?warning.kind, "a secret could not be sealed as it should");
    }
    let mut response = answer::ok();
    let version = HeaderValue::try_from(written.version.version.to_string());
    response.headers_mut().extend(version.ok().map(|version| (http::HeaderName::from_static("leasehold-version"), version)));
    response
}

fn is_about_the_lock(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Kept { why, .. } | Refusal::DraftQuota { why, .. } => is_about_the_lock(why),
        Refusal::LeaseHeld { .. } | Refusal::TokenUnknown(_) | Refusal::LeaseForeign(_) => true,
        _ => false,
    }
}
