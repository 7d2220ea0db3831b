//! What the live page knows: a fold over the stream of events, bounded in everything.
//!
//! Pure: it is told what happened and when. Times are real seconds from the start of the clock. A run keeps its fold as well,
//! which is judged as the report judges it; what serves has no phases, and no fold. Knows nothing of pages and sockets.

use super::lines;
use crate::chart::Series;
use crate::model::Phase;
use crate::report::Fold;
use crate::telemetry::{Did, Event, Stamped, Window};
use std::collections::{BTreeMap, VecDeque};

/// How far back it remembers, in seconds.
pub(super) const BACK: f64 = 600.0;
/// Windows of an edge in that time, and some more.
const WINDOWS: usize = 4_800;
/// Edges that are drawn.
pub(super) const EDGES: usize = 64;
/// Stretches in which faults were in force, lines of the log, and services that are remembered.
const STRETCHES: usize = 256;
const LINES: usize = 40;
const SERVICES: usize = 64;
/// Single exchanges that are kept for the analysis.
const EXCHANGES: usize = 300_000;
/// Over how many seconds the figures of an edge are taken.
pub(super) const RECENT: f64 = 3.0;

/// What is known.
#[derive(Debug)]
pub(super) struct State {
    pub(super) edges: BTreeMap<u16, EdgeState>,
    /// Phases as they came: begin, and end if it is over.
    pub(super) phases: VecDeque<(Phase, f64, Option<f64>)>,
    /// When faults were in force.
    pub(super) faults: VecDeque<(String, Vec<u16>, f64, Option<f64>)>,
    pub(super) services: BTreeMap<String, ServiceState>,
    pub(super) log: VecDeque<(f64, lines::Weight, String)>,
    pub(super) load: Option<(u64, u64, u64)>,
    pub(super) finished: bool,
    /// What a run is judged and analysed by.
    pub(super) fold: Option<Fold>,
    /// The time of the last event.
    pub(super) now: f64,
}

/// What is known of an edge.
#[derive(Debug)]
pub(super) struct EdgeState {
    pub(super) series: Series,
    recent: VecDeque<(f64, Window)>,
}

/// What is known of a service.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ServiceState {
    pub(super) life: Life,
    pub(super) incarnation: u32,
    /// Names of variables that differ from what the file says.
    pub(super) drift: Vec<String>,
}

/// How a service is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Life {
    /// It was not started yet.
    #[default]
    Unborn,
    /// It was started, and is not ready yet.
    Starting,
    /// It is ready.
    Ready,
    /// It was stopped with SIGSTOP.
    Paused,
    /// It has ended, and how.
    Ended(String),
}

impl State {
    /// Nothing happened yet. Only a run is judged and analysed.
    pub(super) fn new(run: bool, services: impl IntoIterator<Item = String>) -> Self {
        let services = services.into_iter().take(SERVICES);
        Self {
            edges: BTreeMap::new(),
            phases: VecDeque::new(),
            faults: VecDeque::new(),
            services: services.map(|name| (name, ServiceState::default())).collect(),
            log: VecDeque::new(),
            load: None,
            finished: false,
            fold: run.then(|| Fold::holding(EXCHANGES)),
            now: 0.0,
        }
    }

    /// The phase under way.
    pub(super) fn phase(&self) -> Option<(Phase, f64)> {
        self.phases.back().filter(|(.., to)| to.is_none()).map(|(phase, from, _)| (*phase, *from))
    }

    /// Takes the next event in.
    pub(super) fn take(&mut self, stamped: &Stamped) {
        let t = stamped.t;
        self.now = self.now.max(t);
        if let Some(fold) = &mut self.fold {
            fold.take(stamped);
        }
        if let Some((weight, line)) = lines::line(&stamped.event) {
            push(&mut self.log, LINES, (t, weight, line));
        }
        match &stamped.event {
            Event::Phase { phase } => self.enter(*phase, t),
            Event::Armed { fault, edges, .. } => {
                push(&mut self.faults, STRETCHES, (fault.to_string(), edges.clone(), t, None));
            }
            Event::Healed { fault, .. } => {
                let open = self
                    .faults
                    .iter_mut()
                    .rev()
                    .find(|(name, .., to)| name == fault.as_str() && to.is_none());
                if let Some((.., to)) = open {
                    *to = Some(t);
                }
            }
            Event::Window(window) => self.window(t, window),
            Event::Load { sent, shed, timed_out } => self.load = Some((*sent, *shed, *timed_out)),
            Event::Service { service, incarnation, did } => {
                self.lived(service.as_str(), *incarnation, did);
            }
            Event::Finished => {
                self.enter(Phase::Idle, t);
                self.finished = true;
            }
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase, t: f64) {
        if let Some((.., to @ None)) = self.phases.back_mut() {
            *to = Some(t);
        }
        if phase != Phase::Idle {
            push(&mut self.phases, STRETCHES, (phase, t, None));
        }
    }

    fn window(&mut self, t: f64, window: &Window) {
        if self.edges.len() >= EDGES && !self.edges.contains_key(&window.edge) {
            return;
        }
        let edge = self.edges.entry(window.edge).or_default();
        edge.series.take(t, window);
        edge.series.forget(t - BACK);
        edge.recent.push_back((t, window.clone()));
        edge.trim(t);
    }

    fn lived(&mut self, name: &str, incarnation: u32, did: &Did) {
        if self.services.len() >= SERVICES && !self.services.contains_key(name) {
            return;
        }
        let service = self.services.entry(name.to_owned()).or_default();
        service.incarnation = incarnation;
        match did {
            Did::Started { env, .. } => {
                service.life = Life::Starting;
                service.drift = env.iter().filter(|var| var.changed).map(|var| var.name.clone()).collect();
            }
            Did::Ready { .. } => service.life = Life::Ready,
            Did::Exited { code, signal, .. } => {
                service.life = Life::Ended(lines::ending(*code, signal.as_deref()));
            }
            Did::Paused => service.life = Life::Paused,
            Did::Resumed => service.life = Life::Ready,
            Did::NotReady { .. } => service.life = Life::Ended("not ready in time".into()),
            Did::NotStarted { .. } => service.life = Life::Ended("could not be started".into()),
            Did::Log { .. } | Did::Unwritten { .. } => {}
        }
    }
}

impl Default for EdgeState {
    fn default() -> Self {
        Self { series: Series::new(WINDOWS), recent: VecDeque::new() }
    }
}

impl EdgeState {
    fn trim(&mut self, t: f64) {
        while self.recent.front().is_some_and(|(at, _)| *at <= t - RECENT) {
            self.recent.pop_front();
        }
    }

    /// What the edge did of late, seen from this time; `None`: nothing.
    pub(super) fn lately(&self, now: f64) -> Option<Window> {
        let mut sum: Option<Window> = None;
        for (_, window) in self.recent.iter().filter(|(at, _)| *at > now - RECENT) {
            sum.get_or_insert_default().merge(window);
        }
        sum
    }
}

/// Behind the others, and the oldest goes if there are too many.
fn push<T>(queue: &mut VecDeque<T>, most: usize, new: T) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(new);
}
