//! How each thing that the machine says is carried out.

use super::command;
use super::driver::Driver;
use super::guard::Guards;
use super::load::{self, Counts, Order};
use super::machine::{Command, Input, Wait};
use super::probes;
use super::services::{asked, is_early};
use super::stage::{Stage, urls};
use crate::model::{FaultRule, On, Phase};
use crate::report::{Exit, judge};
use crate::supervise::Failure;
use crate::telemetry::Event;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The user's command under way.
pub(super) struct Cmd {
    pub(super) argv: Vec<String>,
    pub(super) running: command::Running,
    pub(super) told: bool,
}

impl Driver<'_> {
    /// Carries one command out; what comes of it at once is put behind `inputs`.
    pub(super) async fn carry_out(&mut self, command: Command, inputs: &mut VecDeque<Input>) {
        match command {
            Command::Enter(phase) => {
                self.guards = (phase == Phase::Fault && !self.experiment.guardrails.is_empty()).then(|| {
                    let now = self.stage.now();
                    (now, Guards::new(&self.experiment.guardrails, now))
                });
                self.stage.enter(phase);
                self.ask(phase, inputs);
                if phase == Phase::Idle {
                    // What ended before callers are stopped is told before, so that the fold can tell them apart.
                    self.settle().await;
                }
                self.stage.publish(Event::Phase { phase });
                // Exchanges that come before the faults are in force belong to their phase and are spared.
                if phase != Phase::Fault {
                    self.tell(&judge::checks(self.experiment, &self.fold));
                }
            }
            Command::ArmEarly(life) => self.arm(life, true, inputs),
            Command::Arm(life) => {
                self.arm(life, false, inputs);
                self.tell(&judge::checks(self.experiment, &self.fold));
            }
            Command::BringUp => {
                let (stage, up) = (Arc::clone(&self.stage), self.stage.bring_up());
                self.waiting = Some(Box::pin(async move {
                    match up.await {
                        Ok(()) => Input::ServicesUp,
                        Err(failure) => {
                            tell_failures(stage.as_ref(), vec![failure]);
                            Input::Broken
                        }
                    }
                }));
            }
            Command::Settle => {
                let (stage, settled) = (Arc::clone(&self.stage), self.stage.settled());
                self.waiting = Some(Box::pin(async move {
                    Input::Settled { well: tell_failures(stage.as_ref(), settled.await) }
                }));
            }
            Command::PutDown => {
                let (stage, down) = (Arc::clone(&self.stage), self.stage.put_down());
                self.waiting = Some(Box::pin(async move {
                    tell_failures(stage.as_ref(), down.await);
                    Input::ServicesDown
                }));
            }
            Command::Late(wait) => {
                let (exit, text) = match wait {
                    Wait::Start => (Exit::Environment, "the services did not come up in time"),
                    Wait::Apply => (Exit::Failed, "what the faults change could not be changed in time"),
                    Wait::Restore => (Exit::NotRestored, "what the faults changed was not put back in time"),
                    Wait::PutDown => {
                        (Exit::NotRestored, "the services did not end in time: `brownout restore` ends them")
                    }
                };
                self.stage.publish(Event::Trouble { exit: exit.code(), text: text.into() });
            }
            Command::Heal(why) => {
                self.guards = None;
                self.stage.heal_all(why.as_str());
            }
            Command::StartLoad => self.start_load(inputs),
            Command::StopLoad => {
                if let Some(load) = &self.load {
                    load.stop();
                }
            }
            Command::StartCommand => self.start_command(inputs),
            Command::StopCommand => {
                if let Some(command) = &mut self.command {
                    command.told = true;
                    command.running.terminate();
                }
            }
            Command::KillCommand => {
                if let Some(command) = &mut self.command {
                    command.told = true;
                    command.running.kill();
                }
            }
            Command::Judge => {
                self.settle().await;
                self.fold.look(self.stage.now());
                inputs.push_back(Input::Baseline(judge::baseline(self.experiment, &self.fold)));
            }
            Command::Wake(at) => self.wake = Some(at),
            Command::Finish(_) => {}
        }
    }

    /// Probes ask as long as there are phases.
    fn ask(&mut self, phase: Phase, inputs: &mut VecDeque<Input>) {
        if phase == Phase::Idle {
            self.probes = None;
        }
        if phase == Phase::Idle || self.probes.is_some() {
            return;
        }
        let urls = urls(self.experiment, &self.stage.edges());
        let probes: Result<Vec<_>, String> = (self.experiment.expects.iter())
            .filter_map(|expectation| match &expectation.on {
                On::Probe(probe) => Some(asked(probe, &urls).map(|probe| (expectation.name.clone(), probe))),
                On::Edge { .. } | On::Service { .. } | On::Spread(_) => None,
            })
            .collect();
        if probes.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        let stage = Arc::clone(&self.stage);
        let publish: probes::Publish = Arc::new(move |event| stage.publish(event));
        let scale = self.experiment.run.time_scale;
        let started = probes.and_then(|probes| {
            probes::start(probes, &self.stage.edges(), scale, self.stage.marker(), publish)
        });
        match started {
            Ok(running) => self.probes = Some(running),
            Err(text) => inputs.push_back(self.trouble(Exit::Environment, text)),
        }
    }

    /// Arms the faults that have to be in force before the fault phase, or the others.
    fn arm(&self, life: Duration, early: bool, inputs: &mut VecDeque<Input>) {
        let scale = self.experiment.run.time_scale;
        let experiment = self.experiment;
        let due =
            |rule: &&FaultRule| rule.armed && is_early(rule) == early && experiment.skips(rule).is_none();
        for rule in experiment.faults.iter().filter(due) {
            if let Err(refusal) = self.stage.arm(rule, life, scale) {
                let text = format!("fault `{}` could not be armed: {refusal}", rule.name);
                inputs.push_back(self.trouble(Exit::Environment, text));
                break;
            }
        }
    }

    pub(super) fn trouble(&self, exit: Exit, text: String) -> Input {
        self.stage.publish(Event::Trouble { exit: exit.code(), text });
        Input::Broken
    }

    fn start_load(&mut self, inputs: &mut VecDeque<Input>) {
        let Some(load) = &self.experiment.load else { return };
        let Some(target) = self.stage.edges().get(load.edge).copied() else {
            inputs.push_back(self.trouble(Exit::Bug, "the edge of the load does not stand".into()));
            return;
        };
        let stage = Arc::clone(&self.stage);
        let tell = Box::new(move |Counts { sent, shed, timed_out }| {
            stage.publish(Event::Load { sent, shed, timed_out });
        });
        match load::start(Order { load: load.clone(), target, seed: self.options.seed, tell }) {
            Ok(running) => self.load = Some(running),
            Err(error) => {
                let text = format!("the load cannot run: {error}");
                inputs.extend([Input::LoadEnded, self.trouble(Exit::Environment, text)]);
            }
        }
    }

    pub(super) fn load_ended(
        &mut self,
        counts: Option<Counts>,
        inputs: &mut VecDeque<Input>,
    ) -> Option<Input> {
        self.load = None;
        if counts.is_none() {
            inputs.push_back(self.trouble(Exit::Bug, "the load died".into()));
        }
        Some(Input::LoadEnded)
    }

    fn start_command(&mut self, inputs: &mut VecDeque<Input>) {
        let Some(argv) = &self.options.command else { return };
        let edges = urls(self.experiment, &self.stage.edges());
        let mut env = command::environment(self.stage.admin(), &edges);
        env.extend(self.stage.marker());
        let argv = match command::fill(argv, &edges) {
            Ok(argv) => argv,
            Err(text) => {
                inputs.extend([self.trouble(Exit::Usage, text), Input::CommandEnded { well: true }]);
                return;
            }
        };
        self.progress.give_way();
        match command::start(&argv, &env) {
            Ok(running) => {
                self.stage.child(running.pid());
                self.stage.publish(Event::Command { argv: argv.clone(), exit: None, stopped: false });
                self.command = Some(Cmd { argv, running, told: false });
            }
            Err(error) => {
                let name = argv.first().map_or("", String::as_str);
                let text = format!("the command `{name}` cannot be started: {error}");
                inputs.extend([self.trouble(Exit::Environment, text), Input::CommandEnded { well: true }]);
            }
        }
    }

    pub(super) fn command_ended(&mut self, exit: i32) -> Input {
        if let Some(Cmd { argv, told, .. }) = self.command.take() {
            self.stage.publish(Event::Command { argv, exit: Some(exit), stopped: told });
        }
        Input::CommandEnded { well: exit == 0 }
    }
}

/// Publishes what could not be done; whether all of it could.
fn tell_failures(stage: &dyn Stage, failures: Vec<Failure>) -> bool {
    let well = failures.is_empty();
    for Failure { exit, text } in failures {
        stage.publish(Event::Trouble { exit, text });
    }
    well
}
