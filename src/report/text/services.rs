//! The part of the summary about services: each process and how it ended, what was exposed, and what was put back.

use super::{BAD, DIM, GOOD, Page, UNSURE, clock, seconds};
use crate::report::figures::{per_hour, share};
use crate::report::{DeedResult, ExitResult, ExposureResult, IncarnationResult, Report, ServiceResult};
use crate::telemetry::{ExitCause, StartReason};
use std::fmt::Write;

/// So many processes of a service, exposures, or deeds are shown; `report.json` has them all.
const SHOWN: usize = 40;

impl Page {
    pub(super) fn services(&mut self, report: &Report) {
        if report.services.iter().any(|service| service.skipped.is_some() || !service.incarnations.is_empty())
        {
            self.heading("services");
        }
        for service in &report.services {
            self.service(service);
        }
        self.exposures(report);
        self.deeds(report);
    }

    fn service(&mut self, service: &ServiceResult) {
        if let Some(why) = &service.skipped {
            let mark = self.paint(DIM, "-");
            self.wrapped(&format!("    {mark} "), 6, &format!("{}: not started: {why}", service.name));
            return;
        }
        let Some(last) = service.incarnations.last() else { return };
        let crashes = service.incarnations.iter().filter(|one| one.cause == Some(ExitCause::Itself)).count();
        let unready = last.cause.is_some_and(|cause| cause != ExitCause::End) || last.ready_after.is_none();
        let mark = match (crashes, unready) {
            (_, true) => self.paint(BAD, "✗"),
            (0, false) => self.paint(GOOD, "✓"),
            _ => self.paint(UNSURE, "!"),
        };
        let mut text = format!("{}: {}", service.name, times(service.incarnations.len(), "start"));
        let _ = write!(text, ", {}", times(crashes, "crash"));
        for (name, phase) in &service.phases {
            let Some(rate) = phase.crash_rate.filter(|_| phase.crashes > 0) else { continue };
            let name = if *name == "fault" { "fault phase" } else { name };
            let _ = write!(text, "; {} in the {name}", per_hour(rate));
            if phase.downtime > 0.0 {
                let up = phase.up.map_or_else(|| "–".into(), share);
                let _ = write!(text, ", {} down, {up} up", seconds(phase.downtime));
            }
        }
        self.wrapped(&format!("    {mark} "), 6, &text);
        for one in service.incarnations.iter().take(SHOWN) {
            self.wrapped(&format!("        #{:<3} ", one.number), 13, &incarnation(one));
        }
        self.rest_of(service.incarnations.len(), 13);
    }

    fn exposures(&mut self, report: &Report) {
        if report.exposures.is_empty() {
            return;
        }
        self.heading("exposures");
        for one in report.exposures.iter().take(SHOWN) {
            let mark = self.paint(BAD, "✗");
            self.wrapped(&format!("    {mark} "), 6, &exposure(report, one));
        }
        self.rest_of(report.exposures.len(), 6);
    }

    fn deeds(&mut self, report: &Report) {
        let failed: Vec<_> = report.deeds.iter().filter(|deed| !deed.done).collect();
        if !failed.is_empty() {
            self.heading("not done");
        }
        for deed in failed.iter().take(SHOWN) {
            self.deed(deed);
        }
        self.rest_of(failed.len(), 6);
        if !report.undo.is_empty() {
            self.heading("put back");
        }
        for deed in report.undo.iter().take(SHOWN) {
            self.deed(deed);
        }
        self.rest_of(report.undo.len(), 6);
    }

    fn deed(&mut self, deed: &DeedResult) {
        let mark = if deed.done { self.paint(GOOD, "✓") } else { self.paint(BAD, "✗") };
        let DeedResult { at, fault, service, action, text, .. } = deed;
        let text = format!("{} {action} of {service} ({fault}): {text}", clock(*at));
        self.wrapped(&format!("    {mark} "), 6, &text);
    }

    fn rest_of(&mut self, all: usize, indent: usize) {
        if all > SHOWN {
            self.aside(indent, &format!("and {} more in report.json", all - SHOWN));
        }
    }
}

fn times(count: usize, what: &str) -> String {
    match (count, what) {
        (0, _) => format!("no {what}"),
        (1, _) => format!("1 {what}"),
        (_, "crash") => format!("{count} crashes"),
        _ => format!("{count} {what}s"),
    }
}

/// A process, from its start to when the service was ready again.
fn incarnation(one: &IncarnationResult) -> String {
    let mut text = format!("{} ", clock(one.started));
    text.push_str(match one.reason {
        StartReason::First => "first start",
        StartReason::Crash => "started after a crash",
        StartReason::Fault => "started after a fault",
        StartReason::Swap => "started to change its environment",
    });
    match one.ready_after {
        Some(after) => {
            let _ = write!(text, ", ready after {}", seconds(after));
        }
        None => text.push_str(", never ready"),
    }
    if !one.env_changed.is_empty() {
        let _ = write!(text, "; differs in {}", variables(one, &one.env_changed));
    }
    let same: Vec<_> = one.env_shown.keys().filter(|name| !one.env_changed.contains(name)).cloned().collect();
    if !same.is_empty() {
        let _ = write!(text, "; {}", variables(one, &same));
    }
    let (Some(at), Some(cause)) = (one.ended, one.cause) else { return text };
    let what = match cause {
        ExitCause::Itself if one.exit == Some(ExitResult::Code(0)) => "ended by itself",
        ExitCause::Itself => "crashed",
        ExitCause::Fault => "ended by a fault",
        ExitCause::Swap => "stopped to change its environment",
        ExitCause::End => "stopped with the run",
    };
    let _ = write!(text, "; {what} at {}", clock(at));
    match (&one.exit, cause) {
        (_, ExitCause::End | ExitCause::Swap) | (None, _) => {}
        (Some(ExitResult::Code(code)), _) => {
            let _ = write!(text, " (exit code {code})");
        }
        (Some(ExitResult::Signal(signal)), _) => {
            let _ = write!(text, " ({signal})");
        }
    }
    match one.down_for {
        Some(down) => {
            let _ = write!(text, ", ready again after {}", seconds(down));
        }
        None if cause == ExitCause::End => {}
        None => text.push_str(", never ready again"),
    }
    text
}

/// Names, with those values that may be shown.
fn variables(one: &IncarnationResult, names: &[String]) -> String {
    let show = |name: &String| match one.env_shown.get(name) {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    names.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn exposure(report: &Report, one: &ExposureResult) -> String {
    let end = report.phases.last().map_or(one.from, |phase| phase.to).max(one.from);
    let mut text = format!("{}: {} to ", one.probe, clock(one.from));
    match one.to {
        Some(to) => {
            let _ = write!(text, "{} ({})", clock(to), seconds(to - one.from));
        }
        None => {
            let _ = write!(text, "the end ({})", seconds(end - one.from));
        }
    }
    let service = report.services.iter().find(|service| service.exposures.contains(one));
    let after = seconds(one.detected_after);
    let _ = match (one.incarnation, service) {
        (Some(number), Some(service)) => {
            write!(text, ", seen {after} after {} #{number} began", service.name)
        }
        // It was never right before.
        _ if one.detected_after == 0.0 => write!(text, ", seen with the first answer"),
        _ => write!(text, ", seen {after} after it was last right"),
    };
    if let Some(saw) = &one.saw {
        let _ = write!(text, ": {saw}");
    }
    text
}
