//! Faults that a request asks for by its own header fields.
//!
//! Pure but for ordinals, as the plan is. Percent and matchers of a fault do not count here: who asks is struck.

use super::{Armed, Stage};
use crate::decision::{Action, Answer, Decision, Delay, Dice, FaultRef, Key, Subject};
use crate::fault::Moment;
use std::sync::Arc;
use std::time::Duration;

/// What metrics and marks call a delay or an answer that a request asked for by number.
pub const ENVOY: &str = "x-envoy-fault";

/// No request asks for a longer delay.
const LONGEST: Duration = Duration::from_secs(3600);

/// The faults that stand ready on an edge.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) ready: Vec<Arc<Armed>>,
}

impl Asked {
    /// Adds what the request asks for, behind what the faults of the plan do already; references begin behind theirs.
    pub(super) fn decide(
        &self,
        plan: &[Arc<Armed>],
        subject: &dyn Subject,
        now: Duration,
        decision: &mut Decision,
    ) {
        let base = plan.len();
        let named = subject.header("x-brownout-fault").map(<[u8]>::to_vec);
        let carried = subject.header("baggage").and_then(in_baggage);
        for name in [named, carried.clone()].into_iter().flatten() {
            let wanted = name.trim_ascii();
            let place = self.ready.iter().position(|fault| {
                let rule = fault.rule();
                let strikes = !rule.actions.is_empty()
                    && !rule.at_accept
                    && !rule.actions.iter().any(crate::fault::Fault::refuses);
                strikes && fault.name().as_str().as_bytes() == wanted
            });
            match place.and_then(|place| Some((place, self.ready.get(place)?))) {
                // baggage names faults of other edges, too
                None if Some(&name) != carried.as_ref() => subject.asked_in_vain(),
                None => {}
                // it strikes already, as the plan has it
                Some((_, fault)) if strikes_already(plan, fault, decision) => {}
                Some((place, fault)) => strike(fault, base + place, subject, now, decision),
            }
        }
        self.envoy(base, subject, decision);
    }

    fn envoy(&self, base: usize, subject: &dyn Subject, decision: &mut Decision) {
        let number = |name: &str| -> Option<f64> {
            let text = std::str::from_utf8(subject.header(name)?).ok()?;
            text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
        };
        let delay = number("x-envoy-fault-delay-request");
        let abort = number("x-envoy-fault-abort-request");
        if delay.is_none() && abort.is_none() {
            return;
        }
        let Some(place) = self.ready.iter().position(|fault| fault.name().as_str() == ENVOY) else { return };
        let Some(fault) = self.ready.get(place) else { return };
        let (rule, by) = (fault.rule(), FaultRef((base + place) as u16));
        rule.totals.matched();
        let mut dice = Dice::new(rule.seed, rule.key, Key(fault.tally.number()));
        let mut drawn = |name: &str| dice.unit() * 100.0 < number(name).unwrap_or(100.0);
        let delayed = drawn("x-envoy-fault-delay-request-percentage");
        let aborted = drawn("x-envoy-fault-abort-request-percentage");
        let mut any = false;
        if let Some(millis) = delay.filter(|_| delayed) {
            let time = Duration::from_secs_f64((millis / 1e3).min(LONGEST.as_secs_f64()));
            decision.delays.push(Delay { by, time });
            any = true;
        }
        if let Some(status) = abort.filter(|status| aborted && (200.0..600.0).contains(status)) {
            any = true;
            if decision.action.is_forward() {
                let body = b"fault filter abort".to_vec();
                let answer = Answer { status: status as u16, headers: Vec::new(), body };
                decision.action = Action::Respond(by, Arc::new(answer));
            }
        }
        if any {
            rule.totals.selected();
            decision.applied.push(by);
        }
    }
}

/// Whether the plan has chosen this one for the same fault.
fn strikes_already(plan: &[Arc<Armed>], fault: &Armed, decision: &Decision) -> bool {
    let chosen = decision.applied.iter().filter_map(|by| plan.get(usize::from(by.0)));
    chosen.into_iter().any(|chosen| chosen.name() == fault.name())
}

fn strike(fault: &Armed, place: usize, subject: &dyn Subject, now: Duration, decision: &mut Decision) {
    let (rule, by) = (fault.rule(), FaultRef(place as u16));
    // What is decided when a connection is accepted cannot be asked for by a request on it.
    if decision.applied.contains(&by) || rule.at_accept || rule.counts_connections {
        return;
    }
    rule.totals.matched();
    rule.totals.selected();
    let mut dice = Dice::new(rule.seed, rule.key, Key(fault.tally.number()));
    let elapsed = now.saturating_sub(fault.since);
    let moment = Moment { by, elapsed, dose: 1.0, protocol: subject.protocol(), key: None };
    rule.apply(moment, subject, &mut dice, decision);
}

/// The member `brownout` of a baggage, decoded.
fn in_baggage(baggage: &[u8]) -> Option<Vec<u8>> {
    let member = baggage.split(|byte| *byte == b',').find_map(|member| {
        let member = member.split(|byte| *byte == b';').next()?;
        let equals = member.iter().position(|byte| *byte == b'=')?;
        (member.get(..equals)?.trim_ascii() == b"brownout").then(|| member.get(equals + 1..))?
    })?;
    let (mut out, mut rest) = (Vec::new(), member.trim_ascii());
    while let [byte, after @ ..] = rest {
        let coded = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match coded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => (rest, _) = (after.get(2..).unwrap_or_default(), out.push(decoded)),
            None => (rest, _) = (after, out.push(*byte)),
        }
    }
    Some(out)
}

impl super::Plan {
    /// The same plan, in which requests may ask for these faults.
    #[must_use]
    pub fn with_asked(mut self, ready: Vec<Arc<Armed>>) -> Self {
        self.asked = (!ready.is_empty()).then(|| Box::new(Asked { ready }));
        self
    }

    /// What is done to this exchange. `now` is on the clock by which faults were armed.
    #[must_use]
    pub fn decide(&self, subject: &dyn Subject, now: Duration, stage: Stage) -> Decision {
        let mut decision = self.decide_for(subject, now, stage, |_| true);
        if let Some(asked) = self.asked.as_ref().filter(|_| stage == Stage::Exchange) {
            asked.decide(&self.faults, subject, now, &mut decision);
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::in_baggage;

    #[test]
    fn a_member_of_baggage() {
        for (baggage, found) in [
            ("brownout=slow", Some("slow")),
            ("user=1, brownout = provider%20is%20slow;ttl=1,x=y", Some("provider is slow")),
            ("xbrownout=slow", None),
            ("brownout", None),
            ("brownout=%zz%4", Some("%zz%4")),
            ("", None),
        ] {
            assert_eq!(in_baggage(baggage.as_bytes()).as_deref(), found.map(str::as_bytes), "{baggage}");
        }
    }
}
