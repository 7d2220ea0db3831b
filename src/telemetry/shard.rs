//! The counters of one worker on one edge, and the table that says which series they are.
//!
//! A [`Shard`] has one writer, its worker, so adding is a plain load and store, and any number of readers: a scrape sums the
//! shards of an edge. A counter is found by a number that the edge's [`Series`] hands out once per label set, under a lock,
//! off the usual path. The tables are bounded, whatever callers and upstreams send: see [`Series::request`].
//! Knows nothing of what the numbers are called.

use super::{Exchange, Hit, Method, Origin};
use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// At most so many `requests_total` series on one edge.
pub(crate) const MAX_REQUEST_SERIES: usize = 256;
/// At most so many `faults_injected_total` series on one edge; the last one takes what comes after.
pub(crate) const MAX_HIT_SERIES: usize = 64;
/// Kept for the coarsest series, one per class and origin, so that an exchange always finds one.
pub(crate) const COARSE: usize = 7 * 4;

/// Statuses that services send in earnest, and 0 for none; all others are unusual.
const USUAL: [u16; 34] = [
    0, 101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409,
    410, 412, 413, 415, 422, 425, 429, 431, 500, 501, 502, 503, 504,
];

/// Upper bounds of the duration histograms, in nanoseconds: 0.5 ms to 60 s.
pub(crate) const DURATIONS: [u64; 16] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Upper bounds of the histogram of delay errors, in nanoseconds: 50 µs to 1 s.
pub(crate) const DELAY_ERRORS: [u64; 12] = [
    50_000,
    100_000,
    150_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];

/// How a connection from a caller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOutcome {
    /// Closed in order, by either side.
    Ok,
    /// Closed by a limit of time: header, idle, draining.
    Timeout,
    /// Reset by the caller.
    Reset,
    /// Broken in any other way, such as a malformed request.
    Error,
    /// Not served, because the edge has its limit of connections.
    RefusedLimit,
    /// Cut by a fault.
    Injected,
}

impl ConnectionOutcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Timeout, Self::Reset, Self::Error, Self::RefusedLimit, Self::Injected];

    /// As metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Error => "error",
            Self::RefusedLimit => "refused_limit",
            Self::Injected => "injected",
        }
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the worker that owns the shard may call it.
    pub(crate) fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// What it stands at.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Durations counted by fixed buckets; one writer.
#[derive(Debug)]
pub(crate) struct Buckets<const N: usize> {
    bounds: &'static [u64; N],
    counts: [Counter; N],
    over: Counter,
    nanos: Counter,
}

impl<const N: usize> Buckets<N> {
    pub(crate) fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| Counter::default()),
            over: Counter::default(),
            nanos: Counter::default(),
        }
    }

    pub(crate) fn record(&self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        let place = self.bounds.partition_point(|bound| *bound < nanos);
        self.counts.get(place).unwrap_or(&self.over).add(1);
        self.nanos.add(nanos);
    }

    /// Adds what was counted to a sum.
    pub(crate) fn read(&self, into: &mut BucketSum) {
        into.counts.resize(N, 0);
        for (sum, count) in into.counts.iter_mut().zip(&self.counts) {
            *sum += count.get();
        }
        into.over += self.over.get();
        into.nanos += u128::from(self.nanos.get());
    }
}

/// The buckets of all shards of an edge, summed.
#[derive(Debug, Default)]
pub(crate) struct BucketSum {
    /// Per bucket, not cumulative.
    pub(crate) counts: Vec<u64>,
    /// Beyond the last bound.
    pub(crate) over: u64,
    /// The sum of all values.
    pub(crate) nanos: u128,
}

/// The counters of one worker on one edge.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) began: Counter,
    pub(crate) ended: Counter,
    pub(crate) held: AtomicI64,
    pub(crate) opened: Counter,
    pub(crate) closed: [Counter; ConnectionOutcome::ALL.len()],
    pub(crate) bytes_up: Counter,
    pub(crate) bytes_down: Counter,
    pub(crate) abandoned: Counter,
    pub(crate) zombie: Counter,
    pub(crate) differ: Counter,
    pub(crate) unknown: Counter,
    pub(crate) stored_bytes: AtomicI64,
    pub(crate) stored_entries: AtomicI64,
    pub(crate) took: Buckets<16>,
    pub(crate) upstream_took: Buckets<16>,
    pub(crate) delay_error: Buckets<12>,
    pub(crate) requests: Box<[Counter]>,
    pub(crate) hits: Box<[Counter]>,
}

impl Shard {
    pub(crate) fn new() -> Self {
        let counters = |n: usize| (0..n).map(|_| Counter::default()).collect();
        Self {
            began: Counter::default(),
            ended: Counter::default(),
            held: AtomicI64::new(0),
            opened: Counter::default(),
            closed: std::array::from_fn(|_| Counter::default()),
            bytes_up: Counter::default(),
            bytes_down: Counter::default(),
            abandoned: Counter::default(),
            zombie: Counter::default(),
            differ: Counter::default(),
            unknown: Counter::default(),
            stored_bytes: AtomicI64::new(0),
            stored_entries: AtomicI64::new(0),
            took: Buckets::new(&DURATIONS),
            upstream_took: Buckets::new(&DURATIONS),
            delay_error: Buckets::new(&DELAY_ERRORS),
            requests: counters(MAX_REQUEST_SERIES),
            hits: counters(MAX_HIT_SERIES),
        }
    }

    /// Exchanges that began and did not end. What ended is read first, so that it is never below zero.
    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.ended.get();
        self.began.get().saturating_sub(ended)
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> u64 {
        let closed = self.closed.iter().map(Counter::get).sum();
        self.opened.get().saturating_sub(closed)
    }

    /// Exchanges held by faults at this moment.
    pub(crate) fn held(&self) -> u64 {
        u64::try_from(self.held.load(Relaxed)).unwrap_or(0)
    }
}

/// What the `code` label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// No status was sent.
    None,
    /// A status from 100 to 599.
    Exact(u16),
    /// A class, once an edge has used up its exact ones.
    Class(u16),
    /// A number that is no status.
    Other,
}

impl Code {
    pub(crate) fn of(status: u16) -> Self {
        match status {
            0 => Self::None,
            100..=599 => Self::Exact(status),
            _ => Self::Other,
        }
    }

    fn coarse(self) -> Self {
        match self {
            Self::Exact(status) => Self::Class(status / 100),
            other => other,
        }
    }

    pub(crate) fn label(self) -> Cow<'static, str> {
        match self {
            Self::None => Cow::Borrowed("0"),
            Self::Exact(status) => Cow::Owned(status.to_string()),
            Self::Class(class) => Cow::Owned(format!("{class}xx")),
            Self::Other => Cow::Borrowed("other"),
        }
    }
}

/// The labels of one `requests_total` series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLabels {
    pub(crate) method: Method,
    pub(crate) code: Code,
    pub(crate) origin: Origin,
}

/// Which series an edge has: the place in this table is the place of the counter in every shard of the edge.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) requests: Vec<RequestLabels>,
    pub(crate) hits: Vec<Hit>,
    fine: usize,
    rare: usize,
}

impl Series {
    /// The counter of these labels. `room` is how many series the edge may have beside its coarse ones.
    ///
    /// Up to three quarters of the room go to exact status codes, of these a third at most to unusual ones, so that a caller
    /// who makes an upstream answer with every number there is does not take the room of `200`. Further codes share one
    /// series per method and class (`4xx`), and when all room is gone, one per class, with the method `OTHER`: those are
    /// 7 x 4 at most, and no exchange goes uncounted.
    pub(crate) fn request(&mut self, exchange: &Exchange, room: usize) -> usize {
        let room = room.min(MAX_REQUEST_SERIES - COARSE);
        let exact = RequestLabels {
            method: exchange.method,
            code: Code::of(exchange.status),
            origin: exchange.origin,
        };
        let class = RequestLabels { code: exact.code.coarse(), ..exact };
        let coarsest = RequestLabels { method: Method::Other, ..class };
        let unusual = !USUAL.contains(&exchange.status);
        for (labels, limit) in [(exact, room * 3 / 4), (class, room)] {
            if let Some(place) = self.requests.iter().position(|known| *known == labels) {
                return place;
            }
            let rare = unusual && labels == exact && labels != class;
            if self.fine < limit && !(rare && self.rare >= room / 4) {
                self.fine += 1;
                self.rare += usize::from(rare);
                return self.push(labels);
            }
        }
        self.requests.iter().position(|known| *known == coarsest).unwrap_or_else(|| self.push(coarsest))
    }

    fn push(&mut self, labels: RequestLabels) -> usize {
        self.requests.push(labels);
        self.requests.len() - 1
    }

    /// The counter of this fault and action; when there are too many, the shared last one.
    pub(crate) fn hit(&mut self, hit: &Hit) -> usize {
        if let Some(place) = self.hits.iter().position(|known| known == hit) {
            return place;
        }
        if self.hits.len() < MAX_HIT_SERIES - 1 {
            self.hits.push(hit.clone());
            return self.hits.len() - 1;
        }
        MAX_HIT_SERIES - 1
    }
}
