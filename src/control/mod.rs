//! The only writer of what is in force: validate, build, swap; else keep the old.
//!
//! Run, command line, admin API and signals all call the same [`Control`]. It also keeps the clock of every armed fault:
//! its schedule, its time to live, and the end of its phase.

mod asked;
mod clock;
mod deeds;
mod descriptors;
mod plans;
mod reload;
mod status;
mod words;

pub use words::{EdgeStatus, FaultStatus, Owner, Refusal, Reloaded, StartError};

use crate::decision::Protocol;
use crate::model::{Edge, FaultRule, Phase};
use crate::net::listen::Address;
use crate::plan::{Armed, Compiled, Plan, Totals};
use crate::proxy::{EdgeShared, Workers};
use crate::telemetry::{EdgeLabels, Event, Telemetry};
use crate::units::Name;
use clock::keep;
use descriptors::share_descriptors;
use plans::{no_way_back, publish, take_out};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The one who arms and heals.
#[derive(Debug)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
    telemetry: Arc<Telemetry>,
    workers: Mutex<Option<Workers>>,
    seed: u64,
    epoch: Instant,
    connections: u32,
}

#[derive(Debug, Default)]
struct State {
    edges: Vec<(Arc<EdgeShared>, Arc<Address>)>,
    /// The faults of the file, in its order.
    known: Vec<FaultRule>,
    entries: Vec<Entry>,
    totals: HashMap<Name, Arc<Totals>>,
    /// Edges whose place others took, as long as connections of theirs are open.
    replaced: Vec<Weak<EdgeShared>>,
    /// Healed by hand or by the kill switch: no file arms them again.
    by_hand: HashSet<Name>,
    /// Ended by their time or by a guardrail: armed again only if the file says something else of them.
    ended: HashSet<Name>,
    services: deeds::Services,
    /// What requests may ask for.
    ready: Vec<asked::Ready>,
    halted: bool,
    halt_file: Option<PathBuf>,
    stopped: bool,
}

/// A fault that is armed.
#[derive(Debug)]
struct Entry {
    rule: FaultRule,
    edges: Vec<Name>,
    owner: Owner,
    compiled: Arc<Compiled>,
    /// When it was armed, and when it ends by itself.
    since: Duration,
    ends: Option<Duration>,
    scale: f64,
    arming: usize,
    /// How often the moment came from which its schedule counts.
    lives: u64,
    done: deeds::Done,
    /// What the data path sees, while its clock says that it is on; kept while it is off.
    live: Option<Arc<Armed>>,
    on: bool,
}

impl Control {
    /// Opens the edges on so many workers. Nothing is armed.
    ///
    /// # Errors
    /// When an address is taken or not ours, or the system allows too few descriptors.
    pub fn start(
        edges: &[Edge],
        workers: usize,
        seed: u64,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, StartError> {
        let connections = share_descriptors(edges)?;
        let started = Workers::start(workers, &telemetry).map_err(|error| StartError {
            line: 0,
            text: format!("the workers cannot be started: {error}"),
        })?;
        let control = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            telemetry,
            workers: Mutex::new(Some(started)),
            seed,
            epoch: Instant::now(),
            connections,
        });
        for edge in edges {
            control.open(edge, None)?;
        }
        let keeper = Arc::downgrade(&control);
        std::thread::Builder::new()
            .name("control".into())
            .spawn(move || keep(&keeper))
            .map_err(|error| StartError { line: 0, text: format!("no thread for control: {error}") })?;
        Ok(control)
    }

    /// Opens one edge, on an address that is ours already or on its own.
    fn open(&self, edge: &Edge, address: Option<Arc<Address>>) -> Result<(), StartError> {
        let fail = |error: std::io::Error| StartError {
            line: edge.line,
            text: match error.kind() {
                std::io::ErrorKind::AddrInUse => format!(
                    "edge `{}` cannot listen on {}: another process does; `listen = \"127.0.0.1:0\"` takes a free port",
                    edge.name, edge.listen
                ),
                _ => format!("edge `{}` cannot listen on {}: {error}", edge.name, edge.listen),
            },
        };
        let address = match address {
            Some(address) => address,
            None => Arc::new(Address::take(edge.listen).map_err(fail)?),
        };
        let id = self.telemetry.add_edge(EdgeLabels {
            name: edge.name.clone(),
            protocol: edge.protocol,
            success: edge.success.clone(),
        });
        let forerunner = lock(&self.state)
            .edges
            .iter()
            .find(|(known, _)| known.id == id)
            .map(|(known, _)| known.slot.get());
        let held = lock(&self.workers);
        let Some(workers) = held.as_ref() else {
            return Err(StartError { line: 0, text: "Brownout is stopping".into() });
        };
        let most = edge.max_connections.unwrap_or(self.connections);
        let shared = Arc::new(EdgeShared::new(id, edge.clone(), self.epoch, workers.count(), most));
        // opened anew, it begins with what is in force on its forerunner
        if let Some(before) = forerunner {
            shared.slot.publish(Plan::new(before.plan.faults().to_vec()));
        }
        if let Err(error) = workers.open(&shared, &address) {
            workers.close(&shared);
            return Err(fail(error));
        }
        drop(held);
        lock(&self.state).edges.push((shared, address));
        Ok(())
    }

    /// Zero of the clock of armings is when this was made; now is this much later.
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Makes the faults of a file known, so that they can be armed by name.
    pub fn know(&self, rules: &[FaultRule]) {
        let mut state = lock(&self.state);
        state.known = rules.to_vec();
        for rule in rules {
            state.totals.entry(rule.name.clone()).or_default();
            self.telemetry.fault_active(&rule.name, false);
        }
        self.stand_ready(&mut state, |_| true);
    }

    /// Arms a fault: it is in force from now, or as its schedule says, and heals by itself after `life` (real time; `None`:
    /// only when healed). `scale` stretches its schedule (`time_scale` of a run, 1 otherwise). Its `edges` are places in
    /// [`edges`](Self::edges).
    ///
    /// # Errors
    /// When it is halted, the name is taken, or the fault does not fit its edges.
    pub fn arm(
        &self,
        rule: FaultRule,
        owner: Owner,
        life: Option<Duration>,
        scale: f64,
    ) -> Result<(), Refusal> {
        let mut state = lock(&self.state);
        self.arm_in(&mut state, rule, owner, life, scale)?;
        self.refresh(&mut state);
        self.changed.notify_all();
        Ok(())
    }

    fn arm_in(
        &self,
        state: &mut State,
        rule: FaultRule,
        owner: Owner,
        life: Option<Duration>,
        scale: f64,
    ) -> Result<(), Refusal> {
        if state.halted || state.stopped {
            return Err(Refusal::Halted);
        }
        if state.entries.iter().any(|entry| entry.rule.name == rule.name) {
            return Err(Refusal::Taken(rule.name.to_string()));
        }
        let on: Vec<&Edge> = rule
            .edges
            .iter()
            .filter_map(|place| state.edges.get(*place))
            .map(|(edge, _)| &edge.config)
            .collect();
        if on.is_empty() && rule.services.is_empty() {
            return Err(Refusal::Invalid(format!("fault `{}` is on no edge", rule.name)));
        }
        state.services.may(&rule)?;
        no_way_back(state, &rule)?;
        let protocols: Vec<Protocol> = on.iter().map(|edge| edge.protocol).collect();
        let edges = on.iter().map(|edge| edge.name.clone()).collect();
        let totals = state.totals.entry(rule.name.clone()).or_default().clone();
        let compiled =
            Compiled::new(&rule, self.seed, &protocols, scale, totals).map_err(Refusal::Invalid)?;
        let since = self.now();
        state.by_hand.remove(&rule.name);
        state.ended.remove(&rule.name);
        state.entries.push(Entry {
            edges,
            owner,
            compiled: Arc::new(compiled),
            since,
            ends: life.map(|life| since + life),
            scale: if scale > 0.0 { scale } else { 1.0 },
            arming: 0,
            lives: 0,
            done: deeds::Done::default(),
            live: None,
            on: false,
            rule,
        });
        self.stand_ready(state, |_| false);
        Ok(())
    }

    /// Arms a fault that the file has and nobody armed (`armed = false`, or healed by hand), by its name.
    ///
    /// # Errors
    /// When it is not known, armed already, or everything is halted.
    pub fn arm_named(&self, name: &str, life: Option<Duration>) -> Result<(), Refusal> {
        let rule = lock(&self.state).known.iter().find(|rule| rule.name.as_str() == name).cloned();
        let rule = rule.ok_or_else(|| Refusal::NoSuchFault(name.to_owned()))?;
        self.arm(rule, Owner::Hand, life, 1.0)
    }

    /// Heals one fault, whoever armed it.
    ///
    /// # Errors
    /// When no such fault is armed.
    pub fn heal(&self, name: &str, why: &'static str) -> Result<(), Refusal> {
        let mut state = lock(&self.state);
        if !state.entries.iter().any(|entry| entry.rule.name.as_str() == name) {
            return Err(Refusal::NoSuchFault(name.to_owned()));
        }
        self.remove(&mut state, why, |entry| entry.rule.name.as_str() == name);
        Ok(())
    }

    /// Heals every fault of an owner; `None`: of all.
    pub fn heal_all(&self, owner: Option<Owner>, why: &'static str) {
        let mut state = lock(&self.state);
        self.remove(&mut state, why, |entry| owner.is_none_or(|owner| entry.owner == owner));
    }

    /// The kill switch: heals everything, and nothing can be armed until it is lifted.
    pub fn halt(&self) {
        let mut state = lock(&self.state);
        state.halted = true;
        self.remove(&mut state, "halt", |_| true);
    }

    /// Lifts the kill switch.
    pub fn lift(&self) {
        let mut state = lock(&self.state);
        if let Some(file) = &state.halt_file {
            let _ = std::fs::remove_file(file);
        }
        state.halted = false;
        self.stand_ready(&mut state, |_| false);
    }

    /// A file that halts everything as long as it is there; lifting takes it away.
    pub fn watch_halt_file(&self, file: PathBuf) {
        lock(&self.state).halt_file = Some(file);
        self.changed.notify_all();
    }

    /// The file that halts everything, if it is there and nothing is halted yet.
    #[must_use]
    pub fn halts_by_file(&self) -> Option<PathBuf> {
        let state = lock(&self.state);
        state.halt_file.clone().filter(|file| !state.halted && file.exists())
    }

    /// Whether the kill switch is on.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        lock(&self.state).halted
    }

    /// Takes entries out and publishes plans without them: those who are held are let go.
    fn remove(&self, state: &mut State, why: &'static str, which: impl Fn(&Entry) -> bool) {
        let gone = take_out(state, which);
        state.undo_deeds(&gone);
        let names: HashSet<Name> = gone.iter().map(|entry| entry.rule.name.clone()).collect();
        let mut touched = HashSet::new();
        let mut healed = Vec::new();
        for entry in gone {
            if let Some(live) = &entry.live {
                live.heal();
            }
            if entry.on {
                touched.extend(entry.edges.iter().cloned());
            }
            // the kill switch is told also of what was off at that moment
            if entry.on || why == "halt" {
                healed.push(entry.compiled.clone());
            }
            match why {
                "hand" | "halt" => drop(state.by_hand.insert(entry.rule.name.clone())),
                "ttl" | "guardrail" => drop(state.ended.insert(entry.rule.name.clone())),
                _ => {}
            }
        }
        self.stand_ready(state, |name| names.contains(name));
        publish(state, &touched);
        for compiled in healed {
            self.tell_healed(&compiled, why);
        }
        self.changed.notify_all();
    }

    fn tell_healed(&self, compiled: &Compiled, why: &str) {
        self.telemetry.fault_active(&compiled.name, false);
        let (matched, selected, hits) = compiled.totals.counts();
        self.telemetry.publish(Event::Healed {
            fault: compiled.name.clone(),
            why: why.to_owned(),
            matched,
            selected,
            hits,
            delay_error_p99: compiled.totals.late_p99(),
        });
    }

    /// Exchanges that begin from now on belong to this phase.
    pub fn enter(&self, phase: Phase) {
        self.telemetry.set_phase(phase);
    }

    /// Whether every listener is bound, every service has been ready, and Brownout is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = lock(&self.state);
        !state.edges.is_empty() && !state.stopped && state.services.have_been_ready()
    }

    /// Heals everything, stops accepting, lets what is under way end. Whether all of it did within `grace`.
    pub fn stop(&self, grace: Duration) -> bool {
        {
            let mut state = lock(&self.state);
            // first, so that nothing stands ready to be asked for any more, and who asked is let go
            state.stopped = true;
            self.remove(&mut state, "end", |_| true);
        }
        self.changed.notify_all();
        let workers = lock(&self.workers).take();
        workers.is_none_or(|workers| workers.drain(grace))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
