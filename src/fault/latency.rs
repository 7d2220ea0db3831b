//! `latency`: waits before the upstream is called, after it answered, and before each piece of the body.

use super::{Apply, Moment};
use crate::decision::{Decision, Delay, Dice, Distribution, PieceDelay, Protocol};

/// Waits; at least one of the three is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// Before the upstream is called (TCP: before it is connected).
    pub before: Option<Distribution>,
    /// After the upstream answered, before the caller sees its head. HTTP only.
    pub after: Option<Distribution>,
    /// Before each piece of the answer's body (TCP: of either direction) is passed on.
    pub chunk: Option<Distribution>,
}

impl Apply for Latency {
    fn apply(&self, moment: &Moment, dice: &mut Dice, decision: &mut Decision) {
        let mut draw = |law: &Distribution| Delay {
            by: moment.by,
            time: law.draw(dice, moment.elapsed).mul_f64(moment.dose),
        };
        decision.delays.extend(self.before.as_ref().map(&mut draw));
        decision.after.delays.extend(self.after.as_ref().map(&mut draw));
        if let Some(time) = &self.chunk {
            let piece = |dice: &Dice| PieceDelay {
                by: moment.by,
                time: time.clone(),
                dose: moment.dose,
                dice: dice.clone(),
            };
            decision.down.piece.push(piece(dice));
            if moment.protocol == Protocol::Tcp {
                dice.bits();
                decision.up.piece.push(piece(dice));
            }
        }
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        if protocol == Protocol::Tcp && self.after.is_some() {
            return Err(
                "`after` waits for an answer, and a tcp edge knows none: use `before` or `chunk`".into()
            );
        }
        Ok(())
    }

    fn action(&self) -> &'static str {
        "latency"
    }
}
