//! What is kept of every single exchange for the analysis: when, how long, how it ended, and which logical request it was of.
//!
//! Small and flat, because a run of a minute has tens of thousands of them. Knows nothing of what is read out of it.

use super::{Ending, Origin};
use serde::{Deserialize, Serialize};

/// One exchange that has ended, as the analysis sees it. Health requests are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Passed {
    /// When its head had come (TCP: when it was accepted), in seconds from the start of the run.
    pub began: f64,
    /// How long its caller was in it, in seconds: to the last byte, or to the moment at which the caller left.
    pub took: f64,
    /// For how many seconds the upstream worked on after the caller had left, if it finished for nobody.
    pub zombie: Option<f64>,
    /// From sending to the upstream to the end of its answer, in seconds; `None`: not called, or no answer.
    pub upstream: Option<f64>,
    /// Injected delay, in seconds, as it came about.
    pub held: f64,
    /// The status that the caller was sent; 0: none.
    pub status: u16,
    /// Whose doing the outcome is.
    pub origin: Origin,
    /// How it ended.
    pub ending: Ending,
    /// Whether it failed by the rule of the edge.
    pub failed: bool,
    /// Whether its duration is a sample: no stream, no upgrade, not TCP.
    pub timed: bool,
    /// Whether a fault struck it.
    pub hit: bool,
    /// What makes two exchanges attempts of one logical request.
    pub identity: Identity,
    /// A hash of method and target, query included: a repetition of identity and target is a retry.
    pub target: u32,
    /// Seconds that the answer's `Retry-After` asked to wait.
    pub retry_after: Option<f32>,
}

impl Passed {
    /// When it ended for its caller.
    #[must_use]
    pub fn ended(&self) -> f64 {
        self.began + self.took
    }

    /// Whether the caller gave up.
    #[must_use]
    pub fn left(&self) -> bool {
        self.ending == Ending::CallerLeft
    }
}

/// Which logical request an exchange is an attempt of: where that is read from, and a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// A connection of a TCP edge, or nothing to tell requests apart by.
    None,
    /// The header that the edge's `identity` names, `idempotency-key` or `x-request-id`: the same on every attempt, and maybe
    /// on other edges.
    Given(u64),
    /// The trace id of `traceparent`: one for all that a request of the outermost caller brings about.
    Trace(u64),
    /// Method, target and body: other requests may look the same.
    Fingerprint(u64),
}

/// A line's worth of it: a list is a third of an object.
type Row =
    (f64, f64, u16, Origin, Ending, [u8; 3], Identity, u32, Option<f64>, Option<f64>, f64, Option<f32>);

impl From<Passed> for Row {
    fn from(passed: Passed) -> Self {
        let flags = [passed.failed, passed.timed, passed.hit].map(u8::from);
        (
            passed.began,
            passed.took,
            passed.status,
            passed.origin,
            passed.ending,
            flags,
            passed.identity,
            passed.target,
            passed.zombie,
            passed.upstream,
            passed.held,
            passed.retry_after,
        )
    }
}

impl From<Row> for Passed {
    fn from(row: Row) -> Self {
        let [failed, timed, hit] = row.5.map(|flag| flag != 0);
        Self {
            began: row.0,
            took: row.1,
            status: row.2,
            origin: row.3,
            ending: row.4,
            failed,
            timed,
            hit,
            identity: row.6,
            target: row.7,
            zombie: row.8,
            upstream: row.9,
            held: row.10,
            retry_after: row.11,
        }
    }
}
