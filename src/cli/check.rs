//! `brownout check`: looks at experiment files and starts nothing.

use crate::model::{Experiment, Loaded, Lookup, Overrides, load};
use crate::problem::Problems;
use crate::units::Span;
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// Looks at experiment files without starting anything: every mistake, with its line, the reason and the remedy.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// The experiment files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What the global flags say to this command.
pub struct Flags<'a> {
    /// `--set KEY=VALUE`.
    pub set: Vec<(String, String)>,
    /// `--upstream [EDGE=]URL`.
    pub upstream: Vec<(Option<String>, String)>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--format json`.
    pub json: bool,
    /// `-v`: every default in effect.
    pub verbose: bool,
    /// Messages in colour.
    pub color: bool,
    /// Looks up an environment variable.
    pub env: Lookup<'a>,
}

/// Looks at each file; 0 if all are right, 2 if one is broken, 5 if nothing can be written.
pub fn run(args: &Args, flags: &Flags<'_>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    look(args, flags, out, err).unwrap_or(5)
}

fn look(args: &Args, flags: &Flags<'_>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let overrides = Overrides {
        set: flags.set.clone(),
        upstream: flags.upstream.clone(),
        seed: flags.seed,
        env: flags.env,
        ..Overrides::default()
    };
    let mut broken = false;
    let mut files = Vec::new();
    for path in &args.files {
        let file = path.display();
        let result = load(path, &overrides);
        broken |= result.is_err();
        if flags.json {
            let problems = result.as_ref().map_or_else(Problems::to_json, |loaded| loaded.warnings.to_json());
            files.push(json!({ "file": file.to_string(), "ok": result.is_ok(), "problems": problems }));
            continue;
        }
        match result {
            Ok(Loaded { experiment, warnings }) => {
                write!(err, "{}", warnings.render(flags.color))?;
                writeln!(
                    out,
                    "{file}: ok: {}{}",
                    summary(&experiment),
                    count(warnings.warnings().count(), "warning")
                )?;
                if flags.verbose {
                    experiment.in_effect().iter().try_for_each(|line| writeln!(out, "  {line}"))?;
                }
            }
            Err(problems) => {
                write!(err, "{}", problems.render(flags.color))?;
                writeln!(err, "{file}: broken{}", count(problems.errors().count(), "error"))?;
            }
        }
    }
    if flags.json {
        writeln!(out, "{:#}", json!({ "ok": !broken, "files": files }))?;
    }
    Ok(if broken { 2 } else { 0 })
}

fn count(n: usize, what: &str) -> String {
    match n {
        0 => String::new(),
        1 => format!(", 1 {what}"),
        n => format!(", {n} {what}s"),
    }
}

fn summary(experiment: &Experiment) -> String {
    let Experiment { name, services, edges, faults, expects, guardrails, run, .. } = experiment;
    let total = (run.warmup + run.baseline + run.fault + run.recovery).mul_f64(run.time_scale);
    let lengths = [services.len(), edges.len(), faults.len(), expects.len(), guardrails.len()];
    let words = ["service", "edge", "fault", "expectation", "guardrail"];
    let parts: String = lengths.into_iter().zip(words).map(|(n, what)| count(n, what)).collect();
    format!("`{name}`{parts}, {}", Span(total))
}
