//! What a run must allow its services: which faults change them before the fault phase, how long each wait may be, and what
//! they are told of the edges.

use super::command::{fill, fill_word};
use super::machine::Services;
use crate::model::{Ask, Deed, EnvApply, Experiment, FaultRule, Probe, ReadyCheck, Service};
use crate::supervise::Plan;
use std::time::Duration;

/// What is allowed beside what the file says.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a service without `ready` may take to start.
const START: Duration = Duration::from_secs(20);

/// Whether a fault has to be in force before the fault phase begins: it holds for all of it, and takes a restart or a command.
pub(super) fn is_early(rule: &FaultRule) -> bool {
    let slow = |deed: &Deed| match deed {
        Deed::Env(swap) => swap.apply == EnvApply::Restart,
        Deed::Hook(_) => true,
        Deed::Process(_) => false,
    };
    rule.when.schedule.is_none() && rule.when.at.is_empty() && rule.deeds.iter().any(slow)
}

/// What the services of an experiment need.
#[must_use]
pub fn needs(experiment: &Experiment) -> Services {
    let scale = experiment.run.time_scale;
    let ours = || experiment.services.iter().filter(|service| service.is_ours());
    let deeds = || experiment.faults.iter().filter(|rule| !rule.deeds.is_empty());
    if ours().next().is_none() && deeds().next().is_none() {
        return Services::default();
    }
    let within = |service: &Service| service.ready.as_ref().map_or(START, |ready| ready.within);
    let starts: Duration = ours().map(within).sum();
    let graces: Duration = ours().map(|service| service.grace).sum();
    let hooks = |rules: &mut dyn Iterator<Item = &FaultRule>| -> Duration {
        let one = |deed: &Deed| match deed {
            Deed::Hook(hook) => hook.within,
            Deed::Env(_) | Deed::Process(_) => Duration::ZERO,
        };
        rules.map(|rule| rule.deeds.iter().map(one).sum::<Duration>() * count(rule)).sum()
    };
    let longest_delay =
        ours().map(|service| service.restart.max_delay.mul_f64(scale)).max().unwrap_or_default();
    let change = starts + graces + longest_delay + MARGIN;
    let mut early = deeds().filter(|rule| rule.armed && is_early(rule));
    let apply = deeds().any(|rule| rule.armed && is_early(rule)).then(|| change + hooks(&mut early));
    let undo = hooks(&mut deeds());
    Services {
        any: true,
        start: starts + MARGIN,
        apply,
        restore: deeds().next().map(|_| change + undo),
        put_down: graces + undo + change,
    }
}

/// On how many services a rule is.
fn count(rule: &FaultRule) -> u32 {
    u32::try_from(rule.services.len()).unwrap_or(u32::MAX)
}

/// The services of an experiment, with the URL of each edge filled in.
///
/// # Errors
/// A sentence for the user, if there is no such edge.
pub fn plans(experiment: &Experiment, edges: &[(String, String)]) -> Result<Vec<Plan>, String> {
    let plan = |(place, service): (usize, &Service)| {
        let mut service = service.clone();
        service.command = fill(&service.command, edges)?;
        fill_values(&mut service.env, edges)?;
        if let Some(ready) = &mut service.ready {
            match &mut ready.check {
                ReadyCheck::Http(text) | ReadyCheck::Tcp(text) => *text = fill_word(text, edges)?,
                ReadyCheck::Command(argv) => *argv = fill(argv, edges)?,
                ReadyCheck::Log(_) => {}
            }
        }
        let own = |(name, value): (&str, &str)| Ok((name.to_owned(), fill_word(value, edges)?));
        let expected = experiment.expected_env(place).into_iter().map(own).collect::<Result<_, String>>()?;
        Ok(Plan { service, expected_env: expected })
    };
    experiment.services.iter().enumerate().map(plan).collect()
}

/// A fault, with the URL of each edge filled into what it does to services.
///
/// # Errors
/// A sentence for the user, if there is no such edge.
pub fn filled(rule: &FaultRule, edges: &[(String, String)]) -> Result<FaultRule, String> {
    let mut rule = rule.clone();
    for deed in &mut rule.deeds {
        match deed {
            Deed::Env(swap) => fill_values(&mut swap.set, edges)?,
            Deed::Hook(hook) => {
                hook.apply = fill(&hook.apply, edges)?;
                hook.undo = fill(&hook.undo, edges)?;
            }
            Deed::Process(_) => {}
        }
    }
    Ok(rule)
}

/// A probe, with the URL of each edge filled in.
///
/// # Errors
/// A sentence for the user, if there is no such edge.
pub fn asked(probe: &Probe, edges: &[(String, String)]) -> Result<Probe, String> {
    let mut probe = probe.clone();
    match &mut probe.ask {
        Ask::Http(ask) => {
            ask.url = fill_word(&ask.url, edges)?;
            for (_, value) in &mut ask.headers {
                *value = fill_word(value, edges)?;
            }
        }
        Ask::Tcp(address) => *address = fill_word(address, edges)?,
        Ask::Command(argv) => *argv = fill(argv, edges)?,
    }
    Ok(probe)
}

fn fill_values(env: &mut [(String, String)], edges: &[(String, String)]) -> Result<(), String> {
    for (_, value) in env {
        *value = fill_word(value, edges)?;
    }
    Ok(())
}
