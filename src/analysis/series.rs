//! Small arithmetic over samples: quantiles, and what no sample may touch.

use super::Traffic;

/// The value below which `share` of the samples lie; they get sorted.
pub(super) fn quantile(samples: &mut [f64], share: f64) -> Option<f64> {
    if samples.is_empty() {
        return None;
    }
    let place = ((samples.len() - 1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
    let (_, value, _) = samples.select_nth_unstable_by(place, f64::total_cmp);
    Some(*value)
}

/// The value in the middle; they get sorted.
pub(super) fn median(samples: &mut [f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// Whether something between `from` and `to` falls into a stretch in which Brownout itself stood still.
pub(super) fn stalled(traffic: &Traffic, from: f64, to: f64) -> bool {
    traffic.stalls.iter().any(|stall| from <= stall.1 && to >= stall.0)
}

/// When the traffic of a run was cut: what had not ended then is no sample of an ending.
pub(super) fn cut(traffic: &Traffic) -> f64 {
    traffic.phases.last().map_or(traffic.end, |last| last.to.min(traffic.end))
}
