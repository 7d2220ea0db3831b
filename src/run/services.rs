//! What a run must allow its services: which faults change them before the fault phase, and how long each wait may be.

use super::machine::Services;
use crate::model::{Deed, EnvApply, Experiment, FaultRule, Service};
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
pub(super) fn needs(experiment: &Experiment) -> Services {
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
