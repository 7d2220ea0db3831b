//! The stage on which runs take place: edges, control, telemetry, admin address and journal, brought up together.

use super::door::opens_the_door;
use super::owing::Owing;
use super::run::{Admin, Setting, StartError};
use super::signals;
use super::supervision;
use crate::api::{self, AdminConfig, AdminHandle, AdminState, Course};
use crate::control::{Control, EdgeStatus, Owner, Refusal};
use crate::model::{Ask, Edge, Experiment, FaultRule, FaultSource, On, Phase, Service, Ttl, parse_fault_on};
use crate::report::Exit;
use crate::run::Stage;
use crate::run::services;
use crate::run::stage::{Answer, url, urls};
use crate::supervise::{Debt, Failure, Ledger, Supervisor};
use crate::telemetry::{Event, Journal, Stamped, Telemetry};
use crate::units::Name;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Where the admin address is if nobody says.
pub const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8475);

/// How often the halt file is looked for.
const HALT_BEAT: Duration = Duration::from_millis(50);

/// The folder in which a file `halt` heals everything, where no flag says.
#[must_use]
pub fn state_folder() -> std::path::PathBuf {
    std::env::var_os("BROWNOUT_STATE")
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| ".brownout".into())
        .into()
}

/// How long what is under way has at the end.
const GRACE: Duration = Duration::from_secs(10);

/// Everything that stands while Brownout proxies.
#[derive(Debug)]
pub struct Standing {
    /// Who arms and heals.
    pub control: Arc<Control>,
    /// What happens.
    pub telemetry: Arc<Telemetry>,
    /// The admin address, if there is one.
    pub admin: Option<SocketAddr>,
    handle: Mutex<Option<AdminHandle>>,
    journal: Mutex<Option<Journal>>,
    owing: Owing,
    supervisor: OnceLock<Supervisor>,
    /// It has put everything down.
    down: Arc<AtomicBool>,
    experiment: Name,
    seed_of_run: u64,
}

/// How many workers: one for each processor.
#[must_use]
pub fn workers() -> usize {
    std::env::var("BROWNOUT_WORKERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
}

/// Opens edges and the admin address.
///
/// # Errors
/// When an address is taken: exit code 5.
pub fn stand(
    experiment: &Experiment,
    seed: u64,
    admin: Admin,
    hosts: Vec<String>,
    state_folder: &Path,
    course: Course,
) -> Result<Standing, StartError> {
    let Experiment { edges, faults: rules, services, .. } = experiment;
    let environment = |text: String| StartError { exit: Exit::Environment, text };
    let listen = match admin {
        Admin::None => None,
        Admin::Default => Some(ADMIN),
        Admin::At(address) => Some(address),
    };
    if let Some(text) = listen.and_then(|listen| opens_the_door(edges, listen)) {
        return Err(StartError { exit: Exit::Usage, text });
    }
    let telemetry = Telemetry::new();
    telemetry.hide(experiment.secrets());
    let control =
        Control::start(edges, workers(), seed, telemetry.clone()).map_err(|error| environment(error.text))?;
    control.know(rules);
    let ttls: Vec<(String, Option<Ttl>)> =
        rules.iter().map(|rule| (rule.name.to_string(), rule.ttl)).collect();
    let state = Arc::new(AdminState {
        experiment: Mutex::new(Some(experiment.name.to_string())),
        parse_fault: {
            let services = services.clone();
            Box::new(move |table, edges| by_hand(&table, edges, &services))
        },
        ttl_of: Box::new(move |name| ttls.iter().find(|(known, _)| known == name).and_then(|(_, ttl)| *ttl)),
        course,
    });
    let open = |listen: SocketAddr| {
        let token = std::env::var("BROWNOUT_TOKEN").ok().filter(|token| !token.is_empty());
        let config = AdminConfig { listen, hosts: hosts.clone(), token };
        api::start(config, control.clone(), telemetry.clone(), state.clone())
    };
    let handle = match listen.map(|listen| (listen, open(listen))) {
        None => None,
        Some((_, Ok(handle))) => Some(handle),
        // two runs beside each other: the second takes any port, unless it was told one
        Some((_, Err(error))) if admin == Admin::Default && error.kind() == std::io::ErrorKind::AddrInUse => {
            open(SocketAddr::new(ADMIN.ip(), 0)).ok()
        }
        Some((listen, Err(error))) => {
            control.stop(Duration::ZERO);
            return Err(environment(format!("the admin address {listen} cannot be opened: {error}")));
        }
    };
    Ok(Standing {
        admin: handle.as_ref().map(AdminHandle::addr),
        handle: Mutex::new(handle),
        journal: Mutex::new(None),
        owing: Owing::new(state_folder.to_owned()),
        supervisor: OnceLock::new(),
        down: Arc::default(),
        experiment: experiment.name.clone(),
        seed_of_run: seed,
        control,
        telemetry,
    })
}

/// Brings up what a run needs.
///
/// # Errors
/// When an address is taken or the journal cannot be written: exit code 5.
pub fn bring_up(experiment: &Experiment, setting: &Setting) -> Result<Standing, StartError> {
    let course = Course::Run(Box::new(experiment.clone()));
    let standing = stand(experiment, setting.seed, setting.admin, Vec::new(), &setting.state, course)?;
    for guardrail in &experiment.guardrails {
        standing.telemetry.guardrail_known(&guardrail.name);
    }
    let path = setting.folder.join("journal.jsonl");
    let opened = match Journal::create(&path, &standing.telemetry) {
        Ok(journal) => {
            *lock(&standing.journal) = Some(journal);
            let probe = experiment
                .expects
                .iter()
                .any(|one| matches!(&one.on, On::Probe(probe) if matches!(probe.ask, Ask::Command(_))));
            let commands = setting.command.as_deref().into_iter().map(|name| format!("the command `{name}`"));
            let what: Vec<String> = commands.chain(probe.then(|| "commands of probes".into())).collect();
            if what.is_empty() { Ok(()) } else { standing.owes(what.join(" and ")) }
        }
        Err(error) => Err(format!("the journal {} cannot be written: {error}", path.display())),
    };
    let supervised = opened
        .map_err(|text| StartError { exit: Exit::Environment, text })
        .and_then(|()| standing.supervise(experiment, experiment.run.time_scale));
    if let Err(error) = supervised {
        let _ = standing.close();
        return Err(error);
    }
    standing.listen_to_the_kill_switch(&setting.state);
    standing.telemetry.start_clock();
    Ok(standing)
}

impl Standing {
    /// The undo ledger, which is opened if need be, with its keeper: what must be put back is owed here before it is done.
    ///
    /// # Errors
    /// When the state folder cannot be written.
    pub fn ledger(&self) -> std::io::Result<Arc<Ledger>> {
        self.owing.ledger()
    }

    /// Gives the services of an experiment a supervisor, if it has any. None of them is started by this. `scale` stretches
    /// their restart delays.
    ///
    /// # Errors
    /// When the state folder cannot be written, or an edge that is named does not exist.
    pub fn supervise(&self, experiment: &Experiment, scale: f64) -> Result<(), StartError> {
        if !services::needs(experiment).any {
            return Ok(());
        }
        let ledger = self.ledger().map_err(|error| StartError {
            exit: Exit::Environment,
            text: format!("the undo ledger cannot be written: {error}: take another folder with `--state`"),
        })?;
        let edges = urls(experiment, &self.edges());
        let supervisor =
            supervision::start(experiment, scale, &edges, &self.control, &self.telemetry, ledger)?;
        let _ = self.supervisor.set(supervisor);
        Ok(())
    }

    /// A fault as it can be armed: what it says of edges is filled in.
    ///
    /// # Errors
    /// When it names an edge that does not exist.
    pub fn filled(&self, rule: &FaultRule) -> Result<FaultRule, Refusal> {
        services::filled(rule, &addresses(&self.control.edges())).map_err(Refusal::Invalid)
    }

    /// Commands are about to be started.
    fn owes(&self, what: String) -> Result<(), String> {
        let debt = Debt::End { what };
        let owed = self.ledger().and_then(|ledger| ledger.owe(debt));
        owed.map(drop).map_err(|error| {
            format!("the undo ledger cannot be written: {error}: take another folder with `--state`")
        })
    }

    /// Heals everything for good, stops accepting, and lets what is under way end. It blocks.
    pub fn stop(&self) {
        self.control.stop(GRACE);
    }

    /// What has failed on services since this was last asked.
    pub async fn failures(&self) -> Vec<Failure> {
        match self.supervisor.get() {
            Some(supervisor) => supervisor.failures().await,
            None => Vec::new(),
        }
    }

    /// The supervisor of the services has died.
    pub fn is_unsupervised(&self) -> bool {
        self.supervisor.get().is_some_and(Supervisor::is_gone)
    }

    /// Whether edges like these may be opened here.
    ///
    /// # Errors
    /// When one leads to the admin address.
    pub fn may_lead_to(&self, edges: &[Edge]) -> Result<(), String> {
        self.admin.and_then(|admin| opens_the_door(edges, admin)).map_or(Ok(()), Err)
    }

    /// SIGUSR1 heals everything, and so does the file `halt` in the state folder. Where nobody gives signals, there is still
    /// the API.
    fn listen_to_the_kill_switch(&self, state: &Path) {
        self.control.watch_halt_file(state.join("halt"));
        let Ok(mut switch) = signals::halt() else { return };
        let control = Arc::downgrade(&self.control);
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(HALT_BEAT);
            loop {
                let told = tokio::select! {
                    told = switch.recv() => told.is_some(),
                    _ = beat.tick() => false,
                };
                let Some(control) = control.upgrade() else { return };
                if told || control.halts_by_file().is_some() {
                    control.halt();
                }
            }
        });
    }

    /// The seed in force.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed_of_run
    }
}

impl Stage for Standing {
    fn arm(&self, rule: &FaultRule, life: Duration, scale: f64) -> Result<(), Refusal> {
        self.control.arm(self.filled(rule)?, Owner::Run, Some(life), scale)
    }

    fn heal_all(&self, why: &'static str) {
        self.control.heal_all(Some(Owner::Run), why);
    }

    fn enter(&self, phase: Phase) {
        self.control.enter(phase);
        self.telemetry.phase_gauge(&self.experiment, phase);
    }

    fn publish(&self, event: Event) {
        if let Event::Guardrail { name, .. } = &event {
            self.telemetry.guardrail_tripped(name);
        }
        self.telemetry.publish(event);
    }

    fn flush(&self) {
        self.telemetry.flush();
    }

    fn now(&self) -> f64 {
        self.telemetry.now()
    }

    fn subscribe(&self) -> Receiver<Arc<Stamped>> {
        self.telemetry.subscribe()
    }

    fn edges(&self) -> Vec<SocketAddr> {
        self.control.edges().into_iter().map(|edge| edge.listen).collect()
    }

    fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    fn met(&self, expectation: &Name, met: Option<bool>) {
        self.telemetry.expectation_met(expectation, met);
    }

    fn bring_up(&self) -> Answer<Result<(), Failure>> {
        match self.supervisor.get().cloned() {
            Some(supervisor) => Box::pin(async move { supervisor.bring_up().await }),
            None => Box::pin(async { Ok(()) }),
        }
    }

    fn settled(&self) -> Answer<Vec<Failure>> {
        match self.supervisor.get().cloned() {
            Some(supervisor) => Box::pin(async move { supervisor.settle().await }),
            None => Box::pin(async { Vec::new() }),
        }
    }

    fn put_down(&self) -> Answer<Vec<Failure>> {
        match self.supervisor.get().cloned() {
            Some(supervisor) => {
                let down = Arc::clone(&self.down);
                Box::pin(async move {
                    let failures = supervisor.put_down().await;
                    down.store(true, Ordering::Relaxed);
                    failures
                })
            }
            None => Box::pin(async { Vec::new() }),
        }
    }

    fn marker(&self) -> Option<(String, String)> {
        self.owing.opened().map(|ledger| {
            let (name, value) = ledger.marker();
            (name.to_owned(), value.to_owned())
        })
    }

    fn child(&self, pid: u32) {
        if let Some(ledger) = self.owing.opened() {
            ledger.child(pid);
        }
    }

    fn close(&self) -> Result<(), String> {
        self.stop();
        if let Some(handle) = lock(&self.handle).take() {
            handle.stop();
        }
        self.telemetry.stop();
        if let Some(journal) = lock(&self.journal).take()
            && let Err(error) = journal.finish()
        {
            tracing::warn!("the journal could not be finished: {error}");
        }
        // Whoever did not wait for services to be put down does not wait for it now.
        let down = self.down.load(Ordering::Relaxed) && !self.is_unsupervised();
        if self.supervisor.get().is_some() && !down && self.owing.leave() {
            return Ok(());
        }
        self.owing.close()
    }
}

#[cfg(test)]
impl Standing {
    /// Gives it a supervisor.
    pub(super) fn supervised_by(&self, supervisor: Supervisor) {
        let _ = self.supervisor.set(supervisor);
    }
}

/// The name of each edge, and how it is called now.
pub(super) fn addresses(edges: &[EdgeStatus]) -> Vec<(String, String)> {
    edges.iter().map(|edge| (edge.name.clone(), url(edge.protocol, edge.listen))).collect()
}

/// Reads a fault that is armed by hand.
fn by_hand(
    table: &serde_json::Value,
    edges: &[EdgeStatus],
    services: &[Service],
) -> Result<(FaultRule, Option<Ttl>), String> {
    let known: Vec<(String, crate::decision::Protocol)> =
        edges.iter().map(|edge| (edge.name.clone(), edge.protocol)).collect();
    let (rule, _) = parse_fault_on(FaultSource::Json(table), &known, services)
        .map_err(|problems| problems.render(false))?;
    let rule = services::filled(&rule, &addresses(edges))?;
    let ttl = rule.ttl;
    Ok((rule, ttl))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
