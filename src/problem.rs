//! The mistakes of a user's file: each with its place, the reason and the remedy, all of them shown together.
//!
//! Rendering looks like that of a compiler (line, caret, reason, help). Problems come out in file order, whatever order
//! they were found in. A value that came out of an environment variable is never shown, only the variable's name.
//! Knows nothing of what a file means, nor of any file format.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde_json::json;
use std::fmt;

/// A place in one of the texts that problems were found in: the file itself, or a flag of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Place {
    /// Which text: 0 is the file.
    pub source: u32,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// Worth a look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` if it is about the whole file.
    pub span: Option<Place>,
    /// What is wrong, in a line.
    pub title: String,
    /// The reason, beside the caret.
    pub label: Option<String>,
    /// The remedy.
    pub help: Option<String>,
    /// What else is worth knowing.
    pub note: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<(Place, String)>,
}

impl Problem {
    /// A mistake that stops everything.
    pub fn error(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: None,
            title: title.into(),
            label: None,
            help: None,
            note: None,
            related: Vec::new(),
        }
    }

    /// Something worth a look.
    pub fn warning(title: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(title) }
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.span = Some(place);
        self
    }

    /// The reason, beside the caret.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = Some(text.into());
        self
    }

    /// The remedy.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// What else is worth knowing.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.note = Some(text.into());
        self
    }

    /// Another place that belongs to it.
    #[must_use]
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Self {
        self.related.push((place, text.into()));
        self
    }
}

/// A text with a name: the file, or a flag.
#[derive(Clone, Debug, Default)]
struct Text {
    name: String,
    text: String,
}

/// All mistakes of a file.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    texts: Vec<Text>,
    list: Vec<Problem>,
    hidden: Vec<(String, String)>,
    left_out: usize,
}

impl Problems {
    /// So many problems are kept; a file with more is told how many were left out.
    const MOST: usize = 200;

    /// No problems yet, in the text of this file.
    #[must_use]
    pub fn new(file: &str, text: &str) -> Self {
        let mut new = Self::default();
        new.add_text(file, text);
        new
    }

    /// Another text in which problems may be, such as a flag; returns its number for [`Place::source`].
    pub fn add_text(&mut self, name: &str, text: &str) -> u32 {
        self.texts.push(Text { name: name.to_owned(), text: text.to_owned() });
        (self.texts.len() - 1) as u32
    }

    /// From now on, wherever this value is quoted, `instead` is shown.
    pub(crate) fn hide(&mut self, value: &str, instead: &str) {
        if value.len() > 2 && !self.hidden.iter().any(|(hidden, _)| hidden == value) {
            self.hidden.push((value.to_owned(), instead.to_owned()));
            self.hidden.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        }
    }

    /// The same texts, without problems.
    pub(crate) fn clone_texts(&self) -> Self {
        Self { list: Vec::new(), left_out: 0, ..self.clone() }
    }

    /// Takes over the problems of another walk over the same texts, but those that are explained already.
    pub(crate) fn take_unless(&mut self, other: Self, explained: impl Fn(&Problem) -> bool) {
        self.left_out += other.left_out;
        other.list.into_iter().filter(|problem| !explained(problem)).for_each(|problem| self.push(problem));
    }

    /// One more.
    pub fn push(&mut self, mut problem: Problem) {
        if self.list.contains(&problem) {
            return;
        }
        if self.list.len() >= Self::MOST {
            self.left_out += 1;
            return;
        }
        let related = problem.related.iter_mut().map(|(_, text)| text);
        let parts = [&mut problem.label, &mut problem.help, &mut problem.note].into_iter().flatten();
        for text in parts.chain(related).chain([&mut problem.title]) {
            for (value, instead) in &self.hidden {
                if text.contains(value.as_str()) {
                    *text = text.replace(value.as_str(), instead);
                }
            }
        }
        self.list.push(problem);
    }

    /// Whether nothing may be started.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in file order; those about the whole file come first, those about flags last.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|p| (p.span, p.severity));
        sorted.into_iter()
    }

    /// Those that stop everything, in file order.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.iter().filter(|p| p.severity == Severity::Error)
    }

    /// Those worth a look, in file order.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.iter().filter(|p| p.severity == Severity::Warning)
    }

    /// The text of this number, and its name.
    #[must_use]
    pub fn text(&self, source: u32) -> Option<(&str, &str)> {
        self.texts.get(source as usize).map(|t| (t.name.as_str(), t.text.as_str()))
    }

    /// The line and column of a place, both from 1, columns in characters.
    #[must_use]
    pub fn line_column(&self, place: Place) -> (usize, usize) {
        let text = self.text(place.source).map_or("", |(_, text)| text);
        let start = text.floor_char_boundary(place.start.min(text.len()));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// As a compiler shows its errors.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for problem in self.iter() {
            out.push_str(renderer.render(&[self.group(problem)]).trim_end());
            out.push_str("\n\n");
        }
        if self.left_out > 0 {
            out.push_str(&format!("and {} more problems, not shown\n\n", self.left_out));
        }
        out
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(problem.title.as_str()));
        match problem.span.and_then(|place| Some((place, self.text(place.source)?))) {
            Some((place, (name, text))) => {
                let primary = AnnotationKind::Primary.span(one_line(text, place));
                let mut snippet = Snippet::source(text)
                    .path(name)
                    .fold(true)
                    .annotation(primary.label(problem.label.as_deref().map(normalize_untrusted_str)));
                for (other, label) in problem.related.iter().filter(|(other, _)| other.source == place.source)
                {
                    let context = AnnotationKind::Context.span(one_line(text, *other));
                    snippet = snippet.annotation(context.label(normalize_untrusted_str(label)));
                }
                group = group.element(snippet);
            }
            None => {
                if let Some((name, _)) = self.text(0) {
                    group = group.element(Origin::path(name));
                }
                if let Some(label) = &problem.label {
                    group = group.element(Level::NOTE.message(normalize_untrusted_str(label)));
                }
            }
        }
        for (level, text) in [(Level::HELP, &problem.help), (Level::NOTE, &problem.note)] {
            if let Some(text) = text {
                group = group.element(level.message(normalize_untrusted_str(text)));
            }
        }
        group
    }

    /// For machines: a list of `{ file, line, column, severity, message, reason, help, note }`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.iter()
            .map(|problem| {
                let file = self.text(problem.span.map_or(0, |p| p.source)).map_or("", |(name, _)| name);
                let (line, column) = problem.span.map(|p| self.line_column(p)).unzip();
                json!({
                    "file": file,
                    "line": line,
                    "column": column,
                    "severity": match problem.severity {
                        Severity::Error => "error",
                        Severity::Warning => "warning",
                    },
                    "message": problem.title,
                    "reason": problem.label,
                    "help": problem.help,
                    "note": problem.note,
                })
            })
            .collect()
    }
}

/// The part of a place on its first line, on character boundaries.
fn one_line(text: &str, place: Place) -> std::ops::Range<usize> {
    let start = text.floor_char_boundary(place.start.min(text.len()));
    let end = text.ceil_char_boundary(place.end.min(text.len())).max(start);
    let line = text[start..end].find(['\n', '\r']).map_or(end, |n| start + n);
    start..line
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// The word of a list that was probably meant, if one is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(&word, &other.to_lowercase()), other))
        .filter(|(distance, other)| *distance <= (word.chars().count().max(other.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "and")
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "or")
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, joined: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {joined} {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_a_compiler_does_and_in_file_order() {
        let text = "name = \"x\"\nsed = 5\n";
        let mut problems = Problems::new("a.toml", text);
        problems.push(Problem::warning("second").at(Place { source: 0, start: 17, end: 18 }));
        problems.push(
            Problem::error("unknown key `sed`")
                .at(Place { source: 0, start: 11, end: 14 })
                .label("not a key")
                .help("did you mean `seed`?"),
        );
        assert_eq!(
            problems.render(false),
            "error: unknown key `sed`\n --> a.toml:2:1\n  |\n2 | sed = 5\n  | ^^^ not a key\n  |\n  = help: did you \
             mean `seed`?\n\nwarning: second\n --> a.toml:2:7\n  |\n2 | sed = 5\n  |       ^\n\n"
        );
        assert!(problems.is_fatal());
        assert_eq!(problems.to_json()[0]["line"], 2);
        assert!(problems.render(true).contains("\u{1b}["));
    }

    #[test]
    fn any_place_can_be_shown() {
        let text = "ä = \"\u{1F600}\nx\"\r\n";
        let mut problems = Problems::new("a.toml", text);
        for start in 0..text.len() + 3 {
            for end in start..text.len() + 3 {
                problems.push(Problem::error("x").at(Place { source: 0, start, end }).label("y"));
            }
        }
        assert!(!problems.render(false).is_empty());
    }

    #[test]
    fn a_hidden_value_is_not_shown() {
        let mut problems = Problems::new("a.toml", "");
        problems.hide("s3cret", "${env.TOKEN}");
        problems.push(Problem::error("`s3cret` is wrong").label("s3cret"));
        assert!(!problems.render(false).contains("s3cret"));
        assert!(problems.render(false).contains("${env.TOKEN}"));
    }

    #[test]
    fn near_words() {
        assert_eq!(nearest("upstrem", ["upstream", "listen"]), Some("upstream"));
        assert_eq!(nearest("zzz", ["upstream", "listen"]), None);
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
