//! Open tunnels ask the plan anew when faults are armed, each fault once.

use super::edge::EdgeHere;
use super::exchange::Struck;
use super::slot::InForce;
use super::subject;
use crate::decision::{Action, Decision, Protocol, Shape, Subject};
use crate::http1::{self, Limits};
use crate::plan::{Armed, Stage};
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks the plan on behalf of an open tunnel.
pub(super) struct Asker {
    pub peer: IpAddr,
    pub connection: u64,
    /// The request head it began with; `None` on a TCP edge.
    pub head: Option<Vec<u8>>,
    pub health: bool,
}

impl Asker {
    /// Asks those faults that were not asked before.
    pub(super) fn ask(
        &self,
        edge: &EdgeHere,
        in_force: &Arc<InForce>,
        known: &[Arc<Armed>],
    ) -> Option<Box<Struck>> {
        let now = edge.shared.epoch.elapsed();
        let new = |fault: &Arc<Armed>| !known.iter().any(|known| Arc::ptr_eq(known, fault));
        let ask = |subject: &dyn Subject| in_force.plan.decide_for(subject, now, Stage::Exchange, new);
        let decision = match &self.head {
            None => {
                let (peer, connection) = (self.peer, self.connection);
                ask(&subject::Connection { protocol: Protocol::Tcp, peer, connection })
            }
            Some(bytes) => {
                let mut slots = http1::slots();
                let head = http1::parse_request(bytes, &mut slots, &Limits::default()).ok()??;
                let (peer, connection, health) = (self.peer, self.connection, self.health);
                ask(&subject::Request { edge, head: &head, path: head.path(), peer, connection, health })
            }
        };
        Struck::new(decision, in_force.clone())
    }
}

/// Whether a decision does anything to a tunnel that is open already; if not, its place under `max` is free again. It leads
/// to where it leads: `reroute` is for new ones.
pub(super) fn acts_on_tunnels(decision: &Decision) -> bool {
    let acts = |shape: &Shape| match &shape.bytes {
        Some(bytes) => bytes.acts_on_streams() || !shape.is_plain(),
        None => !shape.is_clean(),
    };
    !decision.freezes.is_empty()
        || acts(&decision.up)
        || acts(&decision.down)
        || !matches!(decision.action, Action::Forward | Action::Reroute(..))
}
