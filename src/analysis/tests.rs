//! The analysis on small series of which everything is known.

use super::*;
use crate::model::Phase;
use crate::telemetry::{Ending, Identity, Origin};

/// A well exchange that began then and took so long.
fn well(began: f64, took: f64) -> Passed {
    Passed {
        began,
        took,
        zombie: None,
        upstream: Some(took),
        held: 0.0,
        status: 200,
        origin: Origin::Upstream,
        ending: Ending::Complete,
        failed: false,
        timed: true,
        hit: false,
        identity: Identity::Given((began * 1e6) as u64),
        target: 1,
        retry_after: None,
    }
}

fn failed(began: f64, took: f64) -> Passed {
    Passed { status: 503, failed: true, ..well(began, took) }
}

fn left(began: f64, took: f64) -> Passed {
    Passed {
        status: 0,
        failed: true,
        origin: Origin::Client,
        ending: Ending::CallerLeft,
        upstream: None,
        ..well(began, took)
    }
}

/// Unrest between 0 and 1 that is the same every time.
fn unrest(n: usize) -> f64 {
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / f64::from(1u32 << 24)
}

/// `rate` a second from 0 to 50 s, as `at` makes them of their time and of unrest; `None`: it does not come.
fn edge(name: &str, ends: (&str, &str), rate: f64, at: impl Fn(f64, f64) -> Option<Passed>) -> EdgeTraffic {
    let count = (50.0 * rate) as usize;
    EdgeTraffic {
        name: name.into(),
        from: ends.0.into(),
        to: ends.1.into(),
        exchanges: (0..count).filter_map(|n| at(n as f64 / rate, unrest(n))).collect(),
        ..EdgeTraffic::default()
    }
}

/// Baseline to 15 s, fault to 35 s, recovery to 50 s.
fn traffic(edges: Vec<EdgeTraffic>) -> Traffic {
    let span = |phase, from, to| PhaseSpan { phase, from, to };
    Traffic {
        edges,
        phases: vec![
            span(Phase::Baseline, 0.0, 15.0),
            span(Phase::Fault, 15.0, 35.0),
            span(Phase::Recovery, 35.0, 50.0),
        ],
        end: 50.0,
        one_in: 1,
        ..Traffic::default()
    }
}

fn usual(t: f64, unrest: f64) -> Passed {
    well(t, 0.01 + 0.01 * unrest)
}

fn ill(t: f64) -> bool {
    (17.0..30.0).contains(&t)
}

fn first(findings: &Findings) -> &Onset {
    findings.cascade.first().unwrap()
}

#[test]
fn nothing_is_said_of_nothing() {
    assert_eq!(
        analyse(&Traffic::default()),
        Findings { honesty: Honesty { one_in: 1, ..Honesty::default() }, ..Findings::default() }
    );
    let mut served = traffic(vec![edge("a", ("x", "y"), 20.0, |t, u| Some(usual(t, u)))]);
    served.phases.clear();
    let findings = analyse(&served);
    assert!(findings.cascade.is_empty() && findings.unmoved.is_empty() && findings.recovery.is_empty());
    assert!(findings.unjudged["a"].contains("no baseline"), "{:?}", findings.unjudged);
    assert_eq!(findings.amplification[0].phase, "idle");
}

#[test]
fn a_run_cut_short_is_read_as_far_as_it_went() {
    for end in [1.0, 14.0, 15.1, 20.0, 36.0] {
        let mut cut = traffic(vec![edge("a", ("x", "y"), 20.0, |t, u| {
            Some(if ill(t) { failed(t, 0.01) } else { usual(t, u) })
        })]);
        cut.edges[0].exchanges.retain(|it| it.ended() < end);
        cut.phases.retain(|span| span.from < end);
        cut.phases.iter_mut().for_each(|span| span.to = span.to.min(end));
        cut.end = end;
        let findings = analyse(&cut);
        assert_eq!(findings.cascade.len(), usize::from(end > 19.0), "{end}: {findings:#?}");
    }
}

#[test]
fn an_edge_that_is_as_ever_never_moved() {
    let rates = [2.0, 20.0, 400.0];
    let shapes: [fn(f64, f64) -> f64; 4] = [
        |_, u| 0.01 + 0.01 * u,
        // Two ways through it, one of them twenty times as long.
        |_, u| if u < 0.3 { 0.2 + 0.1 * u } else { 0.01 },
        // A drift of half as much again over the run.
        |t, u| (0.02 + 0.005 * u) * (1.0 + t / 100.0),
        // A pause every four seconds.
        |t, u| if t % 4.0 < 0.4 { 0.5 - t % 4.0 + 0.01 * u } else { 0.01 + 0.01 * u },
    ];
    for rate in rates {
        for (n, shape) in shapes.iter().enumerate() {
            let findings =
                analyse(&traffic(vec![edge("a", ("x", "y"), rate, |t, u| Some(well(t, shape(t, u))))]));
            assert_eq!(findings.unmoved, ["a"], "shape {n} at {rate}/s: {findings:#?}");
        }
    }
}

#[test]
fn failures_slowness_and_silence_are_dated_to_their_begin() {
    type Harm = fn(f64, f64) -> Option<Passed>;
    let harms: [(&str, Harm, Signal); 4] = [
        ("errors", |t, _| Some(failed(t, 0.005)), Signal::Errors),
        ("slowness", |t, u| Some(well(t, 0.3 + 0.1 * u)), Signal::Latency),
        // Nothing ends before heal.
        ("hang", |t, _| Some(left(t, 35.0 - t)), Signal::Latency),
        ("given up", |t, _| Some(left(t, 0.5)), Signal::Latency),
    ];
    for rate in [2.0, 20.0, 400.0] {
        for (what, harm, signal) in harms {
            let run = traffic(vec![edge("a", ("x", "y"), rate, |t, u| {
                if ill(t) { harm(t, u) } else { Some(usual(t, u)) }
            })]);
            let findings = analyse(&run);
            let onset = first(&findings);
            assert_eq!((onset.signal, onset.source), (signal, true), "{what} at {rate}/s");
            assert!((2.0..2.0 + 1.0 / rate + 0.1).contains(&onset.at), "{what} at {rate}/s: {onset:?}");
            assert!(findings.unmoved.is_empty());
        }
    }
}

#[test]
fn a_fifth_that_fails_is_an_illness_too() {
    let run = traffic(vec![edge("a", ("x", "y"), 50.0, |t, u| {
        Some(if ill(t) && u < 0.2 { failed(t, 0.005) } else { usual(t, u) })
    })]);
    let findings = analyse(&run);
    let onset = first(&findings);
    assert!(onset.signal == Signal::Errors && (1.9..3.0).contains(&onset.at), "{onset:?}");
    assert!((0.1..0.4).contains(&onset.observed), "{onset:?}");
}

#[test]
fn who_has_too_little_traffic_is_not_judged() {
    let run = traffic(vec![
        edge("silent", ("x", "y"), 20.0, |_, _| None),
        edge("rare", ("x", "y"), 0.2, |t, u| Some(usual(t, u))),
        edge("broken", ("x", "y"), 20.0, |t, u| Some(if u < 0.6 { failed(t, 0.01) } else { usual(t, u) })),
        edge("growing", ("x", "y"), 20.0, |t, _| Some(well(t, 0.01 + 0.1 * t))),
    ]);
    let findings = analyse(&run);
    let says = [
        ("silent", "no traffic"),
        ("rare", "too few"),
        ("broken", "failed on the baseline"),
        ("growing", "no steady state"),
    ];
    for (name, reason) in says {
        assert!(findings.unjudged[name].contains(reason), "{name}: {:?}", findings.unjudged);
    }
    assert!(findings.cascade.is_empty() && findings.unmoved.is_empty());
}

/// Payments: the provider's callers give up at t0, then the database's connections are used up, the gateway waits, the breaker opens.
fn payments() -> Traffic {
    let mut database = edge("database", ("payments", "db"), 20.0, |t, u| {
        Some(Passed { timed: false, identity: Identity::None, ..usual(t, u) })
    });
    database.tcp = true;
    database.gauges = (1..200)
        .map(|n| {
            let t = f64::from(n) / 4.0;
            Gauge {
                t,
                in_flight: 0,
                connections: if (20.0..33.0).contains(&t) { 50 } else { 4 + n as u64 % 3 },
            }
        })
        .collect();
    let attempts = |t: f64| {
        (0..4).map(move |nth| Passed {
            identity: Identity::Given((t * 1e6) as u64),
            ..left(t + 0.6 * f64::from(nth), 0.5)
        })
    };
    let mut provider = edge("provider", ("payments", "psp"), 20.0, |t, u| (!ill(t)).then(|| usual(t, u)));
    // The breaker is open from the 26th second on.
    provider.exchanges.retain(|it| !(26.0..30.0).contains(&it.began));
    provider.exchanges.extend((340..520).map(|n| f64::from(n) / 20.0).flat_map(attempts));
    provider.exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
    let gateway = edge("gateway", ("shop", "payments"), 20.0, |t, u| {
        Some(if (21.0..33.0).contains(&t) { failed(t, 2.0) } else { usual(t, u) })
    });
    let catalogue = edge("catalogue", ("shop", "goods"), 20.0, |t, u| Some(usual(t, u)));
    traffic(vec![database, provider, gateway, catalogue])
}

#[test]
fn the_pool_is_a_symptom_and_the_provider_the_source() {
    let findings = analyse(&payments());
    let order: Vec<_> = findings
        .cascade
        .iter()
        .map(|it| (it.edge.as_str(), it.source, it.after.as_deref(), it.signal))
        .collect();
    assert_eq!(
        order,
        [
            ("provider", true, None, Signal::Latency),
            ("database", false, Some("provider"), Signal::Connections),
            ("gateway", false, Some("provider"), Signal::Latency),
        ]
    );
    assert_eq!(findings.unmoved, ["catalogue"]);
    let fault =
        findings.amplification.iter().find(|it| it.edge == "provider" && it.phase == "fault").unwrap();
    assert!(fault.amplification.unwrap() > 1.8, "{fault:?}");
    assert!((fault.backoff[0] - 0.1).abs() < 0.001 && fault.jittered == Some(false), "{fault:?}");
    assert_eq!(fault.histogram[&4], 180);
}

#[test]
fn an_edge_that_is_not_called_any_more_follows_the_one_that_is_ill() {
    let run = traffic(vec![
        edge("front", ("web", "shop"), 20.0, |t, u| Some(if ill(t) { failed(t, 0.01) } else { usual(t, u) })),
        edge("stock", ("shop", "stock"), 20.0, |t, u| {
            Some(if ill(t) { failed(t, 0.005) } else { usual(t, u) })
        }),
        edge("prices", ("shop", "prices"), 20.0, |t, u| (!ill(t)).then(|| usual(t, u))),
    ]);
    let findings = analyse(&run);
    let prices = findings.cascade.iter().find(|it| it.edge == "prices").unwrap();
    assert_eq!((prices.signal, prices.source, prices.after.as_deref()), (Signal::Rate, false, Some("stock")));
    assert_eq!((first(&findings).edge.as_str(), first(&findings).source), ("stock", true));
}

#[test]
fn a_load_that_changes_by_itself_is_no_cascade() {
    let findings =
        analyse(&traffic(vec![edge("a", ("x", "y"), 20.0, |t, u| (t < 20.0).then(|| usual(t, u)))]));
    assert!(findings.cascade.is_empty() && findings.unmoved.is_empty());
    assert!(findings.unjudged["a"].contains("its rate changed"), "{:?}", findings.unjudged);
}

#[test]
fn rings_and_shared_parts_have_one_source() {
    let bad = |t: f64, u: f64, late: f64| Some(if ill(t - late) { failed(t, 0.005) } else { usual(t, u) });
    let run = traffic(vec![
        edge("ab", ("a", "b"), 20.0, |t, u| bad(t, u, 0.1)),
        edge("ba", ("b", "a"), 20.0, |t, u| bad(t, u, 0.2)),
        edge("bc", ("b", "c"), 20.0, |t, u| bad(t, u, 0.0)),
        edge("xc", ("x", "c"), 20.0, |t, u| Some(usual(t, u))),
    ]);
    let sources: Vec<_> =
        analyse(&run).cascade.into_iter().filter(|it| it.source).map(|it| it.edge).collect();
    assert_eq!(sources, ["bc"]);
    let mut ring = run;
    ring.edges.truncate(2);
    let sources: Vec<_> =
        analyse(&ring).cascade.into_iter().filter(|it| it.source).map(|it| it.edge).collect();
    assert_eq!(sources, ["ab"]);
}

#[test]
fn what_comes_back_and_what_does_not() {
    let back =
        |t: f64, u: f64, until: f64| Some(if t >= 17.0 && t < until { failed(t, 0.01) } else { usual(t, u) });
    let mut run = traffic(vec![
        edge("soon", ("x", "a"), 20.0, |t, u| back(t, u, 36.0)),
        edge("late", ("x", "b"), 20.0, |t, u| back(t, u, 41.0)),
        edge("never", ("x", "c"), 20.0, |t, u| back(t, u, 60.0)),
        edge("well", ("x", "d"), 20.0, |t, u| Some(usual(t, u))),
    ]);
    // It is tried four times over, after heal too.
    let again: Vec<Passed> = run.edges[2]
        .exchanges
        .iter()
        .filter(|it| it.failed)
        .flat_map(|it| (1..4).map(|n| Passed { began: it.began + 0.1 * f64::from(n), ..*it }))
        .collect();
    run.edges[2].exchanges.extend(again);
    run.edges[2].exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
    let findings = analyse(&run);
    let told: Vec<_> = findings.recovery.iter().map(|it| (it.edge.as_str(), it.state)).collect();
    assert_eq!(
        told,
        [
            ("soon", Recovered::Recovered),
            ("late", Recovered::Recovered),
            ("never", Recovered::Not),
            ("well", Recovered::Unmeasured),
        ]
    );
    assert!((findings.recovery[0].within.unwrap() - 1.0).abs() < 0.2);
    assert!((findings.recovery[1].within.unwrap() - 6.0).abs() < 0.2);
    let why = findings.recovery[2].sustained_by.as_deref().unwrap();
    assert_eq!(why, "attempts per logical request are still 4.0 (baseline 1.0)");
    let surge = findings.recovery[2].surge.unwrap();
    assert!((surge.height - 4.0).abs() < 0.3 && surge.width > 10.0, "{surge:?}");
    assert_eq!(recovers_within(&run, 0), Within::After(1.0));
    assert!(matches!(recovers_within(&run, 1), Within::After(t) if (t - 6.0).abs() < 0.1));
    assert_eq!(recovers_within(&run, 2), Within::Never);
    assert_eq!(recovers_within(&run, 3), Within::After(0.0));
    assert!(matches!(recovers_within(&run, 9), Within::Unmeasured(_)));
    assert!((amplification(&run, 2, Phase::Recovery, None).unwrap() - 4.0).abs() < 0.1);
    assert!((amplification(&run, 2, Phase::Recovery, Some(3)).unwrap() - 4.0).abs() < 0.1);
    assert_eq!(amplification(&run, 2, Phase::Warmup, None), None);
}

#[test]
fn what_a_stall_of_our_own_touches_is_no_sample() {
    let mut run = traffic(vec![edge("a", ("x", "y"), 50.0, |t, u| {
        Some(if (20.0..21.5).contains(&t) { well(t, 21.5 - t + 0.01) } else { usual(t, u) })
    })]);
    assert_eq!(analyse(&run).cascade.len(), 1);
    run.stalls = vec![(20.0, 21.5)];
    let findings = analyse(&run);
    assert_eq!(findings.unmoved, ["a"]);
    assert!(findings.cautions.iter().any(|says| says.contains("stood still")), "{:?}", findings.cautions);
}

#[test]
fn the_spared_are_the_control_of_the_struck() {
    let mut run = traffic(vec![edge("a", ("x", "y"), 50.0, |t, u| {
        let hit = (15.0..35.0).contains(&t) && u < 0.3;
        Some(Passed { hit, ..if hit { failed(t, 0.2) } else { usual(t, u) } })
    })]);
    run.faults = vec![FaultSpan { name: "f".into(), edges: vec![0], services: vec![], from: 15.0, to: 35.0 }];
    let findings = analyse(&run);
    let control = &findings.control[0];
    assert!(control.hit > 250 && control.spared > 600, "{control:?}");
    assert_eq!((control.hit_error_rate, control.spared_error_rate), (1.0, 0.0));
    assert!(control.says.contains("100 % of the struck failed, 0 % of the spared"), "{}", control.says);
    assert!(control.says.contains("as on the baseline"), "{}", control.says);
    assert_eq!(first(&findings).faults, ["f"]);
}

#[test]
fn a_load_that_waits_for_answers_is_told() {
    // Two users, one after the other without a pause.
    let mut exchanges = Vec::new();
    for user in [0.0, 0.013] {
        let mut t = user;
        while t < 49.5 {
            let took = if ill(t) { 0.5 } else { 0.025 };
            exchanges.push(well(t, took));
            t += took + 0.0005;
        }
    }
    exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
    let waits = EdgeTraffic { exchanges, ..edge("a", ("x", "y"), 0.0, |_, _| None) };
    let findings = analyse(&traffic(vec![waits]));
    assert_eq!(findings.honesty.closed_loop, Some(true));
    assert!(findings.cautions.iter().any(|says| says.contains("waits for answers")));
    let on = traffic(vec![edge("a", ("x", "y"), 40.0, |t, u| {
        Some(if (15.0..35.0).contains(&t) { well(t, 1.0) } else { usual(t, u) })
    })]);
    assert_eq!(analyse(&on).honesty.closed_loop, Some(false));
}

#[test]
fn a_trace_is_split_by_the_call_it_belongs_to() {
    let traced = |began, took, id, bad: bool| Passed {
        identity: Identity::Trace(id),
        ..if bad { failed(began, took) } else { well(began, took) }
    };
    let mut run =
        traffic(vec![edge("in", ("x", "a"), 0.0, |_, _| None), edge("out", ("a", "b"), 0.0, |_, _| None)]);
    // Two requests of one trace, one after the other; the first calls twice, and the second time after a failure.
    run.edges[0].exchanges = vec![traced(1.0, 1.0, 7, false), traced(3.0, 1.0, 7, false)];
    run.edges[1].exchanges = vec![
        traced(1.1, 0.1, 7, true),
        traced(1.4, 0.1, 7, false),
        // As the one before went well this is another call, and so is the first of the second request.
        traced(1.6, 0.1, 7, true),
        traced(3.1, 0.1, 7, false),
    ];
    let attempts = Attempts::of(&run, 1);
    let counts: Vec<u32> = attempts.logical.iter().map(|it| it.attempts).collect();
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn a_request_id_that_is_handed_on_is_split_like_a_trace() {
    let named = |began, took, bad: bool| Passed {
        identity: Identity::Given(7),
        ..if bad { failed(began, took) } else { well(began, took) }
    };
    let mut run =
        traffic(vec![edge("in", ("x", "a"), 0.0, |_, _| None), edge("out", ("a", "b"), 0.0, |_, _| None)]);
    // `x` gives up after 0.2 s and tries again; `a` works on for nobody and calls once for each of its attempts.
    run.edges[0].exchanges = vec![named(1.0, 0.2, true), named(1.5, 0.2, true), named(2.0, 0.2, true)];
    run.edges[1].exchanges = vec![named(1.1, 0.4, true), named(1.6, 0.4, true), named(2.3, 0.4, true)];
    let counts =
        |edge| -> Vec<u32> { Attempts::of(&run, edge).logical.iter().map(|it| it.attempts).collect() };
    assert_eq!(counts(0), [3]);
    assert_eq!(counts(1), [1, 1, 1]);
}

#[test]
fn retry_after_is_honoured_or_not() {
    let asks =
        |t: f64| Passed { retry_after: Some(1.0), identity: Identity::Given(t.to_bits()), ..failed(t, 0.01) };
    let mut run = traffic(vec![edge("a", ("x", "y"), 0.0, |_, _| None)]);
    for n in 0..20 {
        let first = asks(16.0 + f64::from(n) * 0.5);
        let wait = if n % 4 == 0 { 0.2 } else { 1.1 };
        run.edges[0].exchanges.push(first);
        run.edges[0].exchanges.push(Passed { identity: first.identity, ..well(first.ended() + wait, 0.01) });
    }
    run.edges[0].exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
    let found = analyse(&run).amplification;
    assert_eq!(found[0].retry_after_honoured, Some(0.75));
    assert_eq!(found[0].amplification, Some(2.0));
}

/// Ill from 17 s on: late, given up from 20 s, failed from 25 s, not called from 28 to 31 s, and five at once since 18 s.
fn turning() -> (Traffic, Findings) {
    let at = |t: f64, u: f64| match t {
        t if (28.0..31.0).contains(&t) => None,
        t if (25.0..35.0).contains(&t) => Some(failed(t, 0.01)),
        t if (20.0..25.0).contains(&t) => Some(left(t, 0.1)),
        t if (17.0..20.0).contains(&t) => Some(well(t, 0.2)),
        t => Some(usual(t, u)),
    };
    let mut run = traffic(vec![edge("a", ("x", "y"), 20.0, at), edge("b", ("x", "z"), 20.0, at)]);
    let level = |t: f64| if (18.0..24.0).contains(&t) { 5 } else { 1 };
    run.edges[0].gauges = (1..200)
        .map(|n| f64::from(n) / 4.0)
        .map(|t| Gauge { t, in_flight: level(t), connections: 0 })
        .collect();
    let onset = Onset {
        edge: "a".into(),
        at: 2.0,
        signal: Signal::Latency,
        baseline: 0.015,
        observed: 0.2,
        source: true,
        after: None,
        faults: vec![],
        evidence: String::new(),
    };
    let caller = Fingerprint {
        edge: "a".into(),
        pool: Some(5),
        breaker: Some(Breaker { failures: None, counts: None, open_for: Some(3.0) }),
        ..Fingerprint::default()
    };
    (run, Findings { cascade: vec![onset], fingerprints: vec![caller], ..Findings::default() })
}

#[test]
fn an_illness_is_told_with_the_turns_it_takes() {
    let (run, findings) = turning();
    let turns = turns::of_all(&run, &findings);
    let told: Vec<_> = turns.iter().map(|turn| (turn.edge.as_str(), turn.what)).collect();
    assert_eq!(
        told,
        [("a", Turned::Full), ("a", Turned::GivenUp), ("a", Turned::Failing), ("a", Turned::Ceased)],
        "of edges that are not ill nothing is told"
    );
    for (turn, at) in turns.iter().zip([2.75, 5.1, 10.01, 12.95]) {
        assert!((turn.at - at).abs() < 0.06, "{turn:?}");
    }
}

#[test]
fn what_the_baseline_knows_is_no_turn() {
    let (mut run, mut findings) = turning();
    // one in twenty fails and one in twenty is given up at all times, and as many were at once before
    for (n, passed) in run.edges[0].exchanges.iter_mut().filter(|passed| passed.began < 15.0).enumerate() {
        match n % 20 {
            3 => *passed = failed(passed.began, 0.01),
            9 => *passed = left(passed.began, 0.1),
            _ => {}
        }
    }
    run.edges[0].gauges[10].in_flight = 5;
    let told = |findings: &Findings| {
        turns::of_all(&run, findings).into_iter().map(|turn| turn.what).collect::<Vec<_>>()
    };
    assert_eq!(told(&findings), [Turned::Ceased]);
    findings.fingerprints.clear();
    assert!(told(&findings).is_empty(), "without a breaker that showed, silence is no turn");
}
