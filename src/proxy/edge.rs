//! An edge as the data path sees it: what all workers share, and what each worker has of it.

use super::permits::{Handful, Permits};
use super::route::{Route, Routes};
use super::slot::Slot;
use super::store::Store;
use super::worker::Here;
use crate::decision::Upstream;
use crate::model;
use crate::telemetry::{EdgeId, EdgeRecorder};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// What the workers share of an edge. Never changes but for the slot and the counts of limits.
#[derive(Debug)]
pub struct EdgeShared {
    /// Its number.
    pub id: EdgeId,
    /// Its description.
    pub config: model::Edge,
    /// What is in force.
    pub slot: Slot,
    /// Zero of the clock by which faults are armed.
    pub epoch: Instant,
    /// Requests in flight.
    pub(super) in_flight: Arc<Permits>,
    /// Connections of callers.
    pub(super) connections: Arc<Permits>,
    /// Connections of callers for which there is room: exact, for faults that bound them.
    pub(super) open: AtomicU32,
    /// Who counts them against a bound, one at a time.
    pub(super) counting: Mutex<()>,
    /// Answers that are kept, where the edge keeps any.
    pub(super) store: Option<Store>,
    /// Exchanges that faults hold.
    pub(super) held: AtomicU32,
    /// Workers whose listener is closed by a fault.
    pub(super) refusing: AtomicUsize,
    /// How many workers there are.
    pub(super) workers: usize,
}

impl EdgeShared {
    /// Prepares an edge.
    #[must_use]
    pub fn new(id: EdgeId, config: model::Edge, epoch: Instant, workers: usize, connections: u32) -> Self {
        Self {
            id,
            slot: Slot::default(),
            epoch,
            in_flight: Permits::new(config.max_in_flight, workers),
            connections: Permits::new(connections, workers),
            open: AtomicU32::new(0),
            counting: Mutex::default(),
            store: config.record.map(Store::new),
            held: AtomicU32::new(0),
            refusing: AtomicUsize::new(0),
            workers,
            config,
        }
    }

    /// Whether an outcome counts as failed: the edge's own statuses, or 500 and above and 429.
    #[must_use]
    pub fn fails(&self, status: u16) -> bool {
        match self.config.success.as_slice() {
            [] => status >= 500 || status == 429,
            good => !good.iter().any(|set| set.contains(status)),
        }
    }
}

/// What one worker has of an edge.
#[derive(Debug)]
pub(super) struct EdgeHere {
    pub shared: Arc<EdgeShared>,
    pub recorder: EdgeRecorder,
    pub in_flight: Handful,
    pub connections: Handful,
    pub here: Rc<Here>,
    /// What is under way may be overtaken by a freeze.
    pub overtakes: Cell<bool>,
    /// Exchanges since the last one of which Brownout's own part was measured.
    unmeasured: Cell<u32>,
    routes: Routes,
    /// Where faults lead instead, for as long as something goes there.
    elsewhere: RefCell<Vec<Routes>>,
    worker: usize,
}

impl EdgeHere {
    /// Whether Brownout's own part of this exchange is measured: of one in sixteen, because looking at the clock costs something.
    pub(super) fn measures(&self) -> bool {
        let count = self.unmeasured.get() + 1;
        self.unmeasured.set(count % 16);
        count == 16
    }

    pub(super) fn new(
        shared: Arc<EdgeShared>,
        recorder: EdgeRecorder,
        here: Rc<Here>,
        worker: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            routes: Routes::new(&shared.config.upstreams, worker),
            elsewhere: RefCell::default(),
            worker,
            overtakes: Cell::new(false),
            unmeasured: Cell::new(0),
            in_flight: Handful::new(shared.in_flight.clone()),
            connections: Handful::new(shared.connections.clone()),
            recorder,
            here,
            shared,
        })
    }

    /// The upstream whose turn it is.
    pub(super) fn next_route(&self) -> Rc<Route> {
        self.routes.next()
    }

    /// The one whose turn it is among those that a fault leads to.
    pub(super) fn elsewhere(&self, upstreams: &[Upstream]) -> Rc<Route> {
        let mut known = self.elsewhere.borrow_mut();
        if let Some(routes) = known.iter().find(|routes| routes.lead_to(upstreams)) {
            return routes.next();
        }
        let routes = Routes::new(upstreams, self.worker);
        let route = routes.next();
        known.push(routes);
        route
    }

    /// Tends idle connections, and forgets where nothing goes any more.
    pub(super) fn tick(&self) {
        self.routes.tick();
        self.elsewhere.borrow_mut().retain(|routes| {
            routes.tick();
            routes.are_used()
        });
    }
}
