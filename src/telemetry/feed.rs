//! The stream of events: stamped with the time, in one order, to every reader.
//!
//! Each reader has a queue of [`QUEUE`] events. A reader that is so slow that its queue is half full gets no more `Struck`
//! lines, of which there may be thousands a second, so that phases, windows and breaches still reach it; when the queue is
//! full, it misses those too, and that is counted. Single exchanges go to those who want them, and are the first that a slow
//! reader misses, because they are large. Nobody who publishes ever waits for a reader.

use super::{Event, Stamped};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

/// Events that wait for one reader: half a minute of the busiest stream there can be.
const QUEUE: usize = 65_536;
/// A reader for whom so many events wait gets no more single exchanges.
const FEW: usize = 4_096;

/// A lock whose data is whole even if a holder panicked: every critical section here is a few plain statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where events go.
#[derive(Debug)]
pub(crate) struct Feed {
    created: Instant,
    /// Nanoseconds from `created` to the start of the clock.
    started: AtomicU64,
    readers: Mutex<Option<Vec<Reader>>>,
    /// How many of them want to know of every single exchange.
    wanting: AtomicUsize,
    missed: AtomicU64,
}

/// Somebody who reads events.
#[derive(Debug)]
struct Reader {
    queue: Sender<Arc<Stamped>>,
    wants: Wants,
}

/// What a reader wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Everything.
    All,
    /// All but [`Event::Passed`].
    NoPassed,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            created: Instant::now(),
            started: AtomicU64::new(0),
            readers: Mutex::new(Some(Vec::new())),
            wanting: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
        }
    }

    /// The clock starts at zero now.
    pub(crate) fn start_clock(&self) {
        let nanos = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.started.store(nanos, Ordering::Relaxed);
    }

    /// Seconds from the start of the clock, to the microsecond, so that they are the same when read back.
    pub(crate) fn at(&self, moment: Instant) -> f64 {
        let nanos = moment.saturating_duration_since(self.created).as_nanos() as f64;
        let since = nanos - self.started.load(Ordering::Relaxed) as f64;
        (since / 1e3).round().max(0.0) / 1e6
    }

    /// Stamps an event and passes it on; `false` if a reader missed it.
    pub(crate) fn publish(&self, event: Event) -> bool {
        let mut guard = lock(&self.readers);
        let Some(readers) = guard.as_mut().filter(|readers| !readers.is_empty()) else { return true };
        let passed = matches!(event, Event::Passed { .. });
        let room = match event {
            Event::Struck { .. } => QUEUE / 2,
            Event::Passed { .. } => QUEUE - FEW,
            _ => 0,
        };
        let stamped = Arc::new(Stamped { t: self.at(Instant::now()), event });
        let mut all = true;
        readers.retain(|Reader { queue, wants }| {
            if queue.is_closed() {
                return false;
            }
            if passed && *wants == Wants::NoPassed {
                return true;
            }
            if queue.capacity() < room {
                all = false;
            } else if queue.try_send(Arc::clone(&stamped)).is_err() {
                all = false;
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
            true
        });
        self.count(readers);
        all
    }

    /// A reader of every event from now on; it ends when the feed is closed.
    pub(crate) fn subscribe(&self, wants: Wants) -> Receiver<Arc<Stamped>> {
        let (queue, receiver) = channel(QUEUE);
        if let Some(readers) = lock(&self.readers).as_mut() {
            readers.push(Reader { queue, wants });
            self.count(readers);
        }
        receiver
    }

    /// Whether anybody wants to know of every single exchange.
    pub(crate) fn wants_passed(&self) -> bool {
        self.wanting.load(Ordering::Relaxed) > 0
    }

    fn count(&self, readers: &[Reader]) {
        let wanting = readers.iter().filter(|reader| reader.wants == Wants::All).count();
        self.wanting.store(wanting, Ordering::Relaxed);
    }

    /// Readers get what is in their queues, and then the end.
    pub(crate) fn close(&self) {
        *lock(&self.readers) = None;
    }

    /// How many events readers have missed.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;

    #[test]
    fn a_reader_gets_what_comes_after_it_in_order_and_then_the_end() {
        let feed = Feed::new();
        feed.publish(Event::Phase { phase: Phase::Idle });
        let mut reader = feed.subscribe(Wants::All);
        feed.publish(Event::Phase { phase: Phase::Baseline });
        feed.publish(Event::Finished);
        feed.close();
        let mut next = || reader.blocking_recv().map(|s| s.event.clone());
        assert_eq!(next(), Some(Event::Phase { phase: Phase::Baseline }));
        assert_eq!(next(), Some(Event::Finished));
        assert_eq!(next(), None);
        assert!(feed.subscribe(Wants::All).blocking_recv().is_none(), "a closed feed has ended at once");
    }

    #[test]
    fn a_slow_reader_misses_struck_lines_first_and_nobody_waits() {
        let feed = Feed::new();
        let mut reader = feed.subscribe(Wants::All);
        let struck = || Event::Struck {
            edge: 0,
            phase: Phase::Fault,
            began: 0.0,
            took: 0.0,
            method: crate::telemetry::Method::Get,
            status: 503,
            origin: crate::telemetry::Origin::Injected,
            ending: crate::telemetry::Ending::Complete,
            hits: Vec::new(),
            lies: Vec::new(),
        };
        let taken = (0..QUEUE).filter(|_| feed.publish(struck())).count();
        assert!((QUEUE / 2..=QUEUE / 2 + 1).contains(&taken), "{taken}");
        assert_eq!(feed.missed(), 0);
        assert!(feed.publish(Event::Finished), "what matters still has room");
        while feed.publish(Event::Finished) {}
        assert_eq!(feed.missed(), 1);
        assert!(reader.try_recv().is_ok());
    }

    #[test]
    fn single_exchanges_go_to_those_who_want_them_and_are_what_a_slow_reader_misses_first() {
        let feed = Feed::new();
        let passed = || Event::Passed { edge: 0, one_in: 1, exchanges: Vec::new() };
        let mut brief = feed.subscribe(Wants::NoPassed);
        assert!(!feed.wants_passed());
        assert!(feed.publish(passed()));
        assert!(brief.try_recv().is_err());
        let reader = feed.subscribe(Wants::All);
        assert!(feed.wants_passed());
        let taken = (0..QUEUE).filter(|_| feed.publish(passed())).count();
        assert!((FEW..=FEW + 1).contains(&taken), "{taken}");
        assert_eq!(feed.missed(), 0);
        assert!(feed.publish(Event::Finished), "what matters still has room");
        drop(reader);
        feed.publish(Event::Finished);
        assert!(!feed.wants_passed(), "nobody is left who wants them");
    }

    #[test]
    fn the_clock_starts_when_told_and_never_runs_below_zero() {
        let feed = Feed::new();
        let before = Instant::now();
        feed.start_clock();
        assert_eq!(feed.at(before - std::time::Duration::from_secs(5)), 0.0);
        assert!(feed.at(Instant::now()) < 5.0);
    }
}
