//! Two runs held against each other, and what is said of them.

use super::*;
use crate::analysis::{Onset, Recovery, Signal};
use crate::model::{Overrides, Phase, parse};
use crate::report::{Fold, Terms, build};
use crate::telemetry::{Event, Stamped, Window};

fn report(seed: u64, sha: &str, failed: u64) -> Report {
    let text = "name = \"x\"\n[[edge]]\nname = \"front\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:1\"\n\
        [[expect]]\nname = \"available\"\nedge = \"front\"\nsuccess_rate = \">= 99%\"\nrate = \"> 1/s\"\n";
    let experiment = parse(text, "x.toml".as_ref(), &Overrides::default())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .experiment;
    let window = |phase, failed| {
        Event::Window(Window { phase: Some(phase), requests: 200, failed, ..Window::default() })
    };
    let started = Event::Started {
        name: "x".into(),
        version: "0".into(),
        file: "x.toml".into(),
        sha256: sha.into(),
        argv: vec![],
        seed,
        at: "2026-11-22T10:00:00Z".into(),
        edges: vec![],
        recipe: None,
    };
    let mut fold = Fold::new();
    for (t, event) in [
        (0.0, started),
        (0.0, Event::Phase { phase: Phase::Baseline }),
        (9.0, window(Phase::Baseline, 0)),
        (10.0, Event::Phase { phase: Phase::Fault }),
        (19.0, window(Phase::Fault, failed)),
        (20.0, Event::Finished),
    ] {
        fold.take(&Stamped { t, event });
    }
    build(&fold, &experiment, &Terms { run: format!("run-{seed}-{failed}"), ..Terms::default() })
}

fn ill(report: &mut Report, edge: &str, at: f64, state: Recovered) {
    report.findings.cascade.push(Onset {
        edge: edge.into(),
        at,
        signal: Signal::Errors,
        baseline: 0.0,
        observed: 0.5,
        source: true,
        after: None,
        faults: vec![],
        evidence: String::new(),
    });
    let within = (state == Recovered::Recovered).then_some(2.0);
    report.findings.recovery.push(Recovery {
        edge: edge.into(),
        state,
        within,
        surge: None,
        sustained_by: None,
    });
}

fn change(compared: &Compared, key: &str, phase: &str) -> Change {
    compared.expectations.iter().find(|one| one.key == key && one.phase == phase).unwrap().change
}

#[test]
fn what_was_fixed_broken_or_stayed() {
    let (good, mut bad) = (report(1, "a", 0), report(1, "a", 100));
    ill(&mut bad, "front", 0.5, Recovered::Not);
    let fixed = compare(&bad, &good);
    assert!(fixed.differences.is_empty(), "{:?}", fixed.differences);
    assert_eq!(change(&fixed, "success_rate", "fault"), Change::Fixed);
    assert_eq!(change(&fixed, "rate", "fault"), Change::StillMet);
    assert_eq!(fixed.expectations[0].key, "success_rate", "what changed stands first");
    assert_eq!(change(&compare(&good, &bad), "success_rate", "fault"), Change::Broken);
    assert_eq!(change(&compare(&bad, &bad), "success_rate", "fault"), Change::StillUnmet);
    assert_eq!(fixed.recovery.len(), 1);
    let text = fixed.text(false);
    for part in
        ["fixed", "50% → 100%", "front (source) +500ms", "no edge fell ill", "did not come back → not ill"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let stripped = anstream::adapter::strip_str(&fixed.text(true)).to_string();
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(trimmed(&stripped), trimmed(&text));
    assert!(fixed.markdown().contains("| fixed | available |"), "{}", fixed.markdown());
    let json: serde_json::Value = serde_json::from_str(&fixed.json()).unwrap();
    assert_eq!(json["expectations"][0]["change"], "fixed");
}

#[test]
fn what_differs_beside_the_system_is_said_first() {
    let one = report(1, "a", 0);
    assert!(compare(&one, &one).differences.is_empty());
    let mut other = report(2, "b", 0);
    let all = compare(&one, &other).differences.join("\n");
    assert!(all.contains("the file of `x` was changed") && all.contains("seeds are 1 and 2"), "{all}");
    "y".clone_into(&mut other.name);
    other.phases.truncate(1);
    other.edges[0].phases.get_mut("baseline").unwrap().rate = Some(7.0);
    let all = compare(&one, &other).differences.join("\n");
    for part in [
        "other experiments: `x` and `y`",
        "fault was not reached in the second",
        "load on `front` was 20/s and 7/s",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
}
