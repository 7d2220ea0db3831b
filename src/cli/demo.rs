//! `brownout demo [SCENARIO]`: embedded services, load and an experiment in one process, and a real cascade to watch.

use super::run::{self, Admin, Plan};
use super::{ENVIRONMENT, USAGE, fail, in_runtime, signals, stage};
use crate::demo::{self, EDGES, Wiring};
use crate::model::{Loaded, Overrides, parse};
use crate::run::{Options, Stage};
use anstream::eprintln;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The arguments of `brownout demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to show
    #[arg(value_parser = demo::NAMES, default_value = demo::NAMES[0])]
    pub scenario: String,
    /// Where journal and report go, instead of a new folder below runs/
    #[arg(long, value_name = "DIR", env = "BROWNOUT_OUT")]
    pub out: Option<PathBuf>,
    /// The admin address, or `none`
    #[arg(long, value_name = "ADDR", env = "BROWNOUT_ADMIN")]
    pub admin: Option<String>,
    /// The same seed strikes the same requests
    #[arg(long, value_name = "N", env = "BROWNOUT_SEED")]
    pub seed: Option<u64>,
    /// Another value for a key of the experiment, such as run.fault=10s
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How results are written
    #[arg(long, value_enum, default_value_t = run::Format::Human, env = "BROWNOUT_FORMAT")]
    pub format: run::Format,
    /// A line instead of a screen while it runs on a terminal
    #[arg(long)]
    pub no_tui: bool,
    /// Say only the result
    #[arg(short, long)]
    pub quiet: bool,
}

/// Shows it. The exit code is 0 if the verdict is the one that the scenario is there to show.
pub fn main(args: &Args, argv: Vec<String>) -> u8 {
    let Some(scenario) = demo::scenario(&args.scenario) else {
        return fail(USAGE, &format!("there is no scenario `{}`", args.scenario));
    };
    let bound = match demo::bind() {
        Ok(bound) => bound,
        Err(error) => return fail(ENVIRONMENT, &format!("the demo's services cannot listen: {error}")),
    };
    let plan = match plan(args, argv) {
        Ok(plan) => plan,
        Err(text) => return fail(USAGE, &text),
    };
    let upstream = bound.upstreams().into_iter().map(|(edge, url)| (Some(edge.to_owned()), url)).collect();
    let overrides = Overrides { set: plan.set.clone(), upstream, seed: args.seed, ..Overrides::default() };
    let experiment = match parse(scenario.text, Path::new(scenario.path), &overrides) {
        Ok(Loaded { experiment, .. }) => experiment,
        Err(problems) => {
            anstream::eprint!("{}", problems.render(super::loading::color()));
            return USAGE;
        }
    };
    if !args.quiet {
        eprintln!("{}\n", wrapped(scenario.says, 96));
    }
    let waiting = Mutex::new(Some(bound));
    let running = Mutex::new(None);
    let code = in_runtime(async {
        let mut signals = signals::ends()?;
        Ok(run::execute(&plan, &[experiment], &mut signals, async |experiment, setting| {
            let standing = stage::bring_up(experiment, setting)?;
            let at = |name: &str| {
                standing.control.edges().into_iter().find(|edge| edge.name == name).map(|edge| edge.listen)
            };
            let [_, payments, provider, database] = EDGES.map(at);
            let bound = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(payments), Some(provider), Some(database), Some(bound)) =
                (payments, provider, database, bound)
            {
                let wiring = Wiring::through(payments, provider, database);
                let started =
                    bound.start(scenario.config.clone(), wiring).map_err(|error| run::StartError {
                        exit: crate::report::Exit::Environment,
                        text: format!("the demo's services cannot start: {error}"),
                    })?;
                *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
            }
            if let (Some(admin), false) = (standing.admin, args.quiet) {
                eprintln!("live page: http://{admin}/");
                eprintln!("metrics: http://{admin}/metrics   faults: brownout fault list --admin {admin}\n");
            }
            Ok(Arc::new(standing) as Arc<dyn Stage>)
        })
        .await)
    });
    drop(running);
    match code {
        code if code == scenario.expected_exit => {
            if !args.quiet {
                let shown =
                    if code == 0 { "it holds" } else { "it fails, as this scenario is there to show" };
                eprintln!("the verdict is the expected one: {shown}");
            }
            0
        }
        0 => 1,
        code => code,
    }
}

fn plan(args: &Args, argv: Vec<String>) -> Result<Plan, String> {
    let set = args
        .set
        .iter()
        .map(|word| {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("`--set {word}` has no value"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect::<Result<_, String>>()?;
    let admin = match args.admin.as_deref() {
        None => Admin::Default,
        Some("none") => Admin::None,
        Some(text) => Admin::At(
            text.parse().map_err(|_| format!("`{text}` is not an address, such as 127.0.0.1:8475"))?,
        ),
    };
    Ok(Plan {
        paths: Vec::new(),
        set,
        upstream: Vec::new(),
        seed: args.seed,
        admin,
        out: args.out.clone(),
        state: stage::state_folder(),
        options: Options { argv, ..Options::default() },
        format: args.format,
        color: run::Colour::Auto,
        quiet: args.quiet,
        no_tui: args.no_tui,
    })
}

/// The text in lines of at most so many characters.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < width || line.is_empty() => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
