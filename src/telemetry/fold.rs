//! A window under way: the same sums as [`Window::add`], in arrays, so that an exchange costs the collector tens of
//! nanoseconds. Knows nothing of when a window ends.

use super::attempts::Attempt;
use super::{Ending, Exchange, Histogram, Origin, Window};
use crate::model::Phase;

/// Statuses that have a place of their own; what is beyond takes the map of the window.
const STATUSES: usize = 600;

/// What one edge did in one phase since the last window.
#[derive(Debug)]
pub(crate) struct Fold {
    window: Window,
    judged: Side,
    injected: Side,
    by_origin: [u64; Origin::ALL.len()],
    touched: bool,
}

/// The sums of judged, or of injected exchanges.
#[derive(Debug, Default)]
struct Side {
    statuses: Box<[u64]>,
    durations: Box<[u64]>,
}

impl Side {
    fn add(&mut self, exchange: &Exchange) -> bool {
        if self.statuses.is_empty() {
            self.statuses = vec![0; STATUSES].into();
            self.durations = vec![0; Histogram::BUCKETS].into();
        }
        if exchange.timed {
            self.durations[usize::from(Histogram::bucket(exchange.took))] += 1;
        }
        let place = self.statuses.get_mut(usize::from(exchange.status));
        place.map(|count| *count += 1).is_some()
    }

    /// What was counted, and back to nothing.
    fn take(counts: &mut [u64]) -> impl Iterator<Item = (u16, u64)> {
        let taken = counts.iter_mut().zip(0..).map(|(count, place)| (place, std::mem::take(count)));
        taken.filter(|(_, count)| *count > 0)
    }
}

impl Fold {
    pub(crate) fn new(edge: u16, phase: Phase) -> Self {
        Self {
            window: Window { edge, phase: Some(phase), ..Window::default() },
            judged: Side::default(),
            injected: Side::default(),
            by_origin: [0; Origin::ALL.len()],
            touched: false,
        }
    }

    /// Counts an exchange.
    pub(crate) fn add(&mut self, exchange: &Exchange) {
        self.touched = true;
        let window = &mut self.window;
        window.bytes_up += exchange.bytes_up;
        window.bytes_down += exchange.bytes_down;
        if exchange.health {
            window.health += 1;
            return;
        }
        self.by_origin[exchange.origin as usize] += 1;
        window.abandoned += u64::from(exchange.ending == Ending::CallerLeft);
        window.zombie += u64::from(exchange.zombie.is_some());
        let (side, count, failed, statuses) = if exchange.origin == Origin::Injected {
            let statuses = &mut window.injected_by_status;
            (&mut self.injected, &mut window.injected, &mut window.injected_failed, statuses)
        } else {
            (&mut self.judged, &mut window.requests, &mut window.failed, &mut window.by_status)
        };
        *count += 1;
        *failed += u64::from(exchange.failed);
        if !side.add(exchange) {
            *statuses.entry(exchange.status).or_default() += 1;
        }
    }

    /// Counts which attempt of a logical request an exchange was.
    pub(crate) fn attempted(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::First => self.window.logical += 1,
            Attempt::Retry => self.window.retries += 1,
            Attempt::Unknown => {}
        }
    }

    /// Keeps the larger gauges.
    pub(crate) fn saw(&mut self, in_flight: u64, connections: u64) {
        self.touched = true;
        self.window.in_flight = self.window.in_flight.max(in_flight);
        self.window.connections = self.window.connections.max(connections);
    }

    /// Counts answers to copies that differed.
    pub(crate) fn differed(&mut self, count: u64) {
        self.touched = true;
        self.window.duplicates_differ += count;
    }

    /// The window, if there was anything in it; the next one begins.
    pub(crate) fn take(&mut self) -> Option<Window> {
        if !std::mem::take(&mut self.touched) {
            return None;
        }
        let next = Window { edge: self.window.edge, phase: self.window.phase, ..Window::default() };
        let mut window = std::mem::replace(&mut self.window, next);
        for (side, statuses, durations) in [
            (&mut self.judged, &mut window.by_status, &mut window.durations),
            (&mut self.injected, &mut window.injected_by_status, &mut window.injected_durations),
        ] {
            statuses.extend(Side::take(&mut side.statuses));
            *durations = Side::take(&mut side.durations).collect();
        }
        for (origin, count) in Origin::ALL.into_iter().zip(&mut self.by_origin) {
            if *count > 0 {
                window.by_origin.insert(origin, std::mem::take(count));
            }
        }
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{EdgeId, Method};
    use proptest::prelude::*;
    use std::time::Duration;

    prop_compose! {
        fn exchange()(
            micros in any::<u64>(), timed: bool, status in any::<u16>(), usual in 0u16..600, odd: bool,
            origin in prop::sample::select(&Origin::ALL[..]), left: bool, flags: [bool; 3], bytes: [u32; 2],
        ) -> Exchange {
            Exchange {
                edge: EdgeId(3),
                phase: Phase::Fault,
                began: tokio::time::Instant::now(),
                took: Duration::from_micros(micros >> (micros % 64)),
                upstream_took: None,
                timed,
                method: Method::Get,
                status: if odd { status } else { usual },
                origin,
                ending: if left { Ending::CallerLeft } else { Ending::Complete },
                failed: flags[0],
                health: flags[1],
                zombie: flags[2].then_some(Duration::ZERO),
                identity: crate::telemetry::Identity::None,
                target: 0,
                retry_after: None,
                bytes_up: bytes[0].into(),
                bytes_down: bytes[1].into(),
                asked: Duration::ZERO,
                waited: Duration::ZERO,
                hits: Vec::new(),
        lies: Vec::new(),
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_as_a_window(windows in prop::collection::vec(prop::collection::vec(exchange(), 0..20), 1..4)) {
            let mut fold = Fold::new(3, Phase::Fault);
            for exchanges in windows {
                let mut window = Window { edge: 3, phase: Some(Phase::Fault), ..Window::default() };
                for exchange in &exchanges {
                    fold.add(exchange);
                    window.add(exchange);
                }
                prop_assert_eq!(fold.take(), (!exchanges.is_empty()).then_some(window));
            }
        }
    }
}
