//! `scorecard.json`: several runs at a glance, for machines.

use super::{Exit, Report, Verdict};
use serde::Serialize;

/// The version of this format.
const SCHEMA: u32 = 1;

/// Several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scorecard {
    /// The version of this format.
    pub schema: u32,
    /// The exit code of all of them: the weightiest.
    pub exit: u8,
    /// How many ended as they should.
    pub well: usize,
    /// The runs, in their order.
    pub runs: Vec<Score>,
}

/// One of several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The experiment's name.
    pub name: String,
    /// What it asks.
    pub title: Option<String>,
    /// The file.
    pub file: String,
    /// The run's own name: its folder's.
    pub run: String,
    /// The seed in force.
    pub seed: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// Its exit code.
    pub exit: u8,
    /// Why, the weightiest first.
    pub reasons: Vec<String>,
    /// Checks that held.
    pub met: usize,
    /// Checks that did not.
    pub unmet: usize,
    /// Checks that nobody could judge.
    pub open: usize,
    /// The edges that fell ill by themselves.
    pub sources: Vec<String>,
}

/// The scorecard of these runs.
#[must_use]
pub fn scorecard(reports: &[Report]) -> Scorecard {
    let score = |report: &Report| {
        let count = |met| report.expectations.iter().filter(|check| check.met == met).count();
        let sources = report.findings.cascade.iter().filter(|onset| onset.source);
        Score {
            name: report.name.clone(),
            title: report.title.clone(),
            file: report.file.clone(),
            run: report.run.clone(),
            seed: report.seed,
            verdict: report.verdict,
            exit: report.exit,
            reasons: report.reasons.clone(),
            met: count(Some(true)),
            unmet: count(Some(false)),
            open: count(None),
            sources: sources.map(|onset| onset.edge.clone()).collect(),
        }
    };
    Scorecard {
        schema: SCHEMA,
        exit: Exit::weightiest(reports.iter().map(|report| Exit::of(report.exit))).code(),
        well: reports.iter().filter(|report| report.exit == 0).count(),
        runs: reports.iter().map(score).collect(),
    }
}
