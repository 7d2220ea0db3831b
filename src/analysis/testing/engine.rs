//! The clock of the simulator: events in their order, the state of everything, and what the proxy notes down.
//!
//! One event is one thing that happens at one place. Times on the wire have a network's jitter, timers fire late, processes
//! stall. The caller's side is in `callers`, the server's in `servers`, the
//! proxy's in `wire`.

use super::chance::Chance;
use super::system::{Load, System};
use super::truth::{EdgeTruth, Truth};
use crate::telemetry::Passed;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// The load sends its next request.
    Arrive,
    /// An attempt's head reaches the proxy.
    Seen(usize),
    /// The proxy sends it on.
    Forward(usize),
    /// It reaches the service.
    Reach(usize),
    /// A request has its worker's first, or last, share of work done.
    Worked(usize),
    /// The service's answer reaches the proxy.
    Answered(usize, u16),
    /// It reaches the caller; 0: a broken connection.
    Returned(usize, u16),
    /// The caller's timer of an attempt fires.
    TimedOut(usize),
    /// The proxy sees that the caller left.
    Left(usize),
    /// The service sees it.
    Gone(usize),
    /// The pause before another attempt is over.
    Again(usize),
    /// A call has waited long enough for the pool.
    GaveUp(usize),
}

#[derive(Clone, Copy, Debug)]
struct Due(f64, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

/// A logical call of an edge.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) edge: usize,
    pub(super) work: Option<usize>,
    pub(super) root: u64,
    pub(super) tries: u32,
    pub(super) state: CallState,
    pub(super) trial: bool,
    /// Attempts that the breaker refused.
    pub(super) refusals: u32,
    /// Something other than the answers decided about its attempts.
    pub(super) disturbed: bool,
    pub(super) holds: bool,
    pub(super) began: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CallState {
    Waiting,
    Trying(usize),
    Pausing,
    Done,
}

/// One attempt, one exchange.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) call: usize,
    pub(super) trial: bool,
    /// The caller still waits.
    pub(super) open: bool,
    pub(super) began: Option<f64>,
    pub(super) held: f64,
    pub(super) hit: bool,
    pub(super) forwarded: Option<f64>,
    pub(super) work: Option<usize>,
    pub(super) row: Option<usize>,
}

/// One request inside a service.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) service: usize,
    pub(super) attempt: usize,
    pub(super) root: u64,
    pub(super) step: Step,
    pub(super) next: usize,
    pub(super) calls: Vec<usize>,
    pub(super) failed: bool,
    pub(super) stumbled: bool,
    pub(super) gone: bool,
    pub(super) session: Option<(usize, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Queued,
    Before,
    Session,
    Calling,
    After(u16),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fuse {
    Closed(u32),
    Open(f64),
    Trying,
}

#[derive(Debug)]
pub(super) struct EdgeState {
    pub(super) fuse: Fuse,
    pub(super) in_pool: usize,
    pub(super) waiting: VecDeque<usize>,
    pub(super) full_since: Option<f64>,
    pub(super) demanded: bool,
    /// Failures since the last start, or since it opened from closed until the first refusal.
    pub(super) failed: u32,
    pub(super) tripped: bool,
    pub(super) rows: Vec<Passed>,
    pub(super) cut: Vec<Passed>,
}

#[derive(Debug)]
pub(super) struct Sim {
    pub(super) system: System,
    pub(super) chance: Chance,
    pub(super) now: f64,
    seq: u64,
    due: BinaryHeap<Due>,
    stalls: Vec<Vec<(f64, f64)>>,
    pub(super) calls: Vec<Call>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) works: Vec<Work>,
    pub(super) edges: Vec<EdgeState>,
    pub(super) busy: Vec<usize>,
    pub(super) queues: Vec<VecDeque<usize>>,
    pub(super) truth: Truth,
    roots: u64,
}

impl Sim {
    pub(super) fn new(system: System) -> Self {
        let mut chance = Chance::new(system.seed);
        let end = system.end();
        let stalls = (0..=system.services.len())
            .map(|_| {
                let mut at = 0.0;
                let mut all = Vec::new();
                while at < end {
                    at += chance.exponential(system.calm);
                    let long = if chance.chance(0.03) {
                        chance.between(0.02, 0.08)
                    } else {
                        chance.magnitude(0.001, 0.02)
                    };
                    all.push((at, at + long));
                    at += long;
                }
                all
            })
            .collect();
        let edges = (0..system.edges.len())
            .map(|_| EdgeState {
                fuse: Fuse::Closed(0),
                in_pool: 0,
                waiting: VecDeque::new(),
                full_since: None,
                demanded: false,
                failed: 0,
                tripped: false,
                rows: Vec::new(),
                cut: Vec::new(),
            })
            .collect();
        let truth = Truth { edges: vec![EdgeTruth::default(); system.edges.len()], ..Truth::default() };
        Self {
            busy: vec![0; system.services.len()],
            queues: vec![VecDeque::new(); system.services.len()],
            now: 0.0,
            seq: 0,
            due: BinaryHeap::new(),
            calls: Vec::new(),
            attempts: Vec::new(),
            works: Vec::new(),
            roots: 0,
            chance,
            stalls,
            edges,
            truth,
            system,
        }
    }

    pub(super) fn run(&mut self) {
        let end = self.system.end();
        match self.system.load {
            Load::Users(users, pause) => {
                for _ in 0..users {
                    let at = self.chance.between(0.0, 0.2 + pause);
                    self.at(at, Event::Arrive);
                }
            }
            Load::Steady(_) | Load::Poisson(_) => self.at(0.01, Event::Arrive),
        }
        while let Some(Due(at, _, event)) = self.due.pop() {
            if at >= end {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = end;
        self.cut();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Seen(attempt) => self.seen(attempt),
            Event::Forward(attempt) => self.forward(attempt),
            Event::Reach(attempt) => self.reached(attempt),
            Event::Worked(work) => self.worked(work),
            Event::Answered(attempt, status) => self.answered(attempt, status),
            Event::Returned(attempt, status) => self.returned(attempt, status),
            Event::TimedOut(attempt) => self.timed_out(attempt),
            Event::Left(attempt) => self.left(attempt),
            Event::Gone(work) => self.gone(work),
            Event::Again(call) => self.again(call),
            Event::GaveUp(call) => self.gave_up(call),
        }
    }

    pub(super) fn at(&mut self, time: f64, event: Event) {
        self.seq += 1;
        let time = match self.system.stall {
            Some((from, to)) if time >= from && time < to => to + 1e-6 * self.seq as f64 / 1e3,
            _ => time,
        };
        self.due.push(Due(time, self.seq, event));
    }

    /// On the wire to a service (none: the load, or the proxy), which may be stalled.
    pub(super) fn over(&mut self, to: Option<usize>, event: Event) {
        let delay = 0.000_05 + self.chance.lognormal(0.000_1, 0.8).min(0.001);
        let at = self.now + delay;
        let at = match to {
            Some(node) => self.awake(node, at),
            None => at,
        };
        self.at(at, event);
    }

    /// A timer of a service.
    pub(super) fn after(&mut self, node: usize, time: f64, event: Event) {
        let late = if self.chance.chance(0.9) {
            self.chance.between(0.0, 0.001_2)
        } else {
            self.chance.between(0.0, 0.003)
        };
        let at = self.awake(node, self.now + time + late);
        self.at(at, event);
    }

    fn awake(&self, node: usize, at: f64) -> f64 {
        let stalls = &self.stalls[node];
        let place = stalls.partition_point(|stall| stall.0 <= at);
        match place.checked_sub(1).and_then(|place| stalls.get(place)) {
            Some(stall) if at < stall.1 => stall.1,
            _ => at,
        }
    }

    fn arrive(&mut self) {
        self.roots += 1;
        match self.system.load {
            Load::Steady(rate) => self.at(self.now + 1.0 / rate, Event::Arrive),
            Load::Poisson(rate) => {
                let pause = self.chance.exponential(1.0 / rate);
                self.at(self.now + pause, Event::Arrive);
            }
            Load::Users(..) => {}
        }
        self.begin(0, None, self.roots);
    }

    /// The node of an edge's caller; the load comes after the services.
    pub(super) fn caller(&self, edge: usize) -> usize {
        self.system.edges[edge].from.unwrap_or(self.system.services.len())
    }
}
