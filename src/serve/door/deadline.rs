//! Deadlines of calls: the caller's `grpc-timeout`, the door's own limit on calls that are not streams, and one on bodies that trickle.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::ServiceExt;

use super::Limits;
use super::flood::Allowance;

/// Has `app` answer `request` in time, or answers in its place.
///
/// The caller's deadline covers the whole answer, the door's limit only the time until the answer begins: who downloads slowly
/// is not cut off. A request body has a limit of its own, which runs only while `app` waits for it. Abandoned handlers are dropped; what they have handed to the store may still happen.
pub(super) async fn answer<B>(app: Router, limits: &Limits, allowance: &Allowance, request: Request<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    let is_grpc = is_grpc(request.headers());
    let asked = match grpc_timeout(request.headers()) {
        _ if !is_grpc => None,
        Ok(asked) => asked,
        Err(Malformed) => return malformed().into_http(),
    };
    let mut asked = asked.map(|timeout| Box::pin(sleep(timeout)));
    let limited = !(is_grpc && limits.is_streaming(request.uri().path()));
    let patient = !is_grpc && limits.is_patient(request.uri().path());
    let (version, path) = (request.version(), request.uri().path().to_owned());
    let arrival = Arc::new(Arrival::default());
    let request = request.map(|body| {
        arrival.ended.store(body.is_end_stream(), Ordering::Relaxed);
        let patience = (!limits.is_conversing(&path)).then(|| Patience::new(limits));
        Body::new(Arriving { body, arrival: arrival.clone(), patience })
    });
    let response = tokio::select! {
        biased;
        Ok(response) = app.oneshot(request) => response,
        () = elapsed(&mut asked) => return deadline_exceeded("the time that grpc-timeout allows is over").into_http(),
        () = overdue(limits, &arrival, patient), if limited => return too_slow(limits, is_grpc, version, &arrival),
        () = arrival.trickles.notified() => return too_slow(limits, is_grpc, version, &arrival),
    };
    // Whoever gives a call up is answered too, in vain.
    if !arrival.failed.load(Ordering::Relaxed) {
        allowance.call_answered();
    }
    match asked {
        Some(sleep) => response.map(|body| Body::new(Timed { body, sleep, over: false })),
        None => response,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

struct Malformed;

/// `grpc-timeout`: 1 to 8 digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let Some((unit, digits)) = value.as_bytes().split_last() else { return Err(Malformed) };
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Ok(Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return Err(Malformed),
    }))
}

async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// Completes when the call has had its time.
async fn overdue(limits: &Limits, arrival: &Arrival, patient: bool) {
    let mut waited = Duration::ZERO;
    loop {
        let held_back = patient && arrival.ended.load(Ordering::Relaxed);
        let allowed = match time_allowed(limits, arrival.bytes.load(Ordering::Relaxed)) {
            allowed if held_back => allowed.saturating_add(limits.patience),
            allowed => allowed,
        };
        let missing = allowed.saturating_sub(waited);
        if missing.is_zero() {
            return;
        }
        sleep(missing).await;
        waited = allowed;
    }
}

/// The time of a call whose body has brought this many bytes so far: more for a body that keeps arriving fast enough.
fn time_allowed(limits: &Limits, bytes: u64) -> Duration {
    limits.call.saturating_add(earned(limits.slowest_upload, bytes))
}

fn earned(slowest_upload: u64, bytes: u64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 / slowest_upload as f64).unwrap_or(Duration::MAX)
}

fn too_slow(limits: &Limits, is_grpc: bool, version: Version, arrival: &Arrival) -> Response {
    let ended = arrival.ended.load(Ordering::Relaxed);
    if is_grpc {
        let what = if ended { "the call took longer than the server allows" } else { "the request did not arrive in time" };
        return deadline_exceeded(what).into_http();
    }
    let mut response = if ended {
        let seconds = limits.call.as_secs_f64();
        let text = format!("the server did not finish within {seconds} s: ask for the current state, then try again\n");
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    } else {
        (StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time: send it again, faster\n").into_response()
    };
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn deadline_exceeded(what: &str) -> Status {
    let next = "the call may have taken effect: repeat it with the same request id, or read what is there";
    status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", what, next)
}

fn malformed() -> Status {
    let what = "grpc-timeout is malformed";
    status(Code::InvalidArgument, "BAD_GRPC_TIMEOUT", what, "send 1 to 8 digits and one of the units H M S m u n")
}

fn status(code: Code, reason: &str, what: &str, next: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "leasehold.dev", [("next".to_owned(), next.to_owned())]);
    Status::with_error_details(code, what, details)
}

/// How much of a request body has arrived.
#[derive(Default)]
struct Arrival {
    bytes: AtomicU64,
    ended: AtomicBool,
    /// It broke off.
    failed: AtomicBool,
    /// Told when it has been waited for too long.
    trickles: Notify,
}

/// A request body that counts itself.
struct Arriving<B> {
    body: B,
    arrival: Arc<Arrival>,
    /// None: it may come whenever it likes.
    patience: Option<Patience>,
}

/// How long a body is waited for in all. What its reader does in between is not the sender's fault.
struct Patience {
    limit: Duration,
    slowest_upload: u64,
    waited: Duration,
    /// Since when it is being waited for now.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(limits: &Limits) -> Self {
        let (limit, slowest_upload) = (limits.body, limits.slowest_upload);
        Self { limit, slowest_upload, waited: Duration::ZERO, since: None, timer: Box::pin(sleep(limit)) }
    }

    /// Whether the wait, which goes on, is over for a body that has brought this many bytes.
    fn is_over(&mut self, cx: &mut Context<'_>, bytes: u64) -> bool {
        if self.since.is_none() {
            let now = now();
            let allowed = self.limit.saturating_add(earned(self.slowest_upload, bytes)).saturating_sub(self.waited);
            self.since = Some(now);
            // A timer cannot be set further than this, and needs not be.
            self.timer.as_mut().reset(now + allowed.min(Duration::from_secs(1 << 30)));
        }
        self.timer.as_mut().poll(cx).is_ready()
    }

    fn wait_ends(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += now().duration_since(since);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a body is waited for is no decision about a lease")]
fn now() -> Instant {
    Instant::now()
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let bytes = this.arrival.bytes.load(Ordering::Relaxed);
            if this.patience.as_mut().is_some_and(|patience| patience.is_over(cx, bytes)) {
                this.arrival.trickles.notify_one();
            }
            return Poll::Pending;
        };
        if let Some(patience) = &mut this.patience {
            patience.wait_ends();
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.arrival.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        if matches!(frame, Some(Err(_))) {
            self.arrival.failed.store(true, Ordering::Relaxed);
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.arrival.ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A gRPC answer that ends with DEADLINE_EXCEEDED when its caller's time is over.
struct Timed {
    body: Body,
    sleep: Pin<Box<Sleep>>,
    over: bool,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // The timer goes first: an endless stream that always has something to say would never let it through.
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        self.over = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let status = deadline_exceeded("the time that grpc-timeout allows is over");
        Poll::Ready(Some(match status.add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(axum::Error::new(status)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout_of(value: &'static str) -> Option<Option<Duration>> {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), HeaderValue::from_static(value))]);
        grpc_timeout(&headers).ok()
    }

    #[test]
    fn grpc_timeout_is_read_in_every_unit() {
        assert!(matches!(grpc_timeout(&HeaderMap::new()), Ok(None)));
        assert_eq!(timeout_of("2H"), Some(Some(Duration::from_secs(7_200))));
        assert_eq!(timeout_of("3M"), Some(Some(Duration::from_secs(180))));
        assert_eq!(timeout_of("4S"), Some(Some(Duration::from_secs(4))));
        assert_eq!(timeout_of("500m"), Some(Some(Duration::from_millis(500))));
        assert_eq!(timeout_of("6u"), Some(Some(Duration::from_micros(6))));
        assert_eq!(timeout_of("99999999n"), Some(Some(Duration::from_nanos(99_999_999))));
    }

    #[test]
    fn grpc_timeout_that_is_malformed_is_refused() {
        for value in ["", "S", "5", "5s", "-5S", "+5S", "1.5S", "123456789S", "5 S"] {
            assert_eq!(timeout_of(value), None, "{value:?}");
        }
    }

    #[test]
    fn time_allowed_grows_with_what_has_arrived() {
        let limits = Limits { call: Duration::from_secs(10), slowest_upload: 100, ..Limits::default() };
        assert_eq!(time_allowed(&limits, 0), Duration::from_secs(10));
        assert_eq!(time_allowed(&limits, 500), Duration::from_secs(15));
        let endless = Limits { call: Duration::MAX, slowest_upload: 1, ..Limits::default() };
        assert_eq!(time_allowed(&endless, u64::MAX), Duration::MAX);
    }

    #[tokio::test]
    async fn body_that_trickles_below_the_slowest_upload_is_overdue() {
        let limits = Limits { call: Duration::from_millis(20), slowest_upload: 1 << 20, ..Limits::default() };
        let arrival = Arrival::default();
        let trickle = async {
            loop {
                sleep(Duration::from_millis(1)).await;
                arrival.bytes.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = overdue(&limits, &arrival, false) => {}
            () = trickle => unreachable!("a trickle has no end"),
        }
    }

    /// Answers a call whose body comes from the stream, in virtual time; the status and how long it took.
    async fn answered(limits: &Limits, path: &str, handler: axum::routing::MethodRouter, body: Body) -> (StatusCode, u64) {
        let start = now();
        let app = Router::new().route(path, handler);
        let response = answer(app, limits, &Allowance::default(), Request::post(path).body(body).unwrap()).await;
        (response.status(), start.elapsed().as_secs())
    }

    /// One byte each second, for ever or for some time.
    fn trickle(seconds: usize) -> Body {
        use futures_util::StreamExt;
        let drops = futures_util::stream::repeat(()).then(|()| async {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        });
        Body::from_stream(drops.take(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn body_of_a_byte_a_second_is_cut_after_ten_seconds_whatever_the_call_may_take() {
        let limits = Limits { call: Duration::from_secs(3_600), ..Limits::default() };
        let read = || axum::routing::post(|_: Bytes| async { "read" });
        assert_eq!(answered(&limits, "/", read(), trickle(usize::MAX)).await, (StatusCode::REQUEST_TIMEOUT, 10));
        assert_eq!(answered(&limits, "/", read(), trickle(9)).await, (StatusCode::OK, 9));
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(answered(&limits, "/", read(), never).await, (StatusCode::REQUEST_TIMEOUT, 10));
        let slow_is_enough = Limits { slowest_upload: 1, ..limits.clone() };
        assert_eq!(answered(&slow_is_enough, "/", read(), trickle(600)).await, (StatusCode::OK, 600));
        let talks = Limits { conversing: vec!["/".to_owned()], ..limits };
        assert_eq!(answered(&talks, "/", read(), trickle(600)).await, (StatusCode::OK, 600));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_reader_takes_does_not_count_against_the_body() {
        let limits = Limits { call: Duration::from_secs(3_600), ..Limits::default() };
        let slow_reader = axum::routing::post(|body: Body| async {
            use futures_util::StreamExt;
            let mut pieces = body.into_data_stream();
            for _ in 0..5 {
                sleep(Duration::from_secs(60)).await;
                pieces.next().await.unwrap().unwrap();
            }
            "read"
        });
        assert_eq!(answered(&limits, "/", slow_reader, trickle(5)).await, (StatusCode::OK, 305));
    }
}
