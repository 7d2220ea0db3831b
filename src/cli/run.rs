//! `brownout run FILE|DIR … [-- CMD]`: experiments, from their files to a verdict.
//!
//! [`plan`] makes checked words of the arguments; [`execute`] runs what was loaded, one experiment after the other, on
//! stages that its caller brings up.

pub use super::colour::Colour;
use crate::model::Experiment;
use crate::report::{During, Exit, Report, Terms, Verdict, expected, json, text};
use crate::run::driver::{self, not_started};
use crate::run::progress::{Kind, Progress};
use crate::run::{Options, Stage, Stop, output};
use clap::ValueEnum;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc::Receiver;

/// The arguments of `brownout run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Experiment files, or folders: every *.toml below them, sorted
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// The command that makes the traffic; it replaces `[load]`. Its failure fails the run
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
    /// Run CMD as the fault phase, or once per phase, instead of through all of them
    #[arg(long, value_enum, value_name = "WHEN")]
    pub during: Option<DuringArg>,
    /// Run `[load]` beside CMD
    #[arg(long)]
    pub with_load: bool,
    /// The admin address, or `none`
    #[arg(long, value_name = "ADDR", env = "BROWNOUT_ADMIN")]
    pub admin: Option<String>,
    /// The same seed strikes the same requests
    #[arg(long, value_name = "N", env = "BROWNOUT_SEED")]
    pub seed: Option<u64>,
    /// The folder for journal and report, instead of a new one below runs/
    #[arg(long, value_name = "DIR", env = "BROWNOUT_OUT")]
    pub out: Option<PathBuf>,
    /// The state folder: what must be put back stands in it, and a file `halt` in it heals everything
    #[arg(long, value_name = "DIR", env = "BROWNOUT_STATE", default_value = ".brownout")]
    pub state: PathBuf,
    /// Another upstream for an edge (without EDGE: for the first)
    #[arg(long, value_name = "[EDGE=]URL")]
    pub upstream: Vec<String>,
    /// Another value for a key of the file, such as run.fault=10s
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Let a run pass that shows nothing: no traffic, no hits, no samples
    #[arg(long)]
    pub allow_vacuous: bool,
    /// Exit with 0 if the run would exit with N, and with 1 if it would pass
    #[arg(long, value_name = "N")]
    pub expect_exit: Option<u8>,
    /// What is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Human, env = "BROWNOUT_FORMAT")]
    pub format: Format,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", env = "BROWNOUT_COLOR")]
    pub color: Colour,
    /// Say only what went wrong, and the result
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// A line instead of a screen while it runs on a terminal
    #[arg(long)]
    pub no_tui: bool,
    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// When CMD runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DuringArg {
    /// It is the fault phase: a test-suite under fault
    Fault,
    /// Once in each phase
    Each,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// report.json
    Json,
}

/// Where the admin API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Nobody said.
    Default,
    /// Nowhere.
    None,
    /// Here.
    At(SocketAddr),
}

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Files and folders, as given.
    pub paths: Vec<PathBuf>,
    /// `--set`, in order.
    pub set: Vec<(String, String)>,
    /// `--upstream`, in order.
    pub upstream: Vec<(Option<String>, String)>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--admin`.
    pub admin: Admin,
    /// `--out`.
    pub out: Option<PathBuf>,
    /// `--state`.
    pub state: PathBuf,
    /// What every run is told; its seed and name are filled in for each.
    pub options: Options,
    /// `--format`.
    pub format: Format,
    /// `--color`.
    pub color: Colour,
    /// `-q`.
    pub quiet: bool,
    /// `--no-tui`.
    pub no_tui: bool,
}

/// Checks the arguments. `argv` is how Brownout was called.
///
/// # Errors
/// A sentence for the user: exit code 2.
pub fn plan(args: Args, argv: Vec<String>) -> Result<Plan, String> {
    let during = match args.during {
        None => During::All,
        Some(DuringArg::Fault) => During::Fault,
        Some(DuringArg::Each) => During::Each,
    };
    if args.command.is_empty() && args.during.is_some() {
        return Err("`--during` says when a command runs: add it after `--`".into());
    }
    if args.command.is_empty() && args.with_load {
        return Err(
            "`--with-load` runs `[load]` beside a command: add it after `--`, or leave the flag out".into()
        );
    }
    let set = args.set.iter().map(|text| pair(text)).collect::<Result<_, _>>()?;
    let admin = match args.admin.as_deref() {
        None => Admin::Default,
        Some("none") => Admin::None,
        Some(text) => {
            let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
            let address = bare.parse().map_err(|_| {
                format!("`{text}` is not an address for `--admin`, such as `127.0.0.1:8475`, or `none`")
            })?;
            Admin::At(address)
        }
    };
    Ok(Plan {
        paths: args.files,
        set,
        upstream: args.upstream.iter().map(|text| upstream(text)).collect(),
        seed: args.seed,
        admin,
        out: args.out,
        state: args.state,
        options: Options {
            argv,
            seed: 0,
            command: Some(args.command).filter(|command| !command.is_empty()),
            with_load: args.with_load,
            terms: Terms {
                run: String::new(),
                allow_vacuous: args.allow_vacuous,
                expect_exit: args.expect_exit,
                during,
            },
        },
        format: args.format,
        color: args.color,
        quiet: args.quiet,
        no_tui: args.no_tui,
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty()).ok_or_else(|| {
        format!("`--set {text}` has no value: write `--set KEY=VALUE`, such as `run.fault=10s`")
    })?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// `EDGE=URL`, or only the URL; a `=` within the URL is its own.
pub(super) fn upstream(text: &str) -> (Option<String>, String) {
    match text.split_once('=') {
        Some((edge, url)) if !edge.contains("://") => (Some(edge.to_owned()), url.to_owned()),
        _ => (None, text.to_owned()),
    }
}

/// The files that were named: each file, and of each folder every `*.toml` below it, sorted.
///
/// # Errors
/// A sentence for the user: exit code 2.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut out = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = out.len();
            below(path, &mut out, 0)
                .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
            out[before..].sort();
            if out.len() == before {
                return Err(format!("there is no experiment (*.toml) in `{}`", path.display()));
            }
        } else {
            out.push(path.clone());
        }
    }
    Ok(out)
}

fn below(folder: &Path, out: &mut Vec<PathBuf>, depth: u32) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth < 16 {
            below(&path, out, depth + 1)?;
        } else if !kind.is_dir() && path.extension().is_some_and(|end| end == "toml") {
            out.push(path);
        }
    }
    Ok(())
}

/// What a stage is brought up for.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The seed in force.
    pub seed: u64,
    /// Where the admin API is.
    pub admin: Admin,
    /// Where the journal goes.
    pub folder: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The program of the user's command, if there is one.
    pub command: Option<String>,
}

/// Why a stage does not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// The exit code: `Environment`, or `Usage` if it is the file's fault.
    pub exit: Exit,
    /// In words.
    pub text: String,
}

/// Runs what was loaded, one after the other, writes the results (to standard output, and into each run's folder), and
/// returns the exit code.
pub async fn execute(
    plan: &Plan,
    experiments: &[Experiment],
    signals: &mut Receiver<Stop>,
    bring_up: impl AsyncFn(&Experiment, &Setting) -> Result<Arc<dyn Stage>, StartError>,
) -> u8 {
    execute_to(&mut std::io::stdout(), plan, experiments, signals, bring_up).await
}

async fn execute_to(
    out: &mut dyn Write,
    plan: &Plan,
    experiments: &[Experiment],
    signals: &mut Receiver<Stop>,
    bring_up: impl AsyncFn(&Experiment, &Setting) -> Result<Arc<dyn Stage>, StartError>,
) -> u8 {
    let mut reports = Vec::new();
    for experiment in experiments {
        let report = one(plan, experiment, experiments.len(), signals, &bring_up).await;
        let last = report.interrupted || matches!(Exit::of(report.exit), Exit::NotRestored | Exit::Bug);
        reports.push(report);
        // The user wants no more, or the next would begin on a system that is still changed.
        if last {
            break;
        }
    }
    if experiments.len() > 1
        && let Err(error) = output::write_scorecard(plan.out.as_deref(), &reports)
    {
        let _ = writeln!(std::io::stderr(), "warning: the scorecard could not be written: {error}");
    }
    super::ci::tell(&reports, &super::loading::env, &mut std::io::stderr());
    // Nobody to read it is nobody to tell.
    let _ = out.write_all(results(plan, &reports).as_bytes());
    let _ = out.flush();
    Exit::weightiest(reports.iter().map(|report| Exit::of(report.exit))).code()
}

async fn one(
    plan: &Plan,
    experiment: &Experiment,
    of: usize,
    signals: &mut Receiver<Stop>,
    bring_up: &impl AsyncFn(&Experiment, &Setting) -> Result<Arc<dyn Stage>, StartError>,
) -> Report {
    let mut options = plan.options.clone();
    options.seed = plan.seed.or(experiment.seed).unwrap_or_else(draw);
    let out = plan
        .out
        .as_ref()
        .map(|out| if of > 1 { out.join(output::file_name(experiment.name.as_str())) } else { out.clone() });
    let failed = |options: &Options, exit: Exit, text: &str| {
        let _ = writeln!(std::io::stderr(), "error: {text}");
        not_started(experiment, options, exit, text)
    };
    let folder = match output::folder(out.as_deref(), &experiment.name, SystemTime::now()) {
        Ok(folder) => folder,
        Err(error) => {
            return failed(&options, Exit::Environment, &format!("no folder for the results: {error}"));
        }
    };
    options.terms.run =
        folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let setting = Setting {
        seed: options.seed,
        admin: plan.admin,
        folder: folder.clone(),
        state: plan.state.clone(),
        command: options.command.as_ref().and_then(|argv| argv.first().cloned()),
    };
    let mut report = match bring_up(experiment, &setting).await {
        Err(error) => failed(&options, error.exit, &error.text),
        Ok(stage) => {
            let progress = Progress::new(Box::new(std::io::stderr()), plan.progress(), experiment);
            let mut report = driver::run(Arc::clone(&stage), experiment, &options, signals, progress).await;
            let closing = tokio::task::spawn_blocking(move || stage.close());
            let closed = if report.verdict == crate::report::Verdict::Interrupted {
                // Whoever asks a second time does not wait for what is still under way.
                tokio::select! { closed = closing => closed, _ = signals.recv() => Ok(Ok(())) }
            } else {
                closing.await
            };
            if let Ok(Err(text)) = closed {
                worsen(&mut report, Exit::NotRestored, text, &options);
            }
            report
        }
    };
    if let Err(error) = output::write(&folder, &report) {
        let text = format!("the results could not be written: {error}");
        worsen(&mut report, Exit::Environment, text, &options);
    }
    if plan.format == Format::Human && !plan.quiet {
        let _ = writeln!(std::io::stderr(), "results in {}", folder.display());
    }
    report
}

/// Something failed after the verdict.
fn worsen(report: &mut Report, exit: Exit, text: String, options: &Options) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    let exit = Exit::weightiest([Exit::of(report.exit), exit]);
    report.verdict = Verdict::of(exit);
    report.exit = expected(exit, options.terms.expect_exit);
    report.reasons.insert(0, text);
}

/// A seed for a file without one; short, because people type it.
pub(super) fn draw() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000_000
}

impl Plan {
    fn progress(&self) -> Kind {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match (self.quiet, std::io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none()) {
            (true, _) => Kind::Quiet,
            // a command writes to the same terminal
            (false, true) if self.no_tui || self.options.command.is_some() => Kind::Live,
            (false, true) => Kind::Screen,
            (false, false) => Kind::Plain,
        }
    }

    fn colour(&self) -> bool {
        self.color.on_stdout()
    }
}

/// The results as standard output gets them.
fn results(plan: &Plan, reports: &[Report]) -> String {
    match (plan.format, reports) {
        (Format::Json, [report]) => json::render(report),
        (Format::Json, reports) => json::render_all(reports),
        (Format::Human, reports) => {
            let mut text: Vec<String> =
                reports.iter().map(|report| text::render(report, plan.colour())).collect();
            if reports.len() > 1 {
                text.push(text::scorecard(reports));
            }
            text.join("\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn planned(words: &[&str]) -> Result<Plan, String> {
        let argv: Vec<String> =
            std::iter::once("run").chain(words.iter().copied()).map(str::to_owned).collect();
        let cli = Cli::try_parse_from(&argv).map_err(|error| error.to_string())?;
        plan(cli.args, argv)
    }

    #[test]
    fn arguments_become_a_plan() {
        let plan = planned(&[
            "a.toml",
            "b",
            "--set",
            "run.fault=10s",
            "--set",
            "edge.x.upstream=http://h/?a=b",
            "--upstream",
            "http://127.0.0.1:1/?a=b",
            "--upstream",
            "provider=http://127.0.0.1:2",
            "--admin",
            "none",
            "--during",
            "each",
            "--",
            "k6",
            "run",
            "--seed",
        ])
        .unwrap();
        assert_eq!(plan.paths, [PathBuf::from("a.toml"), PathBuf::from("b")]);
        assert_eq!(plan.set[1], ("edge.x.upstream".into(), "http://h/?a=b".into()));
        assert_eq!(plan.upstream[0], (None, "http://127.0.0.1:1/?a=b".into()));
        assert_eq!(plan.upstream[1], (Some("provider".into()), "http://127.0.0.1:2".into()));
        assert_eq!(plan.admin, Admin::None);
        assert_eq!(plan.options.terms.during, During::Each);
        assert_eq!(plan.options.command.unwrap(), ["k6", "run", "--seed"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &[][..],
            &["a.toml", "--during", "fault"],
            &["a.toml", "--with-load"],
            &["a.toml", "--set", "x"],
            &["a.toml", "--set", "=1"],
            &["a.toml", "--admin", "nowhere"],
            &["a.toml", "--seed", "-1"],
            &["a.toml", "-q", "-v"],
        ] {
            assert!(planned(words).is_err(), "{words:?}");
        }
        assert_eq!(
            planned(&["a", "--admin", "http://[::1]:9/"]).unwrap().admin,
            Admin::At("[::1]:9".parse().unwrap())
        );
    }

    #[test]
    fn folders_are_sorted_files_are_as_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::create_dir(path("empty")).unwrap();
        for name in ["b.toml", "a.toml", "sub/c.toml", "notes.md"] {
            std::fs::write(path(name), "").unwrap();
        }
        let found = files(&[path("notes.md"), folder.path().to_owned()]).unwrap();
        assert_eq!(found, [path("notes.md"), path("a.toml"), path("b.toml"), path("sub/c.toml")]);
        assert!(files(&[path("empty")]).unwrap_err().contains("no experiment"));
    }

    #[tokio::test]
    async fn runs_one_after_the_other_and_writes_what_came_of_them() {
        use crate::model::Phase;
        use crate::run::testing::{Fake, experiment, window};
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("results");
        let plan = planned(&["x", "--out", out.to_str().unwrap(), "--format", "json", "-q"]).unwrap();
        let (mut one, mut other) = (experiment(), experiment());
        one.run.time_scale = 0.01;
        other.name = "other".parse().unwrap();
        let (_keep, mut signals) = tokio::sync::mpsc::channel(1);
        let mut printed = Vec::new();
        let experiments = [one, other];
        let code =
            execute_to(&mut printed, &plan, &experiments, &mut signals, async |experiment, setting| {
                assert!(setting.folder.is_dir() && setting.seed == 42);
                if experiment.name.as_str() == "other" {
                    return Err(StartError { exit: Exit::Environment, text: "port taken".into() });
                }
                let healthy = |phase: Phase, _| vec![window(0, phase, 10, 0), window(1, phase, 10, 0)];
                Ok(Fake::new(Box::new(healthy)).begin() as Arc<dyn Stage>)
            })
            .await;
        assert_eq!(code, 5);
        let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
        assert_eq!((&printed[0]["verdict"], &printed[1]["verdict"]), (&"passed".into(), &"error".into()));
        assert_eq!(printed[1]["reasons"][0], "port taken");
        for (name, exit) in [("timeout-cut", 0), ("other", 5)] {
            let text = std::fs::read_to_string(out.join(name).join("report.json")).unwrap();
            let report: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&report["exit"], &report["run"]), (&exit.into(), &name.into()));
            assert!(out.join(name).join("junit.xml").is_file());
        }
    }
}
