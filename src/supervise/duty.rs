//! What a supervisor was ordered to do and has not answered yet: bringing up, deeds, undoing them, settling, putting down.
//!
//! An order on several services is one duty on each, all at the same time; the deeds of one fault on one service come one after
//! the other. Hooks of one fault on one service never overlap. Knows nothing of processes.

use super::actor::Desk;
use super::hooks::Hooks;
use super::life::Input;
use super::note::Note;
use super::{Failure, Hit, Order, Pace};
use crate::model::Deed;
use crate::telemetry::Event;
use crate::units::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How long what was sent SIGKILL may take to end when everything is put down.
const LOST: Duration = Duration::from_secs(20);
/// Failures that wait for somebody to ask; of more, the newest.
const FAILURES: usize = 100;

/// Orders under way.
#[derive(Default)]
pub(super) struct Duties {
    last: u64,
    /// What is not answered, by number, with the number of its order.
    open: BTreeMap<u64, (u64, Duty)>,
    jobs: BTreeMap<u64, Job>,
    /// Deeds that can be hit, and whose they are.
    hits: BTreeMap<u64, u64>,
    pub(super) hooks: Hooks,
    /// Faults that did something to a service, and to which.
    struck: BTreeSet<(Name, usize)>,
    failures: VecDeque<Failure>,
    settles: Vec<(u64, oneshot::Sender<Vec<Failure>>)>,
    bring: Option<Bring>,
    put: Option<Put>,
    /// Everything was told to be put down: nothing is applied any more.
    closed: bool,
}

/// One thing that must be answered.
#[derive(Clone, Debug)]
enum Duty {
    Start(usize),
    Deed { job: u64, unit: usize },
    Hook { job: u64, fault: Name, unit: usize },
    Undo(usize),
    Unhook { fault: Name, unit: usize },
}

/// The deeds of a fault on one service, one after the other.
struct Job {
    order: u64,
    unit: usize,
    fault: Name,
    deeds: Arc<[Deed]>,
    pace: Pace,
    next: usize,
    hit: Hit,
    hits: usize,
}

/// All services are being started.
struct Bring {
    answer: oneshot::Sender<Result<(), Failure>>,
    begun: BTreeSet<usize>,
    ready: BTreeSet<usize>,
}

/// All services are being stopped.
struct Put {
    answers: Vec<oneshot::Sender<Vec<Failure>>>,
    /// Told to stop, and given up at this time.
    begun: BTreeMap<usize, Instant>,
    down: BTreeSet<usize>,
    ending: bool,
}

impl Duties {
    pub(super) fn take(&mut self, order: Order, desk: &mut Desk) {
        let number = self.number();
        match order {
            Order::BringUp(answer) => {
                self.bring = Some(Bring { answer, begun: BTreeSet::new(), ready: BTreeSet::new() });
            }
            // A schedule may have a turn while everything is put down.
            Order::Apply { .. } if self.closed => {}
            Order::Apply { fault, services, deeds, pace, hit } => {
                for service in services {
                    let Some(unit) = place(&service, desk) else {
                        let text = format!(
                            "there is no service `{service}` that fault `{fault}` could be applied to"
                        );
                        self.failed(Failure { exit: 70, text });
                        continue;
                    };
                    if desk.units.get(unit).is_some_and(|unit| unit.service.skipped.is_some()) {
                        continue;
                    }
                    self.struck.insert((fault.clone(), unit));
                    let (fault, deeds, hit) = (fault.clone(), Arc::clone(&deeds), Arc::clone(&hit));
                    let job = self.number();
                    self.jobs
                        .insert(job, Job { order: number, unit, fault, deeds, pace, next: 0, hit, hits: 0 });
                    self.advance(job, desk);
                }
            }
            Order::Undo { fault } => self.undo(number, &fault, desk),
            Order::Settle(answer) => self.settles.push((number, answer)),
            Order::Failures(answer) => self.hand_over(answer),
            Order::PutDown(answer) => self.put_down(number, answer, desk),
        }
    }

    fn failed(&mut self, failure: Failure) {
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(failure);
    }

    /// Hands the failures over; they stay if nobody is there any more.
    fn hand_over(&mut self, to: oneshot::Sender<Vec<Failure>>) {
        if let Err(untold) = to.send(std::mem::take(&mut self.failures).into()) {
            self.failures = untold.into();
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn open(&mut self, order: u64, duty: Duty) -> u64 {
        let id = self.number();
        self.open.insert(id, (order, duty));
        id
    }

    /// Begins the next deed of a job.
    fn advance(&mut self, number: u64, desk: &mut Desk) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let (unit, order, fault, pace) = (job.unit, job.order, job.fault.clone(), job.pace);
        let Some(deed) = job.deeds.get(job.next).cloned() else { return };
        job.next += 1;
        if let Deed::Hook(hook) = deed {
            let id = self.open(order, Duty::Hook { job: number, fault: fault.clone(), unit });
            self.hits.insert(id, number);
            self.hooks.apply(id, fault, unit, hook, desk);
        } else if desk.units.get(unit).is_some_and(|unit| unit.machine.is_some()) {
            let id = self.open(order, Duty::Deed { job: number, unit });
            self.hits.insert(id, number);
            desk.queue.push_back((unit, Input::Apply { id, fault, deed, pace }));
        } else {
            let text = "Brownout does not run it: give it a `command`, or use `hook`".to_owned();
            self.failed(Failure { exit: 1, text: format!("{}: {text}", about(&fault, unit, desk)) });
            publish(desk, &fault, unit, deed.action(), Happened::Deed, Err(text));
            self.jobs.remove(&number);
        }
    }

    fn undo(&mut self, order: u64, fault: &Name, desk: &mut Desk) {
        self.jobs.retain(|_, job| job.fault != *fault);
        self.hits.retain(|_, job| self.jobs.contains_key(job));
        let (over, kept): (BTreeSet<_>, _) =
            std::mem::take(&mut self.struck).into_iter().partition(|(of, _)| of == fault);
        self.struck = kept;
        for (fault, unit) in over {
            if self.hooks.has(&fault, unit) {
                let id = self.open(order, Duty::Unhook { fault: fault.clone(), unit });
                self.hooks.undo(id, fault.clone(), unit, desk);
            }
            if desk.units.get(unit).is_some_and(|unit| unit.machine.is_some()) {
                let id = self.open(order, Duty::Undo(unit));
                desk.queue.push_back((unit, Input::Undo { id, fault }));
            }
        }
    }

    fn put_down(&mut self, order: u64, answer: oneshot::Sender<Vec<Failure>>, desk: &mut Desk) {
        self.closed = true;
        if let Some(put) = &mut self.put {
            put.answers.push(answer);
            return;
        }
        self.jobs.clear();
        self.hits.clear();
        for (fault, unit) in std::mem::take(&mut self.struck) {
            if self.hooks.has(&fault, unit) {
                let id = self.open(order, Duty::Unhook { fault: fault.clone(), unit });
                self.hooks.undo(id, fault, unit, desk);
            }
        }
        let (begun, down) = (BTreeMap::new(), BTreeSet::new());
        self.put = Some(Put { answers: vec![answer], begun, down, ending: false });
    }

    /// What was asked for was verified.
    pub(super) fn hit(&mut self, id: u64) {
        let Some(number) = self.hits.remove(&id) else { return };
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.hits += 1;
        if job.hits == job.deeds.len() {
            (job.hit)();
            self.jobs.remove(&number);
        }
    }

    /// A machine has answered.
    pub(super) fn answered(&mut self, id: u64, done: Result<(), Failure>, desk: &mut Desk) {
        let Some((_, duty)) = self.open.remove(&id) else { return };
        match (duty, done) {
            (Duty::Start(unit), Ok(())) => {
                if let Some(bring) = &mut self.bring {
                    bring.ready.insert(unit);
                }
            }
            (Duty::Start(unit), Err(failure)) => {
                if let Some(bring) = self.bring.take() {
                    let _ = bring.answer.send(Err(desk.explained(unit, failure)));
                }
            }
            (Duty::Deed { job, .. }, Ok(())) => self.advance(job, desk),
            (Duty::Deed { job, unit }, Err(failure)) => {
                self.failed(desk.explained(unit, failure));
                self.jobs.remove(&job);
                self.hits.retain(|_, of| *of != job);
            }
            (Duty::Undo(unit), Err(failure)) => self.failed(desk.explained(unit, failure)),
            (Duty::Undo(_) | Duty::Hook { .. } | Duty::Unhook { .. }, _) => {}
        }
    }

    /// A hook was applied, or could not be.
    pub(super) fn hooked(&mut self, id: u64, done: Result<(), String>, desk: &mut Desk) {
        let Some((_, Duty::Hook { job, fault, unit })) = self.open.remove(&id) else { return };
        publish(desk, &fault, unit, "hook", Happened::Deed, done.clone());
        match done {
            Ok(()) => {
                self.hit(id);
                self.advance(job, desk);
            }
            Err(text) => {
                self.failed(Failure { exit: 5, text });
                self.jobs.remove(&job);
                self.hits.retain(|_, of| *of != job);
            }
        }
    }

    /// The hooks of a fault were undone, or could not be.
    pub(super) fn unhooked(&mut self, id: u64, done: Result<bool, String>, desk: &Desk) {
        let Some((_, Duty::Unhook { fault, unit })) = self.open.remove(&id) else { return };
        if done != Ok(false) {
            publish(desk, &fault, unit, "hook", Happened::Undone, done.clone().map(drop));
        }
        if let Err(text) = done {
            self.failed(Failure { exit: 7, text });
        }
    }

    /// A service has ended for good.
    pub(super) fn down(&mut self, unit: usize) {
        if let Some(put) = &mut self.put {
            put.down.insert(unit);
        }
    }

    /// Nothing of ours runs any more, or it cannot be ended.
    pub(super) fn all_ended(&mut self, done: Result<usize, String>) {
        if let Err(text) = done {
            self.failed(Failure { exit: 7, text });
        }
        let Some(put) = self.put.take() else { return };
        let failures: Vec<Failure> = std::mem::take(&mut self.failures).into();
        for answer in put.answers {
            let _ = answer.send(failures.clone());
        }
    }

    /// When it wants to go on, whatever happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let put = self.put.as_ref().filter(|put| !put.ending)?;
        put.begun.iter().filter(|(unit, _)| !put.down.contains(unit)).map(|(_, limit)| *limit).min()
    }

    /// Does what has become possible.
    pub(super) fn go_on(&mut self, desk: &mut Desk) {
        self.go_on_up(desk);
        self.go_on_down(desk);
        let open = |mark: u64| {
            self.open.values().any(|(order, duty)| *order <= mark && !matches!(duty, Duty::Start(_)))
        };
        let (done, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.settles).into_iter().partition(|(mark, _)| !open(*mark));
        self.settles = waiting;
        for (_, answer) in done {
            self.hand_over(answer);
        }
    }

    fn go_on_up(&mut self, desk: &mut Desk) {
        let Some(bring) = &mut self.bring else { return };
        let ours: BTreeSet<usize> = ours(desk).collect();
        let can = |unit: &usize| {
            let after = desk.units.get(*unit).map(|unit| unit.service.after.as_slice()).unwrap_or_default();
            !bring.begun.contains(unit)
                && after.iter().all(|other| !ours.contains(other) || bring.ready.contains(other))
        };
        let next: Vec<usize> = ours.iter().copied().filter(can).collect();
        bring.begun.extend(&next);
        let stuck = next.is_empty() && bring.ready.len() == bring.begun.len();
        let all = bring.ready.len() == ours.len();
        for unit in next {
            let id = self.open(self.last, Duty::Start(unit));
            desk.queue.push_back((unit, Input::Start { id }));
        }
        if stuck && let Some(bring) = self.bring.take() {
            let text = "some services wait for each other: look at their `after`".into();
            let _ = bring.answer.send(if all { Ok(()) } else { Err(Failure { exit: 5, text }) });
        }
    }

    fn go_on_down(&mut self, desk: &mut Desk) {
        let unhooking =
            self.open.values().any(|(_, duty)| matches!(duty, Duty::Unhook { .. } | Duty::Hook { .. }));
        let Some(put) = self.put.as_mut().filter(|put| !unhooking && !put.ending) else { return };
        let now = Instant::now();
        let late = put.begun.iter().filter(|(_, limit)| **limit <= now).map(|(unit, _)| *unit);
        put.down.extend(late.collect::<Vec<_>>());
        let all: BTreeSet<usize> = ours(desk).collect();
        let needed = |unit: usize| {
            let needs = |other: &&usize| {
                desk.units.get(**other).is_some_and(|other| other.service.after.contains(&unit))
            };
            all.difference(&put.down).any(|other| needs(&other) && *other != unit)
        };
        let idle = put.begun.keys().all(|unit| put.down.contains(unit));
        let mut next: Vec<usize> = all.difference(&put.down).copied().filter(|unit| !needed(*unit)).collect();
        if next.is_empty() && idle {
            // They wait for each other, which files cannot say: all at once.
            next = all.difference(&put.down).copied().collect();
        }
        for unit in next {
            if put.begun.contains_key(&unit) {
                continue;
            }
            let grace = desk.units.get(unit).map_or(Duration::ZERO, |unit| unit.service.grace);
            put.begun.insert(unit, now + grace + LOST);
            desk.queue.push_back((unit, Input::Stop));
        }
        if all.is_subset(&put.down) {
            put.ending = true;
            let (ledger, notes) = (Arc::clone(&desk.ledger), desk.notes.clone());
            tokio::spawn(async move {
                let ended = spawn_blocking(move || ledger.end_all()).await;
                let _ = notes.send(Note::Ended(ended.unwrap_or_else(|error| Err(error.to_string())))).await;
            });
        }
    }
}

/// The services that Brownout runs.
fn ours(desk: &Desk) -> impl Iterator<Item = usize> {
    desk.units.iter().enumerate().filter(|(_, unit)| unit.machine.is_some()).map(|(place, _)| place)
}

/// The place of a service.
fn place(name: &Name, desk: &Desk) -> Option<usize> {
    desk.units.iter().position(|unit| unit.service.name == *name)
}

fn about(fault: &Name, unit: usize, desk: &Desk) -> String {
    let service = desk.units.get(unit).map_or("", |unit| unit.service.name.as_str());
    format!("fault `{fault}` on service `{service}`")
}

enum Happened {
    Deed,
    Undone,
}

fn publish(desk: &Desk, fault: &Name, unit: usize, action: &str, what: Happened, done: Result<(), String>) {
    let Some(service) = desk.units.get(unit).map(|unit| unit.service.name.clone()) else { return };
    let (fault, action) = (fault.clone(), action.to_owned());
    desk.telemetry.publish(match (what, done) {
        (Happened::Deed, Ok(())) => {
            Event::Deed { fault, service, action, done: true, text: "it was applied".into() }
        }
        (Happened::Deed, Err(text)) => Event::Deed { fault, service, action, done: false, text },
        (Happened::Undone, Ok(())) => {
            Event::Undone { fault, service, action, done: true, text: "it was undone".into() }
        }
        (Happened::Undone, Err(text)) => Event::Undone { fault, service, action, done: false, text },
    });
}
