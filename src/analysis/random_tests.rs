//! The analysis against hundreds of random systems whose truth is known.

use super::testing::{Ids, Load, Simulated, invent, simulate};
use super::*;
use crate::telemetry::Identity;
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
    recovered: Score,
    recovery: Score,
    closed: Score,
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
    if harmless && ill.is_empty() {
        scores.calm.take(findings.cascade.is_empty(), story);
    }
    let sources: Vec<usize> = findings.cascade.iter().filter(|o| o.source).map(|o| named(&o.edge)).collect();
    if truth.sources.iter().any(|source| ill.contains(source)) {
        let right = !sources.is_empty() && sources.iter().all(|source| truth.sources.contains(source));
        let silent = sources.is_empty() && !findings.cascade.is_empty() && !findings.unjudged.is_empty();
        let judged = |source: &usize| !findings.unjudged.contains_key(&run.traffic.edges[*source].name);
        if !silent && (!sources.is_empty() || truth.sources.iter().any(judged)) {
            scores.source.take(right, story);
        }
    } else if !sources.is_empty() && !harmless {
        // Too mild for the truth's own measure; if something is named it must be right all the same.
        scores.source.take(sources.iter().all(|source| truth.sources.contains(source)), story);
    }
    if let Some(told) = findings.honesty.closed_loop {
        let users = matches!(run.system.load, Load::Users(..));
        scores.closed.take(told == users, || format!("closed {told}: {}", story()));
    }
    let healed = run.system.phases[0] + run.system.phases[1];
    for (edge, e) in truth.edges.iter().enumerate() {
        let back = findings.recovery.iter().find(|it| it.edge == run.traffic.edges[edge].name);
        if let (Some(_), Some(back)) = (e.onset, back)
            && !run.traffic.edges[edge].tcp
            && back.state != Recovered::Unmeasured
            && shares(&run, edge).1 < 0.1
        {
            let right = (back.state == Recovered::Recovered) == e.well_since.is_some();
            let told = || {
                let (half, well) = (e.half_since.map(|t| t - healed), e.well_since.map(|t| t - healed));
                format!("e{edge} {:?} {:?}, truth {half:?} to {well:?}: {}", back.state, back.within, story())
            };
            scores.recovered.take(right, told);
            if let (Some(within), Some(half), Some(well), true) =
                (back.within, e.half_since, e.well_since, right)
            {
                let right =
                    within >= (half - healed).max(0.0) - 1.0 && within <= (well - healed).max(0.0) + 1.0;
                scores.recovery.take(right, told);
            }
        }
        match (e.onset, told(edge)) {
            (Some(at), Some(told)) => {
                if run.traffic.edges[edge].tcp {
                    continue;
                }
                // The truth dates by when exchanges began, and by most of them: it may be early or, of a partial illness, late.
                let told_at = told.at + run.system.phases[0];
                let off = told_at - at.max(truth.ill.0);
                scores.moment.take(told_at >= truth.ill.0 - 0.1 && off <= 1.0, || {
                    format!("e{edge} off {off:.2} {}: {}", told.evidence, story())
                });
                scores.found.take(true, String::new);
            }
            // Nothing is said where the baseline was no steady state.
            (Some(_), None) if findings.unjudged.contains_key(&run.traffic.edges[edge].name) => {}
            (Some(_), None) if run.traffic.edges[edge].tcp => {}
            (Some(_), None) => scores.found.take(false, || format!("e{edge} missed: {}", story())),
            (None, told) => {
                let (worst, usual) = shares(&run, edge);
                if worst <= usual + 0.05 && !findings.unjudged.contains_key(&run.traffic.edges[edge].name) {
                    let false_alarm =
                        told.is_some_and(|o| matches!(o.signal, Signal::Errors | Signal::Latency));
                    scores.clean.take(!false_alarm, || {
                        format!("e{edge} clean ({worst:.2}, {usual:.2}): {}", story())
                    });
                }
            }
        }
    }
    let partial = run.system.faults.iter().any(|fault| fault.share < 1.0);
    for a in &ill {
        for b in &ill {
            let (Some(x), Some(y), Some(s), Some(t)) =
                (truth.edges[*a].onset, truth.edges[*b].onset, told(*a), told(*b))
            else {
                continue;
            };
            if y - x > 1.0 && x >= truth.ill.0 && !partial {
                scores.order.take(s.at <= t.at, || format!("e{a} before e{b}: {}", story()));
            }
        }
    }
    if matches!(run.system.ids, Ids::Call | Ids::Request | Ids::Trace) {
        for (edge, e) in truth.edges.iter().enumerate() {
            for (n, phase) in ["baseline", "fault", "recovery"].into_iter().enumerate() {
                if run.traffic.edges[edge].tcp || e.logical[n] < 20 || e.refused > 0 || e.full > 0.0 {
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

/// `BROWNOUT_SEED=n`: everything about one system.
#[test]
fn one_system_is_told() {
    let Some(seed) = std::env::var("BROWNOUT_SEED").ok().and_then(|text| text.parse().ok()) else { return };
    let run = simulate(&invent(seed));
    println!("{:#?}", run.system);
    for edge in &run.traffic.edges {
        println!("{} {} > {}", edge.name, edge.from, edge.to);
        for second in 0..run.traffic.end as usize {
            let within = |e: &&Passed| e.began >= second as f64 && e.began < second as f64 + 1.0;
            let all: Vec<&Passed> = edge.exchanges.iter().filter(within).collect();
            let mut took: Vec<f64> = all.iter().map(|e| e.took).collect();
            println!(
                "  {second:>3}: {:>4} failed {:>4} left {:>4} p50 {:.3} p95 {:.3}",
                all.len(),
                all.iter().filter(|e| e.failed).count(),
                all.iter().filter(|e| e.left()).count(),
                series::quantile(&mut took, 0.5).unwrap_or(-1.0),
                series::quantile(&mut took, 0.95).unwrap_or(-1.0),
            );
        }
    }
    println!("{:#?}", analyse(&run.traffic));
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
        ("recovered", &scores.recovered),
        ("recovery", &scores.recovery),
        ("closed", &scores.closed),
    ] {
        if asked().is_some() {
            println!("{what}: {} of {}\n{}", score.right, score.of, score.wrong);
        }
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
    let scores = all(asked().unwrap_or(9_000..9_060));
    for (what, score, least) in [
        ("source", &scores.source, 0.97),
        ("found", &scores.found, 0.98),
        ("moment", &scores.moment, 0.97),
        ("clean", &scores.clean, 0.99),
        ("calm", &scores.calm, 1.0),
        ("amplified", &scores.amplified, 0.99),
        ("recovered", &scores.recovered, 0.98),
        ("recovery", &scores.recovery, 0.97),
        ("closed", &scores.closed, 0.98),
    ] {
        let share = f64::from(score.right) / f64::from(score.of);
        assert!(score.of > 0 && share >= least, "{what}: {} of {}\n{}", score.right, score.of, score.wrong);
    }
}

/// `BROWNOUT_MANY=1`: how long three hundred thousand exchanges take.
#[test]
fn many_exchanges_are_read() {
    if std::env::var_os("BROWNOUT_MANY").is_none() {
        return;
    }
    let mut traffic = simulate(&invent(1_005)).traffic;
    for edge in &mut traffic.edges {
        let own = edge.exchanges.clone();
        for n in 1..60u32 {
            edge.exchanges.extend(own.iter().map(|it| Passed {
                began: it.began + f64::from(n) * 1e-4,
                identity: match it.identity {
                    Identity::Given(id) => Identity::Given(id ^ (u64::from(n) << 50)),
                    Identity::Trace(id) => Identity::Trace(id ^ (u64::from(n) << 50)),
                    other => other,
                },
                ..*it
            }));
        }
        edge.exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
    }
    let count: usize = traffic.edges.iter().map(|edge| edge.exchanges.len()).sum();
    let began = tokio::time::Instant::now();
    let findings = analyse(&Traffic { edges: traffic.edges.clone(), ..traffic.clone() });
    let all = began.elapsed();
    let began = tokio::time::Instant::now();
    let prints = fingerprint::fingerprints(&traffic);
    println!("{count} exchanges: {all:?}, of that fingerprints {:?}", began.elapsed());
    assert_eq!(findings.fingerprints.len(), prints.len());
}
