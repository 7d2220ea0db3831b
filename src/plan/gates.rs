//! What is behind the gates of one armed fault: buckets, who is inside and who waits, and connections that leaked.
//!
//! Shared by all workers and made anew at each arming. Invariants: never more are inside than may be (but for those that were
//! there before); who came first goes in first; a place is given back when it is dropped, whatever became of its holder;
//! at most `KEYS` keys are told apart, further ones pass freely. Knows no clock and no runtime: it is told the time.

use crate::decision::{Key, Rate};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Keys that are told apart.
const KEYS: usize = 65_536;
/// When all are taken, it is looked this often whether some are free again.
const SWEEP: Duration = Duration::from_millis(100);

/// All of it.
#[derive(Debug, Default)]
pub struct Gates {
    /// Of `limit`.
    pub buckets: Buckets,
    /// Of `capacity`.
    pub places: Arc<Lanes>,
    /// Of `serialize`.
    pub rows: Arc<Lanes>,
    /// Connections that have closed and still count, and since which switching.
    leaked: Mutex<(u64, u32)>,
}

impl Gates {
    /// How many have leaked since it was last switched.
    pub(super) fn leaked(&self, switched: u64) -> u32 {
        let (since, count) = *lock(&self.leaked);
        if since == switched { count } else { 0 }
    }

    /// One more.
    pub(super) fn leak(&self, switched: u64) {
        let mut leaked = lock(&self.leaked);
        let before = if leaked.0 == switched { leaked.1 } else { 0 };
        *leaked = (switched, before.saturating_add(1));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Token buckets, one a key. For each it is only known when it would be full again, in whole nanoseconds: never more pass
/// than a full bucket and what has flowed in.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<HashMap<Key, u64>>);

impl Buckets {
    /// Takes a token.
    ///
    /// # Errors
    /// When there is none: how long until there is one.
    pub fn take(&self, key: Key, rate: Rate, now: Duration) -> Result<(), Duration> {
        let token = (1e9 / rate.per_second).ceil().max(1.0) as u64;
        let room = token.saturating_mul(u64::from(rate.burst.saturating_sub(1)));
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut buckets = lock(&self.0);
        if buckets.len() >= KEYS && !buckets.contains_key(&key) {
            return Ok(());
        }
        let full = buckets.entry(key).or_default();
        let begins = now.saturating_add(room);
        if *full > begins {
            return Err(Duration::from_nanos(*full - begins));
        }
        *full = (*full).max(now).saturating_add(token);
        Ok(())
    }
}

/// How wide a lane is.
#[derive(Clone, Copy, Debug)]
pub struct Width {
    /// So many are inside.
    pub max: u32,
    /// So many wait.
    pub queue: u32,
    /// From one that goes in to the next.
    pub hold: Duration,
}

/// Lanes, one a key: so many inside, the others in a row behind them.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    lanes: HashMap<Key, Lane>,
    /// Numbers those who come.
    last: u64,
    swept: Duration,
}

#[derive(Debug, Default)]
struct Lane {
    inside: u32,
    /// By number, so that the first is the first.
    waiting: BTreeMap<u64, Waker>,
    /// Nobody goes in before.
    free: Duration,
}

/// What comes of asking for a place.
#[derive(Debug)]
pub enum Entered {
    /// A place, or one in the row: [`Place::poll`] tells.
    Place(Place),
    /// Nobody more may wait.
    Full,
    /// Too many keys: it passes without.
    Spared,
}

impl Lanes {
    /// Asks for a place at the end of the row.
    pub fn enter(self: &Arc<Self>, key: Key, width: Width, now: Duration) -> Entered {
        let mut all = lock(&self.0);
        if !all.has_room(key, now) {
            return Entered::Spared;
        }
        all.last += 1;
        let number = all.last;
        let lane = all.lanes.entry(key).or_default();
        let inside = lane.inside < width.max && lane.waiting.is_empty();
        if inside {
            lane.inside += 1;
        } else if lane.waiting.len() >= width.queue as usize {
            return Entered::Full;
        } else {
            lane.waiting.insert(number, Waker::noop().clone());
        }
        drop(all);
        Entered::Place(Place { lanes: self.clone(), key, number, width, from: None, inside: false })
    }

    /// A place for one that is inside already, whether there is room or not.
    #[must_use]
    pub fn count_in(self: &Arc<Self>, key: Key, width: Width, now: Duration) -> Option<Place> {
        let mut all = lock(&self.0);
        if !all.has_room(key, now) {
            return None;
        }
        all.lanes.entry(key).or_default().inside += 1;
        drop(all);
        Some(Place { lanes: self.clone(), key, number: 0, width, from: Some(now), inside: true })
    }

    /// How many are inside and wait, over all keys.
    #[must_use]
    pub fn count(&self) -> (u32, usize) {
        let all = lock(&self.0);
        all.lanes
            .values()
            .fold((0, 0), |(inside, waiting), lane| (inside + lane.inside, waiting + lane.waiting.len()))
    }
}

impl All {
    fn has_room(&mut self, key: Key, now: Duration) -> bool {
        if self.lanes.len() < KEYS || self.lanes.contains_key(&key) {
            return true;
        }
        if now >= self.swept + SWEEP {
            self.swept = now;
            self.lanes.retain(|_, lane| lane.inside > 0 || !lane.waiting.is_empty() || lane.free > now);
        }
        self.lanes.len() < KEYS
    }
}

/// A place inside or in the row; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    lanes: Arc<Lanes>,
    key: Key,
    number: u64,
    width: Width,
    /// From when on it is its turn, once that is known.
    from: Option<Duration>,
    /// It has gone in.
    inside: bool,
}

impl Place {
    /// Whether it is its turn: from when on, which may be a while yet.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Duration) -> Poll<Duration> {
        if let Some(from) = self.from {
            return Poll::Ready(from);
        }
        let mut all = lock(&self.lanes.0);
        let Some(lane) = all.lanes.get_mut(&self.key) else { return Poll::Ready(now) };
        if let Some(waker) = lane.waiting.get_mut(&self.number) {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        let from = lane.free.max(now);
        lane.free = from + self.width.hold;
        self.from = Some(from);
        Poll::Ready(from)
    }

    /// It goes in.
    pub fn go_in(&mut self) {
        self.inside = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut next = Vec::new();
        let mut all = lock(&self.lanes.0);
        if let Some(lane) = all.lanes.get_mut(&self.key)
            && lane.waiting.remove(&self.number).is_none()
        {
            lane.inside = lane.inside.saturating_sub(1);
            // its turn has come, and it has not taken it
            if let (Some(from), false) = (self.from, self.inside) {
                lane.free = from;
            }
            while lane.inside < self.width.max
                && let Some((_, waker)) = lane.waiting.pop_first()
            {
                lane.inside += 1;
                next.push(waker);
            }
            if lane.inside == 0 && self.width.hold.is_zero() {
                all.lanes.remove(&self.key);
            }
        }
        drop(all);
        next.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
