//! What faults do to a service: the part of its machine that applies deeds and takes them back.
//!
//! Each order is a [`Turn`]. It waits for a process to strike, for a struck process to end, or for one to be ready, and is
//! answered once; only a deed that repeats goes on after its answer, until its fault is over.

use super::Pace;
use super::life::{Body, Hold, Running, Swap, Tell};
use super::machine::Machine;
use crate::model::{Deed, EnvApply, EnvSwap, ProcessDeed, ProcessWhat};
use crate::telemetry::StartReason;
use crate::units::Name;
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
    pub(super) deed: ProcessDeed,
    scale: f64,
    pub(super) left: u32,
    pub(super) again: bool,
    /// The process that was struck last.
    pub(super) after: u32,
    /// It is to be kept down once it has ended.
    pub(super) holds: bool,
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

    /// The signal that it sends.
    pub(super) fn signal(&self) -> Option<Signal> {
        match &self.what {
            What::Process(Blow { deed: ProcessDeed { what: ProcessWhat::Kill(signal), .. }, .. }) => {
                Some(*signal)
            }
            _ => None,
        }
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
    pub(super) fn fits(&self, running: &Running, incarnation: u32) -> bool {
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
            if let (Stage::Sent { by }, What::Process(blow), Body::Running(running)) =
                (turn.stage, &turn.what, &mut self.body)
                && blow.deed.down.is_some()
            {
                // It was to be kept down for a time, and that time is over before it is down.
                running.start_after = Some(by);
                back = true;
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
    pub(super) fn done(&mut self, turn: &Turn, text: &str) {
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
    pub(super) fn failed(&mut self, turn: &Turn, text: &str) {
        self.told(turn, false, text);
        if !turn.answered {
            let failure = self.failure(turn.exit(), text);
            self.tell(Tell::Answer(turn.id, Err(failure)));
        }
    }

    pub(super) fn told(&mut self, turn: &Turn, done: bool, text: &str) {
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
    pub(super) fn repeat(&mut self, mut turn: Turn) {
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
}
