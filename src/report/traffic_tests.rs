//! What is gathered for the analysis: told as events, read as traffic.

use super::*;
use crate::telemetry::{Ending, Event, Origin, Stamped};
use proptest::prelude::*;

fn passed(began: f64, took: f64, identity: Identity) -> Passed {
    Passed {
        began,
        took,
        zombie: None,
        upstream: None,
        held: 0.0,
        status: 200,
        origin: Origin::Upstream,
        ending: Ending::Complete,
        failed: false,
        timed: true,
        hit: false,
        identity,
        target: 0,
        retry_after: None,
    }
}

fn left(began: f64, took: f64) -> Passed {
    let identity = Identity::Given(1);
    Passed { status: 0, ending: Ending::CallerLeft, failed: true, ..passed(began, took, identity) }
}

fn started() -> Event {
    Event::Started {
        name: "x".into(),
        version: "0".into(),
        file: "x.toml".into(),
        sha256: String::new(),
        argv: vec![],
        seed: 0,
        at: String::new(),
        edges: vec![("a".into(), "client".into(), "shop".into()), ("b".into(), "shop".into(), "db".into())],
        recipe: None,
    }
}

fn fold(events: impl IntoIterator<Item = (f64, Event)>) -> Fold {
    let mut fold = Fold::new();
    fold.take(&Stamped { t: 0.0, event: started() });
    events.into_iter().for_each(|(t, event)| fold.take(&Stamped { t, event }));
    fold
}

fn told(edge: u16, one_in: u32, exchanges: Vec<Passed>) -> Event {
    Event::Passed { edge, one_in, exchanges }
}

#[test]
fn events_become_traffic() {
    let window = |in_flight| {
        Event::Window(Window { edge: 1, phase: Some(Phase::Fault), in_flight, ..Window::default() })
    };
    let fault: crate::units::Name = "f".parse().unwrap();
    let fold = fold([
        (0.0, Event::Phase { phase: Phase::Baseline }),
        (1.0, told(0, 1, vec![passed(0.5, 0.1, Identity::Given(3)), passed(0.2, 0.1, Identity::Given(2))])),
        (2.0, Event::Phase { phase: Phase::Fault }),
        (2.0, Event::Armed { fault, edges: vec![1], services: vec![], owner: "run".into() }),
        (2.25, window(3)),
        (2.26, window(5)),
        (3.0, window(4)),
        (3.0, told(1, 1, vec![Passed { timed: false, ..passed(0.1, 2.8, Identity::None) }])),
        (5.0, Event::Stalled { seconds: 1.5 }),
        (5.1, Event::Stalled { seconds: 1.2 }),
        (9.0, Event::Stalled { seconds: 1.0 }),
    ]);
    let traffic = fold.traffic();
    let edges: Vec<_> =
        traffic.edges.iter().map(|edge| (&*edge.name, &*edge.from, &*edge.to, edge.tcp)).collect();
    assert_eq!(edges, [("a", "client", "shop", false), ("b", "shop", "db", true)]);
    let began: Vec<_> = traffic.edges[0].exchanges.iter().map(|passed| passed.began).collect();
    assert_eq!(began, [0.2, 0.5]);
    let gauges: Vec<_> = traffic.edges[1].gauges.iter().map(|gauge| (gauge.t, gauge.in_flight)).collect();
    assert_eq!(gauges, [(2.26, 5), (2.51, 0), (2.76, 0), (3.0, 4)]);
    assert_eq!(traffic.stalls, [(3.5, 5.1), (8.0, 9.0)]);
    assert_eq!((traffic.end, traffic.one_in), (9.0, 1));
    let fault = &traffic.faults[0];
    assert_eq!((&*fault.name, &fault.edges[..], fault.from, fault.to), ("f", &[1][..], 2.0, 9.0));
    let phases: Vec<_> = traffic.phases.iter().map(|span| (span.phase, span.from, span.to)).collect();
    assert_eq!(phases, [(Phase::Baseline, 0.0, 2.0), (Phase::Fault, 2.0, 9.0)]);
}

#[test]
fn callers_that_we_stopped_did_not_give_up() {
    let failed =
        |began, took| Passed { failed: true, status: 502, ..passed(began, took, Identity::Given(4)) };
    let events = |last: &[Event]| {
        let mut events = vec![
            (0.0, Event::Phase { phase: Phase::Fault }),
            (5.0, Event::Phase { phase: Phase::Idle }),
            (6.0, Event::Phase { phase: Phase::Recovery }),
            (10.0, Event::Phase { phase: Phase::Idle }),
            (
                13.0,
                told(
                    0,
                    1,
                    vec![left(1.0, 2.0), left(4.0, 1.5), left(4.5, 2.0), left(7.0, 4.0), left(9.5, 1.0)],
                ),
            ),
            (13.0, told(0, 1, vec![passed(9.0, 2.0, Identity::Given(4)), failed(9.0, 2.5)])),
        ];
        events.extend(last.iter().map(|event| (14.0, event.clone())));
        events
    };
    let of =
        |traffic: &[Passed]| traffic.iter().map(|passed| (passed.began, passed.took)).collect::<Vec<_>>();
    let over = fold(events(&[Event::Finished])).traffic();
    assert_eq!(of(&over.edges[0].exchanges), [(1.0, 2.0), (4.5, 2.0), (9.0, 2.0)]);
    assert_eq!(of(&over.edges[0].cut), [(4.0, 1.0), (7.0, 3.0), (9.0, 1.0), (9.5, 0.5)]);
    assert_eq!(over.end, 10.0);
    let under_way = fold(events(&[])).traffic();
    assert_eq!(under_way.end, 13.0);
    assert_eq!(
        of(&under_way.edges[0].cut),
        [(4.0, 1.0), (7.0, 3.0), (9.5, 0.5)],
        "a failure is one until it is over"
    );
}

#[test]
fn more_than_there_is_room_for_is_thinned_and_never_grows() {
    let mut crossed = Crossed { most: 100, ..Crossed::default() };
    for n in 0..1_000u64 {
        let identity = Identity::Given(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
        crossed.passed(
            0,
            1,
            &[passed(n as f64, 1.0, identity), passed(n as f64, 1.0, Identity::Fingerprint(5))],
        );
        assert!(crossed.count <= 100);
    }
    assert!((32..=64).contains(&crossed.one_in), "{}", crossed.one_in);
    let unnamed = crossed.edges[&0].exchanges.iter().filter(|passed| is_unnamed(passed)).count();
    assert!((1_000 / 64..=1_000 / 16).contains(&unnamed), "{unnamed}");
    let mut stubborn = Crossed { most: 100, ..Crossed::default() };
    for n in 0..300 {
        stubborn.passed(0, 1, &[passed(f64::from(n), 1.0, Identity::Given(0))]);
    }
    assert_eq!(stubborn.count, 100, "one logical request of endless attempts");
}

#[test]
fn gauges_have_a_bound_and_lose_no_peak() {
    let mut crossed = Crossed::default();
    for n in 0..3 * GAUGES {
        let in_flight = u64::from(n == 777) * 99;
        crossed.window(n as f64 / 4.0, &Window { in_flight, ..Window::default() });
    }
    let gauges = &crossed.edges[&0].gauges;
    assert!(gauges.len() < GAUGES);
    assert_eq!(gauges.iter().map(|gauge| gauge.in_flight).max(), Some(99));
}

proptest! {
    #[test]
    fn every_edge_ends_with_the_same_share_of_the_same_requests(
        steps in prop::collection::vec((0u16..3, 0u32..4, prop::collection::vec(any::<u64>(), 0..20)), 0..20),
    ) {
        let mut crossed = Crossed::default();
        let mut all: Vec<(u16, u64)> = Vec::new();
        for (edge, step, hashes) in &steps {
            // whoever tells has kept only its share already
            let kept: Vec<u64> =
                hashes.iter().copied().filter(|hash| is_kept(Identity::Given(*hash), 0, 1 << step)).collect();
            let exchanges: Vec<_> = kept.iter().map(|hash| passed(0.0, 1.0, Identity::Given(*hash))).collect();
            crossed.passed(*edge, 1 << step, &exchanges);
            all.extend(kept.into_iter().map(|hash| (*edge, hash)));
        }
        let largest = steps.iter().map(|(_, step, _)| 1 << step).max().unwrap_or(1);
        prop_assert_eq!(crossed.one_in, largest);
        all.retain(|(_, hash)| is_kept(Identity::Given(*hash), 0, largest));
        all.sort_unstable();
        let mut held: Vec<(u16, u64)> = Vec::new();
        for (edge, of) in &crossed.edges {
            held.extend(of.exchanges.iter().filter_map(|passed| match passed.identity {
                Identity::Given(hash) => Some((*edge, hash)),
                _ => None,
            }));
        }
        held.sort_unstable();
        prop_assert_eq!(held, all);
    }
}
