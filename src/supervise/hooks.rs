//! The hooks of all faults: those of one fault on one service are carried out one after the other, away from the supervisor's loop.

use super::actor::Desk;
use super::hook::{self, Applied};
use super::ledger::Ledger;
use super::note::Note;
use crate::model::Hook;
use crate::units::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// The hooks of a fault on a service, one after the other: the task that was begun last hands over what is applied.
type Line = JoinHandle<Vec<(Hook, Applied)>>;

/// The hooks of every fault on every service.
#[derive(Debug, Default)]
pub(super) struct Hooks(BTreeMap<(Name, usize), Begun>);

/// What was begun last for a fault on a service.
#[derive(Debug)]
struct Begun {
    line: Line,
    /// It applies; otherwise it undoes.
    applies: bool,
}

impl Hooks {
    /// Whether there ever was one of a fault on a service.
    pub(super) fn has(&self, fault: &Name, unit: usize) -> bool {
        self.0.contains_key(&(fault.clone(), unit))
    }

    /// Applies a hook after whatever is done for its fault on this service; one that is applied already stays so.
    pub(super) fn apply(&mut self, id: u64, fault: Name, unit: usize, hook: Hook, desk: &Desk) {
        let Some(service) = desk.units.get(unit).map(|unit| unit.service.name.clone()) else { return };
        let before = self.0.remove(&(fault.clone(), unit));
        let (ledger, notes, of) = (Arc::clone(&desk.ledger), desk.notes.clone(), fault.clone());
        let line = tokio::spawn(async move {
            let mut applied = handed_over(before).await;
            let done = if applied.iter().any(|(known, _)| *known == hook) {
                Ok(())
            } else {
                let with = hook.clone();
                let answer = spawn_blocking(move || hook::apply(&ledger, &of, &service, &with)).await;
                match answer {
                    Ok(Ok((undo, done))) => {
                        applied.push((hook, undo));
                        done
                    }
                    Ok(Err(error)) => {
                        Err(format!("it was not applied, because its undo cannot be noted: {error}"))
                    }
                    Err(error) => Err(format!("it was not applied: {error}")),
                }
            };
            let _ = notes.send(Note::Hooked { id, done }).await;
            applied
        });
        self.0.insert((fault, unit), Begun { line, applies: true });
    }

    /// Undoes what is applied for a fault on a service.
    pub(super) fn undo(&mut self, id: u64, fault: Name, unit: usize, desk: &Desk) {
        let before = self.0.remove(&(fault.clone(), unit));
        let (ledger, notes) = (Arc::clone(&desk.ledger), desk.notes.clone());
        // What is still being applied is not waited for.
        let hurry = before.as_ref().is_some_and(|begun| begun.applies && !begun.line.is_finished());
        let service = desk.units.get(unit).map(|unit| unit.service.name.clone()).filter(|_| hurry);
        let of = fault.clone();
        let line = tokio::spawn(async move {
            if let Some(service) = service {
                let ledger = Arc::clone(&ledger);
                let _ = spawn_blocking(move || hook::stop(&ledger, &of, &service)).await;
            }
            let applied = handed_over(before).await;
            let some = !applied.is_empty();
            let wrong = take_back(applied, &ledger).await;
            let done = if wrong.is_empty() { Ok(some) } else { Err(wrong.join("\n")) };
            let _ = notes.send(Note::Unhooked { id, done }).await;
            Vec::new()
        });
        self.0.insert((fault, unit), Begun { line, applies: false });
    }

    /// Undoes all hooks, at the end of all; what could not be undone.
    pub(super) async fn undo_all(&mut self, ledger: &Arc<Ledger>) -> Vec<String> {
        let mut wrong = Vec::new();
        for begun in std::mem::take(&mut self.0).into_values() {
            wrong.extend(take_back(handed_over(Some(begun)).await, ledger).await);
        }
        wrong
    }
}

/// Undoes hooks, the last one first; what could not be undone.
async fn take_back(applied: Vec<(Hook, Applied)>, ledger: &Arc<Ledger>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (_, applied) in applied.into_iter().rev() {
        let ledger = Arc::clone(ledger);
        match spawn_blocking(move || applied.undo(&ledger)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => wrong.push(why),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    wrong
}

async fn handed_over(before: Option<Begun>) -> Vec<(Hook, Applied)> {
    match before {
        Some(begun) => begun.line.await.unwrap_or_default(),
        None => Vec::new(),
    }
}
