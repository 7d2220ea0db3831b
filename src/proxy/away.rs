//! Whether a caller has left, and when: the moment counts, not that at which somebody acts on it.

use std::time::Duration;
use tokio::time::Instant;

/// How a caller left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It sends nothing more (and perhaps still reads).
    Fin,
    /// It reset the connection.
    Reset,
}

/// Whether a caller has left: how, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Away {
    how: Option<Left>,
    at: Option<Instant>,
}

impl Away {
    /// It is still there.
    pub(super) fn is_none(&self) -> bool {
        self.how.is_none()
    }

    /// It has left.
    pub(super) fn is_some(&self) -> bool {
        self.how.is_some()
    }

    /// How.
    pub(super) fn how(&self) -> Option<Left> {
        self.how
    }

    /// When.
    pub(super) fn at(&self) -> Option<Instant> {
        self.how.and(self.at)
    }

    /// For how long, at this moment.
    pub(super) fn before(&self, now: Instant) -> Option<Duration> {
        self.at().map(|at| now.saturating_duration_since(at))
    }

    /// It sends nothing more, since now: if it turns out that it left, it was then.
    pub(super) fn suspect(&mut self) {
        self.at.get_or_insert_with(Instant::now);
    }

    /// It left: now, if it was not known before.
    pub(super) fn note(&mut self, left: Left) {
        self.suspect();
        self.how = Some(left);
    }
}
