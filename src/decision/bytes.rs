//! What is done to the bytes of one direction: how fast, in which pieces, which of them are wrong, and how they end.

use super::{Dice, Distribution, FaultRef};

/// What faults do to the bytes of a stream. Boxed where it stands: few exchanges have one.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    /// Bounds on bytes a second; the lowest wins.
    pub rates: Vec<(FaultRef, f64)>,
    /// Pieces, with pauses between them.
    pub pieces: Vec<Pieces>,
    /// Bits that flip.
    pub flips: Vec<Flips>,
    /// How the stream ends otherwise than it would; the first in file order wins.
    pub end: Option<(FaultRef, End)>,
}

impl Bytes {
    /// Whether it does anything to a stream without messages.
    #[must_use]
    pub fn acts_on_streams(&self) -> bool {
        let end = matches!(self.end, Some((_, End::Truncate(Length::Bytes(_), _) | End::Garbage(_))));
        end || !self.rates.is_empty() || !self.pieces.is_empty() || !self.flips.is_empty()
    }
}

/// Pieces of at most a size, with a pause between them.
#[derive(Clone, Debug)]
pub struct Pieces {
    /// The fault that asked for it.
    pub by: FaultRef,
    /// The most bytes of one piece; at least 1.
    pub size: u64,
    /// How long the pause is, drawn for each.
    pub pause: Distribution,
    /// How much of it a ramp has reached, 0 to 1.
    pub dose: f64,
    /// What it is drawn with.
    pub dice: Dice,
}

/// A share of bytes in each of which one bit flips.
#[derive(Clone, Debug)]
pub struct Flips {
    /// The fault that asked for it.
    pub by: FaultRef,
    /// Of all bytes, above 0 to 1.
    pub share: f64,
    /// What decides which; they depend on the place in the stream only, not on how it was cut on its way.
    pub dice: Dice,
}

/// An end of a stream that its sender did not choose.
#[derive(Clone, Debug)]
pub enum End {
    /// After so many bytes; `clean`: it looks whole.
    Truncate(Length, bool),
    /// Never, at so many bytes a second.
    Endless(f64),
    /// In its middle, by what is no chunk.
    MalformedChunk,
    /// Before the length that was announced.
    WrongLength,
    /// At its beginning: other bytes come in the place of all of it.
    Garbage(Dice),
}

/// Where a body is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// After so many bytes.
    Bytes(u64),
    /// After this share of the announced length, 0 to 1.
    Fraction(f64),
}
