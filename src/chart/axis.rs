//! Axes: from values to places, with few ticks at round numbers.

use super::text::{clock, digits, seconds};

/// What the values of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Counts, or counts per second: from 0, in equal steps.
    Count,
    /// Durations: in equal steps from 0, or in decades where they differ much.
    Seconds,
}

/// An upright axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    kind: Kind,
    low: f64,
    high: f64,
    log: bool,
}

/// From this ratio of the largest to the smallest on, steps are decades.
const DECADES: f64 = 20.0;

impl Axis {
    /// An axis on which all of these lie.
    pub(super) fn over(kind: Kind, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if kind == Kind::Seconds && low.is_finite() && high / low >= DECADES {
            let decade = |value: f64| 10f64.powf(value);
            let low = decade(low.max(1e-5).log10().floor());
            return Self { kind, low, high: (high * 1.15).max(low * 10.0), log: true };
        }
        let least = if kind == Kind::Seconds { 1e-3 } else { 1.0 };
        let high = high.max(least);
        Self { kind, low: 0.0, high: (high / step(high, 3)).ceil() * step(high, 3), log: false }
    }

    /// Its steps are decades.
    pub(super) fn is_log(&self) -> bool {
        self.log
    }

    /// Where a value lies: 0 at the foot, 1 at the top, never outside.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round values with their texts, the lowest first.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let text = |value: f64| match self.kind {
            Kind::Count => count(value),
            Kind::Seconds => seconds(value),
        };
        let values: Vec<f64> = if self.log {
            let (first, last) = (self.low.log10().round() as i32, self.high.log10().floor() as i32);
            let every = usize::try_from((last - first) / 4 + 1).unwrap_or(1);
            (first..=last).step_by(every).map(|power| 10f64.powi(power)).collect()
        } else {
            let step = step(self.high, 3);
            let steps = (self.high / step).round() as u32;
            (0..=steps).map(|n| f64::from(n) * step).collect()
        };
        values.into_iter().map(|value| (value, text(value))).collect()
    }
}

fn count(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", digits(v / 1e6)),
        v if v >= 1e4 => format!("{}k", digits(v / 1e3)),
        v if v >= 100.0 => format!("{v:.0}"),
        v => digits(v),
    }
}

/// The round step that cuts this much into at most so many pieces.
fn step(high: f64, most: u32) -> f64 {
    let least = high / f64::from(most);
    let decade = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|n| n * decade)
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(least)
}

/// Round times between two, at most `most` of them, with their texts.
pub(super) fn times(from: f64, to: f64, most: usize) -> Vec<(f64, String)> {
    const STEPS: [f64; 22] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
        3600.0, 7200.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0,
    ];
    let length = (to - from).max(0.0);
    let last = STEPS.last().copied().unwrap_or(1.0);
    let fits = |step: &&f64| length / **step < most as f64;
    let step =
        STEPS.iter().find(fits).copied().unwrap_or_else(|| last * (length / last / most as f64).ceil());
    let text = |t: f64| if length >= 100.0 { clock(t) } else { format!("{}s", digits(t)) };
    let first = (from / step - 1e-9).ceil();
    (0..=most)
        .map(|n| (first + n as f64) * step)
        .take_while(|t| *t <= to + 1e-9)
        .map(|t| (t, text(t)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        let texts = |axis: &Axis| axis.ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        for (kind, high, expected) in [
            (Kind::Count, 50.0, vec!["0", "20", "40", "60"]),
            (Kind::Count, 0.0, vec!["0", "0.5", "1"]),
            (Kind::Count, 12_000.0, vec!["0", "5000", "10k", "15k"]),
            (Kind::Seconds, 0.3, vec!["0ms", "100ms", "200ms", "300ms"]),
            (Kind::Seconds, 2.0, vec!["0ms", "1s", "2s"]),
        ] {
            let axis = Axis::over(kind, [high].into_iter());
            assert_eq!(texts(&axis), expected, "{high}");
            assert!(!axis.is_log());
        }
        let log = Axis::over(Kind::Seconds, [0.002, 8.0].into_iter());
        assert_eq!(texts(&log), ["1ms", "10ms", "100ms", "1s"]);
        assert!(log.is_log() && log.place(0.001) == 0.0 && log.place(8.0) < 1.0);
    }

    #[test]
    fn times_are_few_and_round() {
        let texts = |from, to| times(from, to, 6).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(0.0, 50.0), ["0s", "10s", "20s", "30s", "40s", "50s"]);
        assert_eq!(texts(0.0, 110.0), ["0:00", "0:20", "0:40", "1:00", "1:20", "1:40"]);
        assert_eq!(texts(0.0, 3600.0), ["0:00", "15:00", "30:00", "45:00", "1:00:00"]);
        assert_eq!(texts(95.5, 99.0), ["96s", "97s", "98s", "99s"]);
        for length in [0.0, 0.01, 7.0, 86_400.0, 1e7, 1e9] {
            assert!(times(0.0, length, 6).len() <= 7, "{length}");
        }
    }
}
