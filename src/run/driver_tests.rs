//! Runs on a stage that stands nowhere, by a paused clock.

use super::*;
use crate::model::Phase;
use crate::report::{Verdict, text};
use crate::run::progress::Kind;
use crate::run::testing::{Fake, experiment, window};
use crate::telemetry::Window;
use tokio::sync::mpsc::channel;

/// Ten exchanges on both edges each 250 ms, all well.
fn healthy(phase: Phase, _armed: bool) -> Vec<Window> {
    vec![window(0, phase, 10, 0), window(1, phase, 10, 0)]
}

async fn carried(fake: Fake, experiment: &Experiment, options: &Options) -> (Report, Arc<Fake>) {
    let (_keep, mut signals) = channel(4);
    carried_with(fake, experiment, options, &mut signals).await
}

async fn carried_with(
    fake: Fake,
    experiment: &Experiment,
    options: &Options,
    signals: &mut Receiver<Stop>,
) -> (Report, Arc<Fake>) {
    let fake = fake.begin();
    let progress = Progress::new(Box::new(std::io::sink()), Kind::Plain, experiment);
    let report = run(fake.clone(), experiment, options, signals, progress).await;
    (report, fake)
}

fn options() -> Options {
    Options {
        argv: ["brownout", "run", "timeout-cut.toml"].map(str::to_owned).to_vec(),
        seed: 42,
        ..Options::default()
    }
}

fn sh(script: &str) -> Options {
    Options { command: Some(["sh", "-c", script].map(str::to_owned).to_vec()), ..options() }
}

/// Phases of real time, short: for tests with a real command.
fn brief(mut experiment: Experiment) -> Experiment {
    experiment.run.time_scale = 0.01;
    experiment
}

#[tokio::test(start_paused = true)]
async fn a_healthy_run_goes_through_its_phases_and_passes() {
    let (report, fake) = carried(Fake::new(Box::new(healthy)), &experiment(), &options()).await;
    assert_eq!(
        fake.calls(),
        [
            "enter baseline",
            "enter fault",
            "arm provider is slow for 60s",
            "heal end",
            "enter recovery",
            "enter idle"
        ]
    );
    assert_eq!((report.verdict, report.exit), (Verdict::Passed, 0), "{:?}", report.reasons);
    let spans: Vec<_> = report.phases.iter().map(|p| (p.name, p.from.round(), p.to.round())).collect();
    assert_eq!(spans, [("baseline", 0.0, 20.0), ("fault", 20.0, 80.0), ("recovery", 80.0, 110.0)]);
    let fault = &report.edges[0].phases["fault"];
    assert!((2390..=2410).contains(&fault.requests), "{}", fault.requests);
    assert!((fault.rate.unwrap() - 40.0).abs() < 1.0);
    // What is read back from the journal is what was seen live.
    let mut again = Fold::new();
    for stamped in fake.journal() {
        let line = serde_json::to_string(&stamped).unwrap();
        again.take(&serde_json::from_str(&line).unwrap());
    }
    let read = build(&again, &experiment(), &options().terms);
    assert_eq!(text::render(&read, false), text::render(&report, false));
    assert_eq!(read, report);
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_system_is_never_struck() {
    let sick = |phase, _| vec![window(0, phase, 10, 5), window(1, phase, 10, 0)];
    let (report, fake) = carried(Fake::new(Box::new(sick)), &experiment(), &options()).await;
    assert_eq!(fake.calls(), ["enter baseline", "enter idle"]);
    assert_eq!((report.verdict, report.exit), (Verdict::Unsteady, 3));
    assert!(report.reasons[0].contains("before any fault"), "{:?}", report.reasons);
}

#[tokio::test(start_paused = true)]
async fn no_traffic_is_never_green_and_never_struck() {
    let (report, fake) = carried(Fake::new(Box::new(|_, _| Vec::new())), &experiment(), &options()).await;
    assert_eq!(fake.calls(), ["enter baseline", "enter idle"]);
    assert_eq!((report.verdict, report.exit), (Verdict::Inconclusive, 6));
    let mut lenient = options();
    lenient.terms.allow_vacuous = true;
    let (report, fake) = carried(Fake::new(Box::new(|_, _| Vec::new())), &experiment(), &lenient).await;
    assert_eq!(fake.calls().len(), 6);
    assert_eq!((report.verdict, report.exit), (Verdict::Passed, 0));
    assert!(!report.warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_breached_guardrail_heals_at_once_and_recovery_is_measured() {
    let fragile =
        |phase, armed| vec![window(0, phase, 10, if armed { 9 } else { 0 }), window(1, phase, 10, 0)];
    let (report, fake) = carried(Fake::new(Box::new(fragile)), &experiment(), &options()).await;
    assert_eq!(
        fake.calls()[2..],
        ["arm provider is slow for 60s", "heal guardrail", "enter recovery", "enter idle"]
    );
    assert_eq!((report.verdict, report.exit), (Verdict::Aborted, 4));
    let fault = &report.phases[1];
    assert!((10.0..16.0).contains(&(fault.to - fault.from)), "{fault:?}");
    assert_eq!(report.phases[2].name, "recovery");
    assert!(report.guardrails[0].breached && report.guardrails[0].observed.unwrap() > 0.5);
}

#[tokio::test(start_paused = true)]
async fn an_expectation_that_fails_fails_the_run() {
    let weak = |phase, armed| vec![window(0, phase, 10, u64::from(armed)), window(1, phase, 10, 0)];
    let (report, _) = carried(Fake::new(Box::new(weak)), &experiment(), &options()).await;
    assert_eq!((report.verdict, report.exit), (Verdict::Failed, 1));
    assert_eq!(report.expectations.iter().filter(|check| check.met == Some(false)).count(), 1);
    let mut wanted = options();
    wanted.terms.expect_exit = Some(1);
    let (report, _) = carried(Fake::new(Box::new(weak)), &experiment(), &wanted).await;
    assert_eq!((report.verdict, report.exit), (Verdict::Failed, 0));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_heals_and_reports() {
    let (send, mut signals) = channel(4);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        send.send(Stop::Terminate).await.unwrap();
        std::future::pending::<()>().await;
    });
    let (report, fake) =
        carried_with(Fake::new(Box::new(healthy)), &experiment(), &options(), &mut signals).await;
    assert_eq!(fake.calls()[2..], ["arm provider is slow for 60s", "heal interrupt", "enter idle"]);
    assert_eq!((report.verdict, report.exit), (Verdict::Interrupted, 143));
    assert!(report.phases.len() == 2 && report.edges[0].phases["fault"].requests > 0);
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_ends_the_fault_phase() {
    let fake = Fake::new(Box::new(healthy)).begin();
    let switch = fake.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        switch.heal_all("halt");
    });
    let (_keep, mut signals) = channel(1);
    let experiment = experiment();
    let progress = Progress::new(Box::new(std::io::sink()), Kind::Plain, &experiment);
    let report = run(fake.clone(), &experiment, &options(), &mut signals, progress).await;
    assert_eq!((report.verdict, report.exit), (Verdict::Aborted, 4));
    assert_eq!(fake.calls()[3..], ["heal halt", "heal halt", "enter recovery", "enter idle"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_cannot_be_armed_ends_the_run() {
    let mut fake = Fake::new(Box::new(healthy));
    fake.refuses = true;
    let (report, fake) = carried(fake, &experiment(), &options()).await;
    assert_eq!((report.verdict, report.exit), (Verdict::Error, 5));
    assert_eq!(fake.calls(), ["enter baseline", "enter fault", "heal error", "enter idle"]);
}

#[tokio::test(start_paused = true)]
async fn time_is_scaled_and_shown_as_the_file_has_it() {
    let mut experiment = experiment();
    experiment.run.time_scale = 0.1;
    experiment.guardrails.clear();
    let (report, fake) = carried(Fake::new(Box::new(healthy)), &experiment, &options()).await;
    assert!(fake.calls().contains(&"arm provider is slow for 6s".to_owned()));
    assert!((report.phases[2].to - 110.0).abs() < 1.0, "{:?}", report.phases);
    let rate = report.edges[0].phases["fault"].rate.unwrap();
    assert!((rate - 40.0).abs() < 3.0, "a rate is per real second: {rate}");
}

#[tokio::test]
async fn a_command_that_fails_before_any_fault_ends_the_run() {
    let (report, fake) = carried(Fake::new(Box::new(healthy)), &experiment(), &sh("exit 3")).await;
    assert_eq!(fake.calls(), ["enter baseline", "enter idle"]);
    assert_eq!((report.verdict, report.exit), (Verdict::Failed, 1));
    assert_eq!(report.command.unwrap().exit, Some(3));
    assert_eq!(report.reasons, ["the command `sh` failed with exit code 3"]);
}

#[tokio::test]
async fn a_command_through_all_phases_is_stopped_without_blame() {
    let experiment = brief(experiment());
    let (report, fake) = carried(Fake::new(Box::new(healthy)), &experiment, &sh("sleep 600 & wait")).await;
    assert_eq!(report.exit, 0, "{:?}", report.reasons);
    assert!(report.command.unwrap().stopped);
    assert_eq!(fake.calls().last().unwrap(), "enter idle");
}

#[tokio::test]
async fn a_command_can_be_the_fault_phase() {
    let mut experiment = brief(experiment());
    experiment.run.fault = Duration::from_secs(6_000);
    let mut options = sh(r#"test "$BROWNOUT_EDGE_CHECKOUT" = "${edge.checkout}""#);
    options.terms.during = During::Fault;
    let only_fault = |phase, _| {
        if phase == Phase::Fault || phase == Phase::Recovery { healthy(phase, false) } else { Vec::new() }
    };
    let (report, fake) = carried(Fake::new(Box::new(only_fault)), &experiment, &options).await;
    assert_eq!(
        fake.calls()[1..5],
        ["enter fault", "arm provider is slow for 60s", "heal end", "enter recovery"]
    );
    assert!(report.phases[1].to - report.phases[1].from < 3_000.0, "it ended the phase");
    let command = report.command.unwrap();
    assert_eq!((command.exit, command.stopped), (Some(0), false));
}

#[tokio::test]
async fn a_command_once_per_phase() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs");
    let mut options = sh(&format!("echo run >> {}", path.display()));
    options.terms.during = During::Each;
    let (_, fake) = carried(Fake::new(Box::new(healthy)), &experiment(), &options).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert_eq!(fake.calls().len(), 6);
    let mut options = sh("exit 1");
    options.terms.during = During::Each;
    let (report, fake) = carried(Fake::new(Box::new(healthy)), &experiment(), &options).await;
    assert_eq!(fake.calls(), ["enter baseline", "enter idle"]);
    assert_eq!(report.exit, 3);
}

#[tokio::test]
async fn a_command_that_cannot_start_is_the_environments_fault() {
    let mut options = sh("");
    options.command = Some(vec!["/no/such/command".into()]);
    let (report, fake) = carried(Fake::new(Box::new(healthy)), &experiment(), &options).await;
    assert_eq!((report.verdict, report.exit), (Verdict::Error, 5));
    assert!(!fake.calls().iter().any(|call| call.starts_with("arm")));
    let (report, _) = carried(Fake::new(Box::new(healthy)), &experiment(), &sh("${edge.chekout}")).await;
    assert_eq!(report.exit, 2);
    assert!(report.reasons[0].contains("did you mean"), "{:?}", report.reasons);
}

#[tokio::test]
async fn a_second_interrupt_leaves_at_once() {
    let (send, mut signals) = channel(4);
    send.try_send(Stop::Interrupt).unwrap();
    send.try_send(Stop::Interrupt).unwrap();
    let (report, _) = carried_with(
        Fake::new(Box::new(healthy)),
        &experiment(),
        &sh("trap '' TERM; while :; do sleep 600; done"),
        &mut signals,
    )
    .await;
    assert_eq!(report.exit, 130);
}
