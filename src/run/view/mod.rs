//! A run as a screen on a terminal: where it stands, each edge with its last minute, how a failure spreads, what happened.
//!
//! [`View`] is told what the progress is told and knows no terminal; [`draw`] makes a picture of it, a pure function of the
//! view and the room there is; [`Screen`] is the only one that touches the terminal, and gives it back however it ends.

mod draw;
mod screen;
#[cfg(test)]
mod tests;

pub use draw::draw;
pub use screen::{Screen, give_back};

use crate::analysis::Findings;
use crate::model::{Experiment, Phase};
use crate::telemetry::{Did, Event, ExitCause, Stamped, Window};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Seconds that an edge's line shows.
const SHOWN: usize = 60;
/// Over so many seconds figures are taken.
const RECENT: usize = 2;
/// Lines of what happened that are kept.
const LINES: usize = 200;

/// What there is to be shown.
#[derive(Debug)]
pub struct View {
    name: String,
    title: Option<String>,
    seed: u64,
    admin: Option<SocketAddr>,
    scale: f64,
    lengths: Vec<(Phase, Duration)>,
    phase: Option<(Phase, f64)>,
    now: f64,
    edges: Vec<Row>,
    active: Vec<String>,
    services: Vec<Service>,
    lines: VecDeque<(f64, String)>,
    findings: Findings,
}

/// An edge.
#[derive(Debug)]
struct Row {
    name: String,
    from: String,
    to: String,
    /// The last minute, a window a second, the newest last.
    seconds: VecDeque<(u64, Window)>,
    connections: u64,
    in_flight: u64,
}

/// A service, as it stands.
#[derive(Debug)]
struct Service {
    name: String,
    incarnation: u32,
    stands: Stands,
    /// Names of variables in which it differs from the file.
    drift: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Starting,
    Ready,
    Paused,
    Down,
}

impl View {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(experiment: &Experiment, lengths: Vec<(Phase, Duration)>, scale: f64) -> Self {
        let row = |edge: &crate::model::Edge| Row {
            name: edge.name.to_string(),
            from: edge.from.clone(),
            to: edge.to.clone(),
            seconds: VecDeque::new(),
            connections: 0,
            in_flight: 0,
        };
        Self {
            name: experiment.name.to_string(),
            title: experiment.title.clone(),
            seed: 0,
            admin: None,
            scale,
            lengths,
            phase: None,
            now: 0.0,
            edges: experiment.edges.iter().map(row).collect(),
            active: Vec::new(),
            services: Vec::new(),
            lines: VecDeque::new(),
            findings: Findings::default(),
        }
    }

    /// Takes an event in.
    pub fn take(&mut self, stamped: &Stamped) {
        self.now = self.now.max(stamped.t);
        match &stamped.event {
            Event::Started { seed, .. } => self.seed = *seed,
            Event::Phase { phase } => self.phase = Some((*phase, stamped.t)),
            Event::Armed { fault, .. } => self.active.push(fault.to_string()),
            Event::Healed { fault, .. } => self.active.retain(|name| name != fault.as_str()),
            Event::Window(window) => self.window(stamped.t, window),
            Event::Service { service, incarnation, did } => {
                self.lived(service.as_str(), *incarnation, did);
            }
            _ => {}
        }
    }

    /// A line of what happened, at a time of the file's clock.
    pub fn say(&mut self, t: f64, text: String) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((t, text));
    }

    /// Where the admin address is.
    pub fn admin(&mut self, admin: Option<SocketAddr>) {
        self.admin = admin;
    }

    /// It is this late.
    pub fn at(&mut self, now: f64) {
        self.now = self.now.max(now);
    }

    /// What an analysis has found so far.
    pub fn found(&mut self, findings: Findings) {
        self.findings = findings;
    }

    /// The lines of what happened, the oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &(f64, String)> {
        self.lines.iter()
    }

    fn window(&mut self, t: f64, window: &Window) {
        let Some(row) = self.edges.get_mut(usize::from(window.edge)) else { return };
        let second = t.max(0.0) as u64;
        match row.seconds.back_mut() {
            Some((last, sum)) if *last == second => sum.merge(window),
            _ => row.seconds.push_back((second, window.clone())),
        }
        while row.seconds.front().is_some_and(|(first, _)| first + SHOWN as u64 <= second) {
            row.seconds.pop_front();
        }
        (row.connections, row.in_flight) = (window.connections, window.in_flight);
    }

    fn lived(&mut self, name: &str, incarnation: u32, did: &Did) {
        let place = self.services.iter().position(|service| service.name == name).unwrap_or_else(|| {
            let stands = Stands::Down;
            self.services.push(Service { name: name.to_owned(), incarnation, stands, drift: Vec::new() });
            self.services.len() - 1
        });
        let service = &mut self.services[place];
        service.incarnation = incarnation.max(service.incarnation);
        service.stands = match did {
            Did::Started { env, .. } => {
                service.drift = env.iter().filter(|var| var.changed).map(|var| var.name.clone()).collect();
                Stands::Starting
            }
            Did::Ready { .. } | Did::Resumed => Stands::Ready,
            Did::Paused => Stands::Paused,
            Did::Exited { cause: ExitCause::End, .. } | Did::Exited { .. } | Did::NotStarted { .. } => {
                Stands::Down
            }
            Did::NotReady { .. } | Did::Log { .. } | Did::Unwritten { .. } => service.stands,
        };
    }
}

impl Row {
    /// What came in the last seconds before `now`, and in how many.
    fn recent(&self, now: f64) -> (Window, f64) {
        let mut sum = Window::default();
        let first = (now.max(0.0) as u64).saturating_sub(RECENT as u64);
        for (_, window) in self.seconds.iter().filter(|(second, _)| *second >= first) {
            sum.merge(window);
        }
        (sum, (now - first as f64).clamp(0.25, RECENT as f64 + 1.0))
    }
}
