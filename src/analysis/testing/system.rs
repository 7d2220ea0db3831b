//! What a simulated system is made of: the truth that an analysis is to find.

/// A whole system, its load and what befalls it.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) seed: u64,
    pub(crate) services: Vec<Service>,
    /// The first is the root: the load calls it.
    pub(crate) edges: Vec<Edge>,
    pub(crate) load: Load,
    /// Seconds of baseline, fault and recovery.
    pub(crate) phases: [f64; 3],
    pub(crate) faults: Vec<Fault>,
    pub(crate) illness: Option<Illness>,
    pub(crate) ids: Ids,
    /// The mean time between two stalls of a process, in seconds.
    pub(crate) calm: f64,
    /// Brownout's machine stands still from … to.
    pub(crate) stall: Option<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Requests at once; further ones wait in a queue of this length and are refused beyond it.
    pub(crate) workers: Option<usize>,
    pub(crate) queue: usize,
    pub(crate) median: f64,
    pub(crate) sigma: f64,
    /// Whether it gives its own work up when its caller leaves.
    pub(crate) cancels: bool,
    /// Calls its edges all at once, else one after the other.
    pub(crate) together: bool,
    pub(crate) calls: Vec<usize>,
    /// A TCP edge to a database: a connection of it is held during all of a request's calls.
    pub(crate) session: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) name: String,
    /// `None`: the load.
    pub(crate) from: Option<usize>,
    pub(crate) to: usize,
    pub(crate) tcp: bool,
    /// The share of requests that need this call.
    pub(crate) share: f64,
    pub(crate) policy: Policy,
}

/// How a caller calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) timeout: Option<f64>,
    pub(crate) retries: Retries,
    pub(crate) breaker: Option<Switch>,
    pub(crate) pool: Option<Pool>,
    /// Answers well although this call failed.
    pub(crate) fallback: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retries {
    /// `None`: for ever.
    pub(crate) times: Option<u32>,
    pub(crate) base: f64,
    pub(crate) factor: f64,
    pub(crate) cap: f64,
    pub(crate) jitter: Jitter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Jitter {
    #[default]
    None,
    /// Ten percent either way.
    Tenth,
    /// Half fixed, half drawn.
    Equal,
    Full,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch {
    pub(crate) failures: u32,
    pub(crate) open_for: f64,
    /// Counts logical calls, else attempts.
    pub(crate) logical: bool,
    /// A refused attempt is paused and tried again as a failed one is; else the call ends.
    pub(crate) retried: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) size: usize,
    /// How long a call waits for its turn; `None`: for ever.
    pub(crate) wait: Option<f64>,
    /// Held from the first attempt to the last, pauses included.
    pub(crate) whole: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Steady(f64),
    Poisson(f64),
    /// So many users who wait for each answer, and then this long.
    Users(usize, f64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) edge: usize,
    pub(crate) what: Harm,
    /// Of exchanges, 0 to 1.
    pub(crate) share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Harm {
    Latency(f64, f64),
    Error(u16),
    Hang,
    Drop,
}

/// A service that falls ill by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Illness {
    pub(crate) service: usize,
    pub(crate) what: Harm,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// An idempotency key for each logical call.
    Call,
    /// `x-request-id`, handed on over all hops.
    Request,
    /// A trace id, handed on over all hops.
    Trace,
    /// None, but every request of the load has a path or a body of its own.
    Unlike,
    /// None, and so many different requests.
    Alike(u64),
}

impl System {
    pub(crate) fn end(&self) -> f64 {
        self.phases.iter().sum()
    }
}

impl Retries {
    pub(crate) fn none() -> Self {
        Self { times: Some(0), ..Self::default() }
    }

    /// The pause before the n-th retry (from 1), without jitter.
    pub(crate) fn pause(&self, n: u32) -> f64 {
        (self.base * self.factor.powi(n as i32 - 1)).min(self.cap)
    }

    /// The median of the pause before the n-th retry.
    pub(crate) fn median(&self, n: u32) -> f64 {
        self.pause(n)
            * match self.jitter {
                Jitter::None | Jitter::Tenth => 1.0,
                Jitter::Equal => 0.75,
                Jitter::Full => 0.5,
            }
    }
}
