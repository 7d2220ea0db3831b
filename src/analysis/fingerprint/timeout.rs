//! After how long a caller gives an attempt up: the tight cluster at the upper end of the ages at which it left.
//!
//! A caller leaves early when it is given up itself, never late; so a timeout is at the upper end. What coincides with the
//! departure of the caller's own caller is no sample: the outer timeout cut it.

use super::Claim;
use super::calls::{View, quantile, sorted};

/// Fewer departures say nothing.
const FEWEST: usize = 5;

/// The timeout, and what was seen.
pub(super) fn timeout(view: &View<'_>) -> (Option<Claim<f64>>, String) {
    let left: Vec<u32> = (0..view.rows.len() as u32)
        .filter(|place| view.row(*place).left() && view.whole(view.row(*place)))
        .collect();
    if left.is_empty() {
        return (None, "no timeout seen: the caller never left before an answer".into());
    }
    let (cut, own): (Vec<u32>, Vec<u32>) =
        left.iter().copied().partition(|place| view.cut_from_above(*place));
    let took = |of: &[u32]| sorted(of.iter().map(|place| view.row(*place).took).collect());
    let ages = took(&own);
    let silent = |why: String| (None, format!("no timeout told: {why}"));
    let Some((from, to)) = top_cluster(&ages) else {
        return silent(format!(
            "of {} departures {} coincide with the departure of the caller's own caller, and the ages of the others do not agree",
            left.len(),
            cut.len()
        ));
    };
    let cluster = &ages[from..to];
    let (Some(low), Some(high), Some(middle)) =
        (cluster.first().copied(), cluster.last().copied(), quantile(cluster, 0.4))
    else {
        return silent("too few departures".into());
    };
    // Of the same age, how many were cut from above beyond chance?
    let cuts = took(&cut);
    let alike = cuts.iter().filter(|age| (low - 0.01..=high + 0.01).contains(*age)).count();
    let times = sorted(own.iter().map(|place| view.row(*place).ended()).collect());
    let chance = match (times.first(), times.last()) {
        _ if view.linked => 0.0,
        (Some(first), Some(last)) => view.by_chance(*first, *last),
        _ => 0.0,
    };
    let all = (cluster.len() + alike) as f64;
    let explained = (alike as f64 / all - chance) / (1.0 - chance).max(0.02);
    if explained > 0.5 && cluster.len() < 3 * FEWEST || explained > 0.8 {
        return silent(format!(
            "{alike} of {all} departures after {} coincide with the departure of the caller's own caller: that cut them",
            millis(middle)
        ));
    }
    let moments = own
        .iter()
        .filter(|place| (low..=high).contains(&view.row(**place).took))
        .map(|place| (view.row(*place).began * 10.0) as i64)
        .collect::<std::collections::BTreeSet<_>>();
    if moments.len() < 3 {
        return silent("all departures were at one moment".into());
    }
    let tight = 1.0 - ((high - low) / middle / 0.1).min(0.5);
    let says = format!(
        "gives up after {}: {} of {} departures between {} and {}{}",
        millis(middle),
        cluster.len(),
        left.len(),
        millis(low),
        millis(high),
        if cut.is_empty() { String::new() } else { format!("; {} were cut from above", cut.len()) }
    );
    (Some(Claim { value: middle, confidence: tight * (1.0 - 1.0 / cluster.len() as f64) }), says)
}

/// From where to where of sorted ages the tight cluster at the upper end is.
fn top_cluster(ages: &[f64]) -> Option<(usize, usize)> {
    let stray = ages.len() / 25;
    // A few may be later than the rest: processes stall.
    for skipped in 0..=stray {
        let to = ages.len() - skipped;
        let high = *ages[..to].last()?;
        let width = (0.02 * high).max(0.006);
        let from = ages.partition_point(|age| *age < high - width);
        let enough = FEWEST.max(ages.len() / 20);
        // The stragglers above are part of it if they are close.
        if to - from >= enough.max(3 * skipped) {
            return Some((from, to));
        }
    }
    dense_cluster(ages)
}

/// Where most ages lie close together, wherever others are: departures come late where a machine stalls, but nothing makes most of
/// them alike by chance.
fn dense_cluster(ages: &[f64]) -> Option<(usize, usize)> {
    let end = |from: usize| {
        let low = ages[from];
        ages.partition_point(|age| *age <= low + (0.02 * low).max(0.006))
    };
    let (from, to) = (0..ages.len()).map(|from| (from, end(from))).max_by_key(|(from, to)| to - from)?;
    let late = ages.len() - to;
    let stalled = ages.last().is_some_and(|latest| *latest <= ages[to - 1] * 1.3);
    let enough = to - from >= 4 * FEWEST && (to - from) * 10 >= ages.len() * 6;
    (enough && stalled && late * 4 <= to - from).then_some((from, to))
}

/// A time as people read it.
pub(super) fn millis(seconds: f64) -> String {
    if seconds >= 10.0 { format!("{seconds:.1} s") } else { format!("{:.0} ms", seconds * 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_that_come_late_do_not_hide_where_most_are() {
        let mut ages: Vec<f64> = (0..80).map(|n| 0.498 + f64::from(n % 5) * 0.001).collect();
        ages.extend((0..12).map(|n| 0.515 + f64::from(n) * 0.007));
        let ages = sorted(ages);
        let (from, to) = top_cluster(&ages).unwrap();
        assert!(from == 0 && (80..=82).contains(&to), "{from} {to}");
        // Where they are spread there is none, nor where a third is later by far.
        assert_eq!(top_cluster(&sorted((0..90).map(|n| 0.1 + f64::from(n) * 0.01).collect())), None);
        let two = (0..80).map(|n| if n % 3 == 0 { 1.0 + f64::from(n) * 0.1 } else { 0.5 });
        assert_eq!(top_cluster(&sorted(two.collect())), None);
    }
}
