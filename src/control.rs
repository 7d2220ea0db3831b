//! The only writer of what is in force: validate, build, swap; else keep the old.
//!
//! Run, command line, admin API and signals all call the same [`Control`]. It also keeps the clock of every armed fault:
//! its schedule, its time to live, and the end of its phase.

use crate::decision::Protocol;
use crate::model::{Edge, FaultRule, Phase};
use crate::net::listen::Address;
use crate::plan::{Armed, Compiled, Plan, Totals, timeline};
use crate::proxy::{EdgeShared, Workers};
use crate::telemetry::{EdgeLabels, Event, Telemetry};
use crate::units::Name;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Who armed a fault; owners do not touch each other's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The run under way.
    Run,
    /// The file of `serve`.
    File,
    /// A hand: API or command line.
    Hand,
}

impl Owner {
    /// As the API and the journal write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::File => "file",
            Self::Hand => "hand",
        }
    }
}

/// Why something could not be done; a sentence for the user each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No fault of this name is armed (or known).
    NoSuchFault(String),
    /// A fault of this name is armed by somebody else.
    Taken(String),
    /// The kill switch is on.
    Halted,
    /// It does not fit.
    Invalid(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchFault(name) => {
                write!(f, "there is no fault `{name}`: `brownout fault list` shows all")
            }
            Self::Taken(name) => {
                write!(f, "a fault `{name}` is armed already: heal it first, or take another name")
            }
            Self::Halted => write!(f, "everything is halted: `brownout halt --lift` first"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

/// A fault as the API and the command line show it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct FaultStatus {
    /// Its name.
    pub name: String,
    /// The names of its edges.
    pub edges: Vec<String>,
    /// `run`, `file` or `hand`; `none` if it was never armed.
    pub owner: String,
    /// Armed: it may strike, when its schedule says so.
    pub armed: bool,
    /// In force at this moment.
    pub active: bool,
    /// What it does, such as `latency`.
    pub actions: Vec<String>,
    /// Exchanges that passed its matchers.
    pub matched: u64,
    /// Of these, the chosen.
    pub selected: u64,
    /// Of these, the struck.
    pub hits: u64,
    /// Seconds until it ends by itself; `None`: never, or not armed.
    pub ends_in: Option<f64>,
}

/// An edge as the API and the command line show it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct EdgeStatus {
    /// Its name.
    pub name: String,
    /// The address it listens on, with the real port.
    pub listen: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// `host:port` of each upstream.
    pub upstreams: Vec<String>,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
}

/// Why edges could not be started.
#[derive(Debug)]
pub struct StartError {
    /// The line of the edge in the file; 0 if there is none to point at.
    pub line: usize,
    /// A sentence for the user.
    pub text: String,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Faults armed anew.
    pub armed: Vec<String>,
    /// Faults healed.
    pub healed: Vec<String>,
    /// Edges opened, or opened anew because their description changed.
    pub opened: Vec<String>,
    /// Edges closed.
    pub closed: Vec<String>,
}

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
    by_hand: HashSet<Name>,
    halted: bool,
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
        let workers = lock(&self.workers);
        let Some(workers) = workers.as_ref() else {
            return Err(StartError { line: 0, text: "Brownout is stopping".into() });
        };
        let most = edge.max_connections.unwrap_or(self.connections);
        let shared = Arc::new(EdgeShared::new(id, edge.clone(), self.epoch, workers.count(), most));
        workers.open(&shared, &address).map_err(fail)?;
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
        if on.is_empty() {
            return Err(Refusal::Invalid(format!("fault `{}` is on no edge", rule.name)));
        }
        let protocols: Vec<Protocol> = on.iter().map(|edge| edge.protocol).collect();
        let edges = on.iter().map(|edge| edge.name.clone()).collect();
        let totals = state.totals.entry(rule.name.clone()).or_default().clone();
        let compiled =
            Compiled::new(&rule, self.seed, &protocols, scale, totals).map_err(Refusal::Invalid)?;
        let since = self.now();
        state.by_hand.remove(&rule.name);
        state.entries.push(Entry {
            edges,
            owner,
            compiled: Arc::new(compiled),
            since,
            ends: life.map(|life| since + life),
            scale: if scale > 0.0 { scale } else { 1.0 },
            arming: 0,
            live: None,
            on: false,
            rule,
        });
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
        lock(&self.state).halted = false;
    }

    /// Whether the kill switch is on.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        lock(&self.state).halted
    }

    /// Takes entries out and publishes plans without them: those who are held are let go.
    fn remove(&self, state: &mut State, why: &'static str, which: impl Fn(&Entry) -> bool) {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.entries).into_iter().partition(which);
        state.entries = kept;
        let mut touched = HashSet::new();
        let mut healed = Vec::new();
        for entry in gone {
            if let Some(live) = &entry.live {
                live.heal();
            }
            if entry.on {
                touched.extend(entry.edges.iter().cloned());
                healed.push(entry.compiled.clone());
            }
            if why == "hand" {
                state.by_hand.insert(entry.rule.name.clone());
            }
        }
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

    /// Reads the clocks of all armed faults, switches what has to be switched, and tells when to look again.
    fn refresh(&self, state: &mut State) -> Option<Duration> {
        let now = self.now();
        if state.entries.iter().any(|entry| entry.ends.is_some_and(|ends| ends <= now)) {
            let run = |entry: &Entry| entry.owner == Owner::Run && entry.ends.is_some_and(|ends| ends <= now);
            self.remove(state, "end", run);
            self.remove(state, "ttl", |entry| entry.ends.is_some_and(|ends| ends <= now));
        }
        let mut touched = HashSet::new();
        let mut next: Option<Duration> = None;
        let mut later = |at: Duration| next = Some(next.map_or(at, |next| next.min(at)));
        let (mut armed, mut healed) = (Vec::new(), Vec::new());
        for entry in &mut state.entries {
            let elapsed = now.saturating_sub(entry.since).div_f64(entry.scale);
            let reading = timeline::read(&entry.rule.when, elapsed);
            if let Some(at) = reading.next {
                later(entry.since + at.mul_f64(entry.scale));
            }
            if let Some(ends) = entry.ends {
                later(ends);
            }
            let anew = entry.live.is_none() || reading.arming != entry.arming;
            if reading.on == entry.on && !(reading.on && anew) {
                continue;
            }
            touched.extend(entry.edges.iter().cloned());
            if entry.on
                && let Some(live) = &entry.live
            {
                live.heal();
                healed.push(entry.compiled.clone());
            }
            if reading.on {
                match &entry.live {
                    Some(live) if !anew => live.resume(),
                    _ => entry.live = Some(Arc::new(Armed::new(entry.compiled.clone(), now))),
                }
                armed.push((entry.rule.name.clone(), entry.edges.clone(), entry.owner));
            }
            entry.arming = reading.arming;
            entry.on = reading.on;
        }
        publish(state, &touched);
        for compiled in healed {
            self.tell_healed(&compiled, "schedule");
        }
        for (fault, edges, owner) in armed {
            self.telemetry.fault_active(&fault, true);
            let edges = state
                .edges
                .iter()
                .filter(|(edge, _)| edges.contains(&edge.config.name))
                .map(|(edge, _)| edge.id.0)
                .collect();
            self.telemetry.publish(Event::Armed { fault, edges, owner: owner.as_str().to_owned() });
        }
        next
    }

    /// All faults: armed ones, and those of the file that are not.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultStatus> {
        let state = lock(&self.state);
        let now = self.now();
        let names = |rule: &FaultRule| {
            let edge = |place: &usize| state.edges.get(*place).map(|(edge, _)| edge.config.name.to_string());
            rule.edges.iter().filter_map(edge).collect()
        };
        let status = |rule: &FaultRule, entry: Option<&Entry>| {
            let (matched, selected, hits) =
                state.totals.get(&rule.name).map(|totals| totals.counts()).unwrap_or_default();
            FaultStatus {
                name: rule.name.to_string(),
                edges: entry
                    .map_or_else(|| names(rule), |entry| entry.edges.iter().map(Name::to_string).collect()),
                owner: entry.map_or("none", |entry| entry.owner.as_str()).to_owned(),
                armed: entry.is_some(),
                active: entry.is_some_and(|entry| entry.on),
                actions: rule.actions.iter().map(|action| action.as_apply().action().to_owned()).collect(),
                matched,
                selected,
                hits,
                ends_in: entry
                    .and_then(|entry| entry.ends)
                    .map(|ends| ends.saturating_sub(now).as_secs_f64()),
            }
        };
        let entry_of = |rule: &FaultRule| state.entries.iter().find(|entry| entry.rule.name == rule.name);
        let known = state.known.iter().map(|rule| status(rule, entry_of(rule)));
        let others =
            state.entries.iter().filter(|entry| !state.known.iter().any(|rule| rule.name == entry.rule.name));
        known.chain(others.map(|entry| status(&entry.rule, Some(entry)))).collect()
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeStatus> {
        let state = lock(&self.state);
        state
            .edges
            .iter()
            .map(|(edge, address)| EdgeStatus {
                name: edge.config.name.to_string(),
                listen: address.at(),
                protocol: edge.config.protocol,
                upstreams: edge.config.upstreams.iter().map(crate::model::Upstream::authority).collect(),
                from: edge.config.from.clone(),
                to: edge.config.to.clone(),
            })
            .collect()
    }

    /// Exchanges that begin from now on belong to this phase.
    pub fn enter(&self, phase: Phase) {
        self.telemetry.set_phase(phase);
    }

    /// Whether every listener is bound, and Brownout is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = lock(&self.state);
        !state.edges.is_empty() && !state.stopped
    }

    /// Takes another file in place of the one in force: edges and faults that did not change stay as they are (also their ttl
    /// and ordinals), nothing that was healed by hand is armed again.
    ///
    /// # Errors
    /// When an edge cannot be opened; then the old ones stay.
    pub fn reload(
        &self,
        edges: &[Edge],
        rules: &[FaultRule],
        life: impl Fn(&FaultRule) -> Option<Duration>,
    ) -> Result<Reloaded, StartError> {
        let mut done = Reloaded::default();
        let old: Vec<(Arc<EdgeShared>, Arc<Address>)> = lock(&self.state).edges.clone();
        let same = |a: &Edge, b: &Edge| {
            format!("{:?}", Edge { line: 0, ..a.clone() }) == format!("{:?}", Edge { line: 0, ..b.clone() })
        };
        let kept = |edge: &Edge| old.iter().find(|(known, _)| same(&known.config, edge));
        let mut fresh = Vec::new();
        for edge in edges.iter().filter(|edge| kept(edge).is_none()) {
            // the address is taken over, if it was ours: no moment without a listener
            let ours =
                old.iter().find(|(known, _)| known.config.listen == edge.listen && edge.listen.port() != 0);
            let by_name = old
                .iter()
                .find(|(known, _)| known.config.name == edge.name && known.config.listen == edge.listen);
            if let Err(error) = self.open(edge, by_name.or(ours).map(|(_, address)| address.clone())) {
                let mut state = lock(&self.state);
                for (edge, _) in state.edges.split_off(old.len()) {
                    if let Some(workers) = lock(&self.workers).as_ref() {
                        workers.close(&edge);
                    }
                }
                return Err(error);
            }
            done.opened.push(edge.name.to_string());
            fresh.push(edge.name.clone());
        }
        let mut state = lock(&self.state);
        let opened = state.edges.split_off(old.len());
        state.edges = edges
            .iter()
            .filter_map(|edge| {
                kept(edge)
                    .cloned()
                    .or_else(|| opened.iter().find(|(new, _)| new.config.name == edge.name).cloned())
            })
            .collect();
        for (edge, _) in old.iter().filter(|(old, _)| !edges.iter().any(|edge| same(&old.config, edge))) {
            if let Some(workers) = lock(&self.workers).as_ref() {
                workers.close(edge);
            }
            if !fresh.contains(&edge.config.name) {
                done.closed.push(edge.config.name.to_string());
            }
        }
        let names: Vec<Name> = edges.iter().map(|edge| edge.name.clone()).collect();
        let unchanged = |entry: &Entry| {
            rules.iter().any(|rule| {
                let on: Vec<_> = rule.edges.iter().filter_map(|place| names.get(*place).cloned()).collect();
                rule.armed && on == entry.edges && same_rule(rule, &entry.rule)
            })
        };
        let stays = |entry: &Entry| match entry.owner {
            Owner::File => unchanged(entry),
            Owner::Run | Owner::Hand => entry.edges.iter().any(|edge| names.contains(edge)),
        };
        done.healed = state
            .entries
            .iter()
            .filter(|entry| !stays(entry))
            .map(|entry| entry.rule.name.to_string())
            .collect();
        self.remove(&mut state, "reload", |entry| !stays(entry));
        state.known = rules.to_vec();
        for rule in rules.iter().filter(|rule| rule.armed) {
            let spared = state.halted || state.by_hand.contains(&rule.name);
            if spared || state.entries.iter().any(|entry| entry.rule.name == rule.name) {
                continue;
            }
            match self.arm_in(&mut state, rule.clone(), Owner::File, life(rule), 1.0) {
                Ok(()) => done.armed.push(rule.name.to_string()),
                Err(refusal) => tracing::warn!("fault `{}` is not armed: {refusal}", rule.name),
            }
        }
        let all: HashSet<Name> = names.into_iter().collect();
        self.refresh(&mut state);
        publish(&state, &all);
        self.changed.notify_all();
        Ok(done)
    }

    /// Heals everything, stops accepting, lets what is under way end. Whether all of it did within `grace`.
    pub fn stop(&self, grace: Duration) -> bool {
        {
            let mut state = lock(&self.state);
            self.remove(&mut state, "end", |_| true);
            state.stopped = true;
        }
        self.changed.notify_all();
        let workers = lock(&self.workers).take();
        workers.is_none_or(|workers| workers.drain(grace))
    }
}

/// Publishes the plan of each of these edges anew: its faults in file order, those by hand behind them.
fn publish(state: &State, touched: &HashSet<Name>) {
    let place = |entry: &Entry| {
        state.known.iter().position(|rule| rule.name == entry.rule.name).unwrap_or(usize::MAX)
    };
    let mut entries: Vec<&Entry> = state.entries.iter().filter(|entry| entry.on).collect();
    entries.sort_by_key(|entry| place(entry));
    for (edge, _) in state.edges.iter().filter(|(edge, _)| touched.contains(&edge.config.name)) {
        let on = entries.iter().filter(|entry| entry.edges.contains(&edge.config.name));
        edge.slot.publish(Plan::new(on.filter_map(|entry| entry.live.clone()).collect()));
    }
}

/// Whether two rules say the same, wherever they stand in their files.
fn same_rule(a: &FaultRule, b: &FaultRule) -> bool {
    let plain = |rule: &FaultRule| format!("{:?}", FaultRule { line: 0, edges: Vec::new(), ..rule.clone() });
    plain(a) == plain(b)
}

/// The clock of armed faults.
fn keep(control: &Weak<Control>) {
    loop {
        let Some(control) = control.upgrade() else { return };
        let mut state = lock(&control.state);
        if state.stopped {
            return;
        }
        let next = control.refresh(&mut state);
        // looks at least now and then, so that a control that nobody has any more is let go
        let longest = Duration::from_secs(1);
        let wait = next.map_or(longest, |next| next.saturating_sub(control.now()).min(longest));
        let waited = control.changed.wait_timeout(state, wait);
        drop(waited);
    }
}

/// Connections of callers that an edge takes if neither the file nor the system says less.
const CONNECTIONS: u32 = 10_000;

/// Raises the limit of descriptors, and tells how many connections an edge takes whose file does not say: two descriptors
/// each. Refuses what was asked for and cannot be.
fn share_descriptors(edges: &[Edge]) -> Result<u32, StartError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let asked: u64 = edges.iter().filter_map(|edge| edge.max_connections).map(u64::from).sum();
    let needed = 2 * asked + 64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(CONNECTIONS) };
    if soft < hard {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    if hard < needed {
        return Err(StartError {
            line: 0,
            text: format!(
                "{asked} connections need {needed} descriptors, and the system allows {hard}: `ulimit -n {needed}`, or lower `max_connections`"
            ),
        });
    }
    let open = edges.iter().filter(|edge| edge.max_connections.is_none()).count().max(1) as u64;
    let share = hard.saturating_sub(needed) / 2 / open;
    Ok(u32::try_from(share).unwrap_or(u32::MAX).clamp(16, CONNECTIONS))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
