//! The services of a stage: a supervisor for them, between control that orders and a ledger that remembers.

use super::run::StartError;
use crate::control::Control;
use crate::model::{Experiment, SinceMoment};
use crate::report::Exit;
use crate::run::services;
use crate::supervise::{self, Ledger, Supervisor};
use crate::telemetry::Telemetry;
use crate::units::Name;
use std::sync::Arc;

/// Gives the services of an experiment a supervisor, which nobody has told anything yet, and makes control know it. `scale`
/// stretches restart delays.
pub(super) fn start(
    experiment: &Experiment,
    scale: f64,
    edges: &[(String, String)],
    control: &Arc<Control>,
    telemetry: &Arc<Telemetry>,
    ledger: Arc<Ledger>,
) -> Result<Supervisor, StartError> {
    let wrong = |text| StartError { exit: Exit::Usage, text };
    let plans = services::plans(experiment, edges).map_err(wrong)?;
    let rules = experiment.faults.iter().map(|rule| services::filled(rule, edges));
    control.know(&rules.collect::<Result<Vec<_>, _>>().map_err(wrong)?);
    let told = Arc::downgrade(control);
    let watch = Box::new(move |service: &Name, moment: SinceMoment| {
        if let Some(control) = told.upgrade() {
            control.moment(service, moment);
        }
    });
    let supervisor = supervise::start(plans, scale, telemetry.clone(), ledger, watch).map_err(|error| {
        let text = format!("the services cannot be supervised: {error}");
        StartError { exit: Exit::Environment, text }
    })?;
    control.supervise(supervisor.clone());
    Ok(supervisor)
}
