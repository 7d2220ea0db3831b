//! What a person sees while a run is under way: on a terminal a screen, or one calm line, rewritten in place; elsewhere plain
//! lines.
//!
//! Everything goes to standard error. Times are the file's.

use super::view::{Screen, View};
use crate::analysis::Findings;
use crate::model::{Experiment, Phase};
use crate::report::Fold;
use crate::report::figures::{clock, number, seconds, share};
use crate::telemetry::{Did, Event, ExitCause, Saw, Stamped, StartReason, Window};
use crate::units::{Name, Unit};
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// Over which time the figures of the line are taken.
const RECENT: f64 = 2.0;
/// How often a plain line says where the run stands.
const PLAIN: f64 = 10.0;

/// How much is shown, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole terminal: see [`view`](super::view).
    Screen,
    /// One line, rewritten in place.
    Live,
    /// Lines.
    Plain,
    /// Only what went wrong.
    Quiet,
}

/// The progress of one run.
pub struct Progress {
    out: Box<dyn Write + Send>,
    kind: Kind,
    scale: f64,
    edges: Vec<String>,
    lengths: Vec<(Phase, Duration)>,
    recent: VecDeque<(f64, Window)>,
    active: Vec<String>,
    /// Probes that see what must not be.
    wrong: Vec<Name>,
    said: f64,
    drawn: bool,
    stopping: bool,
    view: Option<(View, Option<Screen>)>,
}

impl Progress {
    /// Writes to `out`, which is standard error or a test's buffer.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, kind: Kind, experiment: &Experiment) -> Self {
        let run = &experiment.run;
        let scale = if run.time_scale > 0.0 { run.time_scale } else { 1.0 };
        let lengths = vec![
            (Phase::Warmup, run.warmup),
            (Phase::Baseline, run.baseline),
            (Phase::Fault, run.fault),
            (Phase::Recovery, run.recovery),
        ];
        let view = (kind == Kind::Screen).then(|| (View::new(experiment, lengths.clone(), scale), None));
        Self {
            out,
            kind,
            scale,
            edges: experiment.edges.iter().map(|edge| edge.name.to_string()).collect(),
            lengths,
            view,
            recent: VecDeque::new(),
            active: Vec::new(),
            wrong: Vec::new(),
            said: 0.0,
            drawn: false,
            stopping: false,
        }
    }

    /// The command writes to the same terminal: no line is rewritten under it.
    pub fn give_way(&mut self) {
        self.end();
        if self.kind == Kind::Live {
            self.kind = Kind::Plain;
        }
    }

    /// Nothing more is shown in place: what was told on the screen is written as lines.
    pub fn end(&mut self) {
        self.clear();
        if let Some((view, screen)) = self.view.take() {
            drop(screen);
            self.kind = Kind::Plain;
            for (t, text) in view.lines() {
                let _ = writeln!(self.out, "{:>8}  {text}", clock(*t));
            }
        }
    }

    /// Where the admin address is, which has the live page.
    pub fn at(&mut self, admin: Option<SocketAddr>) {
        if let Some((view, _)) = &mut self.view {
            view.admin(admin);
        }
    }

    /// Whether there is anybody to be shown what an analysis finds.
    #[must_use]
    pub fn wants_findings(&self) -> bool {
        self.view.is_some()
    }

    /// What an analysis has found so far.
    pub fn found(&mut self, findings: Findings) {
        if let Some((view, _)) = &mut self.view {
            view.found(findings);
        }
    }

    /// Takes an event in, after the fold did.
    pub fn take(&mut self, stamped: &Stamped) {
        let t = stamped.t / self.scale;
        if let Some((view, _)) = &mut self.view {
            view.take(stamped);
        }
        let text = match &stamped.event {
            Event::Started { name, seed, .. } => {
                let total: Duration = self.lengths.iter().map(|(_, length)| *length).sum();
                Some(format!("{name}: {} in all, seed {seed}", clock(total.as_secs_f64())))
            }
            Event::Phase { phase: Phase::Idle } => None,
            Event::Phase { phase } => {
                self.said = stamped.t;
                Some(match self.length(*phase) {
                    Some(length) => format!("{} for {}", phase.as_str(), clock(length.as_secs_f64())),
                    None => format!("{}: services are being changed", phase.as_str()),
                })
            }
            Event::Armed { fault, .. } => {
                self.active.push(fault.to_string());
                Some(format!("armed: {fault}"))
            }
            Event::Healed { fault, why, matched, hits, .. } => {
                self.active.retain(|name| name != fault.as_str());
                Some(format!("healed: {fault} ({why}; {matched} matched, {hits} hit)"))
            }
            Event::Guardrail { name, key, .. } => Some(format!("guardrail breached: {name} ({key})")),
            Event::Interrupted { signal } if std::mem::replace(&mut self.stopping, true) => {
                Some(format!("leaving ({signal})"))
            }
            Event::Interrupted { signal } => Some(format!("stopping ({signal}); once more leaves at once")),
            Event::Command { exit: Some(exit), stopped: false, .. } if *exit != 0 => {
                Some(format!("the command failed with exit code {exit}"))
            }
            Event::Warning { text } => Some(format!("warning: {text}")),
            Event::Trouble { text, .. } => Some(format!("error: {text}")),
            Event::Window(window) => {
                self.recent.push_back((stamped.t, window.clone()));
                while self.recent.front().is_some_and(|(at, _)| *at <= stamped.t - RECENT) {
                    self.recent.pop_front();
                }
                None
            }
            Event::Service { service, incarnation, did } => lived(service, *incarnation, did),
            Event::Deed { fault, service, done: false, text, .. } => {
                Some(format!("not done: {fault} on {service}: {text}"))
            }
            Event::Undone { fault, service, done: true, .. } => {
                Some(format!("put back: {service} ({fault})"))
            }
            Event::Undone { fault, service, text, .. } => {
                Some(format!("error: {service} could not be put back ({fault}): {text}"))
            }
            Event::Probe { probe, saw, text, .. } => self.probe(probe, *saw, text.as_deref()),
            Event::Deed { .. }
            | Event::Command { .. }
            | Event::Load { .. }
            | Event::Struck { .. }
            | Event::Unwritten { .. }
            | Event::Passed { .. }
            | Event::Stalled { .. }
            | Event::Finished => None,
        };
        let weighty = matches!(stamped.event, Event::Trouble { .. } | Event::Undone { done: false, .. });
        if let Some(text) = text
            && (weighty || self.kind != Kind::Quiet)
        {
            if let Some((view, _)) = &mut self.view {
                return view.say(t, text);
            }
            self.clear();
            let _ = writeln!(self.out, "{:>8}  {text}", clock(t));
        }
    }

    /// Called four times a second.
    pub fn beat(&mut self, now: f64, fold: &Fold) {
        if self.kind == Kind::Screen {
            return self.show(now);
        }
        let Some(line) = self.line(now, fold) else { return };
        match self.kind {
            Kind::Live => {
                let width = terminal_size::terminal_size_of(std::io::stderr())
                    .map_or(80, |(width, _)| usize::from(width.0));
                let line: String = line.chars().take(width.saturating_sub(1)).collect();
                let _ = write!(self.out, "\r\x1b[2K{line}");
                let _ = self.out.flush();
                self.drawn = true;
            }
            Kind::Plain if now - self.said >= PLAIN => {
                self.said = now;
                let _ = writeln!(self.out, "{:>8}  {line}", clock(now / self.scale));
            }
            Kind::Screen | Kind::Plain | Kind::Quiet => {}
        }
    }

    /// The screen as it is now; a terminal that cannot be had, or is gone, gets lines.
    fn show(&mut self, now: f64) {
        let Some((view, screen)) = &mut self.view else { return };
        view.at(now);
        let shown = match screen {
            Some(screen) => screen.show(view),
            None => Screen::take().and_then(|taken| screen.insert(taken).show(view)),
        };
        if shown.is_err() {
            self.end();
        }
    }

    /// Takes the live line away.
    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(self.out, "\r\x1b[2K");
            let _ = self.out.flush();
        }
    }

    /// How long a phase is to be; `None`: as long as it takes.
    fn length(&self, phase: Phase) -> Option<Duration> {
        self.lengths.iter().find(|(other, _)| *other == phase).map(|(_, length)| *length)
    }

    /// Only that it turned, not each answer.
    fn probe(&mut self, probe: &Name, saw: Saw, text: Option<&str>) -> Option<String> {
        let known = self.wrong.iter().position(|wrong| wrong == probe);
        match (saw, known) {
            (Saw::Wrong, None) => {
                self.wrong.push(probe.clone());
                Some(format!("wrong: {probe}: {}", text.unwrap_or("not what must be")))
            }
            (Saw::Right, Some(place)) => {
                self.wrong.remove(place);
                Some(format!("right again: {probe}"))
            }
            _ => None,
        }
    }

    /// Where the run stands, in a line; `None` outside its phases.
    fn line(&self, now: f64, fold: &Fold) -> Option<String> {
        let (phase, from, _) = fold.phases.last().filter(|(_, _, to)| to.is_none())?;
        let elapsed = ((now - from) / self.scale).max(0.0);
        let mut line = match self.length(*phase).map(|length| length.as_secs_f64()) {
            Some(length) => {
                format!("{} {}/{}", phase.as_str(), clock(elapsed.min(length).floor()), clock(length))
            }
            None => format!("{} {}", phase.as_str(), clock(elapsed.floor())),
        };
        for (place, name) in self.edges.iter().enumerate() {
            line.push_str(&self.edge(place, name, now - from));
        }
        if !self.active.is_empty() {
            line.push_str("  [");
            line.push_str(&self.active.join(", "));
            line.push(']');
        }
        Some(line)
    }

    fn edge(&self, place: usize, name: &str, elapsed: f64) -> String {
        let mut sum = Window::default();
        for (_, window) in self.recent.iter().filter(|(_, window)| usize::from(window.edge) == place) {
            sum.merge(window);
        }
        let rate = number(Unit::PerSecond, (sum.requests as f64 / RECENT.min(elapsed.max(0.25))).round());
        let success = match sum.requests {
            0 => "–".to_owned(),
            all => share(all.saturating_sub(sum.failed) as f64 / all as f64),
        };
        let p95 =
            sum.durations.quantile(0.95).map_or_else(String::new, |value| format!(" p95 {}", seconds(value)));
        format!("  {name} {rate} {success}{p95}")
    }
}

/// What is worth a line of a service's life.
#[must_use]
pub fn lived(service: &Name, incarnation: u32, did: &Did) -> Option<String> {
    let text = match did {
        Did::Started { reason, env, .. } => {
            let why = match reason {
                StartReason::First => "",
                StartReason::Crash => " again",
                StartReason::Fault => " again after a fault",
                StartReason::Swap => " to change its environment",
            };
            let changed: Vec<_> = env.iter().filter(|var| var.changed).map(|var| var.name.as_str()).collect();
            let changed = if changed.is_empty() {
                String::new()
            } else {
                format!(" with another {}", changed.join(", "))
            };
            format!("started{why}{changed}")
        }
        Did::Ready { after } => format!("ready after {}", seconds(*after)),
        Did::NotReady { text } => format!("not ready: {text}"),
        Did::NotStarted { text } => format!("could not be started: {text}"),
        Did::Exited { cause: ExitCause::End, .. } => "stopped".to_owned(),
        Did::Exited { cause: ExitCause::Swap, .. } => "stopped to change its environment".to_owned(),
        Did::Exited { code, signal, cause } => {
            let how = match (code, signal) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => signal.clone(),
                (None, None) => "nobody knows how".to_owned(),
            };
            let why = if *cause == ExitCause::Fault { ", by a fault" } else { "" };
            format!("ended ({how}{why})")
        }
        Did::Paused => "paused".to_owned(),
        Did::Resumed => "goes on".to_owned(),
        Did::Log { .. } | Did::Unwritten { .. } => return None,
    };
    let number = if incarnation > 1 { format!(" #{incarnation}") } else { String::new() };
    Some(format!("{service}{number}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{Captured, experiment};

    #[test]
    fn plain_lines_say_what_changed_and_now_and_then_where_it_stands() {
        let captured = Captured::default();
        let experiment = experiment();
        let mut progress = Progress::new(Box::new(captured.clone()), Kind::Plain, &experiment);
        let mut fold = Fold::new();
        let mut tell = |t: f64, event: Event, progress: &mut Progress| {
            let stamped = Stamped { t, event };
            fold.take(&stamped);
            progress.take(&stamped);
            progress.beat(t, &fold);
        };
        tell(0.0, Event::Phase { phase: Phase::Baseline }, &mut progress);
        for n in 1..=48 {
            let mut window = Window {
                edge: 0,
                phase: Some(Phase::Baseline),
                requests: 10,
                failed: 1,
                ..Window::default()
            };
            window.durations.record(Duration::from_millis(20));
            tell(f64::from(n) * 0.25, Event::Window(window), &mut progress);
        }
        tell(20.0, Event::Phase { phase: Phase::Fault }, &mut progress);
        let fault = experiment.faults[0].name.clone();
        tell(
            20.0,
            Event::Armed { fault, edges: vec![1], services: vec![], owner: "run".into() },
            &mut progress,
        );
        assert_eq!(
            captured.text(),
            "      0s  baseline for 20s\n     10s  baseline 10s/20s  checkout 40/s 90% p95 20.1ms  provider 0/s –\n     \
             20s  fault for 1m\n     20s  armed: provider is slow\n"
        );
    }

    #[test]
    fn services_and_probes_have_a_line_when_something_changes() {
        use crate::telemetry::EnvShown;
        let captured = Captured::default();
        let mut progress = Progress::new(Box::new(captured.clone()), Kind::Plain, &experiment());
        let api = |incarnation, did| Event::Service { service: "api".parse().unwrap(), incarnation, did };
        let probe = |saw| Event::Probe {
            probe: "closed".parse().unwrap(),
            saw,
            took: 0.1,
            text: (saw == Saw::Wrong).then(|| "status 200, expected 404".into()),
        };
        let env = vec![
            EnvShown { name: "MODE".into(), value: Some("secret".into()), changed: true },
            EnvShown { name: "HOME".into(), value: None, changed: false },
        ];
        let killed = Did::Exited { code: None, signal: Some("SIGKILL".into()), cause: ExitCause::Fault };
        for event in [
            api(1, Did::Started { pid: 1, reason: StartReason::First, env: vec![], holds: vec![] }),
            api(1, Did::Log { err: false, line: "hello".into() }),
            api(1, Did::Ready { after: 0.25 }),
            probe(Saw::Right),
            api(1, killed),
            probe(Saw::Unreachable),
            api(2, Did::Started { pid: 2, reason: StartReason::Fault, env, holds: vec![] }),
            probe(Saw::Wrong),
            probe(Saw::Wrong),
            probe(Saw::Unreachable),
            probe(Saw::Wrong),
            probe(Saw::Right),
            api(2, Did::Exited { code: Some(1), signal: None, cause: ExitCause::Itself }),
            Event::Phase { phase: Phase::Restore },
        ] {
            progress.take(&Stamped { t: 0.0, event });
        }
        let text = captured.text();
        let lines: Vec<_> = text.lines().map(|line| line.trim_start().trim_start_matches("0s  ")).collect();
        assert_eq!(
            lines,
            [
                "api: started",
                "api: ready after 250ms",
                "api: ended (SIGKILL, by a fault)",
                "api #2: started again after a fault with another MODE",
                "wrong: closed: status 200, expected 404",
                "right again: closed",
                "api #2: ended (exit code 1)",
                "restore: services are being changed",
            ]
        );
    }
}
