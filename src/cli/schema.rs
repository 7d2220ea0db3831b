//! `brownout schema`: the description of the experiment file, for editors or for people.

use crate::model::{reference, schema};
use std::io::Write;

/// Prints the JSON Schema of the experiment file, for editors.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// For machines, or the same as a page for people.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    pub form: Form,
}

/// The forms of the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// JSON Schema.
    Json,
    /// The reference.
    Markdown,
}

/// Prints it; 0, or 5 if it cannot be written.
pub fn run(args: &Args, out: &mut dyn Write, _err: &mut dyn Write) -> u8 {
    let written = match args.form {
        Form::Json => writeln!(out, "{:#}", schema()),
        Form::Markdown => write!(out, "{}", reference()),
    };
    if written.is_ok() { 0 } else { 5 }
}
