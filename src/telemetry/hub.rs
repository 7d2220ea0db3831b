//! The one place where the parts of telemetry meet: who records, who reads, and what is known by name.
//!
//! A [`Telemetry`] owns the collector thread and ends it. Locks here are for the setup, for scrapes and for events; no
//! exchange takes one.

use super::collector::{Collector, Message};
use super::feed::{Feed, Wants, lock};
use super::shard::{COARSE, MAX_REQUEST_SERIES, Series, Shard};
use super::veil::Veil;
use super::watched::Watched;
use super::{EdgeId, Event, Exchange, Hit, Recorder, Stamped, metrics};
use crate::decision::Protocol;
use crate::model::{Phase, StatusSet};
use crate::units::Name;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::Receiver;

/// What batches may take while they wait for the collector, in bytes.
const BATCHES: usize = 64 << 20;
/// Emptied batches that are kept.
const SPARE: usize = 16;
/// How long a flush waits for workers at most.
pub(crate) const FLUSH: Duration = Duration::from_secs(1);
/// All series together, whatever callers send; more only if a file asks for more edges and faults than fit.
const ALL_SERIES: usize = 1_000;
/// Series that do not belong to edges: phase, build, process, faults, guardrails, expectations.
const OTHER_SERIES: usize = 60;
/// Series an edge has whatever happens: histograms, gauges, connections, bytes, attempts.
const EDGE_SERIES: usize = 19 * 2 + 15 + 16;

/// What metrics and judges know of an edge.
#[derive(Clone, Debug)]
pub struct EdgeLabels {
    /// Its name.
    pub name: Name,
    /// What it speaks.
    pub protocol: Protocol,
    /// Statuses that count as success; empty: the usual rule.
    pub success: Vec<StatusSet>,
}

/// One edge: its labels, its series, and the shards of all workers that were ever on it.
#[derive(Debug)]
pub(crate) struct EdgeEntry {
    pub(crate) labels: EdgeLabels,
    pub(crate) series: Series,
    /// Logical requests and retries; counted by the collector.
    pub(crate) logical: u64,
    pub(crate) retries: u64,
    pub(crate) shards: Vec<Arc<Shard>>,
}

impl EdgeEntry {
    pub(crate) fn sum(&self, read: impl Fn(&Shard) -> u64) -> u64 {
        self.shards.iter().map(|shard| read(shard)).sum()
    }
}

/// What is known by name.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) faults: BTreeMap<Name, bool>,
    pub(crate) phase: Option<(Name, Phase)>,
    pub(crate) expectations: BTreeMap<Name, bool>,
    pub(crate) guardrails: BTreeMap<Name, u64>,
}

/// What recorders, collector and readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) feed: Feed,
    /// Counts flushes; workers say with each batch which flush they have seen.
    pub(crate) epoch: AtomicU64,
    /// The last flush that is done.
    pub(crate) flushed: (Mutex<u64>, Condvar),
    pub(crate) edges: Mutex<Vec<EdgeEntry>>,
    pub(crate) named: Mutex<Named>,
    veil: Mutex<Veil>,
    pub(crate) watched: Mutex<Watched>,
    pub(crate) started: SystemTime,
    pub(crate) sender: Sender<Message>,
    phase: AtomicU8,
    waiting: AtomicUsize,
    /// Emptied batches, for workers to fill again.
    spare: Mutex<Vec<Vec<Exchange>>>,
    lost: AtomicU64,
}

impl Shared {
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Relaxed))
    }

    /// A new shard on an edge, for one worker.
    pub(crate) fn new_shard(&self, edge: EdgeId) -> Arc<Shard> {
        let shard = Arc::new(Shard::new());
        if let Some(entry) = lock(&self.edges).get_mut(usize::from(edge.0)) {
            entry.shards.push(Arc::clone(&shard));
        }
        shard
    }

    /// The counter of an exchange; a new series only while there is room for one.
    pub(crate) fn request_series(&self, edge: EdgeId, exchange: &Exchange) -> usize {
        let mut edges = lock(&self.edges);
        let count = edges.len().max(1);
        let hits: usize = edges.iter().map(|entry| entry.series.hits.len()).sum();
        let named = {
            let named = lock(&self.named);
            named.faults.len() + named.expectations.len() + named.guardrails.len()
        } + lock(&self.watched).series();
        let fixed = OTHER_SERIES + named.max(OTHER_SERIES / 2) + hits + count * (EDGE_SERIES + COARSE);
        let room = (ALL_SERIES.saturating_sub(fixed) / count).min(MAX_REQUEST_SERIES - COARSE);
        edges.get_mut(usize::from(edge.0)).map_or(0, |entry| entry.series.request(exchange, room))
    }

    /// The counter of a hit.
    pub(crate) fn hit_series(&self, edge: EdgeId, hit: &Hit) -> usize {
        lock(&self.edges).get_mut(usize::from(edge.0)).map_or(0, |entry| entry.series.hit(hit))
    }

    /// Takes room for a batch; `false` if there is none.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= BATCHES;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// Gives the room of a batch back.
    pub(crate) fn release(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An empty batch: one that was used before, if it is to be had without waiting.
    pub(crate) fn spare(&self, size: usize) -> Vec<Exchange> {
        let spare = self.spare.try_lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| Vec::with_capacity(size))
    }

    /// A batch that has been read.
    pub(crate) fn give_back(&self, mut exchanges: Vec<Exchange>) {
        exchanges.clear();
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE && exchanges.capacity() > 0 {
            spare.push(exchanges);
        }
    }

    /// Counts exchanges that no window will show.
    pub(crate) fn lose(&self, exchanges: u64) {
        self.lost.fetch_add(exchanges, Ordering::Relaxed);
    }

    /// Exchanges that no window shows, and events that a reader missed.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.feed.missed()
    }
}

/// Everything that is counted and told.
#[derive(Debug)]
pub struct Telemetry {
    shared: Arc<Shared>,
    workers: AtomicU64,
    collector: Mutex<Option<JoinHandle<()>>>,
}

impl Telemetry {
    /// Starts the collector; it ends with [`stop`](Self::stop), or when this is dropped.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let (sender, receiver) = channel();
        let shared = Arc::new(Shared {
            feed: Feed::new(),
            epoch: AtomicU64::new(0),
            flushed: (Mutex::new(0), Condvar::new()),
            edges: Mutex::default(),
            named: Mutex::default(),
            veil: Mutex::default(),
            watched: Mutex::default(),
            started: SystemTime::now(),
            sender,
            phase: AtomicU8::new(0),
            waiting: AtomicUsize::new(0),
            spare: Mutex::default(),
            lost: AtomicU64::new(0),
        });
        let collector = Collector::new(Arc::clone(&shared), receiver);
        let thread = std::thread::Builder::new().name("collector".into()).spawn(move || collector.run());
        if let Err(error) = &thread {
            tracing::error!("no thread for the collector: {error}; there will be metrics, but no events");
        }
        Arc::new(Self { shared, workers: AtomicU64::new(0), collector: Mutex::new(thread.ok()) })
    }

    /// Makes an edge known. An edge of a name that is known already (a reload) is the same edge and goes on counting.
    pub fn add_edge(&self, labels: EdgeLabels) -> EdgeId {
        let mut edges = lock(&self.shared.edges);
        let place = edges.iter().position(|known| known.labels.name == labels.name).unwrap_or(edges.len());
        match edges.get_mut(place) {
            Some(known) => known.labels = labels,
            None => edges.push(EdgeEntry {
                labels,
                series: Series::default(),
                logical: 0,
                retries: 0,
                shards: Vec::new(),
            }),
        }
        EdgeId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// What one worker thread records with.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> Recorder {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed);
        let _ = self.shared.sender.send(Message::Joined(worker));
        Recorder::new(Arc::clone(&self.shared), worker)
    }

    /// The phase to which exchanges that begin now belong.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// Exchanges that begin from now on belong to this phase.
    pub fn set_phase(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Time counts from now; until then, from when this was made.
    pub fn start_clock(&self) {
        self.shared.feed.start_clock();
    }

    /// Seconds since the start.
    #[must_use]
    pub fn now(&self) -> f64 {
        self.shared.feed.at(tokio::time::Instant::now())
    }

    /// These values are not told to anybody from now on, in whatever text they stand.
    pub fn hide(&self, values: impl IntoIterator<Item = String>) {
        lock(&self.shared.veil).hide(values);
    }

    /// A text without the values that are hidden.
    #[must_use]
    pub fn covered(&self, text: &str) -> String {
        lock(&self.shared.veil).cover(text)
    }

    /// Tells everybody, with the time of now.
    pub fn publish(&self, event: Event) {
        let event = lock(&self.shared.veil).over(event);
        if matches!(event, Event::Service { .. } | Event::Probe { .. }) {
            lock(&self.shared.watched).take(&event, tokio::time::Instant::now());
        }
        self.shared.feed.publish(event);
    }

    /// Every event from now on, in order, among them a window of each busy edge every 250 ms. The queue is bounded (65 536
    /// events, see `feed`); it ends after [`stop`](Self::stop).
    #[must_use]
    pub fn subscribe(&self) -> Receiver<Arc<Stamped>> {
        self.shared.feed.subscribe(Wants::All)
    }

    /// The same without [`Event::Passed`]: for those who read for hours and judge by windows.
    #[must_use]
    pub fn subscribe_to_windows(&self) -> Receiver<Arc<Stamped>> {
        self.shared.feed.subscribe(Wants::NoPassed)
    }

    /// Waits until everything that workers recorded before this call is folded and published. Takes until their next
    /// tick, a second at most; blocks, so a worker must not call it.
    pub fn flush(&self) {
        let epoch = self.shared.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        if self.shared.sender.send(Message::Flush(epoch)).is_err() {
            return;
        }
        let (done, told) = &self.shared.flushed;
        let _ = told.wait_timeout_while(lock(done), FLUSH, |done| *done < epoch);
    }

    /// The metrics in Prometheus's text format, exact at this instant.
    #[must_use]
    pub fn gather(&self) -> String {
        metrics::text(&self.shared)
    }

    /// A fault is in force, or known and not in force.
    pub fn fault_active(&self, fault: &Name, active: bool) {
        lock(&self.shared.named).faults.insert(fault.clone(), active);
    }

    /// A fault is not known any more.
    pub fn fault_gone(&self, fault: &Name) {
        lock(&self.shared.named).faults.remove(fault);
    }

    /// The phase of an experiment, for its gauge.
    pub fn phase_gauge(&self, experiment: &Name, phase: Phase) {
        lock(&self.shared.named).phase = Some((experiment.clone(), phase));
    }

    /// Whether an expectation is met; `None` if nobody can tell: then there is no series.
    pub fn expectation_met(&self, name: &Name, met: Option<bool>) {
        let mut named = lock(&self.shared.named);
        match met {
            Some(met) => named.expectations.insert(name.clone(), met),
            None => named.expectations.remove(name),
        };
    }

    /// There is such a guardrail: its counter begins at zero.
    pub fn guardrail_known(&self, name: &Name) {
        lock(&self.shared.named).guardrails.entry(name.clone()).or_default();
    }

    /// A guardrail was breached.
    pub fn guardrail_tripped(&self, name: &Name) {
        *lock(&self.shared.named).guardrails.entry(name.clone()).or_default() += 1;
    }

    /// Exchanges of an edge that have begun and not ended.
    #[must_use]
    pub fn in_flight(&self, edge: EdgeId) -> u64 {
        self.sum(edge, Shard::in_flight)
    }

    /// Exchanges of an edge that faults hold.
    #[must_use]
    pub fn held(&self, edge: EdgeId) -> u64 {
        self.sum(edge, Shard::held)
    }

    /// Open connections of callers to an edge.
    #[must_use]
    pub fn connections(&self, edge: EdgeId) -> u64 {
        self.sum(edge, Shard::connections)
    }

    /// For tests of what lies behind.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn sum(&self, edge: EdgeId, read: impl Fn(&Shard) -> u64) -> u64 {
        lock(&self.shared.edges).get(usize::from(edge.0)).map_or(0, |entry| entry.sum(read))
    }

    /// Publishes what has come so far, ends the collector and every subscription. Once is enough, twice does no harm.
    pub fn stop(&self) {
        if let Some(thread) = lock(&self.collector).take() {
            let _ = self.shared.sender.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.stop();
    }
}
