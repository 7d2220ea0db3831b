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
        let absent = [
            " is missing",
            "there is no ",
            "nothing bounds",
            "does nothing",
            "changes nothing of the",
            "nothing is measured",
            " is empty",
        ];
        let on_a_broken_line = self.lines.iter().any(|line| line.contains(&place.start));
        let for_want = !self.lines.is_empty() && absent.iter().any(|words| problem.title.contains(words));
        on_a_broken_line || for_want
    }
}

/// Reads a text as far as it can be read.
pub(crate) fn read(text: &str, planter: &Planter<'_>, problems: &mut Problems) -> (Tree, Holes) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut holes = Holes::default();
    let mut twice: Option<Range<usize>> = None;
    let (mut open, mut yaml) = (false, false);
    for error in errors {
        let end = text.len();
        let span = error.span().unwrap_or(end..end);
        let start = text.floor_char_boundary(span.start.min(end));
        let line_start = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let line_end = text[start..].find('\n').map_or(end, |n| start + n);
        // One mistake on a line often looks like several; so does each key of a table that is there twice.
        let repeated = error.message().contains("duplicate key");
        if holes.lines.iter().any(|line| line.start == line_start)
            || (repeated && twice.as_ref().is_some_and(|table| table.contains(&start)))
        {
            continue;
        }
        let line = &text[line_start..line_end];
        let inner = ["inline table", "key-value pairs", "array elements"];
        let runs_on = inner.iter().any(|word| error.message().contains(word))
            && text[line_start..start].trim().is_empty();
        if runs_on {
            // A bracket above was not closed; all that follows seems to be wrong.
            if !std::mem::replace(&mut open, true) {
                let place = last_open(text, line_start);
                let first = text[..place.start].rfind('\n').map_or(0, |n| n + 1);
                holes.lines.push(first..text.len() + 1);
                problems.push(
                    Problem::error("this is not TOML")
                        .at(place)
                        .label("this bracket is not closed")
                        .help("close it, or put a comma before what follows"),
                );
            }
            continue;
        }
        if open {
            continue;
        }
        holes.lines.push(line_start..line_end + 1);
        if error.message().contains("key with no value") && line.contains(':') && !line.contains('=') {
            if !std::mem::replace(&mut yaml, true) {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                let (key, value) = (key.trim(), value.trim().trim_matches('"'));
                let written = match value.is_empty() {
                    true => format!("[[{key}]]"),
                    false => format!("{key} = \"{value}\""),
                };
                problems.push(
                    Problem::error("this is not TOML")
                        .at(Place { source: 0, start, end: span.end.min(end) })
                        .label("a colon, as in YAML")
                        .help(format!("an experiment is written in TOML: `{written}`")),
                );
            }
            continue;
        }
        if repeated && line.trim_start().starts_with('[') {
            let next = text[line_end..].find("\n[").map_or(end, |n| line_end + n);
            twice = Some(line_start..next);
        }
        let place = Place { source: 0, start: span.start.min(end), end: span.end.min(end) };
        let (label, help) = words(error.message(), line);
        let problem = Problem::error("this is not TOML").at(place).label(label);
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
    (planter.table(table.get_ref(), problems), holes)
}

/// The last bracket before this place that is not closed, as far as one can tell without reading texts.
fn last_open(text: &str, before: usize) -> Place {
    let mut closed = 0;
    for (at, c) in text[..before].char_indices().rev() {
        match c {
            '}' | ']' => closed += 1,
            '{' | '[' if closed > 0 => closed -= 1,
            '{' | '[' => return Place { source: 0, start: at, end: at + 1 },
            _ => {}
        }
    }
    Place { source: 0, start: before, end: before }
}

/// The parser's message in our words, and a remedy where one is known.
fn words(message: &str, line: &str) -> (String, Option<String>) {
    let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
    let plain = value.split_once(" #").map_or(value, |(value, _)| value.trim());
    if line.contains(['\u{201c}', '\u{201d}', '\u{201e}']) {
        return ("curly quotes".into(), Some("use straight ones: `\"`".into()));
    }
    if message.contains("duplicate key") {
        return match line.trim_start().starts_with('[') {
            true => ("this table is there twice".into(), Some("put all of it under one header".into())),
            false => {
                ("this key is there twice".into(), Some("a key stands once in a table: take one out".into()))
            }
        };
    }
    if message.contains("unclosed") && line.trim_start().starts_with('[') {
        let name = line.trim().trim_matches(['[', ']']).trim();
        let header =
            if line.trim_start().starts_with("[[") { format!("[[{name}]]") } else { format!("[{name}]") };
        return ("this header is not closed".into(), Some(format!("write `{header}`")));
    }
    if line.contains('=') && plain.is_empty() {
        return ("the value is missing".into(), Some(format!("write `{key} = VALUE`")));
    }
    let bare = !plain.starts_with(['"', '\'', '[', '{']);
    let of_values = ["quoted", "integer", "float", "date", "time", "number", "literal"];
    if bare && !plain.is_empty() && !plain.starts_with('=') && of_values.iter().any(|w| message.contains(w)) {
        return (
            "a text without quotes".into(),
            Some(format!("write `{key} = \"{}\"`", plain.trim_matches('"'))),
        );
    }
    if message.contains("unicode") || message.contains("escape") {
        let help = "write `\\\\` for a backslash, or single quotes around the text";
        return (message.to_owned(), Some(help.into()));
    }
    if message.contains("basic string") || message.contains("literal string") {
        let close = || Some("end it with the quote that it began with".into());
        return match value.matches(['"', '\'']).count() % 2 {
            1 => ("this text does not end".into(), close()),
            _ => (
                message.to_owned(),
                Some("write `\\\\` for a backslash, or single quotes around the text".into()),
            ),
        };
    }
    if message.contains("unexpected key or value") {
        return match value.matches('\'').count() >= 3 {
            true => (
                "the text has ended before this".into(),
                Some("put a text that has an apostrophe in double quotes".into()),
            ),
            false => ("nothing may follow here".into(), Some("write one `key = value` on a line".into())),
        };
    }
    if !line.contains('=') && message.contains("key") {
        return (message.to_owned(), Some("write `key = value`, or `[table]`".into()));
    }
    (message.replace(", expected nothing", ""), None)
}
