//! What one sees while Brownout runs: a thread that reads the stream of events and renders pieces of the page for whoever looks.
//!
//! Invariants: the request path never waits for it; while nobody looks nothing is rendered or analysed; all viewers share one
//! rendering, at most [`BEAT`] often; a viewer that is slow misses renderings, and never makes anything grow. The analysis runs
//! on a thread of its own, one at a time, and rests longer than it worked.

mod frame;
mod lines;
mod render;
mod state;
mod stream;
mod system;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use stream::stream;

use super::{AdminState, Course, Levers};
use crate::analysis::{self, Findings};
use crate::model::{Experiment, Phase};
use crate::report::{CheckResult, judge};
use crate::telemetry::{Stamped, Telemetry};
use frame::{Frame, Top};
use state::State;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle as Task;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use view::View;

/// So many may look at once.
pub(crate) const VIEWERS: usize = 16;
/// How often the page changes at most.
const BEAT: Duration = Duration::from_millis(400);
/// Charts of so many edges are drawn at a beat.
const CHARTS: usize = 6;
/// The analysis rests at least so long, and so many times as long as it worked.
const REST: Duration = Duration::from_secs(1);
const RESTS: u32 = 4;
/// Events that are taken before anything else is looked at.
const EVENTS: usize = 4_096;

/// What viewers are given.
#[derive(Debug)]
pub(crate) struct Live {
    frames: watch::Receiver<Arc<Frame>>,
    seats: Arc<Semaphore>,
    looked: Arc<Notify>,
}

/// Begins to read; everything ends with `stop`.
pub(crate) fn start(
    levers: Arc<dyn Levers>,
    telemetry: Arc<Telemetry>,
    shared: Arc<AdminState>,
    stop: CancellationToken,
) -> io::Result<(Live, JoinHandle<()>)> {
    // Single exchanges are for the analysis, and only a run has a baseline to compare with.
    let events = match &shared.course {
        Course::Run(_) => telemetry.subscribe(),
        Course::Serve(_) => telemetry.subscribe_to_windows(),
    };
    let (sender, frames) = watch::channel(Arc::new(Frame::default()));
    let seats = Arc::new(Semaphore::new(VIEWERS));
    let looked = Arc::new(Notify::new());
    let live = Live { frames, seats: Arc::clone(&seats), looked: Arc::clone(&looked) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = std::thread::Builder::new().name("live".into()).spawn(move || {
        let services = match &shared.course {
            Course::Run(experiment) => names(experiment),
            Course::Serve(services) => services.clone(),
        };
        let state = State::new(matches!(shared.course, Course::Run(_)), services);
        let mut reader = Reader {
            levers,
            telemetry,
            shared,
            state,
            sender,
            seats,
            findings: Findings::default(),
            analysing: None,
            rest_until: Instant::now(),
            edges: BTreeMap::new(),
            next_edge: 0,
        };
        runtime.block_on(reader.run(events, &looked, &stop));
        // An analysis under way is not waited for.
        runtime.shutdown_background();
    })?;
    Ok((live, thread))
}

fn names(experiment: &Experiment) -> Vec<String> {
    experiment
        .services
        .iter()
        .filter(|service| service.is_ours())
        .map(|service| service.name.to_string())
        .collect()
}

struct Reader {
    levers: Arc<dyn Levers>,
    telemetry: Arc<Telemetry>,
    shared: Arc<AdminState>,
    state: State,
    sender: watch::Sender<Arc<Frame>>,
    seats: Arc<Semaphore>,
    findings: Findings,
    /// Since when, and what it will say.
    analysing: Option<(Instant, Task<Findings>)>,
    rest_until: Instant,
    /// The charts as they were drawn last.
    edges: BTreeMap<u16, render::Piece>,
    next_edge: usize,
}

impl Reader {
    async fn run(&mut self, mut events: Receiver<Arc<Stamped>>, looked: &Notify, stop: &CancellationToken) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let mut open = true;
        let mut shown = Instant::now() - BEAT;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                count = events.recv_many(&mut batch, EVENTS), if open => {
                    open = count > 0;
                    batch.drain(..).for_each(|stamped| self.state.take(&stamped));
                }
                found = found(&mut self.analysing) => self.found(found),
                () = looked.notified(), if shown.elapsed() >= BEAT / 2 => {
                    self.show();
                    shown = Instant::now();
                }
                _ = beat.tick() => if self.seats.available_permits() < VIEWERS {
                    self.analyse();
                    self.show();
                    shown = Instant::now();
                },
            }
        }
        // The last thing that viewers see is how it ended.
        while let Ok(stamped) = events.try_recv() {
            self.state.take(&stamped);
        }
        if self.seats.available_permits() < VIEWERS {
            self.show();
        }
    }

    /// Takes in what an analysis says.
    fn found(&mut self, (since, found): (Instant, Option<Findings>)) {
        self.analysing = None;
        self.rest_until = Instant::now() + (since.elapsed() * RESTS).max(REST);
        if let Some(found) = found {
            self.findings = found;
        }
    }

    /// Begins to analyse what has come, if it is worth it.
    fn analyse(&mut self) {
        let reached = self.state.phases.iter().any(|(phase, ..)| *phase == Phase::Fault);
        if !reached || self.analysing.is_some() || Instant::now() < self.rest_until {
            return;
        }
        if let Some(fold) = &mut self.state.fold {
            if !fold.finished {
                fold.look(self.telemetry.now());
            }
            let traffic = fold.traffic();
            let task = tokio::task::spawn_blocking(move || analysis::analyse(&traffic));
            self.analysing = Some((Instant::now(), task));
        }
    }

    /// Renders, and gives it to all who look.
    fn show(&mut self) {
        let checks = self.checks();
        let turn = self.next_edge;
        let before = std::mem::take(&mut self.edges);
        let (top, mut pieces, edges) = self.with_view(&checks, |view| {
            let frame = view.frame();
            let listed = || view.edges.iter().take(state::EDGES).enumerate();
            let count = view.edges.len().clamp(1, state::EDGES);
            // A few at a time, so that a page of many edges costs no more than one of few.
            let due = |n: usize| (n + count - turn % count) % count < CHARTS;
            let draw = |(n, edge): (usize, &crate::control::EdgeStatus)| {
                let kept = before.get(&edge.id).filter(|_| !due(n) && !view.state.finished).cloned();
                (edge.id, kept.unwrap_or_else(|| system::edge(view, &frame, edge)))
            };
            let edges: BTreeMap<u16, render::Piece> = listed().map(draw).collect();
            let order: Vec<String> = listed().map(|(_, edge)| system::place_of(edge)).collect();
            let top = Top { title: render::title(view), runs: view.run.is_some(), edges: order };
            (top, render::pieces(view), edges)
        });
        self.next_edge = turn.wrapping_add(CHARTS);
        pieces.extend(edges.values().cloned());
        self.edges = edges;
        let next = self.sender.borrow().next(top, pieces);
        self.sender.send_replace(Arc::new(next));
    }

    /// How what must hold stands.
    fn checks(&mut self) -> Vec<CheckResult> {
        let now = self.telemetry.now();
        match (&self.shared.course, &mut self.state.fold) {
            (Course::Run(experiment), Some(fold)) => {
                if !fold.finished {
                    fold.look(now);
                }
                judge::checks(experiment, fold)
            }
            _ => Vec::new(),
        }
    }

    fn with_view<T>(&self, checks: &[CheckResult], read: impl FnOnce(&View<'_>) -> T) -> T {
        let name = self.shared.experiment.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (edges, faults) = (self.levers.edges(), self.levers.faults());
        let run = match &self.shared.course {
            Course::Run(experiment) => Some(experiment.as_ref()),
            Course::Serve(_) => None,
        };
        read(&View {
            name: name.as_deref().unwrap_or("Brownout"),
            run,
            state: &self.state,
            edges: &edges,
            faults: &faults,
            halted: self.levers.is_halted(),
            ready: self.levers.is_ready(),
            findings: &self.findings,
            checks,
            now: self.telemetry.now(),
        })
    }
}

async fn found(analysing: &mut Option<(Instant, Task<Findings>)>) -> (Instant, Option<Findings>) {
    match analysing {
        Some((since, task)) => {
            let since = *since;
            (since, task.await.ok())
        }
        None => std::future::pending().await,
    }
}
