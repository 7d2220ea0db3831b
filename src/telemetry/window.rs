//! What one edge did in a quarter of a second, by the phase to which its exchanges belong.

use super::{Ending, Exchange, Histogram, Origin};
use crate::model::Phase;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An edge, by the order in which edges were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EdgeId(pub u16);

/// Counts of exchanges that ended within one window. Sums of windows are windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// The edge.
    pub edge: u16,
    /// The phase in which the exchanges began.
    pub phase: Option<Phase>,
    /// Judged exchanges: neither injected, nor health requests.
    pub requests: u64,
    /// Of these, the failed ones (FORMAT: status >= 500 or 429, incomplete, caller left; TCP: no connection, or a reset).
    pub failed: u64,
    /// Exchanges whose outcome Brownout made itself; not in `requests`.
    pub injected: u64,
    /// Of the injected ones, those that a caller sees as failed.
    pub injected_failed: u64,
    /// Health requests; in none of the other counts.
    pub health: u64,
    /// All but health, by origin of the outcome.
    pub by_origin: BTreeMap<Origin, u64>,
    /// Judged exchanges by status (0: none was sent).
    #[serde(with = "super::histogram::by_number")]
    pub by_status: BTreeMap<u16, u64>,
    /// Injected exchanges by status.
    #[serde(with = "super::histogram::by_number")]
    pub injected_by_status: BTreeMap<u16, u64>,
    /// Durations of judged exchanges, head to last byte, without streams, upgrades and TCP.
    pub durations: Histogram,
    /// The same of injected ones.
    pub injected_durations: Histogram,
    /// The most exchanges in flight at once that was seen.
    pub in_flight: u64,
    /// The most connections open at once that was seen.
    pub connections: u64,
    /// Callers that left before they were answered.
    pub abandoned: u64,
    /// Answers of the upstream that came when the caller had left.
    pub zombie: u64,
    /// Answers to copies of requests that were not the answers to the requests themselves.
    #[serde(skip_serializing_if = "is_none")]
    pub duplicates_differ: u64,
    /// Logical requests whose first attempt this is: of HTTP exchanges whose request was read, health requests left out,
    /// injected outcomes included.
    #[serde(skip_serializing_if = "is_none")]
    pub logical: u64,
    /// Further attempts of logical requests.
    #[serde(skip_serializing_if = "is_none")]
    pub retries: u64,
    /// Payload bytes towards the upstream.
    pub bytes_up: u64,
    /// Payload bytes towards the caller.
    pub bytes_down: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Window {
    /// Counts an exchange.
    pub fn add(&mut self, exchange: &Exchange) {
        self.bytes_up += exchange.bytes_up;
        self.bytes_down += exchange.bytes_down;
        if exchange.health {
            self.health += 1;
            return;
        }
        *self.by_origin.entry(exchange.origin).or_default() += 1;
        self.abandoned += u64::from(exchange.ending == Ending::CallerLeft);
        self.zombie += u64::from(exchange.zombie.is_some());
        let injected = exchange.origin == Origin::Injected;
        let (count, failed, by_status, durations) = if injected {
            (
                &mut self.injected,
                &mut self.injected_failed,
                &mut self.injected_by_status,
                &mut self.injected_durations,
            )
        } else {
            (&mut self.requests, &mut self.failed, &mut self.by_status, &mut self.durations)
        };
        *count += 1;
        *failed += u64::from(exchange.failed);
        *by_status.entry(exchange.status).or_default() += 1;
        if exchange.timed {
            durations.record(exchange.took);
        }
    }

    /// Adds another window of the same edge: counts are summed, gauges keep the larger.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.injected += other.injected;
        self.injected_failed += other.injected_failed;
        self.health += other.health;
        for (mine, theirs) in [
            (&mut self.by_status, &other.by_status),
            (&mut self.injected_by_status, &other.injected_by_status),
        ] {
            for (status, count) in theirs {
                *mine.entry(*status).or_default() += count;
            }
        }
        for (origin, count) in &other.by_origin {
            *self.by_origin.entry(*origin).or_default() += count;
        }
        self.durations.merge(&other.durations);
        self.injected_durations.merge(&other.injected_durations);
        self.in_flight = self.in_flight.max(other.in_flight);
        self.connections = self.connections.max(other.connections);
        self.abandoned += other.abandoned;
        self.zombie += other.zombie;
        self.duplicates_differ += other.duplicates_differ;
        self.logical += other.logical;
        self.retries += other.retries;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
    }
}
