//! `brownout report RUN`: an old run told again, from its journal alone.
//!
//! The journal holds the file and what was said beside it, without secrets; the report is the same fold over the same events
//! that told the run when it was new. Whatever is wrong with it is exit code 2.

use super::run::Colour;
use super::{ENVIRONMENT, USAGE, fail, loading};
use crate::model::{Overrides, load};
use crate::report::{Fold, Report, Terms, again, build, html, json, junit, markdown, text};
use crate::run::output::JOURNAL;
use crate::telemetry::journal;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The arguments of `brownout report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of a run, or its journal
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Where it goes, instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The experiment, for a journal that does not hold it
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", env = "BROWNOUT_COLOR")]
    pub color: Colour,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// report.json
    Json,
    /// For a pull request
    Markdown,
    /// For CI systems
    Junit,
    /// A page in one file
    Html,
}

/// Tells it. The exit code is 0 whatever the verdict was: the question is what happened, not whether it was good.
pub fn run(args: &Args, out: &mut dyn Write) -> u8 {
    let report = match read(&args.run, args.file.as_deref()) {
        Ok(report) => report,
        Err(text) => return fail(USAGE, &text),
    };
    let told = match args.format {
        Format::Human => text::render(&report, args.out.is_none() && args.color.on_stdout()),
        Format::Json => json::render(&report),
        Format::Markdown => markdown::render(&report),
        Format::Junit => junit::render(&report),
        Format::Html => html::render(&report),
    };
    let written = match &args.out {
        Some(path) => std::fs::write(path, told).map_err(|error| format!("`{}`: {error}", path.display())),
        None => {
            // Nobody to read it is nobody to tell.
            let _ = out.write_all(told.as_bytes());
            Ok(())
        }
    };
    written.map_or_else(|text| fail(ENVIRONMENT, &format!("the report could not be written: {text}")), |()| 0)
}

/// The report of a run, from its journal.
///
/// # Errors
/// A sentence for the user.
pub(super) fn read(run: &Path, file: Option<&Path>) -> Result<Report, String> {
    let path = if run.is_dir() { run.join(JOURNAL) } else { run.to_owned() };
    let shown = path.display();
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "there is no journal `{shown}`: name the folder of a run, such as `runs/20261122-100000-first`"
            )
        }
        std::io::ErrorKind::InvalidData => format!("`{shown}` is no journal of a run: {error}"),
        _ => format!("`{shown}` cannot be read: {error}"),
    };
    let mut fold = Fold::new();
    for stamped in journal::read(&path).map_err(wrong)? {
        fold.take(&stamped.map_err(wrong)?);
    }
    let Some(start) = fold.start.clone() else {
        return Err(format!("`{shown}` says of no run: it has no `started`"));
    };
    let name = Path::new(&start.file);
    let (experiment, terms) = match (&start.recipe, file) {
        (_, Some(file)) => (written(file, start.seed)?, terms(run, start.recipe.as_ref())),
        (Some(recipe), None) => again(recipe, name, start.seed, &loading::env).map_err(|problems| {
            format!(
                "the experiment of this run cannot be read again (a variable that it takes from the environment and \
                 shows in its report must be set as it was):\n{}",
                problems.render(loading::color())
            )
        })?,
        (None, None) => {
            let file = if start.file.is_empty() { "FILE" } else { &start.file };
            return Err(format!("this journal does not hold its experiment: add `--file {file}`"));
        }
    };
    Ok(build(&fold, &experiment, &terms))
}

fn written(file: &Path, seed: u64) -> Result<crate::model::Experiment, String> {
    let overrides = Overrides { seed: Some(seed), env: &loading::env, ..Overrides::default() };
    load(file, &overrides)
        .map(|loaded| loaded.experiment)
        .map_err(|problems| problems.render(loading::color()))
}

fn terms(run: &Path, recipe: Option<&crate::telemetry::Recipe>) -> Terms {
    let folder = if run.is_dir() { Some(run) } else { run.parent() };
    let named =
        folder.and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Terms {
        run: recipe.map_or(named, |recipe| recipe.run.clone()),
        allow_vacuous: recipe.is_some_and(|recipe| recipe.allow_vacuous),
        expect_exit: recipe.and_then(|recipe| recipe.expect_exit),
        ..Terms::default()
    }
}
