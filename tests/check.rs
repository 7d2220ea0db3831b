//! What a user's file is told: every message as a golden file, and what no file may do.

use brownout::model::{Loaded, Overrides, parse};
use brownout::problem::Problems;
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{folder}");
    all
}

/// Parses a file under its bare name, so that messages are the same everywhere.
fn parse_file(path: &Path, overrides: &Overrides<'_>) -> Result<Loaded, Problems> {
    let text = fs::read_to_string(path).unwrap();
    parse(&text, Path::new(path.file_name().unwrap()), overrides)
}

fn golden(path: &Path, got: &str) -> bool {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, got).unwrap();
        return true;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != got {
        eprintln!("{} differs; BLESS=1 writes it anew.\nexpected:\n{expected}\ngot:\n{got}", path.display());
    }
    expected == got
}

/// Flags of a golden file stand in its comments: `#! --set run.fault=10s`, `#! env NAME=value`.
fn flags(text: &str) -> (Vec<(String, String)>, Vec<(Option<String>, String)>, Vec<(String, String)>) {
    let (mut set, mut upstream, mut env) = (Vec::new(), Vec::new(), Vec::new());
    let pair = |text: &str| text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
        match line.split_once(' ').unwrap() {
            ("--set", rest) => set.push(pair(rest)),
            ("--upstream", rest) if rest.starts_with("http") => upstream.push((None, rest.to_owned())),
            ("--upstream", rest) => {
                let (edge, url) = pair(rest);
                upstream.push((Some(edge), url));
            }
            ("env", rest) => env.push(pair(rest)),
            other => panic!("{other:?}"),
        }
    }
    (set, upstream, env)
}

fn messages(path: &Path) -> (String, bool) {
    let (set, upstream, env) = flags(&fs::read_to_string(path).unwrap());
    let lookup = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    match parse_file(path, &Overrides { set, upstream, seed: None, env: &lookup }) {
        Ok(loaded) => (loaded.warnings.render(false), false),
        Err(problems) => (problems.render(false), true),
    }
}

#[test]
fn every_message_is_as_it_was_read_aloud() {
    let mut same = true;
    for path in files("tests/golden/check") {
        let (got, fatal) = messages(&path);
        let warns = path.file_name().unwrap().to_str().unwrap().starts_with("warn");
        same &= golden(&path.with_extension("txt"), &got);
        assert_eq!(fatal, !warns, "{}: {got}", path.display());
        assert!(!got.is_empty(), "{}", path.display());
    }
    assert!(same);
}

#[test]
fn what_is_right_is_accepted() {
    for path in files("tests/golden/accepted")
        .into_iter()
        .chain(files("experiments"))
        .chain(files("experiments/faults"))
    {
        if let Err(problems) = parse_file(&path, &Overrides::default()) {
            panic!("{problems}");
        }
    }
}
