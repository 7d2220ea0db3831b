//! The admin address: what a running Brownout tells and is told over HTTP.
//!
//! It runs on a thread and a runtime of its own, so that it answers while workers are busy, and so that the data plane cannot
//! reach it. Every request passes the `door` before it is routed; connections, heads, bodies and times are bounded. All
//! that it changes goes through [`Levers`], which is [`Control`] in earnest. At `/` is the live page, a shell that `live` fills. Knows
//! nothing of plans and sockets of edges.

mod door;
mod levers;
mod live;
#[cfg(test)]
mod live_tests;
mod openapi;
mod routes;
mod server;
#[cfg(test)]
pub(crate) mod tests;

pub use levers::Levers;
pub use server::AdminHandle;

use crate::control::{Control, EdgeStatus};
use crate::model::{Experiment, FaultRule, Ttl};
use crate::telemetry::Telemetry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a fault armed by hand lasts if nobody says.
pub const DEFAULT_TTL: Duration = Duration::from_secs(5 * 60);
/// The longest it may last, unless `"forever"` is written.
pub const LONGEST_TTL: Duration = Duration::from_secs(60 * 60);

/// Where the admin address is, and who may use it.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// Names by which it may be called, beside those of loopback and the address itself.
    pub hosts: Vec<String>,
    /// What callers must know when the address is not loopback.
    pub token: Option<String>,
}

/// Turns a fault table, as JSON, into a rule for one of these edges, and the time to live that it says.
pub type ParseFault =
    dyn Fn(serde_json::Value, &[EdgeStatus]) -> Result<(FaultRule, Option<Ttl>), String> + Send + Sync;

/// The time to live that the file says for a fault of this name.
pub type TtlOf = dyn Fn(&str) -> Option<Ttl> + Send + Sync;

/// What goes on behind the address.
#[derive(Debug)]
pub enum Course {
    /// A run of an experiment: phases, expectations, an analysis.
    Run(Box<Experiment>),
    /// Edges are served for as long as it lives; the names of the services that are supervised.
    Serve(Vec<String>),
}

/// What the API knows beside control and telemetry.
pub struct AdminState {
    /// The experiment's name, where there is one.
    pub experiment: Mutex<Option<String>>,
    /// Reads a fault that is armed by hand.
    pub parse_fault: Box<ParseFault>,
    /// Looks up the time to live of a fault of the file.
    pub ttl_of: Box<TtlOf>,
    /// What goes on.
    pub course: Course,
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").field("experiment", &self.experiment).finish_non_exhaustive()
    }
}

/// Opens the admin address.
///
/// # Errors
/// When it is not loopback and there is no token, or when it cannot be bound.
pub fn start(
    config: AdminConfig,
    control: Arc<Control>,
    telemetry: Arc<Telemetry>,
    shared: Arc<AdminState>,
) -> io::Result<AdminHandle> {
    server::start(config, control, telemetry, shared)
}
