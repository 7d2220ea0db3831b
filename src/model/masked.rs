//! The text of a file without what must not be told, line for line, so that it can be kept and read again.
//!
//! Values of environments are always taken out, but for those that a service shows; comments, header fields, bodies and
//! whatever holds a secret are taken out where the file still says the same without them, which only who reads it can say.

use super::ports::Ports;
use super::tree::{Node, Planter, Tree, Value};
use super::{Experiment, is_hidden, syntax};
use crate::problem::{Place, Problems};
use std::ops::Range;

/// What stands in place of a value.
const MASK: &str = "***";
/// A secret that is shorter may be a part of any word.
const LONG: usize = 8;

/// A part of the text that is taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Where.
    range: Range<usize>,
    /// What stands there instead.
    instead: String,
    /// Whether it may be left.
    pub must: bool,
}

/// The text of an experiment's file with these parts taken out, of which none may overlap.
#[must_use]
pub fn masked(text: &str, masks: &[Mask]) -> String {
    let mut masks: Vec<&Mask> = masks.iter().collect();
    masks.sort_by_key(|mask| mask.range.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for mask in masks {
        out.push_str(text.get(at..mask.range.start).unwrap_or_default());
        out.push_str(&mask.instead);
        at = mask.range.end.max(at);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Whether a value of the command line (`--set`) is one that must not be told.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    key.split('.').any(|word| matches!(word.trim_matches(['"', '\'']), "env" | "headers" | "body"))
}

/// Everything that is taken out of the text of an experiment.
#[must_use]
pub fn masks(experiment: &Experiment) -> Vec<Mask> {
    let text = &experiment.source.text;
    let mut ignored = Problems::new("", text);
    let ports = Ports::default();
    // Whatever is filled in: only places count here.
    let planter = Planter { source: 0, offset: 0, env: &|_| Some(String::new()), ports: &ports };
    let (tree, _) = syntax::read(text, &planter, &mut ignored);
    let mut finder = Finder {
        text,
        experiment,
        secrets: experiment.secrets(),
        masks: Vec::new(),
        kept: Vec::new(),
        values: Vec::new(),
    };
    finder.table(&tree, &mut Vec::new());
    let mut masks = finder.masks;
    masks.extend(comments(text, &finder.kept));
    masks
}

/// A step from the top of the file: a key, or the number of an element.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Element(usize),
}

struct Finder<'e> {
    text: &'e str,
    experiment: &'e Experiment,
    secrets: Vec<String>,
    masks: Vec<Mask>,
    /// Where a `#` begins no comment: texts and keys.
    kept: Vec<Range<usize>>,
    /// Values of environments that are told in one way each, so that equal ones stay equal.
    values: Vec<String>,
}

impl Finder<'_> {
    fn table(&mut self, tree: &Tree, path: &mut Vec<Step>) {
        for entry in &tree.entries {
            self.kept.push(range(entry.key_place));
            path.push(Step::Key(entry.key.clone()));
            self.node(&entry.node, path);
            path.pop();
        }
    }

    fn node(&mut self, node: &Node, path: &mut Vec<Step>) {
        match &node.value {
            Value::Table(tree) => self.table(tree, path),
            Value::List(list) => {
                for (n, element) in list.iter().enumerate() {
                    path.push(Step::Element(n));
                    self.node(element, path);
                    path.pop();
                }
            }
            value => {
                let place = range(node.place);
                if matches!(value, Value::Text(_)) {
                    self.kept.push(place.clone());
                }
                self.leaf(place, path);
            }
        }
    }

    fn leaf(&mut self, place: Range<usize>, path: &[Step]) {
        let raw = self.text.get(place.clone()).unwrap_or_default();
        let key = |n: usize| match path.get(n) {
            Some(Step::Key(key)) => Some(key.as_str()),
            _ => None,
        };
        let within = |word: &str| path.iter().any(|step| matches!(step, Step::Key(key) if key == word));
        let element = match path.get(1) {
            Some(Step::Element(n)) => *n,
            _ => 0,
        };
        let hides = match (key(0), key(2), key(3), key(4)) {
            (Some("service"), Some("env"), Some(name), _) => {
                self.experiment.services.get(element).is_none_or(|service| !shows(service, name))
            }
            (Some("fault"), Some("env"), Some("set"), Some(name)) => {
                let rule = self.experiment.faults.get(element);
                let services = self.experiment.services.iter();
                !services
                    .filter(|one| rule.is_some_and(|rule| rule.services.contains(&one.name)))
                    .any(|one| shows(one, name))
            }
            (Some("expect"), Some("env"), Some(name), _) => {
                match self.experiment.expects.get(element).map(|one| &one.on) {
                    Some(super::On::Service { service, .. }) => {
                        self.experiment.services.get(*service).is_none_or(|service| !shows(service, name))
                    }
                    _ => true,
                }
            }
            _ => false,
        };
        if hides {
            let number = self.values.iter().position(|value| value == raw).unwrap_or_else(|| {
                self.values.push(raw.to_owned());
                self.values.len() - 1
            });
            let word = if number == 0 { MASK.to_owned() } else { format!("{MASK}{}", number + 1) };
            return self.put(place, &word, true);
        }
        if path.last() == Some(&Step::Key("samples".into())) {
            // The file with the samples may be gone when this is read again.
            self.masks.push(Mask { range: place, instead: "[\"1ms\"]".into(), must: false });
            return;
        }
        let holds = || self.secrets.iter().any(|secret| telling(secret) && raw.contains(secret.as_str()));
        if within("headers") || within("body") || holds() {
            self.put(place, MASK, false);
        }
    }

    /// A text in place of a value, of as many lines.
    fn put(&mut self, range: Range<usize>, word: &str, must: bool) {
        let lines = self.text.get(range.clone()).map_or(0, |raw| raw.matches('\n').count());
        let instead = match lines {
            0 => format!("\"{word}\""),
            lines => format!("\"\"\"{word}{}\"\"\"", "\n".repeat(lines)),
        };
        self.masks.push(Mask { range, instead, must });
    }
}

fn shows(service: &super::Service, name: &str) -> bool {
    service.show_env.iter().any(|shown| shown == name)
}

/// Whether this is a secret wherever it stands.
fn telling(secret: &str) -> bool {
    secret.chars().count() >= LONG && is_hidden(secret) && !secret.contains("${")
}

fn range(place: Place) -> Range<usize> {
    place.start..place.end
}

/// All comments: from a `#` that is in no text and in no key to the end of its line.
fn comments(text: &str, kept: &[Range<usize>]) -> Vec<Mask> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(n) = text[at..].find('#').map(|n| at + n) {
        match kept.iter().find(|range| range.contains(&n)) {
            Some(range) => at = range.end.max(n + 1),
            None => {
                let end = text[n..].find('\n').map_or(text.len(), |length| n + length);
                found.push(Mask { range: n..end, instead: String::new(), must: false });
                at = end;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Overrides, parse};

    const TEXT: &str = r##"name = "x" # the token is tok-123456789
seed = 1
[[service]]
name = "api"
command = ["api", "--token", "tok-123456789"]
show_env = ["MODE"]
env.MODE = "production"
env.TOKEN = "tok-123456789"
env.NOTE = """
several # no comment
lines"""
[[edge]]
name = "front # one"
listen = "127.0.0.1:0"
upstream = "http://127.0.0.1:4000"
to = "api"
[load]
edge = "front # one"
rate = "5/s"
request = { path = "/", headers = { authorization = "Bearer abc" }, body = "sensitive" }
[[fault]]
name = "drift"
service = "api"
env.set = { MODE = "development", TOKEN = "other-one" }
[[expect]]
service = "api"
env.TOKEN = "tok-123456789"
[[expect]] # another
edge = "front # one"
success_rate = ">= 99%"
"##;

    #[test]
    fn what_must_not_be_told_is_taken_out_line_for_line() {
        let parsed = |text: &str| {
            parse(text, "x.toml".as_ref(), &Overrides::default())
                .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
                .experiment
        };
        let experiment = parsed(TEXT);
        let told = masked(TEXT, &masks(&experiment));
        for secret in ["tok-123456789", "several", "Bearer", "sensitive", "other-one", "another"] {
            assert!(!told.contains(secret), "{secret} in\n{told}");
        }
        for word in ["\"production\"", "\"development\"", "\"front # one\""] {
            assert!(told.contains(word), "{word} in\n{told}");
        }
        assert_eq!(told.lines().count(), TEXT.lines().count());
        let again = parsed(&told);
        assert_eq!(again.expects[1].line, experiment.expects[1].line);
        assert_eq!(again.services[0].env[0], experiment.services[0].env[0]);
        // equal ones stay equal, and others do not become so
        let value = |name: &str| again.services[0].env.iter().find(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!(again.expected_env(0), [("TOKEN", value("TOKEN").as_str())]);
        assert_ne!(value("TOKEN"), value("NOTE").trim());
    }

    #[test]
    fn secrets_of_the_command_line() {
        for (key, secret) in [
            ("service.api.env.TOKEN", true),
            ("fault.\"a b\".env.set.X", true),
            ("load.request.headers", true),
            ("run.fault", false),
            ("edge.env-like.listen", false),
        ] {
            assert_eq!(is_secret_key(key), secret, "{key}");
        }
    }
}
