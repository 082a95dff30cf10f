//! The metrics, one after the other. docs/operations.md has a table of them, which a test compares.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::counts::{Engine, Histogram, Shape};
use crate::serve::door::Counts;
use crate::service::{Counted, Service};

/// What is read for a page.
pub struct Sources {
    /// The use cases.
    pub service: Arc<Service>,
    /// What the door counts.
    pub door: Arc<Counts>,
    /// What the engine of the store counts.
    pub engine: Arc<Engine>,
    /// When the server started, in seconds since 1970.
    pub started: f64,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Observations are counted in millionths of what is shown.
const MICRO: f64 = 1e6;

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.server(&mut page)?;
        self.connections(&mut page)?;
        self.calls(&mut page)?;
        let counted = self.service.counted();
        callers(&mut page, &counted)?;
        work(&mut page, &counted)?;
        self.engine(&mut page)
    }
}

impl Sources {
    fn server(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.family("build", "The version that runs.", MetricType::Info)?.encode_info(&version)?;
        page.family("start_time_seconds", "When the server started, in seconds since 1970.", MetricType::Gauge)?
            .encode_gauge(&self.started)
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let door = &self.door;
        page.gauge("connections_open", "Connections that are open.", door.open.get())?;
        page.counter("connections_accepted", "Connections that were taken in.", door.accepted.get())?;
        let refused = [("total", &door.over_total), ("peer", &door.over_peer), ("descriptors", &door.turned_away)]
            .map(|(why, count)| ([("reason", why)], count.get()));
        page.counters("connections_refused", "Connections that were closed at once, by what there was no room in.", refused)?;
        let closed = [
            ("first_frame", &door.timed_out),
            ("tls", &door.untrusted),
            ("flood", &door.flooded),
            ("error", &door.failed),
            ("stop", &door.cut),
        ];
        let closed = closed.map(|(why, count)| ([("reason", why)], count.get()));
        page.counters("connections_failed", "Connections that did not end well, by what they ended with.", closed)?;
        page.counter("accept_errors", "How often no connection could be accepted.", door.accept_errors.get())
    }

    fn calls(&self, page: &mut Page<'_>) -> fmt::Result {
        let called = || self.door.calls.called();
        let answers = called().flat_map(|called| {
            let labels = move |code| [("method", called.method), ("code", code)];
            called.answers().map(move |(code, count)| (labels(code), count)).collect::<Vec<_>>()
        });
        page.counters("calls", "Calls that have ended, by what was called and how it was answered.", answers)?;
        let mut family = page.family("calls_running", "Calls whose answer has not ended.", MetricType::Gauge)?;
        for called in called() {
            family.encode_family(&[("method", called.method)])?.encode_gauge(&called.running)?;
        }
        let help = "How long calls took until their answers began.";
        let mut family = page.family("call_duration_seconds", help, MetricType::Histogram)?;
        for called in called() {
            histogram(&mut family.encode_family(&[("method", called.method)])?, &called.times.shape(MICRO))?;
        }
        Ok(())
    }

    fn engine(&self, page: &mut Page<'_>) -> fmt::Result {
        let Engine { commits, batches, failed, log_bytes, full } = &*self.engine;
        page.histogram("store_commit_duration_seconds", "How long commits took.", commits, MICRO)?;
        page.histogram("store_batch_requests", "How many requests shared a commit.", batches, 1.0)?;
        page.counter("store_commits_failed", "Commits that failed.", failed.get())?;
        page.gauge("store_log_bytes", "Size of the write-ahead log.", log_bytes.get())?;
        page.gauge("store_full", "1: the disk was full at the last try.", full.get())
    }
}

fn callers(page: &mut Page<'_>, counted: &Counted) -> fmt::Result {
    let help = "Calls of somebody who showed nothing valid, or had to wait for having done so too often.";
    page.counter("authentication_failures", help, counted.unauthenticated)?;
    page.counter("refusals", "Calls of principals that have no right to them.", counted.denied)?;
    page.gauge("audit_rows", "Rows of the audit.", counted.audit)?;
    page.gauge("audit_rows_unsigned", "Rows of the audit that no checkpoint is on yet.", counted.unsigned)
}

fn work(page: &mut Page<'_>, counted: &Counted) -> fmt::Result {
    page.gauge("locked", "1: there is no master key, and documents are not served.", u64::from(counted.locked))?;
    page.gauge("store_open", "0: the store has given up, and the server is ending.", u64::from(counted.open))?;
    let (leases, tickets) = counted.holdings.unzip();
    page.gauge("leases", "Leases that are held or offered.", leases)?;
    page.gauge("tickets", "Tickets that wait for a lease.", tickets)?;
    let events = counted.events.map(|(kind, count)| ([("kind", kind.name())], count));
    page.counters("events", "What was committed, by its kind.", events)?;
    page.counter("renewals", "Renewals of leases.", counted.renewals)?;
    let help = "Acquires that had to wait or were refused, since others held the lock.";
    page.counter("contention", help, counted.contention)?;
    page.counter("redacted_reads", "Reads that opened no secret.", counted.redacted)?;
    page.gauge("documents_in_flight_bytes", "Memory that is set aside for documents in flight.", counted.in_flight)?;
    page.gauge("documents_in_flight_limit_bytes", "How much of it there is.", counted.in_flight_most)?;
    page.gauge("rotations_running", "Environments whose keys are being worked on.", counted.rotations)?;
    page.gauge("rotations_stuck", "Environments with a rotation that cannot end, since something does not open.", counted.stuck)
}

/// The page as it is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    /// None: it is not known right now.
    fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<u64>>) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        value.into().map_or(Ok(()), |value| family.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        count(&mut self.family(name, help, MetricType::Counter)?, value)
    }

    fn counters<L: EncodeLabelSet>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, u64)>) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        values.into_iter().try_for_each(|(labels, value)| count(&mut family.encode_family(&labels)?, value))
    }

    fn histogram(&mut self, name: &str, help: &str, of: &Histogram, unit: f64) -> fmt::Result {
        histogram(&mut self.family(name, help, MetricType::Histogram)?, &of.shape(unit))
    }
}

/// Nothing here has labels or examples of its own.
type No<'a> = [(&'a str, &'a str); 0];

fn count(encoder: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    encoder.encode_counter(&value, None::<&Exemplar<No<'_>, f64>>)
}

fn histogram(encoder: &mut MetricEncoder<'_>, shape: &Shape) -> fmt::Result {
    encoder.encode_histogram::<No<'_>>(shape.sum, shape.count, &shape.buckets, None)
}
