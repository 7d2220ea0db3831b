//! Which exchanges are attempts of a logical request that was there before: per edge, over a minute.
//!
//! Invariants: at most [`MOST`] logical requests of an edge are remembered, the latest ones; every attempt counts once, as a
//! logical request or as a retry of one. Pure: it is told the time. Knows nothing of windows.

use super::{Ending, Exchange, Identity};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::Instant;

/// A repetition that comes later is a new logical request.
const WITHIN: u64 = 60_000_000;
/// An attempt may be seen so long before the end of the one that it repeats: the caller knows of the end first.
const SLACK: u64 = 2_000;
/// So many logical requests are remembered.
const MOST: usize = 65_536;
/// So many that were repeated lately are passed over when one has to be forgotten.
const SPARED: usize = 8;

/// What an exchange counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The first one of a logical request.
    First,
    /// Another one.
    Retry,
    /// None: nothing tells which request it is of.
    Unknown,
}

/// The logical requests of one edge in the last minute. Times are microseconds since it was made.
#[derive(Debug)]
pub(crate) struct Attempts {
    epoch: Instant,
    known: HashMap<u64, Known, BuildHasherDefault<AsItIs>>,
    /// The keys of them all, each once, by when they were seen when they were put here.
    order: VecDeque<(u64, u64)>,
    most: usize,
    /// How soon a logical request had to be forgotten for want of room.
    forgot_after: Option<Duration>,
}

/// A logical request.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When the last attempt ended.
    ended: u64,
    /// When the latest attempt so far began.
    began: u64,
    /// When that attempt ended, if it failed or was abandoned.
    failed: Option<NonZeroU64>,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            known: HashMap::default(),
            order: VecDeque::new(),
            most: MOST,
            forgot_after: None,
        }
    }

    /// Counts an exchange that has ended. Those of several workers come nearly in the order in which they ended.
    pub(crate) fn count(&mut self, exchange: &Exchange) -> Attempt {
        let (kind, hash, any) = match exchange.identity {
            Identity::None => return Attempt::Unknown,
            Identity::Given(hash) => (1u64, hash, true),
            // what is alike may be another request: only what did not work out is tried again
            Identity::Trace(hash) => (2, hash, false),
            Identity::Fingerprint(hash) => (3, hash, false),
        };
        let target = (u64::from(exchange.target) << 2 | kind).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let began = micros(exchange.began.saturating_duration_since(self.epoch));
        let ended = began.saturating_add(micros(exchange.took));
        let failed = exchange.failed || exchange.ending == Ending::CallerLeft;
        let failed = if failed { NonZeroU64::new(ended.max(1)) } else { None };
        self.attempt(hash.rotate_left(17) ^ target, any, Known { ended, began, failed })
    }

    fn attempt(&mut self, key: u64, any: bool, now: Known) -> Attempt {
        let Some(known) = self.known.get_mut(&key) else {
            self.make_room(now.ended);
            self.known.insert(key, now);
            self.order.push_back((now.ended, key));
            return Attempt::First;
        };
        let before =
            |failed: Option<NonZeroU64>, began: u64| failed.is_some_and(|at| at.get() <= began + SLACK);
        let again = now.began <= known.ended + WITHIN
            // told before one that came after it, perhaps
            && (any || if now.began >= known.began { before(known.failed, now.began) } else { before(now.failed, known.began) });
        if !again {
            *known = now;
            return Attempt::First;
        }
        let ended = known.ended.max(now.ended);
        if now.began >= known.began {
            *known = now; // once it went well, what looks alike is another request
        }
        known.ended = ended;
        Attempt::Retry
    }

    /// Forgets what is too old, and, if there is no room, what was seen longest ago.
    fn make_room(&mut self, now: u64) {
        let mut spared = 0;
        while let Some((since, key)) = self.order.front().copied() {
            let full = self.known.len() >= self.most;
            if !full && now <= since + WITHIN {
                return;
            }
            self.order.pop_front();
            let Some(known) = self.known.get(&key) else { continue };
            let (live, seen_again) = (now <= known.ended + WITHIN, known.ended > since);
            if live && seen_again && (!full || spared < SPARED) {
                spared += 1;
                self.order.push_back((known.ended, key));
                continue;
            }
            if live {
                let age = Duration::from_micros(now.saturating_sub(known.ended));
                self.forgot_after = Some(self.forgot_after.map_or(age, |least| least.min(age)));
            }
            self.known.remove(&key);
        }
    }

    /// How soon a logical request had to be forgotten since this was asked last; `None`: none was within its minute.
    pub(crate) fn forgot_after(&mut self) -> Option<Duration> {
        self.forgot_after.take()
    }
}

fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
