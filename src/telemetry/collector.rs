//! The thread that makes events of what workers record.
//!
//! It folds batches into one [`Window`](super::Window) per edge and phase, publishes them every 250 ms, and looks at gauges every 50 ms,
//! so that a window knows its maxima. Exchanges that faults struck are published one by one, up to a bound a second.
//! Knows nothing of how counters are kept or shown.

use super::attempts::{Attempt, Attempts};
use super::feed::lock;
use super::fold::Fold;
use super::hub::{FLUSH, Shared};
use super::keep::{self, Keep};
use super::shard::Shard;
use super::{Event, Exchange, Identity};
use crate::model::Phase;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::time::Instant;

/// How often windows are published.
const WINDOW: Duration = Duration::from_millis(250);
/// How often gauges are looked at.
const SAMPLE: Duration = Duration::from_millis(50);
/// At most so many struck exchanges are told one by one, each second.
const STRUCK: u64 = 2_000;

/// Whoever comes so late to what he does every 100 ms or oftener stood still.
pub(crate) const STALL: Duration = Duration::from_secs(1);

/// What workers and flushes send.
#[derive(Debug)]
pub(crate) enum Message {
    /// A worker began to record.
    Joined(u64),
    /// Exchanges that have ended.
    Batch(Batch),
    /// A worker stood still for so long, until now.
    Stalled(Duration),
    /// A worker ended.
    Gone(u64),
    /// Everything recorded before this is to be published.
    Flush(u64),
    /// The end.
    Stop,
}

/// Exchanges of one worker, in the order in which they ended.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) worker: u64,
    /// The last flush that the worker had seen: all it recorded before that flush is here or was sent before.
    pub(crate) epoch: u64,
    pub(crate) exchanges: Vec<Exchange>,
    /// What it holds of the room for batches.
    pub(crate) bytes: usize,
}

/// The thread's state.
pub(crate) struct Collector {
    shared: Arc<Shared>,
    receiver: Receiver<Message>,
    folds: BTreeMap<(u16, Phase), Fold>,
    /// Each worker, and the last flush it has seen.
    workers: BTreeMap<u64, u64>,
    /// The flush that is waited for, and until when.
    flush: Option<(u64, Instant)>,
    next_sample: Instant,
    next_window: Instant,
    struck: Struck,
    keep: Keep,
    /// Of each edge: the logical requests of the last minute; how many logical requests and retries no metric shows yet.
    attempts: BTreeMap<u16, (Attempts, [u64; 2])>,
    /// It was said that some of them are forgotten too soon.
    forgetful: bool,
    /// It was said that not every exchange is kept.
    thinned: bool,
    /// It was said that a reader missed some of them.
    missed: bool,
    /// When windows were published last.
    published: Instant,
    /// Of each edge: answers to copies that differed.
    differ: BTreeMap<u16, u64>,
    lost: u64,
}

/// How many struck exchanges were told in this second, and how many were not.
struct Struck {
    second: Instant,
    told: u64,
    untold: u64,
}

impl Collector {
    pub(crate) fn new(shared: Arc<Shared>, receiver: Receiver<Message>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            receiver,
            folds: BTreeMap::new(),
            differ: BTreeMap::new(),
            workers: BTreeMap::new(),
            flush: None,
            next_sample: now,
            next_window: now + WINDOW,
            struck: Struck { second: now, told: 0, untold: 0 },
            keep: Keep::new(),
            attempts: BTreeMap::new(),
            forgetful: false,
            thinned: false,
            missed: false,
            published: now,
            lost: 0,
        }
    }

    /// Until [`Message::Stop`].
    pub(crate) fn run(mut self) {
        let mut awake = Instant::now();
        loop {
            let now = Instant::now();
            self.stalled(now.saturating_duration_since(std::mem::replace(&mut awake, now)));
            if now >= self.next_sample {
                self.sample();
                self.next_sample = now + SAMPLE;
            }
            let flushed = self
                .flush
                .filter(|(epoch, until)| now >= *until || self.workers.values().all(|seen| seen >= epoch));
            if now >= self.next_window || flushed.is_some() {
                self.publish();
                self.next_window = now + WINDOW;
            }
            if let Some((epoch, _)) = flushed {
                self.flush = None;
                *lock(&self.shared.flushed.0) = epoch;
                self.shared.flushed.1.notify_all();
            }
            let until = self.next_sample.min(self.next_window);
            match self.receiver.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Message::Joined(worker)) => {
                    self.workers.insert(worker, 0);
                }
                Ok(Message::Batch(batch)) => self.fold(batch),
                Ok(Message::Gone(worker)) => {
                    self.workers.remove(&worker);
                }
                Ok(Message::Stalled(time)) => self.stalled(time),
                Ok(Message::Flush(epoch)) => self.flush = Some((epoch, now + FLUSH * 9 / 10)),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        while let Ok(message) = self.receiver.try_recv() {
            if let Message::Batch(batch) = message {
                self.fold(batch);
            }
        }
        self.sample();
        self.publish();
        self.shared.feed.close();
    }

    /// Tells that somebody stood still for so long, if it was long.
    fn stalled(&self, time: Duration) {
        if time >= STALL {
            self.shared.feed.publish(Event::Stalled { seconds: (time.as_secs_f64() * 1e6).round() / 1e6 });
        }
    }

    fn fold(&mut self, batch: Batch) {
        let wanted = self.shared.feed.wants_passed();
        for exchange in &batch.exchanges {
            if wanted && !exchange.health {
                let began = self.shared.feed.at(exchange.began);
                self.keep.add(exchange.edge.0, keep::passed(exchange, began));
            }
            let attempt = self.attempt(exchange);
            let fold = self.of(exchange.edge.0, exchange.phase);
            fold.add(exchange);
            fold.attempted(attempt);
            if !exchange.hits.is_empty() {
                self.tell(exchange);
            }
        }
        if let Some(seen) = self.workers.get_mut(&batch.worker) {
            *seen = batch.epoch.max(*seen);
        }
        self.count_attempts();
        self.shared.release(batch.bytes);
        self.shared.give_back(batch.exchanges);
    }

    /// Which attempt of its logical request an exchange was, counted for the metrics.
    fn attempt(&mut self, exchange: &Exchange) -> Attempt {
        if exchange.health || exchange.identity == Identity::None {
            return Attempt::Unknown;
        }
        let of = self.attempts.entry(exchange.edge.0).or_insert_with(|| (Attempts::new(), [0; 2]));
        let attempt = of.0.count(exchange);
        of.1[usize::from(attempt == Attempt::Retry)] += 1;
        attempt
    }

    /// Adds what was counted to what metrics show.
    fn count_attempts(&mut self) {
        let mut edges = lock(&self.shared.edges);
        for (place, (_, counts)) in &mut self.attempts {
            if let Some(entry) = edges.get_mut(usize::from(*place)) {
                entry.logical += std::mem::take(&mut counts[0]);
                entry.retries += std::mem::take(&mut counts[1]);
            }
        }
    }

    fn of(&mut self, edge: u16, phase: Phase) -> &mut Fold {
        self.folds.entry((edge, phase)).or_insert_with(|| Fold::new(edge, phase))
    }

    /// Publishes an exchange that was struck, or counts it among those for which there is no room.
    fn tell(&mut self, exchange: &Exchange) {
        let now = Instant::now();
        if now.saturating_duration_since(self.struck.second) >= Duration::from_secs(1) {
            (self.struck.second, self.struck.told) = (now, 0);
        }
        let told = self.struck.told < STRUCK
            && self.shared.feed.publish(Event::Struck {
                edge: exchange.edge.0,
                phase: exchange.phase,
                began: self.shared.feed.at(exchange.began),
                took: (exchange.took.as_secs_f64() * 1e6).round() / 1e6,
                method: exchange.method,
                status: exchange.status,
                origin: exchange.origin,
                ending: exchange.ending,
                hits: exchange.hits.clone(),
                lies: exchange.lies.clone(),
            });
        self.struck.told += u64::from(told);
        self.struck.untold += u64::from(!told);
    }

    /// Keeps the largest gauges seen within a window.
    fn sample(&mut self) {
        let phase = self.shared.phase();
        let shared = Arc::clone(&self.shared);
        for (place, entry) in lock(&shared.edges).iter().enumerate() {
            let (in_flight, connections) = (entry.sum(Shard::in_flight), entry.sum(Shard::connections));
            if in_flight > 0 || connections > 0 {
                self.of(place as u16, phase).saw(in_flight, connections);
            }
        }
    }

    /// Counts answers to copies that differed since it was looked last: they come when their exchanges are over.
    fn compare(&mut self) {
        let phase = self.shared.phase();
        let shared = Arc::clone(&self.shared);
        for (place, entry) in lock(&shared.edges).iter().enumerate() {
            let differ = entry.sum(|shard| shard.differ.get());
            let known = self.differ.entry(place as u16).or_default();
            let more = differ.saturating_sub(std::mem::replace(known, differ));
            if more > 0 {
                self.of(place as u16, phase).differed(more);
            }
        }
    }

    /// Publishes every exchange that has ended since, as far as they are kept.
    fn publish_passed(&mut self) {
        let now = Instant::now();
        self.keep.refill(now.saturating_duration_since(self.published).as_secs_f64());
        self.published = now;
        if !self.shared.feed.wants_passed() {
            return self.keep.forget();
        }
        let (one_in, edges) = self.keep.take(self.shared.feed.at(now));
        for (edge, exchanges) in edges {
            let count = exchanges.len();
            if !self.shared.feed.publish(Event::Passed { edge, one_in, exchanges })
                && !std::mem::replace(&mut self.missed, true)
            {
                let text = format!(
                    "{count} exchanges and perhaps more came faster than they could be read, and are not analysed; metrics \
                     and expectations know them all"
                );
                self.shared.feed.publish(Event::Warning { text });
            }
        }
        if one_in > 1 && !std::mem::replace(&mut self.thinned, true) {
            let text = format!(
                "more than {} requests a second: only one logical request in {one_in} or more is analysed; metrics and \
                 expectations know them all",
                keep::RATE
            );
            self.shared.feed.publish(Event::Warning { text });
        }
    }

    /// Says once that retries are not told from new requests any more if they come late.
    fn say_what_is_forgotten(&mut self) {
        if self.forgetful {
            return;
        }
        let forgot = self.attempts.iter_mut().find_map(|(place, (of, _))| Some((*place, of.forgot_after()?)));
        let Some((place, after)) = forgot else { return };
        self.forgetful = true;
        let edges = lock(&self.shared.edges);
        let name = edges.get(usize::from(place)).map(|entry| entry.labels.name.to_string());
        drop(edges);
        let text = format!(
            "edge `{}` has too many different requests a minute to remember them all: those that come again after more than \
             {:.0} s are not counted as retries",
            name.unwrap_or_default(),
            after.as_secs_f64()
        );
        self.shared.feed.publish(Event::Warning { text });
    }

    fn publish(&mut self) {
        self.compare();
        for window in self.folds.values_mut().filter_map(Fold::take) {
            self.shared.feed.publish(Event::Window(window));
        }
        self.publish_passed();
        self.say_what_is_forgotten();
        let struck = std::mem::take(&mut self.struck.untold);
        if struck > 0 {
            self.shared.feed.publish(Event::Unwritten { struck });
        }
        let lost = self.shared.lost();
        if lost > self.lost {
            let more = lost - std::mem::replace(&mut self.lost, lost);
            let text = format!(
                "{more} events were lost because they came faster than they could be read; metrics are exact"
            );
            self.shared.feed.publish(Event::Warning { text });
        }
    }
}
