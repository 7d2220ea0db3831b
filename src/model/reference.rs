//! The reference of the experiment file, for people. Made from the same description of the keys that the reader uses.

use super::keys::{EXPERIMENT, Key, Kind, Shape};
use std::fmt::Write as _;

const BEGIN: &str = "\
# The experiment file

<!-- Made from the description of the keys in src/model/keys: change that, then run `BLESS=1 cargo test --test main check`. -->

One TOML file is one experiment: `brownout check FILE` looks at it, `brownout run FILE` runs it. Unknown keys are errors,
and every mistake of a file is shown at once, with its line, the reason and the remedy. A broken file never starts anything.

## How values are written

| | |
|---|---|
| duration | `\"250ms\"`, `\"1.5s\"`, `\"2m\"`, `\"1h 30m\"`; units `ns`, `us`, `ms`, `s`, `m`, `h`, `d` |
| size | `\"64 KiB\"`, `\"1 MB\"`, `\"512 B\"`; KiB is 1024 bytes, kB is 1000 |
| rate | `\"50/s\"`, `\"600/m\"`, `\"10/h\"` |
| share | `5`, `\"5%\"`, `\"0.5%\"` |
| comparison | `\">= 99%\"`, `\"< 800ms\"`, `\"> 40/s\"`, `\"<= 50\"`; the unit is that of what is measured |
| glob | `*` any characters, `?` one, `[ab]` one of these, `{a,b}` one of these texts |
| environment | `${env.NAME}` in any text is filled in when the file is read, and never shown |
| free port | `${port.NAME}` in any text is a free port of 127.0.0.1 that Brownout picks: the same wherever this name stands in the file |
| edge | `${edge.NAME}` is the address of an edge, a URL or host:port for tcp; in what services, hooks and probes are given |

`--set KEY=VALUE` replaces any value of the file before it is checked: `--set run.fault=10s`,
`--set edge.checkout.listen=127.0.0.1:0`, `--set 'fault.\"provider is slow\".percent=5'`. A table of a list is named by its
`name`, or by its number from 1. `--upstream URL` replaces the upstream of the first edge, `--upstream EDGE=URL` that of
another.
";

/// The whole reference, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(BEGIN);
    let mut todo: Vec<(&'static Shape, usize)> = vec![(&EXPERIMENT, 2)];
    let mut done: Vec<&str> = Vec::new();
    while !todo.is_empty() {
        let (shape, level) = todo.remove(0);
        if done.contains(&shape.name) {
            continue;
        }
        done.push(shape.name);
        section(&mut out, shape, level);
        // The tables of a table follow it at once.
        let inner = shape.keys.iter().filter_map(|key| key.kind.shape());
        let inner = inner.map(|shape| (shape, if shape.name.starts_with('[') { 2 } else { 3 }));
        let (own, other): (Vec<_>, Vec<_>) = inner.partition(|(_, level)| *level == 3);
        todo.splice(0..0, own);
        todo.extend(other);
    }
    out
}

fn section(out: &mut String, shape: &Shape, level: usize) {
    let title = match shape.name {
        "the file" => "The top of the file".to_owned(),
        name if name.contains(' ') => format!("{}{}", name[..1].to_uppercase(), &name[1..]),
        name => format!("`{name}`"),
    };
    let _ = write!(out, "\n{} {title}\n\n{}\n\n", "#".repeat(level), shape.doc);
    out.push_str("| key | takes | default | |\n|---|---|---|---|\n");
    for key in shape.keys {
        row(out, &format!("`{}`", key.name), key);
    }
    if let Some(family) = shape.family {
        row(out, &format!("`{}`", family.name), &family.key);
    }
    let examples =
        shape.keys.iter().filter(|key| key.example != "[]" && !matches!(key.kind, Kind::Tables(_)));
    let lines: Vec<String> = examples.map(|key| format!("{} = {}", key.name, key.example)).collect();
    if !lines.is_empty() {
        let _ = write!(out, "\nExamples of each:\n\n```toml\n{}\n```\n", lines.join("\n"));
    }
}

fn row(out: &mut String, name: &str, key: &Key) {
    let default = match key.default {
        _ if key.required => "**required**".to_owned(),
        None => String::new(),
        Some(text)
            if text.starts_with(['"', '{'])
                || text.parse::<f64>().is_ok()
                || text == "true"
                || text == "false" =>
        {
            format!("`{text}`")
        }
        Some(text) => text.to_owned(),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    let _ =
        writeln!(out, "| {name} | {} | {} | {} |", cell(&takes(&key.kind)), cell(&default), cell(key.doc));
}

/// What a key takes, in a few words.
fn takes(kind: &Kind) -> String {
    match kind {
        Kind::Word(word) | Kind::Filled(word) => word.what.to_owned(),
        Kind::OneOf(words, _) => {
            let words: Vec<String> =
                words.iter().map(|(word, doc)| format!("`\"{word}\"` ({doc})")).collect();
            words.join(", ")
        }
        Kind::Many(one) => format!("{}, or a list", takes(one)),
        Kind::Exactly(count, one) => format!("{count} times {}", takes(one)),
        Kind::Table(shape) | Kind::Tables(shape) if shape.name.starts_with('[') => {
            format!("`{}`", shape.name)
        }
        Kind::Table(shape) | Kind::Tables(shape) if shape.name.contains(' ') => shape.name.to_owned(),
        Kind::Table(shape) => format!("a table, see `{}`", shape.name),
        Kind::Tables(shape) => format!("a list of tables, see `{}`", shape.name),
        Kind::Map(word, one) => format!("a table: {} = {}", word.what, takes(one)),
        Kind::Any(kinds) => kinds.iter().map(takes).collect::<Vec<_>>().join(" or "),
        Kind::Flag | Kind::Scalar | Kind::Integer(..) | Kind::Number(..) => kind.describe(),
    }
}
