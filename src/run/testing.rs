//! What the tests of a run share: an experiment, a stage that stands nowhere, and a buffer.

use super::stage::Stage;
use crate::control::Refusal;
use crate::model::{Experiment, FaultRule, Phase};
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
    const TEXT: &str = r#"
        name  = "timeout-cut"
        title = "Checkout survives a slow payment provider"
        seed  = 42
        [run]
        baseline = "20s"
        fault    = "60s"
        recovery = "30s"
        [[edge]]
        name     = "checkout"
        listen   = "127.0.0.1:0"
        upstream = "http://127.0.0.1:1"
        from     = "web"
        to       = "payments"
        [[edge]]
        name     = "provider"
        listen   = "127.0.0.1:0"
        upstream = "http://127.0.0.1:1"
        from     = "payments"
        [[fault]]
        name    = "provider is slow"
        edge    = "provider"
        match   = "all"
        respond = { status = 503 }
        [[expect]]
        name         = "checkout stays available"
        edge         = "checkout"
        success_rate = ">= 99%"
        p99          = "< 2500ms"
        [[expect]]
        name       = "comes back by itself"
        edge       = "checkout"
        phase      = "recovery"
        error_rate = "<= 1%"
        [[guardrail]]
        name       = "stop"
        edge       = "checkout"
        error_rate = "> 50%"
        for        = "10s"
    "#;
    crate::model::parse(TEXT, "timeout-cut.toml".as_ref(), &crate::model::Overrides::default())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .experiment
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
        self.publish(Event::Armed {
            fault: rule.name.clone(),
            edges,
            services: Vec::new(),
            owner: "run".into(),
        });
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
