//! Reports of journals: each `tests/golden/report/NAME.jsonl`, held against the experiment `NAME.toml` beside it, is
//! `NAME.txt`, `NAME.report.json` and `NAME.xml`. `BLESS=1` writes them anew.

use brownout::model::{self, Experiment, Overrides};
use brownout::report::{Exit, Fold, Report, Terms, build, json, junit, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

const CASES: [(&str, u8); 8] = [
    ("passed", 0),
    ("failed", 1),
    ("unsteady", 3),
    ("aborted", 4),
    ("trouble", 5),
    ("vacuous", 6),
    ("interrupted", 130),
    ("drift", 1),
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report").join(name)
}

fn experiment(name: &str) -> Experiment {
    let loaded = model::load(&file(&format!("{name}.toml")), &Overrides::default());
    loaded.unwrap_or_else(|problems| panic!("{}", problems.render(false))).experiment
}

fn report(name: &str, terms: &Terms) -> Report {
    let journal = std::fs::read_to_string(file(&format!("{name}.jsonl"))).unwrap();
    let mut fold = Fold::new();
    for line in journal.lines() {
        fold.take(&serde_json::from_str(line).unwrap());
    }
    build(&fold, &experiment(name), terms)
}

fn terms() -> Terms {
    Terms { run: "20261122-100000-example".into(), ..Terms::default() }
}

#[track_caller]
fn golden(name: &str, got: &str) {
    let path = file(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(got == expected, "{name} differs; BLESS=1 writes it anew.\nexpected:\n{expected}\ngot:\n{got}");
}

#[test]
fn journals_become_reports() {
    for (name, exit) in CASES {
        let report = report(name, &terms());
        assert_eq!(report.exit, exit, "{name}: {:?}", report.reasons);
        golden(&format!("{name}.txt"), &text::render(&report, false));
        golden(&format!("{name}.report.json"), &json::render(&report));
        golden(&format!("{name}.xml"), &junit::render(&report));
    }
}

#[test]
fn the_summary_fits_a_hundred_columns() {
    for (name, _) in CASES {
        for line in text::render(&report(name, &terms()), false).lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    for (name, _) in CASES {
        let report = report(name, &terms());
        let coloured = text::render(&report, true);
        assert!(coloured.contains('\x1b'));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trimmed(&stripped), trimmed(&text::render(&report, false)), "{name}");
    }
}

#[test]
fn a_torn_journal_is_never_green() {
    let journal = std::fs::read_to_string(file("passed.jsonl")).unwrap();
    let lines: Vec<_> = journal.lines().collect();
    for end in 0..lines.len() {
        let mut fold = Fold::new();
        lines[..end].iter().for_each(|line| fold.take(&serde_json::from_str(line).unwrap()));
        let report = build(&fold, &experiment("passed"), &terms());
        assert_ne!(report.exit, 0, "after {end} of {} lines", lines.len());
    }
}

#[test]
fn vacuous_runs_pass_only_when_allowed() {
    let allowed = report("vacuous", &Terms { allow_vacuous: true, ..terms() });
    assert_eq!(allowed.exit, Exit::Passed.code());
    assert_eq!(allowed.warnings.len(), report("vacuous", &terms()).reasons.len());
    assert!(!junit::render(&allowed).contains("<error"));
    let wanted = report("vacuous", &Terms { expect_exit: Some(6), ..terms() });
    assert_eq!(wanted.exit, 0);
    assert!(text::render(&wanted, false).starts_with("INCONCLUSIVE"));
}

#[test]
fn reports_keep_their_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (name, _) in CASES {
        let value: Value = serde_json::from_str(&json::render(&report(name, &terms()))).unwrap();
        validate(&schema, &schema, &value, name);
    }
    let mut broken: Value = serde_json::from_str(&json::render(&report("passed", &terms()))).unwrap();
    broken["edges"][0]["phases"]["fault"]["success_rate"] = 1.5.into();
    let caught = std::panic::catch_unwind(|| validate(&schema, &schema, &broken, "broken"));
    assert!(caught.is_err(), "the schema is looked at");
}

/// Holds a value against the part of JSON Schema that ours uses; any other keyword is an error.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "required" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#'));
                validate(root, target.unwrap(), value, at);
            }
            "const" => assert_eq!(value, rule, "{at}"),
            "enum" => assert!(rule.as_array().unwrap().contains(value), "{at}: {value}"),
            "type" => {
                let types: Vec<_> =
                    rule.as_array().map_or_else(|| vec![rule], |types| types.iter().collect());
                let is = |name: &&Value| match name.as_str().unwrap() {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("unknown type {other}"),
                };
                assert!(types.iter().any(is), "{at}: {value} is none of {rule}");
            }
            "minimum" => assert!(value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()), "{at}: {value}"),
            "maximum" => assert!(value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()), "{at}: {value}"),
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(root, rule, item, &format!("{at}[{n}]"));
                }
            }
            "properties" | "additionalProperties" => {}
            other => panic!("the schema uses `{other}`, which this test does not know"),
        }
    }
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{at}: no {name}");
    }
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(rule), _) => validate(root, rule, member, &at),
            (None, Some(Value::Bool(false))) => panic!("{at} is not in the schema"),
            (None, Some(rule @ Value::Object(_))) => validate(root, rule, member, &at),
            (None, _) => {}
        }
    }
}
