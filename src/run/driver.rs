//! Carries out what the [`machine`](super::machine) says on a [`Stage`], and tells it what happens.

use super::command;
use super::guard::Guards;
use super::load::{self, Counts, Order};
use super::machine::{Command, Input, Run, Setup};
use super::progress::Progress;
use super::stage::{Stage, Stop, urls};
use crate::model::{Experiment, Phase};
use crate::report::{CheckResult, During, Exit, Fold, Report, Terms, build, judge};
use crate::telemetry::{Event, Stamped};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior};

/// How often guardrails are looked at and progress is shown.
const BEAT: Duration = Duration::from_millis(250);
/// How long events that are on their way are waited for.
const SETTLE: Duration = Duration::from_secs(2);

/// What a run is told beside its file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How Brownout was called.
    pub argv: Vec<String>,
    /// The seed in force.
    pub seed: u64,
    /// The user's command.
    pub command: Option<Vec<String>>,
    /// The built-in load runs beside the command.
    pub with_load: bool,
    /// How the run is judged, and when the command runs.
    pub terms: Terms,
}

/// What the file and the options make of a run.
#[must_use]
pub fn setup(experiment: &Experiment, options: &Options) -> Setup {
    let run = &experiment.run;
    let real = |length: Duration| {
        Duration::try_from_secs_f64(length.as_secs_f64() * run.time_scale).unwrap_or(length)
    };
    Setup {
        warmup: real(run.warmup),
        baseline: real(run.baseline),
        fault: real(run.fault),
        recovery: real(run.recovery),
        load: experiment.load.is_some() && (options.command.is_none() || options.with_load),
        command: options.command.as_ref().map(|_| options.terms.during),
        unsampled_is_fine: options.terms.allow_vacuous
            || (options.command.is_some() && options.terms.during == During::Fault),
    }
}

/// The event with which a run begins.
#[must_use]
pub fn started(experiment: &Experiment, options: &Options) -> Event {
    Event::Started {
        name: experiment.name.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        file: experiment.source.path.display().to_string(),
        sha256: experiment.source.sha256.clone(),
        argv: options.argv.clone(),
        seed: options.seed,
        at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        edges: experiment
            .edges
            .iter()
            .map(|edge| (edge.name.to_string(), edge.from.clone(), edge.to.clone()))
            .collect(),
    }
}

/// The report of a run whose stage could not be set up.
#[must_use]
pub fn not_started(experiment: &Experiment, options: &Options, exit: Exit, why: &str) -> Report {
    let mut fold = Fold::new();
    let trouble = Event::Trouble { exit: exit.code(), text: why.to_owned() };
    for event in [started(experiment, options), trouble, Event::Finished] {
        fold.take(&Stamped { t: 0.0, event });
    }
    build(&fold, experiment, &options.terms)
}

/// Runs an experiment on a stage that stands, to its report. Returns once everything is healed and put away.
pub async fn run(
    stage: Arc<dyn Stage>,
    experiment: &Experiment,
    options: &Options,
    signals: &mut Receiver<Stop>,
    progress: Progress,
) -> Report {
    let setup = setup(experiment, options);
    let mut driver = Driver {
        events: stage.subscribe(),
        machine: Run::new(setup.clone()),
        stage,
        experiment,
        options,
        progress,
        fold: Fold::new(),
        guards: None,
        began: Instant::now(),
        wake: None,
        command: None,
        load: None,
        stops: 0,
    };
    driver.stage.publish(started(experiment, options));
    driver.remark(&setup);
    driver.drive(signals).await;
    driver.finish().await
}

struct Driver<'e> {
    stage: Arc<dyn Stage>,
    experiment: &'e Experiment,
    options: &'e Options,
    events: Receiver<Arc<Stamped>>,
    machine: Run,
    progress: Progress,
    fold: Fold,
    /// Since when, and what is watched.
    guards: Option<(f64, Guards)>,
    began: Instant,
    wake: Option<Duration>,
    command: Option<Cmd>,
    load: Option<load::Running>,
    stops: u32,
}

struct Cmd {
    argv: Vec<String>,
    running: command::Running,
    told: bool,
}

impl Driver<'_> {
    /// What a user should know before it begins.
    fn remark(&self, setup: &Setup) {
        let mut texts = Vec::new();
        if setup.baseline.is_zero() {
            texts.push("there is no baseline: nobody checks that the system was healthy before".to_owned());
        }
        for rail in self.experiment.guardrails.iter().filter(|rail| rail.lasts >= setup.fault) {
            let name = &rail.name;
            texts.push(format!(
                "guardrail `{name}` can never be breached: its `for` is as long as the fault phase"
            ));
        }
        for text in texts {
            self.stage.publish(Event::Warning { text });
        }
    }

    async fn drive(&mut self, signals: &mut Receiver<Stop>) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut listening = true;
        let mut inputs = VecDeque::from([Input::Start]);
        while !self.machine.is_done() {
            if let Some(input) = inputs.pop_front() {
                for command in self.machine.handle(self.began.elapsed(), input) {
                    self.carry_out(command, &mut inputs).await;
                }
                continue;
            }
            let wake = self.began + self.wake.unwrap_or(SETTLE);
            let input = tokio::select! {
                biased;
                stop = signals.recv(), if listening => match stop {
                    Some(stop) => {
                        self.stops += 1;
                        self.stage.publish(Event::Interrupted { signal: stop.as_str().into() });
                        Some(Input::Interrupted)
                    }
                    None => { listening = false; None }
                },
                exit = command_end(&mut self.command) => Some(self.command_ended(exit)),
                counts = load_end(&mut self.load) => self.load_ended(counts, &mut inputs),
                _ = beat.tick() => self.beat(),
                () = tokio::time::sleep_until(wake) => Some(Input::Tick),
                Some(event) = self.events.recv() => self.take(&event),
            };
            inputs.extend(input);
        }
    }

    async fn carry_out(&mut self, command: Command, inputs: &mut VecDeque<Input>) {
        match command {
            Command::Enter(phase) => {
                self.guards = (phase == Phase::Fault && !self.experiment.guardrails.is_empty()).then(|| {
                    let now = self.stage.now();
                    (now, Guards::new(&self.experiment.guardrails, now))
                });
                self.stage.enter(phase);
                if phase == Phase::Idle {
                    // What ended before callers are stopped is told before, so that the fold can tell them apart.
                    self.settle().await;
                }
                self.stage.publish(Event::Phase { phase });
                self.tell(&judge::checks(self.experiment, &self.fold));
            }
            Command::Arm(life) => {
                let scale = self.experiment.run.time_scale;
                for rule in self.experiment.faults.iter().filter(|rule| rule.armed) {
                    if let Err(refusal) = self.stage.arm(rule, life, scale) {
                        let text = format!("fault `{}` could not be armed: {refusal}", rule.name);
                        inputs.push_back(self.trouble(Exit::Environment, text));
                        break;
                    }
                }
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
                inputs.push_back(Input::Baseline(judge::baseline(self.experiment, &self.fold)));
            }
            Command::Wake(at) => self.wake = Some(at),
            Command::Finish(_) => {}
        }
    }

    fn trouble(&self, exit: Exit, text: String) -> Input {
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

    fn load_ended(&mut self, counts: Option<Counts>, inputs: &mut VecDeque<Input>) -> Option<Input> {
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

    fn command_ended(&mut self, exit: i32) -> Input {
        if let Some(Cmd { argv, told, .. }) = self.command.take() {
            self.stage.publish(Event::Command { argv, exit: Some(exit), stopped: told });
        }
        Input::CommandEnded { well: exit == 0 }
    }

    fn beat(&mut self) -> Option<Input> {
        let now = self.stage.now();
        self.progress.beat(now, &self.fold);
        let breach = self.guards.as_mut()?.1.look(now)?;
        self.guards = None;
        self.stage.publish(Event::Guardrail {
            name: breach.name,
            key: breach.key,
            observed: breach.observed,
        });
        Some(Input::Breached)
    }

    fn take(&mut self, stamped: &Stamped) -> Option<Input> {
        self.fold.take(stamped);
        self.progress.take(stamped);
        match &stamped.event {
            Event::Window(window) => {
                if let Some((since, guards)) = &mut self.guards
                    && stamped.t >= *since
                {
                    guards.take(stamped.t, window);
                }
                None
            }
            Event::Healed { why, .. } if why == "halt" => Some(Input::Halted),
            _ => None,
        }
    }

    /// Everything that has ended so far is in the fold when this returns.
    async fn settle(&mut self) {
        let stage = Arc::clone(&self.stage);
        let mut flush = tokio::task::spawn_blocking(move || stage.flush());
        let limit = Instant::now() + SETTLE;
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => { self.take(&event); }
                _ = &mut flush => break,
                () = tokio::time::sleep_until(limit) => break,
            }
        }
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
    }

    async fn finish(mut self) -> Report {
        // Whoever asks twice does not wait for figures.
        if self.stops < 2 {
            self.settle().await;
        }
        self.stage.publish(Event::Finished);
        let limit = Instant::now() + SETTLE;
        while !self.fold.finished {
            match tokio::time::timeout_at(limit, self.events.recv()).await {
                Ok(Some(event)) => {
                    self.take(&event);
                }
                Ok(None) | Err(_) => break,
            }
        }
        self.progress.clear();
        let report = build(&self.fold, self.experiment, &self.options.terms);
        self.tell(&report.expectations);
        report
    }

    /// How each expectation stands, for the metrics.
    fn tell(&self, checks: &[CheckResult]) {
        for expectation in &self.experiment.expects {
            self.stage.met(&expectation.name, judge::met(checks, &expectation.name));
        }
    }
}

async fn command_end(command: &mut Option<Cmd>) -> i32 {
    match command {
        Some(command) => command.running.ended().await,
        None => std::future::pending().await,
    }
}

async fn load_end(load: &mut Option<load::Running>) -> Option<Counts> {
    match load {
        Some(load) => load.ended().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
