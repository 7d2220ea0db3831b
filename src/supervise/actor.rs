//! The supervisor's own thread: machines get what happens to their services, and what they ask for is carried out.
//!
//! All of it is one loop over orders, notes of tasks and the clock; nothing in it blocks. What was ordered and is not answered
//! yet is in `duty`. When the last handle is gone, everything is killed at once.

use super::child::{self, Exit};
use super::duty::Duties;
use super::env::{self, Vars};
use super::ledger::Ledger;
use super::life::{Command, Input, Tell};
use super::machine::Machine;
use super::note::Note;
use super::output::{self, Awaited, Said, Voice};
use super::ready::{Doubt, Look};
use super::unit::{Process, ServiceStatus, Unit};
use super::{Debt, Failure, Order, Plan, Supervisor, Watch};
use crate::model::{EnvSwap, ReadyCheck, SinceMoment};
use crate::telemetry::{Did, Event, StartReason, Telemetry};
use crate::units::Span;
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// Notes of tasks that wait to be read; whoever has more to say waits.
const NOTES: usize = 256;
/// How long the rest of the output of a process is waited for when it has ended.
const REST: Duration = Duration::from_millis(100);
/// How long what still blocks may take when the thread ends.
const LAST: Duration = Duration::from_secs(1);
/// What is slept when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What all can read of how the services are.
pub(super) type Board = Arc<Mutex<Vec<ServiceStatus>>>;

/// Starts a supervisor. Nothing of a service runs before it is told to bring them up.
///
/// # Errors
/// When the ledger cannot be written, or there is no thread to be had.
pub fn start(
    plans: Vec<Plan>,
    scale: f64,
    telemetry: Arc<Telemetry>,
    ledger: Arc<Ledger>,
    watch: Watch,
) -> io::Result<Supervisor> {
    let ours: Vec<&str> =
        plans.iter().filter(|plan| plan.service.is_ours()).map(|plan| plan.service.name.as_str()).collect();
    if !ours.is_empty() {
        ledger.owe(Debt::End { what: format!("services {}", ours.join(", ")) })?;
    }
    let names = plans.iter().map(|plan| plan.service.name.clone()).collect();
    let (supervisor, orders) = Supervisor::handle(names);
    let board = supervisor.board();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("supervisor".into()).spawn(move || {
        runtime.block_on(async {
            let units = plans.into_iter().map(|plan| Unit::new(plan, scale)).collect();
            let (notes, noted) = mpsc::channel(NOTES);
            let desk = Desk {
                units,
                queue: VecDeque::new(),
                began: Instant::now(),
                ours: std::env::vars_os().collect(),
                telemetry,
                ledger,
                watch,
                notes,
                board,
            };
            Actor { desk, duties: Duties::default() }.run(orders, noted).await;
        });
        runtime.shutdown_timeout(LAST);
    })?;
    Ok(supervisor.with_thread(thread))
}

/// What the actor works with.
pub(super) struct Desk {
    pub(super) units: Vec<Unit>,
    /// What machines are still to be told.
    pub(super) queue: VecDeque<(usize, Input)>,
    began: Instant,
    ours: Vars,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) ledger: Arc<Ledger>,
    watch: Watch,
    pub(super) notes: mpsc::Sender<Note>,
    board: Board,
}

struct Actor {
    desk: Desk,
    duties: Duties,
}

impl Actor {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, mut noted: mpsc::Receiver<Note>) {
        self.desk.post();
        loop {
            let due = self.desk.due().into_iter().chain(self.duties.due()).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.duties.take(order, &mut self.desk),
                    None => break,
                },
                Some(note) = noted.recv() => self.note(note),
                () = sleep_until(due) => self.desk.tick(),
            }
            self.pump();
        }
        // Whoever has something to tell must not wait for us.
        drop(noted);
        self.abandon().await;
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Ready { unit, incarnation } => {
                let Some(of) = self.desk.units.get_mut(unit) else { return };
                let runs = of.child.as_ref().is_some_and(|child| !child.group.has_ended());
                if of.incarnation == incarnation && runs {
                    // Why it was not ready before is of no interest any more.
                    of.doubt = Doubt::default();
                    self.desk.queue.push_back((unit, Input::Ready));
                }
            }
            Note::Exited { unit, incarnation, exit } => self.desk.exited(unit, incarnation, exit),
            Note::Hooked { id, done } => self.duties.hooked(id, done, &mut self.desk),
            Note::Unhooked { id, done } => self.duties.unhooked(id, done, &self.desk),
            Note::Ended(done) => self.duties.all_ended(done),
        }
    }

    /// Tells machines what there is to tell, until there is nothing more.
    fn pump(&mut self) {
        loop {
            while let Some((unit, input)) = self.desk.queue.pop_front() {
                let now = self.desk.now();
                let machine = self.desk.units.get_mut(unit).and_then(|unit| unit.machine.as_mut());
                let commands = machine.map(|machine| machine.handle(now, input)).unwrap_or_default();
                for command in commands {
                    self.carry_out(unit, command);
                }
            }
            // Whoever gets an answer finds the services as it says.
            self.desk.post();
            self.duties.go_on(&mut self.desk);
            if self.desk.queue.is_empty() {
                break;
            }
        }
    }

    fn carry_out(&mut self, unit: usize, command: Command) {
        match command {
            Command::Spawn { reason, swaps } => {
                let answer = match self.desk.spawn(unit, reason, &swaps) {
                    Ok(()) => Input::Spawned,
                    Err(why) => Input::SpawnFailed(why),
                };
                self.desk.queue.push_front((unit, answer));
            }
            Command::Signal(signal) => {
                if let Some(child) = self.desk.units.get(unit).and_then(|unit| unit.child.as_ref()) {
                    child.group.signal(signal);
                }
            }
            Command::Tell(Tell::Hit(id)) => self.duties.hit(id),
            Command::Tell(Tell::Answer(id, done)) => self.duties.answered(id, done, &mut self.desk),
            Command::Tell(Tell::Down) => self.duties.down(unit),
            Command::Tell(tell) => self.desk.tell(unit, tell),
        }
    }

    /// Nobody is there any more: everything ends at once, and hooks are undone.
    async fn abandon(&mut self) {
        for child in self.desk.units.iter().filter_map(|unit| unit.child.as_ref()) {
            child.group.signal(Signal::SIGKILL);
        }
        for failure in self.duties.hooks.undo_all(&self.desk.ledger).await {
            tracing::error!("{failure}");
        }
        let ledger = Arc::clone(&self.desk.ledger);
        let ended = tokio::task::spawn_blocking(move || ledger.end_all()).await;
        if let Ok(Err(left)) = ended {
            tracing::error!("{left}");
        }
    }
}

impl Desk {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn due(&self) -> Option<Instant> {
        let machines = self.units.iter().filter_map(|unit| unit.machine.as_ref());
        machines.filter_map(Machine::due).min().map(|due| self.began + due)
    }

    fn tick(&mut self) {
        let now = self.now();
        for (place, unit) in self.units.iter().enumerate() {
            if unit.machine.as_ref().and_then(Machine::due).is_some_and(|due| due <= now) {
                self.queue.push_back((place, Input::Tick));
            }
        }
    }

    /// Shows how all services are.
    fn post(&self) {
        let statuses = self.units.iter().map(Unit::status).collect();
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = statuses;
    }

    pub(super) fn publish(&self, unit: &Unit, did: Did) {
        let (service, incarnation) = (unit.service.name.clone(), unit.incarnation);
        self.telemetry.publish(Event::Service { service, incarnation, did });
    }

    fn exited(&mut self, place: usize, incarnation: u32, exit: Exit) {
        let Some(unit) = self.units.get_mut(place).filter(|unit| unit.incarnation == incarnation) else {
            return;
        };
        if let Some(looks) = unit.child.take().and_then(|child| child.looks) {
            looks.abort();
        }
        unit.drifted.clear();
        unit.last_exit = Some(match exit {
            Exit { code: Some(code), .. } => format!("it ended with exit code {code}"),
            Exit { signal: Some(signal), .. } => format!("it was ended by {signal}"),
            Exit { .. } => "it ended".into(),
        });
        self.queue.push_back((place, Input::Exited { code: exit.code, signal: exit.signal }));
    }

    /// Starts a process; how it failed, in words.
    fn spawn(&mut self, place: usize, reason: StartReason, swaps: &[EnvSwap]) -> Result<(), String> {
        let Some(unit) = self.units.get_mut(place) else { return Err("there is no such service".into()) };
        let service = Arc::clone(&unit.service);
        let vars = Arc::new(env::vars(&self.ours, &service, swaps));
        let hidden: Vec<_> = swaps.iter().flat_map(|swap| swap.set.clone()).collect();
        unit.voice.begin(&hidden, &service.show_env);
        unit.last_exit = None;
        let leader = child::start(&service, &service.command, &vars, true, &self.ledger);
        let leader = match leader {
            Ok(leader) => leader,
            Err(error) => {
                let program = service.command.first().map_or("", String::as_str);
                let text = format!("`{program}`: {error}");
                let unit = self.units.get(place);
                if let Some(unit) = unit {
                    self.publish(unit, Did::NotStarted { text: text.clone() });
                }
                return Err(text);
            }
        };
        unit.incarnation += 1;
        unit.drifted = env::drifted(&self.ours, &service, swaps);
        unit.doubt = Doubt::default();
        let (incarnation, group) = (unit.incarnation, Arc::clone(&leader.group));
        let ready = service.ready.as_ref().map(|ready| ready.check.clone());
        let awaited = match &ready {
            Some(ReadyCheck::Log(regex)) => {
                Some(Arc::new(Awaited { regex: regex.clone(), seen: Notify::new() }))
            }
            _ => None,
        };
        let look = Look {
            service: Arc::clone(&service),
            vars: Arc::clone(&vars),
            ledger: Arc::clone(&self.ledger),
            awaited: awaited.clone(),
            doubt: unit.doubt.clone(),
        };
        let looks = ready.map(|check| {
            let notes = self.notes.clone();
            let task = tokio::spawn(async move {
                look.until_ready(&check).await;
                let _ = notes.send(Note::Ready { unit: place, incarnation }).await;
            });
            task.abort_handle()
        });
        unit.child = Some(Process { group: Arc::clone(&group), looks });
        let (voice, expected) = (Arc::clone(&unit.voice), unit.expected.clone());
        if let Some(unit) = self.units.get(place) {
            let env = env::shown(&self.ours, &service, swaps);
            let holds = env::holds(&vars, &expected);
            self.publish(unit, Did::Started { pid: group.pid(), reason, env, holds });
        }
        self.attend(place, incarnation, leader, voice, awaited);
        (self.watch)(&service.name, SinceMoment::Start);
        Ok(())
    }

    /// Reads what a process writes, and waits for its end.
    fn attend(
        &self,
        unit: usize,
        incarnation: u32,
        leader: child::Leader,
        voice: Arc<Voice>,
        awaited: Option<Arc<Awaited>>,
    ) {
        let Some(name) = self.units.get(unit).map(|unit| unit.service.name.clone()) else { return };
        let telemetry = Arc::clone(&self.telemetry);
        let tell: output::Tell = Arc::new(move |said| {
            let did = match said {
                Said::Line { err, line } => Did::Log { err, line },
                Said::Unwritten { lines } => Did::Unwritten { lines },
            };
            telemetry.publish(Event::Service { service: name.clone(), incarnation, did });
        });
        let (stdout, stderr) = (leader.stdout.map(Into::into), leader.stderr.map(Into::into));
        let readers = [(stdout, false), (stderr, true)].into_iter().filter_map(|(fd, err)| {
            let from = tokio::net::unix::pipe::Receiver::from_owned_fd(fd?).ok()?;
            Some(tokio::spawn(output::listen(
                from,
                err,
                Arc::clone(&voice),
                awaited.clone(),
                Arc::clone(&tell),
            )))
        });
        let (readers, notes): (Vec<_>, _) = (readers.collect(), self.notes.clone());
        tokio::spawn(async move {
            let exit = leader.ended.await.unwrap_or_default();
            // What left its group may still hold the pipe.
            let rest = async {
                for reader in readers {
                    let _ = reader.await;
                }
            };
            let _ = timeout(REST, rest).await;
            if let Some(said) = voice.unwritten(true) {
                tell(said);
            }
            let _ = notes.send(Note::Exited { unit, incarnation, exit }).await;
        });
    }

    /// Publishes what happened.
    fn tell(&self, place: usize, tell: Tell) {
        let Some(unit) = self.units.get(place) else { return };
        let service = || unit.service.name.clone();
        match tell {
            Tell::Ready { after } => {
                self.publish(unit, Did::Ready { after: after.as_secs_f64() });
                (self.watch)(&unit.service.name, SinceMoment::Ready);
            }
            Tell::NotReady => {
                let within = unit.service.ready.as_ref().map(|ready| ready.within).unwrap_or_default();
                let text =
                    unit.explain(&format!("`{}` was not ready within {}", unit.service.name, Span(within)));
                self.publish(unit, Did::NotReady { text });
            }
            Tell::Exited { code, signal, cause } => {
                let signal = signal.map(|signal| signal.as_str().to_owned());
                self.publish(unit, Did::Exited { code, signal, cause });
            }
            Tell::Paused => self.publish(unit, Did::Paused),
            Tell::Resumed => self.publish(unit, Did::Resumed),
            Tell::Deed { fault, action, done, text } => {
                self.telemetry.publish(Event::Deed {
                    fault,
                    service: service(),
                    action: action.into(),
                    done,
                    text,
                });
            }
            Tell::Undone { fault, action, done, text } => {
                self.telemetry.publish(Event::Undone {
                    fault,
                    service: service(),
                    action: action.into(),
                    done,
                    text,
                });
            }
            // Those are the duties'.
            Tell::Hit(_) | Tell::Answer(..) | Tell::Down => {}
        }
    }

    /// A failure with all that is known of why.
    pub(super) fn explained(&self, unit: usize, failure: Failure) -> Failure {
        let text = self.units.get(unit).map(|unit| unit.explain(&failure.text));
        Failure { exit: failure.exit, text: text.unwrap_or(failure.text) }
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
