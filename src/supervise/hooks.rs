//! The hooks of all faults: those of one fault on one service are carried out one after the other, away from the supervisor's loop.

use super::actor::{Desk, Note};
use super::hook::{self, Applied};
use super::ledger::Ledger;
use crate::model::Hook;
use crate::units::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// The hooks of a fault on a service, one after the other: the task that was begun last hands over what is applied.
type Line = JoinHandle<Vec<(Hook, Applied)>>;

/// The hooks of every fault on every service.
#[derive(Debug, Default)]
pub(super) struct Hooks(BTreeMap<(Name, usize), Line>);

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
        self.0.insert((fault, unit), line);
    }

    /// Undoes what is applied for a fault on a service.
    pub(super) fn undo(&mut self, id: u64, fault: Name, unit: usize, desk: &Desk) {
        let before = self.0.remove(&(fault.clone(), unit));
        let (ledger, notes) = (Arc::clone(&desk.ledger), desk.notes.clone());
        let line = tokio::spawn(async move {
            let applied = handed_over(before).await;
            let some = !applied.is_empty();
            let wrong = take_back(applied, &ledger).await;
            let done = if wrong.is_empty() { Ok(some) } else { Err(wrong.join("\n")) };
            let _ = notes.send(Note::Unhooked { id, done }).await;
            Vec::new()
        });
        self.0.insert((fault, unit), line);
    }

    /// Undoes all hooks, at the end of all; what could not be undone.
    pub(super) async fn undo_all(&mut self, ledger: &Arc<Ledger>) -> Vec<String> {
        let mut wrong = Vec::new();
        for line in std::mem::take(&mut self.0).into_values() {
            wrong.extend(take_back(handed_over(Some(line)).await, ledger).await);
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

async fn handed_over(before: Option<Line>) -> Vec<(Hook, Applied)> {
    match before {
        Some(line) => line.await.unwrap_or_default(),
        None => Vec::new(),
    }
}
