//! What the services know of themselves, for tests.
//!
//! The demo's verdict never comes from here: it is read on the wire.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Counters of all services since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Checkouts that reached the shop.
    pub checkouts: u64,
    /// Product pages that reached the shop.
    pub products: u64,
    /// Calls to payments that the shop gave up.
    pub gateway_timeouts: u64,
    /// Charges that reached payments.
    pub charges: u64,
    /// Charges that failed, for whatever reason.
    pub charges_failed: u64,
    /// Calls of payments to the provider.
    pub provider_calls: u64,
    /// Calls to the provider that payments gave up.
    pub provider_timeouts: u64,
    /// Calls that the open breaker held back.
    pub breaker_refused: u64,
    /// Times the breaker opened from closed.
    pub breaker_opened: u64,
    /// Database connections that payments holds now.
    pub pool_in_use: usize,
    /// The most it held at once.
    pub pool_most: usize,
    /// Units of work that waited for a connection in vain.
    pub pool_gave_up: u64,
    /// The longest that one waited.
    pub pool_longest_wait: Duration,
    /// Requests that reached the provider.
    pub provider_requests: u64,
    /// Charges that the provider made; requests with a known key are no new charge.
    pub provider_charges: u64,
    /// Connections the database holds now.
    pub database_connections: usize,
    /// The most it held at once.
    pub database_most: usize,
    /// Connections it turned away.
    pub database_refused: u64,
    /// When what happened first.
    pub first: Firsts,
}

/// When what happened first, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Firsts {
    /// Payments gave up a call to the provider.
    pub provider_timeout: Option<Duration>,
    /// All connections of the pool were taken.
    pub pool_exhausted: Option<Duration>,
    /// The shop gave up a call to payments.
    pub gateway_timeout: Option<Duration>,
    /// The breaker opened.
    pub breaker_open: Option<Duration>,
}

/// Where the services write it down.
#[derive(Debug)]
pub(super) struct Ledger {
    since: Instant,
    observed: Mutex<Observed>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), observed: Mutex::default() }
    }

    /// Changes the counters; the closure is told the time since the start.
    pub(super) fn note(&self, change: impl FnOnce(&mut Observed, Duration)) {
        let now = self.since.elapsed();
        change(&mut self.observed.lock().unwrap_or_else(PoisonError::into_inner), now);
    }

    pub(super) fn read(&self) -> Observed {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
