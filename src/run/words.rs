//! What the [`machine`](super::machine) is given, what it is told, and what it says.

pub use crate::report::judge::Steadiness;

use crate::model::Phase;
use crate::report::During;
use std::time::Duration;

/// What a run consists of; lengths are real time. A phase of no length is left out.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Traffic before anything is measured.
    pub warmup: Duration,
    /// No faults.
    pub baseline: Duration,
    /// Faults are on.
    pub fault: Duration,
    /// Faults are off again.
    pub recovery: Duration,
    /// The built-in load runs.
    pub load: bool,
    /// The user's command runs.
    pub command: Option<During>,
    /// A baseline without samples does not end the run.
    pub unsampled_is_fine: bool,
    /// What services need.
    pub services: Services,
}

/// What services need of a run; lengths are real time, and the most that each may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Services {
    /// There are some: they are brought up first and put down last.
    pub any: bool,
    /// Until all of them are ready.
    pub start: Duration,
    /// Until what must be in force before the fault phase is; `None`: nothing has to be.
    pub apply: Option<Duration>,
    /// Until what was done to them is taken back; `None`: nothing is ever done to them.
    pub restore: Option<Duration>,
    /// Until all of them have ended.
    pub put_down: Duration,
}

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// It begins.
    Start,
    /// The time it asked to be woken at has come (or any other time: a tick too many does no harm).
    Tick,
    /// How the baseline came out.
    Baseline(Steadiness),
    /// A guardrail was breached.
    Breached,
    /// The kill switch healed everything.
    Halted,
    /// The user asked to stop, for the first time or again.
    Interrupted,
    /// The user's command ended by itself, or after it was told to.
    CommandEnded {
        /// With exit code 0.
        well: bool,
    },
    /// The built-in load ended.
    LoadEnded,
    /// All services are ready.
    ServicesUp,
    /// What was asked of services is done and verified, or (`well: false`) something of it is not.
    Settled {
        /// All of it.
        well: bool,
    },
    /// All services have ended, and what was done to them is taken back as far as it could be.
    ServicesDown,
    /// Something that the run needs cannot be done.
    Broken,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Exchanges from now on belong to this phase.
    Enter(Phase),
    /// Bring all services up; the answer is [`Input::ServicesUp`].
    BringUp,
    /// Put those faults in force that change services for the whole of the fault phase, for at most this long.
    ArmEarly(Duration),
    /// Answer with [`Input::Settled`] when what was asked of services so far is done.
    Settle,
    /// Take back what was done to services and end them; the answer is [`Input::ServicesDown`].
    PutDown,
    /// An answer did not come in time.
    Late(Wait),
    /// Put all other faults of the file in force that are meant to be, for at most this long.
    Arm(Duration),
    /// Take all faults of the run away.
    Heal(Why),
    /// Start the built-in load.
    StartLoad,
    /// Stop it; the answer is [`Input::LoadEnded`].
    StopLoad,
    /// Start the user's command.
    StartCommand,
    /// Ask it to end; the answer is [`Input::CommandEnded`].
    StopCommand,
    /// End it.
    KillCommand,
    /// Judge the baseline; the answer is [`Input::Baseline`].
    Judge,
    /// Send [`Input::Tick`] at this time, and at no other that was asked for before.
    Wake(Duration),
    /// The run is over.
    Finish(End),
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Services becoming ready.
    Start,
    /// Services being changed.
    Apply,
    /// Services being put back as they were.
    Restore,
    /// Services ending.
    PutDown,
}

/// Why faults are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Their phase is over.
    End,
    /// A guardrail was breached.
    Guardrail,
    /// The kill switch.
    Halt,
    /// The user asked to stop.
    Interrupt,
    /// Something failed.
    Broken,
}

impl Why {
    /// As the journal writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Guardrail => "guardrail",
            Self::Halt => "halt",
            Self::Interrupt => "interrupt",
            Self::Broken => "error",
        }
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Through all its phases.
    Complete,
    /// The steady state did not hold.
    Unsteady,
    /// The steady state could not be judged.
    Unsampled,
    /// The user's command failed before any fault.
    CommandFailed,
    /// The user asked to stop.
    Interrupted,
    /// Something could not be done.
    Broken,
}
