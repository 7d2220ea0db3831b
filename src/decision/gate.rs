//! Gates: what an exchange, or a connection, must pass before anything else is done to it.
//!
//! A gate is a wish. Who is inside and who waits is kept where the fault is armed; it is waited for in the data path.

use super::{FaultRef, Key, Then};
use std::time::Duration;

/// One gate, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// The fault that put it up.
    pub by: FaultRef,
    /// Those of one key share it.
    pub key: Key,
    /// What it lets through.
    pub lets: Lets,
}

/// What a gate lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lets {
    /// So many in a time.
    Rate(Rate),
    /// Nobody for a while.
    Thawed(Freeze),
    /// So many at a time.
    Some(Capacity),
    /// One at a time, each for at least this long.
    One(Duration),
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens per second.
    pub per_second: f64,
    /// Tokens that it holds when it is full, as it is at first.
    pub burst: u32,
}

/// So many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Inside.
    pub max: u32,
    /// Waiting.
    pub queue: u32,
    /// How long each waits at most.
    pub wait: Duration,
    /// What comes then, and to those for whom there is no room to wait.
    pub then: Then,
}

/// Nothing moves, for a while, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// How long.
    pub lasts: Duration,
    /// From start to start; `None`: once.
    pub every: Option<Duration>,
}

impl Freeze {
    /// This long after the arming: when the freeze that is on ends, since the arming; `None` if nothing is frozen.
    #[must_use]
    pub fn thaws(&self, elapsed: Duration) -> Option<Duration> {
        let begun = self.turn(elapsed)?;
        (elapsed < begun + self.lasts).then(|| begun + self.lasts)
    }

    /// When the next freeze begins, since the arming.
    #[must_use]
    pub fn next(&self, elapsed: Duration) -> Option<Duration> {
        Some(self.turn(elapsed)? + self.every?)
    }

    /// When the last one began.
    fn turn(&self, elapsed: Duration) -> Option<Duration> {
        let Some(every) = self.every else { return Some(Duration::ZERO) };
        let turns = elapsed.as_nanos().checked_div(every.as_nanos())?;
        Some(every.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX)))
    }
}

/// A bound on the connections of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The fault that sets it.
    pub by: FaultRef,
    /// At most so many.
    pub max: u32,
    /// What the next one gets.
    pub then: Full,
}

/// What a connection gets for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// A RST as soon as it is there: as near to a refused connection as an open listener comes.
    Refuse,
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// PostgreSQL's own error, with this SQLSTATE.
    Postgres([u8; 5]),
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_freeze_comes_and_goes() {
        let once = Freeze { lasts: ms(700), every: None };
        assert_eq!((once.thaws(ms(0)), once.next(ms(0))), (Some(ms(700)), None));
        assert_eq!(
            (once.thaws(ms(699)), once.thaws(ms(700)), once.thaws(ms(9999))),
            (Some(ms(700)), None, None)
        );
        let again = Freeze { every: Some(ms(5000)), ..once };
        assert_eq!((again.thaws(ms(4999)), again.next(ms(4999))), (None, Some(ms(5000))));
        assert_eq!((again.thaws(ms(5000)), again.next(ms(5000))), (Some(ms(5700)), Some(ms(10_000))));
        assert_eq!((again.thaws(ms(10_699)), again.thaws(ms(10_700))), (Some(ms(10_700)), None));
    }
}
