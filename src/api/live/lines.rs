//! What is worth a line of the page's log, in words. Pure.

use crate::model::Phase;
use crate::telemetry::{Did, Event, StartReason};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// It was to be expected.
    Usual,
    /// Somebody should look.
    Odd,
    /// Something went wrong.
    Bad,
}

impl Weight {
    /// As a class of the page.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }
}

/// The line of an event, if it is worth one.
pub(super) fn line(event: &Event) -> Option<(Weight, String)> {
    let usual = |text: String| Some((Weight::Usual, text));
    match event {
        Event::Phase { phase: Phase::Idle } => None,
        Event::Phase { phase } => usual(format!("phase: {}", phase.as_str())),
        Event::Armed { fault, owner, .. } => Some((Weight::Odd, format!("armed: {fault} (by {owner})"))),
        Event::Healed { fault, why, hits, .. } => usual(format!("healed: {fault} ({why}; {hits} hit)")),
        Event::Guardrail { name, key, .. } => {
            Some((Weight::Bad, format!("guardrail breached: {name} ({key})")))
        }
        Event::Interrupted { signal } => Some((Weight::Odd, format!("stopping ({signal})"))),
        Event::Command { exit: Some(exit), stopped: false, .. } if *exit != 0 => {
            Some((Weight::Bad, format!("the command failed with exit code {exit}")))
        }
        Event::Command { argv, exit: None, stopped: false } => {
            usual(format!("command: {}", argv.first().map_or("", String::as_str)))
        }
        Event::Warning { text } => Some((Weight::Odd, text.clone())),
        Event::Trouble { text, .. } => Some((Weight::Bad, text.clone())),
        Event::Deed { fault, service, done: false, text, .. } => {
            Some((Weight::Bad, format!("not done: {fault} on {service}: {text}")))
        }
        Event::Undone { fault, service, done: true, .. } => usual(format!("put back: {service} ({fault})")),
        Event::Undone { fault, service, text, .. } => {
            Some((Weight::Bad, format!("{service} could not be put back ({fault}): {text}")))
        }
        Event::Service { service, did, .. } => {
            lived(did).map(|(weight, text)| (weight, format!("{service}: {text}")))
        }
        Event::Finished => usual("the run is over".into()),
        _ => None,
    }
}

fn lived(did: &Did) -> Option<(Weight, String)> {
    Some(match did {
        Did::Started { reason, .. } => {
            let why = match reason {
                StartReason::First => "",
                StartReason::Crash => " again",
                StartReason::Fault => " again after a fault",
                StartReason::Swap => " to change its environment",
            };
            (Weight::Usual, format!("started{why}"))
        }
        Did::Ready { .. } => (Weight::Usual, "ready".into()),
        Did::NotReady { text } => (Weight::Bad, format!("not ready: {text}")),
        Did::NotStarted { text } => (Weight::Bad, format!("could not be started: {text}")),
        Did::Exited { code, signal, .. } => {
            (Weight::Odd, format!("ended ({})", ending(*code, signal.as_deref())))
        }
        Did::Paused => (Weight::Odd, "paused".into()),
        Did::Resumed => (Weight::Usual, "goes on".into()),
        Did::Log { .. } | Did::Unwritten { .. } => return None,
    })
}

/// How a process ended.
pub(super) fn ending(code: Option<i32>, signal: Option<&str>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => signal.to_owned(),
        (None, None) => "nobody knows how".to_owned(),
    }
}
