//! `chunk`: bytes come in small pieces, with a pause between them.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, Distribution, Pieces, Protocol};

/// Small pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The most bytes of one piece; at least 1.
    pub size: u64,
    /// How long the pause between two is.
    pub delay: Distribution,
}

impl Apply for Chunk {
    fn apply(&self, moment: &Moment, dice: &mut Dice, decision: &mut Decision) {
        let pieces = |dice: &Dice| Pieces {
            by: moment.by,
            size: self.size,
            pause: self.delay.clone(),
            dose: moment.dose,
            dice: dice.clone(),
        };
        decision.down.bytes().pieces.push(pieces(dice));
        dice.bits();
        if moment.protocol == Protocol::Tcp {
            decision.up.bytes().pieces.push(pieces(dice));
            dice.bits();
        }
    }

    fn action(&self) -> &'static str {
        "chunk"
    }
}
