//! A Brownout in this process.

use super::{Answer, Client, eventually};
use brownout::control::{Control, Owner};
use brownout::decision::Protocol;
use brownout::model::{self, Experiment, FaultRule, FaultSource, Overrides};
use brownout::telemetry::Telemetry;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A proxy to be.
pub(crate) struct Setup {
    upstreams: Vec<String>,
    keys: String,
    workers: usize,
}

/// A proxy before an HTTP upstream.
pub(crate) fn before(upstream: SocketAddr) -> Setup {
    before_all(&[upstream])
}

/// A proxy before several HTTP upstreams.
pub(crate) fn before_all(upstreams: &[SocketAddr]) -> Setup {
    let upstreams = upstreams.iter().map(|upstream| format!("http://{upstream}")).collect();
    Setup { upstreams, keys: String::new(), workers: 1 }
}

/// A proxy before anything.
pub(crate) fn before_tcp(upstream: SocketAddr) -> Setup {
    Setup { upstreams: vec![format!("tcp://{upstream}")], keys: String::new(), workers: 1 }
}

impl Setup {
    /// Further keys of the edge.
    pub(crate) fn with(mut self, keys: &str) -> Self {
        self.keys.push_str(keys);
        self.keys.push('\n');
        self
    }

    /// A path below which the upstream lives.
    pub(crate) fn below(mut self, base: &str) -> Self {
        self.upstreams.iter_mut().for_each(|upstream| upstream.push_str(base));
        self
    }

    /// The upstream by a name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.upstreams.iter_mut().for_each(|upstream| *upstream = upstream.replace("127.0.0.1", name));
        self
    }

    /// More than one worker.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The file that says so.
    pub(crate) fn file(&self, listen: &str) -> String {
        format!(
            "name = \"t\"\n[run]\nbaseline = \"1s\"\nfault = \"60s\"\nrecovery = \"1s\"\n[[edge]]\nname = \"edge\"\n\
             listen = \"{listen}\"\nupstream = {:?}\n{}\n",
            self.upstreams, self.keys
        )
    }

    pub(crate) fn start(self) -> Proxy {
        let experiment = read(&self.file("127.0.0.1:0"));
        let telemetry = Telemetry::new();
        let control = Control::start(&experiment.edges, self.workers, 7, telemetry.clone()).unwrap();
        let at = control.edges()[0].listen;
        let protocol = experiment.edges[0].protocol;
        Proxy { control, telemetry, at, protocol, setup: self }
    }
}

/// Reads the text of a file.
#[track_caller]
pub(crate) fn read(text: &str) -> Experiment {
    match model::parse(text, Path::new("t.toml"), &Overrides::default()) {
        Ok(loaded) => loaded.experiment,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

/// A running proxy with one edge.
pub(crate) struct Proxy {
    pub(crate) control: Arc<Control>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) at: SocketAddr,
    protocol: Protocol,
    setup: Setup,
}

impl Proxy {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.at)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.connect().send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer()
    }

    /// The fault that these keys describe; it strikes everything unless they say otherwise.
    #[track_caller]
    pub(crate) fn rule(&self, name: &str, keys: &str) -> FaultRule {
        let all = if keys.contains("match") { "" } else { "match = \"all\"\n" };
        let text = format!("name = \"{name}\"\nedge = \"edge\"\n{all}{keys}\n");
        match model::parse_fault(FaultSource::Toml(&text), &[("edge".to_owned(), self.protocol)]) {
            Ok((rule, _)) => rule,
            Err(problems) => panic!("{}", problems.render(false)),
        }
    }

    /// Arms a fault.
    #[track_caller]
    pub(crate) fn arm(&self, name: &str, keys: &str) -> &Self {
        self.control.arm(self.rule(name, keys), Owner::Hand, None, 1.0).unwrap();
        self
    }

    #[track_caller]
    pub(crate) fn heal(&self, name: &str) {
        self.control.heal(name, "hand").unwrap();
    }

    /// How often a fault was seen.
    pub(crate) fn hits(&self, name: &str) -> u64 {
        self.control.faults().iter().find(|fault| fault.name == name).map_or(0, |fault| fault.hits)
    }

    /// The sum of a metric's series whose labels hold all of these.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        super::sum(&self.telemetry.gather(), name, labels)
    }

    /// Exchanges that have ended, with this code and origin (empty: any).
    pub(crate) fn count(&self, code: &str, origin: &str) -> u64 {
        let code = if code.is_empty() { String::new() } else { format!("code=\"{code}\"") };
        let origin = if origin.is_empty() { String::new() } else { format!("origin=\"{origin}\"") };
        self.metric("brownout_requests_total", &[&code, &origin]) as u64
    }

    pub(crate) fn held(&self) -> u64 {
        self.metric("brownout_requests_held", &[]) as u64
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.metric("brownout_requests_in_flight", &[]) as u64
    }

    pub(crate) fn connections(&self) -> u64 {
        self.metric("brownout_connections_open", &[]) as u64
    }

    #[track_caller]
    pub(crate) fn wait_held(&self, count: u64) {
        eventually(&format!("{count} held"), || self.held() == count);
    }

    /// Waits until this many exchanges of this code and origin have ended.
    #[track_caller]
    pub(crate) fn wait_count(&self, count: u64, code: &str, origin: &str) {
        eventually(&format!("{count} of {code} {origin} in\n{}", self.telemetry.gather()), || {
            self.count(code, origin) == count
        });
    }

    /// Waits until nothing is under way and nobody is connected.
    #[track_caller]
    pub(crate) fn wait_quiet(&self) {
        eventually("nothing in flight", || self.in_flight() == 0 && self.held() == 0);
        eventually("no connection", || self.connections() == 0);
    }

    /// The file, with these faults and further keys of the edge.
    pub(crate) fn file(&self, keys: &str, faults: &str) -> Experiment {
        read(&format!("{}{keys}\n{faults}", self.setup.file("127.0.0.1:0")))
    }

    /// Takes another file in place of the one in force.
    #[track_caller]
    pub(crate) fn reload(&self, file: &Experiment) {
        self.control.reload(&file.edges, |_| file.faults.clone(), |_| Some(Duration::from_secs(60))).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.stop(Duration::from_millis(if std::thread::panicking() { 0 } else { 2000 }));
        self.telemetry.stop();
    }
}
