//! What control is asked and what it answers, for the API, the command line and the run.

use crate::decision::Protocol;
use std::net::SocketAddr;

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
    /// The names of the services it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
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

impl FaultStatus {
    /// Where it stands: its edges or its services.
    #[must_use]
    pub fn places(&self) -> &[String] {
        if self.edges.is_empty() { &self.services } else { &self.edges }
    }
}

/// An edge as the API and the command line show it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct EdgeStatus {
    /// Its number in windows and journals.
    #[serde(default)]
    pub id: u16,
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

/// Why edges could not be started.
#[derive(Debug)]
pub struct StartError {
    /// The line of the edge in the file; 0 if there is none to point at.
    pub line: usize,
    /// A sentence for the user.
    pub text: String,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Faults armed anew.
    pub armed: Vec<String>,
    /// Faults healed.
    pub healed: Vec<String>,
    /// Edges opened, or opened anew because their description changed.
    pub opened: Vec<String>,
    /// Edges closed.
    pub closed: Vec<String>,
}
