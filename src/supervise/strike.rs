//! What faults do to a service, as its processes come and go: turns that have waited strike, and those whose process has come are
//! answered.

use super::life::{Body, Command, Pause, Tell};
use super::machine::Machine;
use super::turn::{Stage, Turn, What};
use crate::model::ProcessWhat;
use crate::telemetry::ExitCause;
use crate::units::Span;
use nix::sys::signal::Signal;
use std::time::Duration;

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
                    let signal = turn.signal().map_or("a signal", Signal::as_str);
                    self.failed(&turn, &format!("was sent {signal} and did not end"));
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
                Body::Running(running) if running.start_after.is_some() => None,
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
                let by = now + if signal == Signal::SIGKILL { patience } else { self.setup.grace };
                running.struck = Some(by);
                turn.stage = Stage::Sent { by };
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
