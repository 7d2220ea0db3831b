//! The run as a pure machine: from inputs to commands, without a clock and without I/O.
//!
//! Whatever comes in, in whatever order: what was armed is healed, services that came up are put down, nothing is armed
//! after anything was healed or the user asked to stop, phases come in their order, and `Finish` comes exactly once, within
//! a bounded time.

pub use super::words::{Command, End, Input, Services, Setup, Steadiness, Wait, Why};

use crate::model::Phase;
use crate::report::During;
use std::time::Duration;

/// How long the user's command may take to end when told to, and how long other waits at the end may be.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long the judging of the baseline may take.
const JUDGING: Duration = Duration::from_secs(10);

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
    services: bool,
    /// Services are being put down.
    parting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// Services are coming up, until this time at most.
    Starting(Duration),
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
        Self {
            setup,
            state: State::New,
            armed: false,
            sealed: false,
            load: false,
            command: false,
            services: false,
            parting: false,
        }
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
            (State::Ending { end: End::Interrupted, .. }, Input::Interrupted) => {
                self.leave(End::Interrupted, &mut out);
            }
            (State::Ending { until, killed, .. }, Input::Interrupted) => {
                self.state = State::Ending { end: End::Interrupted, until, killed };
            }
            (_, Input::Interrupted) => self.end(now, End::Interrupted, Why::Interrupt, &mut out),
            (State::New, _) => {}
            (_, Input::Broken) => self.end(now, End::Broken, Why::Broken, &mut out),
            (State::Judging(_), Input::Baseline(outcome)) => self.judged(now, outcome, &mut out),
            (State::In(Phase::Fault, _), Input::Breached) => self.abort(now, Why::Guardrail, &mut out),
            (State::In(Phase::Apply | Phase::Fault, _), Input::Halted) => {
                self.abort(now, Why::Halt, &mut out);
            }
            (State::Starting(_), Input::ServicesUp) => self.begin(now, &mut out),
            (State::In(Phase::Apply, _), Input::Settled { well: false }) => {
                self.abort(now, Why::Broken, &mut out);
            }
            (State::In(phase @ (Phase::Apply | Phase::Restore), _), Input::Settled { .. }) => {
                self.enter_next(now, phase, &mut out);
            }
            (_, Input::ServicesDown) if self.parting => {
                self.services = false;
                self.settle(now, &mut out);
            }
            (_, Input::CommandEnded { well }) => self.command_ended(now, well, &mut out),
            (_, Input::LoadEnded) => {
                self.load = false;
                self.settle(now, &mut out);
            }
            (_, Input::Tick) => self.tick(now, &mut out),
            (
                _,
                Input::Start
                | Input::Baseline(_)
                | Input::Breached
                | Input::Halted
                | Input::ServicesUp
                | Input::ServicesDown
                | Input::Settled { .. },
            ) => {}
        }
        out
    }

    fn start(&mut self, now: Duration, out: &mut Vec<Command>) {
        self.services = self.setup.services.any;
        if !self.services {
            return self.begin(now, out);
        }
        let until = now.saturating_add(self.setup.services.start);
        self.state = State::Starting(until);
        out.extend([Command::BringUp, Command::Wake(until)]);
    }

    /// Everything stands.
    fn begin(&mut self, now: Duration, out: &mut Vec<Command>) {
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
        let services = &self.setup.services;
        // Only a fault phase has anything to prepare and to put back.
        let around =
            |limit: Option<Duration>| limit.filter(|_| !self.setup.fault.is_zero()).unwrap_or_default();
        let phases = [
            (Phase::Warmup, self.setup.warmup),
            (Phase::Baseline, self.setup.baseline),
            (Phase::Apply, around(services.apply)),
            (Phase::Fault, self.setup.fault),
            (Phase::Restore, around(services.restore)),
            (Phase::Recovery, self.setup.recovery),
        ];
        let next = phases.into_iter().find(|(phase, length)| *phase > after && !length.is_zero());
        let Some((phase, length)) = next else {
            return self.end(now, End::Complete, Why::End, out);
        };
        let until = now.saturating_add(length);
        self.state = State::In(phase, until);
        out.push(Command::Enter(phase));
        match phase {
            Phase::Apply => {
                self.armed = true;
                out.extend([Command::ArmEarly(length.saturating_add(self.setup.fault)), Command::Settle]);
            }
            Phase::Fault => {
                self.armed = true;
                out.push(Command::Arm(length));
            }
            Phase::Restore => out.push(Command::Settle),
            Phase::Idle | Phase::Warmup | Phase::Baseline | Phase::Recovery => {}
        }
        let begins = match self.setup.command {
            Some(During::Fault) => phase == Phase::Fault,
            Some(During::Each) => {
                matches!(phase, Phase::Baseline | Phase::Fault | Phase::Recovery)
            }
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
            State::Starting(until) if now >= until => {
                out.push(Command::Late(Wait::Start));
                self.end(now, End::Broken, Why::Broken, out);
            }
            State::In(Phase::Apply, until) if now >= until => {
                out.push(Command::Late(Wait::Apply));
                self.abort(now, Why::Broken, out);
            }
            State::In(Phase::Restore, until) if now >= until => {
                out.push(Command::Late(Wait::Restore));
                self.enter_next(now, Phase::Restore, out);
            }
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
                if self.parting {
                    out.push(Command::Late(Wait::PutDown));
                    self.leave(end, out);
                } else if killed || !self.command {
                    // Whoever else was to end did not: it is left to itself.
                    (self.load, self.command) = (false, false);
                    self.settle(now, out);
                } else {
                    let until = now.saturating_add(GRACE);
                    self.state = State::Ending { end, until, killed: true };
                    out.extend([Command::KillCommand, Command::Wake(until)]);
                }
            }
            State::In(_, until)
            | State::Starting(until)
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
            State::In(Phase::Warmup | Phase::Baseline | Phase::Apply, _) | State::Judging(_) if !well => {
                self.end(now, End::CommandFailed, Why::End, out);
            }
            // What is being changed or put back is waited for.
            State::In(Phase::Apply | Phase::Restore, _) => {}
            State::In(phase, _) => self.phase_over(now, phase, out),
            State::Between { after, .. } => self.after(now, after, out),
            State::Ending { .. } => self.settle(now, out),
            State::New | State::Starting(_) | State::Judging(_) | State::Done => {}
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
        self.settle(now, out);
    }

    /// Ends if there is nothing left to wait for; services end when nobody needs them any more.
    fn settle(&mut self, now: Duration, out: &mut Vec<Command>) {
        let State::Ending { end, killed, .. } = self.state else { return };
        if self.load || self.command {
            return;
        }
        if !self.services {
            self.leave(end, out);
        } else if !std::mem::replace(&mut self.parting, true) {
            let until = now.saturating_add(self.setup.services.put_down);
            self.state = State::Ending { end, until, killed };
            out.extend([Command::PutDown, Command::Wake(until)]);
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
