//! An experiment as data: what a file says, checked, with every default filled in.
//!
//! `load` is the only user of the TOML parser; everything here holds checked types. Knows nothing of how an experiment is
//! executed.

mod around;
mod bytes;
mod conform;
mod content;
mod deed;
mod edge;
mod effect;
mod expect;
mod fault;
mod fill;
mod gates;
mod jsonpath;
mod keys;
mod law;
mod limit;
mod load;
mod loops;
mod masked;
mod overrides;
pub mod pattern;
mod ports;
mod probe;
mod reader;
mod reference;
mod safety;
mod schema;
mod service;
mod spread;
mod supervised;
mod syntax;
mod traffic;
mod tree;
mod when;
mod who;

pub use content::usual_callers;
pub use fill::with as fill_in;
pub use jsonpath::json_at;
pub use load::{FaultSource, Loaded, load, parse, parse_fault, parse_fault_on};
pub use loops::{Way, way_back};
pub use masked::{Mask, is_secret_key, masked, masks};
pub use overrides::{Lookup, Overrides};
pub use ports::Ports;
pub use reference::reference;
pub use schema::schema;
pub use service::*;
pub use spread::{Spread, SpreadCheck, Versus, WELL_FOR};

use crate::decision::Protocol;
pub use crate::decision::{Sticky, Upstream};
use crate::fault::Fault;
use crate::units::{Comparison, Name, Percent, Rate};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One experiment file.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Its name.
    pub name: Name,
    /// What it asks, in a line.
    pub title: Option<String>,
    /// The seed; drawn anew for each run if the file has none.
    pub seed: Option<u64>,
    /// The phases.
    pub run: Phases,
    /// The processes that Brownout supervises, and those it only knows by name.
    pub services: Vec<Service>,
    /// The edges, at least one.
    pub edges: Vec<Edge>,
    /// The built-in load.
    pub load: Option<Load>,
    /// The faults, in file order.
    pub faults: Vec<FaultRule>,
    /// What must hold.
    pub expects: Vec<Expectation>,
    /// What stops the run.
    pub guardrails: Vec<Guardrail>,
    /// Where it was read from.
    pub source: Arc<Source>,
}

/// The text an experiment was read from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; empty for an experiment made from flags.
    pub path: PathBuf,
    /// Its text, as read (before `--set`).
    pub text: String,
    /// The SHA-256 of the text, in hex.
    pub sha256: String,
    /// Environment variables that were filled in for `${env.NAME}`: name and value.
    pub filled: Vec<(String, String)>,
    /// What replaced values of it by `--set`: key and value.
    pub set: Vec<(String, String)>,
    /// What replaced upstreams: of this edge, or of the first.
    pub upstream: Vec<(Option<String>, String)>,
}

/// How long each phase lasts, in the file's time.
#[derive(Clone, Debug)]
pub struct Phases {
    /// Traffic before anything is measured.
    pub warmup: Duration,
    /// No faults: the expectations must hold here first.
    pub baseline: Duration,
    /// The faults are on.
    pub fault: Duration,
    /// The faults are off again.
    pub recovery: Duration,
    /// Real time = file time x this. Scales phases and schedules; not latencies and timeouts.
    pub time_scale: f64,
    /// The user knows that this looks like production.
    pub allow_production: bool,
}

/// One listener in front of one upstream.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Its name.
    pub name: Name,
    /// Where it listens; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// Where it forwards to, round robin; at least one, all of one protocol.
    pub upstreams: Vec<Upstream>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Who calls (default `client`).
    pub from: String,
    /// Who is called (default: the edge's name).
    pub to: String,
    /// The header that makes two requests one logical request.
    pub identity: Option<String>,
    /// Every wait has a limit.
    pub timeout: Timeouts,
    /// At most this many connections from callers; `None`: 10 000, or as many as the system allows descriptors for.
    pub max_connections: Option<u32>,
    /// At most this many requests in flight; further ones get 503.
    pub max_in_flight: u32,
    /// At most this many requests held by faults; further ones get 503.
    pub max_held: u32,
    /// Which Host the upstream sees.
    pub host: HostPolicy,
    /// X-Forwarded-For, -Proto, -Host and Via are added.
    pub forwarded: bool,
    /// Statuses that count as success; empty: the usual rule (below 500 and not 429).
    pub success: Vec<StatusSet>,
    /// The header that names the caller; `None`: the peer address.
    pub caller: Option<String>,
    /// Health paths beside the usual ones.
    pub health: Vec<String>,
    /// Injected answers are not marked.
    pub stealth: bool,
    /// Bytes for answers that are kept, so that `stale` has some to give; `None`: none are.
    pub record: Option<u64>,
    /// The header fields by which kept answers are told apart; `None`: no fault of the file asks for any.
    pub recorded: Option<std::sync::Arc<[String]>>,
    /// A request may ask for a fault by its header fields.
    pub header_control: bool,
    /// Listening beyond loopback is meant.
    pub expose: bool,
    /// The line of the file on which it begins, from 1; 0 if it came from flags.
    pub line: usize,
}

impl Edge {
    /// Whether a path is one that asks how the service is: the usual ones, and those of `health`.
    #[must_use]
    pub fn is_health(&self, path: &str) -> bool {
        matches!(path, "/health" | "/healthz" | "/livez" | "/readyz")
            || self.health.iter().any(|known| known == path)
    }
}

/// The limits of every wait of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept, or from the first byte of a further request, to the end of its head.
    pub header: Duration,
    /// For connecting to the upstream.
    pub connect: Duration,
    /// For the upstream to go on: to its head, and from piece to piece of its body.
    pub upstream: Duration,
    /// For a connection without a request, and for a caller or tunnel that moves no byte.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            upstream: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// Which Host an upstream sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPolicy {
    /// The caller's.
    Keep,
    /// The upstream's own.
    Upstream,
}

/// Status codes: one, or a class such as `2xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusSet {
    /// The lowest.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl StatusSet {
    /// Whether the status is one of these.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

/// The built-in open-model load: arrivals at a fixed rate, whatever the answers do.
#[derive(Clone, Debug)]
pub struct Load {
    /// The edge it calls, by its place in the file.
    pub edge: usize,
    /// Arrivals per second.
    pub rate: Rate,
    /// What is sent, each with its weight; at least one.
    pub requests: Vec<LoadRequest>,
    /// When a request is given up.
    pub timeout: Duration,
    /// At most this many at once; an arrival beyond is counted as shed.
    pub max_in_flight: u32,
}

/// One kind of request of the load.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// The method.
    pub method: String,
    /// The path and query; `${n}` and `${uuid}` are filled in.
    pub path: String,
    /// Header fields, filled in likewise.
    pub headers: Vec<(String, String)>,
    /// The body, filled in likewise.
    pub body: String,
    /// How often beside the others.
    pub weight: u32,
}

/// A named rule: where, who, when and what.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Its name, unique in the file.
    pub name: Name,
    /// The edges it stands on, by their place in the file; none if it is about services.
    pub edges: Vec<usize>,
    /// The services it is about, by their names; none if it stands on edges.
    pub services: Vec<Name>,
    /// Whom it strikes.
    pub who: Who,
    /// When.
    pub when: When,
    /// Armed by the run; `false` waits for the API.
    pub armed: bool,
    /// How long it lasts when armed by hand or in `serve`; `None`: the default.
    pub ttl: Option<Ttl>,
    /// A run without a hit of this fault is not vacuous.
    pub optional: bool,
    /// What it does to exchanges; at least one, or one deed.
    pub actions: Vec<Fault>,
    /// What it does to services.
    pub deeds: Vec<Deed>,
    /// Its first line in the file; 0 if it came from flags or the API.
    pub line: usize,
}

/// When a fault armed by hand ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// After this time.
    For(Duration),
    /// Never; has to be written.
    Forever,
}

/// Whom a fault strikes.
#[derive(Clone, Debug)]
pub struct Who {
    /// What a request must be like; `None`: anything (`match = "all"` or bounded otherwise).
    pub matches: Option<Match>,
    /// What is spared.
    pub except: Option<Match>,
    /// Of the matching requests (or sticky keys).
    pub percent: Percent,
    /// The same victim every time.
    pub sticky: Option<Sticky>,
    /// Only the first so many (after `after`).
    pub first: Option<u64>,
    /// Not the first so many.
    pub after: u64,
    /// Every so manyth.
    pub every: u64,
    /// At most so many hits.
    pub max: Option<u64>,
    /// Health requests are struck too.
    pub include_health: bool,
}

impl Default for Who {
    fn default() -> Self {
        Self {
            matches: None,
            except: None,
            percent: Percent::ALL,
            sticky: None,
            first: None,
            after: 0,
            every: 1,
            max: None,
            include_health: false,
        }
    }
}

/// What a request must be like: keys and-ed, lists or-ed. Empty lists say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Methods, upper case.
    pub method: Vec<String>,
    /// Globs (`/v1/**`) or patterns (`/users/{id}`).
    pub path: Vec<String>,
    /// Query parameters: name and glob of the value; all must be there.
    pub query: Vec<(String, Vec<String>)>,
    /// Header fields: name and globs of the value; all must be there.
    pub headers: Vec<(String, Vec<String>)>,
    /// Hosts, as globs.
    pub host: Vec<String>,
    /// Networks.
    pub peer: Vec<ipnet::IpNet>,
    /// Callers, as globs.
    pub caller: Vec<String>,
    /// The declared size of the body: bounds, inclusive.
    pub body_size: Option<(u64, u64)>,
    /// What it asks to upgrade to.
    pub upgrade: Vec<String>,
}

/// When a fault is on, in the file's time from the start of the fault phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct When {
    /// On and off by the clock.
    pub schedule: Option<Schedule>,
    /// A list of times; each arms anew. Empty: from the start.
    pub at: Vec<At>,
}

/// On and off by the clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// First on.
    pub from: Duration,
    /// On for so long; `None`: to the end of the phase.
    pub lasts: Option<Duration>,
    /// On again, start to start.
    pub every: Option<Duration>,
    /// Not all at once.
    pub ramp: Option<Ramp>,
    /// Counted from a moment in the life of a service, instead of from the arming; each such moment arms anew.
    pub since: Option<Since>,
}

/// What grows from nothing to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramp {
    /// The percent, over this time.
    Percent(Duration),
    /// The delay, over this time.
    Dose(Duration),
}

/// One entry of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// On.
    pub from: Duration,
    /// For so long; `None`: to the next entry, or the end of the phase.
    pub lasts: Option<Duration>,
}

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Phase {
    /// No run is under way, or it is before or after its phases.
    Idle = 0,
    /// Before anything is measured.
    Warmup = 1,
    /// No faults.
    Baseline = 2,
    /// Services are being changed as the faults ask; not judged.
    Apply = 3,
    /// Faults are on.
    Fault = 4,
    /// Services are being put back as they were; not judged.
    Restore = 5,
    /// Faults are off again.
    Recovery = 6,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Idle, Self::Warmup, Self::Baseline, Self::Apply, Self::Fault, Self::Restore, Self::Recovery];

    /// As files and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Warmup => "warmup",
            Self::Baseline => "baseline",
            Self::Apply => "apply",
            Self::Fault => "fault",
            Self::Restore => "restore",
            Self::Recovery => "recovery",
        }
    }

    /// The phase of this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Idle)
    }
}

/// One key of an expectation or guardrail.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is measured.
    pub metric: Metric,
    /// The limit.
    pub limit: Comparison,
    /// Its line.
    pub line: usize,
}

/// What can be measured on an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Exchanges that did not fail / all.
    SuccessRate,
    /// Failed exchanges / all.
    ErrorRate,
    /// Exchanges with one of these statuses / all.
    StatusRate(StatusSet),
    /// The duration below which this share of exchanges stays: a ratio.
    Quantile(f64),
    /// Exchanges per second.
    Rate,
    /// The most at once.
    InFlight,
    /// The most connections from callers at once.
    OpenConnections,
    /// Attempts per logical request: on the edge itself, or on the edge at this place in the file.
    Amplification(Option<usize>),
    /// How long after heal it was as on the baseline, and stayed so.
    RecoversWithin,
    /// Answers to copies of requests that were not the answers to the requests themselves.
    DuplicatesDiffer,
}

impl Metric {
    /// The key as the file writes it.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::SuccessRate => "success_rate".into(),
            Self::ErrorRate => "error_rate".into(),
            Self::StatusRate(set) if set.low == set.high => format!("status_rate.{}", set.low),
            Self::StatusRate(set) => format!("status_rate.{}xx", set.low / 100),
            Self::Quantile(q) => {
                let digits = format!("{q:.4}");
                let digits = digits.trim_start_matches("0.").trim_end_matches('0');
                format!("p{digits:0<2}")
            }
            Self::Rate => "rate".into(),
            Self::InFlight => "in_flight".into(),
            Self::OpenConnections => "open_connections".into(),
            Self::Amplification(_) => "amplification".into(),
            Self::RecoversWithin => "recovers_within".into(),
            Self::DuplicatesDiffer => "duplicates_differ".into(),
        }
    }
}

/// What ends a run when it is true for too long.
#[derive(Clone, Debug)]
pub struct Guardrail {
    /// Its name.
    pub name: Name,
    /// The edge, by its place in the file.
    pub edge: usize,
    /// Any of these breaches.
    pub checks: Vec<Check>,
    /// Breached when true throughout this time.
    pub lasts: Duration,
    /// Over which each value is taken.
    pub window: Duration,
    /// What Brownout did itself counts too.
    pub include_injected: bool,
    /// Its first line.
    pub line: usize,
}
