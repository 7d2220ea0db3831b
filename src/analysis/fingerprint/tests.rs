//! The claims, held against systems whose truth is known.

use super::*;
use crate::analysis::testing::{Ids, Jitter, Simulated, invent, simulate};
use std::collections::BTreeMap;

#[derive(Default, Debug)]
struct Score {
    observable: usize,
    right: usize,
    silent: usize,
    wrong: usize,
    invented: usize,
    notes: Vec<String>,
}

impl Score {
    fn note(&mut self, seen: bool, claimed: Option<bool>, what: impl FnOnce() -> String) {
        self.observable += usize::from(seen);
        match claimed {
            None => {
                self.silent += usize::from(seen);
                if seen {
                    let w = what();
                    self.notes.push(format!("silent {w}"));
                }
            }
            Some(true) => self.right += usize::from(seen),
            Some(false) => {
                self.wrong += 1;
                if !seen {
                    self.invented += 1;
                }
                let w = what();
                self.notes.push(format!("WRONG(seen {seen}) {w}"));
            }
        }
    }
}

fn near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * b
}

fn score(run: &Simulated, scores: &mut BTreeMap<&'static str, Score>) {
    let found = fingerprints(&run.traffic);
    for (place, edge) in run.system.edges.iter().enumerate() {
        let truth = &run.truth.edges[place];
        let Some(print) = found.iter().find(|print| print.edge == edge.name) else { continue };
        let policy = &edge.policy;
        let at = format!("seed {} {} ids {:?}", run.system.seed, edge.name, run.system.ids);
        let mut note = |key, seen, claimed: Option<bool>, more: String| {
            scores.entry(key).or_insert_with(Score::default).note(seen, claimed, || {
                format!("{at}: {more} | {:?} | {policy:?} {truth:?}", print.evidence)
            });
        };
        if !edge.tcp {
            note(
                "timeout",
                truth.timeouts >= 10,
                print
                    .timeout
                    .map(|t| policy.timeout.is_some_and(|own| near(t, own, 0.05) || (t - own).abs() < 0.003)),
                format!("{:?}", print.timeout),
            );
            let bounded = policy.retries.times.filter(|_| !matches!(run.system.ids, Ids::Alike(_)));
            note(
                "retries",
                truth.exhausted >= 10 && bounded.is_some(),
                print.retries.map(|n| policy.retries.times == Some(n)),
                format!("{:?}", print.retries),
            );
            let tight = matches!(policy.retries.jitter, Jitter::None | Jitter::Tenth);
            let enough = if tight { 10 } else { 200 };
            note(
                "backoff",
                truth.exhausted >= enough && bounded.is_some_and(|n| n > 0),
                print.backoff.as_ref().map(|b| {
                    b.iter().enumerate().all(|(n, pause)| {
                        let own = policy.retries.median(n as u32 + 1);
                        near(*pause, own, 0.15) || (pause - own).abs() < 0.005
                    })
                }),
                format!("{:?}", print.backoff),
            );
            note(
                "breaker",
                policy.breaker.is_some() && truth.distinct > 0 && truth.refused >= 5,
                print
                    .breaker
                    .and_then(|b| b.failures)
                    .map(|b| policy.breaker.is_some_and(|own| own.failures.abs_diff(b) <= 1)),
                format!("{:?}", print.breaker),
            );
            note(
                "open_for",
                policy.breaker.is_some() && truth.reopened >= 2,
                print
                    .breaker
                    .and_then(|b| b.open_for)
                    .map(|t| policy.breaker.is_some_and(|own| near(t, own.open_for, 0.1))),
                format!("{:?}", print.breaker),
            );
        }
        let workers = edge.from.and_then(|from| run.system.services[from].workers);
        let own = policy.pool.map(|pool| pool.size);
        let session = edge
            .from
            .and_then(|from| run.system.services[from].session)
            .and_then(|s| run.system.edges[s].policy.pool)
            .map(|pool| pool.size);
        let right = |n: u32| {
            [own, workers, session].into_iter().flatten().any(|limit| limit.abs_diff(n as usize) <= 1)
        };
        note(
            "pool",
            policy.pool.is_some() && truth.full >= 1.0 && workers.is_none_or(|w| w > own.unwrap_or(0)),
            print.pool.map(right),
            format!("{:?} workers {workers:?} session {session:?}", print.pool),
        );
    }
}

fn table(scores: &BTreeMap<&'static str, Score>) -> String {
    scores
        .iter()
        .map(|(key, s)| {
            format!(
                "{key:10} observable {:4} right {:4} ({:5.1} %) silent {:4} wrong {:3} (unseen {})\n",
                s.observable,
                s.right,
                100.0 * s.right as f64 / s.observable.max(1) as f64,
                s.silent,
                s.wrong,
                s.invented
            )
        })
        .collect()
}

#[test]
fn develop() {
    let from: u64 = std::env::var("FROM").map_or(10_000, |v| v.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(100, |v| v.parse().unwrap());
    let mut scores = BTreeMap::new();
    for seed in from..from + count {
        score(&simulate(&invent(seed)), &mut scores);
    }
    if let Ok(edge) = std::env::var("DUMP") {
        let run = simulate(&invent(from));
        dump(&run, edge.parse().unwrap());
    }
    if let Ok(key) = std::env::var("SHOW") {
        for note in &scores[key.as_str()].notes {
            println!("{note}\n");
        }
    }
    println!("{}", table(&scores));
}

fn dump(run: &Simulated, place: usize) {
    println!("{:#?}", run.system.services.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>());
    println!("{:#?}", run.system.edges.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>());
    println!(
        "{:?} {:?} {:?} {:?} stall {:?}",
        run.system.load, run.system.phases, run.system.faults, run.system.illness, run.system.stall
    );
    let index = Index::of(&run.traffic);
    let view = View::new(&run.traffic, &index, place);
    println!(
        "LONG {:?} {:?}",
        view.edge.cut.iter().map(|p| (p.began, p.took, p.hit, p.held)).collect::<Vec<_>>(),
        view.rows
            .iter()
            .filter(|p| p.took > 5.0)
            .map(|p| (p.began, p.took, p.ending))
            .take(12)
            .collect::<Vec<_>>()
    );
    let limit = pool::pool(&view);
    breaker::debug(&view, &limit.full);
    println!(
        "parents {:?} linked {} telling {} merged {} cancels {:?}",
        view.parents, view.linked, view.telling, view.merged, view.cancels
    );
    for chain in &view.chains {
        if chain.attempts.iter().all(|a| !view.row(*a).failed) {
            continue;
        }
        let parent = view
            .parent(chain)
            .map(|p| format!("{:.3}-{:.3} {:?} {}", p.began, p.ended(), p.ending, p.status));
        println!(
            "sure {} parent {:?}: {}",
            chain.sure,
            parent,
            chain
                .attempts
                .iter()
                .map(|a| {
                    let p = view.row(*a);
                    format!("[{:.3} {:.3} {:?} {}]", p.began, p.ended(), p.ending, p.status)
                })
                .collect::<String>()
        );
    }
}
