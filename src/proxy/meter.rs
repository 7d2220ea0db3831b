//! How the bytes of one direction are let through: how many at once, when, and which of them wrong.
//!
//! Invariants: nothing is let through faster than the lowest rate that is on, nor in bursts of more than a tenth of a second;
//! over time the rate is exact; a fault that is healed has no say from that moment on. Knows nothing of messages and sockets.

use super::edge::EdgeHere;
use super::exchange::{Lease, Record, Struck};
use crate::decision::{Bytes, Dice, Distribution, FaultRef, Flips, Pieces};
use crate::net::timer;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How long a piece takes at the rate that is asked for: 50 of them a second.
const STEP: f64 = 0.02;
/// Who comes later than this was idle; up to there it is our own lateness, and made up for.
const LATE: Duration = Duration::from_millis(80);

/// What one decision does to one direction.
#[derive(Debug)]
pub(super) struct Meter {
    paces: Vec<Pace>,
    cutters: Vec<Cutter>,
    flippers: Vec<Flipper>,
    begun: Instant,
    seen: Vec<(FaultRef, &'static str)>,
    /// Bits were flipped.
    pub touched: bool,
}

/// One rate.
#[derive(Debug)]
struct Pace {
    lease: Lease,
    line: Line,
}

/// A line of so many bytes a second.
#[derive(Debug)]
struct Line {
    rate: f64,
    /// Until then it is busy with what was let through.
    due: Option<Instant>,
}

impl Line {
    /// How much goes at once.
    fn step(&self) -> u64 {
        ((self.rate * STEP) as u64).max(1)
    }

    /// So many bytes are next.
    fn charge(&mut self, length: usize, now: Instant) {
        let start = match self.due {
            Some(due) if now.saturating_duration_since(due) < LATE => due,
            _ => now,
        };
        self.due = Some(start + Duration::from_secs_f64(length as f64 / self.rate));
    }
}

/// One size of pieces.
#[derive(Debug)]
struct Cutter {
    lease: Lease,
    size: u64,
    pause: Distribution,
    dose: f64,
    dice: Dice,
    /// Bytes left of this piece.
    left: u64,
    until: Option<Instant>,
}

/// One source of flipped bits.
#[derive(Debug)]
struct Flipper {
    lease: Lease,
    share: f64,
    dice: Dice,
    /// Sound bytes up to the next one.
    gap: u64,
}

impl Flipper {
    /// The number of sound bytes before a flip: geometric, so that it costs a draw for each flip and not for each byte.
    fn draw(share: f64, dice: &mut Dice) -> u64 {
        let unit = dice.unit();
        if share >= 1.0 { 0 } else { ((-unit).ln_1p() / (-share).ln_1p()) as u64 }
    }
}

impl Meter {
    /// The meter of these faults, as far as they are on.
    pub(super) fn new(bytes: &Bytes, struck: &Struck) -> Self {
        let paces = bytes.rates.iter().filter_map(|(by, rate)| {
            Some(Pace { lease: struck.lease(*by)?, line: Line { rate: *rate, due: None } })
        });
        let cutters = bytes.pieces.iter().filter_map(|Pieces { by, size, pause, dose, dice }| {
            let (pause, dice, size) = (pause.clone(), dice.clone(), (*size).max(1));
            Some(Cutter {
                lease: struck.lease(*by)?,
                size,
                pause,
                dose: *dose,
                dice,
                left: size,
                until: None,
            })
        });
        let flippers = bytes.flips.iter().filter_map(|Flips { by, share, dice }| {
            let mut dice = dice.clone();
            let gap = Flipper::draw(*share, &mut dice);
            Some(Flipper { lease: struck.lease(*by)?, share: *share, dice, gap })
        });
        Self {
            paces: paces.collect(),
            cutters: cutters.collect(),
            flippers: flippers.collect(),
            begun: Instant::now(),
            seen: Vec::new(),
            touched: false,
        }
    }

    /// A meter of one rate.
    pub(super) fn of_rate(by: FaultRef, rate: f64, struck: &Struck) -> Self {
        Self::new(&Bytes { rates: vec![(by, rate)], ..Bytes::default() }, struck)
    }

    /// Whether there is nothing that could ever act.
    pub(super) fn is_empty(&self) -> bool {
        self.paces.is_empty() && self.cutters.is_empty() && self.flippers.is_empty()
    }

    /// The faults that act, each once.
    pub(super) fn faults(&self) -> impl Iterator<Item = FaultRef> {
        let paces = self.paces.iter().map(|pace| &pace.lease);
        let cutters = self.cutters.iter().map(|cutter| &cutter.lease);
        let flippers = self.flippers.iter().map(|flipper| &flipper.lease);
        paces.chain(cutters).chain(flippers).filter(|lease| lease.is_on()).map(|lease| lease.by)
    }

    /// How many of so many bytes (at least one) are let through at once.
    pub(super) fn limit(&self, available: usize) -> usize {
        let paces = self.paces.iter().filter(|pace| pace.lease.is_on());
        let steps = paces.map(|pace| pace.line.step());
        let cutters = self.cutters.iter().filter(|cutter| cutter.lease.is_on());
        let pieces = cutters.map(|cutter| if cutter.left == 0 { cutter.size } else { cutter.left });
        let most = steps.chain(pieces).min().unwrap_or(u64::MAX);
        available.min(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// So many bytes are next, no more than the limit: when they may go is what [`Meter::until`] tells from now on. The
    /// value is the lowest rate.
    pub(super) fn charge(&mut self, length: usize, now: Instant) -> Option<f64> {
        for cutter in &mut self.cutters {
            cutter.until = None;
            if cutter.lease.is_on() {
                if cutter.left == 0 {
                    cutter.left = cutter.size;
                    let pause = cutter.pause.draw(&mut cutter.dice, now - self.begun).mul_f64(cutter.dose);
                    cutter.until = Some(now + pause);
                    self.seen.push((cutter.lease.by, "chunk"));
                }
                cutter.left = cutter.left.saturating_sub(length as u64);
            }
        }
        for pace in &mut self.paces {
            pace.line.charge(length, now);
        }
        self.slowest().map(|pace| pace.line.rate)
    }

    fn slowest(&self) -> Option<&Pace> {
        self.paces
            .iter()
            .filter(|pace| pace.lease.is_on())
            .min_by(|one, other| one.line.rate.total_cmp(&other.line.rate))
    }

    /// Of all meters of a direction this one has the lowest rate: someone can see it.
    pub(super) fn binds(&mut self) {
        let by = self.slowest().map(|pace| pace.lease.by);
        self.seen.extend(by.map(|by| (by, "bandwidth")));
    }

    /// When the bytes that were charged may go; `None`: now. Asked again after a heal.
    pub(super) fn until(&self) -> Option<Instant> {
        let pace = self.slowest().and_then(|pace| pace.line.due);
        let cutters = self.cutters.iter().filter(|cutter| cutter.lease.is_on());
        pace.into_iter().chain(cutters.filter_map(|cutter| cutter.until)).max()
    }

    /// Whether a bit flips within the first so many bytes: by whom. To be asked before any has passed.
    pub(super) fn flips_within(&self, length: u64) -> Vec<FaultRef> {
        let flippers = self.flippers.iter().filter(|flipper| flipper.lease.is_on());
        flippers.filter(|flipper| flipper.gap < length).map(|flipper| flipper.lease.by).collect()
    }

    /// Flips what is to be flipped in the next bytes of the stream.
    pub(super) fn flip(&mut self, bytes: &mut [u8]) {
        for flipper in self.flippers.iter_mut().filter(|flipper| flipper.lease.is_on()) {
            let mut at = 0;
            while let Some(place) = usize::try_from(flipper.gap).ok().and_then(|gap| gap.checked_add(at))
                && let Some(byte) = bytes.get_mut(place)
            {
                *byte ^= 1 << (flipper.dice.bits() >> 61);
                flipper.gap = Flipper::draw(flipper.share, &mut flipper.dice);
                at = place + 1;
                self.touched = true;
                self.seen.push((flipper.lease.by, "corrupt"));
            }
            flipper.gap -= (bytes.len() - at) as u64;
        }
    }

    /// Counts who was seen since the last time.
    pub(super) fn tell(&mut self, struck: &mut Struck, record: &mut Record) {
        for (by, action) in self.seen.drain(..) {
            struck.hit(by, action, record);
        }
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// A wait whose end may move.
#[derive(Default)]
pub(super) struct Pause(Option<(Instant, Sleep)>);

impl Pause {
    /// Ready from that moment on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<()> {
        let Some(until) = until else {
            self.0 = None;
            return Poll::Ready(());
        };
        if self.0.as_ref().is_none_or(|(at, _)| *at != until) {
            self.0 = Some((until, Box::pin(timer::sleep_until(until))));
        }
        if let Some((_, sleep)) = &mut self.0 {
            ready!(sleep.as_mut().poll(cx));
        }
        self.0 = None;
        Poll::Ready(())
    }
}

/// Wakes whoever waits when another plan is in force: perhaps what it waits for is healed.
pub(super) struct Watch {
    edge: Rc<EdgeHere>,
    retired: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Watch {
    pub(super) fn new(edge: &Rc<EdgeHere>) -> Self {
        let retired = Box::pin(edge.shared.slot.get().retired.clone().cancelled_owned());
        Self { edge: edge.clone(), retired }
    }

    /// Ready once for each plan that was put in force since.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.retired.as_mut().poll(cx));
        self.retired = Box::pin(self.edge.shared.slot.get().retired.clone().cancelled_owned());
        Poll::Ready(())
    }
}

/// A meter in front of a writer that only wants to know how much it may write.
pub(super) struct Throttle {
    meter: Meter,
    pause: Pause,
    watch: Watch,
    /// Bytes that were charged and not written yet.
    paid: usize,
}

impl Throttle {
    /// For the body of a request, if a fault bounds it.
    pub(super) fn up(edge: &Rc<EdgeHere>, struck: &Struck) -> Option<Box<Self>> {
        let meter = Meter::new(struck.decision.up.bytes.as_deref()?, struck);
        (!meter.is_empty())
            .then(|| Box::new(Self { meter, pause: Pause::default(), watch: Watch::new(edge), paid: 0 }))
    }

    /// How many of so many bytes may be written now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, available: usize) -> Poll<usize> {
        if self.paid == 0 {
            self.paid = self.meter.limit(available);
            self.meter.charge(self.paid, Instant::now());
            self.meter.binds();
        }
        while self.watch.poll(cx).is_ready() {}
        ready!(self.pause.poll(cx, self.meter.until()));
        Poll::Ready(self.paid.min(available))
    }

    /// So many were written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.paid -= count;
    }

    /// Counts who was seen since the last time.
    pub(super) fn tell(&mut self, struck: &mut Struck, record: &mut Record) {
        self.meter.tell(struck, record);
    }
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.meter.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_exact_over_time_and_never_a_burst() {
        for rate in [7.0, 1e3, 65_536.0, 1e6, 1e8] {
            for late in [0, 150, 5_000, 40_000] {
                let mut line = Line { rate, due: None };
                let begun = Instant::now();
                let (mut now, mut passed) = (begun, 0);
                let mut last = begun;
                while now - begun < Duration::from_secs(20) {
                    let step = line.step().min(128 * 1024) as usize;
                    line.charge(step, now);
                    let due = line.due.unwrap();
                    // whoever waits for it wakes a little later
                    now = now.max(due) + Duration::from_micros(if due > now { late } else { 0 });
                    passed += step;
                    let allowed = rate * (now - begun).as_secs_f64();
                    assert!(passed as f64 <= allowed + 1.0, "{rate}: {passed} of {allowed}");
                    assert!(rate < 50.0 || now - last <= Duration::from_millis(100), "{rate}: not smooth");
                    last = now;
                }
                let allowed = rate * (now - begun).as_secs_f64();
                assert!(passed as f64 >= 0.98 * allowed - 1.0, "{rate}, {late}: {passed} of {allowed}");
            }
        }
    }

    #[test]
    fn who_was_idle_has_saved_up_nothing() {
        let mut line = Line { rate: 1000.0, due: None };
        let begun = Instant::now();
        line.charge(20, begun);
        let later = begun + Duration::from_secs(10);
        line.charge(20, later);
        assert_eq!(line.due, Some(later + Duration::from_millis(20)));
    }

    #[test]
    fn flips_are_as_frequent_as_asked() {
        for share in [0.5, 0.01, 0.001] {
            let mut dice = Dice::new(7, crate::decision::Key(1), crate::decision::Key(2));
            let (mut place, mut flips) = (0u64, 0u64);
            while place < 1_000_000 {
                place += Flipper::draw(share, &mut dice) + 1;
                flips += 1;
            }
            let expected = place as f64 * share;
            let sigma = (expected * (1.0 - share)).sqrt();
            assert!((flips as f64 - expected).abs() < 5.0 * sigma + 1.0, "{share}: {flips}");
        }
    }
}
