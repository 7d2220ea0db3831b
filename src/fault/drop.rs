//! `drop`: the connection is refused, closed, reset or swallowed.

use super::{Apply, Moment};
use crate::decision::{Action, Cut, Decision, Dice, Protocol};
use std::time::Duration;

/// Cuts.
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// In which way.
    pub how: How,
    /// When.
    pub at: DropAt,
}

/// The ways to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The listener itself is closed while the fault is on.
    Refuse,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// Nothing is answered, nothing is closed, until healed.
    Blackhole,
}

/// When a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropAt {
    /// As soon as it is accepted.
    Accept,
    /// Once the head of a request is known; the upstream is not called. On TCP the same as `Accept`.
    Request,
    /// Once the upstream has answered, instead of its head.
    Headers,
    /// After this many payload bytes of the answer (TCP: from the upstream).
    AfterBytes(u64),
    /// This long after the answer began to flow (TCP: after the connection was decided upon).
    After(Duration),
}

impl Apply for Drop {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        let cut = match self.how {
            How::Refuse => return,
            How::Blackhole => {
                if decision.action.is_forward() {
                    decision.action = Action::Blackhole(moment.by);
                }
                return;
            }
            How::Close => Cut::Close,
            How::Reset => Cut::Reset,
        };
        match self.at {
            DropAt::Accept | DropAt::Request => {
                if decision.action.is_forward() {
                    decision.action = Action::Cut(moment.by, cut);
                }
            }
            DropAt::Headers => {
                if decision.after.is_free() {
                    decision.after.cut = Some((moment.by, cut));
                }
            }
            DropAt::AfterBytes(bytes) => {
                if decision.down.cut_bytes.is_none_or(|(_, other, _)| bytes < other) {
                    decision.down.cut_bytes = Some((moment.by, bytes, cut));
                }
            }
            DropAt::After(time) => {
                if decision.down.cut_time.is_none_or(|(_, other, _)| time < other) {
                    decision.down.cut_time = Some((moment.by, time, cut));
                }
            }
        }
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        if protocol == Protocol::Tcp && self.at == DropAt::Headers {
            return Err("a tcp edge has no headers: use `at = \"accept\"`, `after_bytes` or `after`".into());
        }
        if self.how == How::Blackhole && !matches!(self.at, DropAt::Accept | DropAt::Request) {
            return Err("a blackhole swallows from the start: use `at = \"accept\"` or `\"request\"`".into());
        }
        Ok(())
    }

    fn at_accept(&self) -> bool {
        self.at == DropAt::Accept && self.how != How::Refuse
    }

    fn action(&self) -> &'static str {
        match self.how {
            How::Refuse => "refuse",
            How::Close => "close",
            How::Reset => "reset",
            How::Blackhole => "blackhole",
        }
    }
}
