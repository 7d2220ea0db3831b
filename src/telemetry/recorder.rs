//! What workers write: counters of their own, and a batch of exchanges for the collector.
//!
//! A [`Recorder`] belongs to one worker thread and an [`EdgeRecorder`] to one edge on it; neither can leave the thread.
//! Nothing here locks, and nothing allocates once a series has been seen and the batch has grown to its usual size.
//! Knows nothing of windows, events or metric names.

use super::collector::{Batch, Message, STALL};
use super::hub::Shared;
use super::shard::{ConnectionOutcome, Shard};
use super::{EdgeId, Ending, Exchange, Hit, Lie, Method, Origin};
use crate::model::Phase;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// A batch of so many exchanges is handed over without waiting for the tick.
const FULL: usize = 512;
/// Statuses 100 to 599, none, and any other.
const CODES: usize = 502;
/// A series that was not looked up yet.
const UNSEEN: u16 = u16::MAX;

/// What one worker thread records with.
#[derive(Debug)]
pub struct Recorder {
    batch: Rc<WorkerBatch>,
    edges: RefCell<Vec<Option<EdgeRecorder>>>,
    ticked: Cell<Instant>,
}

impl Recorder {
    pub(crate) fn new(shared: Arc<Shared>, worker: u64) -> Self {
        let batch = WorkerBatch {
            shared,
            worker,
            exchanges: RefCell::new(Vec::with_capacity(256)),
            bytes: Cell::new(0),
            acknowledged: Cell::new(0),
        };
        Self { batch: Rc::new(batch), edges: RefCell::new(Vec::new()), ticked: Cell::new(Instant::now()) }
    }

    /// What to record with on this edge; the same counters each time it is asked.
    #[must_use]
    pub fn edge(&self, edge: EdgeId) -> EdgeRecorder {
        let mut edges = self.edges.borrow_mut();
        let place = usize::from(edge.0);
        if edges.len() <= place {
            edges.resize(place + 1, None);
        }
        edges[place].get_or_insert_with(|| EdgeRecorder::new(edge, Rc::clone(&self.batch))).clone()
    }

    /// Hands the batch over; to be called every 50 to 100 ms. Whoever is late by a second stood still, and that is told.
    pub fn tick(&self) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.ticked.replace(now));
        if since >= STALL {
            let _ = self.batch.shared.sender.send(Message::Stalled(since));
        }
        self.batch.hand_over();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.batch.hand_over();
        let _ = self.batch.shared.sender.send(Message::Gone(self.batch.worker));
    }
}

/// The exchanges of a worker that the collector has not got yet.
#[derive(Debug)]
struct WorkerBatch {
    shared: Arc<Shared>,
    worker: u64,
    exchanges: RefCell<Vec<Exchange>>,
    bytes: Cell<usize>,
    acknowledged: Cell<u64>,
}

impl WorkerBatch {
    fn push(&self, exchange: Exchange) {
        self.bytes.set(
            self.bytes.get()
                + size_of::<Exchange>()
                + exchange.hits.capacity() * size_of::<Hit>()
                + exchange.lies.iter().map(Lie::bytes).sum::<usize>(),
        );
        let mut exchanges = self.exchanges.borrow_mut();
        exchanges.push(exchange);
        let full = exchanges.len() >= FULL;
        drop(exchanges);
        if full {
            self.hand_over();
        }
    }

    /// Sends the batch, and word that everything before a flush has been sent; a batch too many is counted and dropped.
    fn hand_over(&self) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.is_empty() && epoch == self.acknowledged.get() {
            return;
        }
        let bytes = self.bytes.replace(0);
        let exchanges = if self.shared.reserve(bytes) {
            let empty = self.shared.spare(exchanges.len());
            std::mem::replace(&mut *exchanges, empty)
        } else {
            self.shared.lose(exchanges.len() as u64);
            exchanges.clear();
            Vec::new()
        };
        let bytes = if exchanges.is_empty() { 0 } else { bytes };
        let _ =
            self.shared.sender.send(Message::Batch(Batch { worker: self.worker, epoch, exchanges, bytes }));
        self.acknowledged.set(epoch);
    }
}

impl Drop for WorkerBatch {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Which counter an exchange goes to, remembered by the worker: by method and origin, then by status.
type Places = [[Option<Box<[Cell<u16>; CODES]>>; Origin::ALL.len()]; Method::ALL.len()];

/// What one worker records with on one edge. Clones are the same recorder.
#[derive(Clone, Debug)]
pub struct EdgeRecorder(Rc<EdgeWriter>);

#[derive(Debug)]
struct EdgeWriter {
    edge: EdgeId,
    shard: Arc<Shard>,
    batch: Rc<WorkerBatch>,
    places: RefCell<Places>,
    hits: RefCell<Vec<(Hit, u16)>>,
}

impl EdgeRecorder {
    fn new(edge: EdgeId, batch: Rc<WorkerBatch>) -> Self {
        let shard = batch.shared.new_shard(edge);
        Self(Rc::new(EdgeWriter { edge, shard, batch, places: RefCell::default(), hits: RefCell::default() }))
    }

    /// The edge.
    #[must_use]
    pub fn id(&self) -> EdgeId {
        self.0.edge
    }

    /// The phase to which an exchange that begins now belongs.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.batch.shared.phase()
    }

    /// A caller has connected.
    pub fn opened(&self) {
        self.0.shard.opened.add(1);
    }

    /// A connection has ended; one for each that was opened, also for one that was refused by a limit.
    pub fn closed(&self, outcome: ConnectionOutcome) {
        self.0.shard.closed[outcome as usize].add(1);
    }

    /// An exchange has begun; [`ended`](Self::ended) follows once, however it ends.
    pub fn began(&self) {
        self.0.shard.began.add(1);
    }

    /// So many more (or fewer) exchanges are held by a fault.
    pub fn holding(&self, by: i64) {
        let held = &self.0.shard.held;
        held.store(held.load(Ordering::Relaxed) + by, Ordering::Relaxed);
    }

    /// Answers to copies of a request that were not the answer to the request itself.
    pub fn duplicates_differ(&self, count: u64) {
        self.0.shard.differ.add(count);
    }

    /// A request asked for a fault that this edge does not know.
    pub fn unknown_fault(&self) {
        self.0.shard.unknown.add(1);
    }

    /// So many bytes and answers more (or fewer) are kept.
    pub fn stored(&self, bytes: i64, entries: i64) {
        for (count, by) in [(&self.0.shard.stored_bytes, bytes), (&self.0.shard.stored_entries, entries)] {
            count.store(count.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        }
    }

    /// Payload bytes have passed; told as they pass or at the end, but once: [`ended`](Self::ended) does not count the
    /// bytes of its exchange here.
    pub fn bytes(&self, up: u64, down: u64) {
        self.0.shard.bytes_up.add(up);
        self.0.shard.bytes_down.add(down);
    }

    /// An injected delay came so much later than asked.
    pub fn delay_error(&self, error: Duration) {
        self.0.shard.delay_error.record(error);
    }

    /// An exchange has ended: counted here, and handed on to whoever reads events.
    pub fn ended(&self, exchange: Exchange) {
        let writer = &*self.0;
        let shard = &*writer.shard;
        shard.requests[writer.place(&exchange)].add(1);
        shard.abandoned.add(u64::from(exchange.ending == Ending::CallerLeft));
        shard.zombie.add(u64::from(exchange.zombie.is_some()));
        if exchange.timed {
            shard.took.record(exchange.took);
        }
        if let Some(took) = exchange.upstream_took {
            shard.upstream_took.record(took);
        }
        for hit in &exchange.hits {
            shard.hits[writer.hit_place(hit)].add(1);
        }
        shard.ended.add(1);
        writer.batch.push(exchange);
    }
}

impl EdgeWriter {
    fn place(&self, exchange: &Exchange) -> usize {
        let code = match exchange.status {
            0 => 0,
            status @ 100..=599 => usize::from(status) - 99,
            _ => CODES - 1,
        };
        let mut places = self.places.borrow_mut();
        let row = places[exchange.method as usize][exchange.origin as usize]
            .get_or_insert_with(|| Box::new([const { Cell::new(UNSEEN) }; CODES]));
        let cell = &row[code];
        if cell.get() == UNSEEN {
            cell.set(self.batch.shared.request_series(self.edge, exchange) as u16);
        }
        usize::from(cell.get())
    }

    fn hit_place(&self, hit: &Hit) -> usize {
        let mut hits = self.hits.borrow_mut();
        if let Some((_, place)) = hits.iter().find(|(known, _)| known == hit) {
            return usize::from(*place);
        }
        let place = self.batch.shared.hit_series(self.edge, hit);
        if hits.len() < super::shard::MAX_HIT_SERIES {
            hits.push((hit.clone(), place as u16));
        }
        place
    }
}
