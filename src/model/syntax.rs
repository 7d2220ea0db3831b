//! The TOML itself: its errors in our words, and what could be read in spite of them.

use super::tree::{Planter, Tree};
use crate::problem::{Place, Problem, Problems};
use std::ops::Range;
use toml::de::DeTable;

/// What could not be read, so that what follows from it is not reported again.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    lines: Vec<Range<usize>>,
}

impl Holes {
    /// Whether a problem may only be there because a part of the file could not be read.
    pub(crate) fn explains(&self, problem: &Problem) -> bool {
        let Some(place) = problem.span.filter(|place| place.source == 0) else {
            return !self.lines.is_empty();
        };
        let absent =
            [" is missing in ", "there is no ", "nothing bounds", "does nothing", "nothing is measured"];
        let on_a_broken_line = self.lines.iter().any(|line| line.contains(&place.start));
        let for_want = !self.lines.is_empty() && absent.iter().any(|words| problem.title.contains(words));
        on_a_broken_line || for_want
    }
}

/// Reads a text as far as it can be read.
pub(crate) fn read(text: &str, planter: &Planter<'_>, problems: &mut Problems) -> (Tree, Holes) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut holes = Holes::default();
    for error in errors {
        let end = text.len();
        let span = error.span().unwrap_or(end..end);
        let start = text.floor_char_boundary(span.start.min(end));
        let line_start = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let line_end = text[start..].find('\n').map_or(end, |n| start + n);
        // One mistake on a line often looks like several.
        if holes.lines.iter().any(|line| line.start == line_start) {
            continue;
        }
        holes.lines.push(line_start..line_end + 1);
        let place = Place { source: 0, start: span.start.min(end), end: span.end.min(end) };
        let (label, help) = words(error.message(), &text[line_start..line_end]);
        let problem = Problem::error("this is not TOML").at(place).label(label);
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
    (planter.table(table.get_ref(), problems), holes)
}

/// The parser's message, and a remedy where one is known.
fn words(message: &str, line: &str) -> (String, Option<String>) {
    let value = line.split_once('=').map(|(_, value)| value.trim());
    let help = if message.contains("duplicate key") {
        Some("a key stands once in a table: take one out".into())
    } else if message.contains("string values must be quoted") || message.contains("invalid integer") {
        value
            .filter(|v| !v.is_empty() && !v.contains('"'))
            .map(|v| format!("texts stand in quotes: write `\"{v}\"`"))
    } else if line.contains(['\u{201c}', '\u{201d}', '\u{201e}']) {
        Some("use straight quotes: `\"`".into())
    } else if message.contains("missing value") || message.contains("expected `=`") {
        Some("write `key = value`".into())
    } else {
        None
    };
    (message.to_owned(), help)
}
