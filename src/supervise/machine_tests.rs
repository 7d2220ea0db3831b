//! The machine of one service against a world of simulated processes.

use super::*;
use crate::model::{Deed, EnvApply, EnvSwap, ProcessWhat, Restart};
use crate::supervise::Failure;
use crate::supervise::Pace;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// How the next process behaves.
#[derive(Clone, Copy, Debug)]
struct Nature {
    /// Cannot be started at all.
    stillborn: bool,
    ready_after: Option<Duration>,
    /// Ends by itself, with this exit code.
    ends_after: Option<(Duration, i32)>,
    /// Does not listen to SIGTERM.
    deaf: bool,
}

const FINE: Nature = Nature { stillborn: false, ready_after: Some(SECOND), ends_after: None, deaf: false };

/// A process.
#[derive(Debug)]
struct Sim {
    nature: Nature,
    since: Duration,
    told_ready: bool,
    stopped: bool,
    terminated: bool,
    ends: Option<(Duration, Option<i32>, Option<Signal>)>,
    swaps: Vec<EnvSwap>,
}

struct World {
    machine: Machine,
    now: Duration,
    process: Option<Sim>,
    natures: Vec<Nature>,
    answers: BTreeMap<u64, Result<(), Failure>>,
    hits: Vec<u64>,
    down: usize,
    log: Vec<String>,
    next: u64,
}

fn setup(when: RestartWhen) -> Setup {
    let restart = Restart { when, delay: SECOND, backoff: 2.0, max_delay: 5 * SECOND };
    Setup {
        name: "payments".parse().unwrap(),
        grace: 3 * SECOND,
        restart,
        within: Some(20 * SECOND),
        scale: 1.0,
    }
}

fn name(fault: &str) -> Name {
    fault.parse().unwrap()
}

fn env(apply: EnvApply, restarts: Option<u32>) -> Deed {
    Deed::Env(EnvSwap { set: vec![("MODE".into(), "x".into())], unset: Vec::new(), apply, restarts })
}

fn process(what: ProcessWhat, down: Option<Duration>, times: Option<u32>) -> Deed {
    Deed::Process(ProcessDeed { what, down, times })
}

fn kill(down: Option<Duration>, times: Option<u32>) -> Deed {
    process(ProcessWhat::Kill(Signal::SIGKILL), down, times)
}

impl World {
    fn new(setup: Setup, natures: Vec<Nature>) -> Self {
        Self {
            machine: Machine::new(setup),
            now: Duration::ZERO,
            process: None,
            natures,
            answers: BTreeMap::new(),
            hits: Vec::new(),
            down: 0,
            log: Vec::new(),
            next: 0,
        }
    }

    /// A world whose service is up.
    fn up(when: RestartWhen, natures: &[Nature]) -> Self {
        let mut world = Self::new(setup(when), [&[FINE], natures].concat());
        world.start();
        world.pass(SECOND);
        assert_eq!(world.machine.state(), State::Ready);
        world.log.clear();
        world
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn start(&mut self) -> u64 {
        let id = self.id();
        self.give(Input::Start { id });
        id
    }

    fn apply(&mut self, fault: &str, deed: Deed, timeline: bool) -> u64 {
        let id = self.id();
        let pace = Pace { scale: 1.0, timeline };
        self.give(Input::Apply { id, fault: name(fault), deed, pace });
        id
    }

    fn undo(&mut self, fault: &str) -> u64 {
        let id = self.id();
        self.give(Input::Undo { id, fault: name(fault) });
        id
    }

    fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for command in self.machine.handle(self.now, input) {
                inputs.extend(self.obey(command));
            }
        }
    }

    fn obey(&mut self, command: Command) -> Option<Input> {
        match command {
            Command::Spawn { reason, swaps } => {
                assert!(self.process.is_none(), "two processes at once: {:?}", self.log);
                let nature = if self.natures.is_empty() { FINE } else { self.natures.remove(0) };
                self.note(&format!("spawn {} {}", reason.as_str(), swaps.len()));
                if nature.stillborn {
                    return Some(Input::SpawnFailed("no".into()));
                }
                self.process = Some(Sim {
                    nature,
                    since: self.now,
                    told_ready: false,
                    stopped: false,
                    terminated: false,
                    ends: nature.ends_after.map(|(after, code)| (self.now + after, Some(code), None)),
                    swaps,
                });
                return Some(Input::Spawned);
            }
            Command::Signal(signal) => {
                self.note(signal.as_str().trim_start_matches("SIG"));
                self.signal(signal);
            }
            Command::Tell(tell) => self.tell(tell),
        }
        None
    }

    fn signal(&mut self, signal: Signal) {
        let now = self.now;
        let Some(process) = &mut self.process else { return };
        match signal {
            Signal::SIGKILL => process.ends = Some((now + MS, None, Some(signal))),
            Signal::SIGSTOP => process.stopped = true,
            Signal::SIGCONT => process.stopped = false,
            Signal::SIGTERM => process.terminated = true,
            _ => {}
        }
        if process.terminated
            && !process.stopped
            && !process.nature.deaf
            && process.ends.is_none_or(|end| end.0 > now + MS)
        {
            process.ends = Some((now + MS, None, Some(Signal::SIGTERM)));
        }
    }

    fn tell(&mut self, tell: Tell) {
        match tell {
            Tell::Ready { .. } => self.note("ready"),
            Tell::NotReady => self.note("late"),
            Tell::Exited { cause, .. } => self.note(&format!("exited {cause:?}")),
            Tell::Paused => self.note("paused"),
            Tell::Resumed => self.note("resumed"),
            Tell::Deed { done, .. } => self.note(if done { "done" } else { "not done" }),
            Tell::Undone { done, .. } => self.note(if done { "undone" } else { "not undone" }),
            Tell::Hit(id) => {
                assert!(!self.hits.contains(&id), "two hits of {id}");
                self.note(&format!("hit {id}"));
                self.hits.push(id);
            }
            Tell::Answer(id, done) => {
                self.note(&match &done {
                    Ok(()) => format!("ok {id}"),
                    Err(failure) => format!("failed {id} {}", failure.exit),
                });
                assert!(self.answers.insert(id, done).is_none(), "two answers to {id}: {:?}", self.log);
            }
            Tell::Down => {
                self.note("down");
                self.down += 1;
            }
        }
    }

    fn note(&mut self, what: &str) {
        self.log.push(what.to_owned());
    }

    /// Lets time pass, and everything happen in it.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut at_once = 0;
        loop {
            let process = self.process.as_ref();
            let ends = process.and_then(|process| {
                process.ends.filter(|_| {
                    !process.stopped || process.ends.is_some_and(|end| end.2 == Some(Signal::SIGKILL))
                })
            });
            let ready = process.filter(|process| !process.told_ready && !process.stopped);
            let ready =
                ready.and_then(|process| process.nature.ready_after.map(|after| process.since + after));
            let due = self.machine.due();
            let Some(next) =
                [ends.map(|end| end.0), ready, due].into_iter().flatten().min().filter(|next| *next <= until)
            else {
                break;
            };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 50, "no rest at {:?}: {:?}", self.now, self.log);
            self.now = self.now.max(next);
            if let Some((_, code, signal)) = ends.filter(|end| end.0 <= self.now) {
                self.process = None;
                self.give(Input::Exited { code, signal });
            } else if ready.is_some_and(|ready| ready <= self.now) {
                if let Some(process) = &mut self.process {
                    process.told_ready = true;
                }
                self.give(Input::Ready);
            } else {
                self.give(Input::Tick);
            }
        }
        self.now = until;
    }

    fn said(&mut self) -> String {
        std::mem::take(&mut self.log).join(", ")
    }
}

#[test]
fn it_starts_and_stops() {
    let mut world = World::new(setup(RestartWhen::Always), vec![FINE]);
    world.start();
    world.pass(HOUR);
    assert_eq!(world.said(), "spawn first 0, ready, ok 1");
    world.give(Input::Stop);
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, exited End, down");

    let deaf = Nature { deaf: true, ..FINE };
    let mut world = World::new(setup(RestartWhen::Always), vec![deaf]);
    world.start();
    world.give(Input::Stop);
    assert_eq!(world.said(), "spawn first 0, failed 1 5, TERM, CONT");
    world.pass(2 * SECOND);
    assert_eq!(world.said(), "");
    world.pass(2 * SECOND);
    assert_eq!(world.said(), "KILL, exited End, down");
}

#[test]
fn its_orchestrator_starts_it_again() {
    let ends = |code| Nature { ends_after: Some((2 * SECOND, code)), ..FINE };
    for (when, code, again) in [
        (RestartWhen::Always, 0, true),
        (RestartWhen::Always, 1, true),
        (RestartWhen::OnFailure, 0, false),
        (RestartWhen::OnFailure, 1, true),
        (RestartWhen::Never, 1, false),
    ] {
        let mut world = World::new(setup(when), vec![ends(code)]);
        world.start();
        world.pass(2 * SECOND);
        assert_eq!(world.said(), "spawn first 0, ready, ok 1, exited Itself");
        world.pass(999 * MS);
        assert_eq!(world.said(), "");
        world.pass(SECOND + MS);
        assert_eq!(world.said(), if again { "spawn crash 0, ready" } else { "" }, "{when:?} {code}");
    }
}

#[test]
fn delays_grow_to_a_limit_and_begin_anew_after_a_minute() {
    let ends = |after| Nature { ends_after: Some((after, 1)), ..FINE };
    let mut natures = vec![ends(2 * SECOND); 5];
    natures.extend([ends(62 * SECOND), ends(2 * SECOND)]);
    let mut world = World::new(setup(RestartWhen::Always), natures);
    world.start();
    let mut delays = Vec::new();
    for _ in 0..7 {
        while world.machine.state() != State::Waiting {
            world.pass(MS);
        }
        let from = world.now;
        while world.machine.state() == State::Waiting {
            world.pass(MS);
        }
        delays.push((world.now - from).as_secs());
    }
    assert_eq!(delays, [1, 2, 4, 5, 5, 1, 2]);
}

#[test]
fn one_that_is_never_ready_is_a_failure() {
    let never = Nature { ready_after: None, ..FINE };
    let mut world = World::new(setup(RestartWhen::Never), vec![never]);
    world.start();
    world.pass(HOUR);
    assert_eq!(world.said(), "spawn first 0, late, failed 1 5");
    assert_eq!(world.answers[&1].as_ref().unwrap_err().text, "`payments` was not ready within 20s");

    let crash = Nature { ends_after: Some((100 * MS, 3)), ..FINE };
    let mut world = World::new(setup(RestartWhen::Never), vec![crash]);
    world.start();
    world.pass(HOUR);
    assert_eq!(world.said(), "spawn first 0, exited Itself, failed 1 5");

    let mut world = World::new(setup(RestartWhen::Always), vec![crash, crash, FINE]);
    world.start();
    world.pass(HOUR);
    assert_eq!(
        world.said(),
        "spawn first 0, exited Itself, spawn crash 0, exited Itself, spawn crash 0, ready, ok 1"
    );

    let mut world = World::new(setup(RestartWhen::Always), vec![crash; 100]);
    world.start();
    world.pass(20 * SECOND);
    assert!(world.said().ends_with("failed 1 5"));

    let mut world = World::new(setup(RestartWhen::Never), vec![Nature { stillborn: true, ..FINE }]);
    world.start();
    assert_eq!(world.said(), "spawn first 0, failed 1 5");
    assert_eq!(world.answers[&1].as_ref().unwrap_err().text, "`payments` cannot be started: no");
}

#[test]
fn another_environment_by_restart_and_back() {
    let mut world = World::up(RestartWhen::Never, &[]);
    world.apply("drift", env(EnvApply::Restart, None), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 1, ready, done, hit 2, ok 2");
    world.apply("drift", env(EnvApply::Restart, None), false);
    assert_eq!(world.said(), "done, hit 3, ok 3", "it is in force already");
    world.undo("drift");
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 0, ready, undone, ok 4");
    world.undo("drift");
    assert_eq!(world.said(), "ok 5", "nothing is left to undo");
}

#[test]
fn another_environment_under_which_it_is_never_ready() {
    let never = Nature { ready_after: None, ..FINE };
    let mut world = World::up(RestartWhen::Never, &[never, never]);
    world.apply("drift", env(EnvApply::Restart, None), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 1, late, not done, failed 2 1");
    world.undo("drift");
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 0, late, not undone, failed 3 7");

    // Whoever crashed under it is brought back, even if its orchestrator would not.
    let crash = Nature { ends_after: Some((100 * MS, 3)), ..FINE };
    let mut world = World::up(RestartWhen::Never, &[crash]);
    world.apply("drift", env(EnvApply::Restart, None), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 1, exited Itself, not done, failed 2 1");
    world.undo("drift");
    world.pass(HOUR);
    assert_eq!(world.said(), "spawn swap 0, ready, undone, ok 3");
}

#[test]
fn another_environment_at_the_next_start() {
    let ends = Nature { ends_after: Some((60 * SECOND, 1)), ..FINE };
    let mut world = World::new(setup(RestartWhen::Always), vec![ends; 9]);
    world.start();
    world.pass(2 * SECOND);
    world.log.clear();
    world.apply("drift", env(EnvApply::NextRestart, None), false);
    assert_eq!(world.said(), "ok 2", "nothing is restarted for it");
    world.pass(62 * SECOND);
    assert_eq!(world.said(), "exited Itself, spawn crash 1, done, hit 2, ready");
    world.pass(62 * SECOND);
    assert_eq!(world.said(), "exited Itself, spawn crash 0, ready", "only for one incarnation");
    world.undo("drift");
    assert_eq!(world.said(), "undone, ok 3");

    world.apply("drift", env(EnvApply::NextRestart, Some(2)), false);
    world.pass(62 * SECOND);
    assert_eq!(world.said(), "ok 4, exited Itself, spawn crash 1, done, hit 4, ready");
    world.undo("drift");
    world.pass(3 * SECOND);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 0, ready, undone, ok 5");

    world.apply("drift", env(EnvApply::NextRestart, None), false);
    world.undo("drift");
    assert_eq!(world.said(), "ok 6, undone, ok 7", "it never struck");
}

#[test]
fn a_kill_and_what_its_orchestrator_does() {
    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("crash", kill(None, None), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "KILL, exited Fault, done, hit 2, ok 2, spawn fault 0, ready");

    let mut world = World::up(RestartWhen::Never, &[]);
    world.apply("crash", kill(None, None), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "KILL, exited Fault, done, hit 2, ok 2");
    world.undo("crash");
    world.pass(HOUR);
    assert_eq!(world.said(), "undone, ok 3");
    world.apply("crash", kill(None, None), false);
    assert_eq!(world.said(), "not done, ok 4", "nothing to kill is no hit");
}

#[test]
fn a_kill_that_keeps_it_down() {
    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("crash", kill(Some(16 * 60 * SECOND), None), false);
    world.pass(15 * 60 * SECOND);
    assert_eq!(world.said(), "KILL, exited Fault, done, hit 2, ok 2");
    assert_eq!(world.machine.state(), State::KeptDown);
    world.pass(2 * 60 * SECOND);
    assert_eq!(world.said(), "spawn fault 0, ready");

    world.apply("crash", kill(Some(16 * 60 * SECOND), Some(2)), true);
    world.pass(SECOND);
    world.log.clear();
    world.undo("crash");
    world.pass(SECOND);
    assert_eq!(world.said(), "spawn fault 0, ready, undone, ok 4", "started at once");

    // Undone before its end was seen.
    let mut world = World::up(RestartWhen::Never, &[]);
    world.apply("crash", kill(Some(HOUR), None), false);
    world.undo("crash");
    world.pass(2 * SECOND);
    assert_eq!(world.said(), "KILL, ok 2, exited Fault, spawn fault 0, ready, undone, ok 3");
}

#[test]
fn again_whenever_it_is_ready() {
    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("crash loop", kill(None, Some(3)), false);
    world.pass(HOUR);
    let said = world.said();
    assert_eq!(said.matches("KILL").count(), 3, "{said}");
    assert_eq!(said.matches("hit 2, ok 2").count(), 1);
    assert_eq!(said.matches("spawn fault 0, ready").count(), 3);

    // With a timeline each turn is one more, up to so many in all.
    let mut world = World::up(RestartWhen::Always, &[]);
    for turn in 0..5 {
        let id = world.apply("crash loop", kill(None, Some(3)), true);
        world.pass(10 * SECOND);
        assert_eq!(world.said().matches("KILL").count(), usize::from(turn < 3));
        assert_eq!(world.hits.contains(&id), turn < 3);
    }
    world.undo("crash loop");
    world.apply("crash loop", kill(None, Some(3)), true);
    assert!(world.said().ends_with("KILL"), "armed anew");
}

#[test]
fn signals_that_end_and_signals_that_do_not() {
    let with = |signal| process(ProcessWhat::Kill(signal), None, None);
    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("reload", with(Signal::SIGHUP), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "HUP, done, hit 2, ok 2");
    world.give(Input::Exited { code: None, signal: Some(Signal::SIGHUP) });
    world.process = None;
    assert_eq!(world.said(), "exited Fault");

    let deaf = Nature { deaf: true, ..FINE };
    let mut world = World::new(setup(RestartWhen::Always), vec![deaf]);
    world.start();
    world.pass(SECOND);
    world.log.clear();
    world.apply("terminate", with(Signal::SIGTERM), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, not done, failed 2 1");
    world.apply("kill", kill(None, None), false);
    world.pass(SECOND);
    assert_eq!(world.said(), "KILL, exited Fault, done, hit 3, ok 3");

    // what it survived is not what ends it a minute later
    let mut world =
        World::new(setup(RestartWhen::Always), vec![Nature { ends_after: Some((60 * SECOND, 1)), ..deaf }]);
    world.start();
    world.pass(2 * SECOND);
    world.log.clear();
    world.apply("terminate", with(Signal::SIGTERM), false);
    world.undo("terminate");
    world.pass(60 * SECOND);
    let said = world.said();
    assert!(said.contains("exited Itself") && !said.contains("exited Fault"), "{said}");

    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("stop", with(Signal::SIGSTOP), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "paused, STOP, done, hit 2, ok 2");
    world.undo("stop");
    assert_eq!(world.said(), "CONT, resumed, undone, ok 3");
}

#[test]
fn a_pause_and_a_restart() {
    let pause = || process(ProcessWhat::Pause(700 * MS), None, None);
    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("freeze", pause(), false);
    assert_eq!(world.machine.state(), State::Paused);
    world.pass(SECOND);
    assert_eq!(world.said(), "paused, STOP, done, hit 2, ok 2, CONT, resumed");
    world.apply("freeze", pause(), true);
    world.undo("freeze");
    assert_eq!(world.said(), "paused, STOP, done, hit 3, ok 3, CONT, resumed, undone, ok 4");
    world.apply("freeze", pause(), false);
    world.log.clear();
    world.give(Input::Stop);
    world.pass(SECOND);
    assert_eq!(world.said(), "undone, TERM, CONT, resumed, exited End, down");

    let restart = |down| process(ProcessWhat::Restart, down, None);
    let mut world = World::up(RestartWhen::Never, &[Nature { deaf: true, ..FINE }]);
    world.apply("restart", restart(None), false);
    world.pass(2 * SECOND);
    assert_eq!(world.said(), "TERM, CONT, exited Fault, spawn fault 0, ready, done, hit 2, ok 2");
    world.apply("restart with a pause", restart(Some(HOUR)), false);
    world.pass(HOUR);
    assert_eq!(world.said(), "TERM, CONT, KILL, exited Fault", "kept down");
    world.pass(10 * SECOND);
    assert_eq!(world.said(), "spawn fault 0, ready, done, hit 3, ok 3");
}

#[test]
fn faults_on_one_service_compose() {
    let mut world = World::up(RestartWhen::Always, &[]);
    world.apply("crash", kill(Some(60 * SECOND), None), false);
    world.pass(SECOND);
    world.log.clear();
    world.apply("drift", env(EnvApply::Restart, None), false);
    world.pass(50 * SECOND);
    assert_eq!(world.said(), "", "swapped when it may start again");
    world.pass(20 * SECOND);
    assert_eq!(world.said(), "spawn fault 1, ready, done, hit 3, ok 3");
    world.apply("other drift", env(EnvApply::Restart, None), false);
    world.undo("drift");
    world.pass(3 * SECOND);
    assert_eq!(world.said(), "TERM, CONT, exited Swap, spawn swap 1, ready, done, hit 4, ok 4, undone, ok 5");
    world.apply("crash", kill(Some(HOUR), None), true);
    world.pass(SECOND);
    world.log.clear();
    world.undo("other drift");
    assert_eq!(world.said(), "undone, ok 7", "kept down by another fault; it starts clean");
    world.undo("crash");
    world.pass(SECOND);
    assert_eq!(world.said(), "spawn fault 0, ready, undone, ok 8");
}

#[derive(Clone, Debug)]
enum Step {
    Apply(usize, Deed, bool),
    Undo(usize),
    Pass(u64),
}

const FAULTS: [&str; 3] = ["one", "two", "three"];

fn deed() -> impl Strategy<Value = Deed> {
    let restarts = || prop::option::of(1u32..3);
    let down = || prop::option::of((0u64..30_000).prop_map(Duration::from_millis));
    let times = || prop::option::of(1u32..4);
    let signals = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGSTOP];
    let signal = prop::sample::select(signals.to_vec());
    let pause = (0u64..5_000).prop_map(|ms| ProcessWhat::Pause(Duration::from_millis(ms)));
    let what = prop_oneof![signal.prop_map(ProcessWhat::Kill), pause, Just(ProcessWhat::Restart)];
    prop_oneof![
        restarts().prop_map(|restarts| env(EnvApply::Restart, restarts)),
        restarts().prop_map(|restarts| env(EnvApply::NextRestart, restarts)),
        (what, down(), times()).prop_map(|(what, down, times)| process(what, down, times)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..FAULTS.len(), deed(), any::<bool>()).prop_map(|(fault, deed, timeline)| Step::Apply(fault, deed, timeline)),
        2 => (0..FAULTS.len()).prop_map(Step::Undo),
        3 => prop_oneof![0u64..50, 0u64..30_000].prop_map(Step::Pass),
    ]
}

fn nature() -> impl Strategy<Value = Nature> {
    let ready_after = prop::option::weighted(0.8, (0u64..3_000).prop_map(Duration::from_millis));
    let ends_after = prop::option::weighted(0.3, ((0u64..90_000).prop_map(Duration::from_millis), 0..2));
    (prop::bool::weighted(0.1), ready_after, ends_after, prop::bool::weighted(0.2)).prop_map(
        |(stillborn, ready_after, ends_after, deaf)| Nature { stillborn, ready_after, ends_after, deaf },
    )
}

fn restart_when() -> impl Strategy<Value = RestartWhen> {
    prop::sample::select(vec![RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never])
}

fn lived(when: RestartWhen, checked: bool, natures: Vec<Nature>, steps: &[Step]) -> World {
    let mut setup = setup(when);
    setup.within = setup.within.filter(|_| checked);
    let mut world = World::new(setup, natures);
    world.start();
    for step in steps {
        match step {
            Step::Apply(fault, deed, timeline) => {
                world.apply(FAULTS[*fault], deed.clone(), *timeline);
            }
            Step::Undo(fault) => {
                world.undo(FAULTS[*fault]);
            }
            Step::Pass(ms) => world.pass(Duration::from_millis(*ms)),
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_order_is_answered_once_and_undo_leaves_nothing(
        when in restart_when(),
        checked in any::<bool>(),
        natures in vec(nature(), 0..12),
        steps in vec(step(), 0..25),
    ) {
        let mut world = lived(when, checked, natures, &steps);
        for fault in FAULTS {
            world.undo(fault);
        }
        world.pass(HOUR);
        for id in 1..=world.next {
            prop_assert!(world.answers.contains_key(&id), "{} is not answered: {:?}", id, world.log);
        }
        if let Some(process) = &world.process {
            prop_assert!(process.swaps.is_empty(), "{:?}", world.log);
            prop_assert!(!process.stopped, "{:?}", world.log);
        }
        prop_assert!(world.machine.holds.is_empty() && world.machine.swaps.is_empty());
        prop_assert!(world.machine.turns.is_empty() && world.machine.armed.is_empty());
        let before = world.down;
        world.give(Input::Stop);
        world.pass(10 * SECOND);
        prop_assert!(world.process.is_none());
        prop_assert_eq!(world.machine.state(), State::Down);
        prop_assert_eq!(world.down, before + 1);
        prop_assert_eq!(world.machine.due(), None);
    }

    #[test]
    fn every_order_is_answered_also_if_nothing_is_undone(
        when in restart_when(),
        natures in vec(nature(), 0..12),
        steps in vec(step(), 0..25),
    ) {
        let mut world = lived(when, true, natures, &steps);
        world.pass(HOUR);
        for id in 1..=world.next {
            prop_assert!(world.answers.contains_key(&id), "{} is not answered: {:?}", id, world.log);
        }
    }

    #[test]
    fn it_can_be_stopped_at_any_time(
        when in restart_when(),
        natures in vec(nature(), 0..12),
        steps in vec(step(), 0..25),
    ) {
        let mut world = lived(when, true, natures, &steps);
        world.give(Input::Stop);
        world.pass(10 * SECOND);
        prop_assert!(world.process.is_none());
        prop_assert_eq!(world.down, 1);
        for id in 1..=world.next {
            prop_assert!(world.answers.contains_key(&id), "{} is not answered: {:?}", id, world.log);
        }
        prop_assert_eq!(world.machine.state(), State::Down);
    }
}
