//! The words of a service's machine: what it knows, what happens to it, what it asks for, and what it is made of.

use super::Failure;
use crate::model::{Deed, EnvSwap, Restart};
use crate::telemetry::{ExitCause, StartReason};
use crate::units::Name;
use nix::sys::signal::Signal;
use std::time::Duration;

/// How long what SIGKILL was sent to may take to end.
pub(super) const LOST: Duration = Duration::from_secs(20);

/// What the machine knows of its service.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) name: Name,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
    pub(super) restart: Restart,
    /// How long it may take to be ready; `None`: it is, as soon as it runs.
    pub(super) within: Option<Duration>,
    /// Real time is the file's multiplied by this.
    pub(super) scale: f64,
}

/// What happens to a service.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// It is to run; the answer comes when it is ready.
    Start { id: u64 },
    /// It is to end, for good.
    Stop,
    /// The process it asked for runs.
    Spawned,
    /// It does not.
    SpawnFailed(String),
    /// It is ready.
    Ready,
    /// The process ended, and all of its group.
    Exited { code: Option<i32>, signal: Option<Signal> },
    /// A fault strikes.
    Apply { id: u64, fault: Name, deed: Deed, pace: super::Pace },
    /// A fault is over.
    Undo { id: u64, fault: Name },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// Start a process, with these swaps, the first one first; answered by `Spawned` or `SpawnFailed`.
    Spawn { reason: StartReason, swaps: Vec<EnvSwap> },
    /// Send a signal to the whole group.
    Signal(Signal),
    /// Tell what happened.
    Tell(Tell),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tell {
    Ready {
        after: Duration,
    },
    /// It was not ready in time; it runs on.
    NotReady,
    Exited {
        code: Option<i32>,
        signal: Option<Signal>,
        cause: ExitCause,
    },
    Paused,
    Resumed,
    Deed {
        fault: Name,
        action: &'static str,
        done: bool,
        text: String,
    },
    Undone {
        fault: Name,
        action: &'static str,
        done: bool,
        text: String,
    },
    /// What this order asked for was verified.
    Hit(u64),
    /// This order is carried out, or cannot be.
    Answer(u64, Result<(), Failure>),
    /// It has ended for good.
    Down,
}

/// Its process.
#[derive(Debug)]
pub(super) enum Body {
    None,
    /// Asked for.
    Spawning {
        carries: Vec<u64>,
    },
    Running(Running),
}

/// A process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) since: Duration,
    pub(super) ready: Option<Duration>,
    pub(super) told_late: bool,
    /// The swaps in its environment.
    pub(super) carries: Vec<u64>,
    /// It was told to end.
    pub(super) ending: Option<Ending>,
    pub(super) pauses: Vec<Pause>,
    /// A fault sent it a signal that ends processes, and it has ended by it if it ends until then.
    pub(super) struck: Option<Duration>,
    /// Other signals that faults sent to it.
    pub(super) sent: Vec<Signal>,
    /// If it ends before this time, it is started again at once, whatever its orchestrator does.
    pub(super) start_after: Option<Duration>,
}

impl Running {
    /// It was sent SIGKILL long ago.
    pub(super) fn is_lost(&self, now: Duration) -> bool {
        self.lost_at().is_some_and(|at| at <= now)
    }

    pub(super) fn lost_at(&self) -> Option<Duration> {
        self.ending.as_ref().filter(|ending| ending.killed).map(|ending| ending.kill_at + LOST)
    }
}

/// A process on its way out.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) cause: ExitCause,
    pub(super) kill_at: Duration,
    pub(super) killed: bool,
}

/// It does not run on before this time; `None`: before its fault is over.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) fault: Name,
    pub(super) until: Option<Duration>,
}

/// It is not started before this time.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) fault: Name,
    pub(super) until: Duration,
}

/// An environment that is in force.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) id: u64,
    pub(super) fault: Name,
    pub(super) swap: EnvSwap,
    /// For so many more starts.
    pub(super) left: Option<u32>,
}

/// How far a service is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing runs, and nothing is going to.
    Down,
    /// It is going to be started.
    Waiting,
    /// A fault keeps it down.
    KeptDown,
    /// It runs and is not ready.
    Starting,
    /// It is ready.
    Ready,
    /// A fault stopped it.
    Paused,
    /// It was told to end.
    Stopping,
    /// Brownout does not run it.
    External,
}
