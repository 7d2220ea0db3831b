//! A circuit breaker as many services have one by hand: it counts failed charges and lets one trial through.
//!
//! Closed until so many charges failed in a row; then open for a time; then one trial call decides. It stands inside the
//! retry loop, so a charge that meets it open still waits through its pauses, with its database connection in hand: the
//! provider is spared, the pool is not. That is the mistake of the demo, and it is meant. Pure: the caller tells the time.

use std::time::Duration;
use tokio::time::Instant;

/// The breaker's state.
#[derive(Debug)]
pub(super) struct Breaker {
    after: u32,
    open_for: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Calls go through; so many charges failed in a row.
    Closed(u32),
    /// No call goes through before this moment.
    Open(Instant),
    /// One trial is under way.
    Trying,
}

/// What a charge may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Call the provider.
    Call,
    /// Call the provider; this one call decides for all.
    Trial,
    /// Do not call.
    Refused,
}

impl Breaker {
    pub(super) fn new(after: u32, open_for: Duration) -> Self {
        Self { after, open_for, state: State::Closed(0) }
    }

    /// Asked before every call.
    pub(super) fn ask(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed(_) => Admission::Call,
            State::Open(until) if now >= until => {
                self.state = State::Trying;
                Admission::Trial
            }
            State::Open(_) | State::Trying => Admission::Refused,
        }
    }

    /// A call succeeded.
    pub(super) fn call_succeeded(&mut self, admission: Admission) {
        if admission == Admission::Trial || matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(0);
        }
    }

    /// The trial failed: open again.
    pub(super) fn trial_failed(&mut self, now: Instant) {
        self.state = State::Open(now + self.open_for);
    }

    /// A charge made all its calls and all failed. Says whether this opened the breaker.
    pub(super) fn charge_failed(&mut self, now: Instant) -> bool {
        let State::Closed(failures) = &mut self.state else { return false };
        *failures += 1;
        let opens = *failures >= self.after;
        if opens {
            self.state = State::Open(now + self.open_for);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(5);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(10, OPEN);
        assert_eq!((1..=10).filter(|_| breaker.charge_failed(now)).count(), 1);
        breaker
    }

    #[test]
    fn opens_after_ten_in_a_row_and_not_before() {
        let now = Instant::now();
        let mut breaker = Breaker::new(10, OPEN);
        assert!(!(0..9).any(|_| breaker.charge_failed(now)));
        breaker.call_succeeded(Admission::Call);
        assert!(!(0..9).any(|_| breaker.charge_failed(now)));
        assert_eq!(breaker.ask(now), Admission::Call);
        assert!(breaker.charge_failed(now));
        assert_eq!(breaker.ask(now), Admission::Refused);
    }

    #[test]
    fn one_trial_decides() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.ask(now + OPEN - Duration::from_millis(1)), Admission::Refused);
        assert_eq!(breaker.ask(now + OPEN), Admission::Trial);
        assert_eq!(breaker.ask(now + OPEN), Admission::Refused);
        breaker.trial_failed(now + OPEN);
        assert_eq!(breaker.ask(now + OPEN), Admission::Refused);
        assert_eq!(breaker.ask(now + OPEN + OPEN), Admission::Trial);
        breaker.call_succeeded(Admission::Trial);
        assert_eq!(breaker.ask(now + OPEN + OPEN), Admission::Call);
    }

    #[test]
    fn what_began_before_it_opened_changes_nothing() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.charge_failed(now + Duration::from_secs(1)));
        breaker.call_succeeded(Admission::Call);
        assert_eq!(breaker.ask(now + Duration::from_secs(2)), Admission::Refused);
    }
}
