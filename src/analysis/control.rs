//! What a fault caused: where it struck a share of the traffic, the share that it spared is the control.
//!
//! Compared are exchanges of one edge in one phase, while a fault was in force on it, and only of requests of which some were
//! struck and some spared: what a matcher leaves out is other traffic, and no control.

use super::series::{Stalls, cut, median};
use super::signs::{percent, seconds};
use super::{Control, Passed, Traffic};
use crate::model::Phase;
use std::collections::HashMap;

/// Fewer on either side say nothing.
const LEAST: usize = 10;
/// Shares that differ by less are alike; so do medians by less than this part, or this time.
const ALIKE: f64 = 0.05;
const SLOWER: f64 = 1.3;
const SLOWER_BY: f64 = 0.005;
/// What fails so soon before the cut was cut, in seconds.
const CUT: f64 = 0.25;

/// Every edge with both.
pub(super) fn of_all(traffic: &Traffic, stalls: &Stalls) -> Vec<Control> {
    (0..traffic.edges.len()).filter_map(|edge| of(traffic, stalls, edge)).collect()
}

fn of(traffic: &Traffic, stalls: &Stalls, edge: usize) -> Option<Control> {
    let phase = traffic.phase(Phase::Fault)?;
    let spans: Vec<_> = traffic.faults.iter().filter(|fault| fault.edges.contains(&edge)).collect();
    let of = traffic.edges.get(edge)?;
    let cut = cut(traffic);
    let sound = |it: &&Passed| {
        phase.holds(it.began)
            && spans.iter().any(|fault| fault.from <= it.began && it.began < fault.to)
            && it.ended() < cut - CUT
            && !stalls.touch(it.began, it.ended())
    };
    let within: Vec<&Passed> = of.exchanges.iter().filter(sound).collect();
    // With paths or bodies that are all different every target is its own: then all of them are compared.
    let mut targets: HashMap<u32, (u32, u32)> = HashMap::new();
    for it in &within {
        let (hit, spared) = targets.entry(it.target).or_default();
        *(if it.hit { hit } else { spared }) += 1;
    }
    let both = |it: &&Passed| targets.get(&it.target).is_some_and(|(hit, spared)| *hit > 0 && *spared > 0);
    let various = 4 * targets.len() > within.len();
    let alike: Vec<&Passed> = within.into_iter().filter(|it| various || both(it)).collect();
    let (hit, spared): (Vec<&Passed>, Vec<&Passed>) = alike.into_iter().partition(|it| it.hit);
    if hit.len() < LEAST || spared.len() < LEAST {
        return None;
    }
    let failing = |all: &[&Passed]| all.iter().filter(|it| it.failed).count() as f64 / all.len() as f64;
    let half =
        |all: &[&Passed]| median(&mut all.iter().filter(|it| it.timed).map(|it| it.took).collect::<Vec<_>>());
    let mut control = Control {
        edge: of.name.clone(),
        hit: hit.len() as u64,
        spared: spared.len() as u64,
        hit_error_rate: failing(&hit),
        spared_error_rate: failing(&spared),
        hit_p50: half(&hit),
        spared_p50: half(&spared),
        says: String::new(),
    };
    control.says = says(&control, usual(traffic, edge));
    Some(control)
}

/// The share of failures and the median duration on the baseline.
fn usual(traffic: &Traffic, edge: usize) -> Option<(f64, Option<f64>)> {
    let baseline = traffic.phase(Phase::Baseline)?;
    let exchanges = &traffic.edges.get(edge)?.exchanges;
    let calm: Vec<&Passed> = exchanges.iter().filter(|it| baseline.holds(it.began)).collect();
    if calm.len() < LEAST {
        return None;
    }
    let failing = calm.iter().filter(|it| it.failed).count() as f64 / calm.len() as f64;
    Some((failing, median(&mut calm.iter().filter(|it| it.timed).map(|it| it.took).collect::<Vec<_>>())))
}

fn says(control: &Control, usual: Option<(f64, Option<f64>)>) -> String {
    let slower =
        |a: Option<f64>, b: Option<f64>| a.zip(b).filter(|(a, b)| *a > SLOWER * b && a - b > SLOWER_BY);
    // Chance alone makes shares of few differ by this much.
    let (n, m) = (control.hit as f64, control.spared as f64);
    let share = (control.hit_error_rate * n + control.spared_error_rate * m) / (n + m);
    let chance = 3.0 * (share * (1.0 - share) * (1.0 / n + 1.0 / m)).sqrt();
    let mut caused = Vec::new();
    let differs = control.hit_error_rate - control.spared_error_rate;
    if differs > ALIKE.max(chance) {
        caused.push(format!(
            "{} of the struck failed, {} of the spared",
            percent(control.hit_error_rate),
            percent(control.spared_error_rate)
        ));
    }
    if let Some((hit, spared)) = slower(control.hit_p50, control.spared_p50) {
        caused.push(format!("half of the struck took {}, of the spared {}", seconds(hit), seconds(spared)));
    }
    let first = if caused.is_empty() {
        "the struck fared as the spared did".to_owned()
    } else {
        format!("the fault caused it: {}", caused.join("; "))
    };
    let mut beside = Vec::new();
    if let Some((failing, half)) = usual {
        if control.spared_error_rate - failing > ALIKE.max(3.0 * (failing * (1.0 - failing) / m).sqrt()) {
            beside.push(format!("the spared fail more than on the baseline ({})", percent(failing)));
        }
        if let Some((_, half)) = slower(control.spared_p50, half) {
            beside.push(format!("the spared take longer than on the baseline ({})", seconds(half)));
        }
        if beside.is_empty() {
            beside.push("the spared are as on the baseline".to_owned());
        } else {
            beside.push("so the illness reaches those the fault did not touch".to_owned());
        }
    }
    std::iter::once(first).chain(beside).collect::<Vec<_>>().join("; ")
}
