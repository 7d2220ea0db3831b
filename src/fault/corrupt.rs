//! `corrupt`: the answer comes, and is wrong: flipped bits, a broken chunk, a length that lies, or no HTTP at all.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, End, Flips, Protocol};

/// Wrong bytes; at least one of the two is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrupt {
    /// The share of bytes in which a bit flips, 0 to 1.
    pub bit_flips: Option<f64>,
    /// What is wrong with the frame.
    pub frame: Option<BadFrame>,
}

/// What can be wrong with the frame of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// An invalid chunk size in the middle, then the end.
    MalformedChunk,
    /// A length larger than what comes.
    WrongLength,
    /// Bytes that are no HTTP in its place.
    Garbage,
}

impl Apply for Corrupt {
    fn apply(&self, moment: &Moment, dice: &mut Dice, decision: &mut Decision) {
        let bytes = decision.down.bytes();
        if let Some(share) = self.bit_flips {
            bytes.flips.push(Flips { by: moment.by, share, dice: dice.clone() });
            dice.bits();
        }
        let end = match self.frame {
            Some(BadFrame::MalformedChunk) => End::MalformedChunk,
            Some(BadFrame::WrongLength) => End::WrongLength,
            Some(BadFrame::Garbage) => End::Garbage(dice.clone()),
            None => return,
        };
        bytes.end.get_or_insert((moment.by, end));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        let key = match self.frame {
            Some(BadFrame::MalformedChunk) if protocol == Protocol::Tcp => "malformed_chunk",
            Some(BadFrame::WrongLength) if protocol == Protocol::Tcp => "wrong_length",
            _ => return Ok(()),
        };
        Err(format!("a tcp edge has no frames for `{key}` to break: use `bit_flips` or `garbage`"))
    }

    fn action(&self) -> &'static str {
        "corrupt"
    }
}
