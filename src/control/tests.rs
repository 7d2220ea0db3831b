//! Arming, healing, reloading and halting, by a clock of their own.

use super::*;
use crate::model::{Experiment, Overrides, parse};
use crate::telemetry::Stamped;
use std::path::Path;
use tokio::sync::mpsc::Receiver;

const EDGES: &str = "name = \"t\"\n[run]\nfault = \"1h\"\n\
    [[edge]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:9\"\n\
    [[edge]]\nname = \"db\"\nlisten = \"127.0.0.1:0\"\nupstream = \"tcp://127.0.0.1:9\"\n";

pub(super) fn experiment(faults: &str) -> Experiment {
    let text = format!("{EDGES}{faults}");
    parse(&text, Path::new("t.toml"), &Overrides::default()).map_err(|p| p.render(false)).unwrap().experiment
}

pub(super) fn fault(name: &str, more: &str) -> String {
    format!("[[fault]]\nname = \"{name}\"\nedge = \"web\"\npercent = 50\n{more}\n")
}

pub(super) struct Stand {
    pub(super) control: Arc<Control>,
    events: Receiver<Arc<Stamped>>,
}

impl Stand {
    pub(super) fn of(experiment: &Experiment) -> Self {
        let telemetry = Telemetry::new();
        let events = telemetry.subscribe();
        let control = Control::start(&experiment.edges, 1, 7, telemetry).unwrap();
        control.know(&experiment.faults);
        Self { control, events }
    }

    /// The next time that a fault is armed or healed: its name, why (`armed` if it is), and when.
    pub(super) fn next(&mut self) -> (String, String, f64) {
        loop {
            let stamped = self.events.blocking_recv().unwrap();
            match &stamped.event {
                Event::Armed { fault, .. } => return (fault.to_string(), "armed".into(), stamped.t),
                Event::Healed { fault, why, .. } => return (fault.to_string(), why.clone(), stamped.t),
                _ => {}
            }
        }
    }

    pub(super) fn status(&self, name: &str) -> FaultStatus {
        self.control.faults().into_iter().find(|fault| fault.name == name).unwrap()
    }
}

#[test]
fn a_schedule_switches_on_and_off_and_a_life_ends() {
    let experiment = experiment(&fault(
        "f",
        "latency = \"1ms\"\nschedule = { from = \"60ms\", for = \"40ms\", every = \"100ms\" }",
    ));
    let mut stand = Stand::of(&experiment);
    let begun = stand.control.telemetry.now();
    let life = Some(Duration::from_millis(230));
    stand.control.arm(experiment.faults[0].clone(), Owner::Run, life, 1.0).unwrap();
    assert!(!stand.status("f").active && stand.status("f").armed, "it waits for its time");
    let mut times = Vec::new();
    for expected in ["armed", "schedule", "armed", "schedule"] {
        let (_, why, at) = stand.next();
        assert_eq!(why, expected);
        times.push(at - begun);
    }
    for (at, least) in times.iter().zip([0.06, 0.1, 0.16, 0.2]) {
        assert!(*at >= least - 1e-3, "{times:?}");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while stand.status("f").armed {
        assert!(Instant::now() < deadline, "a run's fault ends with its life");
        std::thread::yield_now();
    }
}

#[test]
fn every_entry_of_at_arms_anew_and_time_is_scaled() {
    let experiment =
        experiment(&fault("f", "latency = \"1ms\"\nat = [\"0s\", \"1s\", { from = \"2s\", for = \"1s\" }]"));
    let mut stand = Stand::of(&experiment);
    let begun = stand.control.telemetry.now();
    stand.control.arm(experiment.faults[0].clone(), Owner::Run, None, 0.1).unwrap();
    let seen: Vec<_> = (0..6).map(|_| stand.next()).collect();
    let words: Vec<&str> = seen.iter().map(|(_, why, _)| why.as_str()).collect();
    assert_eq!(words, ["armed", "schedule", "armed", "schedule", "armed", "schedule"]);
    assert!(seen[5].2 - begun >= 0.3 - 1e-3, "{seen:?}");
}

#[test]
fn a_ttl_ends_what_was_armed_by_hand() {
    let experiment = experiment(&fault("f", "latency = \"1ms\"\narmed = false"));
    let mut stand = Stand::of(&experiment);
    let begun = stand.control.telemetry.now();
    stand.control.arm_named("f", Some(Duration::from_millis(50))).unwrap();
    assert!(stand.status("f").ends_in.is_some_and(|left| left <= 0.05));
    let (_, armed, _) = stand.next();
    let (_, why, ended) = stand.next();
    assert_eq!((armed.as_str(), why.as_str()), ("armed", "ttl"));
    assert!(ended - begun >= 0.05 - 1e-3);
    assert_eq!(stand.control.heal("f", "hand"), Err(Refusal::NoSuchFault("f".into())));
}

#[test]
fn halting_heals_everything_and_latches() {
    let experiment = experiment(&[fault("f", "latency = \"1ms\""), fault("g", "respond = 503")].concat());
    let stand = Stand::of(&experiment);
    for rule in &experiment.faults {
        stand.control.arm(rule.clone(), Owner::Run, None, 1.0).unwrap();
    }
    stand.control.halt();
    assert!(stand.control.is_halted() && stand.control.faults().iter().all(|fault| !fault.armed));
    assert_eq!(stand.control.arm_named("f", None), Err(Refusal::Halted));
    stand.control.lift();
    stand.control.arm_named("f", None).unwrap();
    assert_eq!(stand.control.arm_named("f", None), Err(Refusal::Taken("f".into())));
}

#[test]
fn owners_keep_apart_and_nonsense_is_refused() {
    let experiment = experiment(&[fault("f", "latency = \"1ms\""), fault("g", "respond = 503")].concat());
    let stand = Stand::of(&experiment);
    stand.control.arm(experiment.faults[0].clone(), Owner::Run, None, 1.0).unwrap();
    stand.control.arm_named("g", None).unwrap();
    stand.control.heal_all(Some(Owner::Run), "end");
    assert!(!stand.status("f").armed && stand.status("g").armed);
    assert_eq!(stand.control.arm_named("none", None), Err(Refusal::NoSuchFault("none".into())));
    let on_tcp = FaultRule { name: "h".parse().unwrap(), edges: vec![1], ..experiment.faults[1].clone() };
    assert!(matches!(stand.control.arm(on_tcp, Owner::Hand, None, 1.0), Err(Refusal::Invalid(_))));
}

#[test]
fn a_reload_changes_what_changed_and_nothing_else() {
    let old = experiment(
        &[
            fault("kept", "latency = \"1ms\""),
            fault("changed", "latency = \"1ms\""),
            fault("gone", "latency = \"1ms\""),
        ]
        .concat(),
    );
    let mut stand = Stand::of(&old);
    for rule in &old.faults {
        stand.control.arm(rule.clone(), Owner::File, Some(Duration::from_secs(3600)), 1.0).unwrap();
    }
    let addresses: Vec<_> = stand.control.edges().iter().map(|edge| edge.listen).collect();
    let ends = stand.status("kept").ends_in.unwrap();
    for _ in 0..3 {
        stand.next();
    }
    let text = [
        fault("changed", "latency = \"2ms\""),
        fault("kept", "latency = \"1ms\""),
        fault("new", "respond = 503"),
    ];
    let new = experiment(&text.concat());
    let done =
        stand.control.reload(&new.edges, |_| new.faults.clone(), |_| Some(Duration::from_secs(9))).unwrap();
    assert_eq!(done.armed, ["changed", "new"]);
    assert_eq!(done.healed, ["changed", "gone"]);
    assert!(done.opened.is_empty() && done.closed.is_empty());
    assert_eq!(addresses, stand.control.edges().iter().map(|edge| edge.listen).collect::<Vec<_>>());
    let left = stand.status("kept").ends_in.unwrap();
    assert!(left <= ends && left > 3000.0, "its time to live goes on");

    stand.control.heal("kept", "hand").unwrap();
    let done = stand.control.reload(&new.edges, |_| new.faults.clone(), |_| None).unwrap();
    assert_eq!(done, Reloaded::default(), "what was healed by hand stays healed");
}

#[test]
fn a_reload_opens_and_closes_edges() {
    let old = experiment("");
    let stand = Stand::of(&old);
    let mut edges = vec![old.edges[0].clone()];
    edges[0].timeout.idle = Duration::from_secs(9);
    let third = Edge { name: "third".parse().unwrap(), ..old.edges[0].clone() };
    edges.push(third);
    let done = stand.control.reload(&edges, |_| Vec::new(), |_| None).unwrap();
    assert_eq!((done.opened, done.closed), (vec!["web".into(), "third".into()], vec!["db".to_string()]));
    assert_eq!(stand.control.edges().len(), 2);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wrong = Edge { listen: taken.local_addr().unwrap(), ..edges[0].clone() };
    let refused = stand.control.reload(&[wrong, edges[1].clone()], |_| Vec::new(), |_| None).unwrap_err();
    assert!(refused.text.contains("another process"), "{refused}");
    assert_eq!(stand.control.edges().len(), 2, "the old ones stay");
}
