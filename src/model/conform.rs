//! Holds a tree against the static description of the keys: unknown and missing keys, wrong types, unreadable values.
//!
//! What was reported is marked as broken, so that nobody reports it again. Knows no rule that looks at two keys.

use super::keys::{GUARDRAIL, Kind, OF_WHOLE_RUNS, Shape, Wrong};
use super::tree::{Node, Tree, Value};
use crate::problem::{Place, Problem, Problems, all_of, nearest};

/// What is being looked at, for messages.
#[derive(Clone, Copy)]
struct At<'a> {
    key: &'a str,
    shape: &'static str,
    example: &'static str,
    required: bool,
}

/// Checks a table; `place` is its header, for what is missing in it.
pub(crate) fn table(tree: &mut Tree, shape: &'static Shape, place: Place, problems: &mut Problems) {
    for entry in &mut tree.entries {
        match shape.key(&entry.key) {
            Some(key) => {
                let at =
                    At { key: &entry.key, shape: shape.name, example: key.example, required: key.required };
                value(&mut entry.node, &key.kind, at, problems);
            }
            None => {
                problems.push(unknown(&entry.key, entry.key_place, shape));
                // What stands in a table of a wrong name is looked at all the same.
                if let Some(key) = meant(&entry.key, shape).and_then(|name| shape.key(name))
                    && key.kind.shape().is_some()
                    && takes(&key.kind, &entry.node)
                {
                    let at = At {
                        key: &entry.key,
                        shape: shape.name,
                        example: key.example,
                        required: key.required,
                    };
                    value(&mut entry.node, &key.kind, at, problems);
                }
                entry.node.broken = true;
            }
        }
    }
    for key in shape.keys.iter().filter(|key| key.required && tree.get(key.name).is_none()) {
        // A misspelt key is one mistake, not two.
        let unknown = tree.entries.iter().filter(|entry| shape.key(&entry.key).is_none());
        if unknown.into_iter().any(|entry| meant(&entry.key, shape) == Some(key.name)) {
            continue;
        }
        let example = match &key.kind {
            Kind::Tables(shape) => format!("add a table `{}`", shape.name),
            _ => format!("add `{} = {}`", key.name, key.example),
        };
        problems.push(missing(shape.name, key.name, place).help(example));
    }
}

/// What people write who know other tools, for words that are one of several.
const ALIASES: [(&str, &str); 7] = [
    ("rst", "reset"),
    ("reset_peer", "reset"),
    ("abort", "reset"),
    ("fin", "close"),
    ("deny", "refuse"),
    ("timeout", "blackhole"),
    ("steady", "baseline"),
];

/// The problem that a key is missing; the walk over a file that could not be read whole leaves these out.
pub(crate) fn missing(shape: &str, key: &str, place: Place) -> Problem {
    Problem::error(format!("`{key}` is missing in {}", quoted(shape)))
        .at(place)
        .label(format!("{} has no `{key}`", quoted(shape)))
}

/// Table names are code, `the file` is not.
pub(crate) fn quoted(shape: &str) -> String {
    if shape.contains(' ') { shape.to_owned() } else { format!("`{shape}`") }
}

fn meant(key: &str, shape: &'static Shape) -> Option<&'static str> {
    let plain = key.replace('-', "_");
    let instead = || shape.instead.iter().find(|(other, _)| *other == plain).map(|(_, here)| *here);
    let same = shape.keys.iter().map(|key| key.name).find(|name| *name == plain);
    same.or_else(instead).or_else(|| nearest(key, shape.keys.iter().map(|key| key.name)))
}

/// Whether a key that is not known here was probably meant to be this one.
pub(crate) fn misspelt(tree: &Tree, shape: &'static Shape, name: &str) -> bool {
    tree.entries.iter().any(|entry| shape.key(&entry.key).is_none() && meant(&entry.key, shape) == Some(name))
}

fn unknown(key: &str, place: Place, shape: &'static Shape) -> Problem {
    let names = shape.keys.iter().map(|key| key.name).chain(shape.family.map(|family| family.name));
    let all = || format!("the keys here are {}", all_of(names.clone()));
    if shape.later.contains(&key) {
        return Problem::error(format!("`{key}` is not in this version"))
            .at(place)
            .label("a later version will have it")
            .help("take it out for now");
    }
    let of_runs = OF_WHOLE_RUNS.iter().find(|(word, _)| *word == key);
    if let Some((_, instead)) = of_runs.filter(|_| shape.name == GUARDRAIL.name) {
        return Problem::error(format!("`{key}` is no guardrail"))
            .at(place)
            .label("a guardrail acts at once, on what it sees")
            .help(*instead);
    }
    let problem = Problem::error(format!("unknown key `{}` in {}", key.escape_debug(), quoted(shape.name)))
        .at(place)
        .label(if shape.name.starts_with("the ") {
            "not a key of an experiment"
        } else {
            "not a key of this table"
        });
    match meant(key, shape).and_then(|name| Some((name, shape.key(name)?))) {
        Some((name, other)) => problem.help(match &other.kind {
            Kind::Table(shape) | Kind::Tables(shape) if shape.name.starts_with('[') => {
                format!("did you mean `{}`?", shape.name)
            }
            _ if shape.instead.iter().any(|(word, _)| *word == key) => {
                format!("did you mean `{name}`, such as `{name} = {}`?", other.example)
            }
            _ => format!("did you mean `{name}`?"),
        }),
        None if key.starts_with('p') && shape.family.is_some() && key[1..].parse::<u32>().is_ok() => {
            problem.help("percentiles are written with two to four digits, such as `p50`, `p99` and `p999`")
        }
        None => problem.help(all()),
    }
}

fn value(node: &mut Node, kind: &'static Kind, at: At<'_>, problems: &mut Problems) {
    if node.broken {
        return;
    }
    let place = node.place;
    match (kind, &mut node.value) {
        (Kind::Any(kinds), _) => match kinds.iter().find(|kind| takes(kind, node)) {
            Some(kind) => value(node, kind, at, problems),
            None => wrong_type(node, kind, at, problems),
        },
        (Kind::Many(kind), Value::List(list)) => {
            if list.is_empty() {
                node.broken = true;
                problems.push(
                    Problem::error(format!("`{}` is empty in {}", at.key, quoted(at.shape)))
                        .at(place)
                        .label("an empty list")
                        .help(match at.required {
                            true => format!("write {}", kind.describe()),
                            false => format!("write {}, or leave `{}` out", kind.describe(), at.key),
                        }),
                );
            }
            list.iter_mut().for_each(|node| value(node, kind, at, problems));
            if list.iter().any(|node| node.broken && node.as_tree().is_none()) {
                node.broken = true;
            }
        }
        (Kind::Many(kind), _) => value(node, kind, at, problems),
        (Kind::Exactly(count, kind), Value::List(list)) => {
            let found = list.len();
            list.iter_mut().for_each(|node| value(node, kind, at, problems));
            node.broken = found != *count || list.iter().any(|node| node.broken);
            if found != *count {
                let label = format!("expected {count} values, found {found}");
                problems.push(bad(at, place, Wrong { label, help: None }));
            }
        }
        (Kind::Table(shape), Value::Table(tree)) => table(tree, shape, place, problems),
        (Kind::Tables(shape), Value::List(list)) => {
            for node in list {
                let place = node.place;
                match &mut node.value {
                    Value::Table(tree) => table(tree, shape, place, problems),
                    _ => wrong_type(node, kind, at, problems),
                }
            }
        }
        (Kind::Map(word, kind), Value::Table(tree)) => {
            for entry in &mut tree.entries {
                if let Err(wrong) = (word.check)(&entry.key) {
                    problems.push(bad(at, entry.key_place, wrong));
                    entry.node.broken = true;
                }
                value(&mut entry.node, kind, at, problems);
            }
        }
        (Kind::Word(_), Value::Text(text)) if super::fill::names(text).next().is_some() => {
            let name = super::fill::names(text).next().unwrap_or_default().to_owned();
            node.broken = true;
            problems.push(
                Problem::error(format!("`${{edge.{name}}}` cannot be used in `{}`", at.key))
                    .at(place)
                    .label("the address of an edge is known only once it listens")
                    .help("write the address itself, such as `127.0.0.1:9000`; it is filled in only in what services, hooks and probes are given"),
            );
        }
        (Kind::Word(word) | Kind::Filled(word), Value::Text(text)) => {
            if let Err(wrong) = (word.check)(text) {
                node.broken = true;
                problems.push(bad(at, place, wrong));
            }
        }
        (Kind::OneOf(words, later), Value::Text(text)) => {
            if words.iter().all(|(word, _)| word != text) {
                let problem = if later.contains(&text.as_str()) {
                    Problem::error(format!("`{} = \"{text}\"` is not in this version", at.key))
                        .label("a later version will have it")
                        .help(format!("write {}", kind.describe()))
                } else {
                    let lower = text.to_lowercase();
                    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, word)| *word);
                    let alias = alias.filter(|alias| words.iter().any(|(word, _)| word == alias));
                    let near = alias.or_else(|| nearest(text, words.iter().map(|(word, _)| *word)));
                    Problem::error(format!("bad value for `{}` in {}", at.key, quoted(at.shape)))
                        .label(format!("expected {}", kind.describe()))
                        .help(match near {
                            Some(near) => format!("did you mean `\"{near}\"`?"),
                            None => format!("write {}", kind.describe()),
                        })
                };
                node.broken = true;
                problems.push(problem.at(place));
            }
        }
        (Kind::Flag, Value::Flag(_)) => {}
        (Kind::Scalar, Value::Text(_) | Value::Integer(_) | Value::Flag(_)) => {}
        (Kind::Scalar, Value::Float(number)) if number.is_finite() => {}
        (Kind::Integer(low, high), Value::Integer(number)) => {
            if !(i128::from(*low)..=i128::from(*high)).contains(number) {
                node.broken = true;
                let label = format!("expected {}", kind.describe());
                problems.push(bad(at, place, Wrong { label, help: None }));
            }
        }
        (Kind::Number(low, high), Value::Integer(_) | Value::Float(_)) => {
            if !number(node).is_some_and(|number| (*low..=*high).contains(&number)) {
                node.broken = true;
                let label = format!("expected {}", kind.describe());
                problems.push(bad(at, place, Wrong { label, help: None }));
            }
        }
        _ => wrong_type(node, kind, at, problems),
    }
}

/// The number, whole or not.
pub(crate) fn number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

/// Whether the type of a value fits, whatever the value.
fn takes(kind: &Kind, node: &Node) -> bool {
    match (kind, &node.value) {
        (Kind::Any(kinds), _) => kinds.iter().any(|kind| takes(kind, node)),
        (Kind::Scalar, Value::Float(number)) => number.is_finite(),
        (Kind::Many(kind), Value::List(list)) => list.iter().all(|node| takes(kind, node)),
        (Kind::Many(kind), _) => takes(kind, node),
        (Kind::Word(_) | Kind::Filled(_) | Kind::OneOf(..), Value::Text(_))
        | (Kind::Scalar, Value::Text(_) | Value::Integer(_) | Value::Flag(_))
        | (Kind::Flag, Value::Flag(_))
        | (Kind::Integer(..), Value::Integer(_))
        | (Kind::Number(..), Value::Integer(_) | Value::Float(_))
        | (Kind::Exactly(..) | Kind::Tables(_), Value::List(_))
        | (Kind::Table(_) | Kind::Map(..), Value::Table(_)) => true,
        _ => false,
    }
}

fn bad(at: At<'_>, place: Place, wrong: Wrong) -> Problem {
    let problem = Problem::error(format!("bad value for `{}` in {}", at.key, quoted(at.shape)))
        .at(place)
        .label(wrong.label);
    match wrong.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn wrong_type(node: &mut Node, kind: &'static Kind, at: At<'_>, problems: &mut Problems) {
    node.broken = true;
    let help = match (kind, &node.value) {
        (Kind::Tables(shape), Value::Table(_)) => {
            Some(format!("there may be several: write `{}` with two brackets on each side", shape.name))
        }
        (Kind::Table(shape), Value::List(_)) if shape.name.starts_with('[') => {
            Some(format!("there is only one: write `{}` with one bracket on each side", shape.name))
        }
        (Kind::Flag, Value::Text(_)) => Some("write `true` or `false`, without quotes".into()),
        (Kind::Integer(..) | Kind::Number(..), Value::Text(text)) if text.trim().parse::<f64>().is_ok() => {
            Some(format!("write `{}`, without quotes", text.trim()))
        }
        // What a process is given: `PORT = 4000`.
        (Kind::Filled(word), Value::Integer(number)) if word.pattern.is_empty() => {
            Some(format!("write it in quotes: `\"{number}\"`"))
        }
        (Kind::Filled(word), Value::Flag(flag)) if word.pattern.is_empty() => {
            Some(format!("write it in quotes: `\"{flag}\"`"))
        }
        (
            Kind::Word(word) | Kind::Filled(word),
            Value::Integer(_) | Value::Float(_) | Value::Flag(_) | Value::Date,
        ) => {
            let example = word.examples.first().map_or_else(String::new, |example| format!("\"{example}\""));
            let example = if at.example.starts_with('"') { at.example } else { &example };
            Some(format!("write it in quotes, such as `{example}`"))
        }
        (Kind::Any(kinds), Value::Integer(_) | Value::Float(_)) => {
            let examples = kinds.iter().filter_map(|kind| match kind {
                Kind::Word(word) => word.examples.first(),
                _ => None,
            });
            examples.into_iter().next().map(|example| format!("write it in quotes, such as `\"{example}\"`"))
        }
        (Kind::Any(kinds), Value::Text(text))
            if text.trim().parse::<f64>().is_ok()
                && kinds.iter().any(|kind| matches!(kind, Kind::Integer(..) | Kind::Number(..))) =>
        {
            Some(format!("write `{}`, without quotes", text.trim()))
        }
        _ if at.example == "[]" => None,
        _ => Some(format!("write one such as `{} = {}`", at.key, at.example)),
    };
    let label = format!("expected {}; found {}", kind.describe(), node.kind());
    problems.push(bad(at, node.place, Wrong { label, help }));
}
