//! A comparison for people: as text, and as Markdown. What did not change is said in few words.

use super::{Change, Compared, Expected, Figure, Figures, Ill, Side};
use crate::report::figures::{fit, number, seconds, wrap};
use crate::report::{Verdict, json, markdown};
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

/// No line is longer, but for names that are.
const WIDTH: usize = 100;
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const UNSURE: Style = AnsiColor::Yellow.on_default();
/// A figure that changed by less is the same.
const SAME: f64 = 0.1;

impl Compared {
    /// As JSON, with a newline at its end.
    #[must_use]
    pub fn json(&self) -> String {
        json::pretty(self)
    }

    /// As text, with colours or without.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let paint = |style: Style, text: &str| match colour && !text.trim().is_empty() {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        };
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(text.trim_end());
            out.push('\n');
        };
        for (word, side) in [("before", &self.before), ("after", &self.after)] {
            let verdict = paint(style(side.verdict).bold(), &fit(&side.verdict.as_str().to_uppercase(), 13));
            line(format!("{word:<7} {verdict} {}  {}", side.name, paint(DIM, &about(side))));
        }
        for difference in &self.differences {
            for (n, part) in wrap(difference, WIDTH - 4).into_iter().enumerate() {
                let mark = if n == 0 { paint(UNSURE, "!") } else { " ".into() };
                line(format!("  {mark} {part}"));
            }
        }
        let changed: Vec<_> = self.expectations.iter().filter(|one| one.change != Change::StillMet).collect();
        let held = self.expectations.len() - changed.len();
        if !self.expectations.is_empty() {
            line(format!("\n  {}", paint(BOLD, "expectations")));
        }
        for one in changed {
            let (word, style) = change(one.change);
            let what = format!("{}: {} in the {}", one.name, on(one), phase(one.phase));
            line(format!("    {} {what}", paint(style, &fit(word, 11))));
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "not there".into());
            let values = format!("{} → {}, expected {}", or(&one.before), or(&one.after), one.limit);
            for part in wrap(&values, WIDTH - 16) {
                line(format!("                {part}"));
            }
        }
        if held > 0 {
            line(format!("    {}", paint(DIM, &format!("{held} held in both"))));
        }
        if !self.before.cascade.is_empty() || !self.after.cascade.is_empty() {
            line(format!("\n  {}", paint(BOLD, "how it spread")));
            for (word, side) in [("before", &self.before), ("after", &self.after)] {
                for (n, part) in wrap(&cascade(&side.cascade), WIDTH - 12).into_iter().enumerate() {
                    line(format!("    {:<7} {part}", if n == 0 { word } else { "" }));
                }
            }
        }
        let moved: Vec<&Figures> =
            self.edges.iter().filter(|edge| edge.figures.iter().any(differs)).collect();
        line(format!("\n  {}", paint(BOLD, "edges")));
        if moved.is_empty() {
            line(format!("    {}", paint(DIM, "no figure moved by more than a tenth")));
        }
        let mut last = "";
        for edge in moved {
            if edge.edge != last {
                line(format!("    {}", paint(BOLD, &edge.edge)));
                last = &edge.edge;
            }
            for (n, figure) in edge.figures.iter().filter(|figure| differs(figure)).enumerate() {
                let label = if n == 0 { edge.phase } else { "" };
                let arrow = format!("{} → {}", shown(figure, figure.before), shown(figure, figure.after));
                let arrow = match better(figure) {
                    Some(true) => paint(GOOD, &arrow),
                    Some(false) => paint(BAD, &arrow),
                    None => arrow,
                };
                line(format!("      {label:<9} {:<17} {arrow}", figure.key));
            }
        }
        if !self.recovery.is_empty() {
            line(format!("\n  {}", paint(BOLD, "after heal")));
        }
        for one in &self.recovery {
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "not ill".into());
            let text = format!("{}: {} → {}", one.edge, or(&one.before), or(&one.after));
            for (n, part) in wrap(&text, WIDTH - 6).into_iter().enumerate() {
                line(format!("    {}{part}", if n == 0 { "" } else { "  " }));
            }
        }
        out
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cell = markdown::cell;
        let word = |side: &Side| format!("**{}**", side.verdict.as_str());
        let mut out =
            format!("### {}: {} → {}\n\n", cell(&self.after.name), word(&self.before), word(&self.after));
        let _ =
            writeln!(out, "before: {}  \nafter: {}", cell(&about(&self.before)), cell(&about(&self.after)));
        for difference in &self.differences {
            let _ = writeln!(out, "\n> ⚠️ {}", markdown::prose(difference));
        }
        let changed = self.expectations.iter().filter(|one| one.change != Change::StillMet);
        let rows: Vec<Vec<String>> = changed
            .map(|one| {
                let or = |text: &Option<String>| cell(text.as_deref().unwrap_or("not there"));
                vec![
                    change(one.change).0.into(),
                    cell(&one.name),
                    cell(&on(one)),
                    one.phase.into(),
                    or(&one.before),
                    or(&one.after),
                    cell(&one.limit),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let heads = ["", "expectation", "key", "phase", "before", "after", "expected"];
            let _ = write!(out, "\n{}", markdown::table(&heads, rows.into_iter()));
        }
        let held = self.expectations.iter().filter(|one| one.change == Change::StillMet).count();
        if held > 0 {
            let _ = writeln!(out, "\n{held} checks held in both.");
        }
        if !self.before.cascade.is_empty() || !self.after.cascade.is_empty() {
            let _ = writeln!(
                out,
                "\n**How it spread**\n\n- before: {}\n- after: {}",
                cell(&cascade(&self.before.cascade)),
                cell(&cascade(&self.after.cascade))
            );
        }
        let rows: Vec<Vec<String>> = self
            .edges
            .iter()
            .flat_map(|edge| {
                edge.figures.iter().filter(|figure| differs(figure)).map(move |figure| (edge, figure))
            })
            .map(|(edge, figure)| {
                vec![
                    cell(&edge.edge),
                    edge.phase.into(),
                    figure.key.into(),
                    shown(figure, figure.before),
                    shown(figure, figure.after),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let heads = ["edge", "phase", "key", "before", "after"];
            let _ = write!(out, "\n**What moved**\n\n{}", markdown::table(&heads, rows.into_iter()));
        }
        for (n, one) in self.recovery.iter().enumerate() {
            let or = |text: &Option<String>| cell(text.as_deref().unwrap_or("not ill"));
            let head = if n == 0 { "\n**After heal**\n\n" } else { "" };
            let _ = writeln!(out, "{head}- {}: {} → {}", cell(&one.edge), or(&one.before), or(&one.after));
        }
        out
    }
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Passed => GOOD,
        Verdict::Failed | Verdict::Error | Verdict::Aborted => BAD,
        Verdict::Inconclusive | Verdict::Unsteady | Verdict::Interrupted => UNSURE,
    }
}

fn about(side: &Side) -> String {
    format!("{} · {} · seed {}", side.run, side.started, side.seed)
}

fn change(change: Change) -> (&'static str, Style) {
    match change {
        Change::Broken => ("broken", BAD),
        Change::Fixed => ("fixed", GOOD),
        Change::Unclear => ("unclear", UNSURE),
        Change::StillUnmet => ("still unmet", BAD),
        Change::StillMet => ("still met", DIM),
    }
}

/// The key, and what it is on.
fn on(one: &Expected) -> String {
    format!("{} {}", one.on, one.key).trim().to_owned()
}

fn phase(name: &str) -> &str {
    if name == "fault" { "fault phase" } else { name }
}

fn cascade(ill: &[Ill]) -> String {
    if ill.is_empty() {
        return "no edge fell ill".into();
    }
    let one = |ill: &Ill| {
        let source = if ill.source { " (source)" } else { "" };
        format!("{}{source} +{}", ill.edge, seconds(ill.at.max(0.0)))
    };
    ill.iter().map(one).collect::<Vec<_>>().join(" → ")
}

fn shown(figure: &Figure, value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| number(figure.unit, value))
}

/// Whether a figure is another one in the second run.
fn differs(figure: &Figure) -> bool {
    match (figure.before, figure.after) {
        (Some(a), Some(b)) if figure.key == "success_rate" => (a - b).abs() > 0.001,
        (Some(a), Some(b)) if figure.key == "amplification" => (a - b).abs() > 0.02,
        (Some(a), Some(b)) => (a - b).abs() > SAME * a.abs().max(b.abs()),
        (a, b) => a.is_some() != b.is_some(),
    }
}

/// Whether the second is better; nothing for what is neither.
fn better(figure: &Figure) -> Option<bool> {
    let (a, b) = (figure.before?, figure.after?);
    match figure.key {
        "success_rate" => Some(b > a),
        "rate" => None,
        _ => Some(b < a),
    }
}
