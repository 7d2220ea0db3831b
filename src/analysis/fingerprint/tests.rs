//! The claims: by hand, with the traps that a naive reading falls into, and against random systems whose truth is known.

use super::*;
use crate::analysis::testing::{Chance, Edge, Fault, Policy, Service, System};
use crate::analysis::testing::{Harm, Ids, Jitter, Load, Pool, Retries, Simulated, Switch, invent, simulate};
use crate::analysis::{Counted, EdgeTraffic, Gauge};
use crate::telemetry::{Ending, Identity};
use std::collections::BTreeMap;
use std::thread;

/// Client, a gateway, a service, and what it depends on; the fault is on the last edge.
fn chain(policy: Policy, what: Harm) -> System {
    let service = |name: &str, calls: Vec<usize>| Service {
        name: name.into(),
        workers: None,
        queue: 1_000,
        median: 0.004,
        sigma: 0.3,
        cancels: false,
        together: false,
        calls,
        session: None,
    };
    let edge =
        |name: &str, from, to, policy| Edge { name: name.into(), from, to, tcp: false, share: 1.0, policy };
    let patient = || Policy { timeout: Some(30.0), retries: Retries::none(), ..Policy::default() };
    System {
        seed: 5,
        services: vec![
            service("gateway", vec![1]),
            service("shop", vec![2]),
            service("provider", Vec::new()),
        ],
        edges: vec![
            edge("front", None, 0, patient()),
            edge("shop", Some(0), 1, patient()),
            edge("provider", Some(1), 2, policy),
        ],
        load: Load::Steady(40.0),
        phases: [8.0, 15.0, 10.0],
        faults: vec![Fault { edge: 2, what, share: 1.0 }],
        illness: None,
        ids: Ids::Request,
        calm: 3.0,
        stall: None,
    }
}

fn policy() -> Policy {
    let retries = Retries { times: Some(2), base: 0.1, factor: 2.0, cap: 9.0, jitter: Jitter::None };
    Policy { timeout: Some(0.5), retries, ..Policy::default() }
}

fn print(system: &System, edge: &str) -> Fingerprint {
    let found = fingerprints(&simulate(system).traffic);
    found.into_iter().find(|print| print.edge == edge).expect("an edge with traffic")
}

fn near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * b
}

#[test]
fn timeout_retries_and_backoff_of_a_plain_caller() {
    let print = print(&chain(policy(), Harm::Hang), "provider");
    assert!(print.timeout.is_some_and(|timeout| near(timeout, 0.5, 0.05)), "{print:#?}");
    assert_eq!(print.retries, Some(2), "{print:#?}");
    let backoff = print.backoff.clone().unwrap_or_default();
    assert!(backoff.len() == 2 && near(backoff[0], 0.1, 0.15) && near(backoff[1], 0.2, 0.15), "{print:#?}");
    assert_eq!((print.breaker, print.pool), (None, None), "{print:#?}");
    assert_eq!(print.fallback, Some(0.0));
    assert!(print.evidence.iter().any(|says| says.starts_with("no circuit breaker seen")), "{print:#?}");
    assert!(print.confidence.is_some_and(|sure| sure > 0.7), "{print:#?}");
}

#[test]
fn an_outer_timeout_that_cuts_first_hides_the_inner_one() {
    let mut system = chain(Policy { timeout: Some(2.0), ..policy() }, Harm::Hang);
    system.edges[1].policy.timeout = Some(0.7);
    system.services[1].cancels = true;
    let inner = print(&system, "provider");
    assert_eq!((inner.timeout, inner.retries), (None, None), "{inner:#?}");
    let outer = print(&system, "shop");
    assert!(outer.timeout.is_some_and(|timeout| near(timeout, 0.7, 0.05)), "{outer:#?}");
}

#[test]
fn work_for_a_caller_that_left_still_shows_its_habits() {
    let mut system = chain(policy(), Harm::Hang);
    system.edges[1].policy.timeout = Some(0.9);
    let print = print(&system, "provider");
    assert_eq!(print.retries, Some(2), "{print:#?}");
}

#[test]
fn retries_of_a_parent_are_not_those_of_its_child() {
    let mut system = chain(Policy { retries: Retries::none(), ..policy() }, Harm::Error(503));
    system.edges[1].policy.retries = policy().retries;
    let (outer, inner) = (print(&system, "shop"), print(&system, "provider"));
    assert_eq!((outer.retries, inner.retries), (Some(2), Some(0)), "{inner:#?}");
    // Without shared ids the two cannot be told apart.
    system.ids = Ids::Unlike;
    let unlinked = print(&system, "provider");
    assert!(unlinked.retries.is_none_or(|retries| retries == 0), "{unlinked:#?}");
}

#[test]
fn retries_without_end_are_no_number() {
    let retries = Retries { times: None, ..policy().retries };
    let print = print(&chain(Policy { retries, ..policy() }, Harm::Hang), "provider");
    assert_eq!(print.retries, None, "{print:#?}");
}

#[test]
fn requests_that_look_alike_tell_no_retries() {
    let mut system = chain(policy(), Harm::Hang);
    system.ids = Ids::Alike(1);
    let print = print(&system, "provider");
    assert_eq!((print.retries, print.backoff), (None, None));
    assert!(print.timeout.is_some_and(|timeout| near(timeout, 0.5, 0.05)));
}

#[test]
fn the_median_of_a_jitter_is_claimed_only_where_it_is_pinned_down() {
    for (jitter, seconds) in [(Jitter::Tenth, 15.0), (Jitter::Full, 2.0)] {
        let retries = Retries { jitter, ..policy().retries };
        let mut system = chain(Policy { retries, ..policy() }, Harm::Error(503));
        system.phases[1] = seconds;
        let print = print(&system, "provider");
        assert_eq!(print.backoff.is_some(), jitter == Jitter::Tenth, "{print:#?}");
    }
}

#[test]
fn a_breaker_that_counts_attempts_and_one_that_counts_calls() {
    for (logical, counts) in [(false, Counted::Attempts), (true, Counted::Calls)] {
        let retries = Retries { times: Some(1), base: 0.05, factor: 1.0, cap: 1.0, jitter: Jitter::None };
        let switch = Switch { failures: 10, open_for: 1.5, logical, retried: true };
        let policy = Policy { timeout: Some(0.5), retries, breaker: Some(switch), ..Policy::default() };
        let print = print(&chain(policy, Harm::Error(503)), "provider");
        let found = print.breaker.unwrap_or_else(|| panic!("{print:#?}"));
        assert!(found.open_for.is_some_and(|time| near(time, 1.5, 0.1)), "{print:#?}");
        if let Some(failures) = found.failures {
            assert!(found.counts == Some(counts) && failures.abs_diff(10) <= 1, "{print:#?}");
        }
    }
    let switch = Switch { failures: 10, open_for: 1.5, logical: false, retried: false };
    let plain = Policy { retries: Retries::none(), breaker: Some(switch), ..policy() };
    let print = print(&chain(plain, Harm::Error(503)), "provider");
    assert!(
        print.breaker.and_then(|found| found.failures).is_some_and(|n| n.abs_diff(10) <= 1),
        "{print:#?}"
    );
}

#[test]
fn a_pool_is_seen_and_a_rate_times_a_timeout_is_none() {
    let pool = Pool { size: 10, wait: Some(2.0), whole: false };
    let retries = Retries::none();
    let full = print(&chain(Policy { pool: Some(pool), retries, ..policy() }, Harm::Hang), "provider");
    assert_eq!(full.pool, Some(10), "{full:#?}");
    for (load, timeout) in [(40.0, 0.5), (50.0, 0.495), (25.0, 1.0), (100.0, 0.2)] {
        for steady in [true, false] {
            let policy = Policy { timeout: Some(timeout), retries, ..Policy::default() };
            let mut system = chain(policy, Harm::Hang);
            system.load = if steady { Load::Steady(load) } else { Load::Poisson(load) };
            let print = print(&system, "provider");
            assert_eq!(print.pool, None, "{load} {timeout}: {print:#?}");
        }
    }
}

#[test]
fn a_closed_loop_is_no_pool_of_the_caller_in_front() {
    let mut system = chain(Policy { retries: Retries::none(), ..policy() }, Harm::Latency(0.3, 0.3));
    system.load = Load::Users(12, 0.001);
    for edge in ["front", "provider"] {
        assert_eq!(print(&system, edge).pool, None, "{edge}");
    }
}

#[test]
fn connections_that_are_held_while_others_are_called_are_a_pool() {
    let mut system = chain(Policy { retries: Retries::none(), ..policy() }, Harm::Hang);
    let session = Policy { pool: Some(Pool { size: 10, wait: None, whole: true }), ..Policy::default() };
    let database = Service { name: "db".into(), calls: Vec::new(), ..system.services[2].clone() };
    system.services.push(database);
    system.services[1].session = Some(3);
    system.edges.push(Edge {
        name: "database".into(),
        from: Some(1),
        to: 3,
        tcp: true,
        share: 1.0,
        policy: session,
    });
    let print = print(&system, "database");
    assert_eq!((print.pool, print.timeout, print.retries), (Some(10), None, None), "{print:#?}");
}

#[test]
fn a_fallback_is_the_share_of_answers_that_were_well() {
    let print = print(&chain(Policy { fallback: true, ..policy() }, Harm::Error(503)), "provider");
    assert!(print.fallback.is_some_and(|share| share > 0.95), "{print:#?}");
}

#[test]
fn nothing_is_said_of_little_or_of_what_was_cut() {
    let mut run = simulate(&chain(policy(), Harm::Hang));
    for edge in &mut run.traffic.edges {
        edge.exchanges.truncate(4);
        edge.gauges = Vec::<Gauge>::new();
    }
    for print in fingerprints(&run.traffic) {
        assert!(print.confidence.is_none() && !print.evidence.is_empty(), "{print:#?}");
    }
    assert!(fingerprints(&Traffic::default()).is_empty());
    let silent = Traffic { edges: vec![EdgeTraffic::default()], ..Traffic::default() };
    assert!(fingerprints(&silent).is_empty());
    // Departures that fall together with a stall of our own machine are none.
    let mut stalled = simulate(&chain(policy(), Harm::Hang));
    stalled.traffic.stalls = vec![(0.0, stalled.traffic.end)];
    assert!(fingerprints(&stalled.traffic).iter().all(|print| print.timeout.is_none()));
}

/// Whatever comes in, nothing panics, and what is said is in order.
#[test]
fn nonsense_is_survived() {
    for seed in 0..20 {
        let mut chance = Chance::new(seed);
        let mut run = simulate(&chain(policy(), Harm::Drop));
        for edge in &mut run.traffic.edges {
            for passed in &mut edge.exchanges {
                if chance.chance(0.3) {
                    passed.identity = Identity::Given(chance.bits() % 7);
                    passed.took = chance.magnitude(1e-5, 50.0);
                    passed.ending = Ending::CallerLeft;
                    passed.failed = chance.chance(0.5);
                }
            }
        }
        for print in fingerprints(&run.traffic) {
            assert!(print.confidence.is_none_or(|sure| (0.0..=1.0).contains(&sure)));
            assert!(print.timeout.is_none_or(|timeout| timeout > 0.0));
        }
    }
}

/// How often what could be seen was found, and what was claimed wrongly.
#[derive(Default, Debug)]
struct Score {
    observable: usize,
    right: usize,
    claims: usize,
    wrong: Vec<String>,
}

type Scores = BTreeMap<&'static str, Score>;

fn score(run: &Simulated, scores: &mut Scores) {
    let found = fingerprints(&run.traffic);
    for (place, edge) in run.system.edges.iter().enumerate() {
        let truth = &run.truth.edges[place];
        let Some(print) = found.iter().find(|print| print.edge == edge.name) else { continue };
        let own = &edge.policy;
        let mut note = |claim: &'static str, seen: bool, right: Option<bool>| {
            let score = scores.entry(claim).or_default();
            score.observable += usize::from(seen);
            score.right += usize::from(seen && right == Some(true));
            score.claims += usize::from(right.is_some());
            if right == Some(false) {
                score
                    .wrong
                    .push(format!("seed {} {}: {print:?} {own:?} {truth:?}", run.system.seed, edge.name));
            }
        };
        if !edge.tcp {
            let timeout = |found: f64| {
                own.timeout.is_some_and(|own| near(found, own, 0.05) || (found - own).abs() < 0.003)
            };
            note("timeout", truth.timeouts >= 10, print.timeout.map(timeout));
            let alike = matches!(run.system.ids, Ids::Alike(_));
            let seen = truth.exhausted >= 10 && own.retries.times.is_some() && !alike;
            note("retries", seen, print.retries.map(|found| own.retries.times == Some(found)));
            let enough = if matches!(own.retries.jitter, Jitter::None | Jitter::Tenth) { 10 } else { 200 };
            let seen = seen && own.retries.times != Some(0) && truth.exhausted >= enough;
            let pauses = |found: &Vec<f64>| {
                found.iter().zip(1..).all(|(pause, n)| {
                    let own = own.retries.median(n);
                    near(*pause, own, 0.15) || (pause - own).abs() < 0.005
                })
            };
            note("backoff", seen, print.backoff.as_ref().map(pauses));
            let failures = print.breaker.and_then(|found| found.failures);
            let right = |found: u32| own.breaker.is_some_and(|own| own.failures.abs_diff(found) <= 1);
            note("breaker", truth.distinct > 0 && truth.refused >= 5, failures.map(right));
            let open = print.breaker.and_then(|found| found.open_for);
            let right = |found: f64| own.breaker.is_some_and(|own| near(found, own.open_for, 0.1));
            note("open time", truth.reopened >= 2, open.map(right));
        }
        // Its workers, or its sessions with a database, limit a caller's calls as well.
        let caller = edge.from.map(|from| &run.system.services[from]);
        let session =
            caller.and_then(|caller| caller.session).and_then(|at| run.system.edges[at].policy.pool);
        let workers = caller.and_then(|caller| caller.workers);
        let limits = [own.pool.map(|pool| pool.size), session.map(|pool| pool.size), workers];
        let right = |found: u32| limits.iter().flatten().any(|limit| limit.abs_diff(found as usize) <= 1);
        let seen = truth.full >= 1.0
            && own.pool.is_some_and(|pool| workers.is_none_or(|workers| workers > pool.size));
        note("pool", seen, print.pool.map(right));
    }
}

fn scores(seeds: std::ops::Range<u64>) -> Scores {
    const THREADS: u64 = 4;
    let parts: Vec<Scores> = thread::scope(|scope| {
        let of = |part: u64| {
            let seeds = seeds.clone();
            scope.spawn(move || {
                let mut scores = Scores::new();
                for seed in seeds.filter(|seed| seed % THREADS == part) {
                    score(&simulate(&invent(seed)), &mut scores);
                }
                scores
            })
        };
        let running: Vec<_> = (0..THREADS).map(of).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut all = Scores::new();
    for (claim, part) in parts.into_iter().flatten() {
        let one = all.entry(claim).or_default();
        one.observable += part.observable;
        one.right += part.right;
        one.claims += part.claims;
        one.wrong.extend(part.wrong);
    }
    all
}

/// What may be expected on systems nobody has seen. Without shared ids much stays unsaid, and that is as it should be.
#[test]
fn random_systems_are_read_rightly() {
    let scores = scores(1..161);
    for (claim, least) in
        [("timeout", 90), ("retries", 75), ("backoff", 55), ("breaker", 20), ("open time", 70), ("pool", 45)]
    {
        let score = &scores[claim];
        assert!(score.observable >= 30, "{claim}: {score:#?}");
        assert!(score.right * 100 >= score.observable * least, "{claim}: {score:#?}");
    }
    let claims: usize = scores.values().map(|score| score.claims).sum();
    let wrong: Vec<&String> = scores.values().flat_map(|score| &score.wrong).collect();
    assert!(claims > 400 && wrong.len() * 100 <= claims, "{} of {claims}: {wrong:#?}", wrong.len());
}

/// Prints the table over fresh seeds: `cargo test --release fresh_seeds -- --ignored --nocapture`.
#[test]
#[ignore = "a thousand systems take a while in a debug build"]
fn fresh_seeds() {
    let scores = scores(50_000..51_000);
    for (claim, score) in &scores {
        let Score { observable, right, claims, wrong } = score;
        println!("{claim}: {right} of {observable} observable, {} of {claims} claims wrong", wrong.len());
    }
    let claims: usize = scores.values().map(|score| score.claims).sum();
    let wrong: usize = scores.values().map(|score| score.wrong.len()).sum();
    assert!(wrong * 100 <= claims, "{wrong} of {claims}");
}
