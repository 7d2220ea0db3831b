//! `reroute`: another upstream answers, such as the old version or the instance that has drifted.
//!
//! Its answers are real answers of a real service, and judged like all others.

use super::{Apply, Moment};
use crate::decision::{Action, Decision, Dice, Protocol, Upstream};
use std::sync::Arc;

/// Goes to another upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Reroute {
    /// What the other upstreams speak.
    pub protocol: Protocol,
    /// The other upstreams, in turn; at least one.
    pub upstreams: Arc<[Upstream]>,
}

impl Apply for Reroute {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        if decision.action.is_forward() {
            decision.action = Action::Reroute(moment.by, self.upstreams.clone());
        }
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match (self.protocol, protocol) {
            (Protocol::Tcp, Protocol::Http) => {
                Err("its upstream speaks tcp, and the edge http: write `upstream = \"http://…\"`".into())
            }
            (Protocol::Http, Protocol::Tcp) => {
                Err("its upstream speaks http, and the edge tcp: write `upstream = \"tcp://…\"`".into())
            }
            _ => Ok(()),
        }
    }

    fn action(&self) -> &'static str {
        "reroute"
    }
}
