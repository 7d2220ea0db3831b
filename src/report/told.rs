//! Findings in words: what the summary, the Markdown and the comparison say of onsets, recoveries and callers. Pure.

use super::figures::{number, seconds, share};
use crate::analysis::{Fingerprint, Onset, Recovered, Recovery, Signal};
use crate::units::Unit;

/// A value of a signal, short.
#[must_use]
pub fn level(signal: Signal, value: f64) -> String {
    match signal {
        Signal::Errors => share(value),
        Signal::Latency => seconds(value),
        Signal::InFlight | Signal::Connections => number(Unit::Count, value.round()),
        Signal::Rate => number(Unit::PerSecond, value),
    }
}

/// What a signal is called.
#[must_use]
pub fn signal(signal: Signal) -> &'static str {
    match signal {
        Signal::Errors => "failures",
        Signal::Latency => "latency",
        Signal::InFlight => "in flight",
        Signal::Rate => "rate",
        Signal::Connections => "connections",
    }
}

/// By what an edge showed that it was ill: `latency 1.5s (baseline 8ms)`.
#[must_use]
pub fn symptom(onset: &Onset) -> String {
    format!(
        "{} {} (baseline {})",
        signal(onset.signal),
        level(onset.signal, onset.observed),
        level(onset.signal, onset.baseline)
    )
}

/// Why an edge fell ill, as far as that is known.
#[must_use]
pub fn cause(onset: &Onset) -> String {
    let faults = match onset.faults.as_slice() {
        [] => String::new(),
        some => format!(", under `{}`", some.join("`, `")),
    };
    match (&onset.after, onset.source) {
        (_, true) => format!("source{faults}"),
        (Some(after), false) => format!("follows {after}{faults}"),
        (None, false) => format!("symptom{faults}"),
    }
}

/// How an edge came back; `None`: there is nothing to tell.
#[must_use]
pub fn came_back(recovery: &Recovery) -> Option<String> {
    let surge = recovery.surge.map_or_else(String::new, |surge| {
        format!("; a surge of {} for {}", number(Unit::Times, surge.height), seconds(surge.width))
    });
    match (recovery.state, recovery.within) {
        (Recovered::Recovered, Some(within)) if within <= 0.0 && surge.is_empty() => None,
        (Recovered::Recovered, Some(within)) if within <= 0.0 => Some(format!("back at once{surge}")),
        (Recovered::Recovered, Some(within)) => Some(format!("back after {}{surge}", seconds(within))),
        (Recovered::Recovered, None) => Some(format!("back{surge}")),
        (Recovered::Not, _) => {
            let by = recovery.sustained_by.as_ref().map_or_else(String::new, |by| format!(": {by}"));
            Some(format!("did not come back{by}{surge}"))
        }
        (Recovered::Unmeasured, _) => None,
    }
}

/// What a caller is made of, a claim each; none if nothing showed.
#[must_use]
pub fn made_of(print: &Fingerprint) -> Vec<String> {
    let mut claims = Vec::new();
    if let Some(timeout) = print.timeout {
        claims.push(format!("gives up after {}", seconds(timeout)));
    }
    let pauses = print.backoff.as_deref().filter(|pauses| !pauses.is_empty()).map(|pauses| {
        let pauses: Vec<String> = pauses.iter().map(|pause| seconds(*pause)).collect();
        format!(", pausing {}", pauses.join(", "))
    });
    let pauses = pauses.unwrap_or_default();
    match print.retries {
        Some(0) => claims.push("does not try again".into()),
        Some(1) => claims.push(format!("tries again once{pauses}")),
        Some(times) => claims.push(format!("tries again {times} times{pauses}")),
        None if !pauses.is_empty() => claims.push(format!("tries again{pauses}")),
        None => {}
    }
    if let Some(breaker) = print.breaker {
        let open = breaker.open_for.map_or_else(String::new, |open| format!(" for {}", seconds(open)));
        let failures = if breaker.failures == 1 { "failure" } else { "failures" };
        claims.push(format!("stops calling{open} after {} {failures}", breaker.failures));
    }
    if let Some(pool) = print.pool {
        claims.push(format!("at most {pool} calls at once"));
    }
    if let Some(fallback) = print.fallback {
        claims.push(format!("answers {} well all the same when this fails", share(fallback)));
    }
    claims
}
