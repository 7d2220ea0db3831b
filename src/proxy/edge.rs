//! An edge as the data path sees it: what all workers share, and what each worker has of it.

use super::permits::{Handful, Permits};
use super::pool::Pool;
use super::slot::Slot;
use super::worker::Here;
use crate::model;
use crate::telemetry::{EdgeId, EdgeRecorder};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
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
    /// The upstreams, prepared.
    pub upstreams: Vec<Target>,
    /// Requests in flight.
    pub(super) in_flight: Arc<Permits>,
    /// Connections of callers.
    pub(super) connections: Arc<Permits>,
    /// Exchanges that faults hold.
    pub(super) held: AtomicU32,
    /// Workers whose listener is closed by a fault.
    pub(super) refusing: AtomicUsize,
    /// How many workers there are.
    pub(super) workers: usize,
}

/// An upstream, prepared: its address if it needs no name service, and its authority as text.
#[derive(Debug)]
pub struct Target {
    /// As the file says.
    pub upstream: model::Upstream,
    /// The address, where the host is one.
    pub address: Option<IpAddr>,
    /// `host:port`.
    pub authority: String,
}

impl EdgeShared {
    /// Prepares an edge.
    #[must_use]
    pub fn new(id: EdgeId, config: model::Edge, epoch: Instant, workers: usize, connections: u32) -> Self {
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| Target {
                address: upstream.host.parse().ok(),
                authority: upstream.authority(),
                upstream: upstream.clone(),
            })
            .collect();
        Self {
            id,
            slot: Slot::default(),
            epoch,
            upstreams,
            in_flight: Permits::new(config.max_in_flight, workers),
            connections: Permits::new(connections, workers),
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
    pub pool: Pool,
    pub in_flight: Handful,
    pub connections: Handful,
    pub here: Rc<Here>,
    next: Cell<usize>,
}

impl EdgeHere {
    pub(super) fn new(
        shared: Arc<EdgeShared>,
        recorder: EdgeRecorder,
        here: Rc<Here>,
        worker: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            pool: Pool::new(shared.upstreams.len()),
            in_flight: Handful::new(shared.in_flight.clone()),
            connections: Handful::new(shared.connections.clone()),
            recorder,
            here,
            next: Cell::new(worker),
            shared,
        })
    }

    /// Whose turn it is: round robin.
    pub(super) fn next_upstream(&self) -> usize {
        let count = self.shared.upstreams.len();
        if count <= 1 {
            return 0;
        }
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        turn % count
    }
}
