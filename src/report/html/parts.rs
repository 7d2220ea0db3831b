//! What the sections of the page are made of: prose, figures, tables, the frame of all charts.

use crate::chart::{Band, Frame, Mark};
use crate::report::figures::clock;
use crate::report::{PhaseSpan, Report};
use maud::{Markup, html};

/// What stands where there is nothing.
pub(super) const NONE: &str = "–";

/// A sentence in which `things` stand in backticks.
pub(super) fn prose(text: &str) -> Markup {
    // An odd one at the end opens nothing.
    let pieces: Vec<&str> = text.split('`').collect();
    let last = if pieces.len().is_multiple_of(2) { pieces.len() - 1 } else { pieces.len() };
    html! {
        @for (n, piece) in pieces.iter().enumerate() {
            @if n >= last { "`" (piece) }
            @else if n % 2 == 1 { code { (piece) } }
            @else { (piece) }
        }
    }
}

/// A figure, or a dash.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.into())
}

/// One, or several.
pub(super) fn plural(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Names in a sentence: `a`, `b` and `c`.
pub(super) fn names(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// From when to when.
pub(super) fn stretch(from: f64, to: Option<f64>) -> String {
    format!("{} to {}", clock(from), to.map_or_else(|| "the end".into(), clock))
}

/// Whether something is as it should be: a sign, and a word for those who do not see it.
pub(super) fn mark(met: Option<bool>) -> Markup {
    let (class, sign, word) = match met {
        Some(true) => ("good", "✓", "held"),
        Some(false) => ("bad", "✗", "did not hold"),
        None => ("warn", "?", "inconclusive"),
    };
    html! { span class=(format!("sign {class}")) role="img" aria-label=(word) title=(word) { (sign) } }
}

/// A table that scrolls by itself where it is wider than the page. Columns that begin with `#` are numbers.
pub(super) fn table(columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead {
                    tr {
                        @for column in columns {
                            @match column.strip_prefix('#') {
                                Some(number) => th scope="col" class="n" { (number) },
                                None => th scope="col" { (column) },
                            }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

/// The phase of this name.
pub(super) fn phase<'r>(report: &'r Report, name: &str) -> Option<&'r PhaseSpan> {
    report.phases.iter().find(|phase| phase.name == name)
}

/// When the run was over, on the file's clock.
pub(super) fn end(report: &Report) -> f64 {
    report.phases.iter().map(|phase| phase.to).fold(0.0, f64::max)
}

/// When an onset was, from the start of the run: its own time counts from the start of the fault phase.
pub(super) fn moment(report: &Report, at: f64) -> f64 {
    phase(report, "fault").map_or(0.0, |fault| fault.from) + at
}

/// The time axis of the run, with its phases, and the faults that were on these edges (`None`: on any).
pub(super) fn frame(report: &Report, edge: Option<&str>) -> Frame {
    let end = end(report);
    let on = |place: &crate::report::OneOrMany| match (place, edge) {
        (_, None) => true,
        (crate::report::OneOrMany::One(name), Some(edge)) => name == edge,
        (crate::report::OneOrMany::Many(names), Some(edge)) => names.iter().any(|name| name == edge),
    };
    let faults = report.faults.iter().filter(|fault| fault.edge.as_ref().is_none_or(on));
    Frame {
        from: 0.0,
        to: end,
        phases: report.phases.iter().map(|phase| Band::new(phase.name, phase.from, phase.to)).collect(),
        faults: faults
            .flat_map(|fault| {
                let band =
                    |one: &crate::report::Interval| Band::new(&fault.name, one.from, one.to.unwrap_or(end));
                fault.intervals.iter().map(band)
            })
            .collect(),
        marks: report
            .findings
            .cascade
            .iter()
            .enumerate()
            .filter(|(_, onset)| edge.is_none_or(|edge| onset.edge == edge))
            .map(|(n, onset)| Mark {
                at: moment(report, onset.at),
                sign: (n + 1).to_string(),
                name: format!("onset of {} at {}", onset.edge, clock(moment(report, onset.at))),
            })
            .collect(),
    }
}

/// The line of the file where something stands, and what stands there.
pub(super) fn quote(report: &Report, line: usize) -> Markup {
    let text = line.checked_sub(1).and_then(|n| report.source.lines().nth(n)).map(str::trim);
    let short = |text: &str| match text.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    };
    html! {
        @match (line, text) {
            (0, _) => span class="soft" { "command line" },
            (line, Some(text)) if !text.is_empty() => span class="quote" { span class="line" { (line) } code { (short(text)) } },
            (line, _) => span class="quote" { span class="line" { (line) } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_in_backticks_are_code_and_everything_is_escaped() {
        for (text, markup) in [
            ("plain <b>", "plain &lt;b&gt;"),
            ("`a<b` on `c`", "<code>a&lt;b</code> on <code>c</code>"),
            ("it`s odd", "it`s odd"),
            ("`a` and it`s", "<code>a</code> and it`s"),
            ("", ""),
        ] {
            assert_eq!(prose(text).into_string(), markup);
        }
    }

    #[test]
    fn names_read_as_a_sentence() {
        assert_eq!(names(&[]), "");
        assert_eq!(names(&["a"]), "`a`");
        assert_eq!(names(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
