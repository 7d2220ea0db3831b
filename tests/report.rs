//! Reports of journals: each `tests/golden/report/NAME.jsonl`, held against the experiment `NAME.toml` beside it, is
//! `NAME.txt`, `NAME.report.json`, `NAME.md` and `NAME.xml`, and some are `NAME.html`. `BLESS=1` writes them anew.

use brownout::analysis::{
    Amplified, Breaker, Control, Counted, Findings, Fingerprint, Honesty, Onset, Recovered, Recovery, Signal,
    Surge, Turn, Turned,
};
use brownout::model::{self, Experiment, Overrides};
use brownout::report::{Exit, Fold, Report, Terms, again, build, html, json, junit, markdown, recipe, text};
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

/// Those whose `NAME.html` is kept too.
const HTML: [&str; 2] = ["aborted", "drift"];

/// A page without its style, a line an element.
fn page(report: &Report) -> String {
    let page = html::render(report);
    let (before, rest) = page.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    let (head, policy) = before.split_once("style-src 'sha256-").unwrap();
    let (_, policy) = policy.split_once('\'').unwrap();
    format!("{head}style-src {policy}<style></style>{after}").replace("><", ">\n<")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report").join(name)
}

fn experiment(name: &str) -> Experiment {
    let loaded = model::load(&file(&format!("{name}.toml")), &Overrides::default());
    loaded.unwrap_or_else(|problems| panic!("{}", problems.render(false))).experiment
}

fn fold(name: &str) -> Fold {
    let journal = std::fs::read_to_string(file(&format!("{name}.jsonl"))).unwrap();
    let mut fold = Fold::new();
    for line in journal.lines() {
        fold.take(&serde_json::from_str(line).unwrap());
    }
    fold
}

fn report(name: &str, terms: &Terms) -> Report {
    build(&fold(name), &experiment(name), terms)
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
        if HTML.contains(&name) {
            golden(&format!("{name}.html"), &page(&report));
        }
        golden(&format!("{name}.md"), &markdown::render(&report));
    }
}

/// The journal of each run is enough: what it holds of its experiment makes the same report.
#[test]
fn a_report_is_made_again_from_the_journal_alone() {
    for (name, _) in CASES {
        for terms in [terms(), Terms { allow_vacuous: true, expect_exit: Some(6), ..terms() }] {
            let held =
                recipe(&experiment(name), &terms, 42).unwrap_or_else(|| panic!("{name} cannot be told"));
            let line = serde_json::to_string(&held).unwrap();
            let held = serde_json::from_str(&line).unwrap();
            let (experiment, said) = again(&held, Path::new("gone.toml"), 42, &|_| None)
                .unwrap_or_else(|problems| panic!("{name}: {}", problems.render(false)));
            let again = build(&fold(name), &experiment, &said);
            let first = report(name, &terms);
            assert_eq!(json::render(&again), json::render(&first), "{name}");
            assert_eq!(html::render(&again), html::render(&first), "{name}");
        }
    }
}

/// A run in which everything was found that can be.
fn spread() -> Report {
    let mut report = report("failed", &terms());
    let onset = |edge: &str, at, signal, baseline, observed, after: Option<&str>| Onset {
        edge: edge.into(),
        at,
        signal,
        baseline,
        observed,
        source: after.is_none(),
        after: after.map(str::to_owned),
        faults: if after.is_none() { vec!["provider is slow".into()] } else { vec![] },
        evidence: "60 % of what was under way was older than before for a second".into(),
    };
    let amplified = |phase, attempts, amplification| Amplified {
        edge: "provider".into(),
        phase,
        attempts,
        logical: 1000,
        amplification: Some(amplification),
        histogram: [(1, 900), (3, 100)].into(),
        backoff: vec![0.1, 0.2],
        jittered: Some(true),
        retry_after_honoured: None,
    };
    report.findings = Findings {
        cascade: vec![
            onset("provider", 0.412, Signal::Latency, 0.008, 1.5, None),
            onset("a database with a rather long name", 3.1, Signal::Connections, 4.0, 50.0, Some("provider")),
            onset("checkout", 3.94, Signal::Errors, 0.0, 0.62, Some("a database with a rather long name")),
        ],
        turns: vec![
            Turn { edge: "provider".into(), at: 0.9, what: Turned::GivenUp, evidence: "12 of 12 gave up within 2 s".into() },
            Turn { edge: "provider".into(), at: 6.1, what: Turned::Ceased, evidence: "no call for 5.0 s".into() },
        ],
        unmoved: vec!["search".into(), "cache".into()],
        unjudged: [("mail".to_owned(), "no traffic on the baseline".to_owned())].into(),
        recovery: vec![
            Recovery { edge: "provider".into(), state: Recovered::Recovered, within: Some(0.4), surge: Some(Surge { height: 2.1, width: 3.0 }), sustained_by: None },
            Recovery { edge: "checkout".into(), state: Recovered::Not, within: None, surge: None, sustained_by: Some("retries keep it at 2.9 times its load".into()) },
            Recovery { edge: "search".into(), state: Recovered::Unmeasured, within: None, surge: None, sustained_by: None },
        ],
        amplification: vec![amplified("baseline", 1000, 1.0), amplified("fault", 2950, 2.95), amplified("recovery", 1000, 1.0)],
        fingerprints: vec![
            Fingerprint {
                edge: "provider".into(),
                timeout: Some(0.5),
                retries: Some(2),
                backoff: Some(vec![0.1, 0.2]),
                breaker: Some(Breaker { failures: Some(5), counts: Some(Counted::Attempts), open_for: Some(10.0) }),
                pool: Some(50),
                fallback: Some(0.4),
                evidence: vec!["412 attempts were given up after 500 ms".into()],
                confidence: Some(0.6),
            },
            Fingerprint { edge: "checkout".into(), evidence: vec!["nothing showed".into()], ..Fingerprint::default() },
        ],
        control: vec![Control {
            edge: "provider".into(),
            hit: 200,
            spared: 800,
            hit_error_rate: 0.5,
            spared_error_rate: 0.01,
            hit_p50: Some(1.5),
            spared_p50: Some(0.01),
            says: "on provider 50 % of the struck failed and 1 % of the spared: the fault hurts those it strikes".into(),
        }],
        honesty: Honesty { overhead_p50: Some(0.0001), overhead_p99: Some(0.0004), closed_loop: Some(true), one_in: 1 },
        cautions: vec!["whoever makes the traffic waits for answers before it sends more: a cascade looks smaller so".into()],
    };
    report
}

#[test]
fn a_cascade_is_told() {
    let report = spread();
    golden("spread.text", &text::render(&report, false));
    golden("spread.markdown", &markdown::render(&report));
    golden("spread.html", &page(&report));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let value: Value = serde_json::from_str(&json::render(&report)).unwrap();
    validate(&schema, &schema, &value, "spread");
    for line in text::render(&report, false).lines() {
        assert!(line.chars().count() <= 100, "{line}");
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
