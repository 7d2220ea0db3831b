//! How long, drawn: the laws of probability that a duration of the file may follow.

use super::Dice;
use rand_distr::Distribution as _;
use std::sync::Arc;
use std::time::Duration;

/// A duration drawn by a law, never above `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The law.
    pub law: Law,
    /// No draw is longer.
    pub max: Option<Duration>,
}

/// The laws. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Always the same.
    Fixed(f64),
    /// Evenly between the two.
    Uniform(f64, f64),
    /// Normal, cut off at zero.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        stddev: f64,
    },
    /// Log-normal, by its median and its 99th percentile: mu = ln(median), sigma = ln(p99 / median) / 2.3263479.
    LogNormal {
        /// Half of the draws are shorter.
        median: f64,
        /// 99 of 100 draws are shorter.
        p99: f64,
    },
    /// Pareto: the shortest draw and the shape (alpha); the smaller the shape, the heavier the tail.
    Pareto {
        /// The shortest draw.
        min: f64,
        /// Alpha.
        shape: f64,
    },
    /// Through these points, straight between them: (quantile 0 to 1, seconds), rising in both.
    Percentiles(Arc<[(f64, f64)]>),
    /// One of these, each as likely as the others.
    Samples(Arc<[f64]>),
    /// A sine in time between two values: (1 - cos(2 pi t / period)) / 2, which begins at `min`.
    Wave {
        /// At the start.
        min: f64,
        /// After half a period.
        max: f64,
        /// The period.
        period: f64,
    },
}

impl Distribution {
    /// Always this long.
    #[must_use]
    pub fn fixed(time: Duration) -> Self {
        Self { law: Law::Fixed(time.as_secs_f64()), max: None }
    }

    /// One draw; `elapsed` is the time since the fault was armed (only `Wave` looks at it).
    #[must_use]
    pub fn draw(&self, dice: &mut Dice, elapsed: Duration) -> Duration {
        let seconds = match &self.law {
            Law::Fixed(time) => *time,
            Law::Uniform(low, high) => low + (high - low) * dice.unit(),
            Law::Normal { mean, stddev } => {
                rand_distr::Normal::new(*mean, *stddev).map_or(*mean, |law| law.sample(dice))
            }
            Law::LogNormal { median, p99 } => {
                let sigma = (p99 / median).ln() / 2.326_347_9;
                rand_distr::LogNormal::new(median.ln(), sigma).map_or(*median, |law| law.sample(dice))
            }
            Law::Pareto { min, shape } => {
                rand_distr::Pareto::new(*min, *shape).map_or(*min, |law| law.sample(dice))
            }
            Law::Percentiles(points) => interpolate(points, dice.unit()),
            Law::Samples(samples) => {
                let n = (dice.unit() * samples.len() as f64) as usize;
                samples.get(n).copied().unwrap_or(0.0)
            }
            Law::Wave { min, max, period } => {
                let turn = elapsed.as_secs_f64() / period * std::f64::consts::TAU;
                min + (max - min) * (1.0 - turn.cos()) / 2.0
            }
        };
        let bound = self.max.map_or(Self::LONGEST, |max| max.as_secs_f64().min(Self::LONGEST));
        Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, bound) } else { bound })
    }

    /// No draw of any law is longer than a day.
    const LONGEST: f64 = 86_400.0;
}

fn interpolate(points: &[(f64, f64)], at: f64) -> f64 {
    let mut before = (0.0, points.first().map_or(0.0, |p| p.1));
    for &point in points {
        if at <= point.0 {
            let width = point.0 - before.0;
            let share = if width > 0.0 { (at - before.0) / width } else { 1.0 };
            return before.1 + (point.1 - before.1) * share;
        }
        before = point;
    }
    before.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Key;

    fn quantile(law: Law, q: f64) -> f64 {
        let d = Distribution { law, max: None };
        let mut draws: Vec<f64> = (0..20_001)
            .map(|n| d.draw(&mut Dice::new(1, Key(9), Key(n)), Duration::ZERO).as_secs_f64())
            .collect();
        draws.sort_by(f64::total_cmp);
        draws[((draws.len() - 1) as f64 * q) as usize]
    }

    #[test]
    fn every_law_has_its_quantiles() {
        for (law, q, expected) in [
            (Law::Fixed(0.3), 0.5, 0.3),
            (Law::Uniform(1.0, 2.0), 0.5, 1.5),
            (Law::Uniform(1.0, 2.0), 0.99, 1.99),
            (Law::Normal { mean: 1.0, stddev: 0.1 }, 0.5, 1.0),
            (Law::Normal { mean: 1.0, stddev: 0.1 }, 0.841, 1.1),
            (Law::LogNormal { median: 0.1, p99: 1.0 }, 0.5, 0.1),
            (Law::LogNormal { median: 0.1, p99: 1.0 }, 0.99, 1.0),
            (Law::Pareto { min: 0.1, shape: 2.0 }, 0.75, 0.2),
            (Law::Percentiles(Arc::new([(0.5, 0.1), (0.9, 0.2), (0.99, 1.0)])), 0.5, 0.1),
            (Law::Percentiles(Arc::new([(0.5, 0.1), (0.9, 0.2), (0.99, 1.0)])), 0.9, 0.2),
            (Law::Samples(Arc::new([0.1, 0.2, 0.3])), 0.5, 0.2),
        ] {
            let got = quantile(law.clone(), q);
            assert!((got - expected).abs() < expected * 0.12, "{law:?} q{q}: {got}");
        }
    }

    /// The same seed means the same delays after an upgrade of a library too: if this fails, keep the old way of drawing.
    #[test]
    fn draws_are_the_same_for_ever() {
        for (law, micros) in [
            (Law::Uniform(1.0, 2.0), [1186359, 1626750]),
            (Law::Normal { mean: 1.0, stddev: 0.1 }, [824931, 1045033]),
            (Law::LogNormal { median: 0.1, p99: 1.0 }, [17678, 156163]),
            (Law::Pareto { min: 0.1, shape: 2.0 }, [231645, 126314]),
        ] {
            let d = Distribution { law, max: None };
            let draw = |n| d.draw(&mut Dice::new(42, Key::of(b"f"), Key(n)), Duration::ZERO).as_micros();
            assert_eq!([draw(1), draw(2)], micros, "{:?}", d.law);
        }
    }

    #[test]
    fn no_draw_passes_its_max_or_zero() {
        let wild =
            Distribution { law: Law::Pareto { min: 1.0, shape: 0.1 }, max: Some(Duration::from_secs(2)) };
        let cut = Distribution { law: Law::Normal { mean: 0.0, stddev: 1.0 }, max: None };
        for n in 0..1000 {
            let mut dice = Dice::new(1, Key(1), Key(n));
            assert!(wild.draw(&mut dice, Duration::ZERO) <= Duration::from_secs(2));
            let _ = cut.draw(&mut dice, Duration::ZERO);
        }
    }

    #[test]
    fn a_wave_swings() {
        let wave = Distribution { law: Law::Wave { min: 0.1, max: 0.5, period: 10.0 }, max: None };
        let at = |s| wave.draw(&mut Dice::new(1, Key(1), Key(1)), Duration::from_secs(s)).as_secs_f64();
        assert!((at(0) - 0.1).abs() < 1e-6 && (at(5) - 0.5).abs() < 1e-6 && (at(10) - 0.1).abs() < 1e-6);
    }
}
