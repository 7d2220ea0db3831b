//! Recipes tell no secret, and what is read back judges the same.

use super::*;
use crate::model::Overrides;

fn experiment(text: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> Experiment {
    let lookup =
        |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let overrides = Overrides { env: &lookup, set, ..Overrides::default() };
    parse(text, "x.toml".as_ref(), &overrides)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .experiment
}

const TEXT: &str = r#"
name = "x"
title = "${env.TITLE}"
[[service]]
name = "api"
command = ["api", "${env.TOKEN}"]
env = { TOKEN = "${env.TOKEN}", PLAIN = "written-here" } # written-here too
[[edge]]
name = "front"
listen = "127.0.0.1:0"
upstream = "${env.UPSTREAM}"
[[edge]]
name = "db"
listen = "127.0.0.1:0"
upstream = "tcp://127.0.0.1:${env.PORT}"
[load]
edge = "front"
rate = "5/s"
request = { path = "/?key=${env.TOKEN}" }
[[fault]]
name = "f"
edge = "front"
percent = 5
latency = { samples = ["1ms", "2ms"] }
[[expect]]
edge = "front"
p99 = "< ${env.LIMIT}"
"#;
const ENV: [(&str, &str); 5] = [
    ("TITLE", "a title of its own"),
    ("TOKEN", "tok-123456789"),
    ("UPSTREAM", "http://inner.example:4000"),
    ("PORT", "5432"),
    ("LIMIT", "812ms"),
];

#[test]
fn a_recipe_tells_no_secret_and_judges_the_same() {
    let original = experiment(TEXT, &ENV, &[("service.api.env.EXTRA", "extra-secret"), ("run.fault", "10s")]);
    let terms = Terms { run: "r".into(), allow_vacuous: true, expect_exit: Some(6), during: During::Fault };
    let recipe = recipe(&original, &terms, 7).unwrap();
    let told = serde_json::to_string(&recipe).unwrap();
    for secret in ["tok-123456789", "written-here", "inner.example", "extra-secret", "812ms", "a title"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    // what a report shows is asked for again, and nothing else is
    let here =
        |name: &str| ENV.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let only = |name: &str| {
        assert!(["TITLE", "LIMIT"].contains(&name), "{name} is asked for");
        here(name)
    };
    let (found, said) =
        again(&recipe, "x.toml".as_ref(), 7, &only).map_err(|problems| problems.render(false)).unwrap();
    assert_eq!(essence(&found), essence(&original));
    assert_eq!(
        (said.run.as_str(), said.allow_vacuous, said.expect_exit, said.during),
        ("r", true, Some(6), During::Fault)
    );
    assert_eq!(found.run.fault.as_secs(), 10);
    let missing = again(&recipe, "x.toml".as_ref(), 7, &|_| None).unwrap_err().render(false);
    assert!(missing.contains("TITLE"), "{missing}");
}

#[test]
fn a_title_is_judged_as_it_is() {
    let other = experiment(&TEXT.replace("${env.TITLE}", "x"), &ENV, &[]);
    assert_ne!(essence(&other), essence(&experiment(TEXT, &ENV, &[])));
}
