//! The simulator itself: it repeats, it is lively, and what it says of itself agrees with what it shows.

use super::*;

#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, two) = (simulate(&invent(7)), simulate(&invent(7)));
    assert_eq!(one.traffic, two.traffic);
    assert_ne!(one.traffic, simulate(&invent(8)).traffic);
}

#[test]
fn systems_differ_in_every_respect_and_things_happen() {
    let runs: Vec<Simulated> = (100..160).map(|seed| simulate(&invent(seed))).collect();
    let edges = || runs.iter().flat_map(|run| &run.truth.edges);
    assert!(edges().filter(|edge| edge.timeouts > 20).count() > 15);
    assert!(edges().filter(|edge| edge.exhausted > 20).count() > 15);
    assert!(edges().filter(|edge| edge.tripped > 0).count() > 5);
    assert!(edges().filter(|edge| edge.full > 1.0).count() > 5);
    assert!(edges().filter(|edge| edge.onset.is_some()).count() > 50);
    assert!(edges().filter(|edge| edge.onset.is_some() && edge.well_since.is_none()).count() > 0);
    assert!(runs.iter().any(|run| run.system.illness.is_some()));
}

#[test]
fn attempts_are_exchanges() {
    for seed in 200..220 {
        let run = simulate(&invent(seed));
        for (edge, truth) in run.traffic.edges.iter().zip(&run.truth.edges) {
            let attempts: u64 = truth.attempts.iter().sum();
            let seen = edge.exchanges.len() + edge.cut.len();
            assert!(edge.tcp || attempts.abs_diff(seen as u64) <= 20, "seed {seed}, {}", edge.name);
            assert!(edge.exchanges.is_sorted_by(|a, b| a.began <= b.began));
            assert!(edge.exchanges.iter().all(|e| e.took > 0.0 && e.ended() <= run.traffic.end + 1e-3));
        }
    }
}
