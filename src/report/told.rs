//! Findings in words: what the summary, the Markdown and the comparison say of onsets, recoveries and callers. Pure.

use super::figures::{number, seconds, share};
use crate::analysis::{Counted, Fingerprint, Onset, Recovered, Recovery, Signal};
use crate::units::Unit;

/// A latency below so many times that of the baseline shows nothing by itself.
const SLOWER: f64 = 1.2;

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
    if !is_plain(onset) && !onset.evidence.is_empty() {
        let first = onset.evidence.split(';').next().unwrap_or_default();
        return format!("{}: {first}", signal(onset.signal));
    }
    format!(
        "{} {} (baseline {})",
        signal(onset.signal),
        level(onset.signal, onset.observed),
        level(onset.signal, onset.baseline)
    )
}

/// Whether the figures of an onset tell what was wrong. What is still under way has no duration yet, and what ended is as
/// fast as ever: then only the evidence does.
#[must_use]
pub fn is_plain(onset: &Onset) -> bool {
    onset.signal != Signal::Latency || onset.observed >= SLOWER * onset.baseline
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
        let what = match breaker.counts {
            Some(Counted::Attempts) => "failed attempt",
            Some(Counted::Calls) => "failed call",
            None => "failure",
        };
        let after = match breaker.failures {
            Some(1) => format!("after 1 {what}"),
            Some(failures) => format!("after {failures} {what}s"),
            None => "when it fails".into(),
        };
        claims.push(format!("stops calling{open} {after}"));
    }
    if let Some(pool) = print.pool {
        claims.push(format!("at most {pool} calls at once"));
    }
    match print.fallback {
        Some(fallback) if fallback > 0.0 => {
            claims.push(format!("answers {} well all the same when this fails", share(fallback)));
        }
        Some(_) => claims.push("has no fallback".into()),
        None => {}
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Breaker, Surge};

    #[test]
    fn what_showed_is_told_and_nothing_else() {
        let none = Fingerprint::default();
        assert!(made_of(&none).is_empty());
        let print = Fingerprint {
            timeout: Some(0.5),
            retries: Some(1),
            backoff: Some(vec![0.1]),
            breaker: Some(Breaker { failures: None, counts: None, open_for: Some(5.0) }),
            pool: Some(50),
            fallback: Some(0.0),
            ..none
        };
        let claims = [
            "gives up after 500ms",
            "tries again once, pausing 100ms",
            "stops calling for 5s when it fails",
            "at most 50 calls at once",
            "has no fallback",
        ];
        assert_eq!(made_of(&print), claims);
    }

    #[test]
    fn only_who_was_ill_comes_back() {
        let recovery =
            |state, within, surge| Recovery { edge: "e".into(), state, within, surge, sustained_by: None };
        let surge = Some(Surge { height: 2.0, width: 3.0 });
        for (one, told) in [
            (recovery(Recovered::Unmeasured, None, None), None),
            (recovery(Recovered::Recovered, Some(0.0), None), None),
            (recovery(Recovered::Recovered, Some(0.0), surge), Some("back at once; a surge of 2x for 3s")),
            (recovery(Recovered::Recovered, Some(2.0), None), Some("back after 2s")),
            (recovery(Recovered::Not, None, None), Some("did not come back")),
        ] {
            assert_eq!(came_back(&one).as_deref(), told);
        }
    }

    #[test]
    fn a_symptom_is_what_can_be_seen() {
        let onset = |observed| Onset {
            edge: "e".into(),
            at: 0.1,
            signal: Signal::Latency,
            baseline: 0.01,
            observed,
            source: false,
            after: Some("f".into()),
            faults: vec![],
            evidence: "11 of 32 were under way for longer than 140 ms; half took 10 ms before".into(),
        };
        assert_eq!(symptom(&onset(1.5)), "latency 1.5s (baseline 10ms)");
        assert_eq!(symptom(&onset(0.009)), "latency: 11 of 32 were under way for longer than 140 ms");
        assert_eq!(cause(&onset(1.5)), "follows f");
    }
}
