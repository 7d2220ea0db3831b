//! What is told of services and probes.

use serde::{Deserialize, Serialize};

/// Something in the life of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Did {
    /// A process was started.
    Started {
        /// Its process id.
        pid: u32,
        /// Why.
        reason: StartReason,
        /// What differs from the environment of the file, and what the file says may be shown.
        env: Vec<EnvShown>,
        /// Which of the expected values hold: places in [`Experiment::expected_env`](crate::model::Experiment::expected_env).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holds: Vec<usize>,
    },
    /// It is ready.
    Ready {
        /// Seconds since its start.
        after: f64,
    },
    /// It was not ready in time.
    NotReady {
        /// Why, with the tail of its own log.
        text: String,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        text: String,
    },
    /// It ended.
    Exited {
        /// Its exit code, if it has one.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<String>,
        /// Why, as far as Brownout knows.
        cause: ExitCause,
    },
    /// It was stopped with SIGSTOP.
    Paused,
    /// It goes on.
    Resumed,
    /// It wrote a line.
    Log {
        /// To its standard error.
        err: bool,
        /// The line; hidden values are masked.
        line: String,
    },
    /// So many more lines than the journal takes.
    Unwritten {
        /// How many.
        lines: u64,
    },
}

/// Why a service was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartReason {
    /// With the run.
    First,
    /// It had ended by itself.
    Crash,
    /// A fault had ended it.
    Fault,
    /// To change its environment, or to put it back.
    Swap,
}

impl StartReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::First, Self::Crash, Self::Fault, Self::Swap];

    /// As metrics and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Crash => "crash",
            Self::Fault => "fault",
            Self::Swap => "swap",
        }
    }
}

/// Why a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// By itself.
    Itself,
    /// A fault.
    Fault,
    /// To change its environment, or to put it back.
    Swap,
    /// The run is over.
    End,
}

/// A variable of a service's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvShown {
    /// Its name.
    pub name: String,
    /// Its value, if it may be shown and there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// It differs from what the file says.
    pub changed: bool,
}

/// What a probe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saw {
    /// What must be.
    Right,
    /// Something else.
    Wrong,
    /// Nobody answers.
    Unreachable,
}
