//! What is promised of decisions, with its numbers, for faults of every kind: shares, bounds, seeds, and what they cost.

use crate::support::read;
use brownout::decision::{Decision, Protocol, Subject};
use brownout::model::Experiment;
use brownout::plan::{Armed, Compiled, Plan, Stage};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// One of each kind that can strike an HTTP exchange, and the one that bounds connections.
const KINDS: &[&str] = &[
    "latency = { uniform = [\"1ms\", \"2s\"] }",
    "hang = { for = \"1s\", then = \"504\" }",
    "drop = { how = \"reset\" }",
    "respond = 503",
    "reroute = { upstream = \"http://127.0.0.1:9\" }",
    "bandwidth = { down = \"1 MB/s\" }",
    "chunk = { size = 100, delay = { uniform = [\"1ms\", \"2ms\"] } }",
    "truncate = { fraction = 0.5 }",
    "endless = {}",
    "corrupt = { bit_flips = 0.01 }",
    "limit = { rate = \"1/s\" }",
    "freeze = { for = \"1s\" }",
    "capacity = { max = 1 }",
    "serialize = { key = \"header:x-user\" }",
    "rewrite = { response = { json = { \"$.n\" = { scale = 0.1 } } } }",
    "stale = { versions = 1 }",
    "duplicate = { times = 1 }",
    "connections = { max = 1 }",
];

/// A request by somebody.
struct Ask(String);

impl Subject for Ask {
    fn protocol(&self) -> Protocol {
        Protocol::Http
    }
    fn method(&self) -> &str {
        "GET"
    }
    fn path(&self) -> &str {
        "/orders/7"
    }
    fn query(&self) -> Option<&str> {
        None
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "x-user").then_some(self.0.as_bytes())
    }
    fn host(&self) -> Option<&str> {
        Some("a")
    }
    fn peer(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
    fn connection(&self) -> u64 {
        1
    }
    fn body_size(&self) -> Option<u64> {
        Some(0)
    }
    fn upgrade(&self) -> Option<&[u8]> {
        None
    }
    fn is_health(&self) -> bool {
        false
    }
    fn caller(&self) -> Option<&[u8]> {
        None
    }
    fn identity(&self) -> Option<&[u8]> {
        None
    }
}

fn by(user: u64) -> Ask {
    Ask(user.to_string())
}

fn file(faults: &[(String, &str)]) -> Experiment {
    let faults: String = faults
        .iter()
        .map(|(keys, kind)| {
            format!(
                "[[fault]]\nname = \"{}\"\nedge = \"e\"\noptional = true\n{keys}\n{kind}\n",
                kind.split(' ').next().unwrap()
            )
        })
        .enumerate()
        .map(|(place, text)| text.replacen("name = \"", &format!("name = \"f{place} "), 1))
        .collect();
    read(&format!(
        "name = \"t\"\n[run]\nbaseline = \"1s\"\nfault = \"1s\"\nrecovery = \"1s\"\n[[edge]]\nname = \"e\"\n\
         listen = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:1\"\nrecord = \"1 MiB\"\n{faults}\n[[expect]]\n\
         edge = \"e\"\nphase = \"recovery\"\nsuccess_rate = \">= 1%\"\n"
    ))
}

fn plan(seed: u64, faults: &[(String, &str)]) -> Plan {
    let armed = |rule| {
        let compiled = Compiled::new(rule, seed, &[Protocol::Http], 1.0, Arc::default()).unwrap();
        Arc::new(Armed::new(Arc::new(compiled), Duration::ZERO))
    };
    Plan::new(file(faults).faults.iter().map(armed).collect())
}

fn stage(kind: &str) -> Stage {
    if kind.starts_with("connections") { Stage::Accept } else { Stage::Exchange }
}

fn decide(plan: &Plan, kind: &str, user: u64) -> Decision {
    plan.decide(&by(user), Duration::from_millis(1), stage(kind))
}

#[test]
fn five_percent_of_each_kind_is_five_percent() {
    for kind in KINDS {
        let plan = plan(42, &[("percent = 5".to_owned(), kind)]);
        let n = (0..100_000).filter(|_| !decide(&plan, kind, 1).is_clean()).count();
        assert!((4_700..=5_300).contains(&n), "{kind}: {n}");
    }
}

#[test]
fn no_bound_is_exceeded_by_any_kind_under_any_concurrency() {
    for kind in KINDS {
        for (who, bound) in
            [("match = \"all\"\nfirst = 7", 7), ("match = \"all\"\nmax = 7", 7), ("percent = 50\nmax = 9", 9)]
        {
            let plan = plan(1, &[(who.to_owned(), kind)]);
            let struck: usize = std::thread::scope(|scope| {
                let count = || (0..300).filter(|n| !decide(&plan, kind, *n).is_clean()).count();
                let all: Vec<_> = (0..8).map(|_| scope.spawn(count)).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(struck, bound, "{kind} {who}");
            assert_eq!(plan.faults()[0].rule().totals.counts(), (2400, bound as u64, 0), "{kind} {who}");
        }
        // per victim
        let sticky = "sticky = \"header:x-user\"\nfirst = 2";
        if stage(kind) == Stage::Exchange {
            let plan = plan(1, &[(sticky.to_owned(), kind)]);
            let struck: usize = std::thread::scope(|scope| {
                let count = || (0..300).filter(|n| !decide(&plan, kind, n % 5).is_clean()).count();
                let all: Vec<_> = (0..8).map(|_| scope.spawn(count)).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(struck, 10, "{kind}: two of each of five");
        }
    }
}

/// All that was decided, but for the identity of what was compiled.
fn told(decision: &Decision) -> String {
    format!("{decision:?}")
}

#[test]
fn the_same_seed_decides_the_same_for_each_kind() {
    for kind in KINDS {
        let all = |seed| -> Vec<String> {
            let plan = plan(seed, &[("percent = 30".to_owned(), kind)]);
            (0..500).map(|n| told(&decide(&plan, kind, n))).collect()
        };
        let first = all(42);
        assert_eq!(first, all(42), "{kind}");
        assert_ne!(first, all(43), "{kind}");
    }
    // all of them together decide as each alone
    let together = |seed| -> Vec<String> {
        let faults: Vec<_> = KINDS.iter().map(|kind| ("percent = 30".to_owned(), *kind)).collect();
        let plan = plan(seed, &faults);
        (0..500).map(|n| told(&decide(&plan, "latency", n))).collect()
    };
    assert_eq!(together(42), together(42));
    assert_ne!(together(42), together(43));
}

#[test]
fn a_hundred_faults_that_do_not_match_decide_nothing_and_hold_nothing() {
    for who in [
        "match = { path = \"/else/**\" }",
        "match = { method = \"POST\" }",
        "match = { headers = { x-user = \"nobody\" } }",
    ] {
        let faults: Vec<_> = KINDS
            .iter()
            .filter(|kind| stage(kind) == Stage::Exchange)
            .cycle()
            .take(100)
            .map(|kind| (who.to_owned(), *kind))
            .collect();
        let plan = plan(1, &faults);
        for n in 0..100 {
            let decision = decide(&plan, "", n);
            assert!(decision.is_clean() && decision.action.is_forward() && decision.after.is_clean());
            let room = decision.applied.capacity()
                + decision.gates.capacity()
                + decision.freezes.capacity()
                + decision.rooms.capacity()
                + decision.delays.capacity()
                + decision.after.delays.capacity()
                + decision.up.piece.capacity()
                + decision.down.piece.capacity();
            assert_eq!(room, 0, "nothing was allocated");
            assert!(decision.content.is_none() && decision.up.is_clean() && decision.down.is_clean());
        }
        assert!(plan.faults().iter().all(|fault| fault.rule().totals.counts() == (0, 0, 0)));
    }
}
