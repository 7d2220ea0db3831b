//! Small arithmetic over samples: quantiles, bounds of a share, and what no sample may touch.

use super::Traffic;

/// The value below which `share` of the samples lie; they are put out of order.
pub(super) fn quantile(samples: &mut [f64], share: f64) -> Option<f64> {
    if samples.is_empty() {
        return None;
    }
    let place = ((samples.len() - 1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
    let (_, value, _) = samples.select_nth_unstable_by(place, f64::total_cmp);
    Some(*value)
}

/// The value in the middle; they are put out of order.
pub(super) fn median(samples: &mut [f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// The upper end of Wilson's interval for a share seen in `n` samples, `z` standard deviations wide.
pub(super) fn at_most(share: f64, n: usize, z: f64) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let n = n as f64;
    let square = z * z;
    let spread = (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    ((share + square / (2.0 * n) + z * spread) / (1.0 + square / n)).min(1.0)
}

/// Stretches in which Brownout itself stood still, joined and in order.
#[derive(Debug, Default)]
pub(super) struct Stalls(Vec<(f64, f64)>);

impl Stalls {
    pub(super) fn of(traffic: &Traffic) -> Self {
        let mut spans: Vec<(f64, f64)> = traffic.stalls.clone();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut joined: Vec<(f64, f64)> = Vec::with_capacity(spans.len());
        for span in spans {
            match joined.last_mut() {
                Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
                _ => joined.push(span),
            }
        }
        Self(joined)
    }

    /// Whether something between `from` and `to` falls into one.
    pub(super) fn touch(&self, from: f64, to: f64) -> bool {
        let next = self.0.partition_point(|stall| stall.1 < from);
        self.0.get(next).is_some_and(|stall| stall.0 <= to)
    }
}

/// When the traffic of a run was cut: what had not ended then is no sample of an ending.
pub(super) fn cut(traffic: &Traffic) -> f64 {
    traffic.phases.last().map_or(traffic.end, |last| last.to.min(traffic.end))
}
