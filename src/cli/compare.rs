//! `brownout compare BEFORE AFTER`: two runs, from their journals: did the change help, and is anything worse?

use super::report::read;
use super::run::Colour;
use super::{USAGE, fail};
use crate::report::compare;
use std::io::Write;
use std::path::PathBuf;

/// The arguments of `brownout compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the run before the change, or its journal
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The folder of the run after it
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// How the comparison is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", env = "BROWNOUT_COLOR")]
    pub color: Colour,
}

/// How a comparison is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// For machines
    Json,
    /// For a pull request
    Markdown,
}

/// Compares them. The exit code is 0 whatever came out: what may be worse is for whoever reads it to say.
pub fn run(args: &Args, out: &mut dyn Write) -> u8 {
    let both = read(&args.before, None).and_then(|before| Ok((before, read(&args.after, None)?)));
    let (before, after) = match both {
        Ok(both) => both,
        Err(text) => return fail(USAGE, &text),
    };
    let compared = compare::compare(&before, &after);
    let text = match args.format {
        Format::Human => compared.text(args.color.on_stdout()),
        Format::Json => compared.json(),
        Format::Markdown => compared.markdown(),
    };
    // Nobody to read it is nobody to tell.
    let _ = out.write_all(text.as_bytes());
    0
}
