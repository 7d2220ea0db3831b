//! Plans as a whole: who is struck, how often, and by what.

use super::*;
use crate::decision::{Action, Answer, Cut, Distribution};
use crate::fault::{Drop, DropAt, How, Latency, Respond};
use crate::model::{Match, When, Who};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

struct Ask {
    method: &'static str,
    path: String,
    header: Option<(&'static str, String)>,
    connection: u64,
    health: bool,
}

impl Ask {
    fn get(path: &str) -> Self {
        Self { method: "GET", path: path.into(), header: None, connection: 1, health: false }
    }
    fn by(user: u64) -> Self {
        Self { header: Some(("x-user", user.to_string())), ..Self::get("/") }
    }
}

impl Subject for Ask {
    fn protocol(&self) -> Protocol {
        Protocol::Http
    }
    fn method(&self) -> &str {
        self.method
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn query(&self) -> Option<&str> {
        Some("plan=gold&n=1")
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.header.as_ref().filter(|(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    }
    fn host(&self) -> Option<&str> {
        Some("shop.test")
    }
    fn peer(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
    fn connection(&self) -> u64 {
        self.connection
    }
    fn body_size(&self) -> Option<u64> {
        Some(10)
    }
    fn upgrade(&self) -> Option<&[u8]> {
        None
    }
    fn is_health(&self) -> bool {
        self.health
    }
    fn caller(&self) -> Option<&[u8]> {
        None
    }
    fn identity(&self) -> Option<&[u8]> {
        None
    }
}

fn rule(name: &str, who: Who, actions: Vec<Fault>) -> FaultRule {
    FaultRule {
        name: name.parse().unwrap(),
        edges: vec![0],
        services: vec![],
        who,
        when: When::default(),
        armed: true,
        ttl: None,
        optional: false,
        actions,
        deeds: vec![],
        line: 0,
    }
}

fn latency(millis: u64) -> Fault {
    let before = Some(Distribution::fixed(Duration::from_millis(millis)));
    Fault::Latency(Latency { before, ..Latency::default() })
}

fn respond(status: u16) -> Fault {
    let answer = Arc::new(Answer { status, headers: vec![], body: vec![] });
    Fault::Respond(Respond { answer, after_upstream: false })
}

fn plan(seed: u64, rules: &[FaultRule]) -> Plan {
    Plan::new(
        rules
            .iter()
            .map(|rule| {
                let compiled = Compiled::new(rule, seed, &[Protocol::Http], 1.0, Arc::default()).unwrap();
                Arc::new(Armed::new(Arc::new(compiled), Duration::ZERO))
            })
            .collect(),
    )
}

fn percent(value: f64) -> Who {
    Who { percent: crate::units::Percent::new(value).unwrap(), ..Who::default() }
}

fn hits(plan: &Plan, asks: impl IntoIterator<Item = Ask>) -> Vec<usize> {
    asks.into_iter()
        .enumerate()
        .filter(|(_, ask)| !plan.decide(ask, Duration::ZERO, Stage::Exchange).is_clean())
        .map(|(n, _)| n)
        .collect()
}

#[test]
fn five_percent_is_five_percent() {
    for seed in [1, 42, 4711] {
        let plan = plan(seed, &[rule("f", percent(5.0), vec![latency(1)])]);
        let n = hits(&plan, (0..100_000).map(|_| Ask::get("/"))).len();
        assert!((4_700..=5_300).contains(&n), "seed {seed}: {n}");
    }
}

#[test]
fn the_same_seed_gives_the_same_hits_and_faults_do_not_disturb_each_other() {
    let f = rule("f", percent(10.0), vec![latency(1)]);
    let g = rule("g", percent(50.0), vec![latency(1)]);
    let asks = || (0..1000).map(|_| Ask::get("/"));
    let alone = hits(&plan(42, std::slice::from_ref(&f)), asks());
    assert_eq!(alone, hits(&plan(42, std::slice::from_ref(&f)), asks()));
    assert_ne!(alone, hits(&plan(43, std::slice::from_ref(&f)), asks()));
    let both = plan(42, &[g, f]);
    let with_g: Vec<usize> = asks()
        .enumerate()
        .filter(|(_, ask)| both.decide(ask, Duration::ZERO, Stage::Exchange).applied.contains(&FaultRef(1)))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(alone, with_g);
}

#[test]
fn the_number_of_hits_does_not_depend_on_threads() {
    let count = |threads: usize| {
        let plan = plan(7, &[rule("f", percent(20.0), vec![latency(1)])]);
        let total: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| hits(&plan, (0..8_000 / threads).map(|_| Ask::get("/"))).len()))
                .collect();
            all.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        (total, plan.faults()[0].rule().totals.counts())
    };
    let one = count(1);
    assert_eq!(one, count(8));
    assert_eq!(one.1.0, 8_000);
    assert_eq!(one.1.1, one.0 as u64);
}

#[test]
fn selection_by_numbers() {
    let who = |first, after, every, max| Who { first, after, every, max, ..Who::default() };
    for (who, expected) in [
        (who(Some(3), 0, 1, None), vec![0, 1, 2]),
        (who(None, 5, 1, None), vec![5, 6, 7, 8, 9]),
        (who(None, 0, 4, None), vec![0, 4, 8]),
        (who(Some(5), 2, 2, None), vec![2, 4, 6]),
        (who(None, 0, 1, Some(2)), vec![0, 1]),
        (who(None, 1, 3, Some(2)), vec![1, 4]),
    ] {
        let plan = plan(1, &[rule("f", who.clone(), vec![latency(1)])]);
        assert_eq!(hits(&plan, (0..10).map(|_| Ask::get("/"))), expected, "{who:?}");
    }
}

#[test]
fn sticky_strikes_the_same_victims_and_counts_for_each() {
    let sticky = Some(Sticky::Header("x-user".into()));
    let who = Who { sticky: sticky.clone(), ..percent(30.0) };
    let half = plan(1, &[rule("f", who, vec![latency(1)])]);
    let victims = hits(&half, (0..1000).map(Ask::by));
    assert!((250..350).contains(&victims.len()), "{}", victims.len());
    assert_eq!(victims, hits(&half, (0..1000).map(Ask::by)), "the same users again");
    assert!(hits(&half, (0..100).map(|_| Ask::get("/"))).is_empty(), "without the header nobody is struck");

    let who = Who { sticky, first: Some(2), ..Who::default() };
    let twice = plan(1, &[rule("f", who, vec![latency(1)])]);
    let n = hits(&twice, (0..50).map(|n| Ask::by(n % 5))).len();
    assert_eq!(n, 10, "two attempts of each of five");
}

#[test]
fn who_is_matched() {
    let matches = |m: Match| Who { matches: Some(m), ..Who::default() };
    let post = Match { method: vec!["POST".into()], ..Match::default() };
    let path = Match { path: vec!["/v1/**".into(), "/x".into()], ..Match::default() };
    let query = Match { query: vec![("plan".into(), vec!["g*".into()])], ..Match::default() };
    let peer = Match { peer: vec!["10.0.0.0/8".parse().unwrap()], ..Match::default() };
    let host = Match { host: vec!["*.test".into()], ..Match::default() };
    for (who, asked, struck) in [
        (matches(post), "/v1/a", false),
        (matches(path.clone()), "/v1/a", true),
        (matches(path.clone()), "/x", true),
        (matches(path.clone()), "/y", false),
        (matches(query), "/y", true),
        (matches(peer), "/y", false),
        (matches(host), "/y", true),
        (Who { except: Some(path), ..Who::default() }, "/x", false),
    ] {
        let plan = plan(1, &[rule("f", who.clone(), vec![latency(1)])]);
        assert_eq!(!hits(&plan, [Ask::get(asked)]).is_empty(), struck, "{who:?} {asked}");
    }
}

#[test]
fn long_beginnings_of_paths_are_compared_to_their_end() {
    let long = format!("/{}", "größer/".repeat(9));
    let by = |path: String| Who {
        matches: Some(Match { path: vec![path], ..Match::default() }),
        ..Who::default()
    };
    for (path, asked, struck) in [
        (long.clone(), long.clone(), true),
        (long.clone(), long[..long.len() - 1].to_owned(), false),
        (format!("{long}**"), format!("{long}x/y"), true),
        (format!("{long}a/*"), format!("{long}a/b"), true),
        (format!("{long}a/*"), format!("{long}b/b"), false),
    ] {
        let plan = plan(1, &[rule("f", by(path.clone()), vec![latency(1)])]);
        assert_eq!(!hits(&plan, [Ask::get(&asked)]).is_empty(), struck, "{path} {asked}");
    }
}

#[test]
fn health_is_spared_unless_meant() {
    let health = || [Ask { health: true, ..Ask::get("/healthz") }];
    let by_path = Match { path: vec!["/healthz".into()], ..Match::default() };
    let spared = plan(1, &[rule("f", Who::default(), vec![latency(1)])]);
    assert!(hits(&spared, health()).is_empty());
    assert_eq!(spared.faults()[0].rule().totals.counts().0, 0, "and not numbered");
    for who in
        [Who { include_health: true, ..Who::default() }, Who { matches: Some(by_path), ..Who::default() }]
    {
        assert_eq!(hits(&plan(1, &[rule("f", who, vec![latency(1)])]), health()).len(), 1);
    }
}

#[test]
fn several_faults_compose_in_file_order() {
    let all = Who::default;
    let plan = plan(
        1,
        &[
            rule("slow", all(), vec![latency(100)]),
            rule("slower", all(), vec![latency(50)]),
            rule("first", all(), vec![respond(503)]),
            rule("second", all(), vec![Fault::Drop(Drop { how: How::Reset, at: DropAt::Request })]),
            rule("late", all(), vec![Fault::Drop(Drop { how: How::Close, at: DropAt::AfterBytes(9) })]),
            rule("early", all(), vec![Fault::Drop(Drop { how: How::Reset, at: DropAt::AfterBytes(5) })]),
        ],
    );
    let decision = plan.decide(&Ask::get("/"), Duration::ZERO, Stage::Exchange);
    assert_eq!(decision.delays.iter().map(|d| d.time.as_millis()).sum::<u128>(), 150);
    assert!(matches!(&decision.action, Action::Respond(FaultRef(2), answer) if answer.status == 503));
    assert_eq!(decision.down.cut_bytes, Some((FaultRef(5), 5, Cut::Reset)));
    assert_eq!(decision.applied.len(), 6);
}

#[test]
fn a_ramp_grows() {
    let mut slow = rule("f", Who::default(), vec![latency(100)]);
    let schedule = |ramp| Some(crate::model::Schedule { ramp: Some(ramp), ..Default::default() });
    slow.when.schedule = schedule(Ramp::Dose(Duration::from_secs(10)));
    let dose = plan(1, &[slow.clone()]);
    let at = |plan: &Plan, s| plan.decide(&Ask::get("/"), Duration::from_secs(s), Stage::Exchange);
    assert_eq!(at(&dose, 5).delays[0].time.as_millis(), 50);
    assert_eq!(at(&dose, 20).delays[0].time.as_millis(), 100);
    slow.when.schedule = schedule(Ramp::Percent(Duration::from_secs(10)));
    let share = plan(1, &[slow]);
    let n = (0..2000).filter(|_| !at(&share, 5).is_clean()).count();
    assert!((900..1100).contains(&n), "{n}");
}

#[test]
fn a_fault_that_fits_no_edge_is_refused() {
    let tcp = rule("f", Who::default(), vec![respond(503)]);
    assert!(Compiled::new(&tcp, 1, &[Protocol::Tcp], 1.0, Arc::default()).is_err());
}

proptest! {
    #[test]
    fn first_and_max_are_never_exceeded(
        first in proptest::option::of(0u64..20), after in 0u64..10, every in 1u64..5,
        max in proptest::option::of(0u64..10), share in 0.0f64..=100.0, seed: u64, n in 0usize..100,
    ) {
        let who = Who { first, after, every, max, ..percent(share) };
        let plan = plan(seed, &[rule("f", who, vec![latency(1)])]);
        let struck = hits(&plan, (0..n).map(|_| Ask::get("/")));
        prop_assert!(struck.len() as u64 <= max.unwrap_or(u64::MAX).min(first.unwrap_or(u64::MAX)));
        for n in struck {
            prop_assert!(n as u64 >= after && (n as u64 - after).is_multiple_of(every));
            prop_assert!((n as u64) < first.unwrap_or(u64::MAX).saturating_add(after));
        }
    }
}

/// Rules and requests out of few words, so that they meet often.
fn wants() -> impl Strategy<Value = Match> {
    let paths = ["/a", "/a/**", "/a/b", "/a/b/*", "/**", "/b/{id}", "*", "/aa"];
    let values = ["1", "2", "1*", "[12]", ""];
    let path = proptest::collection::vec(proptest::sample::select(paths.to_vec()), 0..3);
    let field = (
        proptest::sample::select(&["x-user", "x-other"][..]),
        proptest::collection::vec(proptest::sample::select(values.to_vec()), 1..3),
    );
    (path, proptest::collection::vec(field, 0..3)).prop_map(|(path, headers)| Match {
        path: path.into_iter().map(str::to_owned).collect(),
        headers: headers
            .into_iter()
            .map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
            .collect(),
        ..Match::default()
    })
}

proptest! {
    #[test]
    fn whom_the_index_leaves_out_would_not_have_matched(
        all in proptest::collection::vec(wants(), 1..15),
        path in proptest::sample::select(&["/", "/a", "/a/b", "/a/b/c", "/aa", "/b/7", "/A"][..]),
        user in proptest::option::of(0u64..30),
        times in 1usize..60,
    ) {
        let compiled: Vec<_> = all
            .into_iter()
            .map(|wants| rule("f", Who { matches: Some(wants), ..Who::default() }, vec![latency(1)]))
            .map(|rule| Arc::new(Compiled::new(&rule, 1, &[Protocol::Http], 1.0, Arc::default()).unwrap()))
            .collect();
        // repeated, so that there are more than the index can tell apart
        let armed = compiled.iter().cycle().take(compiled.len() * times);
        let plan = Plan::new(armed.map(|rule| Arc::new(Armed::new(rule.clone(), Duration::ZERO))).collect());
        let ask = Ask { header: user.map(|user| ("x-user", user.to_string())), ..Ask::get(path) };
        let decision = plan.decide(&ask, Duration::ZERO, Stage::Exchange);
        let matching = plan.faults.iter().zip(0..).filter(|(fault, _)| fault.rule.matcher.matches(&ask));
        prop_assert_eq!(decision.applied, matching.map(|(_, place)| FaultRef(place)).collect::<Vec<_>>());
    }
}
