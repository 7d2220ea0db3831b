//! What is done to one exchange, as a value.
//!
//! A [`Decision`] is the narrow waist between faults, which grow without end, and effects, of which there are few: its
//! fields stand in the order in which the data path carries them out. Faults write it, the data path reads it.
//! Knows nothing of why it was decided, of I/O, or of clocks.

mod bytes;
mod content;
mod dice;
mod distribution;
mod gate;
mod sticky;
mod subject;
mod upstream;

pub use bytes::{Bytes, End, Flips, Length, Pieces};
pub use content::{
    Age, Changes, Content, Copies, Fields, JsonEdit, JsonPath, JsonStep, KeyPart, NewPath, Older, TextEdit,
};
pub use dice::{Dice, Key};
pub use distribution::{Distribution, Law};
pub use gate::{Capacity, Freeze, Full, Gate, Lets, Rate, Room};
pub use sticky::Sticky;
pub use subject::{Protocol, Subject};
pub use upstream::Upstream;

use std::sync::Arc;
use std::time::Duration;

/// Everything that is done to one exchange. The default does nothing.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Bounds on the connections of the edge. Asked when one is accepted, and then nothing else is.
    pub rooms: Vec<Room>,
    /// What is passed first, in file order; a place behind a gate is kept until the answer has ended.
    pub gates: Vec<Gate>,
    /// Nothing moves, either way, while one of these is on.
    pub freezes: Vec<(FaultRef, Freeze)>,
    /// Waits before the upstream is called, one per fault that asked for one; they add up.
    pub delays: Vec<Delay>,
    /// What is done instead of, or with, the call to the upstream.
    pub action: Action,
    /// What is done to what the request and its answer say; `None` (no allocation) for most faults.
    pub content: Option<Box<Content>>,
    /// What is done once the upstream has answered.
    pub after: After,
    /// How bytes to the upstream are shaped.
    pub up: Shape,
    /// How bytes to the caller are shaped.
    pub down: Shape,
    /// The faults that were selected, by their place in the plan; empty (no allocation) when nothing was.
    pub applied: Vec<FaultRef>,
}

impl Decision {
    /// Nothing is done at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.applied.is_empty()
    }

    /// It may be healed while the exchange still waits, before its action is done.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.gates.is_empty() || !self.delays.is_empty()
    }
}

/// A fault of the plan that made the decision: its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultRef(pub u16);

/// One wait, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The fault that asked for it.
    pub by: FaultRef,
    /// How long.
    pub time: Duration,
}

/// What is done with the exchange in place of a plain forward.
#[derive(Clone, Debug, Default)]
pub enum Action {
    /// Send it to the upstream.
    #[default]
    Forward,
    /// Send it to one of these instead, which take turns.
    Reroute(FaultRef, Arc<[Upstream]>),
    /// Answer without calling the upstream.
    Respond(FaultRef, Arc<Answer>),
    /// Do not answer.
    Hang(FaultRef, Hang),
    /// Cut the connection without calling the upstream.
    Cut(FaultRef, Cut),
    /// Swallow everything and say nothing, until healed or the caller leaves.
    Blackhole(FaultRef),
}

impl Action {
    /// Whether nothing has taken the exchange yet.
    #[must_use]
    pub fn is_forward(&self) -> bool {
        matches!(self, Self::Forward)
    }
}

/// An answer that an upstream never gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header fields beside the framing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An exchange that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// For how long; `None` is until healed or the caller leaves.
    pub time: Option<Duration>,
    /// What comes then.
    pub then: Then,
}

/// What ends a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// This status, without a body of the upstream.
    Status(u16),
    /// A cut.
    Cut(Cut),
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Only this stream of an HTTP/2 connection; on HTTP/1 as `Close`.
    Stream,
    /// FIN.
    Close,
    /// A real RST.
    Reset,
}

/// What is done once the upstream has answered.
#[derive(Clone, Debug, Default)]
pub struct After {
    /// Waits before the head of the answer is passed on.
    pub delays: Vec<Delay>,
    /// The answer is thrown away and this one sent.
    pub respond: Option<(FaultRef, Arc<Answer>)>,
    /// The answer is held back: before its head, or between its head and its body.
    pub hang: Option<(FaultRef, HangAt, Hang)>,
    /// The connection is cut instead of passing on the answer.
    pub cut: Option<(FaultRef, Cut)>,
}

impl After {
    /// Whether nothing has taken the answer yet: the first in file order does, and later ones are not hit.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.respond.is_none() && self.hang.is_none() && self.cut.is_none()
    }

    /// Nothing is done.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.delays.is_empty() && self.is_free()
    }
}

/// Where an answer stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangAt {
    /// The upstream has answered; its head is held back.
    Headers,
    /// The head is passed on, the body is held back.
    Body,
}

/// How a stream of bytes is shaped on its way through.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Waits before each piece that came from the sender.
    pub piece: Vec<PieceDelay>,
    /// A cut after this many payload bytes, with whose it is; the lowest wins.
    pub cut_bytes: Option<(FaultRef, u64, Cut)>,
    /// A cut when this much time has passed since the stream began; the earliest wins.
    pub cut_time: Option<(FaultRef, Duration, Cut)>,
    /// What is done to the bytes themselves.
    pub bytes: Option<Box<Bytes>>,
}

impl Shape {
    /// Bytes pass as they come.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_plain() && self.bytes.is_none()
    }

    /// Nothing is done but to the bytes themselves.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.piece.is_empty() && self.cut_bytes.is_none() && self.cut_time.is_none()
    }

    /// What is done to the bytes themselves, to be added to.
    pub fn bytes(&mut self) -> &mut Bytes {
        self.bytes.get_or_insert_default()
    }
}

/// A wait before each piece of a stream, drawn anew for each.
#[derive(Clone, Debug)]
pub struct PieceDelay {
    /// The fault that asked for it.
    pub by: FaultRef,
    /// How long, drawn for each piece.
    pub time: Distribution,
    /// How much of it a ramp has reached, 0 to 1.
    pub dose: f64,
    /// What it is drawn with.
    pub dice: Dice,
}
