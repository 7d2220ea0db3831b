//! What the tests about services share: an experiment with a service and a probe, and events in the words of a story.

use super::Fold;
use crate::model::{
    Ask, Expectation, Experiment, HttpAsk, On, Overrides, Phase, Probe, Restart, RestartWhen, Service,
    ServiceCheck, ServiceMetric, StatusSet, parse,
};
use crate::telemetry::{Did, EnvShown, Event, ExitCause, Saw, Stamped, StartReason};
use crate::units::Name;
use std::time::Duration;

pub(super) const PROBE: &str = "the playground is closed";

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A service `api` behind an edge, and a probe of it that may not be wrong for longer than five minutes.
pub(super) fn experiment(scale: f64) -> Experiment {
    const TEXT: &str = "name = \"x\"\n[[edge]]\nname = \"front\"\nlisten = \"127.0.0.1:0\"\n\
        upstream = \"http://127.0.0.1:4000\"\nto = \"api\"";
    let mut experiment = parse(TEXT, "x.toml".as_ref(), &Overrides::default())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .experiment;
    experiment.run.time_scale = scale;
    experiment.services.push(Service {
        name: name("api"),
        command: vec!["api".into()],
        cwd: None,
        clean_env: false,
        env: vec![("ENVIRONMENT".into(), "production".into())],
        user: None,
        grace: Duration::from_secs(10),
        after: vec![],
        show_env: vec!["ENVIRONMENT".into()],
        ready: None,
        restart: Restart { when: RestartWhen::Always, ..Restart::default() },
        skipped: None,
        line: 2,
    });
    let ask = HttpAsk {
        edge: Some(0),
        url: "/graphql".into(),
        method: "GET".into(),
        headers: vec![],
        status: vec![StatusSet { low: 404, high: 404 }],
        text: None,
        json: vec![],
    };
    experiment.expects.push(expectation(
        PROBE,
        On::Probe(Probe {
            ask: Ask::Http(Box::new(ask)),
            every: Duration::from_secs(60),
            timeout: Duration::from_secs(2),
            tolerate_unreachable: true,
            max_exposure: Duration::from_secs(300),
        }),
    ));
    experiment
}

pub(super) fn expectation(called: &str, on: On) -> Expectation {
    Expectation {
        name: name(called),
        on,
        phases: vec![Phase::Fault],
        versus: crate::model::Versus::Itself,
        include_injected: false,
        baseline: true,
        line: 9,
    }
}

/// An expectation on the service.
pub(super) fn expects(metric: ServiceMetric, limit: &str) -> Expectation {
    let limit = limit.parse().unwrap();
    expectation(
        &metric.key(),
        On::Service { service: 0, checks: vec![ServiceCheck { metric, limit, line: 7 }] },
    )
}

pub(super) fn fold(events: impl IntoIterator<Item = (f64, Event)>) -> Fold {
    let mut fold = Fold::new();
    events.into_iter().for_each(|(t, event)| fold.take(&Stamped { t, event }));
    fold
}

pub(super) fn phase(phase: Phase) -> Event {
    Event::Phase { phase }
}

pub(super) fn service(incarnation: u32, did: Did) -> Event {
    Event::Service { service: name("api"), incarnation, did }
}

/// The n-th process is started, in development if it is drifted.
pub(super) fn started(n: u32, reason: StartReason, drifted: bool) -> Event {
    let value = if drifted { "development" } else { "production" };
    let env = vec![EnvShown { name: "ENVIRONMENT".into(), value: Some(value.into()), changed: drifted }];
    let holds = if drifted { vec![] } else { vec![0] };
    service(n, Did::Started { pid: 100 + n, reason, env, holds })
}

pub(super) fn ready(n: u32) -> Event {
    service(n, Did::Ready { after: 1.0 })
}

pub(super) fn exited(n: u32, cause: ExitCause) -> Event {
    let (code, signal) = match cause {
        ExitCause::Itself => (Some(1), None),
        _ => (None, Some("SIGKILL".to_owned())),
    };
    service(n, Did::Exited { code, signal, cause })
}

pub(super) fn saw(saw: Saw) -> Event {
    let text = (saw == Saw::Wrong).then(|| "status 200, expected 404".to_owned());
    Event::Probe { probe: name(PROBE), saw, took: 0.0, text }
}
