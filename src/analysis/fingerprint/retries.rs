//! How often a caller tries again: the attempts of calls that were given up while their caller was free to go on.
//!
//! A call may be cut short: by its own caller that left, by a breaker that opened, by a full pool. So only calls that nothing
//! of this could have ended are counted, and the highest well supported count is the one.

use super::Claim;
use super::calls::{Chain, View, quantile, sorted};
use crate::telemetry::{Ending, Passed};
use std::collections::BTreeMap;

/// Fewer given up calls say nothing.
const FEWEST: usize = 5;
/// A caller that answers its own caller so soon after a failed attempt has no other in mind.
const AT_ONCE: f64 = 0.04;
/// A pause may be as long as this where nobody was seen to pause.
const UNKNOWN: f64 = 1.2;

/// The pauses between attempts that were seen: for each place of a pause its median, and the longest but for a few.
pub(super) struct Pauses(Vec<(f64, f64)>);

impl Pauses {
    pub(super) fn of(view: &View<'_>) -> Self {
        let mut all: Vec<Vec<f64>> = Vec::new();
        for chain in view.chains.iter().filter(|chain| chain.sure) {
            for (place, pair) in chain.attempts.windows(2).enumerate().take(50) {
                if all.len() <= place {
                    all.push(Vec::new());
                }
                all[place].push((view.row(pair[1]).began - view.row(pair[0]).ended()).max(0.0));
            }
        }
        Self(
            all.into_iter()
                .filter(|gaps| gaps.len() >= 3)
                .map_while(|gaps| {
                    let gaps = sorted(gaps);
                    Some((quantile(&gaps, 0.5)?, quantile(&gaps, 0.95)?))
                })
                .collect(),
        )
    }

    /// How long the pause after so many attempts may be; `None`: nobody was seen to try again.
    pub(super) fn longest(&self, attempts: usize) -> Option<f64> {
        if let Some((_, longest)) = self.0.get(attempts.checked_sub(1)?) {
            return Some(*longest);
        }
        let (median, longest) = *self.0.last()?;
        let growth = match self.0.len().checked_sub(2).and_then(|place| self.0.get(place)) {
            Some((before, _)) if *before > 0.0 => (median / before).clamp(1.0, 3.0),
            _ => 2.0,
        };
        let missing = attempts.saturating_sub(self.0.len()).min(4);
        Some(longest * growth.powi(missing as i32))
    }
}

/// How many attempts a call that is given up has, and what was seen. `hindered` are the times in which a caller was not free.
pub(super) fn retries(
    view: &View<'_>,
    hindered: &[(f64, f64)],
    timeout: Option<f64>,
) -> (Option<Claim<u32>>, String) {
    if !view.telling {
        return (None, "retries cannot be told: requests look alike".into());
    }
    if view.merged {
        return (None, "retries cannot be told: the caller's own caller tries again too, and ids do not tell the two apart".into());
    }
    let pauses = Pauses::of(view);
    let mut given_up: BTreeMap<usize, usize> = BTreeMap::new();
    let mut longest: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut failed, mut unsure) = (0usize, 0usize);
    for chain in &view.chains {
        let Some(last) = view.last(chain) else { continue };
        if !last.failed {
            continue;
        }
        failed += 1;
        if !chain.sure {
            unsure += 1;
            continue;
        }
        *longest.entry(chain.attempts.len()).or_default() += 1;
        if own_departures(view, chain, timeout) && is_given_up(view, chain, &pauses, hindered) {
            *given_up.entry(chain.attempts.len()).or_default() += 1;
        }
    }
    let counted: usize = given_up.values().sum();
    if failed == 0 {
        return (None, "no retries seen: no call failed".into());
    }
    let pruned = counted * if view.linked { 40 } else { 6 } < failed;
    let silent =
        |why: &str| (None, format!("retries not told: {why} ({counted} of {failed} failed calls count)"));
    let Some((attempts, support)) = given_up
        .iter()
        .rev()
        .map(|(attempts, count)| (*attempts, *count))
        .find(|(_, count)| *count >= FEWEST.max(counted / 20))
    else {
        return silent("too few calls were given up while their caller was free to go on");
    };
    if pruned {
        return silent("most calls may have been cut short");
    }
    let more: usize = longest.range(attempts + 1..).map(|(_, count)| *count).sum();
    if more > (support / 20).max(1) {
        return silent("calls that were cut short had more attempts");
    }
    if support * 10 < counted * 6 {
        return silent("calls differ in their attempts");
    }
    if unsure * 10 > failed * 9 && support < 20 {
        return silent("attempts of different calls overlap");
    }
    let share = support as f64 / counted as f64;
    let retries = attempts as u32 - 1;
    let says = format!(
        "{}: {support} of {counted} calls that were given up freely had {attempts} attempt{}",
        match retries {
            0 => "does not try again".to_owned(),
            1 => "tries once more".to_owned(),
            n => format!("tries {n} times more"),
        },
        if attempts == 1 { "" } else { "s" }
    );
    (Some(Claim { value: retries, confidence: share * (1.0 - 1.0 / support as f64) }), says)
}

/// Whether every departure among these attempts is the caller's own timeout: any other is a cut, whoever made it.
fn own_departures(view: &View<'_>, chain: &Chain, timeout: Option<f64>) -> bool {
    chain.attempts.iter().map(|place| view.row(*place)).all(|attempt| {
        !attempt.left() || timeout.is_some_and(|timeout| attempt.took > 0.95 * timeout - 0.003)
    })
}

/// When a service was done with a request: when it had answered, be it for nobody.
fn answered(parent: &Passed) -> Option<f64> {
    match (parent.ending, parent.zombie) {
        (Ending::Complete, _) => Some(parent.ended()),
        (Ending::CallerLeft, Some(longer)) => Some(parent.ended() + longer),
        _ => None,
    }
}

/// Whether the caller stopped of its own accord.
fn is_given_up(view: &View<'_>, chain: &Chain, pauses: &Pauses, hindered: &[(f64, f64)]) -> bool {
    let (Some(first), Some(last)) = (view.first(chain), view.last(chain)) else { return false };
    if !chain.attempts.iter().all(|place| view.whole(view.row(*place)) && !view.cut_from_above_surely(*place))
    {
        return false;
    }
    let free = |until: f64| {
        until < view.traffic.end - 0.5
            && !view.stalled(first.began, until)
            && !hindered.iter().any(|(from, to)| *from < until && last.ended() < *to + 0.02)
    };
    // Whoever answers at once does not even pause.
    if let Some(done) = view.parent(chain).and_then(answered)
        && (-0.003..AT_ONCE).contains(&(done - last.ended()))
    {
        return free(last.ended() + 0.001);
    }
    let until = match pauses.longest(chain.attempts.len()) {
        Some(pause) => last.ended() + pause * 1.2 + 0.05,
        None => last.ended() + UNKNOWN,
    };
    free(until) && !view.may_be_deserted(chain, last.ended(), until)
}
