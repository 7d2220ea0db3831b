//! The analysis against hundreds of random systems whose truth is known.

use super::testing::{Ids, Simulated, invent, simulate};
use super::*;
use std::fmt::Write as _;

/// Right, of so many; and what was wrong, in words.
#[derive(Default)]
struct Score {
    right: u32,
    of: u32,
    wrong: String,
}

impl Score {
    fn take(&mut self, right: bool, says: impl FnOnce() -> String) {
        self.of += 1;
        if right {
            self.right += 1;
        } else {
            let _ = writeln!(self.wrong, "  {}", says());
        }
    }
}

#[derive(Default)]
struct Scores {
    source: Score,
    found: Score,
    moment: Score,
    order: Score,
    clean: Score,
    calm: Score,
    amplified: Score,
}

/// The highest share of bad exchanges in any two seconds after the baseline, and on the baseline.
fn shares(run: &Simulated, edge: usize) -> (f64, f64) {
    let [baseline, ..] = run.system.phases;
    let exchanges = &run.traffic.edges[edge].exchanges;
    let mut calm: Vec<f64> = exchanges.iter().filter(|e| e.ended() < baseline).map(|e| e.took).collect();
    calm.sort_by(f64::total_cmp);
    let Some(usual) = calm.get(calm.len() * 95 / 100) else { return (1.0, 1.0) };
    let end = run.traffic.end - 0.3;
    let bad = |e: &&Passed| (e.failed && e.ended() < end) || e.took > usual * 1.5 + 0.02;
    let share = |from: f64, to: f64| {
        let within: Vec<&Passed> = exchanges.iter().filter(|e| e.began >= from && e.began < to).collect();
        if within.len() < 5 {
            0.0
        } else {
            within.iter().filter(|e| bad(e)).count() as f64 / within.len() as f64
        }
    };
    let steps =
        |from: f64, to: f64| ((from * 2.0) as usize..(to * 2.0 - 4.0) as usize).map(|n| n as f64 / 2.0);
    let worst = |from: f64, to: f64| steps(from, to).map(|at| share(at, at + 2.0)).fold(0.0, f64::max);
    (worst(baseline - 1.0, run.traffic.end), worst(0.0, baseline))
}

fn score(seed: u64, scores: &mut Scores) {
    let run = simulate(&invent(seed));
    let findings = analyse(&run.traffic);
    let named = |name: &str| run.traffic.edges.iter().position(|edge| edge.name == name).unwrap();
    let told = |edge: usize| findings.cascade.iter().find(|onset| onset.edge == run.traffic.edges[edge].name);
    let truth = &run.truth;
    let story = || {
        let ill: Vec<String> = truth
            .edges
            .iter()
            .enumerate()
            .filter_map(|(n, e)| Some(format!("e{n}@{:.2}", e.onset? - run.system.phases[0])))
            .collect();
        let cascade: Vec<String> = findings
            .cascade
            .iter()
            .map(|o| {
                format!(
                    "{}@{:.2}{}:{:?}{}",
                    o.edge,
                    o.at,
                    if o.source { "!" } else { "" },
                    o.signal,
                    o.after.as_deref().map_or(String::new(), |a| format!("<{a}"))
                )
            })
            .collect();
        let graph: Vec<String> =
            run.traffic.edges.iter().map(|e| format!("{}:{}>{}", e.name, e.from, e.to)).collect();
        format!(
            "seed {seed}: truth {ill:?} from {:?} ill {:?}; told {cascade:?}; graph {graph:?}; {:?} {:?} {:?}",
            truth.sources,
            truth.ill.0 - run.system.phases[0],
            run.system.faults.first().map(|f| (f.what, f.share)),
            run.system.illness.map(|i| i.what),
            run.system.load,
        )
    };
    let ill: Vec<usize> = (0..truth.edges.len()).filter(|edge| truth.edges[*edge].onset.is_some()).collect();
    let harmless = run.system.faults.is_empty() && run.system.illness.is_none();
    if harmless {
        scores.calm.take(findings.cascade.is_empty(), story);
    }
    let sources: Vec<usize> = findings.cascade.iter().filter(|o| o.source).map(|o| named(&o.edge)).collect();
    if truth.sources.iter().any(|source| ill.contains(source)) {
        let right = !sources.is_empty() && sources.iter().all(|source| truth.sources.contains(source));
        scores.source.take(right, story);
    } else if !sources.is_empty() && !harmless {
        // Too mild for the truth's own measure; if something is named it must be right all the same.
        scores.source.take(sources.iter().all(|source| truth.sources.contains(source)), story);
    }
    for (edge, e) in truth.edges.iter().enumerate() {
        match (e.onset, told(edge)) {
            (Some(at), Some(told)) => {
                let off = told.at + run.system.phases[0] - at;
                scores.moment.take(off.abs() <= 1.0, || {
                    format!("e{edge} off {off:.2} {}: {}", told.evidence, story())
                });
                scores.found.take(true, String::new);
            }
            (Some(_), None) => scores.found.take(false, || format!("e{edge} missed: {}", story())),
            (None, told) => {
                let (worst, usual) = shares(&run, edge);
                if worst <= usual + 0.05 && findings.unjudged.get(&run.traffic.edges[edge].name).is_none() {
                    let false_alarm =
                        told.is_some_and(|o| matches!(o.signal, Signal::Errors | Signal::Latency));
                    scores.clean.take(!false_alarm, || {
                        format!("e{edge} clean ({worst:.2}, {usual:.2}): {}", story())
                    });
                }
            }
        }
    }
    for a in &ill {
        for b in &ill {
            let (Some(x), Some(y), Some(s), Some(t)) =
                (truth.edges[*a].onset, truth.edges[*b].onset, told(*a), told(*b))
            else {
                continue;
            };
            if y - x > 1.0 {
                scores.order.take(s.at <= t.at, || format!("e{a} before e{b}: {}", story()));
            }
        }
    }
    if run.system.ids == Ids::Call {
        for (edge, e) in truth.edges.iter().enumerate() {
            for (n, phase) in ["baseline", "fault", "recovery"].into_iter().enumerate() {
                if run.traffic.edges[edge].tcp || e.logical[n] < 20 {
                    continue;
                }
                let truth = e.attempts[n] as f64 / e.logical[n] as f64;
                let told =
                    findings.amplification.iter().find(|it| named(&it.edge) == edge && it.phase == phase);
                let told = told.and_then(|it| it.amplification).unwrap_or(0.0);
                scores.amplified.take((told / truth - 1.0).abs() < 0.05, || {
                    format!(
                        "seed {seed} e{edge} {phase}: {told:.2}, truth {truth:.2} ({} of {})",
                        e.attempts[n], e.logical[n]
                    )
                });
            }
        }
    }
}

fn all(seeds: impl Iterator<Item = u64>) -> Scores {
    let mut scores = Scores::default();
    seeds.for_each(|seed| score(seed, &mut scores));
    for (what, score) in [
        ("source", &scores.source),
        ("found", &scores.found),
        ("moment", &scores.moment),
        ("order", &scores.order),
        ("clean", &scores.clean),
        ("calm", &scores.calm),
        ("amplified", &scores.amplified),
    ] {
        println!("{what}: {} of {}\n{}", score.right, score.of, score.wrong);
    }
    scores
}

/// Seeds from the environment, for whoever changes the rules: `BROWNOUT_SEEDS=5000..5500`.
fn asked() -> Option<std::ops::Range<u64>> {
    let text = std::env::var("BROWNOUT_SEEDS").ok()?;
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

#[test]
fn random_systems_are_read_right() {
    let _ = all(asked().unwrap_or(9_000..9_040));
}
