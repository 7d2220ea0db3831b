//! What a run needs of the rest of Brownout: edges that stand, faults that can be armed, events that come.

use crate::control::Refusal;
use crate::decision::Protocol;
use crate::model::{Experiment, FaultRule, Phase};
use crate::supervise::Failure;
use crate::telemetry::{Event, Stamped};
use crate::units::Name;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// What comes later.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a run is carried out on.
pub trait Stage: Send + Sync + 'static {
    /// Arms a fault of the run for this time at most; `scale` stretches its schedule.
    ///
    /// # Errors
    /// When it is refused.
    fn arm(&self, rule: &FaultRule, life: Duration, scale: f64) -> Result<(), Refusal>;
    /// Heals every fault of the run.
    fn heal_all(&self, why: &'static str);
    /// Exchanges that begin from now on belong to this phase. The event is published by the run.
    fn enter(&self, phase: Phase);
    /// Tells everybody.
    fn publish(&self, event: Event);
    /// Waits until everything that has ended is in a published window. It blocks, and so is called on a thread of its own.
    fn flush(&self);
    /// Seconds since the start, as events are stamped.
    fn now(&self) -> f64;
    /// Every event from now on.
    fn subscribe(&self) -> Receiver<Arc<Stamped>>;
    /// The address of each edge, in the order of the file, with real ports.
    fn edges(&self) -> Vec<SocketAddr>;
    /// The admin address, if there is one.
    fn admin(&self) -> Option<SocketAddr> {
        None
    }
    /// How an expectation came out, for the metrics.
    fn met(&self, _expectation: &Name, _met: Option<bool>) {}
    /// Brings all services up.
    fn bring_up(&self) -> Answer<Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
    /// Answers when what was asked of services so far is done; with what could not be.
    fn settled(&self) -> Answer<Vec<Failure>> {
        Box::pin(async { Vec::new() })
    }
    /// Takes back what was done to services and ends them; the answer is what could not be.
    fn put_down(&self) -> Answer<Vec<Failure>> {
        Box::pin(async { Vec::new() })
    }
    /// What every process of this run has in its environment, if they must be found again.
    fn marker(&self) -> Option<(String, String)> {
        None
    }
    /// A process that leads a group was started for this run.
    fn child(&self, _pid: u32) {}
    /// The run is over: listeners close, the journal is finished, what was started is ended. It may block.
    ///
    /// # Errors
    /// A sentence for the user, if something could not be put back.
    fn close(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The user asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Stop {
    /// The signal's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// How an edge is called by whoever runs here: a URL, or `host:port` for TCP.
#[must_use]
pub fn url(protocol: Protocol, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    match protocol {
        Protocol::Http => format!("http://{address}"),
        Protocol::Tcp => address.to_string(),
    }
}

/// The name and the URL (`host:port` for TCP) of each edge, for commands.
#[must_use]
pub fn urls(experiment: &Experiment, addresses: &[SocketAddr]) -> Vec<(String, String)> {
    let edges = experiment.edges.iter().zip(addresses);
    edges.map(|(edge, address)| (edge.name.to_string(), url(edge.protocol, *address))).collect()
}
