//! The guardrails: sliding windows over what the edges do, and whether one was crossed for too long. Pure.

use crate::model::Guardrail;
use crate::report::judge;
use crate::telemetry::Window;
use crate::units::Name;
use std::collections::VecDeque;
use std::time::Duration;

/// Under so many exchanges a guardrail keeps its opinion.
const SAMPLES: u64 = 20;

/// All guardrails of a run, from the moment faults are armed.
#[derive(Debug)]
pub struct Guards {
    since: f64,
    rails: Vec<Rail>,
}

/// A guardrail that was crossed for too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// Its name.
    pub name: Name,
    /// The key.
    pub key: String,
    /// What was seen.
    pub observed: f64,
}

#[derive(Debug)]
struct Rail {
    rule: Guardrail,
    recent: VecDeque<(f64, Window)>,
    /// For each check: since when it is crossed, and the last value.
    crossed: Vec<Option<(f64, f64)>>,
}

impl Guards {
    /// Watches from this time on (seconds since the start of the run).
    #[must_use]
    pub fn new(rules: &[Guardrail], since: f64) -> Self {
        let rails = rules
            .iter()
            .map(|rule| Rail {
                crossed: vec![None; rule.checks.len()],
                rule: rule.clone(),
                recent: VecDeque::new(),
            })
            .collect();
        Self { since, rails }
    }

    /// What is watched.
    pub fn rules(&self) -> impl Iterator<Item = &Guardrail> {
        self.rails.iter().map(|rail| &rail.rule)
    }

    /// Takes in a window that ended at this time.
    pub fn take(&mut self, at: f64, window: &Window) {
        for rail in &mut self.rails {
            if u16::try_from(rail.rule.edge) == Ok(window.edge) {
                rail.recent.push_back((at, window.clone()));
            }
        }
    }

    /// The first guardrail that is breached at this time.
    #[must_use]
    pub fn look(&mut self, now: f64) -> Option<Breach> {
        let since = self.since;
        self.rails.iter_mut().find_map(|rail| rail.look(now, since))
    }
}

impl Rail {
    fn look(&mut self, now: f64, since: f64) -> Option<Breach> {
        let span = self.rule.window.as_secs_f64();
        while self.recent.front().is_some_and(|(at, _)| *at <= now - span) {
            self.recent.pop_front();
        }
        let mut sum = Window::default();
        for (_, window) in &self.recent {
            sum.merge(window);
        }
        if judge::samples(&sum, self.rule.include_injected) >= SAMPLES {
            let seconds = span.min(now - since);
            for (check, crossed) in self.rule.checks.iter().zip(&mut self.crossed) {
                let seen = judge::measure(check.metric, &sum, seconds, self.rule.include_injected);
                match seen.filter(|value| check.limit.holds(*value)) {
                    Some(value) => crossed.get_or_insert((now, value)).1 = value,
                    // Nothing timed in the window: no opinion on percentiles either.
                    None if seen.is_none() => {}
                    None => *crossed = None,
                }
            }
        }
        self.rule.checks.iter().zip(&self.crossed).find_map(|(check, crossed)| {
            let (from, observed) = (*crossed)?;
            let lasted = Duration::try_from_secs_f64(now - from).unwrap_or_default();
            // Times are rounded to the microsecond.
            (lasted + Duration::from_micros(1) >= self.rule.lasts).then(|| Breach {
                name: self.rule.name.clone(),
                key: check.metric.key(),
                observed,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Check, Metric};

    fn rule(limit: &str, lasts: u64) -> Guardrail {
        Guardrail {
            name: "stop".parse().unwrap(),
            edge: 0,
            checks: vec![Check { metric: Metric::ErrorRate, limit: limit.parse().unwrap(), line: 1 }],
            lasts: Duration::from_secs(lasts),
            window: Duration::from_secs(5),
            include_injected: false,
            line: 1,
        }
    }

    fn window(edge: u16, requests: u64, failed: u64, injected: u64) -> Window {
        Window { edge, requests, failed, injected, injected_failed: injected, ..Window::default() }
    }

    /// When it breaches, if every 250 ms window is what `of` says of its number.
    fn breach(rule: Guardrail, windows: u32, of: impl Fn(u32) -> Window) -> Option<f64> {
        let mut guards = Guards::new(&[rule], 100.0);
        (1..=windows).find_map(|n| {
            let at = 100.0 + f64::from(n) * 0.25;
            guards.take(at, &of(n));
            guards.look(at).map(|_| at - 100.0)
        })
    }

    #[test]
    fn breached_when_crossed_throughout_its_time() {
        assert_eq!(breach(rule("> 50%", 2), 40, |_| window(0, 20, 20, 0)), Some(2.25));
        assert_eq!(breach(rule("> 50%", 0), 40, |_| window(0, 20, 20, 0)), Some(0.25));
        assert_eq!(breach(rule("> 50%", 2), 40, |_| window(0, 20, 10, 0)), None, "not above");
        assert_eq!(breach(rule("> 50%", 2), 40, |_| window(1, 20, 20, 0)), None, "another edge");
    }

    #[test]
    fn a_dip_below_begins_anew() {
        let wave = |n: u32| window(0, 1000, if (4..8).contains(&n) { 0 } else { 600 }, 0);
        let at = breach(rule("> 50%", 1), 60, wave).unwrap();
        assert!(at > 5.0, "the window holds the good second for five: {at}");
    }

    #[test]
    fn under_twenty_samples_nothing_changes() {
        assert_eq!(breach(rule("> 50%", 1), 40, |n| window(0, u64::from(n == 1) * 19, 19, 0)), None);
        // Crossed once, then silence: it stays crossed, because a system that hangs is not better.
        let silence = |n: u32| if n == 1 { window(0, 20, 20, 0) } else { window(0, 0, 0, 0) };
        assert_eq!(breach(rule("> 50%", 10), 60, silence), Some(10.25));
    }

    #[test]
    fn injected_outcomes_count_only_if_told() {
        let all = |_| window(0, 10, 0, 30);
        assert_eq!(breach(rule("> 50%", 1), 40, all), None);
        let mut told = rule("> 50%", 1);
        told.include_injected = true;
        assert_eq!(breach(told, 40, all), Some(1.25));
    }
}
