//! The probes of a run: each asks its question again and again, one at a time, and tells what it saw.
//!
//! They have a thread of their own, which ends with [`Running`], and nothing is told after that. Through an edge they are health traffic:
//! faults without a path spare them, and they stay out of rates. Knows nothing of phases and judging.

use super::ask::{self, Answer, HttpQuestion};
use crate::model::{Ask, Probe};
use crate::proxy::probe::{HEADER, token};
use crate::telemetry::{Event, Saw};
use crate::units::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Never more often than this, however much time is compressed.
const SHORTEST: Duration = Duration::from_millis(5);

/// Where probes tell what they saw.
pub type Publish = Arc<dyn Fn(Event) + Send + Sync>;

/// Probes under way. Dropping it stops them: nothing is told after that.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    broken: Receiver<String>,
}

impl Running {
    /// Waits until a probe cannot be asked, through no fault of who is asked: why. That is exit code 5. Without such a
    /// probe it waits for ever.
    pub async fn broken(&mut self) -> String {
        match self.broken.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts probes, each under the name of its expectation. `edges` are the addresses of the edges, in the order of the file;
/// every `${edge.NAME}` is filled in. Commands have `marker` in their environment. From one request to the next it is the probe's `every` multiplied by `scale`.
///
/// # Errors
/// A sentence for the user if one can never be asked, or if there is no thread to be had.
pub fn start(
    probes: Vec<(Name, Probe)>,
    edges: &[SocketAddr],
    scale: f64,
    marker: Option<(String, String)>,
    publish: Publish,
) -> Result<Running, String> {
    let edges: Vec<SocketAddr> = edges.iter().map(|edge| reachable(*edge)).collect();
    let mut rounds = Vec::new();
    for (name, probe) in probes {
        let every = Duration::try_from_secs_f64(probe.every.as_secs_f64() * scale).unwrap_or(probe.every);
        let question = match probe.ask {
            Ask::Http(ask) => HttpQuestion::new(*ask, &edges, (HEADER, token()))
                .map(|question| Question::Http(Box::new(question)))
                .map_err(|why| format!("probe `{name}`: {why}"))?,
            Ask::Tcp(address) => Question::Tcp(address),
            Ask::Command(argv) => Question::Command(argv, marker.iter().cloned().collect()),
        };
        rounds.push(Round {
            name,
            question,
            every: every.max(SHORTEST),
            timeout: probe.timeout,
            tolerate_unreachable: probe.tolerate_unreachable,
        });
    }
    let no_thread = |error: std::io::Error| format!("the probes cannot run: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
    let stop = CancellationToken::new();
    let (tell, broken) = channel(rounds.len().max(1));
    let token = stop.clone();
    let thread = std::thread::Builder::new().name("probes".into()).spawn(move || {
        runtime.block_on(async {
            let mut all = JoinSet::new();
            for round in rounds {
                all.spawn(round.go(publish.clone(), tell.clone()));
            }
            drop(tell);
            token.cancelled().await;
            all.shutdown().await;
        });
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
    });
    Ok(Running { stop, thread: Some(thread.map_err(no_thread)?), broken })
}

/// What is asked.
enum Question {
    Http(Box<HttpQuestion>),
    Tcp(String),
    Command(Vec<String>, Vec<(String, String)>),
}

impl Question {
    async fn ask(&self) -> Answer {
        match self {
            Self::Http(question) => question.ask().await,
            Self::Tcp(address) => ask::tcp(address).await,
            Self::Command(argv, env) => ask::run(argv, env).await,
        }
    }
}

/// One probe: its question, over and over.
struct Round {
    name: Name,
    question: Question,
    every: Duration,
    timeout: Duration,
    tolerate_unreachable: bool,
}

impl Round {
    async fn go(self, publish: Publish, broken: Sender<String>) {
        let mut beat = tokio::time::interval(self.every);
        // Late ones are left out, not made up for.
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beat.tick().await;
            let asked = Instant::now();
            let answer = tokio::time::timeout(self.timeout, self.question.ask()).await;
            let answer = answer.unwrap_or_else(|_| Answer::Unreachable(self.too_late()));
            match answer.told(self.tolerate_unreachable) {
                Ok((saw, text)) => publish(self.event(saw, asked.elapsed(), text)),
                Err(why) => {
                    // One of each at most: there is room.
                    let _ = broken.try_send(format!("probe `{}`: {why}", self.name));
                    return;
                }
            }
        }
    }

    fn event(&self, saw: Saw, took: Duration, text: Option<String>) -> Event {
        Event::Probe { probe: self.name.clone(), saw, took: took.as_secs_f64(), text }
    }

    fn too_late(&self) -> String {
        format!("no answer within {}", crate::units::Span(self.timeout))
    }
}

/// Where an edge that listens everywhere can be called.
fn reachable(mut edge: SocketAddr) -> SocketAddr {
    if edge.ip().is_unspecified() {
        let loopback: IpAddr =
            if edge.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        edge.set_ip(loopback);
    }
    edge
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
