//! Calls by what was called and how it was answered. Both come from lists of ours: whatever a caller sends, there are no more of them.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::{Frame, SizeHint};
use tonic::Code;

use crate::backend::{Call as Asked, classify};
use crate::counts::{Count, Histogram, Level, TIMES};
use crate::pb::Rpc;
use crate::serve::door::Counts;
use crate::serve::terraform;
use crate::serve::verbs::Page;

/// What is called besides the calls of the protocol and the pages, in the order of [`Beside`].
const OTHERS: [&str; 8] = [
    "Health",
    "Reflection",
    "Terraform.Read",
    "Terraform.Write",
    "Terraform.Lock",
    "Terraform.Unlock",
    "Terraform.other",
    // No call of ours.
    "other",
];

#[derive(Clone, Copy)]
enum Beside {
    Health,
    Reflection,
    Read,
    Write,
    Lock,
    Unlock,
    OddState,
    Nothing,
}

/// How calls are answered: first the codes of gRPC in the order of their numbers, then the statuses of HTTP, then what is none of these.
const CODES: [&str; 37] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "200",
    "400",
    "401",
    "403",
    "404",
    "405",
    "408",
    "409",
    "410",
    "411",
    "413",
    "415",
    "422",
    "423",
    "429",
    "500",
    "503",
    "504",
    // A status that is not in the list.
    "other",
    // Nobody waited for the end.
    "left",
];
const HTTP: usize = 17;
const OTHER: usize = 35;
const LEFT: usize = 36;

/// All that was called, and what is being called.
pub struct Calls {
    kinds: Vec<Kind>,
    /// The place in `kinds` of what is called by one path.
    by_path: HashMap<&'static str, usize>,
    /// The place of the first of [`OTHERS`].
    others: usize,
}

struct Kind {
    method: String,
    codes: [Count; CODES.len()],
    running: Level,
    times: Histogram,
}

/// What is called.
pub(super) struct Called<'a> {
    pub(super) method: &'a str,
    /// Calls whose answer has not ended.
    pub(super) running: u64,
    /// How long it took until answers began, in microseconds.
    pub(super) times: &'a Histogram,
    codes: &'a [Count],
}

impl Default for Calls {
    fn default() -> Self {
        let ours = |path: &str| path.trim_start_matches("/leasehold.v1.").replace("Service/", ".");
        let rpcs = Rpc::ALL.iter().map(|rpc| (rpc.path(), ours(rpc.path())));
        let pages = Page::ALL.iter().map(|page| (page.path(), page.name().to_owned()));
        let named: Vec<_> = rpcs.chain(pages).collect();
        let by_path = named.iter().enumerate().map(|(place, (path, _))| (*path, place)).collect();
        let (others, names) = (named.len(), OTHERS.map(str::to_owned));
        let kinds = named.into_iter().map(|(_, method)| method).chain(names).map(Kind::new).collect();
        Self { kinds, by_path, others }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    /// A call begins.
    pub(in crate::serve) fn begin<B>(counts: &Arc<Counts>, request: &Request<B>) -> Call {
        let kind = counts.calls.place_of(request);
        counts.calls.kinds[kind].running.up();
        Call { counts: Arc::clone(counts), kind, begun: now(), code: LEFT }
    }

    /// What was called at least once.
    pub(super) fn called(&self) -> impl Iterator<Item = Called<'_>> {
        let all = self.kinds.iter().map(|Kind { method, codes, running, times }| Called {
            method: method.as_str(),
            running: running.get(),
            times,
            codes,
        });
        all.filter(|called| called.running > 0 || called.answers().next().is_some())
    }

    fn place_of<B>(&self, request: &Request<B>) -> usize {
        let (path, query) = (request.uri().path(), request.uri().query());
        if let Some(place) = self.by_path.get(path) {
            return *place;
        }
        let other = if path.starts_with("/grpc.health.") {
            Beside::Health
        } else if path.starts_with("/grpc.reflection.") {
            Beside::Reflection
        } else if let Some(state) = path.strip_prefix(terraform::PREFIX) {
            match classify(request.method().as_str(), state.ends_with("/lock"), query) {
                Ok(Asked::Read) => Beside::Read,
                Ok(Asked::Write { .. }) => Beside::Write,
                Ok(Asked::Lock { .. }) => Beside::Lock,
                Ok(Asked::Unlock { .. }) => Beside::Unlock,
                Ok(Asked::Delete { .. }) | Err(_) => Beside::OddState,
            }
        } else {
            Beside::Nothing
        };
        self.others + other as usize
    }
}

impl Called<'_> {
    /// How it was answered, and how often.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(self.codes.iter().map(Count::get)).filter(|(_, count)| *count > 0)
    }
}

impl Kind {
    fn new(method: String) -> Self {
        let (running, times) = (Level::default(), Histogram::new(TIMES));
        Self { method, codes: std::array::from_fn(|_| Count::default()), running, times }
    }
}

/// A call that goes on until this is dropped.
pub(in crate::serve) struct Call {
    counts: Arc<Counts>,
    kind: usize,
    begun: Instant,
    /// How it was answered, by its place in [`CODES`].
    code: usize,
}

impl Call {
    /// The answer begins; the call ends with it.
    pub(in crate::serve) fn answered(mut self, response: Response) -> Response {
        self.counts.calls.kinds[self.kind].times.took(self.begun.elapsed());
        let grpc =
            response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        match grpc_code(response.headers()) {
            Some(code) => self.code = code,
            None if grpc => {}
            None => self.code = http_code(response.status()),
        }
        if response.body().is_end_stream() { response } else { response.map(|body| Body::new(Heard { body, call: self })) }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let kind = &self.counts.calls.kinds[self.kind];
        kind.running.down();
        kind.codes[self.code].one();
    }
}

/// Where gRPC says how it ended: in the headers of an answer that is only an error, otherwise behind the messages.
fn grpc_code(headers: &HeaderMap) -> Option<usize> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()) as usize)
}

fn http_code(status: StatusCode) -> usize {
    let listed = CODES[HTTP..OTHER].iter().position(|code| *code == status.as_str());
    listed.map_or(OTHER, |place| HTTP + place)
}

#[expect(clippy::disallowed_methods, reason = "how long a call took is told to people and decides nothing")]
fn now() -> Instant {
    Instant::now()
}

/// An answer that is heard to its end.
struct Heard {
    body: Body,
    call: Call,
}

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(code) = frame.trailers_ref().and_then(grpc_code)
        {
            self.call.code = code;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str) -> Request<()> {
        Request::builder().method(method).uri(target).body(()).unwrap()
    }

    fn answers(counts: &Counts) -> Vec<(String, Vec<(&'static str, u64)>)> {
        counts.calls.called().map(|called| (called.method.to_owned(), called.answers().collect())).collect()
    }

    #[test]
    fn codes_are_those_of_grpc_in_their_order() {
        for (number, listed) in (0..).zip(&CODES[..HTTP]) {
            let words = format!("{:?}", Code::from_i32(number)).to_ascii_uppercase();
            assert_eq!(words, listed.replace('_', ""), "{number}");
        }
        assert_eq!((CODES[HTTP], CODES[OTHER], CODES[LEFT]), ("200", "other", "left"));
    }

    #[test]
    fn others_are_in_their_places() {
        assert_eq!(OTHERS[Beside::Unlock as usize], "Terraform.Unlock");
        assert_eq!(OTHERS[Beside::Nothing as usize], "other");
    }

    #[test]
    fn path_is_known_or_nothing() {
        for (method, target, known) in [
            ("POST", "/leasehold.v1.LeaseService/Renew", "Lease.Renew"),
            ("POST", "/leasehold.v1.LeaseService/RenewAll", "other"),
            ("POST", "/grpc.health.v1.Health/Check", "Health"),
            ("GET", "/terraform/v1/dev/app", "Terraform.Read"),
            ("POST", "/terraform/v1/dev/app?ID=1", "Terraform.Write"),
            ("POST", "/terraform/v1/dev/app/lock", "Terraform.Lock"),
            ("UNLOCK", "/terraform/v1/dev/app", "Terraform.Unlock"),
            ("BREW", "/terraform/v1/dev/app", "Terraform.other"),
            ("GET", "/metrics", "Metrics"),
            ("GET", "/metrics/", "other"),
            ("GET", "/dev/app", "other"),
        ] {
            let counts = Arc::<Counts>::default();
            drop(Calls::begin(&counts, &request(method, target)));
            assert_eq!(answers(&counts), [(known.to_owned(), vec![("left", 1)])], "{method} {target}");
        }
    }

    #[tokio::test]
    async fn call_runs_until_its_answer_has_ended_and_has_the_code_of_its_end() {
        use http_body_util::{BodyExt, StreamBody};

        let counts = Arc::<Counts>::default();
        let running = || counts.calls.called().map(|called| called.running).sum::<u64>();
        let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "4".parse().unwrap())]);
        let frames = [Frame::data(Bytes::from_static(b"message")), Frame::trailers(trailers)];
        let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, axum::Error>)));
        let stream = Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap();
        let call = Calls::begin(&counts, &request("POST", "/leasehold.v1.WatchService/Watch"));
        let mut body = call.answered(stream).into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!((running(), answers(&counts).len()), (1, 1));
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!((running(), answers(&counts)), (0, vec![("Watch.Watch".to_owned(), vec![("DEADLINE_EXCEEDED", 1)])]));
        let call = Calls::begin(&counts, &request("POST", "/leasehold.v1.WatchService/Watch"));
        drop(call.answered(tonic::Status::not_found("gone").into_http()));
        let call = Calls::begin(&counts, &request("GET", "/teapot"));
        drop(call.answered(Response::builder().status(418).body(Body::from("short and stout")).unwrap()));
        let told = answers(&counts);
        assert_eq!(told[0].1, [("DEADLINE_EXCEEDED", 1), ("NOT_FOUND", 1)]);
        assert_eq!(told[1], ("other".to_owned(), vec![("other", 1)]));
        assert_eq!(running(), 0);
    }
}
