//! What charts of one run have in common: the time they show, its phases, its faults, and the moments worth a mark.

/// The time that is shown, and what was when. All times are in one clock, that of whoever asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The phases.
    pub phases: Vec<Band>,
    /// When faults were in force.
    pub faults: Vec<Band>,
    /// Moments: onsets.
    pub marks: Vec<Mark>,
}

/// A stretch of time with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// Its name.
    pub name: String,
    /// Its begin.
    pub from: f64,
    /// Its end.
    pub to: f64,
}

/// A moment with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// When.
    pub at: f64,
    /// One or two characters that stand on it.
    pub sign: String,
    /// What it is, in words.
    pub name: String,
}

impl Band {
    /// A stretch of this name.
    #[must_use]
    pub fn new(name: impl Into<String>, from: f64, to: f64) -> Self {
        Self { name: name.into(), from, to }
    }
}

impl Frame {
    /// How long it is; never nothing.
    #[must_use]
    pub fn length(&self) -> f64 {
        let length = self.to - self.from;
        if length.is_finite() { length.max(1e-3) } else { 1e-3 }
    }

    /// Where a time is: 0 at the begin, 1 at the end, never outside.
    pub(super) fn place(&self, t: f64) -> f64 {
        let place = (t - self.from) / self.length();
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}
