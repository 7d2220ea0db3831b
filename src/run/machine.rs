//! The run as a pure machine: from inputs to commands, without a clock and without I/O.
//!
//! Whatever comes in, in whatever order: what was armed is healed, nothing is armed after anything was healed or the user
//! asked to stop, phases come in their order, and `Finish` comes exactly once, within a bounded time.

use crate::model::Phase;
use crate::report::During;
use std::time::Duration;

/// How long the user's command may take to end when told to, and how long other waits at the end may be.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long the judging of the baseline may take.
const JUDGING: Duration = Duration::from_secs(10);

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
    /// Something that the run needs cannot be done.
    Broken,
}

pub use crate::report::judge::Steadiness;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Exchanges from now on belong to this phase.
    Enter(Phase),
    /// Put all faults of the file in force that are meant to be, for at most this long.
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

/// The machine.
#[derive(Debug)]
pub struct Run {
    setup: Setup,
    state: State,
    /// Faults are in force.
    armed: bool,
    /// Nothing is to be armed any more.
    sealed: bool,
    load: bool,
    command: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// In a phase until this time.
    In(Phase, Duration),
    /// The baseline is being judged, until this time at most.
    Judging(Duration),
    /// Between phases: the command of the last one is ending.
    Between {
        after: Phase,
        until: Duration,
        killed: bool,
    },
    /// Everything is being put away.
    Ending {
        end: End,
        until: Duration,
        killed: bool,
    },
    Done,
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup, state: State::New, armed: false, sealed: false, load: false, command: false }
    }

    /// Whether `Finish` was said.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes an input at a time since the start, and says what is to be done now, in this order.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Command> {
        let mut out = Vec::new();
        match (self.state, input) {
            (State::Done, _) => {}
            (State::New, Input::Start) => self.start(now, &mut out),
            (State::Ending { end, .. }, Input::Interrupted) => self.leave(end, &mut out),
            (_, Input::Interrupted) => self.end(now, End::Interrupted, Why::Interrupt, &mut out),
            (State::New, _) => {}
            (_, Input::Broken) => self.end(now, End::Broken, Why::Broken, &mut out),
            (State::Judging(_), Input::Baseline(outcome)) => self.judged(now, outcome, &mut out),
            (State::In(Phase::Fault, _), Input::Breached) => self.abort(now, Why::Guardrail, &mut out),
            (State::In(Phase::Fault, _), Input::Halted) => self.abort(now, Why::Halt, &mut out),
            (_, Input::CommandEnded { well }) => self.command_ended(now, well, &mut out),
            (_, Input::LoadEnded) => {
                self.load = false;
                self.settle(&mut out);
            }
            (_, Input::Tick) => self.tick(now, &mut out),
            (_, Input::Start | Input::Baseline(_) | Input::Breached | Input::Halted) => {}
        }
        out
    }

    fn start(&mut self, now: Duration, out: &mut Vec<Command>) {
        if self.setup.load {
            self.load = true;
            out.push(Command::StartLoad);
        }
        self.enter_next(now, Phase::Idle, out);
        if self.setup.command == Some(During::All)
            && !matches!(self.state, State::Ending { .. } | State::Done)
        {
            self.command = true;
            out.push(Command::StartCommand);
        }
    }

    /// Enters the first phase of any length after this one, or ends.
    fn enter_next(&mut self, now: Duration, after: Phase, out: &mut Vec<Command>) {
        let phases = [
            (Phase::Warmup, self.setup.warmup),
            (Phase::Baseline, self.setup.baseline),
            (Phase::Fault, self.setup.fault),
            (Phase::Recovery, self.setup.recovery),
        ];
        let next = phases.into_iter().find(|(phase, length)| *phase > after && !length.is_zero());
        let Some((phase, length)) = next else {
            return self.end(now, End::Complete, Why::End, out);
        };
        let until = now.saturating_add(length);
        self.state = State::In(phase, until);
        out.push(Command::Enter(phase));
        if phase == Phase::Fault && !self.sealed {
            self.armed = true;
            out.push(Command::Arm(length));
        }
        let begins = match self.setup.command {
            Some(During::Fault) => phase == Phase::Fault,
            Some(During::Each) => phase != Phase::Warmup,
            Some(During::All) | None => false,
        };
        if begins {
            self.command = true;
            out.push(Command::StartCommand);
        }
        out.push(Command::Wake(until));
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Command>) {
        match self.state {
            State::In(phase, until) if now >= until => self.phase_over(now, phase, out),
            State::Judging(until) if now >= until => {
                self.end(now, End::Unsampled, Why::Broken, out);
            }
            State::Between { after, until, killed } if now >= until => {
                if killed {
                    self.command = false;
                    self.enter_next(now, after, out);
                } else {
                    let until = now.saturating_add(GRACE);
                    self.state = State::Between { after, until, killed: true };
                    out.extend([Command::KillCommand, Command::Wake(until)]);
                }
            }
            State::Ending { end, until, killed } if now >= until => {
                if killed || !self.command {
                    self.leave(end, out);
                } else {
                    let until = now.saturating_add(GRACE);
                    self.state = State::Ending { end, until, killed: true };
                    out.extend([Command::KillCommand, Command::Wake(until)]);
                }
            }
            State::In(_, until)
            | State::Judging(until)
            | State::Between { until, .. }
            | State::Ending { until, .. } => out.push(Command::Wake(until)),
            State::New | State::Done => {}
        }
    }

    fn phase_over(&mut self, now: Duration, phase: Phase, out: &mut Vec<Command>) {
        self.heal(Why::End, out);
        let own = match self.setup.command {
            Some(During::Fault | During::Each) => self.command,
            Some(During::All) | None => false,
        };
        if own {
            let until = now.saturating_add(GRACE);
            self.state = State::Between { after: phase, until, killed: false };
            out.extend([Command::Enter(Phase::Idle), Command::StopCommand, Command::Wake(until)]);
        } else {
            self.after(now, phase, out);
        }
    }

    /// A phase and its command are over.
    fn after(&mut self, now: Duration, phase: Phase, out: &mut Vec<Command>) {
        if phase == Phase::Baseline {
            let until = now.saturating_add(JUDGING);
            self.state = State::Judging(until);
            out.extend([Command::Judge, Command::Wake(until)]);
        } else {
            self.enter_next(now, phase, out);
        }
    }

    fn judged(&mut self, now: Duration, outcome: Steadiness, out: &mut Vec<Command>) {
        match outcome {
            Steadiness::Unsteady => self.end(now, End::Unsteady, Why::End, out),
            Steadiness::Unsampled if !self.setup.unsampled_is_fine => {
                self.end(now, End::Unsampled, Why::End, out);
            }
            Steadiness::Steady | Steadiness::Unsampled => self.enter_next(now, Phase::Baseline, out),
        }
    }

    /// Heals at once; the recovery is still measured.
    fn abort(&mut self, now: Duration, why: Why, out: &mut Vec<Command>) {
        self.heal(why, out);
        self.phase_over(now, Phase::Fault, out);
    }

    fn command_ended(&mut self, now: Duration, well: bool, out: &mut Vec<Command>) {
        if !std::mem::take(&mut self.command) {
            return;
        }
        match self.state {
            State::In(Phase::Warmup | Phase::Baseline, _) | State::Judging(_) if !well => {
                self.end(now, End::CommandFailed, Why::End, out);
            }
            State::In(phase, _) => self.phase_over(now, phase, out),
            State::Between { after, .. } => self.after(now, after, out),
            State::Ending { .. } => self.settle(out),
            State::New | State::Judging(_) | State::Done => {}
        }
    }

    fn heal(&mut self, why: Why, out: &mut Vec<Command>) {
        if std::mem::take(&mut self.armed) {
            self.sealed = true;
            out.push(Command::Heal(why));
        }
    }

    /// Heals, and puts everything away. Ends at once if there is nothing to wait for.
    fn end(&mut self, now: Duration, end: End, why: Why, out: &mut Vec<Command>) {
        if matches!(self.state, State::Ending { .. }) {
            return;
        }
        self.heal(why, out);
        self.sealed = true;
        let until = now.saturating_add(GRACE);
        self.state = State::Ending { end, until, killed: false };
        out.push(Command::Enter(Phase::Idle));
        if self.load {
            out.push(Command::StopLoad);
        }
        if self.command {
            out.push(Command::StopCommand);
        }
        out.push(Command::Wake(until));
        self.settle(out);
    }

    /// Ends if there is nothing left to wait for.
    fn settle(&mut self, out: &mut Vec<Command>) {
        if let State::Ending { end, .. } = self.state
            && !self.load
            && !self.command
        {
            self.leave(end, out);
        }
    }

    /// Ends now.
    fn leave(&mut self, end: End, out: &mut Vec<Command>) {
        if std::mem::take(&mut self.command) {
            out.push(Command::KillCommand);
        }
        self.state = State::Done;
        out.push(Command::Finish(end));
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
