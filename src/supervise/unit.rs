//! A service and its present process, as the supervisor holds them.

use super::Plan;
use super::env::Mask;
use super::group::Group;
use super::life::{Setup, State};
use super::machine::Machine;
use super::output::Voice;
use super::ready::Doubt;
use super::veil::secrets;
use crate::model::Service;
use crate::units::Name;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// A service as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: Name,
    /// How far it is.
    pub state: State,
    /// Its process, if there is one.
    pub pid: Option<u32>,
    /// Its how manyth process this is, or the last one was, from 1; 0 before the first.
    pub incarnation: u32,
    /// How often it was started again.
    pub restarts: u32,
    /// Variables that differ from the file.
    pub drifted: Vec<String>,
}

/// A service.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) service: Arc<Service>,
    pub(super) expected: Vec<(String, String)>,
    /// `None`: Brownout does not run it.
    pub(super) machine: Option<Machine>,
    pub(super) voice: Arc<Voice>,
    pub(super) child: Option<Process>,
    pub(super) incarnation: u32,
    pub(super) drifted: Vec<String>,
    /// What is known of why it is not ready.
    pub(super) doubt: Doubt,
    pub(super) last_exit: Option<String>,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) group: Arc<Group>,
    /// Looks whether it is ready.
    pub(super) looks: Option<AbortHandle>,
}

impl Unit {
    pub(super) fn new(plan: Plan, scale: f64) -> Self {
        let Plan { service, expected_env } = plan;
        let machine = service.is_ours().then(|| {
            Machine::new(Setup {
                name: service.name.clone(),
                grace: service.grace,
                restart: service.restart,
                within: service.ready.as_ref().map(|ready| ready.within),
                scale,
            })
        });
        Self {
            voice: Arc::new(Voice::new(Mask::new(&service, &secrets(std::env::vars_os())))),
            service: Arc::new(service),
            expected: expected_env,
            machine,
            child: None,
            incarnation: 0,
            drifted: Vec::new(),
            doubt: Doubt::default(),
            last_exit: None,
        }
    }

    pub(super) fn status(&self) -> ServiceStatus {
        ServiceStatus {
            name: self.service.name.clone(),
            state: self.machine.as_ref().map_or(State::External, Machine::state),
            pid: self.child.as_ref().map(|child| child.group.pid()),
            incarnation: self.incarnation,
            restarts: self.incarnation.saturating_sub(1),
            drifted: self.drifted.clone(),
        }
    }

    /// A failure with all that is known of why.
    pub(super) fn explain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let why = if self.child.is_some() { self.doubt.get() } else { self.last_exit.clone() };
        if let Some(why) = why {
            text.push_str(": ");
            text.push_str(&self.voice.masked(&why));
        }
        let tail = self.voice.tail();
        if !tail.is_empty() {
            text.push_str("\nthe end of its output:");
            for line in tail {
                text.push_str("\n  ");
                text.push_str(&line);
            }
        }
        text
    }
}
