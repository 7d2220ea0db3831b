//! What callers are made of: timeout, retries, backoff, circuit breaker, pool, fallback, read from what crossed their edges.
//!
//! A file a claim; `calls` says which exchanges belong together. Null over guess: a claim needs enough samples that agree, and
//! none that something else explains. Every claim has its sentence, and so has what was looked for and not found.

mod backoff;
mod breaker;
mod calls;
mod fallback;
mod pool;
mod retries;
mod silence;
mod timeout;

use super::{Fingerprint, Traffic};
use calls::{Index, View};

/// Something that is claimed, and how sure it is: 0 to 1.
#[derive(Clone, Debug)]
struct Claim<T> {
    value: T,
    confidence: f64,
}

/// A fingerprint for every edge with traffic.
pub(crate) fn fingerprints(traffic: &Traffic) -> Vec<Fingerprint> {
    let index = Index::of(traffic);
    (0..traffic.edges.len())
        .filter(|place| !traffic.edges[*place].exchanges.is_empty())
        .map(|place| read(&View::new(traffic, &index, place)))
        .collect()
}

fn read(view: &View<'_>) -> Fingerprint {
    let mut found = Fingerprint { edge: view.edge.name.clone(), ..Fingerprint::default() };
    let mut sure: Vec<f64> = Vec::new();
    let limit = pool::pool(view);
    found.pool = take(limit.claim, &mut sure);
    if view.edge.tcp {
        found.evidence.push(limit.says);
    } else {
        let breaker = breaker::breaker(view, &limit.full);
        let mut hindered = breaker.open;
        hindered.extend(limit.full);
        let (timeout, says) = timeout::timeout(view);
        found.timeout = take(timeout, &mut sure);
        found.evidence.push(says);
        let (retries, says) = retries::retries(view, &hindered, found.timeout);
        found.retries = take(retries, &mut sure);
        found.evidence.push(says);
        if let Some(retries) = found.retries.filter(|retries| *retries > 0) {
            let (backoff, says) = backoff::backoff(view, retries, &hindered);
            found.backoff = take(backoff, &mut sure);
            found.evidence.push(says);
        }
        found.breaker = take(breaker.claim, &mut sure);
        found.evidence.push(breaker.says);
        found.evidence.push(limit.says);
        let (fallback, says) = fallback::fallback(view);
        found.fallback = fallback;
        found.evidence.push(says);
    }
    found.evidence.retain(|says| !says.is_empty());
    found.confidence = sure.into_iter().reduce(f64::min);
    found
}

fn take<T>(claim: Option<Claim<T>>, sure: &mut Vec<f64>) -> Option<T> {
    let claim = claim?;
    sure.push((claim.confidence.clamp(0.0, 1.0) * 100.0).round() / 100.0);
    Some(claim.value)
}

#[cfg(test)]
mod tests;
