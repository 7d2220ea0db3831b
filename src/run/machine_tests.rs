//! The machine over random inputs: what must hold holds whatever comes in.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn setup() -> impl Strategy<Value = Setup> {
    let length = || prop_oneof![Just(0), 1..100u64].prop_map(Duration::from_secs);
    let command =
        prop_oneof![Just(None), Just(Some(During::All)), Just(Some(During::Fault)), Just(Some(During::Each))];
    (length(), length(), length(), length(), any::<bool>(), command, any::<bool>(), services()).prop_map(
        |(warmup, baseline, fault, recovery, load, command, unsampled_is_fine, services)| Setup {
            warmup,
            baseline,
            fault,
            recovery,
            load,
            command,
            unsampled_is_fine,
            services,
        },
    )
}

fn services() -> impl Strategy<Value = Services> {
    let limit = || (1..100u64).prop_map(Duration::from_secs);
    let some = (limit(), proptest::option::of(limit()), limit(), limit()).prop_map(
        |(start, apply, restore, put_down)| Services {
            any: true,
            start,
            apply,
            restore: Some(restore),
            put_down,
        },
    );
    prop_oneof![Just(Services::default()), some]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => Just(Input::Tick),
        3 => Just(Input::Baseline(Steadiness::Steady)),
        1 => Just(Input::Baseline(Steadiness::Unsteady)),
        1 => Just(Input::Baseline(Steadiness::Unsampled)),
        1 => Just(Input::Breached),
        1 => Just(Input::Halted),
        1 => Just(Input::Interrupted),
        2 => any::<bool>().prop_map(|well| Input::CommandEnded { well }),
        1 => Just(Input::LoadEnded),
        1 => Just(Input::Broken),
        1 => Just(Input::Start),
        3 => Just(Input::ServicesUp),
        4 => any::<bool>().prop_map(|well| Input::Settled { well }),
        1 => Just(Input::ServicesDown),
    ]
}

/// Watches what a machine says.
#[derive(Default)]
struct Watch {
    entered: Option<Phase>,
    last: Option<Phase>,
    armed: usize,
    healed: usize,
    sealed: bool,
    finished: usize,
    loads: isize,
    /// Services are up, or coming up.
    up: bool,
    put_down: usize,
    wake: Option<Duration>,
}

impl Watch {
    fn hear(&mut self, input: Input, commands: &[Command]) {
        self.sealed |= matches!(input, Input::Interrupted | Input::Broken);
        for command in commands {
            assert_eq!(self.finished, 0, "{command:?} after the end");
            match *command {
                Command::Enter(Phase::Idle) => self.entered = Some(Phase::Idle),
                Command::Enter(phase) => {
                    assert!(self.last < Some(phase), "{phase:?} after {:?}", self.last);
                    assert!(!self.sealed, "{phase:?} after the user asked to stop");
                    let on = self.armed > self.healed;
                    let early = (self.last, phase) == (Some(Phase::Apply), Phase::Fault);
                    assert_eq!(on, early, "{phase:?} begins while faults are on, or what is early is off");
                    (self.last, self.entered) = (Some(phase), Some(phase));
                }
                Command::Arm(life) => {
                    assert_eq!(self.entered, Some(Phase::Fault));
                    assert_eq!(self.healed, 0, "never after a heal");
                    assert!(!self.sealed && !life.is_zero());
                    self.armed = 1;
                }
                Command::ArmEarly(life) => {
                    assert_eq!(self.entered, Some(Phase::Apply));
                    assert_eq!((self.armed, self.healed), (0, 0), "armed once, and never after a heal");
                    assert!(!self.sealed && !life.is_zero());
                    self.armed = 1;
                }
                Command::BringUp => {
                    assert!(self.entered.is_none() && !self.up, "before anything else, and once");
                    self.up = true;
                }
                Command::Settle => {
                    assert!(matches!(self.entered, Some(Phase::Apply | Phase::Restore)));
                }
                Command::PutDown => {
                    assert!(self.up, "only what came up is put down");
                    assert_eq!(self.entered, Some(Phase::Idle));
                    assert_eq!((self.put_down, self.armed), (0, self.healed));
                    self.put_down += 1;
                }
                Command::Late(wait) => {
                    let of = [Wait::Start, Wait::Apply, Wait::Restore, Wait::PutDown];
                    let at = [None, Some(Phase::Apply), Some(Phase::Restore), Some(Phase::Idle)];
                    assert_eq!(
                        of.iter().position(|w| *w == wait),
                        at.iter().position(|p| *p == self.entered)
                    );
                }
                Command::Heal(_) => {
                    self.healed += 1;
                    assert_eq!(self.armed, self.healed, "only what was armed is healed");
                }
                Command::StartLoad => self.loads += 1,
                Command::StopLoad => self.loads -= 1,
                Command::Wake(at) => self.wake = Some(at),
                Command::Finish(_) => {
                    self.finished += 1;
                    assert_eq!(self.armed, self.healed, "what was armed is healed");
                    assert!(self.loads <= 0, "the load was not stopped");
                    assert!(matches!(self.entered, None | Some(Phase::Idle)));
                }
                Command::StartCommand | Command::StopCommand | Command::KillCommand | Command::Judge => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_it_heals_puts_down_and_ends_once(
        setup in setup(),
        inputs in vec((input(), 0..30u64), 0..40),
    ) {
        let mut run = Run::new(setup);
        let mut watch = Watch::default();
        let mut now = Duration::ZERO;
        watch.hear(Input::Start, &run.handle(now, Input::Start));
        let mut stops = 0;
        for (input, seconds) in inputs {
            now += Duration::from_secs(seconds);
            stops += usize::from(input == Input::Interrupted && !run.is_done());
            let loads = watch.loads;
            let out = run.handle(now, input);
            if input == Input::LoadEnded {
                watch.loads = loads.min(0);
            }
            watch.hear(input, &out);
        }
        // From here on only the clock: nobody answers, and it still comes to an end.
        for _ in 0..20 {
            if run.is_done() {
                break;
            }
            now = now.max(watch.wake.expect("it always asks to be woken"));
            let out = run.handle(now, Input::Tick);
            watch.hear(Input::Tick, &out);
        }
        prop_assert!(run.is_done());
        prop_assert_eq!(watch.finished, 1);
        // whoever asks twice does not wait
        prop_assert!(!watch.up || watch.put_down == 1 || stops > 1, "services are put down");
        prop_assert_eq!(run.handle(now, Input::Interrupted), []);
    }

    #[test]
    fn asked_twice_it_leaves_at_once(setup in setup(), inputs in vec((input(), 0..30u64), 0..20)) {
        let mut run = Run::new(setup);
        let mut now = Duration::ZERO;
        run.handle(now, Input::Start);
        for (input, seconds) in inputs {
            now += Duration::from_secs(seconds);
            run.handle(now, input);
        }
        run.handle(now, Input::Interrupted);
        run.handle(now, Input::Interrupted);
        prop_assert!(run.is_done());
    }

    #[test]
    fn faults_end_with_their_phase(setup in setup(), late in 0..3u64) {
        let mut run = Run::new(setup.clone());
        let (mut now, mut wake) = (Duration::ZERO, Duration::ZERO);
        let (mut armed, mut healed) = (None, None);
        let mut inputs = vec![Input::Start];
        while !run.is_done() {
            let input = inputs.pop().unwrap_or_else(|| {
                now = wake + Duration::from_secs(late);
                Input::Tick
            });
            for command in run.handle(now, input) {
                match command {
                    Command::Wake(at) => wake = at,
                    Command::Arm(life) => armed = Some((now, life)),
                    Command::BringUp => inputs.push(Input::ServicesUp),
                    Command::Settle => inputs.push(Input::Settled { well: true }),
                    Command::PutDown => inputs.push(Input::ServicesDown),
                    Command::Heal(_) => healed = Some(now),
                    Command::Judge => inputs.push(Input::Baseline(Steadiness::Steady)),
                    Command::StopLoad => inputs.push(Input::LoadEnded),
                    Command::StopCommand => inputs.push(Input::CommandEnded { well: false }),
                    _ => {}
                }
            }
        }
        match (armed, healed) {
            (Some((at, life)), Some(end)) => {
                prop_assert_eq!(life, setup.fault);
                prop_assert!(end <= at + life + Duration::from_secs(late));
            }
            (None, None) => prop_assert!(setup.fault.is_zero()),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn a_run_as_it_should_be() {
    let seconds = Duration::from_secs;
    let mut run = Run::new(Setup {
        warmup: seconds(5),
        baseline: seconds(20),
        fault: seconds(60),
        recovery: seconds(30),
        load: true,
        command: None,
        unsampled_is_fine: false,
        services: Services::default(),
    });
    use Command::*;
    for (at, input, out) in [
        (0, Input::Start, vec![StartLoad, Enter(Phase::Warmup), Wake(seconds(5))]),
        (5, Input::Tick, vec![Enter(Phase::Baseline), Wake(seconds(25))]),
        (24, Input::Tick, vec![Wake(seconds(25))]),
        (25, Input::Tick, vec![Judge, Wake(seconds(35))]),
        (
            26,
            Input::Baseline(Steadiness::Steady),
            vec![Enter(Phase::Fault), Arm(seconds(60)), Wake(seconds(86))],
        ),
        (40, Input::Breached, vec![Heal(Why::Guardrail), Enter(Phase::Recovery), Wake(seconds(70))]),
        (41, Input::Breached, vec![]),
        (70, Input::Tick, vec![Enter(Phase::Idle), StopLoad, Wake(seconds(75))]),
        (71, Input::LoadEnded, vec![Finish(End::Complete)]),
        (72, Input::Interrupted, vec![]),
    ] {
        assert_eq!(run.handle(seconds(at), input), out, "at {at}");
    }
}

#[test]
fn services_come_first_and_go_last_and_are_changed_between_phases() {
    let seconds = Duration::from_secs;
    let setup = Setup {
        baseline: seconds(20),
        fault: seconds(60),
        recovery: seconds(30),
        load: true,
        services: Services {
            any: true,
            start: seconds(25),
            apply: Some(seconds(40)),
            restore: Some(seconds(50)),
            put_down: seconds(15),
        },
        ..Setup::default()
    };
    use Command::*;
    let begin = || {
        let mut run = Run::new(setup.clone());
        for (at, input, out) in [
            (0, Input::Start, vec![BringUp, Wake(seconds(25))]),
            (3, Input::ServicesUp, vec![StartLoad, Enter(Phase::Baseline), Wake(seconds(23))]),
            (23, Input::Tick, vec![Judge, Wake(seconds(33))]),
            (
                24,
                Input::Baseline(Steadiness::Steady),
                vec![Enter(Phase::Apply), ArmEarly(seconds(100)), Settle, Wake(seconds(64))],
            ),
        ] {
            assert_eq!(run.handle(seconds(at), input), out, "at {at}");
        }
        run
    };
    let restore =
        |heal: Why, at: u64| vec![Heal(heal), Enter(Phase::Restore), Settle, Wake(seconds(at + 50))];
    let ending = [
        (100, Input::Settled { well: true }, vec![Enter(Phase::Recovery), Wake(seconds(130))]),
        (130, Input::Tick, vec![Enter(Phase::Idle), StopLoad, Wake(seconds(135))]),
        (131, Input::LoadEnded, vec![PutDown, Wake(seconds(146))]),
        (133, Input::ServicesDown, vec![Finish(End::Complete)]),
    ];
    let well = [
        (30, Input::Settled { well: true }, vec![Enter(Phase::Fault), Arm(seconds(60)), Wake(seconds(90))]),
        (90, Input::Tick, restore(Why::End, 90)),
    ];
    // never ready under the swap: there is no fault phase, and all is put back
    let never = [(30, Input::Settled { well: false }, restore(Why::Broken, 30))];
    let late = [(64, Input::Tick, [vec![Late(Wait::Apply)], restore(Why::Broken, 64)].concat())];
    for middle in [well.as_slice(), &never, &late] {
        let mut run = begin();
        for (at, input, out) in middle.iter().chain(&ending) {
            assert_eq!(run.handle(seconds(*at), *input), *out, "at {at}");
        }
    }
    let mut run = begin();
    let out = vec![Heal(Why::Interrupt), Enter(Phase::Idle), StopLoad, Wake(seconds(30))];
    assert_eq!(run.handle(seconds(25), Input::Interrupted), out);
    assert_eq!(run.handle(seconds(26), Input::LoadEnded), [PutDown, Wake(seconds(41))]);
    assert_eq!(run.handle(seconds(41), Input::Tick), [Late(Wait::PutDown), Finish(End::Interrupted)]);
}
