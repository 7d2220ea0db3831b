//! The fold of windows over time: what each edge did when, for charts. Bounded, whatever the length of a run.

use super::Fold;
use crate::chart::Series;
use crate::telemetry::Window;

impl Fold {
    /// What an edge did over time, in real seconds from the start; `None`: nothing was seen of it.
    #[must_use]
    pub fn series(&self, edge: u16) -> Option<&Series> {
        self.series.get(&edge)
    }

    pub(super) fn watch(&mut self, t: f64, window: &Window) {
        self.series.entry(window.edge).or_default().take(t, window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;
    use crate::telemetry::{Event, Stamped};

    #[test]
    fn each_edge_has_its_own_and_who_was_stopped_after_the_run_is_in_none() {
        let mut fold = Fold::new();
        let mut take = |t, event| fold.take(&Stamped { t, event });
        let window = |edge, requests, abandoned| {
            let phase = Some(Phase::Fault);
            Event::Window(Window { edge, phase, requests, abandoned, failed: abandoned, ..Window::default() })
        };
        take(0.0, Event::Phase { phase: Phase::Fault });
        take(0.25, window(0, 10, 0));
        take(0.25, window(1, 4, 1));
        take(0.5, window(1, 6, 0));
        take(0.6, Event::Phase { phase: Phase::Idle });
        take(0.75, window(1, 5, 5));
        let seen = |edge| -> Vec<(f64, u64)> {
            let series = fold.series(edge).map(Series::slices).unwrap_or_default();
            series.iter().map(|slice| (slice.to, slice.all())).collect()
        };
        assert_eq!(seen(0), [(0.25, 10)]);
        assert_eq!(seen(1), [(0.25, 4), (0.5, 6)]);
        assert_eq!(seen(2), []);
    }
}
