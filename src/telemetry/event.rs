//! The events that everything else is a reading of. One line of the journal is one [`Stamped`] event.

use super::{EdgeId, Window};
use crate::model::Phase;
use crate::units::Name;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// One exchange that has ended: a request and its answer, or a connection of a TCP edge.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The edge.
    pub edge: EdgeId,
    /// The phase in which its head came (TCP: in which it was accepted).
    pub phase: Phase,
    /// When its head had come.
    pub began: Instant,
    /// From its head to the last byte.
    pub took: Duration,
    /// From sending to the upstream to the end of its answer; `None` if it was not called or did not answer.
    pub upstream_took: Option<Duration>,
    /// Whether `took` is a sample for percentiles (no stream, no upgrade, not TCP).
    pub timed: bool,
    /// The method.
    pub method: Method,
    /// The status that the caller was sent; 0 if none.
    pub status: u16,
    /// Whose doing the outcome is.
    pub origin: Origin,
    /// How it ended.
    pub ending: Ending,
    /// Whether it failed by the rule of the edge.
    pub failed: bool,
    /// A health request: not judged, not numbered.
    pub health: bool,
    /// The upstream's answer came when the caller had left.
    pub zombie: bool,
    /// Payload bytes towards the upstream.
    pub bytes_up: u64,
    /// Payload bytes towards the caller.
    pub bytes_down: u64,
    /// The injected delay that was asked for, before and after the upstream.
    pub asked: Duration,
    /// The injected delay as it came about.
    pub waited: Duration,
    /// The faults that struck it; no allocation when there are none.
    pub hits: Vec<Hit>,
}

/// A fault that struck an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The fault's name.
    pub fault: Name,
    /// What it did.
    pub action: std::borrow::Cow<'static, str>,
}

/// Whose doing an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The caller's: a malformed request, a caller that left.
    Client,
    /// The upstream's: its answer, or its silence.
    Upstream,
    /// A fault's.
    Injected,
    /// Brownout's own: a limit reached, draining, a bug.
    Internal,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Upstream, Self::Injected, Self::Internal];

    /// As metrics and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Injected => "injected",
            Self::Internal => "internal",
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer was delivered whole (TCP: both sides closed).
    Complete,
    /// The answer began and was not delivered whole.
    Incomplete,
    /// No answer was sent at all.
    Unanswered,
    /// The caller left before the answer was delivered.
    CallerLeft,
}

/// Request methods as metrics tell them apart: a caller cannot make new series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Other,
    /// A connection of a TCP edge.
    Tcp,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Options,
        Self::Patch,
        Self::Other,
        Self::Tcp,
    ];

    /// The method of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// As metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
            Self::Tcp => "TCP",
        }
    }
}

/// Something that happened. Times are in seconds from the start of the run (or of the process in `serve`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run (or a serving process) began.
    Started {
        /// The experiment's name.
        name: String,
        /// Of Brownout.
        version: String,
        /// The file.
        file: String,
        /// Of the file's text.
        sha256: String,
        /// How it was called.
        argv: Vec<String>,
        /// The seed in force.
        seed: u64,
        /// Wall-clock time, RFC 3339.
        at: String,
        /// Name, from and to of each edge, in the order of their ids.
        edges: Vec<(String, String, String)>,
    },
    /// A phase began.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A fault is in force.
    Armed {
        /// Its name.
        fault: Name,
        /// The edges it is on.
        edges: Vec<u16>,
        /// Who armed it.
        owner: String,
    },
    /// A fault is not in force any more; the counts are those of all its armings so far.
    Healed {
        /// Its name.
        fault: Name,
        /// Why: `end`, `ttl`, `schedule`, `hand`, `halt`, `guardrail`, `reload`.
        why: String,
        /// Exchanges that passed its matchers.
        matched: u64,
        /// Of these, the ones chosen.
        selected: u64,
        /// Of these, the ones in which someone could see it.
        hits: u64,
        /// 99 % of its delays were late by at most this many seconds.
        delay_error_p99: Option<f64>,
    },
    /// One exchange that a fault struck.
    Struck {
        /// The edge.
        edge: u16,
        /// The phase of its head.
        phase: Phase,
        /// When its head came.
        began: f64,
        /// How long it took.
        took: f64,
        /// The method.
        method: Method,
        /// The status sent; 0 if none.
        status: u16,
        /// Whose doing the outcome is.
        origin: Origin,
        /// How it ended.
        ending: Ending,
        /// The faults.
        hits: Vec<Hit>,
    },
    /// So many more exchanges were struck than the journal takes lines for.
    Unwritten {
        /// How many.
        struck: u64,
    },
    /// What an edge did within a window that ends at this event's time.
    Window(Window),
    /// The built-in load: arrivals so far, and those not sent because too many were out.
    Load {
        /// Arrivals that were sent.
        sent: u64,
        /// Arrivals that were not.
        shed: u64,
        /// Requests that the load gave up after its timeout.
        timed_out: u64,
    },
    /// The command of the user began or ended.
    Command {
        /// What was called.
        argv: Vec<String>,
        /// Its exit code, once it ended.
        exit: Option<i32>,
        /// It had to be stopped at the end of the run.
        stopped: bool,
    },
    /// A guardrail was breached.
    Guardrail {
        /// Its name.
        name: Name,
        /// The key that was breached.
        key: String,
        /// What was observed.
        observed: f64,
    },
    /// Something a reader of the report should know.
    Warning {
        /// In words.
        text: String,
    },
    /// Something could not be done, and the run is not what it should have been.
    Trouble {
        /// The exit code that says so.
        exit: u8,
        /// In words.
        text: String,
    },
    /// The user asked to stop.
    Interrupted {
        /// The signal's name.
        signal: String,
    },
    /// The run is over.
    Finished,
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Seconds from the start.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
