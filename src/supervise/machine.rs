//! One service as a pure machine: from what happens to it to what is to be done, without a clock, a process or a log.
//!
//! Whatever comes in, in whatever order: there are never two processes of a service, every order is answered exactly once and
//! within a bounded time, what no deed holds any more runs as the file says, and a service that is told to stop ends down.
//! What faults do to it is in `turn`. Knows nothing of other services, and of no environment more than who swapped it.

use super::Failure;
use super::life::{Body, Command, Ending, Hold, Input, LOST, Running, Setup, State, Swap, Tell};
use super::turn::{Stage, Turn, What};
use crate::model::{ProcessDeed, RestartWhen};
use crate::telemetry::{ExitCause, StartReason};
use crate::units::{Name, Span};
use nix::sys::signal::Signal;
use std::time::Duration;

/// After so long (scaled) of being ready, the next restart comes after the first delay again.
const STEADY: Duration = Duration::from_secs(60);
/// How long a service that is ready as soon as it runs may take to be started.
const AT_ONCE: Duration = Duration::from_secs(20);

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
            [pauses, kill, lost, running.start_after, late.map(|within| running.since + within)]
                .into_iter()
                .flatten()
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
            struck: None,
            sent: Vec::new(),
            start_after: None,
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
        // What it survived for so long is not what ended it.
        let by_fault = running.struck.is_some_and(|by| now <= by);
        let ours = by_fault || signal.is_some_and(|signal| running.sent.contains(&signal));
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
            (ExitCause::Fault, _) if running.ending.is_some() || running.start_after.is_some() => {
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
        running.start_after = running.start_after.filter(|until| *until > now);
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
