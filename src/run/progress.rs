//! What a person sees while a run is under way: on a terminal one calm line, rewritten in place; elsewhere plain lines.
//!
//! Everything goes to standard error. Times are the file's.

use crate::model::{Experiment, Phase};
use crate::report::Fold;
use crate::report::figures::{clock, number, seconds, share};
use crate::telemetry::{Event, Stamped, Window};
use crate::units::Unit;
use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

/// Over which time the figures of the line are taken.
const RECENT: f64 = 2.0;
/// How often a plain line says where the run stands.
const PLAIN: f64 = 10.0;

/// How much is shown, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    said: f64,
    drawn: bool,
}

impl Progress {
    /// Writes to `out`, which is standard error or a test's buffer.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, kind: Kind, experiment: &Experiment) -> Self {
        let run = &experiment.run;
        Self {
            out,
            kind,
            scale: if run.time_scale > 0.0 { run.time_scale } else { 1.0 },
            edges: experiment.edges.iter().map(|edge| edge.name.to_string()).collect(),
            lengths: vec![
                (Phase::Warmup, run.warmup),
                (Phase::Baseline, run.baseline),
                (Phase::Fault, run.fault),
                (Phase::Recovery, run.recovery),
            ],
            recent: VecDeque::new(),
            active: Vec::new(),
            said: 0.0,
            drawn: false,
        }
    }

    /// The command writes to the same terminal: no line is rewritten under it.
    pub fn give_way(&mut self) {
        self.clear();
        if self.kind == Kind::Live {
            self.kind = Kind::Plain;
        }
    }

    /// Takes an event in, after the fold did.
    pub fn take(&mut self, stamped: &Stamped) {
        let t = stamped.t / self.scale;
        let text = match &stamped.event {
            Event::Started { name, seed, .. } => {
                let total: Duration = self.lengths.iter().map(|(_, length)| *length).sum();
                Some(format!("{name}: {} in all, seed {seed}", clock(total.as_secs_f64())))
            }
            Event::Phase { phase: Phase::Idle } => None,
            Event::Phase { phase } => {
                self.said = stamped.t;
                let length = self.length(*phase);
                Some(format!("{} for {}", phase.as_str(), clock(length.as_secs_f64())))
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
            Event::Service { .. }
            | Event::Deed { .. }
            | Event::Undone { .. }
            | Event::Probe { .. }
            | Event::Command { .. }
            | Event::Load { .. }
            | Event::Struck { .. }
            | Event::Unwritten { .. }
            | Event::Finished => None,
        };
        let weighty = matches!(stamped.event, Event::Trouble { .. });
        if let Some(text) = text
            && (weighty || self.kind != Kind::Quiet)
        {
            self.clear();
            let _ = writeln!(self.out, "{:>8}  {text}", clock(t));
        }
    }

    /// Called four times a second.
    pub fn beat(&mut self, now: f64, fold: &Fold) {
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
            Kind::Plain | Kind::Quiet => {}
        }
    }

    /// Takes the live line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(self.out, "\r\x1b[2K");
            let _ = self.out.flush();
        }
    }

    fn length(&self, phase: Phase) -> Duration {
        self.lengths.iter().find(|(other, _)| *other == phase).map_or(Duration::ZERO, |(_, length)| *length)
    }

    /// Where the run stands, in a line; `None` outside its phases.
    fn line(&self, now: f64, fold: &Fold) -> Option<String> {
        let (phase, from, _) = fold.phases.last().filter(|(_, _, to)| to.is_none())?;
        let length = self.length(*phase).as_secs_f64();
        let elapsed = ((now - from) / self.scale).clamp(0.0, length);
        let mut line = format!("{} {}/{}", phase.as_str(), clock(elapsed.floor()), clock(length));
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
}
