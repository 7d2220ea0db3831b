//! The only writer of what is in force: validate, build, swap; else keep the old.
//!
//! Run, command line, admin API and signals all call the same [`Control`]. It also keeps the clock of every armed fault:
//! its schedule, its time to live, and the end of its phase.

use crate::decision::Protocol;
use crate::model::{FaultRule, Phase};
use std::net::SocketAddr;
use std::time::Duration;

/// Who armed a fault; owners do not touch each other's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The run under way.
    Run,
    /// The file of `serve`.
    File,
    /// A hand: API or command line.
    Hand,
}

impl Owner {
    /// As the API and the journal write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::File => "file",
            Self::Hand => "hand",
        }
    }
}

/// Why something could not be done; a sentence for the user each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No fault of this name is armed (or known).
    NoSuchFault(String),
    /// A fault of this name is armed by somebody else.
    Taken(String),
    /// The kill switch is on.
    Halted,
    /// It does not fit.
    Invalid(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchFault(name) => {
                write!(f, "there is no fault `{name}`: `brownout fault list` shows all")
            }
            Self::Taken(name) => {
                write!(f, "a fault `{name}` is armed already: heal it first, or take another name")
            }
            Self::Halted => write!(f, "everything is halted: `brownout halt --lift` first"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

/// A fault as the API and the command line show it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct FaultStatus {
    /// Its name.
    pub name: String,
    /// The names of its edges.
    pub edges: Vec<String>,
    /// `run`, `file` or `hand`; `none` if it was never armed.
    pub owner: String,
    /// Armed: it may strike, when its schedule says so.
    pub armed: bool,
    /// In force at this moment.
    pub active: bool,
    /// What it does, such as `latency`.
    pub actions: Vec<String>,
    /// Exchanges that passed its matchers.
    pub matched: u64,
    /// Of these, the chosen.
    pub selected: u64,
    /// Of these, the struck.
    pub hits: u64,
    /// Seconds until it ends by itself; `None`: never, or not armed.
    pub ends_in: Option<f64>,
}

/// An edge as the API and the command line show it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct EdgeStatus {
    /// Its name.
    pub name: String,
    /// The address it listens on, with the real port.
    pub listen: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// `host:port` of each upstream.
    pub upstreams: Vec<String>,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
}

/// The one who arms and heals.
#[derive(Debug)]
pub struct Control {}

impl Control {
    /// Arms a fault: it is in force from now, or as its schedule says, and heals by itself after `life` (real time; `None`:
    /// only when healed). `scale` stretches its schedule (`time_scale` of a run, 1 otherwise).
    ///
    /// # Errors
    /// When it is halted, the name is taken, or the fault does not fit its edges.
    pub fn arm(
        &self,
        _rule: FaultRule,
        _owner: Owner,
        _life: Option<Duration>,
        _scale: f64,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Arms a fault that the file has and nobody armed (`armed = false`, or healed by hand), by its name.
    ///
    /// # Errors
    /// When it is not known, armed already, or everything is halted.
    pub fn arm_named(&self, _name: &str, _life: Option<Duration>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Heals one fault, whoever armed it.
    ///
    /// # Errors
    /// When no such fault is armed.
    pub fn heal(&self, _name: &str, _why: &'static str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Heals every fault of an owner; `None`: of all.
    pub fn heal_all(&self, _owner: Option<Owner>, _why: &'static str) {}

    /// The kill switch: heals everything, and nothing can be armed until it is lifted.
    pub fn halt(&self) {}

    /// Lifts the kill switch.
    pub fn lift(&self) {}

    /// Whether the kill switch is on.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        false
    }

    /// All faults: armed ones, and those of the file that are not.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultStatus> {
        Vec::new()
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeStatus> {
        Vec::new()
    }

    /// Exchanges that begin from now on belong to this phase.
    pub fn enter(&self, _phase: Phase) {}

    /// Whether every listener is bound and accepting, or refuses because a fault says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        true
    }
}
