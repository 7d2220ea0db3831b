//! What an analysis says. It stands in `report.json` as it is; times are seconds, ratios 0 to 1 or times the baseline.

use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    /// When each edge left its own baseline band, the earliest first. Seconds from the start of the fault phase.
    pub cascade: Vec<Onset>,
    /// The edges with traffic that never left their band: beyond the blast radius.
    pub unmoved: Vec<String>,
    /// The edges of which nothing can be said, and why.
    pub unjudged: BTreeMap<String, String>,
    /// Whether each edge came back after heal.
    pub recovery: Vec<Recovery>,
    /// Attempts per logical request on each HTTP edge, by phase.
    pub amplification: Vec<Amplified>,
    /// What each caller is made of, as far as it showed.
    pub fingerprints: Vec<Fingerprint>,
    /// What a fault with an untouched share of the same traffic caused.
    pub control: Vec<Control>,
    /// What Brownout has to say of itself.
    pub honesty: Honesty,
    /// What a reader should know beside: stalls, thinned traffic, a load that waits for answers.
    pub cautions: Vec<String>,
}

/// An edge that left its baseline band.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Onset {
    /// The edge.
    pub edge: String,
    /// When, in seconds from the start of the fault phase.
    pub at: f64,
    /// By what it showed first.
    pub signal: Signal,
    /// What that was on the baseline, in the unit of the signal.
    pub baseline: f64,
    /// What it was at the onset.
    pub observed: f64,
    /// This edge is a source, not a symptom: none that it depends on was ill before it.
    pub source: bool,
    /// Of a symptom: the ill edge below it that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Faults that were in force on this edge at that time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// In words.
    pub evidence: String,
}

/// What left its band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Exchanges fail: a share.
    Errors,
    /// Exchanges take longer, those under way included: seconds.
    Latency,
    /// More exchanges at once: a count.
    InFlight,
    /// More, or fewer, requests: per second.
    Rate,
    /// More connections: a count.
    Connections,
}

/// How an edge came back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// The edge.
    pub edge: String,
    /// Whether it did.
    pub state: Recovered,
    /// Seconds from the end of heal until it was back, and stayed so.
    pub within: Option<f64>,
    /// What came over it meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surge: Option<Surge>,
    /// Of one that does not recover by itself: what keeps it ill, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sustained_by: Option<String>,
}

/// Whether an edge came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovered {
    /// It did.
    Recovered,
    /// It did not, within the recovery phase.
    Not,
    /// Nobody can tell: it was never ill, had no traffic, or the phase was too short.
    Unmeasured,
}

/// A rate above the baseline's after heal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Surge {
    /// The highest rate, as a multiple of the baseline's.
    pub height: f64,
    /// For how many seconds it was above the band.
    pub width: f64,
}

/// Attempts and logical requests of an edge in one phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Amplified {
    /// The edge.
    pub edge: String,
    /// The phase.
    pub phase: &'static str,
    /// Attempts.
    pub attempts: u64,
    /// Logical requests.
    pub logical: u64,
    /// Attempts per logical request; `null`: none.
    pub amplification: Option<f64>,
    /// Logical requests by their number of attempts.
    pub histogram: BTreeMap<u32, u64>,
    /// Medians of the gaps between attempts, in seconds: end of one to start of the next.
    pub backoff: Vec<f64>,
    /// Gaps are spread out rather than all alike; `null`: too few to tell.
    pub jittered: Option<bool>,
    /// The share of retries that waited as long as `Retry-After` asked; `null`: nobody asked.
    pub retry_after_honoured: Option<f64>,
}

/// What the caller of an edge is made of, as far as it showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fingerprint {
    /// The edge; the caller is its `from`.
    pub edge: String,
    /// After how many seconds it gives an attempt up.
    pub timeout: Option<f64>,
    /// How many times it tries again.
    pub retries: Option<u32>,
    /// How long it pauses before each further attempt, in seconds.
    pub backoff: Option<Vec<f64>>,
    /// Its circuit breaker.
    pub breaker: Option<Breaker>,
    /// How many calls it has under way at most.
    pub pool: Option<u32>,
    /// What it answers its own caller when this edge fails: the share of its own answers that were well all the same.
    pub fallback: Option<f64>,
    /// In words, a sentence a claim; and what was looked for and not seen.
    pub evidence: Vec<String>,
    /// 0 to 1: the weakest of its claims; `null` if there are none.
    pub confidence: Option<f64>,
}

/// A circuit breaker, as it showed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Breaker {
    /// It opens after so many failures in a row; `null`: it opens, but after how many did not show.
    pub failures: Option<u32>,
    /// What it counts; `null`: the same here, or it did not show.
    pub counts: Option<Counted>,
    /// It stays open for so many seconds; `null`: not seen.
    pub open_for: Option<f64>,
}

/// What a circuit breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Every attempt.
    Attempts,
    /// Logical calls: they fail with their last attempt.
    Calls,
}

/// Struck and spared exchanges of the same edge in the same phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// The edge.
    pub edge: String,
    /// How many were struck.
    pub hit: u64,
    /// How many were not.
    pub spared: u64,
    /// Of the struck: the share that failed.
    pub hit_error_rate: f64,
    /// Of the spared.
    pub spared_error_rate: f64,
    /// Median duration of the struck, in seconds.
    pub hit_p50: Option<f64>,
    /// Of the spared.
    pub spared_p50: Option<f64>,
    /// In words: what the fault caused, and what it did not.
    pub says: String,
}

/// What Brownout has to say of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Honesty {
    /// Half of the exchanges that no fault held spent at most this much in Brownout, in seconds.
    pub overhead_p50: Option<f64>,
    /// 99 % of them.
    pub overhead_p99: Option<f64>,
    /// Whoever makes the traffic waits for answers before it sends more, and so hides a cascade; `null`: cannot be told.
    pub closed_loop: Option<bool>,
    /// One logical request in so many was analysed.
    pub one_in: u32,
}
