//! How long a caller pauses before each further attempt: end of one to start of the next, of calls with all their attempts.
//!
//! The law of a jitter is never claimed, only the median, and that only where the samples pin it down.

use super::Claim;
use super::calls::{View, quantile, sorted};
use super::timeout::millis;

/// Fewer calls say nothing.
const FEWEST: usize = 5;
/// The median must be known this well.
const PRECISE: f64 = 0.1;

/// The pauses before the first, second … further attempt, and what was seen.
pub(super) fn backoff(
    view: &View<'_>,
    retries: u32,
    hindered: &[(f64, f64)],
) -> (Option<Claim<Vec<f64>>>, String) {
    let attempts = retries as usize + 1;
    let free = |from: f64, to: f64| !hindered.iter().any(|(start, stop)| *start < to && from < *stop);
    let full: Vec<_> = view
        .chains
        .iter()
        .filter(|chain| chain.sure && chain.attempts.len() == attempts)
        .filter(|chain| match (view.first(chain), view.last(chain)) {
            (Some(first), Some(last)) => {
                !view.stalled(first.began, last.ended()) && free(first.ended(), last.began)
            }
            _ => false,
        })
        .collect();
    let silent = |why: String| (None, format!("backoff not told: {why}"));
    if full.len() < FEWEST {
        return silent(format!("only {} calls made all their attempts undisturbed", full.len()));
    }
    let mut pauses = Vec::new();
    let mut worst: f64 = 0.0;
    for place in 0..attempts - 1 {
        let gaps = sorted(
            full.iter()
                .map(|chain| {
                    let (before, after) = (chain.attempts[place], chain.attempts[place + 1]);
                    (view.row(after).began - view.row(before).ended()).max(0.0)
                })
                .collect(),
        );
        let (Some(median), Some(low), Some(high)) =
            (quantile(&gaps, 0.5), quantile(&gaps, 0.1), quantile(&gaps, 0.9))
        else {
            return silent("no pauses".into());
        };
        // The median's own uncertainty, by the ranks around it.
        let reach = 0.98 / (gaps.len() as f64).sqrt();
        let doubt = match (quantile(&gaps, 0.5 - reach), quantile(&gaps, 0.5 + reach)) {
            (Some(from), Some(to)) => (to - from) / 2.0,
            _ => median,
        };
        if doubt > PRECISE * median + 0.001 {
            return silent(format!(
                "pauses before attempt {} are spread from {} to {}, too wide for {} calls",
                place + 2,
                millis(low),
                millis(high),
                gaps.len()
            ));
        }
        worst = worst.max(doubt / median.max(0.001));
        // Timers fire late, never early: of pauses all alike the shorter ones are right.
        let alike = high - low < 0.006 + 0.02 * median;
        pauses.push(if alike { quantile(&gaps, 0.25).unwrap_or(median) } else { median });
    }
    let told: Vec<String> = pauses.iter().map(|pause| millis(*pause)).collect();
    let says = format!("pauses {} between attempts: medians of {} calls", told.join(", "), full.len());
    (Some(Claim { value: pauses, confidence: (1.0 - worst) * (1.0 - 1.0 / full.len() as f64) }), says)
}
