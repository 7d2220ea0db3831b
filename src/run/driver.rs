//! Carries out what the [`machine`](super::machine) says on a [`Stage`], and tells it what happens.

use super::carry::Cmd;
use super::guard::Guards;
use super::load::{self, Counts};
use super::machine::{Input, Run, Setup};
use super::probes;
use super::progress::Progress;
use super::services;
use super::stage::{Answer, Stage, Stop};
use crate::analysis::{Findings, analyse};
use crate::model::Experiment;
use crate::report::{CheckResult, During, Exit, Fold, Report, Terms, build, judge, recipe};
use crate::telemetry::{Event, Stamped};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// How often guardrails are looked at and progress is shown.
const BEAT: Duration = Duration::from_millis(250);
/// How often a run under way is analysed, in seconds.
const ANALYSE: f64 = 2.0;
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
        services: services::needs(experiment),
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
        recipe: recipe(experiment, &options.terms, options.seed).map(Box::new),
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
        waiting: None,
        probes: None,
        analysis: None,
        analysed: 0.0,
        stops: 0,
    };
    driver.progress.at(driver.stage.admin());
    driver.stage.publish(started(experiment, options));
    driver.remark(&setup);
    driver.drive(signals).await;
    driver.finish().await
}

pub(super) struct Driver<'e> {
    pub(super) stage: Arc<dyn Stage>,
    pub(super) experiment: &'e Experiment,
    pub(super) options: &'e Options,
    pub(super) events: Receiver<Arc<Stamped>>,
    pub(super) machine: Run,
    pub(super) progress: Progress,
    pub(super) fold: Fold,
    /// Since when, and what is watched.
    pub(super) guards: Option<(f64, Guards)>,
    pub(super) began: Instant,
    pub(super) wake: Option<Duration>,
    pub(super) command: Option<Cmd>,
    pub(super) load: Option<load::Running>,
    /// The probes, while a phase lasts.
    pub(super) probes: Option<probes::Running>,
    /// What services will answer.
    pub(super) waiting: Option<Answer<Input>>,
    /// An analysis under way, for whoever looks on.
    analysis: Option<JoinHandle<Findings>>,
    /// When the last one began.
    analysed: f64,
    pub(super) stops: u32,
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
        for rule in self.experiment.faults.iter().filter(|rule| rule.armed) {
            if let Some(reason) = self.experiment.skips(rule) {
                texts.push(format!("fault `{}` is skipped: {reason}", rule.name));
            }
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
                why = broken_probe(&mut self.probes) => { self.probes = None; Some(self.trouble(Exit::Environment, why)) }
                findings = found(&mut self.analysis) => { self.analysis = None; self.progress.found(findings); None }
                input = answer(&mut self.waiting) => { self.waiting = None; Some(input) }
                _ = beat.tick() => self.beat(),
                () = tokio::time::sleep_until(wake) => Some(Input::Tick),
                Some(event) = self.events.recv() => self.take(&event),
            };
            inputs.extend(input);
        }
    }

    fn beat(&mut self) -> Option<Input> {
        let now = self.stage.now();
        if self.analysis.is_none() && self.progress.wants_findings() && now - self.analysed >= ANALYSE {
            self.analysed = now;
            let traffic = self.fold.traffic();
            self.analysis = Some(tokio::task::spawn_blocking(move || analyse(&traffic)));
        }
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
    pub(super) async fn settle(&mut self) {
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
        self.progress.end();
        let report = build(&self.fold, self.experiment, &self.options.terms);
        self.tell(&report.expectations);
        report
    }

    /// How each expectation stands, for the metrics.
    pub(super) fn tell(&self, checks: &[CheckResult]) {
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

async fn broken_probe(probes: &mut Option<probes::Running>) -> String {
    match probes {
        Some(probes) => probes.broken().await,
        None => std::future::pending().await,
    }
}

async fn answer(waiting: &mut Option<Answer<Input>>) -> Input {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

async fn found(analysis: &mut Option<JoinHandle<Findings>>) -> Findings {
    match analysis {
        Some(analysis) => analysis.await.unwrap_or_default(),
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
