//! One service as a pure machine: from what happens to it to what is to be done, without a clock, a process or a log.
//!
//! Whatever comes in, in whatever order: there are never two processes of a service, every order is answered exactly once and
//! within a bounded time, what no deed holds any more runs as the file says, and a service that is told to stop ends down.
//! What faults do to it is in `turn`. Knows nothing of other services, and of no environment more than who swapped it.

use super::Failure;
use super::turn::{Stage, Turn, What};
use crate::model::{Deed, EnvSwap, ProcessDeed, Restart, RestartWhen};
use crate::telemetry::{ExitCause, StartReason};
use crate::units::{Name, Span};
use nix::sys::signal::Signal;
use std::time::Duration;

/// After so long (scaled) of being ready, the next restart comes after the first delay again.
const STEADY: Duration = Duration::from_secs(60);
/// How long what SIGKILL was sent to may take to end.
const LOST: Duration = Duration::from_secs(20);
/// How long a service that is ready as soon as it runs may take to be started.
const AT_ONCE: Duration = Duration::from_secs(20);

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
    told_late: bool,
    /// The swaps in its environment.
    pub(super) carries: Vec<u64>,
    /// It was told to end.
    pub(super) ending: Option<Ending>,
    pub(super) pauses: Vec<Pause>,
    /// A fault sent it a signal that ends processes.
    pub(super) struck: bool,
    /// Other signals that faults sent to it.
    pub(super) sent: Vec<Signal>,
    /// Whatever its orchestrator does: it is started again at once.
    pub(super) start_after: bool,
}

impl Running {
    /// It was sent SIGKILL long ago.
    pub(super) fn is_lost(&self, now: Duration) -> bool {
        self.lost_at().is_some_and(|at| at <= now)
    }

    fn lost_at(&self) -> Option<Duration> {
        self.ending.as_ref().filter(|ending| ending.killed).map(|ending| ending.kill_at + LOST)
    }
}

/// A process on its way out.
#[derive(Debug)]
pub(super) struct Ending {
    cause: ExitCause,
    kill_at: Duration,
    killed: bool,
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

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) setup: Setup,
    /// It is meant to run.
    pub(super) on: bool,
    pub(super) body: Body,
    /// Processes so far.
    pub(super) incarnation: u32,
    /// When it is started next, and why.
    pub(super) start: Option<(Duration, StartReason)>,
    /// The next delay of its orchestrator, not scaled.
    delay: Duration,
    pub(super) holds: Vec<Hold>,
    pub(super) swaps: Vec<Swap>,
    pub(super) next_swap: u64,
    pub(super) last_carries: Vec<u64>,
    pub(super) turns: Vec<Turn>,
    /// How often each process deed was granted since its fault was armed.
    pub(super) granted: Vec<(Name, ProcessDeed, u32)>,
    /// What must be told as undone, by fault and action.
    pub(super) armed: Vec<(Name, &'static str)>,
    pub(super) out: Vec<Command>,
}

impl Machine {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            delay: setup.restart.delay,
            setup,
            on: false,
            body: Body::None,
            incarnation: 0,
            start: None,
            holds: Vec::new(),
            swaps: Vec::new(),
            next_swap: 0,
            last_carries: Vec::new(),
            turns: Vec::new(),
            granted: Vec::new(),
            armed: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Something happened; what is to be done, in this order. Times never go back.
    pub(super) fn handle(&mut self, now: Duration, input: Input) -> Vec<Command> {
        match input {
            Input::Start { id } => {
                self.on = true;
                self.turns.push(Turn::new(id, None, What::Start));
            }
            Input::Stop => self.stop(now),
            Input::Spawned => self.spawned(now),
            Input::SpawnFailed(why) => self.spawn_failed(now, &why),
            Input::Ready => self.ready(now),
            Input::Exited { code, signal } => self.exited(now, code, signal),
            Input::Apply { id, fault, deed, pace } => self.apply(id, fault, deed, pace),
            Input::Undo { id, fault } => self.undo(now, id, fault),
            Input::Tick => {}
        }
        self.expire(now);
        self.resolve(now);
        self.strike(now);
        self.renew(now);
        self.give_up_idle();
        std::mem::take(&mut self.out)
    }

    /// When it wants a tick.
    pub(super) fn due(&self) -> Option<Duration> {
        let holds = self.holds.iter().map(|hold| hold.until);
        let turns = self.turns.iter().filter_map(Turn::due);
        let start = self.start.filter(|_| matches!(self.body, Body::None) && self.holds.is_empty());
        let running = match &self.body {
            Body::Running(running) => Some(running),
            Body::None | Body::Spawning { .. } => None,
        };
        let process = running.into_iter().flat_map(|running| {
            let pauses = running.pauses.iter().filter_map(|pause| pause.until).min();
            let kill = running.ending.as_ref().filter(|ending| !ending.killed).map(|ending| ending.kill_at);
            let late = self.setup.within.filter(|_| running.ready.is_none() && !running.told_late);
            let lost = running.lost_at().filter(|_| self.turns.iter().any(Turn::awaits));
            [pauses, kill, lost, late.map(|within| running.since + within)].into_iter().flatten()
        });
        holds.chain(turns).chain(start.map(|(at, _)| at)).chain(process).min()
    }

    /// How far it is.
    pub(super) fn state(&self) -> State {
        match &self.body {
            Body::Running(running) if running.ending.is_some() => State::Stopping,
            Body::Running(running) if !running.pauses.is_empty() => State::Paused,
            Body::Running(running) if running.ready.is_some() => State::Ready,
            Body::Running(_) | Body::Spawning { .. } => State::Starting,
            Body::None if !self.holds.is_empty() => State::KeptDown,
            Body::None if self.start.is_some() => State::Waiting,
            Body::None => State::Down,
        }
    }

    /// How long a start may take until it is ready.
    pub(super) fn within(&self) -> Duration {
        self.setup.within.unwrap_or(AT_ONCE)
    }

    pub(super) fn tell(&mut self, tell: Tell) {
        self.out.push(Command::Tell(tell));
    }

    /// A failure of this service, in words.
    pub(super) fn failure(&self, exit: u8, text: &str) -> Failure {
        Failure { exit, text: format!("`{}` {text}", self.setup.name) }
    }

    /// Asks the process to end; once is enough.
    pub(super) fn end(&mut self, now: Duration, cause: ExitCause) {
        let Body::Running(running) = &mut self.body else { return };
        if running.ending.is_some() {
            return;
        }
        running.ending = Some(Ending { cause, kill_at: now + self.setup.grace, killed: false });
        let paused = !running.pauses.is_empty();
        running.pauses.clear();
        self.out.push(Command::Signal(Signal::SIGTERM));
        // Whoever stopped it: a process that is stopped would not hear that it must end.
        self.out.push(Command::Signal(Signal::SIGCONT));
        if paused {
            self.tell(Tell::Resumed);
        }
    }

    fn stop(&mut self, now: Duration) {
        if !std::mem::take(&mut self.on) {
            if matches!(self.body, Body::None) {
                self.tell(Tell::Down);
            }
            return;
        }
        self.start = None;
        self.holds.clear();
        self.swaps.clear();
        self.granted.clear();
        for turn in std::mem::take(&mut self.turns) {
            self.drop_turn(&turn);
        }
        for (fault, action) in std::mem::take(&mut self.armed) {
            let text = "it ended with the service".into();
            self.tell(Tell::Undone { fault, action, done: true, text });
        }
        match &mut self.body {
            Body::None => self.tell(Tell::Down),
            Body::Running(running) => {
                if let Some(ending) = &mut running.ending {
                    ending.cause = ExitCause::End;
                }
                self.end(now, ExitCause::End);
            }
            Body::Spawning { .. } => {}
        }
    }

    fn spawned(&mut self, now: Duration) {
        let Body::Spawning { carries } = &mut self.body else { return };
        let carries = std::mem::take(carries);
        self.incarnation += 1;
        for swap in self.swaps.iter_mut().filter(|swap| carries.contains(&swap.id)) {
            swap.left = swap.left.map(|left| left.saturating_sub(1));
        }
        self.hit_carried(&carries);
        self.body = Body::Running(Running {
            since: now,
            ready: None,
            told_late: false,
            carries,
            ending: None,
            pauses: Vec::new(),
            struck: false,
            sent: Vec::new(),
            start_after: false,
        });
        if !self.on {
            self.end(now, ExitCause::End);
        } else if self.setup.within.is_none() {
            self.ready(now);
        }
    }

    fn spawn_failed(&mut self, now: Duration, why: &str) {
        if !matches!(self.body, Body::Spawning { .. }) {
            return;
        }
        self.body = Body::None;
        if !self.on {
            self.tell(Tell::Down);
            return;
        }
        self.fail_awaiting(&format!("cannot be started: {why}"));
        self.start = self.policy(now, true).map(|at| (at, StartReason::Crash));
    }

    fn ready(&mut self, now: Duration) {
        if let Body::Running(running) = &mut self.body
            && running.ready.is_none()
            && running.ending.is_none()
        {
            running.ready = Some(now);
            let after = now.saturating_sub(running.since);
            self.tell(Tell::Ready { after });
        }
    }

    fn exited(&mut self, now: Duration, code: Option<i32>, signal: Option<Signal>) {
        let body = std::mem::replace(&mut self.body, Body::None);
        let Body::Running(running) = body else {
            self.body = body;
            return;
        };
        let ours = running.struck || signal.is_some_and(|signal| running.sent.contains(&signal));
        let cause = match &running.ending {
            Some(ending) => ending.cause,
            None if ours => ExitCause::Fault,
            None => ExitCause::Itself,
        };
        self.tell(Tell::Exited { code, signal, cause });
        self.last_carries = running.carries;
        if !self.on {
            self.tell(Tell::Down);
            return;
        }
        if running.ready.is_some_and(|ready| now.saturating_sub(ready) >= STEADY.mul_f64(self.setup.scale)) {
            self.delay = self.setup.restart.delay;
        }
        let by_policy = || (code != Some(0), if ours { StartReason::Fault } else { StartReason::Crash });
        self.start = match (cause, by_policy()) {
            (ExitCause::Swap | ExitCause::End, _) => Some((now, StartReason::Swap)),
            (ExitCause::Fault, _) if running.ending.is_some() || running.start_after => {
                Some((now, StartReason::Fault))
            }
            (_, (failed, reason)) => self.policy(now, failed).map(|at| (at, reason)),
        };
        self.hit_ended(now, signal);
        if cause != ExitCause::Itself {
            // What we ended ourselves has its whole time again.
            self.await_anew();
        }
    }

    /// When its orchestrator starts it again after it ended.
    fn policy(&mut self, now: Duration, failed: bool) -> Option<Duration> {
        let restart = self.setup.restart;
        let starts = match restart.when {
            RestartWhen::Always => true,
            RestartWhen::OnFailure => failed,
            RestartWhen::Never => false,
        };
        starts.then(|| {
            let at = now + self.delay.mul_f64(self.setup.scale);
            let next = self.delay.as_secs_f64() * restart.backoff.max(1.0);
            self.delay = Duration::from_secs_f64(next.min(restart.max_delay.as_secs_f64()));
            at
        })
    }

    /// What was only until now.
    fn expire(&mut self, now: Duration) {
        self.holds.retain(|hold| hold.until > now);
        let late = self.setup.within;
        let Body::Running(running) = &mut self.body else { return };
        if running.ready.is_none()
            && !running.told_late
            && late.is_some_and(|within| running.since + within <= now)
        {
            running.told_late = true;
            self.out.push(Command::Tell(Tell::NotReady));
        }
        if let Some(ending) = &mut running.ending
            && !ending.killed
            && ending.kill_at <= now
        {
            ending.killed = true;
            self.out.push(Command::Signal(Signal::SIGKILL));
        }
        let paused = !running.pauses.is_empty();
        running.pauses.retain(|pause| pause.until.is_none_or(|until| until > now));
        if paused && running.pauses.is_empty() {
            self.resume();
        }
    }

    /// Nothing holds it any more.
    pub(super) fn resume(&mut self) {
        self.out.push(Command::Signal(Signal::SIGCONT));
        self.tell(Tell::Resumed);
    }

    /// Starts what is due.
    fn renew(&mut self, now: Duration) {
        if !self.on || !matches!(self.body, Body::None) {
            return;
        }
        if let Some(reason) = self.wanted()
            && self.start.is_none_or(|(at, _)| at > now)
        {
            self.start = Some((now, reason));
        }
        if let Some((at, reason)) = self.start
            && at <= now
            && self.holds.is_empty()
        {
            self.start = None;
            let carried = || self.swaps.iter().filter(|swap| swap.left != Some(0));
            let carries = carried().map(|swap| swap.id).collect();
            let swaps = carried().map(|swap| swap.swap.clone()).collect();
            self.body = Body::Spawning { carries };
            self.out.push(Command::Spawn { reason, swaps });
        }
    }

    /// Why it has to be started now, if somebody waits for that.
    fn wanted(&self) -> Option<StartReason> {
        self.turns.iter().find(|turn| turn.stage == Stage::Awaiting { by: None }).map(|turn| {
            match turn.what {
                What::Start => StartReason::First,
                What::Process(_) => StartReason::Fault,
                What::Swap { .. } | What::Next { .. } | What::Undo { .. } => StartReason::Swap,
            }
        })
    }

    /// How long its SIGKILL has been without effect before it counts as lost.
    pub(super) fn patience(&self) -> Duration {
        self.setup.grace + LOST
    }

    /// How it was, in words: not ready in time.
    pub(super) fn too_late(&self) -> String {
        format!("was not ready within {}", Span(self.within()))
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
