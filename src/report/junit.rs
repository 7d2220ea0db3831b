//! `junit.xml`: a test case for each check, each fault and each guardrail, as CI systems show them.
//!
//! What could not be judged is an error, not a skip: a skipped test is green in every CI system, and nothing vacuous is
//! green here, unless `--allow-vacuous` asks for it. What was not reached because the run was cut short is skipped, with
//! one error that says what cut it.

use super::{CheckResult, Report, Verdict, figures};
use crate::units::Comparison;
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

/// The report as JUnit XML.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut suite = TestSuite::new(report.name.clone());
    for check in &report.expectations {
        suite.add_test_case(expectation(report, check));
    }
    // Faults armed by hand are nobody's promise.
    for fault in report.faults.iter().filter(|fault| !fault.actions.is_empty()) {
        let mut case = case(format!("fault {} strikes", fault.name), "faults", report, fault.line);
        if !report.phases.iter().any(|phase| phase.name == "fault") {
            case.status = skipped("the run ended before the fault phase");
        } else if fault.vacuous && report.verdict == Verdict::Inconclusive {
            case.status = unsuccessful(
                NonSuccessKind::Error,
                "vacuous",
                if fault.service.is_some() {
                    "it was never carried out".to_owned()
                } else {
                    format!("{} matched, {} selected, 0 hit", fault.matched, fault.selected)
                },
            );
        }
        suite.add_test_case(case);
    }
    for rail in &report.guardrails {
        let name = format!("guardrail {}: {}", rail.name, rail.key);
        let mut case = case(name, "guardrails", report, rail.line);
        if rail.breached {
            let limit = Comparison { op: rail.op, limit: rail.limit, unit: rail.unit };
            let seen = rail.observed.map_or_else(String::new, |value| figures::number(rail.unit, value));
            case.status = unsuccessful(NonSuccessKind::Failure, "guardrail", format!("{seen} is {limit}"));
        }
        suite.add_test_case(case);
    }
    if let Some(command) = &report.command {
        let mut case = case("command".into(), "command", report, 0);
        if let Some(exit) = command.exit.filter(|exit| *exit != 0 && !command.stopped) {
            case.status = unsuccessful(NonSuccessKind::Failure, "exit", format!("exit code {exit}"));
        }
        suite.add_test_case(case);
    }
    let mut run = case("run".into(), "run", report, 0);
    if !matches!(report.verdict, Verdict::Passed | Verdict::Failed) {
        run.status = unsuccessful(NonSuccessKind::Error, report.verdict.as_str(), report.reasons.join("; "));
    }
    suite.add_test_case(run);
    let mut junit = Junit::new("brownout");
    junit.add_test_suite(suite);
    junit.to_string().unwrap_or_default()
}

fn case(name: String, class: &str, report: &Report, line: usize) -> TestCase {
    let mut case = TestCase::new(name, TestCaseStatus::success());
    case.set_classname(format!("{}.{class}", report.name));
    if !report.file.is_empty() {
        case.extra.insert("file".into(), report.file.clone().into());
        if line > 0 {
            case.extra.insert("line".into(), line.to_string().into());
        }
    }
    case
}

fn expectation(report: &Report, check: &CheckResult) -> TestCase {
    let name = format!("{}: {} in the {}", check.name, check.key, check.phase);
    let mut case = case(name, "expectations", report, check.line);
    let limit = check.expected();
    case.status = match check.met {
        Some(true) => TestCaseStatus::success(),
        Some(false) => {
            let seen = check.seen().unwrap_or_default();
            unsuccessful(NonSuccessKind::Failure, "unmet", format!("{seen}, expected {limit}"))
        }
        None => {
            let why = check.reason.clone().unwrap_or_default();
            let reached = report.phases.iter().any(|phase| phase.name == check.phase);
            if reached && report.verdict != Verdict::Passed {
                unsuccessful(NonSuccessKind::Error, "inconclusive", why)
            } else {
                skipped(&why)
            }
        }
    };
    case
}

fn unsuccessful(kind: NonSuccessKind, of: &str, message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(of).set_message(message);
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}
