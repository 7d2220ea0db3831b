//! What really happened in a simulated run, and what of it could be seen from the wire.

/// The truth of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// As the edges of the system.
    pub(crate) edges: Vec<EdgeTruth>,
    /// The edges into what was ill.
    pub(crate) sources: Vec<usize>,
    /// When it fell ill, and when it was healed.
    pub(crate) ill: (f64, f64),
}

/// What happened on one edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct EdgeTruth {
    /// Calls that ended by the caller's own timeout.
    pub(crate) timeouts: u32,
    /// Logical calls that used all their retries up, or succeeded in none, with nobody cutting them short.
    pub(crate) exhausted: u32,
    /// How often the breaker opened.
    pub(crate) opened: u32,
    /// How often it opened from closed.
    pub(crate) tripped: u32,
    /// How often it did with at most three failures between the last start and the first refusal.
    pub(crate) distinct: u32,
    /// How often a lone trial failed, and the next one came at once when its time was over.
    pub(crate) reopened: u32,
    /// Calls that it refused.
    pub(crate) refused: u32,
    /// Seconds for which the pool was full while calls waited, in stretches of a second and more.
    pub(crate) full: f64,
    /// Logical calls that failed, and of those, whose caller answered well.
    pub(crate) failed: u32,
    pub(crate) covered: u32,
    /// Attempts and logical calls by phase: baseline, fault, recovery.
    pub(crate) attempts: [u64; 3],
    pub(crate) logical: [u64; 3],
    /// The first second of which at least 60 % of the exchanges that began in it were bad.
    pub(crate) onset: Option<f64>,
    /// Of an ill edge: since when, to the end, under 10 % (half) of the exchanges that began in any second were bad. `None`: never.
    pub(crate) well_since: Option<f64>,
    pub(crate) half_since: Option<f64>,
}
