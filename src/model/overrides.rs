//! `--set KEY=VALUE` and `--upstream [EDGE=]URL`: values that replace those of the file, before anything is checked.

use super::ports::Ports;
use super::tree::{Entry, Node, Planter, Tree, Value};
use crate::problem::{Place, Problem, Problems, all_of, nearest};
use std::ops::Range;
use toml::de::DeValue;

/// What may be looked up in the environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What replaces values of the file.
#[derive(Clone)]
pub struct Overrides<'a> {
    /// Keys and values as `--set` has them: `run.fault` and `10s`, `edge.checkout.listen`, `fault."a b".percent`.
    pub set: Vec<(String, String)>,
    /// Upstreams as `--upstream` has them: of this edge, or of the first.
    pub upstream: Vec<(Option<String>, String)>,
    /// The seed.
    pub seed: Option<u64>,
    /// Looks up an environment variable.
    pub env: Lookup<'a>,
    /// The ports that `${port.NAME}` stands for: whoever reads a file again gives the same ones.
    pub ports: Ports,
}

impl Default for Overrides<'_> {
    /// Nothing is replaced, and the environment is empty.
    fn default() -> Self {
        Self { set: Vec::new(), upstream: Vec::new(), seed: None, env: &|_| None, ports: Ports::default() }
    }
}

impl std::fmt::Debug for Overrides<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overrides")
            .field("set", &self.set)
            .field("upstream", &self.upstream)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Puts the values in place; returns the places in the file of the edges whose upstream was replaced.
pub(crate) fn apply(tree: &mut Tree, overrides: &Overrides<'_>, problems: &mut Problems) -> Vec<usize> {
    let replaced = overrides
        .upstream
        .iter()
        .filter_map(|(edge, url)| upstream(tree, edge.as_deref(), url, overrides, problems))
        .collect();
    for (key, value) in &overrides.set {
        set(tree, key, value, overrides, problems);
    }
    replaced
}

fn upstream(
    tree: &mut Tree,
    edge: Option<&str>,
    url: &str,
    overrides: &Overrides<'_>,
    problems: &mut Problems,
) -> Option<usize> {
    let text = edge.map_or_else(|| url.to_owned(), |edge| format!("{edge}={url}"));
    let source = problems.add_text("--upstream", &text);
    let start = text.len() - url.len();
    let place = Place { source, start, end: text.len() };
    let planter = Planter { source, offset: 0, env: overrides.env, ports: &overrides.ports };
    let mut edges: Vec<&mut Tree> = match tree.get_mut("edge").map(|entry| &mut entry.node.value) {
        Some(Value::List(list)) => list.iter_mut().filter_map(Node::as_tree_mut).collect(),
        _ => Vec::new(),
    };
    let names: Vec<String> = edges.iter().filter_map(|t| name_of(t)).collect();
    let found = match edge {
        None => Some(0),
        Some(name) => edges.iter().position(|t| name_of(t).as_deref() == Some(name)),
    };
    match (found.and_then(|n| edges.get_mut(n)), edge) {
        (Some(table), _) => {
            let node = planter.text(url, place, problems);
            table.set("upstream", place, node);
            return found;
        }
        (None, Some(edge)) => {
            let place = Place { source, start: 0, end: edge.len() };
            problems.push(nothing_named("edge", edge, &names, place));
        }
        // The file has no edge at all, which is reported as such.
        (None, None) => {}
    }
    None
}

fn name_of(tree: &Tree) -> Option<String> {
    tree.get("name").and_then(|entry| entry.node.as_text()).map(str::to_owned)
}

fn nothing_named(what: &str, name: &str, names: &[String], place: Place) -> Problem {
    let names = || names.iter().map(String::as_str);
    let problem = Problem::error(format!("there is no {what} `{name}`")).at(place).label("not in the file");
    match nearest(name, names()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if names().next().is_none() => problem.help(format!("the file has no `[[{what}]]` with a name")),
        None => problem.help(format!("there is {}", all_of(names()))),
    }
}

fn set(tree: &mut Tree, key: &str, value: &str, overrides: &Overrides<'_>, problems: &mut Problems) {
    let text = format!("{key}={value}");
    let source = problems.add_text("--set", &text);
    let whole = Place { source, start: 0, end: key.len() };
    let place = Place { source, start: key.len() + 1, end: text.len() };
    let Some(path) = segments(key) else {
        problems.push(
            Problem::error("not a key")
                .at(whole)
                .label("expected words with dots between them")
                .help("write `run.fault`, `edge.checkout.listen` or `fault.\"a name with spaces\".percent`"),
        );
        return;
    };
    let planter = Planter { source, offset: key.len() + 1, env: overrides.env, ports: &overrides.ports };
    let node = match DeValue::parse(value) {
        Ok(parsed) if !value.trim().is_empty() && !matches!(parsed.get_ref(), DeValue::Datetime(_)) => {
            planter.node(parsed.get_ref(), parsed.span(), problems)
        }
        // What is no TOML is a text without quotes, as shells leave it: `10s`, `http://127.0.0.1:80`.
        _ => planter.text(value, place, problems),
    };
    descend(tree, &path, Node { place, ..node }, source, whole, problems);
}

fn descend(
    tree: &mut Tree,
    path: &[(String, Range<usize>)],
    node: Node,
    source: u32,
    whole: Place,
    problems: &mut Problems,
) {
    let [(key, range), rest @ ..] = path else { return };
    let place = Place { source, start: range.start, end: range.end };
    if rest.is_empty() {
        tree.set(key, place, node);
        return;
    }
    let lists = ["service", "edge", "fault", "expect", "guardrail"];
    if tree.get(key).is_none() && !lists.contains(&key.as_str()) {
        tree.set(key, place, Node::new(Value::Table(Tree::default()), place));
    }
    let names: Vec<String>;
    match tree.get_mut(key).map(|entry: &mut Entry| &mut entry.node.value) {
        Some(Value::Table(inner)) => return descend(inner, rest, node, source, whole, problems),
        Some(Value::List(list)) => {
            let [(name, range), rest @ ..] = rest else { return };
            names = list.iter().filter_map(|node| name_of(node.as_tree()?)).collect();
            let by_name = list
                .iter()
                .position(|node| node.as_tree().and_then(name_of).as_deref() == Some(name.as_str()));
            let by_number = || name.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            let found = by_name.or_else(by_number).and_then(|n| list.get_mut(n)).and_then(Node::as_tree_mut);
            let place = Place { source, start: range.start, end: range.end };
            match found {
                Some(_) if rest.is_empty() => problems.push(
                    Problem::error("which key of it?")
                        .at(place)
                        .label("this names a whole table")
                        .help(format!("go on: `{key}.{name}.KEY=VALUE`")),
                ),
                Some(inner) => descend(inner, rest, node, source, whole, problems),
                None => problems.push(nothing_named(key, name, &names, place)),
            }
            return;
        }
        _ => {}
    }
    problems.push(match lists.contains(&key.as_str()) {
        true => nothing_named(key, rest.first().map_or("", |(name, _)| name), &[], whole),
        false => Problem::error(format!("`{key}` is not a table"))
            .at(place)
            .label("has no keys of its own")
            .help(format!("write all of it: `{key}=…`")),
    });
}

/// The words of a dotted key, with their ranges; quotes hold what has dots or spaces.
fn segments(key: &str) -> Option<Vec<(String, Range<usize>)>> {
    let mut all = Vec::new();
    let mut at = 0;
    loop {
        let rest = &key[at..];
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (word, length) = match quote {
            Some(quote) => {
                let inner = &rest[1..];
                let end = inner.find(quote)?;
                (&inner[..end], end + 2)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        if word.is_empty() {
            return None;
        }
        all.push((word.trim().to_owned(), at..at + length));
        at += length;
        match key[at..].chars().next() {
            None => return Some(all),
            Some('.') => at += 1,
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys() {
        let words = |key| segments(key).map(|all| all.into_iter().map(|(w, _)| w).collect::<Vec<_>>());
        assert_eq!(words("run.fault").unwrap(), ["run", "fault"]);
        assert_eq!(words("fault.\"a b.c\".percent").unwrap(), ["fault", "a b.c", "percent"]);
        assert_eq!(words("fault.a b.percent").unwrap(), ["fault", "a b", "percent"]);
        for key in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "''"] {
            assert!(words(key).is_none(), "{key}");
        }
    }
}
