//! Telemetry as a whole: what workers record is what readers read.

use super::hub::Shared;
use super::*;
use crate::decision::Protocol;
use crate::model::Phase;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

fn edge(telemetry: &Telemetry, name: &str) -> EdgeId {
    telemetry.add_edge(EdgeLabels {
        name: name.parse().unwrap(),
        protocol: Protocol::Http,
        success: Vec::new(),
    })
}

fn exchange(edge: EdgeId, status: u16) -> Exchange {
    Exchange {
        edge,
        phase: Phase::Baseline,
        began: Instant::now(),
        took: Duration::from_millis(3),
        upstream_took: Some(Duration::from_millis(2)),
        timed: true,
        method: Method::Get,
        status,
        origin: Origin::Upstream,
        ending: Ending::Complete,
        failed: status >= 500,
        health: false,
        zombie: None,
        identity: Identity::None,
        target: 0,
        retry_after: None,
        bytes_up: 10,
        bytes_down: 20,
        asked: Duration::ZERO,
        waited: Duration::ZERO,
        hits: Vec::new(),
        lies: Vec::new(),
    }
}

fn hit(fault: &str) -> Hit {
    Hit { fault: fault.parse().unwrap(), action: "respond".into() }
}

/// The value of a series, by its name and labels as they are written.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn drain(reader: &mut Receiver<Arc<Stamped>>) -> Vec<Event> {
    std::iter::from_fn(|| reader.try_recv().ok()).map(|stamped| stamped.event.clone()).collect()
}

fn windows(events: &[Event]) -> BTreeMap<(u16, Option<Phase>), Window> {
    let mut sums = BTreeMap::<_, Window>::new();
    for event in events {
        if let Event::Window(window) = event {
            sums.entry((window.edge, window.phase)).or_default().merge(window);
        }
    }
    sums
}

/// A worker thread that ticks, until the sender it gives is dropped.
fn ticking(telemetry: &Arc<Telemetry>, work: impl FnOnce(&Recorder) + Send + 'static) -> mpsc::Sender<()> {
    let (stop, stopped) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let telemetry = Arc::clone(telemetry);
    std::thread::spawn(move || {
        let recorder = telemetry.worker();
        work(&recorder);
        ready.send(()).unwrap();
        while stopped.recv_timeout(Duration::from_millis(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
            recorder.tick();
        }
    });
    is_ready.recv().unwrap();
    stop
}

#[test]
fn workers_sum_up_to_exact_metrics_and_exact_windows() {
    let telemetry = Telemetry::new();
    let (a, b) = (edge(&telemetry, "a"), edge(&telemetry, "b"));
    let mut reader = telemetry.subscribe();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            ticking(&telemetry, move |recorder| {
                let (on_a, on_b) = (recorder.edge(a), recorder.edge(b));
                for n in 0..2_000 {
                    on_a.began();
                    on_a.bytes(10, 20);
                    on_a.ended(exchange(a, if n % 10 == 0 { 503 } else { 200 }));
                }
                on_b.began();
                on_b.ended(Exchange { health: true, phase: Phase::Fault, ..exchange(b, 200) });
            })
        })
        .collect();
    let text = telemetry.gather();
    let ok = "{edge=\"a\",method=\"GET\",code=\"200\",origin=\"upstream\"}";
    let bad = "{edge=\"a\",method=\"GET\",code=\"503\",origin=\"upstream\"}";
    assert_eq!(value(&text, &format!("brownout_requests_total{ok}")), 5_400.0);
    assert_eq!(value(&text, &format!("brownout_requests_total{bad}")), 600.0);
    assert_eq!(value(&text, "brownout_request_duration_seconds_bucket{edge=\"a\",le=\"0.0025\"}"), 0.0);
    assert_eq!(value(&text, "brownout_request_duration_seconds_bucket{edge=\"a\",le=\"0.005\"}"), 6_000.0);
    assert_eq!(value(&text, "brownout_request_duration_seconds_count{edge=\"a\"}"), 6_000.0);
    assert_eq!(value(&text, "brownout_request_duration_seconds_sum{edge=\"a\"}"), 18.0);
    assert_eq!(value(&text, "brownout_bytes_total{edge=\"a\",direction=\"down\"}"), 120_000.0);
    assert_eq!(value(&text, "brownout_requests_in_flight{edge=\"a\"}"), 0.0);

    telemetry.flush();
    let sums = windows(&drain(&mut reader));
    let judged = &sums[&(a.0, Some(Phase::Baseline))];
    assert_eq!((judged.requests, judged.failed, judged.by_status[&503]), (6_000, 600, 600));
    assert_eq!(judged.durations.count(), 6_000);
    let health = &sums[&(b.0, Some(Phase::Fault))];
    assert_eq!((health.requests, health.health), (0, 3));
    let counted = "brownout_requests_total{edge=\"b\",method=\"GET\",code=\"200\",origin=\"upstream\"}";
    assert_eq!(value(&text, counted), 3.0, "a client counts its health requests too");

    telemetry.flush();
    assert_eq!(drain(&mut reader), [], "a window in which nothing happened is not told");
    drop(workers);
}

#[test]
fn a_flush_waits_for_no_worker_longer_than_a_second() {
    let telemetry = Telemetry::new();
    let mut reader = telemetry.subscribe();
    let id = edge(&telemetry, "a");
    let asleep = telemetry.worker();
    let gone = telemetry.worker();
    gone.edge(id).ended(exchange(id, 200));
    drop(gone);
    telemetry.flush();
    assert_eq!(windows(&drain(&mut reader))[&(0, Some(Phase::Baseline))].requests, 1);
    drop(asleep);
    telemetry.stop();
    telemetry.flush();
    telemetry.stop();
}

#[test]
fn what_is_recorded_after_its_recorder_is_dropped_is_still_told() {
    let telemetry = Telemetry::new();
    let mut reader = telemetry.subscribe();
    let id = edge(&telemetry, "a");
    let recorder = telemetry.worker();
    let task = recorder.edge(id);
    drop(recorder);
    task.ended(exchange(id, 200));
    drop(task);
    telemetry.stop();
    assert_eq!(windows(&drain(&mut reader))[&(0, Some(Phase::Baseline))].requests, 1);
}

/// The n-th attempt of a request, at a time of its own.
fn attempt(n: u32, edge: EdgeId, identity: Identity, failed: bool) -> Exchange {
    let of = exchange(edge, if failed { 503 } else { 200 });
    Exchange { identity, failed, began: of.began + n * Duration::from_millis(10), ..of }
}

#[test]
fn attempts_are_counted_and_each_exchange_is_told_to_those_who_want_it() {
    let telemetry = Telemetry::new();
    let (a, b) = (edge(&telemetry, "a"), edge(&telemetry, "b"));
    telemetry.add_edge(EdgeLabels {
        name: "tcp".parse().unwrap(),
        protocol: Protocol::Tcp,
        success: Vec::new(),
    });
    let (mut reader, mut brief) = (telemetry.subscribe(), telemetry.subscribe_to_windows());
    let recorder = telemetry.worker();
    let given = Identity::Given(7);
    for (n, (on, identity, failed)) in (0..).zip([
        (a, given, false),
        (a, given, true),
        (b, given, false),
        (a, Identity::Trace(7), false),
        (a, Identity::Trace(7), true),
        (a, Identity::Trace(7), false),
        (a, Identity::None, true),
    ]) {
        recorder.edge(on).began();
        recorder.edge(on).ended(attempt(n, on, identity, failed));
    }
    recorder.edge(a).began();
    recorder.edge(a).ended(Exchange { health: true, identity: given, ..exchange(a, 200) });
    recorder.tick();
    telemetry.flush();
    let events = drain(&mut reader);
    let sums = windows(&events);
    let counts = |edge: u16| {
        let sum = &sums[&(edge, Some(Phase::Baseline))];
        (sum.logical, sum.retries)
    };
    assert_eq!((counts(0), counts(1)), ((3, 2), (1, 0)));
    let text = telemetry.gather();
    for (series, count) in [("logical_requests_total{edge=\"a\"}", 3.0), ("retries_total{edge=\"a\"}", 2.0)] {
        assert_eq!(value(&text, &format!("brownout_{series}")), count);
    }
    assert!(!text.contains("brownout_retries_total{edge=\"tcp\"}"));
    let mut told = BTreeMap::new();
    for event in &events {
        if let Event::Passed { edge, one_in: 1, exchanges } = event {
            let kinds = exchanges.iter().map(|passed| (passed.identity, passed.failed));
            told.entry(*edge).or_insert_with(Vec::new).extend(kinds);
        }
    }
    assert_eq!((told[&0].len(), &told[&1][..]), (6, &[(given, false)][..]));
    let brief = drain(&mut brief);
    assert_eq!(windows(&brief), sums);
    assert!(!brief.iter().any(|event| matches!(event, Event::Passed { .. })));
    drop(reader);
    recorder.edge(a).ended(attempt(9, a, given, false));
    drop(recorder);
    telemetry.stop();
}

#[test]
fn more_than_can_be_kept_is_thinned_and_told_once() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    let mut reader = telemetry.subscribe();
    let recorder = telemetry.worker();
    let mut dice = crate::decision::Dice::new(1, crate::decision::Key(2), crate::decision::Key(3));
    for _ in 0..40_000 {
        recorder.edge(id).began();
        recorder.edge(id).ended(attempt(0, id, Identity::Given(dice.bits()), false));
    }
    recorder.tick();
    telemetry.flush();
    drop(recorder);
    telemetry.stop();
    let events = drain(&mut reader);
    let kept: usize = events
        .iter()
        .map(|event| if let Event::Passed { exchanges, .. } = event { exchanges.len() } else { 0 })
        .sum();
    let coarsest = events.iter().filter_map(|event| match event {
        Event::Passed { one_in, .. } => Some(*one_in),
        _ => None,
    });
    assert!(coarsest.max().unwrap() > 1);
    assert!((4_000..=20_000).contains(&kept), "{kept}");
    let said = events.iter().filter(|event| matches!(event, Event::Warning { .. })).count();
    assert_eq!(said, 1);
    assert_eq!(windows(&events)[&(0, Some(Phase::Baseline))].logical, 40_000, "windows know them all");
}

#[test]
fn a_worker_that_stood_still_is_told_of() {
    let telemetry = Telemetry::new();
    let mut reader = telemetry.subscribe();
    let recorder = telemetry.worker();
    recorder.tick();
    let until = Instant::now() + Duration::from_millis(1_050);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
    recorder.tick();
    recorder.tick();
    drop(recorder);
    telemetry.stop();
    let stalls: Vec<_> = drain(&mut reader)
        .into_iter()
        .filter_map(|event| if let Event::Stalled { seconds } = event { Some(seconds) } else { None })
        .collect();
    assert!(!stalls.is_empty() && stalls.iter().all(|seconds| *seconds >= 1.0), "{stalls:?}");
}

#[test]
fn gauges_follow_what_is_open_and_windows_keep_their_maxima() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    let mut reader = telemetry.subscribe();
    telemetry.set_phase(Phase::Fault);
    assert_eq!(telemetry.phase(), Phase::Fault);
    let recorder = telemetry.worker();
    let a = recorder.edge(id);
    assert_eq!(a.phase(), Phase::Fault);
    for _ in 0..3 {
        a.opened();
        a.began();
    }
    a.holding(2);
    assert_eq!((telemetry.in_flight(id), telemetry.held(id), telemetry.connections(id)), (3, 2, 3));
    let seen = loop {
        let stamped = reader.blocking_recv().unwrap();
        if let Event::Window(window) = &stamped.event {
            break window.clone();
        }
    };
    assert_eq!((seen.phase, seen.in_flight, seen.connections, seen.requests), (Some(Phase::Fault), 3, 3, 0));
    a.holding(-2);
    for outcome in [ConnectionOutcome::Ok, ConnectionOutcome::Reset, ConnectionOutcome::RefusedLimit] {
        a.closed(outcome);
        a.ended(Exchange { ending: Ending::CallerLeft, zombie: Some(Duration::ZERO), ..exchange(id, 0) });
    }
    assert_eq!((telemetry.in_flight(id), telemetry.held(id), telemetry.connections(id)), (0, 0, 0));
    let text = telemetry.gather();
    assert_eq!(value(&text, "brownout_connections_total{edge=\"a\",outcome=\"refused_limit\"}"), 1.0);
    assert_eq!(value(&text, "brownout_abandoned_requests_total{edge=\"a\"}"), 3.0);
    assert_eq!(value(&text, "brownout_zombie_responses_total{edge=\"a\"}"), 3.0);
}

#[test]
fn an_edge_that_comes_back_goes_on_counting() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    telemetry.worker().edge(id).ended(exchange(id, 200));
    assert_eq!(edge(&telemetry, "a"), id);
    assert_ne!(edge(&telemetry, "b"), id);
    telemetry.worker().edge(id).ended(exchange(id, 200));
    let text = telemetry.gather();
    let series = "brownout_requests_total{edge=\"a\",method=\"GET\",code=\"200\",origin=\"upstream\"}";
    assert_eq!(value(&text, series), 2.0);
}

#[test]
fn callers_cannot_make_more_than_a_thousand_series() {
    for edges in [1, 3, 8] {
        let telemetry = Telemetry::new();
        let ids: Vec<_> = (0..edges).map(|n| edge(&telemetry, &format!("edge {n}"))).collect();
        let recorder = telemetry.worker();
        let mut ended = 0;
        for id in ids {
            let a = recorder.edge(id);
            a.delay_error(Duration::from_micros(60));
            for status in 0..=999 {
                for method in Method::ALL {
                    for origin in Origin::ALL {
                        a.ended(Exchange { method, origin, ..exchange(id, status) });
                        ended += 1;
                    }
                }
            }
        }
        let text = telemetry.gather();
        assert!(series(&text) <= 1_000, "{edges} edges: {}", series(&text));
        let requests = text.lines().filter(|line| line.starts_with("brownout_requests_total"));
        let sum: f64 = requests.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        assert_eq!(sum, f64::from(ended), "none goes uncounted");
        assert!(text.contains("method=\"OTHER\",code=\"4xx\""));
    }
}

#[test]
fn unusual_statuses_do_not_take_the_room_of_usual_ones() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    let a = telemetry.worker().edge(id);
    for status in (600..=999).chain(100..=599).chain([200]) {
        a.ended(exchange(id, status));
    }
    let text = telemetry.gather();
    let count = |code: &str| {
        let labels = format!("{{edge=\"a\",method=\"GET\",code=\"{code}\",origin=\"upstream\"}}");
        value(&text, &format!("brownout_requests_total{labels}"))
    };
    assert_eq!((count("200"), count("404"), count("100"), count("other")), (2.0, 1.0, 1.0, 400.0));
    assert!(count("5xx") > 50.0);
}

#[test]
fn faults_armed_by_hand_cannot_make_more_than_their_share() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    let recorder = telemetry.worker();
    for n in 0..500 {
        recorder.edge(id).ended(Exchange { hits: vec![hit(&format!("f{n}"))], ..exchange(id, 503) });
    }
    let text = telemetry.gather();
    assert_eq!(
        value(&text, "brownout_faults_injected_total{edge=\"a\",fault=\"f0\",action=\"respond\"}"),
        1.0
    );
    assert_eq!(
        value(&text, "brownout_faults_injected_total{edge=\"a\",fault=\"other\",action=\"other\"}"),
        437.0
    );
    assert!(series(&text) < 1_000);
}

#[test]
fn struck_exchanges_are_told_up_to_a_bound_and_counted_beyond() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    let mut reader = telemetry.subscribe();
    let recorder = telemetry.worker();
    for _ in 0..6_000 {
        let struck = Exchange { origin: Origin::Injected, hits: vec![hit("boom")], ..exchange(id, 503) };
        recorder.edge(id).ended(struck);
    }
    recorder.tick();
    telemetry.stop();
    let events = drain(&mut reader);
    let told = events.iter().filter(|event| matches!(event, Event::Struck { .. })).count() as u64;
    let untold: u64 =
        events.iter().map(|event| if let Event::Unwritten { struck } = event { *struck } else { 0 }).sum();
    assert!(told >= 2_000 && untold > 0, "{told} {untold}");
    assert_eq!(told + untold, 6_000);
    assert_eq!(windows(&events)[&(0, Some(Phase::Baseline))].injected, 6_000);
}

#[test]
fn batches_without_room_are_lost_and_counted_and_metrics_stay_exact() {
    let telemetry = Telemetry::new();
    let id = edge(&telemetry, "a");
    let mut reader = telemetry.subscribe();
    let recorder = telemetry.worker();
    let shared: &Shared = telemetry.shared();
    assert!(shared.reserve(64 << 20));
    for _ in 0..600 {
        recorder.edge(id).ended(exchange(id, 200));
    }
    recorder.tick();
    shared.release(64 << 20);
    recorder.edge(id).ended(exchange(id, 200));
    recorder.tick();
    telemetry.stop();
    let text = telemetry.gather();
    let series = "brownout_requests_total{edge=\"a\",method=\"GET\",code=\"200\",origin=\"upstream\"}";
    assert_eq!(value(&text, series), 601.0);
    assert_eq!(value(&text, "brownout_events_lost_total"), 600.0);
    let events = drain(&mut reader);
    assert_eq!(windows(&events)[&(0, Some(Phase::Baseline))].requests, 1);
    assert!(events.iter().any(|event| matches!(event, Event::Warning { text } if text.starts_with("600 "))));
}

#[test]
fn names_become_series_and_the_page_is_clean() {
    let telemetry = Telemetry::new();
    let (ugly, calm) = ("it's {slow}\\".parse().unwrap(), "calm".parse().unwrap());
    let id = edge(&telemetry, "a");
    let recorder = telemetry.worker();
    recorder.edge(id).ended(Exchange { hits: vec![hit("boom")], ..exchange(id, 503) });
    recorder.edge(id).delay_error(Duration::from_micros(60));
    telemetry.fault_active(&ugly, true);
    telemetry.fault_active(&calm, false);
    telemetry.phase_gauge(&calm, Phase::Fault);
    telemetry.expectation_met(&calm, Some(true));
    telemetry.expectation_met(&ugly, Some(false));
    telemetry.expectation_met(&ugly, None);
    telemetry.guardrail_known(&ugly);
    telemetry.guardrail_tripped(&calm);
    let api = |did| Event::Service { service: "api".parse().unwrap(), incarnation: 2, did };
    let mode = EnvShown { name: "MODE".into(), value: Some("secret".into()), changed: true };
    telemetry.publish(api(Did::Started {
        pid: 1,
        reason: StartReason::Crash,
        env: vec![mode],
        holds: vec![],
    }));
    telemetry.publish(api(Did::Ready { after: 1.0 }));
    telemetry.publish(Event::Probe { probe: calm.clone(), saw: Saw::Wrong, took: 0.1, text: None });
    let text = telemetry.gather();
    for (series, expected) in [
        ("brownout_fault_active{fault=\"it's {slow}\\\\\"}", 1.0),
        ("brownout_fault_active{fault=\"calm\"}", 0.0),
        ("brownout_phase{experiment=\"calm\",phase=\"fault\"}", 1.0),
        ("brownout_phase{experiment=\"calm\",phase=\"baseline\"}", 0.0),
        ("brownout_expectation_met{name=\"calm\"}", 1.0),
        ("brownout_guardrail_tripped_total{name=\"calm\"}", 1.0),
        ("brownout_guardrail_tripped_total{name=\"it's {slow}\\\\\"}", 0.0),
        ("brownout_service_up{service=\"api\"}", 1.0),
        ("brownout_service_restarts_total{service=\"api\",reason=\"crash\"}", 1.0),
        ("brownout_service_restarts_total{service=\"api\",reason=\"swap\"}", 0.0),
        ("brownout_service_env_drift{service=\"api\",name=\"MODE\"}", 1.0),
        ("brownout_exposure_seconds_total{probe=\"calm\"}", 0.0),
        ("brownout_probe_success{probe=\"calm\"}", 0.0),
        ("brownout_fault_delay_error_seconds_bucket{edge=\"a\",le=\"0.00005\"}", 0.0),
        ("brownout_fault_delay_error_seconds_bucket{edge=\"a\",le=\"0.0001\"}", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(!text.contains("secret"), "values of variables are nowhere");
    assert!(!text.contains("brownout_expectation_met{name=\"it's"));
    assert!(value(&text, "process_cpu_seconds_total") > 0.0 && value(&text, "process_open_fds") > 2.0);
    telemetry.fault_gone(&ugly);
    assert!(!telemetry.gather().contains("brownout_fault_active{fault=\"it's"));
    promtool(&text);
}

/// Where Prometheus's own checker is installed, it has the last word.
fn promtool(text: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
