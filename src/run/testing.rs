//! What the tests of a run share: an experiment, a stage that stands nowhere, and a buffer.

use super::stage::Stage;
use crate::control::Refusal;
use crate::decision::{Answer, Protocol};
use crate::fault::{Fault, Respond};
use crate::model::{
    Check, Edge, Expectation, Experiment, FaultRule, Guardrail, HostPolicy, Metric, Phase, Phases, Source,
    Timeouts, Upstream, When, Who,
};
use crate::telemetry::{Event, Stamped, Window};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

/// A buffer that several can write to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Two edges, one fault on the second, expectations on the first.
pub(crate) fn experiment() -> Experiment {
    let edge = |name: &str, from: &str, to: &str, line| Edge {
        name: name.parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        upstreams: vec![Upstream { host: "127.0.0.1".into(), port: 1, base: String::new() }],
        protocol: Protocol::Http,
        from: from.into(),
        to: to.into(),
        identity: None,
        timeout: Timeouts::default(),
        max_connections: Some(10),
        max_in_flight: 10,
        max_held: 10,
        host: HostPolicy::Keep,
        forwarded: false,
        success: Vec::new(),
        caller: None,
        health: Vec::new(),
        stealth: false,
        expose: false,
        line,
    };
    let check = |metric, limit: &str, line| Check { metric, limit: limit.parse().unwrap(), line };
    Experiment {
        name: "timeout-cut".parse().unwrap(),
        title: Some("Checkout survives a slow payment provider".into()),
        seed: Some(42),
        run: Phases {
            warmup: Duration::ZERO,
            baseline: Duration::from_secs(20),
            fault: Duration::from_secs(60),
            recovery: Duration::from_secs(30),
            time_scale: 1.0,
            allow_production: false,
        },
        edges: vec![edge("checkout", "web", "payments", 9), edge("provider", "payments", "provider", 16)],
        load: None,
        faults: vec![FaultRule {
            name: "provider is slow".parse().unwrap(),
            edges: vec![1],
            who: Who::default(),
            when: When::default(),
            armed: true,
            ttl: None,
            optional: false,
            actions: vec![Fault::Respond(Respond {
                answer: Arc::new(Answer { status: 503, headers: Vec::new(), body: Vec::new() }),
                after_upstream: false,
            })],
            line: 29,
        }],
        expects: vec![
            Expectation {
                name: "checkout stays available".parse().unwrap(),
                edge: 0,
                phases: vec![Phase::Fault],
                checks: vec![
                    check(Metric::SuccessRate, ">= 99%", 39),
                    check(Metric::Quantile(0.99), "< 2500ms", 40),
                ],
                include_injected: false,
                baseline: true,
                line: 36,
            },
            Expectation {
                name: "comes back by itself".parse().unwrap(),
                edge: 0,
                phases: vec![Phase::Recovery],
                checks: vec![check(Metric::ErrorRate, "<= 1%", 46)],
                include_injected: false,
                baseline: true,
                line: 42,
            },
        ],
        guardrails: vec![Guardrail {
            name: "stop".parse().unwrap(),
            edge: 0,
            checks: vec![check(Metric::ErrorRate, "> 50%", 50)],
            lasts: Duration::from_secs(10),
            window: Duration::from_secs(5),
            include_injected: false,
            line: 48,
        }],
        source: Arc::new(Source {
            path: "timeout-cut.toml".into(),
            text: String::new(),
            sha256: "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8".into(),
        }),
    }
}

/// A window of `requests` exchanges of 20 ms, of which some failed.
pub(crate) fn window(edge: u16, phase: Phase, requests: u64, failed: u64) -> Window {
    let mut window = Window { edge, phase: Some(phase), requests, failed, in_flight: 3, ..Window::default() };
    (0..requests).for_each(|_| window.durations.record(Duration::from_millis(20)));
    window.by_status.extend([(200, requests - failed), (500, failed)].into_iter().filter(|(_, n)| *n > 0));
    window.by_origin.insert(crate::telemetry::Origin::Upstream, requests);
    window
}

/// What the edges do in 250 ms, given the phase and whether faults are on.
pub(crate) type Traffic = Box<dyn Fn(Phase, bool) -> Vec<Window> + Send + Sync>;

/// A stage that stands nowhere: it notes what is asked of it and makes up its windows.
pub(crate) struct Fake {
    began: Instant,
    traffic: Traffic,
    pub(crate) edges: Vec<SocketAddr>,
    pub(crate) refuses: bool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    phase: Option<Phase>,
    armed: Vec<FaultRule>,
    calls: Vec<String>,
    journal: Vec<Stamped>,
    reader: Option<Sender<Arc<Stamped>>>,
}

impl Fake {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self {
            began: Instant::now(),
            traffic,
            edges: vec!["127.0.0.1:9000".parse().unwrap(), "127.0.0.1:9100".parse().unwrap()],
            refuses: false,
            inner: Mutex::default(),
        }
    }

    /// Makes windows four times a second.
    pub(crate) fn begin(self) -> Arc<Self> {
        let fake = Arc::new(self);
        let weak = Arc::downgrade(&fake);
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(250));
            while let Some(fake) = weak.upgrade() {
                let (phase, armed) = {
                    let inner = fake.inner.lock().unwrap();
                    (inner.phase.unwrap_or(Phase::Idle), !inner.armed.is_empty())
                };
                for window in (fake.traffic)(phase, armed) {
                    fake.publish(Event::Window(window));
                }
                drop(fake);
                beat.tick().await;
            }
        });
        fake
    }

    /// What was asked of it, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.inner.lock().unwrap().calls.clone()
    }

    /// Everything that was published.
    pub(crate) fn journal(&self) -> Vec<Stamped> {
        self.inner.lock().unwrap().journal.clone()
    }

    fn note(&self, call: String) {
        self.inner.lock().unwrap().calls.push(call);
    }
}

impl Stage for Fake {
    fn arm(&self, rule: &FaultRule, life: Duration, _scale: f64) -> Result<(), Refusal> {
        if self.refuses {
            return Err(Refusal::Halted);
        }
        self.note(format!("arm {} for {}s", rule.name, life.as_secs()));
        self.inner.lock().unwrap().armed.push(rule.clone());
        let edges = rule.edges.iter().map(|edge| *edge as u16).collect();
        self.publish(Event::Armed { fault: rule.name.clone(), edges, owner: "run".into() });
        Ok(())
    }
    fn heal_all(&self, why: &'static str) {
        self.note(format!("heal {why}"));
        let armed = std::mem::take(&mut self.inner.lock().unwrap().armed);
        for rule in armed {
            self.publish(Event::Healed {
                fault: rule.name,
                why: why.into(),
                matched: 100,
                selected: 100,
                hits: 100,
                delay_error_p99: Some(0.0004),
            });
        }
    }
    fn enter(&self, phase: Phase) {
        self.note(format!("enter {}", phase.as_str()));
        self.inner.lock().unwrap().phase = Some(phase);
    }
    fn publish(&self, event: Event) {
        let stamped = Stamped { t: self.now(), event };
        let mut inner = self.inner.lock().unwrap();
        inner.journal.push(stamped.clone());
        if let Some(reader) = &inner.reader {
            let _ = reader.try_send(Arc::new(stamped));
        }
    }
    fn flush(&self) {}
    fn now(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e6
    }
    fn subscribe(&self) -> Receiver<Arc<Stamped>> {
        let (sender, receiver) = channel(65_536);
        self.inner.lock().unwrap().reader = Some(sender);
        receiver
    }
    fn edges(&self) -> Vec<SocketAddr> {
        self.edges.clone()
    }
}
