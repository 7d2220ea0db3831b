//! `report.json`: the report as it stands, for machines. Its schema is `docs/report.schema.json`.

use super::Report;

/// The report as JSON, with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_else(|error| {
        // Maps have string or number keys and floats are finite or null: this cannot fail.
        serde_json::json!({ "error": error.to_string() }).to_string()
    });
    text.push('\n');
    text
}
