//! The shape of the source, kept by a machine: who may import whom, how long a file may be, and that each says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the top. A module imports from rows below its own, never from above.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["api", "run", "demo"],
    &["report"],
    &["analysis", "chart"],
    &["control"],
    &["proxy", "supervise"],
    &["http1", "net", "telemetry"],
    &["plan"],
    &["model"],
    &["fault"],
    &["decision"],
    &["units", "problem"],
];

/// Modules that must know less than their row would let them.
const KNOWS_ONLY: &[(&str, &[&str], &str)] = &[
    ("http1", &[], "a codec that is fuzzed and compared by itself"),
    ("net", &[], "sockets and time, whatever they are used for"),
    (
        "supervise",
        &["telemetry", "model", "units"],
        "processes and what must be undone: nothing of edges, phases and experiments",
    ),
    (
        "demo",
        &["decision"],
        "its services stand in for real ones: nothing of the proxy; distributions are pure",
    ),
    ("analysis", &["telemetry", "model"], "pure functions over what crossed the edges"),
    ("chart", &["telemetry", "model"], "pictures of what crossed the edges, whoever shows them"),
    (
        "report",
        &["analysis", "chart", "telemetry", "model", "units", "problem"],
        "a fold over the journal: nothing of how a run is done",
    ),
];

/// Lines a file may have without its tests and its `//!`: about 400.
const LONGEST: usize = 420;

/// Files that are longer, how long they may be, and why. Nothing else may become so, and these may not grow.
const LONGER: &[(&str, usize, &str)] = &[
    ("src/model/mod.rs", 540, "a table: the types of the experiment, with next to no code"),
    ("src/http1/invariants.rs", 500, "what the fuzzers check, for each kind of message"),
];

struct Source {
    path: String,
    module: String,
    /// Without comments.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(Path::new("src"), &mut files);
    files.sort();
    files
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.to_str().unwrap().replace('\\', "/");
            let module = name.trim_start_matches("src/").split('/').next().unwrap().trim_end_matches(".rs");
            (!["lib", "main"].contains(&module)).then(|| Source {
                module: module.to_owned(),
                code: without_comments(&text),
                path: name.clone(),
                text,
            })
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    )
}

fn is_test(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap();
    ["tests.rs", "testing.rs"].contains(&file) || file.ends_with("_tests.rs")
}

/// The modules named in `crate::module` and `crate::{module, module::…}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads(group)),
            None => found.extend(word(rest)),
        }
    }
    found
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first word of each path of a group, up to the brace that closes it.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.extend(word(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

fn row(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

fn breach(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    let (Some(above), Some(below)) = (row(from), row(to)) else {
        return Some(format!("`{to}` is in no layer: put it into LAYERS of tests/layers.rs"));
    };
    if let Some((_, known, reason)) = KNOWS_ONLY.iter().find(|(module, _, _)| *module == from)
        && !known.contains(&to)
    {
        return Some(format!("`{from}` must not know `{to}`: {reason}"));
    }
    (below <= above).then(|| format!("`{from}` must not import `{to}`, which is not below it"))
}

#[test]
fn modules_import_only_from_layers_below() {
    let mut breaches = BTreeMap::new();
    for source in sources() {
        assert!(row(&source.module).is_some(), "{}: `{}` is in no layer", source.path, source.module);
        for to in imports(&source.code) {
            if let Some(reason) = breach(&source.module, &to) {
                breaches.insert(format!("{} → {to}", source.path), reason);
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// `super::` must not lead out of a module of the first level, past the check above.
#[test]
fn nobody_climbs_out_of_a_module() {
    for source in sources() {
        let depth = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
        // One more for what stands in `mod tests`.
        let most = depth + usize::from(source.code.contains("#[cfg(test)]"));
        let climb = "super::".repeat(most);
        assert!(
            depth == 0 || !source.code.contains(&climb),
            "{}: `{climb}` leads out of `{}`: write `crate::`",
            source.path,
            source.module
        );
    }
}

#[test]
fn a_file_has_one_subject() {
    let mut wrong = Vec::new();
    let mut over = BTreeSet::new();
    for source in sources().iter().filter(|source| !is_test(&source.path)) {
        let body = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = body.lines().filter(|line| !line.starts_with("//!")).count();
        let most =
            LONGER.iter().find(|(path, _, _)| *path == source.path).map_or(LONGEST, |(_, most, _)| *most);
        if lines > LONGEST {
            over.insert(source.path.clone());
        }
        if lines > most {
            wrong.push(format!("{}: {lines} lines, may have {most}: it has two subjects", source.path));
        }
    }
    for (path, _, _) in LONGER.iter().filter(|(path, _, _)| !over.contains(*path)) {
        wrong.push(format!("{path} is short enough now: take it out of LONGER"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|s| s.path).collect();
    assert!(silent.is_empty(), "without `//!` on the first line: {silent:#?}");
}

#[test]
fn the_crate_and_its_documentation_name_the_same_layers() {
    let told = LAYERS.iter().map(|row| row.join(" · ")).collect::<Vec<_>>().join(" → ");
    for path in ["src/lib.rs", "docs/architecture.md"] {
        let text = fs::read_to_string(path).unwrap().replace("//!", "").replace('`', "");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&told), "{path} does not say: {told}");
    }
}

/// The checks themselves find what they are there to find.
#[test]
fn a_breach_is_seen() {
    assert_eq!(
        imports("use crate::{model::{A, B}, plan, units::Rate};\nlet x = crate::proxy::Slot::new();"),
        ["model", "plan", "proxy", "units"].map(String::from).into()
    );
    assert_eq!(imports("pub(crate) fn f() {}\nuse some_crate::model;"), BTreeSet::new());
    for (from, to) in [
        ("model", "plan"),
        ("units", "problem"),
        ("proxy", "control"),
        ("report", "run"),
        ("demo", "proxy"),
        ("http1", "net"),
        ("net", "telemetry"),
        ("telemetry", "http1"),
        ("run", "api"),
        ("cli", "utils"),
    ] {
        assert!(breach(from, to).is_some(), "{from} → {to}");
    }
    for (from, to) in [("cli", "units"), ("run", "report"), ("control", "model"), ("fault", "decision")] {
        assert!(breach(from, to).is_none(), "{from} → {to}");
    }
}
