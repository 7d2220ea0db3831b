//! The metrics: every name is here, and nowhere else.
//!
//! A scrape sums the shards of each edge into Prometheus families and encodes them. Labels come from files (edge, fault,
//! experiment) or from small fixed sets, so the number of series is bounded by the file.

use super::ConnectionOutcome;
use super::feed::lock;
use super::hub::{EdgeEntry, Shared};
use super::process;
use super::shard::{BucketSum, Counter, DELAY_ERRORS, DURATIONS, MAX_HIT_SERIES, Shard};
use super::watched::{ServiceSeries, Watched};
use crate::decision::Protocol;
use crate::model::Phase;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The metrics in Prometheus's text format.
pub(crate) fn text(shared: &Shared) -> String {
    let mut page = Page::default();
    edges(&mut page, &lock(&shared.edges));
    named(&mut page, shared);
    watched(&mut page, &lock(&shared.watched));
    process::families(shared.started, &mut page);
    prometheus::TextEncoder::new().encode_to_string(&page.0).unwrap_or_default()
}

/// The families of one scrape.
#[derive(Default)]
pub(crate) struct Page(Vec<MetricFamily>);

/// The values of a family's series, each with its labels.
pub(crate) type Values<'a> = Vec<(Vec<(&'a str, &'a str)>, u64)>;

impl Page {
    fn family(&mut self, kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, values: Values<'_>) {
        let floats = values.into_iter().map(|(labels, value)| (labels, value as f64));
        self.counter_f64(name, help, floats);
    }

    pub(crate) fn counter_f64<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let metric = |(pairs, value)| {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            let mut metric = labelled(pairs);
            metric.set_counter(counter);
            metric
        };
        self.family(MetricType::COUNTER, name, help, values.into_iter().map(metric).collect());
    }

    pub(crate) fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let metric = |(pairs, value)| {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(pairs);
            metric.set_gauge(gauge);
            metric
        };
        self.family(MetricType::GAUGE, name, help, values.into_iter().map(metric).collect());
    }

    fn histogram(&mut self, name: &str, help: &str, bounds: &[u64], sums: Vec<(&str, BucketSum)>) {
        let metrics = sums.into_iter().map(|(edge, sum)| {
            let mut seen = 0;
            let bucket = |(bound, count): (&u64, &u64)| {
                seen += count;
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound as f64 / 1e9);
                bucket.set_cumulative_count(seen);
                bucket
            };
            let buckets = bounds.iter().zip(&sum.counts).map(bucket).collect();
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(buckets);
            histogram.set_sample_count(seen + sum.over);
            histogram.set_sample_sum(sum.nanos as f64 / 1e9);
            let mut metric = labelled(vec![("edge", edge)]);
            metric.set_histogram(histogram);
            metric
        });
        let metrics = metrics.collect();
        self.family(MetricType::HISTOGRAM, name, help, metrics);
    }
}

fn labelled(pairs: Vec<(&str, &str)>) -> Metric {
    let label = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    Metric::from_label(pairs.into_iter().map(label).collect())
}

/// One number of an edge.
struct PerEdge {
    name: &'static str,
    help: &'static str,
    read: fn(&Shard) -> u64,
}

const GAUGES: [PerEdge; 3] = [
    PerEdge {
        name: "brownout_requests_in_flight",
        help: "Exchanges that have begun and not ended.",
        read: Shard::in_flight,
    },
    PerEdge {
        name: "brownout_requests_held",
        help: "Exchanges that a fault holds at this moment.",
        read: Shard::held,
    },
    PerEdge {
        name: "brownout_connections_open",
        help: "Open connections of callers.",
        read: Shard::connections,
    },
];

const COUNTERS: [PerEdge; 4] = [
    PerEdge {
        name: "brownout_duplicates_differ_total",
        help: "Answers to copies of a request that were not the answer to the request itself.",
        read: |shard| shard.differ.get(),
    },
    PerEdge {
        name: "brownout_unknown_faults_total",
        help: "Requests that asked by a header field for a fault that the edge does not know.",
        read: |shard| shard.unknown.get(),
    },
    PerEdge {
        name: "brownout_abandoned_requests_total",
        help: "Requests whose caller left before it was answered.",
        read: |shard| shard.abandoned.get(),
    },
    PerEdge {
        name: "brownout_zombie_responses_total",
        help: "Answers of the upstream that came when the caller had left.",
        read: |shard| shard.zombie.get(),
    },
];

fn edges(page: &mut Page, edges: &[EdgeEntry]) {
    requests(page, edges);
    for metric in GAUGES {
        let value = |edge: &EdgeEntry| edge.sum(metric.read) as f64;
        let values = edges.iter().map(|edge| (vec![("edge", edge.labels.name.as_str())], value(edge)));
        page.gauge(metric.name, metric.help, values);
    }
    type Kept = (&'static str, &'static str, fn(&Shard) -> &AtomicI64);
    let kept: [Kept; 2] = [
        ("brownout_store_bytes", "Bytes of answers that are kept for `stale`.", |shard| &shard.stored_bytes),
        ("brownout_store_entries", "Answers that are kept for `stale`.", |shard| &shard.stored_entries),
    ];
    for (name, help, read) in kept {
        // one worker may have put in what another took out: only their sum means something
        let sum = |edge: &EdgeEntry| edge.shards.iter().map(|shard| read(shard).load(Relaxed)).sum::<i64>();
        let values =
            edges.iter().map(|edge| (vec![("edge", edge.labels.name.as_str())], sum(edge).max(0) as f64));
        page.gauge(name, help, values);
    }
    for metric in COUNTERS {
        let value = |edge: &EdgeEntry| edge.sum(metric.read);
        let values = edges.iter().map(|edge| (vec![("edge", edge.labels.name.as_str())], value(edge)));
        page.counter(metric.name, metric.help, values.collect());
    }
    attempts(page, edges);
    let mut connections = Values::new();
    let mut bytes = Values::new();
    for edge in edges {
        let name = edge.labels.name.as_str();
        for outcome in ConnectionOutcome::ALL {
            let count = edge.sum(|shard| shard.closed[outcome as usize].get());
            connections.push((vec![("edge", name), ("outcome", outcome.as_str())], count));
        }
        bytes.push((vec![("edge", name), ("direction", "up")], edge.sum(|shard| shard.bytes_up.get())));
        bytes.push((vec![("edge", name), ("direction", "down")], edge.sum(|shard| shard.bytes_down.get())));
    }
    page.counter(
        "brownout_connections_total",
        "Connections of callers that have ended, by how they ended.",
        connections,
    );
    page.counter(
        "brownout_bytes_total",
        "Payload bytes passed on: up to the upstream, down to the caller.",
        bytes,
    );
    histograms(page, edges);
}

/// Connections of TCP edges are attempts of nothing.
fn attempts(page: &mut Page, edges: &[EdgeEntry]) {
    let values = |read: fn(&EdgeEntry) -> u64| {
        let http = edges.iter().filter(|edge| edge.labels.protocol == Protocol::Http);
        http.map(|edge| (vec![("edge", edge.labels.name.as_str())], read(edge))).collect()
    };
    page.counter(
        "brownout_logical_requests_total",
        "Requests that are not a repetition of an earlier one.",
        values(|edge| edge.logical),
    );
    page.counter(
        "brownout_retries_total",
        "Requests that repeat an earlier one, within a minute.",
        values(|edge| edge.retries),
    );
}

fn requests(page: &mut Page, edges: &[EdgeEntry]) {
    let mut requests = Vec::new();
    let mut hits = Values::new();
    for edge in edges {
        let name = edge.labels.name.as_str();
        for (place, labels) in edge.series.requests.iter().enumerate() {
            let count = edge.sum(|shard| shard.requests.get(place).map_or(0, Counter::get));
            requests.push((name, *labels, labels.code.label(), count));
        }
        for (place, hit) in edge.series.hits.iter().enumerate() {
            let count = edge.sum(|shard| shard.hits.get(place).map_or(0, Counter::get));
            hits.push((vec![("edge", name), ("fault", hit.fault.as_str()), ("action", &hit.action)], count));
        }
        let rest = edge.sum(|shard| shard.hits.get(MAX_HIT_SERIES - 1).map_or(0, Counter::get));
        if rest > 0 {
            hits.push((vec![("edge", name), ("fault", "other"), ("action", "other")], rest));
        }
    }
    let series = requests.iter().map(|(edge, labels, code, count)| {
        let pairs = vec![
            ("edge", *edge),
            ("method", labels.method.as_str()),
            ("code", code.as_ref()),
            ("origin", labels.origin.as_str()),
        ];
        (pairs, *count)
    });
    page.counter(
        "brownout_requests_total",
        "Exchanges that have ended, by the status that the caller was sent and by whose doing it is.",
        series.collect(),
    );
    page.counter(
        "brownout_faults_injected_total",
        "Exchanges in which a fault could be seen, by fault.",
        hits,
    );
}

fn histograms(page: &mut Page, edges: &[EdgeEntry]) {
    let sums = |read: fn(&Shard, &mut BucketSum)| -> Vec<(&str, BucketSum)> {
        let sum = |edge: &'_ EdgeEntry| {
            let mut sum = BucketSum::default();
            edge.shards.iter().for_each(|shard| read(shard, &mut sum));
            sum
        };
        edges
            .iter()
            .map(|edge| (edge.labels.name.as_str(), sum(edge)))
            .filter(|(_, sum)| sum.over > 0 || sum.counts.iter().any(|count| *count > 0))
            .collect()
    };
    page.histogram(
        "brownout_request_duration_seconds",
        "From the head of a request to the last byte of its answer, as the caller sees it.",
        &DURATIONS,
        sums(|shard, sum| shard.took.read(sum)),
    );
    page.histogram(
        "brownout_upstream_duration_seconds",
        "From sending a request to the upstream to the end of its answer.",
        &DURATIONS,
        sums(|shard, sum| shard.upstream_took.read(sum)),
    );
    page.histogram(
        "brownout_fault_delay_error_seconds",
        "How much later than asked an injected delay ended.",
        &DELAY_ERRORS,
        sums(|shard, sum| shard.delay_error.read(sum)),
    );
}

fn named(page: &mut Page, shared: &Shared) {
    let named = lock(&shared.named);
    let flag = |on: bool| f64::from(u8::from(on));
    let faults = named.faults.iter().map(|(name, on)| (vec![("fault", name.as_str())], flag(*on)));
    page.gauge("brownout_fault_active", "Whether a fault is in force.", faults);
    let met = named.expectations.iter().map(|(name, met)| (vec![("name", name.as_str())], flag(*met)));
    page.gauge("brownout_expectation_met", "Whether an expectation is met.", met);
    let tripped = named.guardrails.iter().map(|(name, count)| (vec![("name", name.as_str())], *count));
    page.counter("brownout_guardrail_tripped_total", "Breaches of a guardrail.", tripped.collect());
    if let Some((experiment, now)) = &named.phase {
        let phases = Phase::ALL.iter().map(|phase| {
            (vec![("experiment", experiment.as_str()), ("phase", phase.as_str())], flag(phase == now))
        });
        page.gauge("brownout_phase", "1 for the phase that the experiment is in.", phases);
    }
    page.counter(
        "brownout_events_lost_total",
        "Exchanges that no window shows and events that a reader missed, for want of memory; metrics are exact.",
        vec![(Vec::new(), shared.lost())],
    );
    let build = vec![
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
    ];
    page.gauge("brownout_build_info", "What was built; always 1.", [(build, 1.0)]);
}

fn watched(page: &mut Page, watched: &Watched) {
    let flag = |on: bool| f64::from(u8::from(on));
    let services = || watched.services.iter().map(|(name, service)| (name.as_str(), service));
    let up = services().map(|(name, service)| (vec![("service", name)], flag(service.up)));
    page.gauge("brownout_service_up", "Whether a service is ready.", up);
    let restarts = services().flat_map(|(name, service)| {
        let counts = ServiceSeries::REASONS.iter().zip(service.restarts);
        counts.map(move |(reason, count)| (vec![("service", name), ("reason", reason.as_str())], count))
    });
    page.counter(
        "brownout_service_restarts_total",
        "Starts of a service but the first: after a crash, after a fault, or to change its environment.",
        restarts.collect(),
    );
    let mut drift = Vec::new();
    for (service, series) in services() {
        for (name, differs) in &series.drift {
            drift.push((vec![("service", service), ("name", name.as_str())], flag(*differs)));
        }
    }
    page.gauge(
        "brownout_service_env_drift",
        "1 while the process of a service runs with another value of this variable than the file says.",
        drift,
    );
    let probes = || watched.probes.iter().map(|(name, probe)| (name.as_str(), probe));
    page.counter_f64(
        "brownout_exposure_seconds_total",
        "For how long a probe saw what must not be, from the first wrong answer to the next right one.",
        probes().map(|(name, probe)| (vec![("probe", name)], probe.exposed)),
    );
    let success = probes().filter_map(|(name, probe)| Some((vec![("probe", name)], flag(probe.right?))));
    page.gauge("brownout_probe_success", "Whether the last answer to a probe was right.", success);
}
