//! The real program on its own journals: a run that was told once is told again, and held against itself.

use crate::support::{Upstream, ok};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const FILE: &str = r#"
name = "twice" # the key is key-12345678
seed = 7
[run]
baseline = "1s"
fault    = "1s"
recovery = "1s"
[[edge]]
name     = "front"
listen   = "127.0.0.1:0"
upstream = "${env.UPSTREAM}"
[load]
edge = "front"
rate = "60/s"
request = { path = "/", headers = { authorization = "Bearer key-12345678" } }
[[fault]]
name    = "refused"
edge    = "front"
percent = 50
respond = { status = 503, after_upstream = true }
[[expect]]
name = "available"
edge = "front"
success_rate = ">= 99%"
include_injected = true
[[expect]]
name = "no storm"
edge = "front"
amplification = "<= 1.5x"
"#;

struct Home {
    folder: tempfile::TempDir,
    upstream: Upstream,
}

impl Home {
    fn new() -> Self {
        let upstream = Upstream::serve(|link| {
            while link.head().is_some() {
                link.send(ok("well"));
            }
        });
        let home = Self { folder: tempfile::tempdir().unwrap(), upstream };
        fs::write(home.path("x.toml"), FILE).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn brownout(&self, words: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command.args(words).env_clear().env("BROWNOUT_WORKERS", "1").envs(env.iter().copied());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self, out: &str, env: &[(&str, &str)]) -> Output {
        let upstream = format!("http://{}", self.upstream.at);
        let env = [env, &[("UPSTREAM", upstream.as_str())]].concat();
        self.brownout(&["run", "x.toml", "--admin", "none", "--out", out], &env)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_run_is_told_again_from_its_journal_alone_and_its_journal_tells_no_secret() {
    let home = Home::new();
    let first = home.run("one", &[]);
    assert_eq!(first.status.code(), Some(1), "{}", text(&first.stderr));
    let journal = fs::read_to_string(home.path("one/journal.jsonl")).unwrap();
    assert!(!journal.contains("key-12345678"), "{}", journal.lines().next().unwrap());
    // neither the file nor its environment is needed
    fs::remove_file(home.path("x.toml")).unwrap();
    let again = home.brownout(&["report", "one", "--format", "json"], &[]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_eq!(text(&again.stdout), fs::read_to_string(home.path("one/report.json")).unwrap());
    let human = home.brownout(&["report", "one/journal.jsonl"], &[]);
    assert_eq!(text(&human.stdout), text(&first.stdout));
    for (format, file) in [("markdown", "report.md"), ("junit", "junit.xml")] {
        let told = home.brownout(&["report", "one", "--format", format, "--out", "told"], &[]);
        assert!(told.stdout.is_empty() && told.status.success());
        let written = fs::read_to_string(home.path("one").join(file)).unwrap();
        let same = |text: &str| {
            text.lines().filter(|line| !line.contains("timestamp")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(same(&fs::read_to_string(home.path("told")).unwrap()), same(&written), "{format}");
    }
    // held against itself nothing differs
    let compared = home.brownout(&["compare", "one", "one", "--format", "json"], &[]);
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    assert_eq!(compared["differences"], Value::Array(vec![]));
    for one in compared["expectations"].as_array().unwrap() {
        assert!(one["change"].as_str().unwrap().starts_with("still"), "{one}");
    }
}

#[test]
fn github_gets_annotations_at_the_lines_and_a_summary_of_the_step() {
    let home = Home::new();
    let env = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", "summary.md")];
    let said = text(&home.run("one", &env).stderr);
    let line = FILE.lines().position(|line| line.starts_with("success_rate")).unwrap() + 1;
    let wanted = format!("::error file=x.toml,line={line},title=available::success_rate on `front` was ");
    let found = said.lines().find(|line| line.starts_with("::error")).unwrap_or_else(|| panic!("{said}"));
    assert!(found.starts_with(&wanted) && found.contains("%25"), "{found}");
    let summary = fs::read_to_string(home.path("summary.md")).unwrap();
    assert!(summary.starts_with("### ❌ failed: twice"), "{summary}");
    assert_eq!(summary.trim(), fs::read_to_string(home.path("one/report.md")).unwrap().trim());
}

#[test]
fn what_is_no_run_is_exit_2_with_a_remedy() {
    let home = Home::new();
    fs::write(home.path("torn"), "nonsense\n{}\n").unwrap();
    fs::write(home.path("empty"), "").unwrap();
    let started = "{\"t\":0.0,\"event\":\"started\",\"name\":\"x\",\"version\":\"0\",\"file\":\"x.toml\",\"sha256\":\"\",\
        \"argv\":[],\"seed\":1,\"at\":\"\",\"edges\":[]}\n";
    fs::write(home.path("old"), started).unwrap();
    for (words, says) in [
        (&["report", "none"][..], "there is no journal"),
        (&["report", "torn"], "is no journal of a run: line 1"),
        (&["report", "empty"], "says of no run"),
        (&["report", "old"], "add `--file x.toml`"),
        (&["compare", "none", "empty"], "there is no journal `none`"),
        (&["report"], "Usage"),
    ] {
        let said = home.brownout(words, &[]);
        assert_eq!(said.status.code(), Some(2), "{words:?}");
        assert!(text(&said.stderr).contains(says), "{words:?}: {}", text(&said.stderr));
    }
    let upstream = [("UPSTREAM", "http://127.0.0.1:9")];
    let told = home.brownout(&["report", "old", "--file", "x.toml"], &upstream);
    assert!(text(&told.stdout).contains("its journal stops"), "{}", text(&told.stdout));
}
