//! Answers: a lease that is taken back if nobody takes the answer, lock info as each client prints it, and documents.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use hyper::body::{Frame, SizeHint};

use crate::backend::{ContentMd5, Extra, LockInfo, MAX_TOLD_ID};
use crate::domain::lock::Holder;
use crate::domain::time::WallTime;
use crate::service::pull::{Share, Whole};
use crate::service::tools::{Lease, Standing};

/// Below this, compressing gains nothing that anybody notices.
pub(super) const WORTH_COMPRESSING: usize = 16 << 10;

/// What has nothing to say.
pub(super) fn ok() -> Response {
    Response::new(Body::empty())
}

/// The answer to who holds the lock now. If the connection does not even take it, the lease is taken back.
pub(super) fn held(lease: Lease) -> Response {
    let text = format!("{{\"fencing_token\":\"{}\"}}\n", lease.grant.token);
    let mut response = Response::new(Body::new(Telling { text: Some(text.into()), lease: Some(lease) }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The holder as lock info: its first one, or what else is in the way.
pub(super) fn lock_info(standing: &Standing, client: &str) -> Vec<u8> {
    let place = standing.place.map(|place| format!("you are number {place} in the queue"));
    let (mut info, mut extra) = match standing.holders.first() {
        Some(holder) => of_holder(holder, standing),
        None => (of_nobody(standing), Extra::default()),
    };
    let words: Vec<String> = std::iter::once(info.info.clone()).filter(|word| !word.is_empty()).chain(place).collect();
    info.info = words.join("; ");
    extra.queue_position = standing.place.map(u64::from);
    if prints_the_id_alone(client) {
        info.id = shortened(format!("{} ({})", info.id, told(&info)));
    }
    info.encode(&extra)
}

/// The lock info for a lock id that cannot be used again.
pub(super) fn spent(asked: &LockInfo, why: &str) -> Vec<u8> {
    let info = LockInfo { info: why.to_owned(), id: shortened(format!("{} ({why})", asked.id)), ..asked.clone() };
    info.encode(&Extra::default())
}

/// Whether the client says that it reads compressed answers.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    accepted.map(str::trim).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The digest of a document and what is sent of it; none if that could not be made. Either keeps the document's share of the memory for
/// documents in flight.
pub(super) async fn prepared(whole: Whole, zip: bool) -> Option<(HeaderValue, Bytes)> {
    let prepare = move || {
        let digest = HeaderValue::try_from(ContentMd5::of(whole.as_ref()).to_string()).ok()?;
        if !zip {
            return Some((digest, Bytes::from_owner(whole)));
        }
        let plain = whole.as_ref();
        let mut packed = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        packed.write_all(plain).ok()?;
        let bytes = packed.finish().ok()?;
        Some((digest, Bytes::from_owner(Packed { bytes, _share: whole.into_share() })))
    };
    tokio::task::spawn_blocking(prepare).await.ok().flatten()
}

struct Packed {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Packed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn of_holder(holder: &Holder, standing: &Standing) -> (LockInfo, Extra) {
    let labels = &holder.labels;
    let who = if labels.who.is_empty() { holder.principal.as_str() } else { &labels.who };
    let mut words = Vec::new();
    if !labels.run_url.is_empty() {
        words.push(labels.run_url.clone());
    }
    words.push(match holder.remaining(standing.now) {
        _ if !holder.claimed => "offered to it a moment ago".to_owned(),
        Some(left) => format!("ends in {} unless renewed", whole_seconds(left)),
        None => match holder.unattended_since {
            Some(since) => format!("unattended, last sign of life {} ago", whole_seconds(standing.now.since(since))),
            None => "without end".to_owned(),
        },
    });
    if standing.holders.len() > 1 {
        words.push(format!("and {} more hold it", standing.holders.len() - 1));
    }
    let info = LockInfo {
        id: holder.session.to_string(),
        operation: if labels.operation.is_empty() { "lease".to_owned() } else { labels.operation.clone() },
        info: words.join("; "),
        who: if labels.host.is_empty() { who.to_owned() } else { format!("{who}@{}", labels.host) },
        version: labels.tool_version.clone(),
        created: Some(rfc3339(holder.granted)),
        path: String::new(),
    };
    let extra = Extra {
        fencing_token: Some(holder.token.0),
        expires_in: holder.remaining(standing.now),
        run_url: (!labels.run_url.is_empty()).then(|| labels.run_url.clone()),
        ..Extra::default()
    };
    (info, extra)
}

/// Nobody holds it, and still it cannot be had: an id has to stand there, or some clients do not try again.
fn of_nobody(standing: &Standing) -> LockInfo {
    let (id, info) = match (&standing.frozen, standing.cooldown) {
        (Some(reason), _) => ("frozen", format!("no new leases are granted: {reason}")),
        (None, Some(left)) => ("lock-delay", format!("the last holder died or was removed; free in {}", whole_seconds(left))),
        (None, None) => ("queue", format!("{} wait for it", standing.waiting)),
    };
    LockInfo { id: id.to_owned(), operation: "wait".to_owned(), info, who: "leasehold".to_owned(), ..LockInfo::default() }
}

/// Terraform before 1.15 prints `already locked: ID=…` and its own lock info, so the id is all that can tell its user who holds the lock.
/// (OpenTofu from 1.9 on, with numbers below that too, prints everything; there the id is a little long.)
fn prints_the_id_alone(client: &str) -> bool {
    let mut parts = client.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor) < (1, 15),
        _ => false,
    }
}

/// As much as an id with words may have: users paste it back.
fn shortened(id: String) -> String {
    let mut length = 0;
    id.chars()
        .take_while(|char| {
            length += char.len_utf8();
            length <= MAX_TOLD_ID
        })
        .collect()
}

fn told(info: &LockInfo) -> String {
    let operation = info.operation.trim_start_matches("OperationType").to_lowercase();
    let since = info.created.as_ref().map(|created| format!(" since {created}")).unwrap_or_default();
    format!("{operation} by {}{since}; {}", info.who, info.info)
}

fn whole_seconds(span: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(span.as_secs()))
}

fn rfc3339(time: WallTime) -> String {
    let since = Duration::from_millis(u64::try_from(time.0).unwrap_or(0));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// The body that tells of a grant.
struct Telling {
    text: Option<Bytes>,
    lease: Option<Lease>,
}

impl hyper::body::Body for Telling {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(lease) = self.lease.take() {
            lease.told();
        }
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }
}
