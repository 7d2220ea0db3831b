//! Services, what can be done to them, and what is expected of them: types only.

use super::Phase;
use crate::units::{Comparison, Name};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// A process that Brownout supervises; without a command it is external, and only named.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// The program and its arguments; empty: it is external. `${edge.NAME}` is filled in when the edges stand.
    pub command: Vec<String>,
    /// The folder it runs in, absolute or seen from the folder Brownout was called in; `None`: that folder itself.
    pub cwd: Option<PathBuf>,
    /// Its environment starts out empty, instead of as ours.
    pub clean_env: bool,
    /// What its environment has beside; `${edge.NAME}` is filled in when the edges stand.
    pub env: Vec<(String, String)>,
    /// The user it runs as.
    pub user: Option<String>,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Services that must be ready before it starts, by their place in the file.
    pub after: Vec<usize>,
    /// Variables whose values may be shown.
    pub show_env: Vec<String>,
    /// When it is ready; `None`: as soon as it runs.
    pub ready: Option<Ready>,
    /// What its orchestrator does when it ends.
    pub restart: Restart,
    /// It is not started, and its faults are skipped, for this reason.
    pub skipped: Option<String>,
    /// Its first line in the file.
    pub line: usize,
}

impl Service {
    /// Whether Brownout starts and stops it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.command.is_empty() && self.skipped.is_none()
    }
}

/// When a service is ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What is looked at.
    pub check: ReadyCheck,
    /// How long it may take; not scaled.
    pub within: Duration,
}

/// What shows that a service is ready.
#[derive(Clone, Debug)]
pub enum ReadyCheck {
    /// A GET of this URL is answered with a status below 400. `${edge.NAME}` is filled in when the edges stand.
    Http(String),
    /// Something accepts connections at this `host:port`.
    Tcp(String),
    /// A line of its output matches.
    Log(regex::Regex),
    /// A command ends with exit code 0.
    Command(Vec<String>),
}

/// What the orchestrator of a service does when it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restart {
    /// Whether it is started again.
    pub when: RestartWhen,
    /// After this time, scaled.
    pub delay: Duration,
    /// Each delay is so many times the one before; back to `delay` after a minute (scaled) of being ready.
    pub backoff: f64,
    /// No delay is longer.
    pub max_delay: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            when: RestartWhen::Never,
            delay: Duration::from_secs(1),
            backoff: 1.0,
            max_delay: Duration::from_secs(30),
        }
    }
}

/// Whether a service that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// However it ended.
    Always,
    /// If it ended with another code than 0, or by a signal.
    OnFailure,
    /// Not at all.
    Never,
}

/// What a fault does to services.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Another environment.
    Env(EnvSwap),
    /// A signal, a pause, a restart.
    Process(ProcessDeed),
    /// A command of the user's.
    Hook(Hook),
}

impl Deed {
    /// As metrics and the journal call it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Env(_) => "env",
            Self::Process(_) => "process",
            Self::Hook(_) => "hook",
        }
    }
}

/// Another environment for a service that Brownout runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvSwap {
    /// Variables set to other values.
    pub set: Vec<(String, String)>,
    /// Variables taken out.
    pub unset: Vec<String>,
    /// When it takes hold.
    pub apply: EnvApply,
    /// For so many incarnations; `None`: for as long as the fault lasts.
    pub restarts: Option<u32>,
}

/// When another environment takes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvApply {
    /// The service is restarted with it.
    Restart,
    /// When it starts the next time, whyever.
    NextRestart,
}

/// What is done to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessDeed {
    /// What.
    pub what: ProcessWhat,
    /// It is kept down for this time, scaled; `None`: its orchestrator does what it does.
    pub down: Option<Duration>,
    /// At most so often while the fault is armed; more than once without `every` or `at`: again whenever it is ready.
    /// `None`: once, or once for each time of `every` and `at`.
    pub times: Option<u32>,
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessWhat {
    /// This signal to the whole group.
    Kill(Signal),
    /// SIGSTOP, and SIGCONT after this time (not scaled).
    Pause(Duration),
    /// SIGTERM, SIGKILL after the grace time, and a new start.
    Restart,
}

/// Commands for what Brownout does not run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Brings the fault about.
    pub apply: Vec<String>,
    /// Takes it back; always run, also if `apply` failed.
    pub undo: Vec<String>,
    /// How long each may take; not scaled.
    pub within: Duration,
}

/// From which moment a schedule counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Since {
    /// The service.
    pub service: Name,
    /// Its last start, or when it was last ready.
    pub moment: SinceMoment,
}

/// A moment in the life of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SinceMoment {
    /// Its process was started.
    Start,
    /// It was ready.
    Ready,
}

/// What is measured on a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceCheck {
    /// What.
    pub metric: ServiceMetric,
    /// The limit.
    pub limit: Comparison,
    /// Its line.
    pub line: usize,
}

/// What can be measured on a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceMetric {
    /// The share of the time during which it was ready.
    Up,
    /// How often it was started again.
    Restarts,
    /// For how long it was not ready, in all, in the file's time.
    Downtime,
    /// How often it ended by itself, per second of the file's time.
    CrashRate,
    /// The share of the time it ran during which a variable of its environment had this value.
    Env {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
}

impl ServiceMetric {
    /// The key as the file writes it.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Up => "up".into(),
            Self::Restarts => "restarts".into(),
            Self::Downtime => "downtime".into(),
            Self::CrashRate => "crash_rate".into(),
            Self::Env { name, .. } => format!("env.{name}"),
        }
    }
}

/// A request that Brownout makes by itself, over and over, to see whether something is as it should be.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What is asked, and what must come back.
    pub ask: Ask,
    /// From one to the next, scaled.
    pub every: Duration,
    /// How long one may take; not scaled.
    pub timeout: Duration,
    /// That nobody answers is neither right nor wrong.
    pub tolerate_unreachable: bool,
    /// How long it may be wrong at a stretch, in the file's time.
    pub max_exposure: Duration,
}

/// What a probe asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// An HTTP request.
    Http(Box<HttpAsk>),
    /// Something accepts connections at this `host:port`. `${edge.NAME}` is filled in when the edges stand.
    Tcp(String),
    /// A command ends with exit code 0.
    Command(Vec<String>),
}

/// An HTTP request of a probe, and what must come back.
#[derive(Clone, Debug)]
pub struct HttpAsk {
    /// Through this edge, by its place in the file; `None`: `url` is absolute.
    pub edge: Option<usize>,
    /// The path and query, or the whole URL. `${edge.NAME}` is filled in when the edges stand.
    pub url: String,
    /// The method.
    pub method: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The statuses of which one must come; empty: any below 400.
    pub status: Vec<super::StatusSet>,
    /// The body must match.
    pub text: Option<regex::Regex>,
    /// Values that must stand in the JSON body: a path such as `$.mode`, and the value.
    pub json: Vec<(String, serde_json::Value)>,
}

/// On what an expectation stands.
#[derive(Clone, Debug)]
pub enum On {
    /// What is measured on an edge, by its place in the file.
    Edge {
        /// The edge.
        edge: usize,
        /// Each key is one check.
        checks: Vec<super::Check>,
    },
    /// What is measured on a service, by its place in the file.
    Service {
        /// The service.
        service: usize,
        /// Each key is one check.
        checks: Vec<ServiceCheck>,
    },
    /// What a probe sees; its one check is how long it was wrong at a stretch.
    Probe(Probe),
    /// How a failure spreads over all edges; each key is one check.
    Spread(Vec<super::SpreadCheck>),
}

/// What must hold.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Its name.
    pub name: Name,
    /// On what.
    pub on: On,
    /// In which phases (default: fault; `recovers_within` is judged in the recovery alone).
    pub phases: Vec<Phase>,
    /// What its limits are held against.
    pub versus: super::Versus,
    /// What Brownout did itself counts too.
    pub include_injected: bool,
    /// Is also checked on the baseline.
    pub baseline: bool,
    /// Its first line.
    pub line: usize,
}

impl Expectation {
    /// The edge it is on, if it is on one.
    #[must_use]
    pub fn edge(&self) -> Option<usize> {
        match &self.on {
            On::Edge { edge, .. } => Some(*edge),
            On::Service { .. } | On::Probe(_) | On::Spread(_) => None,
        }
    }
}

/// Shorter values are no secrets.
const SHORTEST: usize = 4;

/// Whether a value of an environment variable is hidden in texts: numbers such as ports, and words that everybody uses, tell
/// nobody anything, and texts without them could not be read.
#[must_use]
pub fn is_hidden(value: &str) -> bool {
    let number = value.len() <= 5 && value.bytes().all(|byte| byte.is_ascii_digit());
    value.chars().count() >= SHORTEST && !number && !matches!(value, "true" | "false" | "none" | "null")
}

impl super::Experiment {
    /// Every value that must not be told: what was filled in for `${env.NAME}`, and what environments of services hold, but
    /// for variables that may be shown.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let shown = |service: &Service, name: &String| service.show_env.contains(name);
        let own = self.services.iter().flat_map(|service| {
            service.env.iter().filter(|(name, _)| !shown(service, name)).map(|(_, value)| value)
        });
        let swapped = self.faults.iter().flat_map(|rule| {
            let of = |service: &&Service| rule.services.contains(&service.name);
            let services: Vec<&Service> = self.services.iter().filter(of).collect();
            let swaps = rule.deeds.iter().filter_map(|deed| match deed {
                Deed::Env(swap) => Some(swap),
                Deed::Process(_) | Deed::Hook(_) => None,
            });
            swaps.flat_map(move |swap| {
                let services = services.clone();
                let hidden =
                    move |(name, _): &&(String, String)| !services.iter().any(|one| shown(one, name));
                swap.set.iter().filter(hidden).map(|(_, value)| value)
            })
        });
        let all = self.source.filled.iter().map(|(_, value)| value).chain(own).chain(swapped);
        all.filter(|value| is_hidden(value)).cloned().collect()
    }

    /// Why a fault is not armed: every service it is about is not started.
    #[must_use]
    pub fn skips(&self, rule: &super::FaultRule) -> Option<&str> {
        let reason = |name: &Name| {
            let service = self.services.iter().find(|service| service.name == *name)?;
            service.skipped.as_deref()
        };
        let mut reasons = rule.services.iter().map(reason);
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    /// Every name and value that an expectation on a service holds against its environment, in file order, once each.
    /// Journals tell which hold by their place in here, so that no value has to be written down.
    #[must_use]
    pub fn expected_env(&self, service: usize) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for expectation in &self.expects {
            let On::Service { service: of, checks } = &expectation.on else { continue };
            for check in checks.iter().filter(|_| *of == service) {
                if let ServiceMetric::Env { name, value } = &check.metric
                    && !found.contains(&(name.as_str(), value.as_str()))
                {
                    found.push((name, value));
                }
            }
        }
        found
    }
}
