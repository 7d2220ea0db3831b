//! What faults do to a service: the part of its machine that applies deeds and takes them back.
//!
//! Each order is a [`Turn`]. It waits for a process to strike, for a struck process to end, or for one to be ready, and is
//! answered once; only a deed that repeats goes on after its answer, until its fault is over.

use super::Pace;
use super::machine::{Body, Command, Hold, Machine, Pause, Running, Swap, Tell};
use crate::model::{Deed, EnvApply, EnvSwap, ProcessDeed, ProcessWhat};
use crate::telemetry::{ExitCause, StartReason};
use crate::units::{Name, Span};
use nix::sys::signal::Signal;
use std::time::Duration;

/// An order under way.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) id: u64,
    /// `None`: not a fault's.
    pub(super) fault: Option<Name>,
    pub(super) what: What,
    pub(super) stage: Stage,
    pub(super) answered: bool,
}

/// What was ordered.
#[derive(Clone, Debug)]
pub(super) enum What {
    Start,
    /// A process with this swap is ready.
    Swap {
        swap: u64,
    },
    /// A process with this swap is started, whenever.
    Next {
        swap: u64,
    },
    Process(Blow),
    /// A process without these swaps is ready.
    Undo {
        dropped: Vec<u64>,
        actions: Vec<&'static str>,
    },
}

/// A process deed, and how often it is still to be done.
#[derive(Clone, Debug)]
pub(super) struct Blow {
    deed: ProcessDeed,
    scale: f64,
    left: u32,
    again: bool,
    /// The process that was struck last.
    after: u32,
    /// It is to be kept down once it has ended.
    holds: bool,
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A process it can be done to.
    Waiting,
    /// The end of the process that was struck.
    Sent { by: Duration },
    /// A process that is ready, by this time; `None`: it is not started yet.
    Awaiting { by: Option<Duration> },
}

impl Turn {
    pub(super) fn new(id: u64, fault: Option<Name>, what: What) -> Self {
        let stage = match what {
            What::Start | What::Swap { .. } | What::Undo { .. } => Stage::Awaiting { by: None },
            What::Next { .. } | What::Process(_) => Stage::Waiting,
        };
        Self { id, fault, what, stage, answered: false }
    }

    /// When it wants a tick.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.stage {
            Stage::Waiting => None,
            Stage::Sent { by } => Some(by),
            Stage::Awaiting { by } => by,
        }
    }

    /// It waits for a process to be ready.
    pub(super) fn awaits(&self) -> bool {
        matches!(self.stage, Stage::Awaiting { .. })
    }

    /// A process like this, once it is ready, is what it waits for.
    fn fits(&self, running: &Running, incarnation: u32) -> bool {
        match &self.what {
            What::Start => true,
            What::Swap { swap } | What::Next { swap } => running.carries.contains(swap),
            What::Process(blow) => incarnation > blow.after,
            What::Undo { dropped, .. } => !dropped.iter().any(|swap| running.carries.contains(swap)),
        }
    }

    /// The exit code that says it failed.
    fn exit(&self) -> u8 {
        match self.what {
            What::Start => 5,
            What::Swap { .. } | What::Next { .. } | What::Process(_) => 1,
            What::Undo { .. } => 7,
        }
    }
}

/// What a signal does to a process that does not care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Ends,
    Stops,
    /// It says something to those who listen.
    Tells,
}

fn effect(signal: Signal) -> Effect {
    use Signal as S;
    match signal {
        S::SIGSTOP | S::SIGTSTP | S::SIGTTIN | S::SIGTTOU => Effect::Stops,
        S::SIGHUP
        | S::SIGUSR1
        | S::SIGUSR2
        | S::SIGWINCH
        | S::SIGCONT
        | S::SIGURG
        | S::SIGCHLD
        | S::SIGIO => Effect::Tells,
        _ => Effect::Ends,
    }
}

impl Machine {
    pub(super) fn apply(&mut self, id: u64, fault: Name, deed: Deed, pace: Pace) {
        if !self.on {
            let failure = self.failure(1, "is not running, so that nothing can be done to it");
            self.tell(Tell::Answer(id, Err(failure)));
            return;
        }
        let action = deed.action();
        let first = self.armed.iter().all(|(armed, with)| *armed != fault || *with != action);
        if first && !matches!(deed, Deed::Hook(_)) {
            self.armed.push((fault.clone(), action));
        }
        let turn = match deed {
            Deed::Env(swap) => {
                let next = swap.apply == EnvApply::NextRestart;
                let swap = self.enforce(&fault, swap);
                let what = if next { What::Next { swap } } else { What::Swap { swap } };
                if next {
                    // It is in force, whenever it shows.
                    self.tell(Tell::Answer(id, Ok(())));
                }
                Turn { answered: next, ..Turn::new(id, Some(fault), what) }
            }
            Deed::Process(deed) => {
                let left = self.grant(&fault, &deed, pace);
                if left == 0 {
                    self.tell(Tell::Answer(id, Ok(())));
                    return;
                }
                let blow = Blow { deed, scale: pace.scale, left, again: false, after: 0, holds: false };
                Turn::new(id, Some(fault), What::Process(blow))
            }
            Deed::Hook(_) => {
                let failure = self.failure(70, "was told to run a hook by itself");
                self.tell(Tell::Answer(id, Err(failure)));
                return;
            }
        };
        self.turns.push(turn);
    }

    /// Puts a swap in force; one that is already has all its starts again.
    fn enforce(&mut self, fault: &Name, swap: EnvSwap) -> u64 {
        let left = match swap.apply {
            EnvApply::Restart => swap.restarts,
            EnvApply::NextRestart => Some(swap.restarts.unwrap_or(1)),
        };
        if let Some(known) = self.swaps.iter_mut().find(|known| known.fault == *fault && known.swap == swap) {
            known.left = left;
            return known.id;
        }
        self.next_swap += 1;
        self.swaps.push(Swap { id: self.next_swap, fault: fault.clone(), swap, left });
        self.next_swap
    }

    /// How often a deed may be done now.
    fn grant(&mut self, fault: &Name, deed: &ProcessDeed, pace: Pace) -> u32 {
        let limit = deed.times.unwrap_or(if pace.timeline { u32::MAX } else { 1 });
        let wanted = if pace.timeline { 1 } else { limit };
        let known = self.granted.iter().position(|(of, which, _)| of == fault && which == deed);
        let place = known.unwrap_or_else(|| {
            self.granted.push((fault.clone(), deed.clone(), 0));
            self.granted.len() - 1
        });
        let Some((_, _, so_far)) = self.granted.get_mut(place) else { return 0 };
        let granted = wanted.min(limit.saturating_sub(*so_far));
        *so_far = so_far.saturating_add(granted);
        granted
    }

    pub(super) fn undo(&mut self, now: Duration, id: u64, fault: Name) {
        let ours = |of: &Option<Name>| of.as_ref() == Some(&fault);
        let (dropped, kept): (Vec<_>, _) =
            std::mem::take(&mut self.turns).into_iter().partition(|turn| ours(&turn.fault));
        self.turns = kept;
        let mut back = false;
        for turn in dropped {
            back |= turn.awaits();
            if let (
                Stage::Sent { .. },
                What::Process(Blow { deed: ProcessDeed { down: Some(_), .. }, .. }),
                Body::Running(running),
            ) = (turn.stage, &turn.what, &mut self.body)
            {
                // It was to be kept down for a time, and that time is over.
                running.start_after = true;
            }
            self.drop_turn(&turn);
        }
        self.granted.retain(|(of, _, _)| *of != fault);
        let (swaps, kept): (Vec<_>, _) =
            std::mem::take(&mut self.swaps).into_iter().partition(|swap| swap.fault == fault);
        self.swaps = kept;
        let dropped: Vec<u64> = swaps.iter().map(|swap| swap.id).collect();
        let held = self.holds.len();
        self.holds.retain(|hold| hold.fault != fault);
        let released = self.holds.len() < held;
        let among = |carries: &Vec<u64>| carries.iter().any(|swap| dropped.contains(swap));
        match &mut self.body {
            Body::None => {
                back |= released || among(&self.last_carries);
                if released && self.holds.is_empty() {
                    self.start = Some((now, StartReason::Fault));
                }
            }
            Body::Spawning { carries } => back |= among(carries),
            Body::Running(running) => {
                back |= among(&running.carries);
                let paused = running.pauses.len();
                running.pauses.retain(|pause| pause.fault != fault);
                if running.pauses.is_empty() && paused > 0 {
                    self.resume();
                }
            }
        }
        let (armed, kept): (Vec<_>, _) =
            std::mem::take(&mut self.armed).into_iter().partition(|(of, _)| *of == fault);
        self.armed = kept;
        let actions = armed.into_iter().map(|(_, action)| action).collect();
        let turn = Turn::new(id, Some(fault), What::Undo { dropped, actions });
        if back && self.on {
            self.turns.push(turn);
        } else {
            self.done(&turn, "nothing of it is left");
        }
    }

    /// Answers a turn that nobody wants any more.
    pub(super) fn drop_turn(&mut self, turn: &Turn) {
        match turn.what {
            _ if turn.answered => {}
            What::Undo { .. } => self.done(turn, "it ended with the service"),
            What::Start => {
                let failure = self.failure(5, "was stopped before it was ready");
                self.tell(Tell::Answer(turn.id, Err(failure)));
            }
            What::Swap { .. } | What::Next { .. } | What::Process(_) => {
                self.tell(Tell::Answer(turn.id, Ok(())));
            }
        }
    }

    /// Tells and answers that a turn came about.
    fn done(&mut self, turn: &Turn, text: &str) {
        self.told(turn, true, text);
        let again = matches!(&turn.what, What::Process(blow) if blow.again);
        if !matches!(turn.what, What::Start | What::Undo { .. }) && !again {
            self.tell(Tell::Hit(turn.id));
        }
        if !turn.answered {
            self.tell(Tell::Answer(turn.id, Ok(())));
        }
    }

    /// Tells and answers that it did not, and will not.
    fn failed(&mut self, turn: &Turn, text: &str) {
        self.told(turn, false, text);
        if !turn.answered {
            let failure = self.failure(turn.exit(), text);
            self.tell(Tell::Answer(turn.id, Err(failure)));
        }
    }

    fn told(&mut self, turn: &Turn, done: bool, text: &str) {
        let Some(fault) = &turn.fault else { return };
        let fault = || fault.clone();
        match &turn.what {
            What::Start => {}
            What::Swap { .. } | What::Next { .. } => {
                self.tell(Tell::Deed { fault: fault(), action: "env", done, text: text.into() });
            }
            What::Process(_) => {
                self.tell(Tell::Deed { fault: fault(), action: "process", done, text: text.into() })
            }
            What::Undo { actions, .. } => {
                for action in actions {
                    self.tell(Tell::Undone { fault: fault(), action, done, text: text.into() });
                }
            }
        }
    }

    /// A process that carries these swaps was started.
    pub(super) fn hit_carried(&mut self, carries: &[u64]) {
        let carried = |turn: &Turn| matches!(turn.what, What::Next { swap } if carries.contains(&swap));
        let (hit, kept): (Vec<_>, _) = std::mem::take(&mut self.turns).into_iter().partition(carried);
        self.turns = kept;
        for turn in hit {
            self.done(&turn, "it was started with the other environment");
        }
    }

    /// The process ended: whoever struck it has done it, whoever wants it down keeps it down.
    pub(super) fn hit_ended(&mut self, now: Duration, signal: Option<Signal>) {
        for mut turn in std::mem::take(&mut self.turns) {
            let What::Process(blow) = &mut turn.what else {
                self.turns.push(turn);
                continue;
            };
            let sent = matches!(turn.stage, Stage::Sent { .. });
            if (sent || std::mem::take(&mut blow.holds))
                && let (Some(down), Some(fault)) = (blow.deed.down, &turn.fault)
            {
                self.holds.push(Hold { fault: fault.clone(), until: now + down.mul_f64(blow.scale) });
                self.start = Some((now, StartReason::Fault));
            }
            if sent {
                let how = signal.map_or("", Signal::as_str);
                self.done(&turn, format!("it was ended {how}").trim_end());
                self.repeat(turn);
            } else {
                self.turns.push(turn);
            }
        }
    }

    /// Keeps a deed that is to be done again.
    fn repeat(&mut self, mut turn: Turn) {
        if let What::Process(blow) = &mut turn.what
            && blow.left > 1
        {
            blow.left -= 1;
            blow.again = true;
            turn.answered = true;
            turn.stage = Stage::Waiting;
            self.turns.push(turn);
        }
    }

    /// Those who await a process await the next one.
    pub(super) fn await_anew(&mut self) {
        for turn in &mut self.turns {
            if let Stage::Awaiting { by } = &mut turn.stage {
                *by = None;
            }
        }
    }

    /// No process can be started.
    pub(super) fn fail_awaiting(&mut self, text: &str) {
        let (failed, kept): (Vec<_>, _) = std::mem::take(&mut self.turns).into_iter().partition(Turn::awaits);
        self.turns = kept;
        for turn in failed {
            self.failed(&turn, text);
        }
    }

    /// Answers those whose time, or whose process, has come.
    pub(super) fn resolve(&mut self, now: Duration) {
        let within = self.within();
        for mut turn in std::mem::take(&mut self.turns) {
            let by = match turn.stage {
                Stage::Waiting => {
                    self.turns.push(turn);
                    continue;
                }
                Stage::Sent { by } if by <= now => {
                    self.failed(&turn, "was sent a signal and did not end");
                    continue;
                }
                Stage::Sent { .. } => {
                    self.turns.push(turn);
                    continue;
                }
                Stage::Awaiting { by } => by,
            };
            let outcome = match &self.body {
                Body::Running(running) if running.is_lost(now) => {
                    Some(Err("does not end, not even by SIGKILL".into()))
                }
                Body::Running(running)
                    if running.ending.is_none() && turn.fits(running, self.incarnation) =>
                {
                    turn.stage = Stage::Awaiting { by: by.or(Some(now + within)) };
                    running.ready.map(Ok)
                }
                Body::None if !self.holds.is_empty() && matches!(turn.what, What::Undo { .. }) => {
                    Some(Ok(now))
                }
                Body::None if by.is_some() && self.start.is_none() && self.holds.is_empty() => {
                    Some(Err("ended before it was ready".into()))
                }
                Body::None | Body::Running(_) if self.is_spent(&turn) => {
                    Some(Err("ended before it was ready with the other environment".into()))
                }
                Body::None | Body::Spawning { .. } | Body::Running(_) => None,
            };
            let outcome = outcome.or_else(|| by.filter(|by| *by <= now).map(|_| Err(self.too_late())));
            match outcome {
                None => self.turns.push(turn),
                Some(Ok(_)) => {
                    let text = match &turn.what {
                        What::Process(_) => "it was restarted and is ready again",
                        What::Undo { .. } => "it runs as the file says",
                        What::Start | What::Swap { .. } | What::Next { .. } => {
                            "it was restarted with the other environment and is ready"
                        }
                    };
                    self.done(&turn, text);
                    self.repeat(turn);
                }
                Some(Err(text)) => self.failed(&turn, &text),
            }
        }
    }

    /// It waits for a process with a swap, and none will carry it.
    fn is_spent(&self, turn: &Turn) -> bool {
        let What::Swap { swap } = turn.what else { return false };
        let carried = matches!(&self.body, Body::Running(running) if running.carries.contains(&swap));
        !carried && self.swaps.iter().all(|known| known.id != swap || known.left == Some(0))
    }

    /// Does to the process what waits to be done.
    pub(super) fn strike(&mut self, now: Duration) {
        for place in 0..self.turns.len() {
            let Some(mut turn) = self.turns.get(place).cloned() else { return };
            match &self.body {
                Body::Running(running) if running.ending.is_none() => {
                    let incarnation = self.incarnation;
                    let wants = matches!(turn.what, What::Swap { .. } | What::Undo { .. });
                    if wants && !turn.fits(running, incarnation) {
                        self.end(now, ExitCause::Swap);
                        return;
                    }
                }
                Body::None if self.start.is_none() && self.holds.is_empty() => {
                    let restart =
                        matches!(&turn.what, What::Process(blow) if blow.deed.what == ProcessWhat::Restart);
                    if restart && turn.stage == Stage::Waiting && !turn.answered {
                        turn.stage = Stage::Awaiting { by: None };
                        self.replace(place, turn);
                    }
                    continue;
                }
                Body::None | Body::Spawning { .. } | Body::Running(_) => return,
            }
            if turn.stage == Stage::Waiting && matches!(turn.what, What::Process(_)) {
                self.blow(now, place, turn);
            }
        }
        self.turns.retain(|turn| !matches!(&turn.what, What::Process(blow) if blow.left == 0));
    }

    fn replace(&mut self, place: usize, turn: Turn) {
        if let Some(slot) = self.turns.get_mut(place) {
            *slot = turn;
        }
    }

    /// Strikes the process, if it can be struck now.
    fn blow(&mut self, now: Duration, place: usize, mut turn: Turn) {
        let struck = self.turns.iter().any(|turn| matches!(turn.stage, Stage::Sent { .. }));
        let incarnation = self.incarnation;
        let patience = self.patience();
        let (Body::Running(running), What::Process(blow), Some(fault)) =
            (&mut self.body, &mut turn.what, &turn.fault)
        else {
            return;
        };
        if struck || (blow.again && running.ready.is_none()) {
            return;
        }
        if blow.again && blow.after == incarnation && !matches!(blow.deed.what, ProcessWhat::Pause(_)) {
            // Once a process: it has heard it.
            return;
        }
        let (signal, text, pause) = match blow.deed.what {
            ProcessWhat::Restart => {
                blow.after = incarnation;
                blow.holds = blow.deed.down.is_some();
                turn.stage = Stage::Awaiting { by: None };
                self.replace(place, turn);
                return self.end(now, ExitCause::Fault);
            }
            ProcessWhat::Kill(signal) if effect(signal) == Effect::Ends => {
                let deaf = running.pauses.iter().any(|pause| pause.until.is_some());
                if deaf && signal != Signal::SIGKILL {
                    return;
                }
                running.struck = true;
                let by = if signal == Signal::SIGKILL { patience } else { self.setup.grace };
                turn.stage = Stage::Sent { by: now + by };
                self.out.push(Command::Signal(signal));
                return self.replace(place, turn);
            }
            ProcessWhat::Kill(signal) if effect(signal) == Effect::Stops => {
                (signal, "it was stopped".into(), Some(None))
            }
            ProcessWhat::Kill(signal) => (signal, format!("it was sent {signal}"), None),
            ProcessWhat::Pause(_) if blow.again && !running.pauses.is_empty() => return,
            ProcessWhat::Pause(time) => {
                (Signal::SIGSTOP, format!("it is stopped for {}", Span(time)), Some(Some(now + time)))
            }
        };
        match pause {
            None => running.sent.push(signal),
            Some(until) => {
                let first = running.pauses.is_empty();
                running.pauses.push(Pause { fault: fault.clone(), until });
                if first {
                    self.out.push(Command::Tell(Tell::Paused));
                }
            }
        }
        self.out.push(Command::Signal(signal));
        self.done(&turn, &text);
        if let What::Process(blow) = &mut turn.what {
            blow.left = blow.left.saturating_sub(1);
            blow.again = true;
            blow.after = incarnation;
        }
        turn.answered = true;
        self.replace(place, turn);
    }

    /// Answers those who wait for a process that will not come.
    pub(super) fn give_up_idle(&mut self) {
        if !matches!(self.body, Body::None) || self.start.is_some() || !self.holds.is_empty() {
            return;
        }
        let idle = |turn: &Turn| {
            !turn.answered && turn.stage == Stage::Waiting && matches!(turn.what, What::Process(_))
        };
        let (idle, kept): (Vec<_>, _) = std::mem::take(&mut self.turns).into_iter().partition(idle);
        self.turns = kept;
        for turn in idle {
            self.told(&turn, false, "it does not run, and nothing starts it again");
            self.tell(Tell::Answer(turn.id, Ok(())));
        }
    }
}
