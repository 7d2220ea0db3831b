//! `report.json`: the report as it stands, for machines. Its schema is `docs/report.schema.json`.

use super::Report;
use serde::Serialize;

/// The report as JSON, with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// Several reports as a list.
#[must_use]
pub fn render_all(reports: &[Report]) -> String {
    pretty(reports)
}

/// Several runs at a glance: `scorecard.json`.
#[must_use]
pub fn render_scorecard(reports: &[Report]) -> String {
    pretty(&super::scorecard(reports))
}

pub(super) fn pretty(value: &(impl Serialize + ?Sized)) -> String {
    // Maps have strings or numbers as keys, and what is not finite becomes null: this cannot fail.
    let mut text = serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    text.push('\n');
    text
}
