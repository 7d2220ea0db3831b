//! Random systems: shapes, habits and mishaps as real ones have them.

use super::chance::Chance;
use super::system::{
    Edge, Fault, Harm, Ids, Illness, Jitter, Load, Policy, Pool, Retries, Service, Switch, System,
};

/// The system of a seed.
pub(crate) fn invent(seed: u64) -> System {
    let mut chance = Chance::new(seed);
    let chance = &mut chance;
    let count = chance.whole(2, 6);
    let rate = chance.magnitude(10.0, 100.0);
    let mut services: Vec<Service> = (0..count).map(|n| service(chance, n, rate)).collect();
    let mut edges = vec![edge(0, None, 0)];
    for to in 1..count {
        // A chain more often than not; every service is reached.
        let from = if chance.chance(0.6) { to - 1 } else { chance.whole(0, to - 1) };
        join(chance, &mut services, &mut edges, from, to);
        // Diamonds and shared parts.
        if to >= 2 && chance.chance(0.25) {
            let other = chance.whole(0, to - 1);
            if other != from {
                join(chance, &mut services, &mut edges, other, to);
            }
        }
    }
    let load = match chance.whole(0, 9) {
        0..=5 => Load::Steady(rate),
        6..=8 => Load::Poisson(rate),
        _ => Load::Users(chance.whole(5, 60), chance.between(0.05, 0.5)),
    };
    let phases = [chance.between(6.0, 20.0), chance.between(10.0, 30.0), chance.between(10.0, 20.0)];
    // Deeper edges wait less, more often than not.
    let depth = depths(&edges, count);
    for place in 0..edges.len() {
        edges[place].policy = policy(chance, depth[edges[place].to], place == 0);
    }
    sessions(chance, &mut services, &mut edges);
    let http: Vec<usize> = (0..edges.len()).filter(|edge| !edges[*edge].tcp).collect();
    let mut faults = Vec::new();
    let mut illness = None;
    if chance.chance(0.25) {
        illness = Some(Illness {
            service: chance.whole(usize::from(count > 1), count - 1),
            what: harm(chance),
            from: phases[0] + chance.between(0.0, 0.3) * phases[1],
            to: phases[0] + phases[1],
        });
    } else if chance.chance(0.95) {
        let deep: Vec<usize> = http.iter().copied().filter(|edge| *edge != 0).collect();
        let place = if chance.chance(0.9) { chance.pick(&deep) } else { 0 };
        let share = if chance.chance(0.7) { 1.0 } else { chance.between(0.3, 1.0) };
        faults.push(Fault { edge: place, what: harm(chance), share });
    }
    let end: f64 = phases.iter().sum();
    System {
        seed,
        services,
        edges,
        load,
        phases,
        faults,
        illness,
        ids: match chance.whole(0, 9) {
            0..=3 => Ids::Call,
            4 | 5 => Ids::Request,
            6 => Ids::Trace,
            7 | 8 => Ids::Unlike,
            _ => Ids::Alike(chance.pick(&[1, 1, 5, 40])),
        },
        calm: chance.magnitude(0.5, 5.0),
        stall: chance.chance(0.02).then(|| {
            let from = chance.between(0.3, 0.8) * end;
            (from, from + chance.between(1.0, 2.0))
        }),
    }
}

fn service(chance: &mut Chance, n: usize, rate: f64) -> Service {
    let median = chance.magnitude(0.001, 0.06);
    let workers = chance.chance(0.35).then(|| {
        // Enough for calm days.
        let needed = rate * median * 3.0;
        (needed * chance.between(2.0, 8.0)).ceil().max(4.0) as usize
    });
    Service {
        name: format!("s{n}"),
        workers,
        queue: chance.pick(&[20, 100, 1000]),
        median,
        sigma: chance.between(0.1, 0.5),
        cancels: chance.chance(0.5),
        together: chance.chance(0.3),
        calls: Vec::new(),
        session: None,
    }
}

fn edge(n: usize, from: Option<usize>, to: usize) -> Edge {
    Edge { name: format!("e{n}"), from, to, tcp: false, share: 1.0, policy: Policy::default() }
}

fn join(chance: &mut Chance, services: &mut [Service], edges: &mut Vec<Edge>, from: usize, to: usize) {
    let place = edges.len();
    let mut new = edge(place, Some(from), to);
    if chance.chance(0.2) {
        new.share = chance.between(0.4, 0.9);
    }
    edges.push(new);
    services[from].calls.push(place);
}

fn depths(edges: &[Edge], count: usize) -> Vec<u32> {
    let mut depth = vec![0; count];
    for edge in &edges[1..] {
        if let Some(from) = edge.from {
            depth[edge.to] = depth[edge.to].max(depth[from] + 1);
        }
    }
    depth
}

fn policy(chance: &mut Chance, depth: u32, root: bool) -> Policy {
    if root {
        let timeout = chance.pick(&[2.0, 5.0, 10.0, 10.0, 10.0, 30.0]);
        return Policy { timeout: Some(timeout), retries: Retries::none(), ..Policy::default() };
    }
    let longest = 4.0 / f64::from(depth.max(1));
    let timeout = chance.chance(0.85).then(|| round(chance.magnitude(0.1, longest)));
    let retries = match chance.whole(0, 9) {
        0..=2 => Retries::none(),
        n => Retries {
            times: (n != 9 || chance.chance(0.5)).then(|| chance.whole(1, 5) as u32),
            base: round(chance.magnitude(0.02, 0.6)),
            factor: chance.pick(&[1.0, 1.0, 2.0, 2.0, 1.5, 3.0]),
            cap: chance.pick(&[1.0, 2.0, 5.0, 30.0]),
            jitter: chance.pick(&[Jitter::None, Jitter::None, Jitter::Tenth, Jitter::Equal, Jitter::Full]),
        },
    };
    let breaker = chance.chance(0.35).then(|| Switch {
        failures: chance.pick(&[3, 5, 5, 8, 10, 10, 15, 20, 30]),
        open_for: round(chance.magnitude(0.5, 6.0)),
        logical: chance.chance(0.4),
        retried: chance.chance(0.4),
    });
    let pool = chance.chance(0.35).then(|| Pool {
        size: chance.pick(&[3, 4, 5, 8, 10, 10, 16, 20, 32, 50]),
        wait: chance.chance(0.7).then(|| round(chance.magnitude(0.2, 8.0))),
        whole: chance.chance(0.2),
    });
    Policy { timeout, retries, breaker, pool, fallback: chance.chance(0.15) }
}

/// Two places after the point, as people write them.
fn round(value: f64) -> f64 {
    (value * 100.0).round().max(1.0) / 100.0
}

/// Sometimes a service holds a database connection while it calls others.
fn sessions(chance: &mut Chance, services: &mut Vec<Service>, edges: &mut Vec<Edge>) {
    let callers: Vec<usize> = (0..services.len()).filter(|n| !services[*n].calls.is_empty()).collect();
    if !chance.chance(0.25) {
        return;
    }
    let from = chance.pick(&callers);
    let to = services.len();
    let mut database = service(chance, to, 1.0);
    "db".clone_into(&mut database.name);
    services.push(database);
    let mut new = edge(edges.len(), Some(from), to);
    new.tcp = true;
    new.policy.pool = Some(Pool { size: chance.pick(&[5, 10, 20, 50]), wait: None, whole: true });
    services[from].session = Some(edges.len());
    edges.push(new);
}

fn harm(chance: &mut Chance) -> Harm {
    match chance.whole(0, 9) {
        0..=2 => {
            let time = chance.magnitude(0.1, 5.0);
            Harm::Latency(time, time)
        }
        3 | 4 => {
            let low = chance.magnitude(0.1, 3.0);
            Harm::Latency(low, low * chance.between(1.2, 3.0))
        }
        5 | 6 => Harm::Error(503),
        7 | 8 => Harm::Hang,
        _ => Harm::Drop,
    }
}
