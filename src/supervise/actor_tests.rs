//! The supervisor with real processes.

use super::*;
use crate::model::{
    Deed, EnvApply, Hook, ProcessDeed, ProcessWhat, Ready, ReadyCheck, Restart, RestartWhen, Service,
};
use crate::supervise::testing::{is_alive, ledger, pid_in, service, until};
use crate::supervise::{Pace, ServiceState};
use crate::telemetry::{ExitCause, Stamped};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(60);

/// A supervisor, and everything it tells.
struct Stand {
    supervisor: Option<Supervisor>,
    ledger: Arc<Ledger>,
    telemetry: Arc<Telemetry>,
    events: Receiver<Arc<Stamped>>,
    told: Vec<Event>,
    hits: Arc<AtomicUsize>,
    moments: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
    _state: TempDir,
}

impl Stand {
    fn new(services: impl FnOnce(&Path) -> Vec<Service>) -> Self {
        let (state, ledger) = ledger();
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(ledger);
        let telemetry = Telemetry::new();
        let events = telemetry.subscribe();
        let expected =
            vec![("MODE".to_owned(), "production".to_owned()), ("MODE".to_owned(), "development".to_owned())];
        let plan = |service| Plan { service, expected_env: expected.clone() };
        let plans = services(folder.path()).into_iter().map(plan).collect();
        let moments = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&moments);
        let watch: Watch =
            Box::new(move |name, moment| seen.lock().unwrap().push(format!("{name} {moment:?}")));
        let supervisor = start(plans, 0.01, Arc::clone(&telemetry), Arc::clone(&ledger), watch).unwrap();
        Self {
            supervisor: Some(supervisor),
            ledger,
            telemetry,
            events,
            told: Vec::new(),
            hits: Arc::default(),
            moments,
            folder,
            _state: state,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn supervisor(&self) -> &Supervisor {
        self.supervisor.as_ref().unwrap()
    }

    async fn up(&self) -> Result<(), Failure> {
        timeout(BOUND, self.supervisor().bring_up()).await.unwrap()
    }

    fn apply(&self, fault: &str, service: &str, deeds: impl Into<Arc<[Deed]>>) {
        let hits = Arc::clone(&self.hits);
        self.supervisor().tell(Order::Apply {
            fault: fault.parse().unwrap(),
            services: vec![service.parse().unwrap()],
            deeds: deeds.into(),
            pace: Pace { scale: 0.01, timeline: false },
            hit: Arc::new(move || {
                hits.fetch_add(1, Ordering::SeqCst);
            }),
        });
    }

    fn undo(&self, fault: &str) {
        self.supervisor().tell(Order::Undo { fault: fault.parse().unwrap() });
    }

    async fn settle(&self) -> Vec<Failure> {
        timeout(BOUND, self.supervisor().settle()).await.unwrap()
    }

    async fn down(&self) -> Vec<Failure> {
        timeout(BOUND, self.supervisor().put_down()).await.unwrap()
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    fn status(&self) -> ServiceStatus {
        self.supervisor().status().remove(0)
    }

    /// All that was told so far of services, in words.
    fn told(&mut self) -> Vec<String> {
        self.telemetry.flush();
        while let Ok(stamped) = self.events.try_recv() {
            self.told.push(stamped.event.clone());
        }
        self.told.iter().filter_map(words).collect()
    }

    async fn until_told(&mut self, what: &str) {
        let limit = Instant::now() + BOUND;
        while !self.told().iter().any(|told| told.contains(what)) {
            assert!(Instant::now() < limit, "never told: {what}, but {:#?}", self.told());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Service { service, incarnation, did } => match did {
            Did::Started { reason, env, holds, .. } => {
                let env: Vec<_> = env.iter().map(|env| format!("{}={:?}", env.name, env.value)).collect();
                format!("{service} {incarnation} started {} {} {holds:?}", reason.as_str(), env.join(","))
            }
            Did::Ready { .. } => format!("{service} {incarnation} ready"),
            Did::Exited { code, signal, cause } => {
                format!("{service} {incarnation} exited {code:?} {signal:?} {cause:?}")
            }
            Did::Log { line, .. } => format!("{service} {incarnation} wrote {line}"),
            other => format!("{service} {incarnation} {other:?}"),
        },
        Event::Deed { fault, action, done, text, .. } => format!("{fault} {action} done {done}: {text}"),
        Event::Undone { fault, action, done, text, .. } => format!("{fault} {action} undone {done}: {text}"),
        _ => return None,
    })
}

fn swap(set: &[(&str, &str)], unset: &[&str]) -> Deed {
    Deed::Env(EnvSwap {
        set: set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        unset: unset.iter().map(|name| (*name).to_owned()).collect(),
        apply: EnvApply::Restart,
        restarts: None,
    })
}

fn process(what: ProcessWhat, down: Option<Duration>, times: Option<u32>) -> Deed {
    Deed::Process(ProcessDeed { what, down, times })
}

fn always(delay: Duration) -> Restart {
    Restart { when: RestartWhen::Always, delay, backoff: 2.0, max_delay: 30 * SECOND }
}

fn ready_by_log(regex: &str, within: Duration) -> Option<Ready> {
    Some(Ready { check: ReadyCheck::Log(regex::Regex::new(regex).unwrap()), within })
}

/// Says that it is up and waits for its end.
const UP: &str = "echo is up; while :; do sleep 600 & wait; done";

#[tokio::test]
async fn a_swap_and_its_end_as_the_child_sees_them() {
    let mut stand = Stand::new(|folder| {
        let env = folder.join("env").display().to_string();
        let mut one = service("payments", &format!("env > {env}.new; mv {env}.new {env}; {UP}"));
        one.env = [("MODE", "production"), ("KEY", "hunter22")].map(|(n, v)| (n.into(), v.into())).into();
        one.show_env = vec!["MODE".into()];
        one.ready = ready_by_log("is up", BOUND);
        vec![one]
    });
    stand.up().await.unwrap();
    let env = |stand: &Stand| std::fs::read_to_string(stand.path("env")).unwrap();
    let has = |text: &str, line: &str| text.lines().any(|has| has == line);
    let (marker, value) = (stand.ledger.marker().0, stand.ledger.marker().1.to_owned());
    let before = env(&stand);
    assert!(has(&before, "MODE=production") && has(&before, "KEY=hunter22"), "{before}");
    assert!(has(&before, &format!("{marker}={value}")), "{before}");

    stand.apply("drift", "payments", [swap(&[("MODE", "development"), ("NEW", "secret value")], &["KEY"])]);
    assert_eq!(stand.settle().await, []);
    assert_eq!(stand.hits(), 1);
    let during = env(&stand);
    assert!(has(&during, "MODE=development") && has(&during, "NEW=secret value"), "{during}");
    assert!(!during.contains("KEY="), "{during}");
    let status = stand.status();
    assert_eq!((status.incarnation, status.restarts, status.state), (2, 1, ServiceState::Ready));
    assert_eq!(status.drifted, ["KEY", "MODE", "NEW"]);

    stand.undo("drift");
    assert_eq!(stand.settle().await, []);
    let after = env(&stand);
    assert!(
        has(&after, "MODE=production") && has(&after, "KEY=hunter22") && !after.contains("NEW="),
        "{after}"
    );
    assert_eq!(stand.status().drifted, [""; 0]);
    assert_eq!(stand.down().await, []);
    assert_eq!(stand.status().state, ServiceState::Down);
    assert_eq!(stand.ledger.owed(), []);

    let told: Vec<_> = stand.told().into_iter().filter(|told| !told.contains("wrote")).collect();
    assert_eq!(
        told,
        [
            "payments 1 started first MODE=Some(\"production\") [0]",
            "payments 1 ready",
            "payments 1 exited None Some(\"SIGTERM\") Swap",
            "payments 2 started swap KEY=None,MODE=Some(\"development\"),NEW=None [1]",
            "payments 2 ready",
            "drift env done true: it was restarted with the other environment and is ready",
            "payments 2 exited None Some(\"SIGTERM\") Swap",
            "payments 3 started swap MODE=Some(\"production\") [0]",
            "payments 3 ready",
            "drift env undone true: it runs as the file says",
            "payments 3 exited None Some(\"SIGTERM\") End",
        ]
    );
    let moments = stand.moments.lock().unwrap().join(", ");
    assert_eq!(moments, ["payments Start, payments Ready"; 3].join(", "));
}

#[tokio::test]
async fn hidden_values_are_in_nothing_that_is_told() {
    let mut stand = Stand::new(|_| {
        let mut one = service("payments", &format!("echo key is $KEY; env >&2; {UP}"));
        one.env = vec![("KEY".into(), "hunter22".into())];
        one.ready = ready_by_log("key is (hunter22|swapped)", BOUND);
        vec![one]
    });
    stand.up().await.unwrap();
    stand.apply("drift", "payments", [swap(&[("KEY", "swapped in")], &[])]);
    assert_eq!(stand.settle().await, []);
    stand.until_told("payments 2 wrote is up").await;
    stand.down().await;
    let told = stand.told();
    assert!(told.contains(&"payments 1 wrote key is ***".to_owned()), "{told:#?}");
    assert!(told.contains(&"payments 2 wrote KEY=***".to_owned()), "{told:#?}");
    let journal: String = stand.told.iter().map(|event| format!("{event:?}")).collect();
    assert!(!journal.contains("hunter22") && !journal.contains("swapped in"), "{journal}");
}

#[tokio::test]
async fn in_the_order_of_after_and_down_in_reverse() {
    let mut stand = Stand::new(|_| {
        let one = |name: &str, after: &[usize]| {
            let mut one = service(name, UP);
            one.after = after.to_vec();
            one.ready = ready_by_log("is up", BOUND);
            one
        };
        let mut external = service("external", "");
        external.command.clear();
        vec![one("web", &[1, 2, 3]), one("payments", &[2]), one("db", &[]), external]
    });
    stand.up().await.unwrap();
    assert_eq!(stand.supervisor().status()[3].state, ServiceState::External);
    assert_eq!(stand.down().await, []);
    let told = stand.told();
    let place =
        |what: &str| told.iter().position(|told| told.starts_with(what)).unwrap_or_else(|| panic!("{what}"));
    assert!(place("db 1 ready") < place("payments 1 started"));
    assert!(place("payments 1 ready") < place("web 1 started"));
    assert!(place("web 1 exited") < place("payments 1 exited"));
    assert!(place("payments 1 exited") < place("db 1 exited"));
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let never = Stand::new(|_| {
        let mut one = service("search", "echo no index KEY=$KEY; exec sleep 600");
        one.env = vec![("KEY".into(), "hunter22".into())];
        one.ready = ready_by_log("never", Duration::from_millis(300));
        vec![one]
    });
    let failure = never.up().await.unwrap_err();
    assert_eq!(failure.exit, 5);
    assert_eq!(
        failure.text,
        "`search` was not ready within 300ms: no line of its output matches `never`\nthe end of its output:\n  no index KEY=***"
    );
    assert_eq!(never.down().await, []);

    let crashes = Stand::new(|_| {
        let mut one = service("gateway", "echo no exchange >&2; exit 3");
        one.ready = ready_by_log("never", BOUND);
        vec![one]
    });
    let failure = crashes.up().await.unwrap_err();
    assert_eq!(
        failure.text,
        "`gateway` ended before it was ready: it ended with exit code 3\nthe end of its output:\n  no exchange"
    );
    assert_eq!(crashes.down().await, []);

    let gone = Stand::new(|_| {
        let mut one = service("gone", "");
        one.command = vec!["/no/such/program".into()];
        vec![one]
    });
    let failure = gone.up().await.unwrap_err();
    assert!(failure.text.starts_with("`gone` cannot be started: `/no/such/program`: "), "{failure:?}");
    assert_eq!(gone.down().await, []);
}

#[tokio::test]
async fn a_crash_loop_at_the_start_is_followed_until_it_is_ready() {
    let mut stand = Stand::new(|folder| {
        let count = folder.join("count").display().to_string();
        let mut one =
            service("flaky", &format!("echo x >> {count}; test $(wc -l < {count}) -ge 3 || exit 1; {UP}"));
        one.restart = always(SECOND);
        one.ready = ready_by_log("is up", BOUND);
        vec![one]
    });
    stand.up().await.unwrap();
    assert_eq!(stand.status().restarts, 2);
    let told = stand.told();
    let crashed = told.iter().filter(|told| told.ends_with("exited Some(1) None Itself")).count();
    assert_eq!(crashed, 2, "{told:#?}");
    stand.down().await;
}

#[tokio::test]
async fn a_kill_meets_all_of_it_and_it_comes_back() {
    let mut stand = Stand::new(|folder| {
        let pid = folder.join("pid").display().to_string();
        let mut one =
            service("worker", &format!("sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; {UP}"));
        one.restart = always(10 * SECOND);
        one.ready = ready_by_log("is up", BOUND);
        vec![one]
    });
    stand.up().await.unwrap();
    let grandchild = pid_in(&stand.path("pid")).await;
    assert!(is_alive(grandchild));
    let kill = process(ProcessWhat::Kill(Signal::SIGKILL), None, Some(2));
    stand.apply("crash loop", "worker", [kill]);
    assert_eq!(stand.settle().await, []);
    until("the grandchild has ended", || !is_alive(grandchild)).await;
    stand.until_told("worker 3 ready").await;
    assert_eq!(stand.hits(), 1);
    stand.undo("crash loop");
    assert_eq!(stand.settle().await, []);
    let told = stand.told();
    assert!(told.contains(&"worker 1 exited None Some(\"SIGKILL\") Fault".to_owned()), "{told:#?}");
    assert!(told.contains(&"worker 2 started fault  []".to_owned()), "{told:#?}");
    assert_eq!(stand.down().await, []);
}

#[tokio::test]
async fn kept_down_paused_and_deaf() {
    let mut stand = Stand::new(|_| {
        let mut one = service("worker", &format!("trap '' TERM; {UP}"));
        one.grace = Duration::from_millis(100);
        one.ready = ready_by_log("is up", BOUND);
        vec![one]
    });
    stand.up().await.unwrap();
    stand.apply(
        "down",
        "worker",
        [process(ProcessWhat::Kill(Signal::SIGKILL), Some(Duration::from_secs(86_400)), None)],
    );
    assert_eq!(stand.settle().await, []);
    assert_eq!((stand.status().state, stand.status().pid), (ServiceState::KeptDown, None));
    stand.undo("down");
    assert_eq!(stand.settle().await, []);
    assert_eq!(stand.status().state, ServiceState::Ready);

    let pid = i32::try_from(stand.status().pid.unwrap()).unwrap();
    let stopped = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    stand.apply("freeze", "worker", [process(ProcessWhat::Pause(BOUND * 60), None, None)]);
    assert_eq!(stand.settle().await, []);
    until("it is stopped", stopped).await;
    assert_eq!(stand.status().state, ServiceState::Paused);
    stand.undo("freeze");
    assert_eq!(stand.settle().await, []);
    until("it goes on", || !stopped()).await;

    stand.apply("terminate", "worker", [process(ProcessWhat::Kill(Signal::SIGTERM), None, None)]);
    let failures = stand.settle().await;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].exit, 1);
    assert!(failures[0].text.starts_with("`worker` was sent SIGTERM and did not end"), "{failures:?}");
    assert_eq!(stand.hits(), 2);

    stand.apply("freeze", "worker", [process(ProcessWhat::Pause(BOUND * 60), None, None)]);
    assert_eq!(stand.down().await, [], "SIGKILL meets it");
    assert!(!is_alive(pid));
    let told = stand.told();
    assert!(told.last().unwrap().ends_with("exited None Some(\"SIGKILL\") End"), "{told:#?}");
}

#[tokio::test]
async fn nothing_is_applied_once_all_is_put_down() {
    let mut stand = Stand::new(|_| {
        let mut one = service("worker", UP);
        one.ready = ready_by_log("is up", BOUND);
        vec![one]
    });
    stand.up().await.unwrap();
    let mut down = Box::pin(stand.down());
    assert!(std::future::poll_fn(|task| std::task::Poll::Ready(down.as_mut().poll(task))).await.is_pending());
    stand.apply("kill", "worker", [process(ProcessWhat::Kill(Signal::SIGKILL), None, None)]);
    stand.apply("drift", "worker", [swap(&[("MODE", "development")], &[])]);
    assert_eq!(down.await, []);
    stand.apply("kill", "worker", [process(ProcessWhat::Kill(Signal::SIGKILL), None, None)]);
    assert_eq!(stand.settle().await, []);
    assert_eq!((stand.hits(), stand.status().incarnation), (0, 1));
    let told = stand.told();
    assert!(!told.iter().any(|told| told.contains("kill") || told.contains("drift")), "{told:#?}");
}

#[tokio::test]
async fn of_many_failures_the_newest_are_kept() {
    let stand = Stand::new(|_| {
        let mut external = service("external", "");
        external.command.clear();
        vec![external]
    });
    assert_eq!(stand.supervisor().failures().await, []);
    for number in 0..130 {
        stand.apply(&format!("f{number}"), "external", [process(ProcessWhat::Restart, None, None)]);
    }
    let failures = stand.supervisor().failures().await;
    assert_eq!(failures.len(), 100);
    assert!(failures[0].text.starts_with("fault `f30` on service `external`"), "{}", failures[0].text);
    assert_eq!(stand.down().await, [], "each is told once");
}

#[tokio::test]
async fn one_that_has_died_is_missed() {
    let (supervisor, orders) = Supervisor::handle(Vec::new());
    assert!(!supervisor.is_gone());
    drop(orders);
    assert!(supervisor.is_gone());
    assert_eq!(supervisor.failures().await, []);
    assert_eq!(supervisor.put_down().await[0].exit, 70);
}

#[tokio::test]
async fn what_left_its_group_is_ended_too() {
    let stand = Stand::new(|folder| {
        let pid = folder.join("pid").display().to_string();
        let script = format!("setsid sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600' & {UP}");
        vec![service("daemon", &script)]
    });
    stand.up().await.unwrap();
    let daemon = pid_in(&stand.path("pid")).await;
    assert!(is_alive(daemon));
    assert_eq!(stand.down().await, []);
    assert!(!is_alive(daemon));
    assert_eq!(stand.ledger.owed(), []);
}

#[tokio::test]
async fn writing_without_end_holds_nobody_up() {
    let mut stand = Stand::new(|folder| {
        let done = folder.join("done").display().to_string();
        let mut one =
            service("loud", &format!("yes something | head -c 50000000; : > {done}; echo last; yes"));
        one.ready =
            Some(Ready { check: ReadyCheck::Command(vec!["test".into(), "-e".into(), done]), within: BOUND });
        vec![one]
    });
    stand.up().await.unwrap();
    assert!(stand.path("done").exists());
    stand.until_told("Unwritten").await;
    assert_eq!(stand.down().await, []);
    stand.told();
    let (mut told, mut unwritten) = (0, 0);
    for event in &stand.told {
        if let Event::Service { did, .. } = event {
            match did {
                Did::Log { .. } => told += 1,
                Did::Unwritten { lines } => unwritten += lines,
                _ => {}
            }
        }
    }
    assert!((200..100_000).contains(&told), "{told}");
    assert!(told + unwritten > 5_000_000, "{told} {unwritten}");
}

#[tokio::test]
async fn hooks_and_what_is_not_ours() {
    let mut stand = Stand::new(|_| {
        let external = |name: &str| {
            let mut one = service(name, "");
            one.command.clear();
            one
        };
        let mut skipped = service("skipped", UP);
        skipped.skipped = Some("it is called elsewhere".into());
        vec![external("db"), skipped, external("other")]
    });
    stand.up().await.unwrap();
    let path = stand.path("on");
    let hook = |apply: &str, undo: &str| {
        let fill = |script: &str| {
            ["sh".into(), "-c".into(), script.replace("PATH", &path.display().to_string())].to_vec()
        };
        Deed::Hook(Hook { apply: fill(apply), undo: fill(undo), within: BOUND })
    };
    stand.apply("stall", "db", [hook(": > PATH", "rm PATH")]);
    assert_eq!(stand.settle().await, []);
    assert!(path.exists());
    assert_eq!(stand.hits(), 1);
    stand.undo("stall");
    assert_eq!(stand.settle().await, []);
    assert!(!path.exists());

    stand.apply("broken", "db", [hook("exit 3", "exit 4")]);
    let failures = stand.settle().await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].exit, 5);
    stand.undo("broken");
    let failures = stand.settle().await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].exit == 7 && failures[0].text.contains("by hand"), "{failures:?}");

    stand.apply("kill", "db", [process(ProcessWhat::Restart, None, None)]);
    stand.apply("kill", "skipped", [process(ProcessWhat::Restart, None, None)]);
    let failures = stand.settle().await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].text.contains("Brownout does not run it"), "{failures:?}");

    stand.apply("stall", "other", [hook(": > PATH", "rm PATH")]);
    assert_eq!(stand.settle().await, []);
    assert!(path.exists());
    assert_eq!(stand.down().await, []);
    assert!(!path.exists(), "undone when all is put down");
    assert!(
        stand.told().contains(&"stall hook undone true: it was undone".to_owned()),
        "{:#?}",
        stand.told()
    );
    assert_eq!(stand.hits(), 2);
}

#[tokio::test]
async fn dropping_the_handle_ends_everything_at_once() {
    let mut stand = Stand::new(|folder| {
        let pid = folder.join("pid").display().to_string();
        let script = format!(
            "trap '' TERM; setsid sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600' & {UP}"
        );
        let mut one = service("daemon", &script);
        one.grace = BOUND * 60;
        one.restart = always(SECOND);
        vec![one]
    });
    stand.up().await.unwrap();
    let daemon = pid_in(&stand.path("pid")).await;
    let leader = i32::try_from(stand.status().pid.unwrap()).unwrap();
    let supervisor = stand.supervisor.take().unwrap();
    drop(supervisor.clone());
    assert!(is_alive(leader) && is_alive(daemon));
    drop(supervisor);
    assert!(!is_alive(leader) && !is_alive(daemon));
    assert_eq!(stand.ledger.owed(), []);
}

#[tokio::test]
async fn a_crash_by_itself_is_told_as_one() {
    let mut stand = Stand::new(|_| {
        let mut one = service("worker", "exit 9");
        one.restart = Restart { max_delay: SECOND, ..always(SECOND) };
        vec![one]
    });
    stand.up().await.unwrap();
    stand.until_told("worker 3 started crash").await;
    stand.down().await;
    assert!(
        stand
            .told()
            .iter()
            .any(|told| *told == format!("worker 1 exited Some(9) None {:?}", ExitCause::Itself))
    );
}
