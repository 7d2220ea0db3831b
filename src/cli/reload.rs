//! Another file in place of the one that is served.

use super::loading::Flags;
use super::serve::watch_rails;
use super::stage::{Standing, addresses};
use crate::control::EdgeStatus;
use crate::model::{Experiment, FaultRule, Service};
use crate::run::guard::Guards;
use crate::run::services;
use anstream::eprintln;
use std::path::Path;
use std::time::Duration;

/// Reads the file again; `None` keeps everything as it is. Services go on as they were started.
pub(super) fn reload(
    standing: &Standing,
    quiet: bool,
    lives: &impl Fn(&FaultRule) -> Option<Duration>,
    file: Option<(&Path, &Flags)>,
    started: &[Service],
) -> Option<Guards> {
    let (path, flags) = file?;
    let Some(experiment) = flags.load(path, true) else {
        eprintln!("{} is broken: the old one stays in force", path.display());
        return None;
    };
    if let Err(error) = standing.may_lead_to(&experiment.edges) {
        eprintln!("error: {error}: the old file stays in force");
        return None;
    }
    match standing.control.reload(&experiment.edges, |edges| rules(&experiment, edges), lives) {
        Ok(done) => {
            let said = [
                ("armed", &done.armed),
                ("healed", &done.healed),
                ("opened", &done.opened),
                ("closed", &done.closed),
            ];
            let said: Vec<String> = said
                .iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(word, names)| format!("{word} {}", names.join(", ")))
                .collect();
            if !quiet && !said.is_empty() {
                eprintln!("{} is in force: {}", path.display(), said.join("; "));
            }
            let changed = changed(started, &as_started(standing, &experiment));
            if !changed.is_empty() {
                eprintln!(
                    "warning: services go on as they were started, but these have changed: {}: restart Brownout to take \
                     that over",
                    changed.join(", ")
                );
            }
            Some(watch_rails(standing, &experiment.guardrails))
        }
        Err(error) => {
            eprintln!("error: {error}: the old file stays in force");
            None
        }
    }
}

/// The faults of a file for these edges: the URL of each is filled in, and what is about services that are not started is
/// not armed.
fn rules(experiment: &Experiment, edges: &[EdgeStatus]) -> Vec<FaultRule> {
    let urls = addresses(edges);
    let rule = |rule: &FaultRule| match services::filled(rule, &urls) {
        Ok(filled) => Some(FaultRule { armed: rule.armed && experiment.skips(rule).is_none(), ..filled }),
        Err(why) => {
            tracing::warn!("fault `{}` is left out: {why}", rule.name);
            None
        }
    };
    experiment.faults.iter().filter_map(rule).collect()
}

/// The services of a file, as they would be started now.
pub(super) fn as_started(standing: &Standing, experiment: &Experiment) -> Vec<Service> {
    let plans = services::plans(experiment, &addresses(&standing.control.edges()));
    plans.unwrap_or_default().into_iter().map(|plan| plan.service).collect()
}

/// The names of those that are not the same in both, wherever they stand in their files.
fn changed(before: &[Service], now: &[Service]) -> Vec<String> {
    let plain = |service: &Service, all: &[Service]| {
        let after: Vec<_> = service.after.iter().filter_map(|place| Some(&all.get(*place)?.name)).collect();
        format!("{after:?} {:?}", Service { line: 0, after: Vec::new(), ..service.clone() })
    };
    let known = |service: &Service, among: &[Service]| among.iter().any(|other| other.name == service.name);
    let same = |service: &Service| {
        let now = plain(service, now);
        before.iter().any(|other| plain(other, before) == now)
    };
    let other = now.iter().filter(|service| !same(service));
    let gone = before.iter().filter(|service| !known(service, now));
    other.chain(gone).map(|service| format!("`{}`", service.name)).collect()
}
